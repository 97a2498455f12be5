"""Earlier runs, the newest first: one is shown, another may be laid beside it."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from cockpit import figures, format
from cockpit.backtests import Run
from cockpit.widgets.panel import Choosing, Line, column

SIGNS = {"losing": "✗", "unproven": "?", "promising": "+"}


class RunsPanel(Choosing):
    """Two lines a run: what it was, and what it found with its interval."""

    topics = frozenset()
    title = "runs"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Compare", id="runs.mark", tooltip="Lay this run beside the shown one, or not"),
        Binding("enter", "open", "Show", id="runs.show", show=False, tooltip="To the result of this run"),
    ]

    class Shown(Message):
        """Another run (or another beside it) is to be shown. `enter`: one wants to go there."""

        def __init__(self, enter: bool = False) -> None:
            super().__init__()
            self.enter = enter

    def __init__(self, id: str, number: int = 0) -> None:
        super().__init__(id, number)
        self.runs: list[Run] = []
        self.marked = ""

    def show(self, runs: list[Run]) -> None:
        """Take the list as it is now."""
        self.runs = runs
        if self.marked not in self.names():
            self.marked = ""
        self.note(f"{len(runs)} kept" if runs else "")
        self.sync()

    def names(self) -> list[str]:
        return [run.name for run in self.runs]

    def row_height(self, width: int) -> int:
        return 2

    def count(self) -> int:
        return 2 * len(self.runs) or 2

    @property
    def selected(self) -> Run | None:
        """The run that is shown."""
        place = self.place()
        return self.runs[place] if place >= 0 else None

    @property
    def beside(self) -> Run | None:
        """The run that is laid beside it."""
        return next((run for run in self.runs if run.name == self.marked != self.chosen), None)

    def line(self, index: int, width: int) -> Line:
        p = self.palette
        if not self.runs:
            words = (" no runs yet: r runs what the setup says", " each one is kept here with its report")
            return [(words[index], p.muted)]
        run = self.runs[index // 2]
        told, m = run.document, run.document.metrics
        if index % 2 == 0:
            what = f"{told.strategy}, {told.engine}, {told.source.name or told.source.content[:8]}"
            when = format.clock(run.ended_ms, "%m-%d %H:%M")
            mark = "◆ " if run.name == self.marked else "  "
            return [(mark, p.attention), (column(what, width - 15), p.strong), (f" {when} ", p.muted)]
        return [
            (f"  {SIGNS.get(told.standing, '·')} ", p.muted),
            (format.percent(m.total_return, 1), p.signed(m.total_return)),
            (f" ({figures.between(told.statistics.total_return, lambda x: format.percent(x, 1))})", p.muted),
            (f" {m.trades.count:,} trades, {365 * m.years:,.0f} d", p.muted),
        ]

    def choose(self, row: int) -> None:
        super().choose(row)
        self.post_message(self.Shown())

    def action_mark(self) -> None:
        run = self.selected
        if run is not None:
            self.marked = "" if run.name == self.marked else run.name
            self.sync()
            self.post_message(self.Shown())

    def action_open(self) -> None:
        if self.runs:
            self.post_message(self.Shown(enter=True))
