"""The market's side: the stream of each asset."""

from cockpit import format
from cockpit.widgets.panel import Cell, Line, Panel
from cockpit.widgets.table import Column, Columns
from core.domain.snapshot import Stream

GLYPHS = {"live": "●", "stale": "◐", "down": "○", "ended": "×"}


class StreamsPanel(Panel):
    """One row an asset: is its data alive, and what does it say."""

    topics = frozenset({"streams"})
    title = "streams"
    heading = 1

    def __init__(self, id: str, number: int = 0) -> None:
        super().__init__(id, number)
        self._columns = [
            Column("asset", " asset", 7, self._asset, right=False),
            Column("last", "last", 10, self._last),
            Column("change", "24 h", 7, self._change),
            Column("funding", "funding", 7, self._funding, least=44),
            Column("age", "age", 5, self._age, least=52),
            Column("state", "", 7, self._state, right=False),
        ]

    def count(self) -> int:
        return max(len(self.latest.streams), 1)

    def head(self, index: int, width: int) -> Line:
        return Columns(self._columns, width).head(self.palette.muted)

    def line(self, index: int, width: int) -> Line:
        if not self.latest.streams:
            return [(" no stream yet", self.palette.muted)]
        return Columns(self._columns, width).line(index)

    def sync(self) -> None:
        streams = self.latest.streams
        live = sum(stream.state == "live" for stream in streams)
        self.note(f"{live} of {len(streams)} live" if streams else "")
        super().sync()

    def _row(self, row: int) -> Stream:
        return self.latest.streams[row]

    def _asset(self, row: int) -> Cell:
        return f" {self._row(row).asset}", self.palette.text

    def _last(self, row: int) -> Cell:
        return format.price(self._row(row).last, 10), self.palette.text

    def _change(self, row: int) -> Cell:
        change = self._row(row).change
        return format.percent(change, 2, 7), self.palette.signed(change)

    def _funding(self, row: int) -> Cell:
        return format.basis(self._row(row).funding), self.palette.muted

    def _age(self, row: int) -> Cell:
        stream = self._row(row)
        return format.seconds(stream.age), self.palette.muted if stream.state == "live" else self.palette.attention

    def _state(self, row: int) -> Cell:
        state = self._row(row).state
        style = self.palette.muted if state == "live" else self.palette.attention
        return f"{GLYPHS.get(state, '?')} {state}", style if state != "down" else self.palette.loss
