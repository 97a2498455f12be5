"""What the terminal shows, and how one moves about in it."""

from pathlib import Path

import msgspec
import pytest
from driver import ROOMY, SMALL, cockpit, replace
from rich.cells import cell_len
from scene import Scene
from textual.theme import BUILTIN_THEMES

from cockpit.theme import DEFAULTS, Palette
from cockpit.widgets.log import LogPanel
from cockpit.widgets.panel import fit

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
        for mode in ("DEMO", "OKX-DEMO", "SHADOW", "LIVE"):
            await it.publish(mode=mode)
            assert f" {mode} " in it.text(it.board.header)
            frames[mode] = it.board.header.styles.border_top
        assert len({frame[0] for frame in frames.values()}) == 4, "each mode has a frame of its own shape"
        assert len({frame[1] for frame in frames.values()}) == 3, "and what is not real money never its colour"


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
