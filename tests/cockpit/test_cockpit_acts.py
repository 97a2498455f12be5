"""What keys do: what reaches the engine, what never does, and what happens when there is none."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from driver import ROOMY, SMALL, Cockpit, cockpit
from scene import serving
from textual.binding import Binding
from textual.widgets import Button

from cockpit.app import CockpitApp
from cockpit.screens.dashboard import Dashboard
from cockpit.screens.modals import Help, Question
from cockpit.screens.ticket import OpenTicket
from cockpit.widgets.panel import Panel
from core.domain.errors import UserError

# Acting


async def test_p_pauses_and_resumes(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        await it.press("p")
        assert (await it.sent("pause")).who == "cockpit"
        await it.until(lambda: "REDUCING" in it.text(it.board.header))
        assert "paused by cockpit" in it.text(it.board.header), "why it is so is said in words"
        await it.press("p")
        await it.sent("resume")
        await it.until(lambda: "ACTIVE" in it.text(it.board.header))


async def test_K_kills_after_a_yes_and_to_come_back_from_a_halt_is_asked_first(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        await it.press("K")
        await it.until(lambda: isinstance(it.app.screen, Question))
        assert "halted, over restarts too" in it.text()
        await it.press("y")
        assert (await it.sent("kill")).who == "cockpit"
        await it.until(lambda: "■ HALTED" in it.text(it.board.header))
        await it.press("p")
        await it.until(lambda: isinstance(it.app.screen, Question))
        await it.press("enter")
        assert not [command for command in it.engine.seen if command.name == "resume"], "it starts on Cancel"
        await it.press("p")
        await it.until(lambda: isinstance(it.app.screen, Question))
        await it.press("y")
        await it.sent("resume")


@pytest.mark.parametrize("key", ["o", "c", "F", "K", "ctrl+q"])
async def test_what_spends_is_asked_first_and_the_easy_answer_is_no(tmp_path: Path, key: str) -> None:
    async with cockpit(tmp_path) as it:
        for no in (("enter",), ("n",), ("escape",), ("tab", "shift+tab", "enter")):
            await it.press(key)
            assert isinstance(it.app.screen, Question)
            assert it.app.focused is it.app.screen.query_one("#no", Button)
            await it.press(*no)
            assert it.app.screen is it.board, no
        assert not it.engine.acted


async def test_c_closes_the_selected_position(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        await it.press("2", "j", "c")
        text = it.text()
        assert "close ADA/DOT?" in text and "sell 3,000 ADA" in text and "buy  217.0 DOT" in text
        await it.press("y")
        command = await it.sent("close")
        assert (command.pair, command.who) == ("ADA/DOT", "cockpit")
        assert [c.name for c in it.engine.acted] == ["close"]


async def test_buttons_work_as_well_as_letters(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        await it.press("c", "tab", "enter")
        assert (await it.sent("close")).pair == "SOL/AVAX"


async def test_capital_f_flattens_all(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        await it.press("F")
        assert "SOL/AVAX" in it.text() and "ADA/DOT" in it.text() and "Every position above" in it.text()
        await it.press("y")
        await it.sent("flatten")
        await it.until(lambda: "no position" in it.text(it.board.positions))
        await it.press("F", "c")
        assert it.app.screen is it.board, "there is nothing left to ask about"


async def test_o_opens_the_selected_pair_after_the_engine_has_priced_it(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        name, side = it.board.pairs.selected or ("", 0)
        a, b = name.split("/")
        await it.press("o")
        preview = await it.sent("preview")
        assert (preview.pair, preview.side) == (name, side)
        await it.until(lambda: "risk gate allows" in it.text())
        text = it.text()
        for word in (a, b, "1,000.00", "gross 2,000.00", "fees 1.00", "margin 2,000.00"):
            assert word in text, word
        await it.press("y")
        command = await it.sent("open")
        assert (command.pair, command.side, command.notional) == (name, side, 0.0)


async def test_the_other_side_is_priced_anew(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        _, side = it.board.pairs.selected or ("", 0)
        await it.press("o")
        await it.until(lambda: "risk gate allows" in it.text())
        await it.press("s")
        await it.until(lambda: len(it.engine.seen) == 2 and "risk gate allows" in it.text())
        assert [command.side for command in it.engine.seen] == [side, -side]
        await it.press("y")
        assert (await it.sent("open")).side == -side


async def test_what_the_risk_gate_refuses_cannot_be_sent(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        it.engine.refusal = "margin 2,000.00 is above the free 1,200.00"
        await it.press("o")
        await it.until(lambda: "refused" in it.text())
        assert "margin 2,000.00 is above" in it.text()
        assert it.app.screen.query_one("#yes", Button).disabled
        await it.press("y", "enter")
        assert not it.engine.acted


async def test_yes_before_the_price_is_known_does_nothing(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        screen = OpenTicket("BTC/ETH", 1)
        it.app.push_screen(screen)
        await it.pilot.pause()
        screen.ticket = None
        screen.action_yes()
        await it.pilot.pause()
        assert it.app.screen is screen and not it.engine.acted


async def test_a_refusal_is_told_in_words(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        it.engine.refusal = "the engine is still training [62%]"
        await it.press("p")
        await it.until(lambda: "pause: refused" in it.text())
        assert "still training" in it.text()


async def test_ctrl_q_stops_the_engine_and_leaves(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        await it.press("ctrl+q")
        assert "2 positions and their protection stay" in it.text()
        await it.press("y")
        await it.sent("stop")
        await it.until(lambda: it.app.return_value is not None)
        assert it.app.return_value and "--resume" in it.app.return_value and it.app.return_code == 0


@pytest.mark.parametrize("key", ["q", "d"])
async def test_leaving_leaves_the_engine_alone(tmp_path: Path, key: str) -> None:
    async with cockpit(tmp_path) as it:
        await it.press(key)
        await it.until(lambda: it.app.return_value is not None)
        assert it.app.return_value == "The engine goes on. Come back: cockpit attach. Stop it: cockpit stop"
        assert not it.engine.acted


@pytest.mark.parametrize("options", [{"read_only": True}, {"engine_read_only": True}])
async def test_read_only_means_it(tmp_path: Path, options: dict[str, Any]) -> None:
    async with cockpit(tmp_path, **options) as it:
        await it.press("p", "o", "c", "F", "K", "ctrl+q")
        assert it.app.screen is it.board and not it.engine.seen
        assert "READ-ONLY" in it.text(it.board.header)
        dead = {key.description for key in it.app.screen.query("FooterKey.-disabled")}  # type: ignore[attr-defined]
        assert dead == {"Pause", "Open", "Close", "Flatten", "Kill", "Stop"}


# Keys and help


async def test_help_lists_what_can_be_pressed(tmp_path: Path) -> None:
    async with cockpit(tmp_path, ROOMY) as it:
        await it.press("question_mark")
        assert isinstance(it.app.screen, Help)
        text = it.text()
        for binding in Dashboard.BINDINGS:
            assert isinstance(binding, Binding) and binding.tooltip in text, binding
        await it.press("escape")
        assert it.app.screen is it.board


def test_every_binding_has_an_id_and_says_what_it_does() -> None:
    ids = []
    for owner in (CockpitApp, Dashboard, Panel, Question, OpenTicket, Help):
        for binding in owner.__dict__["BINDINGS"]:
            assert isinstance(binding, Binding) and binding.id and binding.tooltip, binding
            ids.append(binding.id)
    assert len(ids) == len(set(ids))


async def test_keys_can_be_mapped_anew(tmp_path: Path) -> None:
    async with cockpit(tmp_path, keymap={"act.pause": "x"}) as it:
        await it.press("p")
        await it.press("x")
        await it.sent("pause")
        assert len(it.engine.seen) == 1


# The link


async def test_an_engine_that_goes_away_is_missed_and_welcomed_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cockpit.app.RETRY", 0.02)
    async with cockpit(tmp_path, (120, 36)) as it:
        await it.engine.server.close()
        await it.until(lambda: "ENGINE UNREACHABLE since" in it.text())
        said = " ".join(it.text().split())
        assert "positions and protection stay at the exchange" in said and "cockpit demo --resume" in said
        assert "NO LINK" in it.text(it.board.header) and "ACTIVE" not in it.text(it.board.header)
        await it.press("p", "F")
        assert it.app.screen is it.board, "nothing can be asked of nobody"

        async with serving(tmp_path / "engine.sock"):
            await it.until(lambda: "UNREACHABLE" not in it.text())
            assert "ACTIVE" in it.text(it.board.header)


async def test_an_engine_that_stopped_on_purpose_is_told_apart(tmp_path: Path) -> None:
    async with cockpit(tmp_path, (120, 36)) as it:
        await it.publish(phase="stopping")
        await it.engine.server.close()
        await it.until(lambda: "THE ENGINE HAS STOPPED" in it.text())


async def test_without_an_engine_the_screen_stands_and_says_so(tmp_path: Path) -> None:
    app = CockpitApp(tmp_path / "none.sock")
    async with app.run_test(size=SMALL) as pilot:
        it = Cockpit(app, pilot, None)
        await it.until(lambda: "no engine listens at" in it.text())
        assert "waiting for the engine" in it.text()
        await it.press("q")
    assert app.return_code == 3


async def test_while_the_engine_starts_its_progress_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cockpit.app.RETRY", 0.02)
    app = CockpitApp(tmp_path / "engine.sock", starting=lambda: "starting the local exchange")
    async with app.run_test(size=SMALL) as pilot:
        it = Cockpit(app, pilot, None)
        await it.until(lambda: "! starting the local exchange" in it.text())
        async with serving(tmp_path / "engine.sock"):
            await it.until(lambda: app.latest.pairs is not None)
            assert "starting the local exchange" not in it.text()


async def test_an_engine_that_dies_at_its_start_ends_the_terminal_with_the_reason(tmp_path: Path) -> None:
    def starting() -> str:
        raise UserError("the engine ended with 1: port 8080 is in use", 1)

    app = CockpitApp(tmp_path / "none.sock", starting=starting)
    async with app.run_test(size=SMALL) as pilot:
        await Cockpit(app, pilot, None).until(lambda: app.return_value is not None)
    assert app.return_value == "the engine ended with 1: port 8080 is in use" and app.return_code == 1


# What must not leak


def test_the_terminal_imports_nothing_heavy() -> None:
    heavy = "numpy torch sklearn ccxt pandas pydantic aiohttp numba core.venues core.engine core.models"
    code = f"import sys, cockpit.app; print([name for name in {heavy.split()} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


async def test_a_crash_shows_no_local_variables(tmp_path: Path) -> None:
    app = CockpitApp(tmp_path / "none.sock")
    async with app.run_test(size=SMALL):
        try:
            secret = "sk-" + "very" * 3
            raise RuntimeError(f"a failure {len(secret)}")
        except RuntimeError:
            app._fatal_error()
        told = "".join(segment.text for segment in app._exit_renderables.pop().segments)  # type: ignore[union-attr]
    assert "a failure" in told and "veryvery" not in told


async def test_pictures_ask_nobody_for_fonts(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        picture = it.app.export_screenshot()
        assert "SOL/AVAX" in picture.replace("&#160;", " ")
        assert "font-face" not in picture and "https://cdn" not in picture
