"""One asset against its clusters, bar by bar: asked of the engine when one looks, and again with every bar."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer

from cockpit.screens.modals import Help, keys
from cockpit.widgets.trail import TrailPanel
from core.domain.errors import UserError
from core.domain.snapshot import Command
from core.link.client import new_id

if TYPE_CHECKING:
    from cockpit.app import CockpitApp

GROUPS = {"trail": "look", "app": "help"}


class ClusterScreen(Screen[str]):
    """The detail of `asset`, with its neighbours in the order of `names`. Ends with the asset shown last."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j,right,l", "step(1)", "Next", id="trail.next", tooltip="The next asset"),
        Binding("up,k,left,h", "step(-1)", "Before", id="trail.before", tooltip="The asset before"),
        Binding("question_mark,f1", "help", "Help", id="app.help", tooltip="All keys", key_display="?"),
        Binding("escape,q,enter", "back", "Back", id="trail.back", tooltip="Back to the dashboard"),
    ]

    def __init__(self, asset: str, names: Sequence[str]) -> None:
        super().__init__()
        self.asset = asset
        self.names = list(names)
        self.panel = TrailPanel("trail")
        self.panel.can_focus = False

    @property
    def cockpit(self) -> "CockpitApp":
        return cast("CockpitApp", self.app)

    def compose(self) -> ComposeResult:
        yield self.panel
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        self.ask()

    def ask(self) -> None:
        """Ask the engine for the bars; an older question is dropped."""
        self.run_worker(self._ask(self.asset), exclusive=True)

    async def _ask(self, asset: str) -> None:
        trail, refusal = None, ""
        try:
            reply = await self.cockpit.command(Command(new_id(), "trail", asset, who="cockpit"))
        except UserError as error:
            refusal = str(error)
        else:
            trail, refusal = reply.trail, reply.message
        self.panel.show(trail, refusal, self.cockpit.latest)

    def action_step(self, by: int) -> None:
        place = self.names.index(self.asset) + by
        if 0 <= place < len(self.names):
            self.asset = self.names[place]
            self.ask()
        else:
            self.app.bell()

    def action_help(self) -> None:
        self.app.push_screen(Help(keys(self, GROUPS)))

    def action_back(self) -> None:
        self.dismiss(self.asset)
