"""The gate before real money: each thing that is missing is told, and nothing else opens it."""

from pathlib import Path
from typing import Any

import pytest

from core.config import Settings, load
from core.domain.errors import UserError
from core.domain.health import Check, Report
from core.engine import doctor, licence, supervisor
from core.engine.session import Session
from core.venues.okx.factory import Permit
from tests.engine.processes import Home

KEYS = {"OKX_API_KEY": "key-canary", "OKX_API_SECRET": "secret-canary", "OKX_API_PASSPHRASE": "phrase-canary"}
PASSED: dict[str, Any] = {"days": 30, "seed": 7, "faults": "all", "passed": True}


def settings(home: Path, **options: object) -> Settings:
    chosen: dict[str, object] = {"venue.name": "okx", "engine.strategies": ["zscore"]}
    chosen |= {name.replace("__", "."): value for name, value in options.items()}
    return load(None, options=chosen, environ={"COCKPIT_HOME": str(home)})


def test_everything_is_missing_at_first_and_each_thing_has_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keys, account, rehearsal = licence.missing(settings(tmp_path), "", {})
    assert "OKX_API_KEY, OKX_API_SECRET, OKX_API_PASSPHRASE not set" in keys
    assert "--account" in account
    assert "cockpit rehearse" in rehearsal and "--days 30 --faults all" in rehearsal


def test_with_all_of_it_there_is_a_permit_for_that_account(tmp_path: Path) -> None:
    live = settings(tmp_path)
    licence.record(live, **PASSED)
    assert licence.missing(live, "main", KEYS) == []
    assert licence.permit(live, "main", KEYS).account == "main"


def test_one_missing_key_is_named_and_no_key_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    live = settings(tmp_path)
    licence.record(live, **PASSED)
    given = {name: value for name, value in KEYS.items() if name != "OKX_API_SECRET"}
    with pytest.raises(UserError, match="OKX_API_SECRET not set") as refusal:
        licence.permit(live, "main", given)
    assert "canary" not in str(refusal.value) and "OKX_API_KEY" not in str(refusal.value)


@pytest.mark.parametrize(
    ("run", "why"),
    [
        ({"days": 29}, "of 29 days, at least 30"),
        ({"faults": "none"}, "only with faults none"),
        ({"passed": False, "text": "books 3, exchange 2"}, "failed.*seed 7: books 3, exchange 2"),
    ],
)
def test_a_rehearsal_that_is_short_tame_or_failed_is_none(tmp_path: Path, run: dict[str, Any], why: str) -> None:
    live = settings(tmp_path)
    licence.record(live, **PASSED | run)
    with pytest.raises(UserError, match=why):
        licence.permit(live, "main", KEYS)


def test_a_failure_is_not_outweighed_by_another_seed(tmp_path: Path) -> None:
    live = settings(tmp_path)
    licence.record(live, **PASSED | {"passed": False, "text": "lost a fill"})
    licence.record(live, **PASSED | {"seed": 8})
    assert "lost a fill" in licence.missing(live, "main", KEYS)[0]
    assert [run.seed for run in licence.rehearsals(live)] == [7, 8]


