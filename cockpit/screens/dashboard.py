"""The one screen: a header, the board of panels, a filter line when asked for, and the keys."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer, Input, Static

from cockpit import format
from cockpit.screens.cluster import ClusterScreen
from cockpit.screens.modals import Help, Question, keys
from cockpit.screens.ticket import OpenTicket
from cockpit.widgets import PANELS
from cockpit.widgets.board import Board
from cockpit.widgets.clusters import ClustersPanel
from cockpit.widgets.header import Header
from cockpit.widgets.pairs import PairsPanel
from cockpit.widgets.panel import Latest, Line, Panel
from cockpit.widgets.positions import PositionsPanel, side_word
from core.domain.snapshot import Command, PositionRow
from core.link.client import new_id

if TYPE_CHECKING:
    from cockpit.app import CockpitApp
    from cockpit.theme import Palette

ACTING = frozenset({"pause", "open", "close", "flatten", "kill"})
"""Actions that need an engine which listens to us."""


GROUPS = {"act": "act", "view": "look", "jump": "jump", "panel": "move within a panel", "app": "leave, help"}
"""Titles of the help's groups, by the first word of the bindings' ids."""


def _jumps() -> Iterator[Binding]:
    for number, name in enumerate(PANELS, 1):
        yield Binding(str(number), f"jump('{name}')", name, id=f"jump.{name}", show=False, tooltip=f"To the {name}")


class Dashboard(Screen[None]):
    """Everything at a glance, every action one key away."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "Pause", id="act.pause", tooltip="Only reduce from now on, or resume"),
        Binding("o", "open", "Open", id="act.open", tooltip="Open the selected pair by hand (asks first)"),
        Binding("c", "close", "Close", id="act.close", tooltip="Close the selected position (asks first)"),
        Binding("F", "flatten", "Flatten", id="act.flatten", tooltip="Close all positions (asks first)"),
        Binding("K", "kill", "Kill", id="act.kill", tooltip="Cancel and close everything, and halt (asks first)"),
        Binding("slash", "filter", "Filter", id="view.filter", tooltip="Show only pairs that contain these words"),
        Binding("s", "sort", "Sort", id="view.sort", show=False, tooltip="Sort the pairs by the next column"),
        Binding(
            "S", "reverse", "Reverse", id="view.reverse", show=False, tooltip="Turn the order of the pairs round"
        ),
        Binding("b", "backtest", "Test", id="view.backtest", tooltip="To the backtests"),
        Binding("m", "maximise", "Max", id="view.maximise", tooltip="This panel alone, or all of them again"),
        Binding("question_mark,f1", "help", "Help", id="app.help", tooltip="All keys", key_display="?"),
        Binding("q,d", "detach", "Detach", id="app.detach", tooltip="Leave; the engine goes on"),
        Binding("tab,l,right", "next(1)", "Next", id="view.next", show=False, tooltip="To the next panel"),
        Binding(
            "shift+tab,h,left", "next(-1)", "Back", id="view.previous", show=False, tooltip="To the panel before"
        ),
        *_jumps(),
        Binding(
            "escape", "back", "Back", id="view.back", show=False, tooltip="Clear the filter, or all panels again"
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.header = Header("header")
        self.banner = Static(id="banner", markup=False)
        self.board = Board()
        self._said = ("", False)
        self.filter = Input(placeholder="pairs that contain…  (enter keeps, esc clears)", id="filter", compact=True)

    def compose(self) -> ComposeResult:
        yield self.header
        yield self.banner
        yield self.board
        yield self.filter
        yield Footer(show_command_palette=False, compact=True)

    def on_resize(self, event: events.Resize) -> None:
        self.header.set_class(event.size.height < 32, "-low")

    def on_mount(self) -> None:
        self.filter.display = False
        self.banner.display = False
        self.pairs.focus()

    @property
    def cockpit(self) -> "CockpitApp":
        return cast("CockpitApp", self.app)

    @property
    def palette(self) -> "Palette":
        return self.cockpit.palette

    @property
    def pairs(self) -> PairsPanel:
        return cast(PairsPanel, self.board.panels["pairs"])

    @property
    def positions(self) -> PositionsPanel:
        return cast(PositionsPanel, self.board.panels["positions"])

    def update(self, latest: Latest, changed: frozenset[str]) -> None:
        """Show what has changed."""
        if self.header.topics & changed:
            self.header.update(latest)
        if "status" in changed and latest.status:
            mode = latest.status.mode.lower()
            harmless = ("demo", "okx-demo", "shadow")
            for name in harmless:
                self.header.set_class(name == mode, f"-{name}")
            self.header.set_class(mode not in harmless, "-live")
        self.board.update(latest, changed)
        if "clusters" in changed and isinstance(self.app.screen, ClusterScreen):
            self.app.screen.ask()

    def say(self, banner: str, *, grave: bool = False) -> None:
        """Show a line below the header; nothing if it is empty."""
        if (banner, grave) == self._said:  # drawing it means laying out the whole screen
            return
        self._said = (banner, grave)
        self.banner.display = bool(banner)
        self.banner.set_class(grave, "-grave")
        self.banner.update(f"{'✗' if grave else '!'} {banner}")

    def redraw(self) -> None:
        """Draw everything again."""
        for panel in (self.header, *self.board.panels.values()):
            panel.redraw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ACTING and not self.cockpit.may_act:
            return None
        return True

    @work
    async def action_pause(self) -> None:
        """Pause, or resume; to come back from a halt is asked about first."""
        status = self.cockpit.latest.status
        name = "pause" if status is None or status.state == "active" else "resume"
        if status is not None and status.state == "halted":
            lines = [
                *self._note(f"It is halted: {status.reason}."),
                *self._note("Strategies decide again; losses count from now on."),
            ]
            if not await self.app.push_screen_wait(Question("resume?", lines, "Resume", grave=True)):
                return
        self.cockpit.act(Command(new_id(), name, who="cockpit"))

    @work
    async def action_open(self) -> None:
        selected = self.pairs.selected
        if selected is None:
            self.notify("there is no pair to open", severity="warning")
            return
        ticket = OpenTicket(*selected)
        if await self.app.push_screen_wait(ticket):
            self.cockpit.act(Command(new_id(), "open", ticket.pair, ticket.side, who="cockpit"))

    @work
    async def action_close(self) -> None:
        row = self.positions.selected
        if row is None:
            self.notify("there is no position to close", severity="warning")
            return
        lines = [
            *self._legs_of(row),
            [],
            *self._note(f"{'Both legs are' if len(row.legs) > 1 else 'It is'} sold or bought back at the market."),
        ]
        if await self.app.push_screen_wait(Question(f"close {row.pair}?", lines, "Close")):
            self.cockpit.act(Command(new_id(), "close", row.pair, who="cockpit"))

    @work
    async def action_flatten(self) -> None:
        rows = self.cockpit.latest.positions
        if not rows:
            self.notify("there is no position to close", severity="warning")
            return
        lines = [line for row in rows for line in self._legs_of(row)]
        lines += [[], *self._note("Every position above is closed at the market.")]
        if await self.app.push_screen_wait(Question("flatten all?", lines, "Flatten", grave=True)):
            self.cockpit.act(Command(new_id(), "flatten", who="cockpit"))

    @work
    async def action_kill(self) -> None:
        lines = [line for row in self.cockpit.latest.positions for line in self._legs_of(row)]
        lines += [
            *([[]] if lines else []),
            *self._note("Every order of ours is cancelled, every position closed at the market."),
            *self._note("The account is halted, over restarts too, until somebody resumes it."),
        ]
        if await self.app.push_screen_wait(Question("kill?", lines, "Kill", grave=True)):
            self.cockpit.act(Command(new_id(), "kill", who="cockpit"))

    @work
    async def confirm_stop(self) -> None:
        """Ask, then stop the engine and leave."""
        held = len(self.cockpit.latest.positions)
        lines = [
            *self._note("The engine stops: entry and exit orders are cancelled."),
            *self._note(
                f"{held} positions and their protection stay at the exchange." if held else "Nothing is held."
            ),
            [],
            *self._note("To leave only this terminal, cancel and press q."),
        ]
        if await self.app.push_screen_wait(Question("stop the engine?", lines, "Stop", grave=True)):
            await self.cockpit.stop()

    def _note(self, words: str) -> list[Line]:
        return [[(f" {words}", self.palette.text)]]

    def _legs_of(self, row: PositionRow) -> list[Line]:
        p = self.palette
        lines: list[Line] = [
            [
                (f" {row.pair} ", p.strong),
                (f"{side_word(row.side)} {'the spread' if len(row.legs) > 1 else row.pair}  ", p.text),
                (f"{format.number(row.pnl, sign=True)} USDT {format.percent(row.pnl_share)}", p.signed(row.pnl)),
            ]
        ]
        for leg in row.legs:
            amount = f"{format.amount(abs(leg.units)).lstrip('+')} {leg.asset}"
            lines.append(
                [(f"   {'sell' if leg.units > 0 else 'buy ':<4} {amount} near {format.price(leg.mark)}", p.text)]
            )
        return lines

    @on(ClustersPanel.Looked)
    @work
    async def _look_at_asset(self, event: ClustersPanel.Looked) -> None:
        """Show one asset against its cluster; the one shown last is selected then."""
        panel = cast(ClustersPanel, self.board.panels["clusters"])
        last = await self.app.push_screen_wait(ClusterScreen(event.asset, panel.names()))
        if last in panel.names():
            panel.choose(panel.names().index(last))

    def action_sort(self) -> None:
        self.pairs.cycle()

    def action_reverse(self) -> None:
        self.pairs.turn()

    def action_filter(self) -> None:
        if not self.pairs.display:
            self.board.maximise("pairs")
        self.filter.display = True
        self.filter.focus()

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        self.pairs.filter = event.value
        self.pairs.reorder()

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self.pairs.focus()
        self.filter.display = False

    def action_back(self) -> None:
        if self.pairs.filter or self.filter.display:
            self.filter.value = ""
            self._filter_done()
        elif self.board.maximised:
            self.action_maximise()

    def action_maximise(self) -> None:
        focused = self.focused if isinstance(self.focused, Panel) else self.pairs
        self.board.maximise("" if self.board.maximised else focused.id or "")
        if not focused.display:  # at this size it is seen only alone
            self.pairs.focus()

    def action_jump(self, name: str) -> None:
        panel = self.board.panels[name]
        if self.board.maximised:
            self.board.maximise("")
        if not panel.display:  # there is no room for it beside the others
            self.board.maximise(name)
        panel.focus()

    def action_next(self, step: int) -> None:
        shown = self.board.shown
        place = next((i for i, panel in enumerate(shown) if panel is self.focused), -1 if step > 0 else 0)
        shown[(place + step) % len(shown)].focus()

    def action_backtest(self) -> None:
        self.app.push_screen("backtest")

    def action_help(self) -> None:
        self.app.push_screen(Help(keys(self, GROUPS)))

    def action_detach(self) -> None:
        self.cockpit.detach()
