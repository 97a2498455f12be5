"""The terminal, driven by keys: what a person sees, what reaches the engine, and what never does."""

import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.cells import cell_len
from scene import FakeEngine, Scene, serving
from textual.binding import Binding
from textual.pilot import Pilot
from textual.theme import BUILTIN_THEMES
from textual.widgets import Button

from cockpit.app import CockpitApp
from cockpit.screens.dashboard import Dashboard
from cockpit.screens.modals import Help, Question
from cockpit.screens.ticket import OpenTicket
from cockpit.theme import DEFAULTS, Palette
from cockpit.widgets.log import LogPanel
from cockpit.widgets.panel import Panel, fit
from core.domain.errors import UserError
from core.domain.snapshot import Command

SMALL, ROOMY = (80, 24), (160, 50)
replace = msgspec.structs.replace


class Cockpit:
    """A running app with its engine, and words for what a test does with them."""

    def __init__(self, app: CockpitApp, pilot: Pilot[str], engine: FakeEngine | None) -> None:
        self.app = app
        self.pilot = pilot
        self._engine = engine

    @property
    def engine(self) -> FakeEngine:
        assert self._engine is not None
        return self._engine

    @property
    def board(self) -> Dashboard:
        return self.app.dashboard

    async def until(self, condition: Callable[[], Any]) -> None:
        """Let the app go on until `condition` holds (at most some seconds)."""
        for _ in range(400):
            if condition():
                await self.pilot.pause()
                return
            await self.pilot.pause(0.01)
        raise AssertionError("it did not come to pass")

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def publish(self, **status: Any) -> None:
        """Publish the scene (with changes of its status) and wait until the app shows it."""
        self.engine.scene.status = replace(self.engine.scene.status, **status)
        self.engine.publish()
        seq, log = self.engine.scene.status, len(self.engine.scene.log)
        await self.until(lambda: self.app.latest.status == seq and self.app.latest.logged >= log)

    async def sent(self, name: str) -> Command:
        """Wait for a command of this name."""
        await self.until(lambda: any(command.name == name for command in self.engine.seen))
        return next(command for command in reversed(self.engine.seen) if command.name == name)

    def text(self, panel: Panel | None = None) -> str:
        """What a panel (or all of the screen's text) says."""
        if panel is None:
            return "\n".join(
                "".join(segment.text for segment in line)
                for line in self.app.screen._compositor.render_strips(self.app.screen.size)
            )
        height = panel.scrollable_content_region.height
        return "\n".join(panel.render_line(y).text for y in range(height))


@contextlib.asynccontextmanager
async def cockpit(
    folder: Path, size: tuple[int, int] = SMALL, scene: Scene | None = None, **options: Any
) -> AsyncIterator[Cockpit]:
    """The app attached to a fake engine, after it has shown everything once."""
    async with serving(folder / "engine.sock", scene, read_only=options.pop("engine_read_only", False)) as engine:
        app = CockpitApp(engine.server.path, **{"rate": 20.0, **options})
        async with app.run_test(size=size, notifications=True) as pilot:
            it = Cockpit(app, pilot, engine)
            await it.until(lambda: app.latest.clusters is not None and app.latest.logged == len(engine.scene.log))
            yield it


# What is on the screen


@pytest.mark.parametrize("size", [SMALL, (120, 36), ROOMY, (240, 70)])
async def test_everything_that_matters_is_on_the_screen(tmp_path: Path, size: tuple[int, int]) -> None:
    async with cockpit(tmp_path, size) as it:
        text = it.text()
        for word in ("DEMO", "ACTIVE", "running", "2024-08-08", "10/10", "SOL/AVAX", "ADA/DOT", "9,96", "decision"):
            assert word in text, word
        assert ("ledger = exchange") in text


