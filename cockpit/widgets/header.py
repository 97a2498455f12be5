"""The line on top: whose money this is, what the engine does, and how healthy it is."""

from rich.cells import cell_len
from rich.style import Style

from cockpit import format
from cockpit.widgets.health import WORDS, worst
from cockpit.widgets.panel import Cell, Line, Panel
from core.domain.snapshot import Status

UNUSUAL = frozenset({"starting", "training", "warming", "stopping", "failed"})
"""Phases in which the engine does not (yet, or any more) do its daily work."""
STATES = {"active": "▶ ACTIVE", "reducing": "‖ REDUCING", "halted": "■ HALTED"}


class Header(Panel, can_focus=False):
    """Two lines that must be readable from across the room: mode, state and phase; then health."""

    topics = frozenset({"status", "streams", "health"})
    title = "cockpit"

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.read_only = False
        self.linked = True
        self.job = ""
        """A word on what works behind the dashboard."""

    def sync(self) -> None:
        status = self.latest.status
        parts = (self.job, f"session {status.session}" if status else "")
        self.note("  ".join(part for part in parts if part))
        super().sync()

    def count(self) -> int:
        return 2

    def line(self, index: int, width: int) -> Line:
        status = self.latest.status
        if status is None:
            return (
                [(" ", self.palette.muted), ("connecting to the engine", self.palette.muted)] if index == 0 else []
            )
        left, right = self._first(status, width) if index == 0 else self._second(status, width)
        while sum(cell_len(text) for text, _ in left + right) > width and right:
            right = right[1:]  # the least important stands first
        gap = width - sum(cell_len(text) for text, _ in left + right)
        return [*left, (" " * max(gap, 1), self.palette.muted), *right]

    def _first(self, status: Status, width: int) -> tuple[Line, Line]:
        p = self.palette
        state = STATES.get(status.state, status.state.upper())
        left: Line = [
            (f" {status.mode} ", p.mode(status.mode)),
            (f" {status.venue} ", p.text),
            (f" {state} ", self._state_style(status.state)),
        ]
        if not self.linked:  # what it did last is not what it does now
            left[-1] = (" ✗ NO LINK ", p.danger)
        if self.read_only:
            left.append((" READ-ONLY ", p.attention))
        if status.share < 1:
            left.append((f" {status.share:.0%} of sizes ", p.attention))
        left.append((f" {status.phase}", p.attention if status.phase in UNUSUAL else p.text))
        if status.reason and self.linked:
            room = width - sum(cell_len(text) for text, _ in left) - 2
            reason = status.reason if len(status.reason) <= room else f"{status.reason[: max(room - 1, 0)]}…"
            left.append((f"  {reason}", p.attention))
        bars = f"bar {status.bars:,}/{status.bars_total:,}" if status.bars_total else f"bar {status.bars:,}"
        market = format.clock(status.market_ms, "%Y-%m-%d %H:%M:%S")
        return left, [
            (f"{'+'.join(status.strategies)}  ", p.muted),
            (f"{bars}  ", p.muted),
            (market, p.strong),
            (" UTC ", p.muted),
        ]

    def _state_style(self, state: str) -> Style:
        p = self.palette
        return {"active": p.strong, "halted": p.danger}.get(state, p.attention + p.bold)

    def _second(self, status: Status, width: int) -> tuple[Line, Line]:
        p = self.palette
        if status.progress >= 0:
            room = max(min(40, width // 3), 10)
            done = round(status.progress * room)
            return [
                (" " + "━" * done, p.accent),
                ("━" * (room - done), p.faint),
                (f" {status.progress:.0%} ", p.strong),
                (status.detail, p.text),
            ], []
        oldest = max((stream.age for stream in self.latest.streams), default=0.0)
        whole = status.streams_live == status.streams_total
        poor = worst(self.latest.health)
        health: Line = [
            *([(f" {WORDS[poor.level][0]} {poor.name} {poor.text} ", p.attention)] if poor is not None else []),
            (" streams ", p.muted),
            (
                f"{status.streams_live}/{status.streams_total}{'' if whole else ' !'}",
                p.text if whole else p.attention,
            ),
            *self._measure("oldest", format.seconds(oldest), oldest > 10),
            *self._measure("latency", f"{status.latency_ms:.0f}ms", status.latency_ms > 500),
            *self._measure("lag", f"{status.lag_ms:.1f}ms", status.lag_ms > 20),
            *self._measure("step", f"{status.step_ms:.1f}ms", status.step_ms > 10),
        ]
        model: Cell = (f"{status.model} ", p.muted)
        rate: Cell = (f"base rate {status.base_rate:.0%}  ", p.muted)
        return health, [rate, model] if status.model else [("no model ", p.muted)]

    def _measure(self, name: str, value: str, poor: bool) -> Line:
        return [
            (f"  {name} ", self.palette.muted),
            (f"{value}{' !' if poor else ''}", self.palette.attention if poor else self.palette.text),
        ]
