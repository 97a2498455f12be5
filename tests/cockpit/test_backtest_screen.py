"""The backtest screen: what it starts, how it follows, what it shows of a run, and that nothing is left behind."""

import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from driver import ROOMY, SMALL, Cockpit, cockpit
from standin import compared, document, keep
from textual.binding import Binding

from cockpit.backtests import Backtests, Form
from cockpit.screens.backtest import BacktestScreen
from cockpit.screens.dashboard import Dashboard
from cockpit.screens.modals import Help

PARAMETERS: dict[str, dict[str, object]] = {
    "divergence": {"z_entry": 1.0, "z_window": 24, "switch": True},
    "outside": {},
}
HERE = Path(__file__).resolve().parent


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose processes find the stand-in."""
    monkeypatch.setenv("COCKPIT_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{HERE.parents[1]}")
    return tmp_path


def kept(home: Path, *seeds: int, **changes: Any) -> None:
    """Runs of these seeds, an hour apart, the last one the newest."""
    for place, seed in enumerate(seeds):
        keep(home, f"run-{seed}", document(seed, **changes))
        os.utime(home / "runs" / f"run-{seed}" / "result.json", (1_720_000_000 + 3600 * place,) * 2)


@contextlib.asynccontextmanager
async def bench(home: Path, size: tuple[int, int] = ROOMY, **form: str) -> AsyncIterator[Cockpit]:
    """The backtest screen, opened with its key, with these values given."""
    backtests = Backtests(home, home / "lake", Form(PARAMETERS), module="standin")
    for key, value in form.items():
        backtests.form.give(key, value)
    async with cockpit(home, size, backtests=backtests) as it:
        await it.press("b")
        assert isinstance(it.app.screen, BacktestScreen)
        yield it


def asked(home: Path) -> dict[str, Any]:
    """What the stand-in was asked."""
    found: dict[str, Any] = json.loads((home / "asked.json").read_text())
    return found


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


# Running


@pytest.mark.parametrize("size", [SMALL, ROOMY])
async def test_r_runs_what_the_setup_says_and_the_result_is_shown(home: Path, size: tuple[int, int]) -> None:
    async with bench(home, size) as it:
        await it.press("r")
        await it.until(lambda: it.app.backtests.job.state == "done")
        assert it.app.focused is it.app.backtest.result
        text = it.text()
        assert "UNPROVEN" in text and "7,200 bars of 1h" in text and "nothing is proven" in text
        assert asked(home)["words"] == ["--engine", "events", "--keep"] and asked(home)["nice"] == 10
        assert [run.name for run in it.app.backtests.runs] == ["made-7"]


async def test_choices_are_turned_values_are_typed_and_only_changes_are_asked(home: Path) -> None:
    (home / "lake" / "perp-1h").mkdir(parents=True)
    (home / "lake" / "perp-1h" / "manifest.json").touch()
    async with bench(home) as it:
        await it.until(lambda: it.app.backtests.form.data_sets)
        await it.press("j", "right")
        assert "perp-1h" in it.text(it.app.backtest.setup)
        await it.press("G", "k", "enter", *("backspace",) * 2, "4", "8", "enter")
        assert "48  default 24" in it.text(it.app.backtest.setup)
        await it.press("k", "enter", *("backspace",) * 3, "2", "enter")
        await it.press("backspace")  # back to its default: no change
        await it.press("r")
        await it.until(lambda: it.app.backtests.job.state == "done")
        words = ["--engine", "events", "--data", "perp-1h", "--set", "z_window=48", "--keep"]
        assert asked(home)["words"] == words


async def test_another_strategy_has_other_parameters(home: Path) -> None:
    async with bench(home) as it:
        assert "z_window" in it.text(it.app.backtest.setup)
        await it.press("right")
        text = it.text(it.app.backtest.setup)
        assert "outside" in text and "z_window" not in text and "no parameters" in text


async def test_escape_leaves_a_value_as_it_was(home: Path) -> None:
    async with bench(home) as it:
        await it.press("j", "enter", "x", "q", "escape")
        assert it.app.screen is it.app.backtest and it.app.backtests.form.value("data") == ""


async def test_a_run_goes_on_behind_the_dashboard_and_is_told_there(home: Path) -> None:
    async with bench(home, strategy="endless") as it:
        await it.press("r")
        await it.until(lambda: it.app.backtests.job.progress == 0.42)
        assert "42%" in it.text(it.app.backtest.job) and "bar 4,200" in it.text(it.app.backtest.job)
        await it.press("r")
        assert it.app.backtests.running, "one run at a time"
        await it.press("escape")
        assert it.app.screen is it.board and "backtest 42%" in str(it.board.header.border_subtitle)
        await it.publish(bars=321)
        assert "321" in it.text(it.board.header), "the dashboard follows the engine meanwhile"
        await it.press("b", "x")
        await it.until(lambda: it.app.backtests.job.state == "cancelled")
        assert gone(asked(home)["pid"]) and "cancelled" in it.text(it.app.backtest.job)
        await it.press("escape")
        assert "backtest" not in str(it.board.header.border_subtitle)


async def test_the_end_of_a_run_is_told_on_the_dashboard(home: Path) -> None:
    async with bench(home, strategy="patient") as it:
        await it.press("r")
        await it.until(lambda: it.app.backtests.job.text == "waiting")
        await it.press("escape")
        os.kill(asked(home)["pid"], signal.SIGUSR1)
        await it.until(lambda: "backtest: patient" in it.text())
        await it.press("b")
        assert "UNPROVEN" in it.text()


async def test_leaving_the_terminal_ends_the_run(home: Path) -> None:
    async with bench(home, strategy="endless") as it:
        await it.press("r")
        await it.until(lambda: it.app.backtests.job.progress == 0.42)
        await it.press("escape", "q")
        await it.until(lambda: it.app.return_value is not None)
    assert gone(asked(home)["pid"])


@pytest.mark.parametrize(
    ("strategy", "reason"), [("refused", "its hashes do not hold"), ("mute", "without a result")]
)
async def test_why_a_run_failed_is_said(home: Path, strategy: str, reason: str) -> None:
    async with bench(home, strategy=strategy) as it:
        await it.press("r")
        await it.until(lambda: it.app.backtests.job.state == "failed")
        assert reason in it.text(it.app.backtest.job)


# Looking


async def test_where_there_is_nothing_yet_the_next_step_is_named(home: Path) -> None:
    async with bench(home) as it:
        text = it.text()
        assert "none: cockpit data import FILE" in text and "more data to run it on" in text
        assert "no runs yet: r runs" in text and "no run to show yet" in text


async def test_a_result_tells_figures_with_intervals_costs_pairs_and_assumptions(home: Path) -> None:
    kept(home, 7, compared=compared(7))
    async with bench(home, (160, 140)) as it:
        await it.until(lambda: it.app.backtests.runs)
        text = it.text(it.app.backtest.result)
        for word in (
            "-31.89% … +18.11%", "deflated Sharpe", "confidence after 27 trials", "153", "slippage", "-153.00",
            "ADA/DOT (open)", "buy-hold", "Oct", "taker 5.0 bp", "2 bars of DOT", "9f2c9f2c", "report.html",
            "drawdown", "the deposit",
        ):  # fmt: skip
            assert word in text, word


async def test_earlier_runs_come_newest_first_and_broken_ones_are_left_out(home: Path) -> None:
    kept(home, 1, 2, 3)
    (home / "runs" / "broken").mkdir()
    (home / "runs" / "broken" / "result.json").write_text("{")
    async with bench(home) as it:
        await it.until(lambda: it.app.backtests.runs)
        assert [run.name for run in it.app.backtests.runs] == ["run-3", "run-2", "run-1"]
        await it.press("2", "j")
        shown = it.app.backtest.result.run
        assert shown is not None and shown.name == "run-2"
        await it.press("enter")
        assert it.app.focused is it.app.backtest.result


async def test_a_run_made_elsewhere_is_there_when_one_comes_back(home: Path) -> None:
    kept(home, 1)
    async with bench(home) as it:
        await it.until(lambda: len(it.app.backtests.runs) == 1)
        known = it.app.backtests.runs[0]
        await it.press("escape")
        kept(home, 2)
        await it.press("b")
        await it.until(lambda: len(it.app.backtests.runs) == 2)
        assert any(run is known for run in it.app.backtests.runs), "what is known is not read again"


async def test_two_runs_are_laid_over_each_other(home: Path) -> None:
    kept(home, 1, params={"z_entry": 1.0})
    kept(home, 2, params={"z_entry": 2.0})
    async with bench(home) as it:
        await it.until(lambda: len(it.app.backtests.runs) == 2)
        await it.press("2", "j", "space", "k")
        text = it.text(it.app.backtest.result)
        assert "z_entry 1.0" in text and "z_entry 2.0" in text and "◆" in text
        net = next(line for line in text.splitlines() if line.startswith(" net return"))
        assert net.count("…") == 2, "both with their intervals"
        await it.press("j", "space", "k")
        assert "◆" not in it.text(it.app.backtest.result)


async def test_on_a_small_terminal_one_panel_is_shown_and_keys_change_it(home: Path) -> None:
    kept(home, 1)
    async with bench(home, SMALL) as it:
        await it.until(lambda: it.app.backtests.runs)
        screen = it.app.backtest
        for key, name in (("2", "runs"), ("3", "result"), ("tab", "setup"), ("shift+tab", "result")):
            await it.press(key)
            assert [n for n, panel in screen.panels.items() if panel.region.area] == [name]
            assert it.app.focused is screen.panels[name]
        await it.pilot.resize_terminal(*ROOMY)
        await it.until(lambda: all(panel.region.area for panel in screen.panels.values()))


async def test_no_line_is_longer_than_its_panel(home: Path) -> None:
    kept(home, 1, 2, compared=compared(3))
    async with bench(home) as it:
        await it.until(lambda: it.app.backtests.runs)
        for keys in ((), ("2", "j", "space", "k")):
            await it.press(*keys)
            for width in range(30, 200, 17):
                for panel in it.app.backtest.panels.values():
                    lines = [panel._line_at(y, width) for y in range(60)]
                    assert all(sum(len(text) for text, _ in line) <= width for line in lines)


# Leaving and opening


async def test_o_says_where_the_report_lies_where_no_browser_can_open(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    kept(home, 1)
    async with bench(home) as it:
        await it.until(lambda: it.app.backtests.runs)
        await it.press("o")
        await it.until(lambda: "the report lies here" in it.text())


async def test_o_opens_the_report_in_the_browser(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "browser").write_text(
        '#!/bin/sh\nprintf "%s" "$1" > "$COCKPIT_HOME/opened"\necho noise; echo noise >&2\n'
    )
    (home / "browser").chmod(0o755)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("BROWSER", f"{home}/browser %s")
    kept(home, 1)
    async with bench(home) as it:
        await it.until(lambda: it.app.backtests.runs)
        await it.press("o")
        await it.until(lambda: "opened in the browser" in it.text())
    assert (home / "opened").read_text() == f"file://{home}/runs/run-1/report.html"


async def test_help_lists_the_keys_of_this_screen(home: Path) -> None:
    async with bench(home, (160, 60)) as it:
        await it.press("question_mark")
        assert isinstance(it.app.screen, Help)
        text = it.text()
        for binding in BacktestScreen.BINDINGS:
            assert isinstance(binding, Binding) and binding.tooltip in text, binding
        await it.press("escape")
        await it.press("escape")
        assert isinstance(it.app.screen, Dashboard)
