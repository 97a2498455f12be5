"""The board: places the panels by `cockpit.layout` and shows one alone when it is maximised."""

from typing import ClassVar

from textual import events
from textual.containers import Container
from textual.geometry import NULL_OFFSET, Region, Size, Spacing
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.widget import Widget

from cockpit.layout import is_compact, regions
from cockpit.widgets import PANELS
from cockpit.widgets.panel import Latest, Panel


class BoardLayout(Layout):
    """Gives each panel the region that the board has found for it."""

    name: ClassVar[str] = "board"

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:
        assert isinstance(parent, Board)
        places = parent.regions(size)
        return [
            WidgetPlacement(places[child.id], NULL_OFFSET, Spacing(), child)
            for child in children
            if child.id in places
        ]


class Board(Container):
    """All panels; those without a place at the present size are hidden until a key asks for them."""

    def __init__(self) -> None:
        self.panels = {name: kind(name, number) for number, (name, kind) in enumerate(PANELS.items(), 1)}
        self.maximised = ""
        self._places = BoardLayout()
        super().__init__(*self.panels.values(), id="board")

    @property
    def layout(self) -> Layout:
        """Our own: no style sheet knows it."""
        return self._places

    def regions(self, size: Size) -> dict[str, Region]:
        """Where each panel goes on a board of `size`."""
        return regions(size, self.panels["positions"].wanted, self.maximised, self._clusters)

    @property
    def _clusters(self) -> int:
        """Lines for a table of all assets; groups in a line each take what they get."""
        panel = self.panels["clusters"]
        return panel.wanted(0) if panel.heading else 0

    @property
    def shown(self) -> list[Panel]:
        """The visible panels, in the order of their digits."""
        return [panel for panel in self.panels.values() if panel.display]

    def update(self, latest: Latest, changed: frozenset[str]) -> None:
        """Hand what has changed to the panels that show it."""
        for panel in self.panels.values():
            if panel.topics & changed:
                panel.update(latest)
        if changed & {"positions", "clusters"}:
            self.refit()

    def refit(self) -> None:
        """Find out anew which panels are shown and where."""
        if not self.size:
            return
        places = self.regions(self.size)
        before = {panel: panel.region for panel in self.panels.values()}
        self.set_class(is_compact(self.size) and not self.maximised, "-compact")
        for name, panel in self.panels.items():
            panel.display = name in places
        if any(place.size != before[self.panels[name]].size for name, place in places.items()):
            self.refresh(layout=True)

    def maximise(self, name: str) -> None:
        """Show one panel alone (or, with an empty name, all of them again)."""
        self.maximised = name
        self.refit()
        self.refresh(layout=True)

    def on_resize(self, event: events.Resize) -> None:
        self.refit()
