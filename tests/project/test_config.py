"""Settings: every key documented, every mistake named with what is allowed, every value with its source."""

import re
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from core.config import Secrets, Settings, flatten, known_keys, load, values
from core.domain.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTED = ROOT / "config.toml"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without a config.toml."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str) -> Path:
    file = folder / "my.toml"
    file.write_text(text)
    return file


def refusal(path: Path | None = None, **rest: dict[str, str]) -> str:
    with pytest.raises(UserError) as caught:
        load(path, options=rest.get("options"), environ=rest.get("environ", {}))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_documented_file_holds_every_key_and_equals_the_defaults() -> None:
    documented = dict(flatten(tomllib.loads(DOCUMENTED.read_text())))
    assert set(documented) == set(known_keys())
    assert values(load(DOCUMENTED, environ={})) == values(load(environ={}))


def test_every_key_of_the_documented_file_stands_under_a_comment() -> None:
    """One comment may head a few keys that belong together."""
    above = ""
    for line in DOCUMENTED.read_text().splitlines():
        if re.match(r"\w+ = ", line):
            assert above.startswith("# "), f"no comment above {line}"
        else:
            above = line


def test_a_file_in_the_working_folder_is_found_and_without_one_the_defaults_hold(elsewhere: Path) -> None:
    assert load(environ={}).file is None
    (elsewhere / "config.toml").write_text("[venue]\nleverage = 3\n")
    found = load(environ={})
    assert (found.venue.leverage, found.file) == (3, Path("config.toml"))


def test_the_environment_beats_the_file_and_an_option_beats_both(elsewhere: Path) -> None:
    file = write(elsewhere, "[venue]\nleverage = 2\n[demo]\nseed = 2\nbars = 2\n")
    environ = {"COCKPIT_VENUE__LEVERAGE": "3", "COCKPIT_DEMO__SEED": "3", "UNRELATED__KEY": "1"}
    found = load(file, options={"venue.leverage": 4, "demo.port": None}, environ=environ)
    assert (found.venue.leverage, found.demo.seed, found.demo.bars) == (4, 3, 2)
    assert found.origin("venue.leverage") == "options"
    assert found.origin("demo.seed") == "environment COCKPIT_DEMO__SEED"
    assert found.origin("demo.bars") == str(file)
    assert found.origin("demo.port") == "default"


def test_text_of_the_environment_is_read_as_the_key_wants_it() -> None:
    environ = {
        "COCKPIT_UNIVERSE__ASSETS": "BTC, ETH",
        "COCKPIT_ENGINE__STRATEGIES": '["zscore"]',
        "COCKPIT_DEMO__SPEED": "max",
        "COCKPIT_STRATEGY__DIVERGENCE__SWITCH_THRESHOLD": "inf",
        "COCKPIT_RISK__MAX_GROSS_USDT": "0.1",
    }
    found = load(environ=environ)
    assert found.universe.assets == ("BTC", "ETH")
    assert found.engine.strategies == ("zscore",)
    assert found.demo.speed == "max"
    assert found.risk.max_gross_usdt == Decimal("0.1")
    assert load(environ={"COCKPIT_DEMO__SPEED": "3600"}).demo.speed == 3600


