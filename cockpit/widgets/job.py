"""The line on top of the backtest screen: what runs, how far it is, how it ended; and whose money is beside."""

from rich.cells import cell_len

from cockpit.backtests import Backtests
from cockpit.widgets.header import STATES
from cockpit.widgets.panel import Line, Panel


class JobPanel(Panel, can_focus=False):
    """Two lines: the run and the account's mode, then progress or the reason why it ended."""

    topics = frozenset({"status"})
    title = "backtest"

    def __init__(self, id: str, backtests: Backtests) -> None:
        super().__init__(id)
        self.backtests = backtests
        self.linked = True

    def count(self) -> int:
        return 2

    def line(self, index: int, width: int) -> Line:
        left, right = (self._what(), self._engine()) if index == 0 else (self._how(width), [])
        gap = width - sum(cell_len(text) for text, _ in (*left, *right))
        return [*left, (" " * max(gap, 1), self.palette.muted), *right]

    def _what(self) -> Line:
        p, job = self.palette, self.backtests.job
        title = self.backtests.form.title()
        if job.state == "running":
            return [(" ▶ RUNNING ", p.accent + p.bold), (job.title, p.strong)]
        return [(" r ", p.accent + p.bold), ("runs ", p.muted), (title, p.strong)]

    def _engine(self) -> Line:
        """The account goes on meanwhile: its mode, and whether it is still heard of."""
        p, status = self.palette, self.latest.status
        if status is None:
            return [(" no engine ", p.muted)]
        if not self.linked:
            return [(" ✗ NO LINK ", p.danger)]
        state = STATES.get(status.state, status.state.upper())
        return [(f" {state} ", p.text), (f" {status.mode} ", p.mode(status.mode))]

    def _how(self, width: int) -> Line:
        p, job = self.palette, self.backtests.job
        match job.state:
            case "running":
                room = max(min(40, width // 3), 10)
                done = round(job.progress * room)
                return [
                    (" " + "━" * done, p.accent),
                    ("━" * (room - done), p.faint),
                    (f" {job.progress:.0%} ", p.strong),
                    (job.text, p.text),
                ]
            case "done":
                return [(" ✓ ", p.accent), (job.text, p.text)]
            case "failed":
                return [(" ✗ ", p.loss + p.bold), (job.text, p.loss)]
            case "cancelled":
                return [(" ‖ ", p.attention), (job.text, p.attention)]
        return [(" the run is another process: the engine trades on, esc goes back to it", p.muted)]
