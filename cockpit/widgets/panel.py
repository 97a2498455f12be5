"""What every panel of the dashboard is: a view of some topics, drawn line by line.

A panel keeps plain values and draws only the lines one can see; on an update only those whose content has
changed are drawn again. That is what lets ten updates a second cost a few percent of a core.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, cast

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.markup import escape
from textual.scroll_view import ScrollView
from textual.strip import Strip

from core.domain.health import Reading
from core.domain.snapshot import Clusters, Equity, LogLine, PairTable, PositionRow, Status, Stream

if TYPE_CHECKING:
    from cockpit.app import CockpitApp
    from cockpit.theme import Palette

Cell = tuple[str, Style]
Line = list[Cell]


@dataclass
class Latest:
    """The last value of every topic, None or empty until it has come. `logged` counts all lines that came."""

    status: Status | None = None
    streams: list[Stream] = field(default_factory=list)
    pairs: PairTable | None = None
    positions: list[PositionRow] = field(default_factory=list)
    equity: Equity | None = None
    clusters: Clusters | None = None
    health: list[Reading] = field(default_factory=list)
    log: list[LogLine] = field(default_factory=list)
    logged: int = 0


def cut(text: str, width: int) -> str:
    """`text` in at most `width` cells, with `…` where something is missing."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1) + "…" if width > 0 else ""


def column(text: str, width: int, right: bool = False) -> str:
    """`text` in exactly `width` cells: cut with a sign, or padded."""
    text = cut(text, width)
    padding = " " * (width - cell_len(text))
    return padding + text if right else text + padding


def fit(line: Line, width: int) -> Line:
    """`line` in at most `width` cells: spaces at its end are dropped, anything else leaves a `…`."""
    if sum(cell_len(text) for text, _ in line) <= width:
        return line
    whole = cell_len("".join(text for text, _ in line).rstrip()) <= width
    room = width if whole else max(width - 1, 0)
    fitted: Line = []
    for text, style in line:
        length = cell_len(text)
        if length > room:
            return [*fitted, (set_cell_size(text, room) + ("" if whole else "…"), style)]
        fitted.append((text, style))
        room -= length
    return fitted


class Panel(ScrollView, can_focus=True, inherit_bindings=False):
    """A framed view. A subclass names its `topics` and `title`, and draws lines from what `update` has kept."""

    topics: ClassVar[frozenset[str]]
    """Topics whose change calls `update`."""
    title: ClassVar[str]
    heading: int = 0
    """Lines on top that do not scroll."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "Down", id="panel.down", show=False, tooltip="One line down"),
        Binding("up,k", "move(-1)", "Up", id="panel.up", show=False, tooltip="One line up"),
        Binding(
            "pagedown,ctrl+f", "page(1)", "Page down", id="panel.page-down", show=False, tooltip="One page down"
        ),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", id="panel.page-up", show=False, tooltip="One page up"),
        Binding("g,home", "first", "First", id="panel.first", show=False, tooltip="To the first line"),
        Binding("G,end", "last", "Last", id="panel.last", show=False, tooltip="To the last line"),
    ]

    def __init__(self, id: str, number: int = 0) -> None:
        super().__init__(id=id)
        self.number = number
        self.untitled = False
        """Whether its name already stands elsewhere."""
        self.latest = Latest()
        self._drawn: dict[int, Line] = {}
        self._note = ""
        self._frame = ("", "")
        self.note("")

    @property
    def palette(self) -> "Palette":
        """The theme's styles."""
        return cast("CockpitApp", self.app).palette

    def update(self, latest: Latest) -> None:
        """Take new values. Subclasses that derive something from them do it here, then call this."""
        self.latest = latest
        self.sync()

    def count(self) -> int:
        """How many lines there are below the heading."""
        raise NotImplementedError

    def line(self, index: int, width: int) -> Line:
        """Line `index` (from 0), in at most `width` cells (longer ones are cut with a sign)."""
        raise NotImplementedError

    def head(self, index: int, width: int) -> Line:
        """Line `index` of the heading."""
        raise NotImplementedError

    def mark(self, index: int) -> Style | None:
        """A background for line `index`, if it has one."""
        return None

    def wanted(self, width: int) -> int:
        """Lines (with the heading, without a frame) with which this panel would show all."""
        return self.heading + self.count()

    def note(self, text: str) -> None:
        """Say something in the frame: at its foot, or beside the title where there is only a rule on top."""
        self._note = text
        title = "" if self.untitled else f"{self.number} {self.title}" if self.number else self.title
        foot = self.styles.border_bottom[0] not in ("", "none")
        frame = (title, escape(text)) if foot else (f"{title}  {escape(text)}".strip(), "")
        if frame != self._frame:  # setting them, even to the same, draws the whole panel again
            self._frame = self.border_title, self.border_subtitle = frame

    def sync(self) -> None:
        """Draw again those visible lines that are no longer what is on the screen."""
        if not self.is_mounted or not self.display:
            return
        width = self.scrollable_content_region.width
        size = Size(width, self.heading + self.count())
        if size != self.virtual_size:
            self.virtual_size = size
        for y in range(self.scrollable_content_region.height):
            if self._drawn.get(y) != self._line_at(y, width):
                self.refresh(Region(0, y, width, 1))

    def redraw(self) -> None:
        """Draw everything again (the theme, the focus or the size has changed)."""
        self.note(self._note)
        self._drawn.clear()
        self.sync()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        line = self._drawn[y] = self._line_at(y, width)
        strip = Strip([Segment(text, style) for text, style in line])
        return strip.adjust_cell_length(width, line[-1][1] if line else None).apply_style(self.palette.ground)

    def _line_at(self, y: int, width: int) -> Line:
        if y < self.heading:
            return fit(self.head(y, width), width)
        index = y - self.heading + self.scroll_offset.y
        if not 0 <= index < self.count():
            return []
        line = fit(self.line(index, width), width)
        background = self.mark(index)
        if background is None:
            return line
        room = width - sum(cell_len(text) for text, _ in line)
        return [*((text, style + background) for text, style in line), (" " * room, background)]

    def on_resize(self, event: events.Resize) -> None:
        self.redraw()

    def on_focus(self) -> None:
        self.redraw()

    def on_blur(self) -> None:
        self.redraw()

    def action_move(self, delta: int) -> None:
        self.scroll_relative(y=delta, animate=False, force=True)

    def action_page(self, delta: int) -> None:
        self.scroll_relative(y=delta * self.page, animate=False, force=True)

    def action_first(self) -> None:
        self.scroll_to(y=0, animate=False, force=True)

    def action_last(self) -> None:
        self.scroll_to(y=self.max_scroll_y, animate=False, force=True)

    @property
    def page(self) -> int:
        """Lines that scroll at a time."""
        return max(self.scrollable_content_region.height - self.heading, 1)