def test_a_universe_has_five_hundred_assets_at_most() -> None:
    names = ",".join(f"A{number}" for number in range(501))
    assert len(load(environ={"COCKPIT_UNIVERSE__ASSETS": names.rpartition(",")[0]}).universe.assets) == 500
    with pytest.raises(UserError, match="allowed is a list of 2 to 500"):
        load(environ={"COCKPIT_UNIVERSE__ASSETS": names})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[venue]\nleverage = 500", "venue.leverage = 500: allowed is a whole number from 1 up to 125"),
        ("[venue]\nleverage = true", "venue.leverage = True: allowed is a whole number"),
        ("[venue]\nleverage = '3'", "venue.leverage = '3': allowed is a whole number"),
        ("[venue]\nname = 'binance'", "venue.name = 'binance': allowed is one of demo, okx-demo, shadow, okx"),
        ("[venue]\nnmae = 'demo'", "venue.nmae: unknown key; did you mean venue.name?"),
        ("[demo]\nspeed = 'fast'", 'demo.speed = \'fast\': allowed is market seconds per second'),
        ("[demo]\nspeed = 0", "demo.speed = 0: allowed is market seconds per second"),
        ("[universe]\nassets = ['BTC']", "universe.assets = ['BTC']: allowed is a list of 2 to 500"),
        ("[universe]\nassets = ['BTC', 'BTC']", "universe: asset BTC is named twice"),
        ("[universe]\nassets = ['BTC', 'e/th']", "universe: asset 'e/th' must be capital letters"),
        ("[engine]\nstrategies = ['magic']", "engine.strategies = ['magic']: allowed is a list of divergence"),
        ("[strategy.divergence]\nz_entri = 1.0", "did you mean strategy.divergence.z_entry?"),
        ("[strategy.divergence]\nstop_min = 0.2", "strategy.divergence: stop_min 0.2 is above stop_max 0.1"),
        ("[strategy.divergence]\nz_entry = nan", "strategy.divergence.z_entry = nan: allowed is a number above 0"),
        ("[risk]\nfree_share = 1.5", "risk.free_share = 1.5: allowed is a number above 0 up to 1"),
        ("[strategy]\ndivergence = 3", "strategy.divergence is a section"),
        ("venue = 3", "venue is a section: write [venue]"),
        ("z_entry = 1", "did you mean strategy.divergence.z_entry?"),
        ("[cluster]\nk = 1", "cluster.k: unknown key; known sections are backtest, demo, engine"),
        ("[paths]\nhome = 3", "paths.home = 3: allowed is text"),
        ("[venue", "not valid TOML"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_named_with_the_way_out(elsewhere: Path, text: str, said: str) -> None:
    file = write(elsewhere, text + "\n")
    line = refusal(file)
    assert line.startswith(f"{file}: ")
    assert said in line


def test_a_mistake_in_the_environment_names_the_variable() -> None:
    line = refusal(environ={"COCKPIT_VENUE__LEVERAGE": "x"})
    assert line.startswith("environment COCKPIT_VENUE__LEVERAGE: venue.leverage = 'x'")


def test_a_named_file_that_is_missing_is_an_error(elsewhere: Path) -> None:
    assert "no such file" in refusal(elsewhere / "gone.toml")
    assert "cannot be read" in refusal(elsewhere)


@pytest.mark.parametrize("key", ["okx.api_key", "venue.secret", "venue.okx_api_passphrase", "demo.password"])
def test_a_secret_in_the_file_is_refused_without_being_repeated(elsewhere: Path, key: str) -> None:
    section, _, name = key.rpartition(".")
    line = refusal(write(elsewhere, f"[{section}]\n{name} = 'hunter2'\n"))
    assert f"{key}: secrets are read from the environment or .env alone" in line
    assert "hunter2" not in line


def test_an_unknown_key_never_repeats_its_value(elsewhere: Path) -> None:
    assert "hunter2" not in refusal(write(elsewhere, "[venue]\nokx_login = 'hunter2'\n"))


def test_secrets_come_from_the_environment_before_dotenv(elsewhere: Path) -> None:
    (elsewhere / ".env").write_text(
        "# keys\nexport OKX_API_KEY='a b'\nOKX_API_SECRET=\"s\"\n\nOKX_API_PASSPHRASE=p=1\n"
    )
    found = Secrets.load(elsewhere, {"OKX_API_SECRET": "from outside"})
    assert (found.key, found.secret, found.passphrase) == ("a b", "from outside", "p=1")
    for text in (repr(found), str(found), f"{found}"):
        assert "from outside" not in text and "a b" not in text


def test_missing_secrets_are_named(elsewhere: Path) -> None:
    with pytest.raises(UserError, match=r"OKX_API_SECRET, OKX_API_PASSPHRASE not set.*demo"):
        Secrets.load(elsewhere, {"OKX_API_KEY": "k"})


def test_state_lives_in_one_folder_that_only_its_owner_may_read(elsewhere: Path) -> None:
    paths = load(environ={"COCKPIT_HOME": str(elsewhere / "state")}).paths
    paths.create()
    assert paths.home == elsewhere / "state"
    assert paths.home.stat().st_mode & 0o777 == 0o700
    assert paths.ledger("demo") != paths.ledger("okx-demo")
    for place in (paths.socket, paths.lock, paths.exchange, paths.models, paths.lake, paths.ledger("demo")):
        assert place.is_relative_to(paths.home)
        assert place.parent.stat().st_mode & 0o077 == 0


def test_a_home_too_deep_for_a_socket_gets_a_short_one_of_its_own(elsewhere: Path) -> None:
    deep = load(environ={"COCKPIT_HOME": str(elsewhere / ("d" * 120))}).paths
    other = load(environ={"COCKPIT_HOME": str(elsewhere / ("e" * 120))}).paths
    assert len(str(deep.socket)) <= 100
    assert deep.socket != other.socket


def test_a_home_that_cannot_be_made_is_named(elsewhere: Path) -> None:
    (elsewhere / "file").write_text("")
    paths = load(environ={"COCKPIT_HOME": str(elsewhere / "file" / "home")}).paths
    with pytest.raises(UserError, match=r"cannot make .*COCKPIT_HOME"):
        paths.create()


def test_settings_do_not_change() -> None:
    settings = load(environ={})
    with pytest.raises(ValueError, match="frozen"):
        settings.venue.leverage = 2  # type: ignore[misc]
    assert isinstance(settings, Settings)
    assert values(settings)["venue.leverage"] == 1
