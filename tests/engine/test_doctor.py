"""The doctor: every check has a case in which it fails, and none tells a secret."""

import asyncio
import fcntl
import json
import os
import sqlite3
from decimal import Decimal as D
from pathlib import Path

import msgspec
import pytest

from core.config import Settings, load
from core.domain.errors import UserError
from core.domain.health import Check, Report
from core.domain.instrument import Instrument
from core.domain.orders import Fill
from core.engine import doctor
from core.portfolio.events import AnyEvent, Filled, Listed, Opened, Part
from core.portfolio.ledger import SyncLedger
from core.venues.okx_local.server import LocalExchange
from core.venues.okx_local.server import Settings as Local
from core.venues.port import AccountMode, Unreachable
from tests.engine.desk import ASSETS
from tests.engine.small import panel
from tests.execution.fakes import BTC, SPECS, FakeVenue

CANARIES = {"OKX_API_KEY": "canary-key", "OKX_API_SECRET": "canary-secret", "OKX_API_PASSPHRASE": "canary-phrase"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return made(tmp_path)


def made(home: Path, **options: object) -> Settings:
    chosen: dict[str, object] = {"universe.assets": list(ASSETS), "engine.strategies": ["zscore"]}
    chosen |= {name.replace("__", "."): value for name, value in options.items()}
    found = load(None, options=chosen, environ={"COCKPIT_HOME": str(home / "home")})
    found.paths.create()
    return found


def one(report: Report, name: str) -> Check:
    return next(check for check in report.checks if check.name == name)


async def test_a_fresh_home_passes(settings: Settings) -> None:
    report = await doctor.examine(settings)
    assert report.passed, report.failures
    assert [check.name for check in report.checks] == [
        "configuration", "keys", "home", "socket", "disk", "lock", "ledger", "models", "exchange",
    ]  # fmt: skip
    assert doctor.render(report).endswith("all is well, 0 warnings")


async def test_a_strategy_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("STRATEGY = 7\n")
    broken = made(tmp_path, engine__strategies=["own"], strategy__own__path=str(tmp_path / "own.py"))
    assert one(await doctor.examine(broken), "configuration").level == "bad"


class TestKeys:
    async def test_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in CANARIES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.chdir(tmp_path)
        found = one(await doctor.examine(made(tmp_path, venue__name="okx-demo")), "keys")
        assert found.level == "bad" and "OKX_API_SECRET" in found.text

    def test_a_file_that_others_may_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in CANARIES:
            monkeypatch.delenv(name, raising=False)
        file = tmp_path / ".env"
        file.write_text("".join(f"{name}={value}\n" for name, value in CANARIES.items()))
        file.chmod(0o644)
        okx = made(tmp_path, venue__name="okx-demo")
        (found,) = doctor.keys(okx, tmp_path)
        assert found.level == "warn" and found.way_out == f"chmod 600 {file}"
        file.chmod(0o600)
        (found,) = doctor.keys(okx, tmp_path)
        assert found.level == "good" and "canary" not in found.line


class TestFolders:
    def test_others_may_enter(self, settings: Settings) -> None:
        settings.paths.home.chmod(0o755)
        assert {check.level for check in doctor.folders(settings)} == {"bad"}

    def test_not_writable(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "access", lambda path, mode: False)
        assert {check.level for check in doctor.folders(settings)} == {"bad"}


def test_a_full_disk(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, level in ((5_000.0, "good"), (900.0, "warn"), (100.0, "bad")):
        monkeypatch.setattr(doctor, "free_mb", lambda folder, free=free: free)
        assert doctor.disk(settings).level == level


def test_a_running_engine_is_told_and_its_ledger_is_its_own(settings: Settings) -> None:
    write(settings, Opened(1, "px", "demo", "USDT", D(100)))
    with Path(f"{settings.paths.socket}.lock").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        open_one = SyncLedger(settings.paths.ledger("demo"))
        assert doctor.lock(settings).level == "warn"
        assert doctor.ledger(settings)[1].text.startswith("in use by the running engine")
        asyncio.run(open_one.close())
    assert doctor.lock(settings).level == "good"


def write(settings: Settings, *events: AnyEvent) -> Path:
    path = settings.paths.ledger("demo")
    kept = SyncLedger(path)
    kept.write(events)
    asyncio.run(kept.close())
    return path


class TestLedger:
    def test_it_folds(self, settings: Settings) -> None:
        write(settings, Opened(1, "px", "demo", "USDT", D(100)), Listed(1, tuple(SPECS.values())))
        events, found = doctor.ledger(settings)
        assert len(events) == 2 and found.text == "2 events fold: cash 100.00 USDT, flat"

    def test_opened_by_another_program(self, settings: Settings) -> None:
        path = write(settings, Opened(1, "px", "demo", "USDT", D(100)))
        held = sqlite3.connect(path, isolation_level=None)
        held.execute("PRAGMA locking_mode=EXCLUSIVE")
        held.execute("BEGIN EXCLUSIVE")
        assert doctor.ledger(settings)[1].level == "bad"
        held.close()

    def test_no_ledger_at_all(self, settings: Settings) -> None:
        settings.paths.ledger("demo").write_bytes(b"nothing of the kind" * 99)
        assert doctor.ledger(settings)[1].level == "bad"

    def test_an_event_is_missing(self, settings: Settings) -> None:
        path = write(settings, *[Opened(1, "px", "demo", "USDT", D(100)), Listed(1, ()), Listed(2, ())])
        with sqlite3.connect(path) as cut:
            cut.execute("DELETE FROM events WHERE seq = 2")
        assert "event 2 is missing" in doctor.ledger(settings)[1].text

    def test_events_contradict_each_other(self, settings: Settings) -> None:
        fill = Fill("t", "v", "", BTC, D(1), D(1000), D(0), "USDT", 2)
        events = (Opened(1, "px", "demo", "USDT", D(100)), Listed(1, tuple(SPECS.values())))
        write(settings, *events, Filled(2, fill, (Part("nobody", 0, D(1), D(0)),)))
        found = doctor.ledger(settings)[1]
        assert found.level == "bad" and "contradict" in found.text and found.way_out


async def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    okx = made(tmp_path, venue__name="okx-demo", engine__strategies=["divergence"])
    assert one(await doctor.examine(okx), "models").level == "bad"


class TestTheExchange:
    async def conditions(self, settings: Settings, venue: FakeVenue) -> dict[str, Check]:
        return {check.name: check for check in await doctor.conditions(settings, venue, [])}

    async def test_what_a_preflight_finds_is_found_before(self, settings: Settings) -> None:
        class Spot(FakeVenue):
            async def account_mode(self) -> AccountMode:
                return AccountMode("spot", True, ("trade", "withdraw"), True)

        found = await self.conditions(settings, Spot())
        assert (found["account"].level, found["key"].level) == ("bad", "warn")

    async def test_leverage_is_only_told_for_the_engine_sets_it(self, tmp_path: Path) -> None:
        found = await self.conditions(made(tmp_path, venue__leverage=3), FakeVenue())
        assert found["leverage"].level == "warn"

    async def test_what_is_not_listed(self, tmp_path: Path) -> None:
        found = await self.conditions(made(tmp_path, universe__assets=["BTC", "LUNA"]), FakeVenue())
        assert found["universe"].level == "bad" and "LUNA-USDT-SWAP" in found["universe"].text

    async def test_an_exchange_that_does_not_answer(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Silent(FakeVenue):
            async def look(self) -> None:
                raise Unreachable("demo exchange: no answer within 10 s")

        monkeypatch.setattr(doctor, "reader", lambda settings: Silent())
        assert one(await doctor.examine(settings), "exchange").level == "bad"

    async def test_the_local_exchange_by_requests_alone(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        local = Local(speed=0.0, start=450)
        async with LocalExchange(panel(), settings.paths.exchange, local) as exchange:
            address = {"port": exchange.port, "pid": os.getpid()}
            (settings.paths.exchange / "exchange.json").write_text(json.dumps(address))
            report = await doctor.examine(settings)
        assert report.passed, report.failures
        assert one(report, "exchange").text.startswith("demo answers")
        assert {"account", "key", "leverage", "tiers", "fees", "clock", "price limits", "instruments"} <= {
            check.name for check in report.checks
        }


class TestTheCommand:
    def run(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
    ) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["doctor", *words])
        code = doctor.main()
        return code, capsys.readouterr().out

    def test_it_says_all_and_ends_with_0(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("COCKPIT_HOME", str(tmp_path))
        code, said = self.run(monkeypatch, capsys, "--json")
        document = json.loads(said)
        assert code == 0 and document["passed"]
        assert msgspec.convert(document["checks"], list[Check])

    def test_a_failure_ends_with_1_and_no_secret_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("COCKPIT_HOME", str(tmp_path))
        for name, value in CANARIES.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(doctor, "reader", _refuse)
        code, said = self.run(monkeypatch, capsys, "--venue", "okx-demo")
        assert code == 1 and "fail models" in said and "canary" not in said

    def test_settings_that_cannot_be_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "c.toml").write_text("[venue]\nleverage = 0\n")
        code, said = self.run(monkeypatch, capsys, "--config", str(tmp_path / "c.toml"))
        assert code == 1 and said.startswith("fail configuration: ")


def _refuse(settings: Settings) -> FakeVenue:
    raise UserError("nobody is asked in this test")


def test_instruments_are_those_that_the_ledger_remembers() -> None:
    old = msgspec.structs.replace(SPECS[BTC], lot=D(1))
    remembered: dict[str, Instrument] = doctor._remembered([Listed(1, (old,)), Listed(2, (SPECS[BTC],))])
    assert remembered == {BTC: SPECS[BTC]}