class Choosing(Panel):
    """A panel in which one row is selected. A row may be several lines high; it is known by its name, so that
    the selection stays with it when rows move."""

    def __init__(self, id: str, number: int = 0) -> None:
        super().__init__(id, number)
        self.chosen = ""
        self.free = True

    def names(self) -> list[str]:
        """The rows' names, in the order in which they are shown."""
        raise NotImplementedError

    def row_height(self, width: int) -> int:
        """Lines of a row."""
        return 1

    def place(self) -> int:
        """The selected row, or -1 if there are none. While nobody has chosen (or after `g`), and where the chosen
        row has gone, it is the first."""
        names = self.names()
        if self.chosen in names and not self.free:
            return names.index(self.chosen)
        self.chosen = names[0] if names else ""
        return 0 if names else -1

    def mark(self, index: int) -> Style | None:
        if index // self.row_height(self.scrollable_content_region.width) != self.place():
            return None
        return self.palette.selected if self.has_focus else self.palette.selected_idle

    def choose(self, row: int) -> None:
        """Select a row and bring it into view."""
        names = self.names()
        if not names:
            return
        row = min(max(row, 0), len(names) - 1)
        self.free = False
        self.chosen = names[row]
        high = self.row_height(self.scrollable_content_region.width)
        top = row * high
        if top < self.scroll_offset.y:
            self.scroll_to(y=top, animate=False, force=True)
        elif top + high > self.scroll_offset.y + self.page:
            self.scroll_to(y=top + high - self.page, animate=False, force=True)
        self.sync()

    def on_click(self, event: events.Click) -> None:
        place = event.get_content_offset(self)
        if place is not None and place.y >= self.heading:
            high = self.row_height(self.scrollable_content_region.width)
            self.choose((place.y - self.heading + self.scroll_offset.y) // high)

    def action_move(self, delta: int) -> None:
        self.choose(self.place() + delta)

    def action_page(self, delta: int) -> None:
        self.choose(self.place() + delta * max(self.page // self.row_height(self.size.width), 1))

    def action_first(self) -> None:
        self.choose(0)
        self.free = True

    def action_last(self) -> None:
        self.choose(len(self.names()) - 1)