@pytest.mark.parametrize(
    "change",
    [
        {"strategy__divergence__z_entry": 1.5},
        {"risk__max_gross_usdt": 60_000},
        {"universe__assets": ["BTC", "ETH"]},
        {"venue__leverage": 2},
        {"engine__strategies": ["zscore", "btc-eth-regime"]},
        {"live__ramp": [1.0]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_matters_for_trading_must_be_rehearsed_again(tmp_path: Path, change: dict[str, Any]) -> None:
    licence.record(settings(tmp_path), **PASSED)
    assert "none of this configuration" in licence.missing(settings(tmp_path, **change), "main", KEYS)[0]


@pytest.mark.parametrize(
    "change",
    [
        {"demo__seed": 9, "demo__speed": "max", "log__level": "debug", "engine__snapshot_hz": 2.0},
        {"venue__name": "demo", "notify__every_s": 5.0, "backtest__fees": "none"},
    ],
    ids=["demo", "venue"],
)
def test_what_does_not_need_none(tmp_path: Path, change: dict[str, Any]) -> None:
    licence.record(settings(tmp_path, **change), **PASSED)
    assert licence.missing(settings(tmp_path), "main", KEYS) == []


def test_other_code_must_be_rehearsed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live = settings(tmp_path)
    licence.record(live, **PASSED)
    monkeypatch.setattr(licence, "code", lambda: "f" * 64)
    assert "by this version" in licence.missing(live, "main", KEYS)[0]


def test_a_strategy_of_ones_own_is_rehearsed_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "fade.py"
    own = "from core.strategies.divergence import STRATEGY\n"
    config = tmp_path / "config.toml"
    config.write_text('[engine]\nstrategies = ["fade"]\n[strategy.fade]\npath = "fade.py"\n')
    before = []
    for text in (own, own + "# another line\n"):
        file.write_text(text)
        live = load(config, options={"venue.name": "okx"}, environ={"COCKPIT_HOME": str(tmp_path)})
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(supervisor, "kinds_of", lambda _: ())
            before.append(licence.configuration(live))
    assert before[0] != before[1]


def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    lines = licence.missing(settings(tmp_path, engine__strategies=["divergence"]), "main", KEYS)
    assert lines[0].startswith("model: no divergence model")


def test_a_spoilt_record_is_named(tmp_path: Path) -> None:
    live = settings(tmp_path)
    licence.record(live, **PASSED)
    (file,) = (tmp_path / "rehearsals").iterdir()
    file.write_text("[{}]")
    with pytest.raises(UserError, match=f"rehearsal: .*{file.name}.*rehearse again"):
        licence.permit(live, "main", KEYS)


def test_every_failure_of_the_doctor_is_told_and_a_warning_is_none() -> None:
    licence.examined(Report(0, (Check("clock", "warn", "1 s off"),)))
    bad = (Check("keys", "bad", "may withdraw", "make another"), Check("disk", "bad", "full"))
    with pytest.raises(UserError, match=r"(?s)doctor: keys: may withdraw; make another.*doctor: disk: full"):
        licence.examined(Report(0, (*bad, Check("clock", "good", "right"))))


async def test_the_doctor_is_asked_before_there_is_a_venue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def examine(_: Settings) -> Report:
        return Report(0, (Check("positions", "bad", "in long_short_mode"),))

    def make_venue(*_: object) -> None:
        raise AssertionError("nobody may reach for the exchange")

    monkeypatch.setattr(doctor, "examine", examine)
    monkeypatch.setattr(supervisor, "make_venue", make_venue)
    monkeypatch.setattr(Session, "_log_to_file", lambda _: None)
    session = Session(settings(tmp_path), True, headless=True, quiet=True, permit=Permit("main"))
    with pytest.raises(UserError, match="doctor: positions: in long_short_mode"):
        await session.run()


@pytest.mark.parametrize("name", ["okx-demo", "shadow", "demo"])
def test_live_is_for_real_money_alone(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"--live is for real money, and venue {name} has none"):
        settings(tmp_path, venue__name=name).venue.refuse_real_money(live=True)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--venue", "okx"), "real money"),
        (("--venue", "okx", "--live"), "cockpit rehearse"),
    ],
)
async def test_the_engine_refuses_real_money_before_it_does_anything(
    home: Home, arguments: tuple[str, ...], why: str
) -> None:
    engine = await home.run("core.engine", "run", *arguments, "--strategy", "zscore", **KEYS)
    code, _, errors = await engine.end()
    assert code in (1, 2) and why in errors, errors
    assert "canary" not in errors and "Traceback" not in errors
    assert not home.path.exists() or not list(home.path.glob("ledger/okx*"))
