"""Columns for panels that are tables: what a column is, and which of them fit."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.style import Style

from cockpit.widgets.panel import Cell, Line, column


class Column(NamedTuple):
    """`draw(row)` gives text and style. `least` is the panel width from which the column is shown, `width` 0
    takes what is left. `key` is what a click on the heading sorts by."""

    key: str
    title: str
    width: int
    draw: Callable[[int], Cell]
    least: int = 0
    most: int = 10_000
    right: bool = True


GAP = "  "


class Columns:
    """A table's columns laid out for one width."""

    def __init__(self, columns: Sequence[Column], width: int) -> None:
        self.shown = [c for c in columns if c.least <= width <= c.most]
        self.gap = GAP if width >= 90 else " "
        fixed = sum(c.width for c in self.shown) + len(self.gap) * (len(self.shown) - 1)
        self.widths = [c.width or max(width - fixed, 0) for c in self.shown]

    def line(self, row: int) -> Line:
        """The cells of one row."""
        cells: Line = []
        for col, width in zip(self.shown, self.widths, strict=True):
            text, style = col.draw(row)
            cells += [(column(text, width, col.right), style), (self.gap, style)]
        return cells[:-1]

    def head(self, style: Style, marked: str = "", sign: str = "", mark: Style | None = None) -> Line:
        """The titles; the column `marked` carries `sign` and its own style."""
        cells: Line = []
        for col, width in zip(self.shown, self.widths, strict=True):
            chosen = mark is not None and col.key == marked
            title = (f"{sign}{col.title}" if col.right else f"{col.title}{sign}") if chosen else col.title
            cells += [(column(title, width, col.right), mark if chosen and mark else style), (self.gap, style)]
        return cells[:-1]

    def at(self, x: int) -> Column | None:
        """The column under cell `x`."""
        for col, width in zip(self.shown, self.widths, strict=True):
            if x < width + len(self.gap):
                return col
            x -= width + len(self.gap)
        return None
