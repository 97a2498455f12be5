"""All pairs: how far each has diverged, how likely it comes back, and why it is or is not traded."""

import math

from textual import events

from cockpit import format
from cockpit.widgets.panel import Cell, Choosing, Latest, Line
from cockpit.widgets.table import Column, Columns
from core.domain.snapshot import PairTable

SORTS = ("score", "z", "probability", "funding", "correlation", "name")
"""What `s` cycles through; numbers fall (z and funding by size), names rise."""
WORDS = {1: "long", -1: "short", 0: ""}
ARROWS = {1: "↑", -1: "↓"}


def direction(name: str, side: int, words: bool) -> str:
    """What trading the pair would mean for each leg: `short BTC, long ETH`, or `↓BTC ↑ETH`; `long BTC` of one."""
    a, _, b = name.partition("/")
    if side == 0:
        return "·"
    if words:
        return f"{WORDS[side]} {a}" + (f", {WORDS[-side]} {b}" if b else "")
    return f"{ARROWS[side]}{a}" + (f" {ARROWS[-side]}{b}" if b else "")


class PairsPanel(Choosing):
    """The table of pairs. `order` indexes the columns of the snapshot by the present sort and filter."""

    topics = frozenset({"pairs", "status"})
    title = "pairs"
    heading = 1

    def __init__(self, id: str, number: int = 0) -> None:
        super().__init__(id, number)
        self.sort = "score"
        self.reverse = False
        self.filter = ""
        self.order: list[int] = []
        self._names: list[str] = []
        self._columns: Columns | None = None
        self._width = -1

    def update(self, latest: Latest) -> None:
        self.latest = latest
        self.reorder()

    def reorder(self) -> None:
        """Sort and filter anew."""
        table = self.latest.pairs
        rows = range(len(table.name)) if table else range(0)
        words = self.filter.lower().split()
        if table:
            self.order = sorted(
                (row for row in rows if all(word in self._words(table, row) for word in words)),
                key=lambda row: self._key(table, row),
                reverse=(self.sort != "name") != self.reverse,
            )
            self._names = [table.name[row] for row in self.order]
        else:
            self.order, self._names = [], []
        arrow = "↑" if (self.sort == "name") != self.reverse else "↓"
        shown = f"{len(self.order)} of {len(rows)}" if words else f"{len(rows)}"
        found = f"/{self.filter}  " if words else ""
        self.note(f"{found}{shown} by {self.sort} {arrow}" if rows else "")
        self.sync()

    @staticmethod
    def _words(table: PairTable, row: int) -> str:
        words = (
            table.name[row],
            direction(table.name[row], table.direction[row], True),
            table.why[row],
            "held" if table.held[row] else "",
        )
        return " ".join(words).lower()

    def _key(self, table: PairTable, row: int) -> tuple[float, float] | str:
        if self.sort == "name":
            return table.name[row]
        value = {
            "score": table.score,
            "z": table.z,
            "probability": table.probability,
            "funding": table.funding,
            "correlation": table.correlation,
        }[self.sort][row]
        # Rows without a number go last, and rows that are equal keep the order of |z|.
        size = abs(value) if self.sort in ("z", "funding") else value
        last = -math.inf if not self.reverse else math.inf
        z = abs(table.z[row])
        return (size if math.isfinite(size) else last, z if math.isfinite(z) else last)

    def names(self) -> list[str]:
        return self._names

    def count(self) -> int:
        return max(len(self.order), 1)

    def line(self, index: int, width: int) -> Line:
        if not self.order:
            return [(f" {self._empty()}", self.palette.muted)] if index == 0 else []
        return self._laid_out(width).line(self.order[index])

    def head(self, index: int, width: int) -> Line:
        arrow = "▴" if (self.sort == "name") != self.reverse else "▾"
        return self._laid_out(width).head(self.palette.muted, self.sort, arrow, self.palette.accent)

    def _empty(self) -> str:
        if self.latest.pairs and self.latest.pairs.name:
            return f"no pair matches /{self.filter}  (esc clears the filter)"
        status = self.latest.status
        if status is None:
            return "waiting for the engine"
        return f"no scores yet: {status.phase}" + (f", {status.detail}" if status.detail else "")

    def _laid_out(self, width: int) -> Columns:
        if self._columns is None or self._width != width:
            self._width = width
            self._columns = Columns(
                [
                    Column("name", " pair", 10, self._pair, right=False),
                    Column("z", "z", 6, self._z),
                    Column("bar", "", 11, self._bar, least=126, right=False),
                    Column("probability", "prob", 5, self._probability),
                    Column("score", "score", 6, self._score),
                    Column(
                        "direction", "would be", 11, lambda row: self._direction(row, False), most=111, right=False
                    ),
                    Column(
                        "direction", "would be", 21, lambda row: self._direction(row, True), least=112, right=False
                    ),
                    Column("funding", "funding", 7, self._funding, least=58),
                    Column("correlation", "corr", 5, self._correlation, least=68),
                    Column("why", "why", 0, self._why, least=64, right=False),
                ],
                width,
            )
        return self._columns

    @property
    def _table(self) -> PairTable:
        assert self.latest.pairs is not None
        return self.latest.pairs

    def _pair(self, row: int) -> Cell:
        held = self._table.held[row]
        name = self._table.name[row]
        chosen = name == self.chosen
        sign = ("◉" if chosen else "●") if held else "▸" if chosen else " "
        return f"{sign}{name}", self.palette.strong if held or self._table.direction[row] else self.palette.text

    def _z(self, row: int) -> Cell:
        z = self._table.z[row]
        return format.signed(z), self.palette.strong if abs(z) >= 1 else self.palette.muted

    def _bar(self, row: int) -> Cell:
        z = self._table.z[row]
        if not math.isfinite(z):
            return "", self.palette.faint
        reach = min(round(abs(z) / 3 * 5), 5)
        left, right = (
            (" " * (5 - reach) + "━" * reach, " " * 5) if z < 0 else (" " * 5, "━" * reach + " " * (5 - reach))
        )
        return f"{left}│{right}", self.palette.text if abs(z) >= 1 else self.palette.faint

    def _probability(self, row: int) -> Cell:
        value = self._table.probability[row]
        return format.plain(value), self.palette.text if value > 0.5 else self.palette.muted

    def _score(self, row: int) -> Cell:
        return format.plain(self._table.score[row]), self.palette.strong if self._table.direction[
            row
        ] else self.palette.muted

    def _direction(self, row: int, words: bool) -> Cell:
        side = self._table.direction[row]
        return direction(self._table.name[row], side, words), self.palette.text if side else self.palette.faint

    def _funding(self, row: int) -> Cell:
        return format.basis(self._table.funding[row]), self.palette.muted

    def _correlation(self, row: int) -> Cell:
        return format.signed(self._table.correlation[row]), self.palette.muted

    def _why(self, row: int) -> Cell:
        return self._table.why[row], self.palette.text if self._table.held[row] else self.palette.muted

    def on_click(self, event: events.Click) -> None:
        place = event.get_content_offset(self)
        if place is not None and place.y < self.heading and self._columns:
            col = self._columns.at(place.x)
            if col and col.key in SORTS:
                self.reverse = not self.reverse if col.key == self.sort else False
                self.sort = col.key
                self.reorder()
            return
        super().on_click(event)

    def cycle(self) -> None:
        """Sort by the next column."""
        self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
        self.reverse = False
        self.reorder()

    def turn(self) -> None:
        """Turn the order round."""
        self.reverse = not self.reverse
        self.reorder()

    @property
    def selected(self) -> tuple[str, int] | None:
        """The selected pair and the side on which it would be traded (against its z where nothing is meant)."""
        place = self.place()
        if place < 0:
            return None
        row = self.order[place]
        side = self._table.direction[row] or (-1 if self._table.z[row] > 0 else 1)
        return self._table.name[row], side
