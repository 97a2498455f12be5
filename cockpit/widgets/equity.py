"""The account: what it is worth, how it came there, and whether the ledger and the exchange agree."""

from rich.segment import Segment
from rich.style import Style
from textual.renderables.digits import Digits

from cockpit import format
from cockpit.braille import chart
from cockpit.widgets.panel import Cell, Line, Panel, column, fit
from core.domain.snapshot import Equity

SUMS = ("fees", "funding", "cash", "unrealised", "realised", "total", "free", "gross")
"""Sums of the account, the most wanted first; `total` is the gain since the start."""
FIELDS = {"unrealised": "unrealized", "realised": "realized"}
"""Where a sum's name is not that of its field."""
LEVELS = frozenset({"cash", "free", "gross"})
"""Sums that are no gain or loss, so have neither sign nor colour."""
BIG = 14
"""Lines from which the equity is written in large digits."""


class EquityPanel(Panel):
    """A number, a curve, and the sums behind them; what does not fit is left out, the least important first."""

    topics = frozenset({"equity"})
    title = "equity"

    def __init__(self, id: str, number: int = 0) -> None:
        super().__init__(id, number)
        self._made: tuple[Equity | None, int, int] | None = None
        self._made_lines: list[Line] = []

    def count(self) -> int:
        return 1

    def line(self, index: int, width: int) -> Line:
        key = (self.latest.equity, width, self.scrollable_content_region.height)
        if self._made is None or self._made[0] is not key[0] or self._made[1:] != key[1:]:
            self._made, self._made_lines = key, self._lines(*key[1:])
        return self._made_lines[index] if index < len(self._made_lines) else []

    def redraw(self) -> None:
        self._made = None
        super().redraw()

    def _line_at(self, y: int, width: int) -> Line:
        return fit(self.line(y, width), width)  # it never scrolls: what is shown depends on the height alone

    def _lines(self, width: int, height: int) -> list[Line]:
        equity = self.latest.equity
        if equity is None or not (equity.start or equity.curve):  # an account of nothing agrees with nothing
            return [[(" no account yet", self.palette.muted)]]
        top = [*self._number(equity, width, height), self._today(equity, width)]
        sign = self._agreement(equity, width)
        columns = 3 if width >= 60 else 2
        rows = 0 if height < 8 else 2 if height < 12 else -(-len(SUMS) // columns)
        room = height - len(top) - rows - 1
        if room < 1:
            return [*top, sign][:height]
        sums = [self._row(equity, SUMS[i * columns : (i + 1) * columns], width // columns) for i in range(rows)]
        return [*top, *self._curve(equity, width, room), *sums, sign]

    def _number(self, equity: Equity, width: int, height: int) -> list[Line]:
        text = format.number(equity.equity)
        if height >= BIG and Digits.get_width(text) + 2 <= width:
            rows = [
                row.text
                for row in Digits(text).render(Style(bold=True))
                if isinstance(row, Segment) and row.text != "\n"
            ]
            unit = ["", "", f" {equity.currency}"]
            return [
                [(f" {row}", self.palette.strong), (end, self.palette.muted)]
                for row, end in zip(rows, unit, strict=True)
            ]
        return [[(f" {text}", self.palette.strong), (f" {equity.currency}", self.palette.muted)]]

    def _today(self, equity: Equity, width: int) -> Line:
        p = self.palette
        start = equity.equity - equity.today
        share = equity.today / start if start else 0.0
        word = "drawdown" if width >= 36 else "dd"
        down = f"{word} {format.percent(-abs(equity.drawdown))}" if equity.drawdown else "at its peak"
        return [
            (f" today {format.number(equity.today, sign=True)}", p.signed(equity.today)),
            (f" {format.percent(share)}" if width >= 42 else "", p.signed(equity.today)),
            (f"  {down}", p.loss if equity.drawdown else p.muted),
        ]

    def _row(self, equity: Equity, names: tuple[str, ...], room: int) -> Line:
        cells: Line = []
        for name in names:
            value = equity.equity - equity.start if name == "total" else getattr(equity, FIELDS.get(name, name))
            gain = name not in LEVELS
            text = format.number(value, 2, room - len(name) - 3, sign=gain)
            cells += [
                (f" {name} ", self.palette.muted),
                (column(text, room - len(name) - 2), self.palette.signed(value) if gain else self.palette.text),
            ]
        return cells

    def _curve(self, equity: Equity, width: int, height: int) -> list[Line]:
        if height < 1:
            return []
        values = equity.curve
        labels = max((len(format.number(v, 0)) for v in (min(values), max(values))), default=0) if values else 0
        room = width - labels - 3
        if room < 8 or len(values) < 2:
            return [
                [(" the curve begins with the second bar", self.palette.muted)],
                *([] for _ in range(height - 1)),
            ]
        style = self.palette.signed(values[-1] - values[0])
        rows = chart(values, room, height)
        ends = {0: format.number(max(values), 0), height - 1: format.number(min(values), 0)}
        return [
            [(f" {row} ", style), (ends.get(y, "") if height > 1 else "", self.palette.muted)]
            for y, row in enumerate(rows)
        ]

    def _agreement(self, equity: Equity, width: int) -> Line:
        p = self.palette
        counts = f"  {equity.round_trips} trips, {equity.fills} fills"
        sign: Cell = (
            (" ✓ ledger = exchange", p.muted) if equity.agrees else (" ✗ LEDGER AND EXCHANGE DIFFER ", p.danger)
        )
        return [sign, (counts if width > len(sign[0]) + len(counts) else "", p.muted)]
