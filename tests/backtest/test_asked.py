"""What a command line asks for is checked before anything runs, and a refusal names the way out."""

from argparse import ArgumentParser
from pathlib import Path

import pytest

from core.backtest.asked import add_options, asked
from core.domain.errors import UserError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without a configuration; a synthetic market from 2024-01-01 to 2024-02-11."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COCKPIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COCKPIT_UNIVERSE__ASSETS", "BTC,ETH,SOL")
    monkeypatch.setenv("COCKPIT_DEMO__MARKET_BARS", "1000")


def refused(*words: str) -> tuple[int, str]:
    """The exit code and the line of what cannot be."""
    parser = ArgumentParser()
    add_options(parser)
    with pytest.raises(UserError) as caught:
        asked(parser.parse_args(list(words)))
    assert "\n" not in str(caught.value)
    return caught.value.code, str(caught.value)


def test_a_start_after_the_data_asks_for_an_earlier_one() -> None:
    code, line = refused("zscore", "--from", "2026-01-01")
    assert code == 1
    assert "ends before trading starts, at 2026-01-01T00:00Z" in line and "an earlier --from" in line
    code, line = refused("zscore", "--from", "2024-01-02")
    assert "only 24 bars of history" in line and "a later --from" in line


def test_a_period_runs_forwards() -> None:
    for end in ("2024-02-01", "2024-01-20"):
        code, line = refused("zscore", "--from", "2024-02-01", "--to", end)
        assert (code, line) == (2, f"--from 2024-02-01T00:00Z is not before --to {end}T00:00Z")


def test_an_end_before_the_data_is_named() -> None:
    assert refused("zscore", "--to", "2023-05-01") == (
        2,
        "--to 2023-05-01T00:00Z: the data begins at 2024-01-01T00:00Z",
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("zscore", "--set", "z_entry"), "--set z_entry: write it like --set KEY=VALUE"),
        (("zscore", "--set", "z_entry="), "--set z_entry=: write it like --set KEY=VALUE"),
        (
            ("zscore", "--set", "z_entry=-1"),
            "options: strategy.divergence.z_entry = -1: allowed is a number above 0",
        ),
        (("zscore", "--set", "z_entri=1"), "options: strategy.divergence.z_entri: unknown key; did you mean"),
        (("zscore", "--set", "z_exit=3"), "options: strategy.divergence: z_exit 3.0 is above z_entry 1.0"),
        (("ma-cross", "--set", "nope=2"), "--set nope=2: ma-cross is a baseline, which has nothing to set"),
        (("magic",), "strategy 'magic' is not known; there are divergence"),
        (("magic",), ", buy-hold, ma-cross, rsi, supertrend"),
    ],
)
def test_a_mistake_on_the_command_line_is_wrong_usage(words: tuple[str, ...], said: str) -> None:
    code, line = refused(*words)
    assert code == 2 and said in line
