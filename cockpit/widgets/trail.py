"""One asset against its clusters: z and consensus above, the residual between its thresholds below."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from rich.style import Style

from cockpit import format
from cockpit.braille import overlay
from cockpit.widgets.panel import Cell, Latest, Line, Panel, fit
from core.domain.snapshot import Clusters, ClusterTrail, standing

LABEL = 9
"""Cells at the right of a chart for what its lines stand for."""
FIXED = 8
"""Lines around the two charts."""
GATES = {"core": "━", "drifting": "╌", "out": "·"}


class TrailPanel(Panel):
    """Draws a trail as large as there is room. `refusal` stands in its place where there is none."""

    topics = frozenset({"clusters"})
    title = ""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.trail: ClusterTrail | None = None
        self.refusal = "asking the engine…"
        self._made: list[Line] | None = None

    def show(self, trail: ClusterTrail | None, refusal: str, latest: Latest) -> None:
        """Show another trail, beside the latest table of clusters."""
        self.trail, self.refusal = trail, refusal
        self._made = None
        self.update(latest)

    def count(self) -> int:
        return self.scrollable_content_region.height

    def redraw(self) -> None:
        self._made = None
        super().redraw()

    def line(self, index: int, width: int) -> Line:
        if self._made is None:
            self._made = list(self._lines(width, self.count()))
        return self._made[index] if index < len(self._made) else []

    def _line_at(self, y: int, width: int) -> Line:
        return fit(self.line(y, width), width)  # it never scrolls: what is shown depends on the height alone

    def _lines(self, width: int, height: int) -> Iterator[Line]:
        p, trail = self.palette, self.trail
        if trail is None:
            yield [(f" {self.refusal}", p.attention)]
            return
        yield from self._head(trail)
        room, (rows, odd) = width - LABEL - 1, divmod(height - FIXED, 2)
        if len(trail.ts) < 2 or room < 8 or rows < 1:
            yield [
                (" the lines begin with the second bar" if len(trail.ts) < 2 else " no room for a chart", p.muted)
            ]
            return
        yield [(" ━ z", p.accent), ("  ━ consensus of its clusters", p.attention)]
        yield from self._chart(trail.ts, ((trail.z, p.accent), (trail.consensus, p.attention)), (), room, rows)
        residual = [z - agreed for z, agreed in zip(trail.z, trail.consensus, strict=True)]
        bands: list[tuple[float, Style]] = [(0.0, p.faint)]
        words = ""
        if trail.threshold and trail.stop_threshold:
            inks = ((trail.threshold, p.muted), (trail.stop_threshold, p.loss))
            bands += [(sign * value, ink) for value, ink in inks for sign in (1, -1)]
            words = f"  traded between ±{trail.threshold:.2f} and ±{trail.stop_threshold:.2f}"
        yield [(" ━ residual", p.text), (words, p.muted)]
        yield from self._chart(trail.ts, ((residual, p.text),), bands, room, rows + odd)
        yield self._gates(trail, room)
        form = "%Y-%m-%d %H:%M"
        first, last = format.clock(trail.ts[0], form), format.clock(trail.ts[-1], form)
        yield [(f" {first}{last:>{max(room - len(first), 0)}} {len(trail.ts)} bars", p.muted)]

    def _head(self, trail: ClusterTrail) -> Iterator[Line]:
        p, z, gate = self.palette, trail.z[-1], trail.gate[-1]
        place = standing(gate)
        told, row = self._row(trail.asset)
        yield [
            (f" {trail.asset}", p.strong),
            (f"  cluster {trail.cluster[-1]}" if trail.cluster[-1] >= 0 else "  no feature", p.accent),
            (f"  {place}", {"core": p.text, "drifting": p.attention, "out": p.muted}[place]),
            (f"  gate {format.plain(gate)}", p.muted),
            (f"  similarity {format.plain(told.similarity[row])}" if told else "", p.muted),
            (self._changes(trail), p.attention),
        ]
        yield [
            (f" z {format.signed(z)}  consensus {format.signed(trail.consensus[-1])}", p.muted),
            (f"  residual {format.signed(z - trail.consensus[-1])}", p.strong),
            (f"  signal {format.signed(told.signal[row])}" if told else "", p.text),
        ]
        held = format.percent(told.held[row]) if told else format.NONE
        yield [(f" held {held}, wanted {format.percent(trail.weight[-1])} of the capital", p.text)]
        yield [(f" {trail.why}", p.muted)]

    def _row(self, asset: str) -> tuple[Clusters | None, int]:
        told = self.latest.clusters
        known = told is not None and told.learned and asset in told.asset
        return (told, told.asset.index(asset)) if told and known else (None, -1)

    @staticmethod
    def _changes(trail: ClusterTrail) -> str:
        count = sum(before != after for before, after in pairwise(trail.cluster))
        return f"  changed cluster {count} times in {len(trail.ts)} bars" if count else ""

    def _chart(
        self,
        ts: Sequence[int],
        curves: Sequence[tuple[Sequence[float], Style]],
        bands: Sequence[tuple[float, Style]],
        room: int,
        rows: int,
    ) -> Iterator[Line]:
        """Curves over the bars, and level lines below them that are named at the right."""
        muted = self.palette.muted
        points = [[(float(t), y) for t, y in zip(ts, values, strict=True)] for values, _ in curves]
        levels = [[(float(ts[0]), level), (float(ts[-1]), level)] for level, _ in bands]
        inks = [*(ink for _, ink in curves), *(ink for _, ink in bands), muted]
        values = [y for line in (*points, *levels) for _, y in line]
        low, high = min(values), max(values)
        named: dict[int, Cell] = {0: (format.signed(high), muted), rows - 1: (format.signed(low), muted)}
        for level, ink in bands:
            named[round((high - level) / (high - low) * (rows - 1)) if high > low else 0] = (
                format.signed(level),
                ink,
            )
        for y, row in enumerate(overlay([*points, *levels], room, rows)):
            text, ink = named.get(y, ("", muted))
            yield [(" ", muted), *((mark, inks[owner]) for mark, owner in row), (f" {text}", ink)]

    def _gates(self, trail: ClusterTrail, room: int) -> Line:
        """Where it stood in its cluster, from the first bar to the last."""
        last = len(trail.ts) - 1
        marks = (GATES[standing(trail.gate[round(x * last / max(room - 1, 1))])] for x in range(room))
        return [(f" {''.join(marks)}", self.palette.muted), (" gate", self.palette.muted)]
