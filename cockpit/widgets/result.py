"""A run as a page: verdict, equity and drawdown, figures with intervals, costs, months, pairs, assumptions.

Another run may be laid beside it: both curves on one chart, both columns of figures.
"""

from collections.abc import Iterator
from itertools import zip_longest
from textwrap import wrap

from rich.style import Style

from cockpit import figures, format
from cockpit.backtests import Run
from cockpit.braille import Point, chart, overlay
from cockpit.widgets.bars import balance, waterfall
from cockpit.widgets.panel import Line, Panel, column
from core.domain.backtest import Document

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
LEFT, RIGHT = 60, 40
"""Columns of the two blocks of figures where they stand side by side."""


class ResultPanel(Panel):
    """One run told whole, from top to bottom."""

    topics = frozenset()
    title = "result"

    def __init__(self, id: str, number: int = 0) -> None:
        super().__init__(id, number)
        self.run: Run | None = None
        self.beside: Run | None = None
        self._made: tuple[Run | None, Run | None, int, int] | None = None
        self._page: list[Line] = []

    def show(self, run: Run | None, beside: Run | None) -> None:
        """Show a run, and another one beside it."""
        if run is not self.run:
            self.scroll_to(y=0, animate=False, force=True)
        self.run, self.beside = run, beside
        self.note("o opens the report" if run and run.document.report else "")
        self.sync()

    def redraw(self) -> None:
        self._made = None
        super().redraw()

    def count(self) -> int:
        return len(self._lines())

    def line(self, index: int, width: int) -> Line:
        return self._lines()[index]

    def _lines(self) -> list[Line]:
        width, height = self.scrollable_content_region.size
        made = (self.run, self.beside, width, height)
        if made != self._made:
            self._made, self._page = made, list(self._build(width, height)) if width else []
        return self._page

    def _build(self, width: int, height: int) -> Iterator[Line]:
        p = self.palette
        if self.run is None:
            yield [(" no run to show yet", p.muted)]
            yield [(" 1 says what to run, r runs it; its figures and curves then stand here", p.muted)]
            yield [(" more data to run it on: cockpit data import FILE", p.muted)]
            return
        told = self.run.document
        yield from self._head(told, width)
        yield []
        yield from self._curves(told, width, max(min(height // 4, 12), 5))
        if self.beside is None:
            yield from self._figures(told, width)
        else:
            yield from self._both(told, self.beside.document, width)
        yield from self._costs(told, width)
        yield from self._compared(told)
        yield from self._months(told)
        yield from self._pairs(told, width)
        yield from self._foot(told, width)

    def _head(self, told: Document, width: int) -> Iterator[Line]:
        p = self.palette
        style = {"losing": p.loss, "promising": p.profit}.get(told.standing, p.attention)
        yield [
            (f" {told.strategy}", p.strong),
            (f"  {told.engine}, on {figures.data(told)}", p.text),
        ]
        yield [(f" {figures.period(told)}, {len(told.source.assets)} assets", p.muted)]
        yield [(f" {figures.standing(told)}", style + p.bold)]
        for text in wrap(told.verdict, max(width - 2, 20)):
            yield [(f" {text}", p.text)]

    def _curves(self, told: Document, width: int, height: int) -> Iterator[Line]:
        """Equity above, and how far below its peak it was, on one axis of time."""
        p = self.palette
        runs = [told, *([self.beside.document] if self.beside else [])]
        relative = len(runs) > 1
        if len(told.curve.ts) < 2:
            yield [(" too few bars for a curve", p.muted)]
            return
        points = [_growth(run) if relative else _equity(run) for run in runs]
        first, last = min(line[0][0] for line in points), max(line[-1][0] for line in points)
        start = 0.0 if relative else told.metrics.deposit
        values = [y for line in points for _, y in line]
        form = format.percent if relative else lambda value: format.number(value, 0)
        labels = [form(value) for value in (max(values), min(values))]
        room = width - max(len(text) for text in (*labels, "-00.00%")) - 3
        gain = p.signed(points[0][-1][1] - start)
        inks = [gain, p.attention] if relative else [gain]
        drawn = overlay([*points, [(first, start), (last, start)]], room, height)
        yield from self._legend(runs, inks)
        for y, row in enumerate(drawn):
            cells: Line = [(" ", p.muted), *((text, (*inks, p.faint, p.muted)[owner]) for text, owner in row)]
            yield [*cells, (f" {labels[0] if y == 0 else labels[1] if y == height - 1 else ''}", p.muted)]
        if not relative:
            deep = max(height // 3, 2)
            for y, text in enumerate(chart(told.curve.drawdown, room, deep)):
                label = "drawdown" if y == 0 else format.percent(min(told.curve.drawdown)) if y == deep - 1 else ""
                yield [(f" {text} ", p.loss), (label if len(label) <= width - room - 2 else "down", p.muted)]
        ends = figures.day(int(first)), figures.day(int(last))
        yield [(f" {ends[0]}{ends[1]:>{max(room - len(ends[0]), 0)}}", p.muted)]

    def _legend(self, runs: list[Document], inks: list[Style]) -> Iterator[Line]:
        if len(runs) < 2:
            yield [(" equity, net of costs", self.palette.muted), ("  ─ the deposit", self.palette.faint)]
            return
        for sign, run, ink in zip("━◆", runs, inks, strict=True):
            changed = ", ".join(f"{key} {value}" for key, value in _differs(run, runs).items())
            name = f"{run.strategy}, {run.engine}, {run.source.name}"
            yield [
                (f" {sign} ", ink),
                (name, self.palette.text),
                (f"  {changed}" if changed else "", self.palette.muted),
            ]

    def _figures(self, told: Document, width: int) -> Iterator[Line]:
        blocks = [figures.figures(told), figures.more(told)]
        yield from self._title("figures", "95% intervals")
        if width < LEFT + RIGHT:
            yield from (self._figure(figure, 15, width) for block in blocks for figure in block)
            return
        for left, right in zip_longest(*blocks):
            cells = self._figure(left, 15, LEFT) if left else [(" " * LEFT, self.palette.text)]
            yield [*cells, *(self._figure(right, 13, RIGHT) if right else [])]

    def _figure(self, figure: figures.Figure, name: int, width: int) -> Line:
        p = self.palette
        style = p.signed(figure.gain) if figure.gain else p.text
        beside = column(f"  {figure.beside}", max(width - name - 10, 0))
        return [(f" {figure.name:<{name}}", p.muted), (f"{figure.value:>9}", style), (beside, p.muted)]

    def _both(self, told: Document, other: Document, width: int) -> Iterator[Line]:
        """Two runs side by side, by the same names."""
        p = self.palette
        yield from self._title("figures", "━ shown, ◆ beside; 95% intervals")
        rows = zip(
            (*figures.figures(told), *figures.more(told)),
            (*figures.figures(other), *figures.more(other)),
            strict=True,
        )
        room = max((width - 18) // 2 - 11, 0)
        for a, b in rows:
            cells: Line = [(f" {a.name:<16}", p.muted)]
            for figure in (a, b):
                style = p.signed(figure.gain) if figure.gain else p.text
                cells += [(f"{figure.value:>10} ", style), (column(f" {figure.beside}", room), p.muted)]
            yield cells

    def _title(self, name: str, more: str = "") -> Iterator[Line]:
        yield []
        yield [(f" {name}", self.palette.strong), (f"  {more}" if more else "", self.palette.muted)]

    def _costs(self, told: Document, width: int) -> Iterator[Line]:
        """What the market gave, what trading took, what was left."""
        p = self.palette
        rows = figures.costs(told.metrics)
        yield from self._title(
            "from gross to net", f"{told.metrics.trades.count:,} trades, {told.metrics.fills:,} fills"
        )
        for (name, value), bar in zip(rows, waterfall(rows, max(width - 27, 8)), strict=True):
            text = format.number(value, 2, 12, sign=True)
            yield [(f" {name:<9}", p.muted), (f"{text:>13} ", p.signed(value)), (bar, p.signed(value))]

    def _compared(self, told: Document) -> Iterator[Line]:
        p = self.palette
        if not told.compared:
            return
        yield from self._title("beside the baselines", "same data, same costs")
        yield [(f" {'':<15}{'net return':>11}{'95%':>20}{'Sharpe':>8}{'drawdown':>10}{'trades':>8}", p.muted)]
        for name, m, interval in figures.contenders(told):
            yield [
                (f" {column(name, 15)}", p.strong if m is told.metrics else p.text),
                (f"{format.percent(m.total_return):>11}", p.signed(m.total_return)),
                (f"{figures.between(interval, lambda x: format.percent(x, 1)):>20}", p.muted),
                (f"{figures.ratio(m.sharpe):>8}{format.percent(m.max_drawdown.depth):>10}", p.text),
                (f"{m.trades.count:>8,}", p.muted),
            ]

    def _months(self, told: Document) -> Iterator[Line]:
        p = self.palette
        if not told.months:
            return
        yield from self._title("months", "net return, %")
        yield [(f" {'':<5}{''.join(f'{name:>6}' for name in MONTHS)}", p.muted)]
        for year in sorted({month[:4] for month in told.months}):
            cells: Line = [(f" {year:<5}", p.muted)]
            for month in range(1, 13):
                value = told.months.get(f"{year}-{month:02}")
                text = "" if value is None else format.fits(6, f"{100 * value:+.1f}", f"{100 * value:+.0f}")
                cells.append((f"{text:>6}", p.signed(value or 0.0)))
            yield cells

    def _pairs(self, told: Document, width: int) -> Iterator[Line]:
        p = self.palette
        rows = figures.pairs(told.metrics)
        if not rows:
            return
        yield from self._title("pairs", "the best first")
        yield [(f" {'':<16}{'trades':>7}{'hit':>6}{'costs':>10}{'net':>12}", p.muted)]
        most = max(abs(row.trades.money.net) for row in rows)
        for row in rows:
            m, t = row.trades.money, row.trades
            paid = format.number(m.slippage + m.fees + m.funding, 0, 9, sign=True)
            net = format.number(m.net, 2, 11, sign=True)
            yield [
                (f" {column(row.pair + (' (open)' if row.open else ''), 16)}", p.text),
                (f"{t.count:>7,}{figures.share(t.hit_rate):>6}{paid:>10}", p.muted),
                (f"{net:>12} ", p.signed(m.net)),
                (balance(m.net, most, min(width - 55, 40)), p.signed(m.net)),
            ]
        if still := figures.still_open(told.metrics):
            paid = format.number(still.slippage + still.fees + still.funding, 0, 9, sign=True)
            net = format.number(still.net, 2, 11, sign=True)
            yield [(f" {'open positions':<16}{'':>13}{paid:>10}", p.muted), (f"{net:>12}", p.signed(still.net))]

    def _foot(self, told: Document, width: int) -> Iterator[Line]:
        """Every assumption, and what to name this run by."""
        p = self.palette
        yield from self._title("assumed")
        rows = [*told.assumptions.items(), *(("note", note) for note in told.notes)]
        rows += [("seed", str(told.seed)), ("parameters", ", ".join(f"{k} {v}" for k, v in told.params.items()))]
        rows += [("digest", told.digest), ("data", told.source.content), ("report", told.report)]
        for name, text in rows:
            for number, part in enumerate(wrap(text, max(width - 15, 20)) if text else []):
                yield [(f" {name if number == 0 else '':<12} ", p.muted), (part, p.text)]


def _equity(run: Document) -> list[Point]:
    return [(float(ms), value) for ms, value in zip(run.curve.ts, run.curve.equity, strict=True)]


def _growth(run: Document) -> list[Point]:
    """The share gained since the start, so that deposits of different size can be compared."""
    return [(ms, value / run.metrics.deposit - 1) for ms, value in _equity(run)]


def _differs(run: Document, runs: list[Document]) -> dict[str, float | int | str]:
    """The parameters in which these runs are not alike."""
    return {
        key: value for key, value in run.params.items() if any(other.params.get(key) != value for other in runs)
    }