async def test_the_mode_is_said_by_word_and_frame(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        frames = {}
        for mode in ("DEMO", "OKX-DEMO", "LIVE"):
            await it.publish(mode=mode)
            assert f" {mode} " in it.text(it.board.header)
            frames[mode] = it.board.header.styles.border_top
        assert len({frame[0] for frame in frames.values()}) == 3, "each mode has a frame of its own shape"
        assert len({frame[1] for frame in frames.values()}) == 3, "and colour"


async def test_training_shows_its_progress_and_why_there_are_no_scores(tmp_path: Path) -> None:
    scene = Scene()
    scene.status = replace(scene.status, phase="training", progress=0.62, detail="fold 3 of 5")
    empty = msgspec.convert({name: [] for name in scene.table().__struct_fields__}, type(scene.table()))
    scene.table = lambda: empty  # type: ignore[method-assign]
    scene.held = False
    async with cockpit(tmp_path, scene=scene) as it:
        assert "62% fold 3 of 5" in it.text(it.board.header)
        assert "no scores yet: training" in it.text(it.board.pairs)
        assert "no position" in it.text(it.board.positions)


async def test_before_there_is_an_account_nothing_is_claimed_of_it(tmp_path: Path) -> None:
    scene = Scene()
    nothing = msgspec.convert(
        {
            name: [] if name.startswith("curve") else name == "agrees" or 0
            for name in scene.equity().__struct_fields__
            if name != "currency"
        }
        | {"currency": "USDT"},
        type(scene.equity()),
    )
    scene.equity = lambda: nothing  # type: ignore[method-assign]
    async with cockpit(tmp_path, scene=scene) as it:
        assert "no account yet" in it.text() and "ledger = exchange" not in it.text()


async def test_an_account_that_does_not_agree_is_loud(tmp_path: Path) -> None:
    scene = Scene()
    differs = replace(scene.equity(), agrees=False)
    scene.equity = lambda: differs  # type: ignore[method-assign]
    async with cockpit(tmp_path, scene=scene) as it:
        assert "✗ LEDGER AND EXCHANGE DIFFER" in it.text()


async def test_a_bare_position_is_loud(tmp_path: Path) -> None:
    scene = Scene()
    bare = [replace(row, protected=False) for row in scene.positions()]
    scene.positions = lambda: bare  # type: ignore[method-assign]
    async with cockpit(tmp_path, scene=scene) as it:
        assert "BARE !" in it.text(it.board.positions)
        await it.pilot.resize_terminal(*ROOMY)
        await it.until(lambda: "UNPROTECTED" in it.text(it.board.positions))


async def test_a_stream_that_fell_silent_is_named_in_words(tmp_path: Path) -> None:
    scene = Scene()
    rows = scene.streams()
    rows[2] = replace(rows[2], state="stale", age=14.0)
    rows[3] = replace(rows[3], state="down", age=240.0)
    scene.streams = lambda: rows  # type: ignore[method-assign]
    async with cockpit(tmp_path, ROOMY, scene) as it:
        await it.publish(streams_live=8)
        text = it.text(it.board.board.panels["streams"])
        assert "14s ◐ stale" in text and "4m ○ down" in text
        assert "streams 8/10 !" in it.text(it.board.header) and "oldest 4m !" in it.text(it.board.header)


async def test_clusters_name_their_method_and_lose_no_asset(tmp_path: Path) -> None:
    async with cockpit(tmp_path, (120, 36)) as it:
        panel = it.board.board.panels["clusters"]
        text = it.text(panel)
        assert all(asset in text for asset in it.engine.scene.prices)
        assert "alone" in text and str(panel.border_subtitle) == "168-bar correlation"


async def test_a_warning_of_the_engine_is_shown_until_it_ends(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        await it.publish(warning="the clock is off by 1.4 s [sic]")
        assert "! the clock is off by 1.4 s [sic]" in it.text()
        await it.publish(warning="")
        assert "clock" not in it.text()


async def test_no_line_is_longer_than_its_panel_and_no_number_is_cut_silently(tmp_path: Path) -> None:
    scene = Scene()
    scene.prices = {asset: price * 1e7 for asset, price in scene.prices.items()}
    scene.curve = [value * 1e6 for value in scene.curve]
    async with cockpit(tmp_path, ROOMY, scene) as it:
        for name, panel in it.board.board.panels.items():
            for width in range(20, 200, 7):
                lines = [panel.head(y, width) for y in range(panel.heading)]
                count = 20 if name == "equity" else panel.wanted(width) - panel.heading
                lines += [panel.line(y, width) for y in range(count)]
                for line in lines:
                    whole = "".join(text for text, _ in line)
                    shown = "".join(text for text, _ in fit(line, width))
                    assert cell_len(shown) <= width
                    assert shown.rstrip() == whole.rstrip() or shown.endswith("…")


async def test_only_lines_that_changed_are_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with cockpit(tmp_path, ROOMY) as it:
        pairs = it.board.pairs
        await it.press("s", "s", "s", "s", "s")  # by name: no row moves
        drawn: list[int] = []
        render = pairs.render_line
        monkeypatch.setattr(pairs, "render_line", lambda y: drawn.append(y) or render(y))
        row = it.app.latest.pairs.name.index("BTC/SOL") if it.app.latest.pairs else -1
        it.engine.scene.z["BTC/SOL"] += 0.5
        await it.publish(market_ms=1_723_130_000_000)
        assert it.app.latest.pairs and it.app.latest.pairs.z[row] == it.engine.scene.z["BTC/SOL"]
        assert set(drawn) == {pairs.heading + pairs.names().index("BTC/SOL")}


async def test_every_theme_works(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        for theme in ("textual-light", "ansi-dark", "nord", "cockpit"):
            it.app.theme = theme
            await it.pilot.pause()
            assert "SOL/AVAX" in it.text()
    for theme_ in BUILTIN_THEMES.values():
        assert Palette.of({**DEFAULTS, **theme_.to_color_system().generate(), **theme_.variables}).text


# The table of pairs


async def test_pairs_are_sorted_by_key_and_by_click(tmp_path: Path) -> None:
    async with cockpit(tmp_path, ROOMY) as it:
        pairs, scene = it.board.pairs, it.engine.scene
        z = scene.z
        score = {name: abs(z[name]) * scene.probability[name] for name in z}
        assert pairs.names() == sorted(score, key=score.__getitem__, reverse=True)
        await it.press("s")
        assert pairs.names() == sorted(z, key=lambda name: -abs(z[name]))
        await it.press("S")
        assert pairs.names() == sorted(z, key=lambda name: abs(z[name]))
        await it.press("s", "s", "s", "s")
        assert pairs.sort == "name" and pairs.names() == sorted(z)
        z_title = pairs.render_line(0).text.index("z")
        await it.pilot.click(pairs, offset=(1 + z_title, 1))
        assert pairs.sort == "z" and pairs.names() == sorted(z, key=lambda name: -abs(z[name]))
        await it.pilot.click(pairs, offset=(1 + z_title, 1))
        assert pairs.names() == sorted(z, key=lambda name: abs(z[name]))


async def test_the_selection_stays_with_its_pair(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        pairs = it.board.pairs
        await it.press("j", "j", "down", "k")
        chosen = pairs.chosen
        assert pairs.names().index(chosen) == 2
        await it.press("s", "s")
        assert pairs.chosen == chosen and pairs.selected and pairs.selected[0] == chosen
        await it.press("G")
        assert pairs.chosen == pairs.names()[-1]
        assert pairs.chosen in it.text(pairs), "it is brought into view"
        await it.press("g")
        assert pairs.chosen == pairs.names()[0] and pairs.chosen in it.text(pairs)


async def test_until_one_chooses_the_top_row_is_selected(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        pairs, scene = it.board.pairs, it.engine.scene
        scene.z["BNB/ADA"], scene.probability["BNB/ADA"] = 4.0, 0.9
        await it.publish(market_ms=1_723_130_000_000)
        assert pairs.selected and pairs.selected[0] == "BNB/ADA" == pairs.chosen
        await it.press("j", "g")
        scene.z["BTC/ETH"], scene.probability["BTC/ETH"] = -5.0, 0.9
        await it.publish(market_ms=1_723_140_000_000)
        assert pairs.chosen == "BTC/ETH", "g is the top, whichever pair that is"


async def test_a_click_selects_a_row(tmp_path: Path) -> None:
    async with cockpit(tmp_path, ROOMY) as it:
        await it.pilot.click(it.board.pairs, offset=(5, 2 + 4))
        assert it.board.pairs.chosen == it.board.pairs.names()[4]
        await it.pilot.click(it.board.positions, offset=(5, 1 + 4))
        assert it.board.positions.selected and it.board.positions.selected.pair == "ADA/DOT"


async def test_the_filter_narrows_and_escape_backs_out(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        pairs = it.board.pairs
        await it.press("slash", *"dot held")
        assert pairs.names() and all("DOT" in name for name in pairs.names())
        await it.press("enter")
        assert it.app.focused is pairs and "/dot held" in str(pairs.border_title)
        await it.press("escape")
        assert len(pairs.names()) == 45
        await it.press("slash", *"[zzz")
        assert "no pair matches /[zzz" in it.text(pairs)
        assert pairs.selected is None
        await it.press("escape")
        assert len(pairs.names()) == 45 and it.app.focused is pairs
        assert not it.engine.acted, "letters in the filter are no commands"


# The log


async def test_the_log_follows_its_end_until_one_scrolls_back(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        log = it.board.board.panels["log"]
        assert isinstance(log, LogPanel)
        assert "hold: XRP/LINK" in it.text(log)
        it.engine.scene.say("order", "info", "the newest line")
        await it.publish()
        assert "the newest line" in it.text(log)

        await it.press("4", "k", "k")
        assert not log.following
        before = it.text(log)
        it.engine.scene.say("order", "info", "an even newer line")
        await it.publish()
        assert it.text(log) == before, "what is read does not move"
        assert "3 more below" in str(log.border_title)

        await it.press("G")
        assert log.following and "an even newer line" in it.text(log)


# Moving about


async def test_digits_jump_and_hidden_panels_come_alone(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        board = it.board.board
        assert [panel.id for panel in board.shown] == ["pairs", "positions", "equity", "log"]
        await it.press("2")
        assert it.app.focused is it.board.positions
        await it.press("5")
        assert [panel.id for panel in board.shown] == ["streams"] and "57,342.1" in it.text()
        await it.press("6")
        assert [panel.id for panel in board.shown] == ["clusters"] and "168-bar correlation" in it.text()
        await it.press("1")
        assert len(board.shown) == 4 and it.app.focused is it.board.pairs


async def test_a_panel_is_maximised_and_back(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        board = it.board.board
        await it.press("3", "m")
        assert [panel.id for panel in board.shown] == ["equity"]
        assert "gross" in it.text(), "more room, more to see"
        await it.press("escape")
        assert len(board.shown) == 4
        await it.press("5", "m")
        assert len(board.shown) == 4 and it.app.focused is it.board.pairs


async def test_tab_and_hl_walk_through_what_is_visible(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        seen = []
        for key in ("tab", "l", "right", "tab"):
            await it.press(key)
            seen.append(it.app.focused.id if it.app.focused else None)
        assert seen == ["positions", "equity", "log", "pairs"]
        await it.press("h")
        assert it.app.focused and it.app.focused.id == "log"


async def test_a_smaller_terminal_hides_and_a_larger_one_shows(tmp_path: Path) -> None:
    async with cockpit(tmp_path, ROOMY) as it:
        assert len(it.board.board.shown) == 6
        await it.press("5")
        await it.pilot.resize_terminal(*SMALL)
        await it.until(lambda: len(it.board.board.shown) == 4)
        await it.pilot.resize_terminal(*ROOMY)
        await it.until(lambda: len(it.board.board.shown) == 6)


# Acting


async def test_p_pauses_and_resumes(tmp_path: Path) -> None:
    async with cockpit(tmp_path) as it:
        await it.press("p")
        assert (await it.sent("pause")).who == "cockpit"
        await it.until(lambda: "PAUSED" in it.text(it.board.header))
        await it.press("p")
        await it.sent("resume")
        await it.until(lambda: "ACTIVE" in it.text(it.board.header))


@pytest.mark.parametrize("key", ["o", "c", "F", "ctrl+q"])
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
        assert "SOL/AVAX" in it.text() and "ADA/DOT" in it.text() and "All 2 positions" in it.text()
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
        await it.press("p", "o", "c", "F", "ctrl+q")
        assert it.app.screen is it.board and not it.engine.seen
        assert "READ-ONLY" in it.text(it.board.header)
        dead = {key.description for key in it.app.screen.query("FooterKey.-disabled")}  # type: ignore[attr-defined]
        assert dead == {"Pause", "Open", "Close", "Flatten", "Stop"}


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
