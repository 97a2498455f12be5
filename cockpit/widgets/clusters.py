"""Which assets belong together, and which of them stray: one row an asset where a trained model says it, else one
line a group."""

from collections.abc import Callable
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from cockpit import format
from cockpit.widgets.panel import Cell, Choosing, Latest, Line, Panel
from cockpit.widgets.table import Column, Columns
from core.domain.snapshot import Clusters, standing

INDENT = 9
"""Cells before the assets of a group."""
MARK = "•"
"""Before what has changed since the last bar."""


class ClustersPanel(Choosing):
    """The assets by cluster, then by residual, those above their cluster's consensus first. The title's end counts
    them; without a model it says by which method the groups were found."""

    topics = frozenset({"clusters"})
    title = "clusters"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "look", "Detail", id="panel.detail", tooltip="The selected asset against its cluster"),
    ]

    class Looked(Message):
        """An asset of which more is to be shown."""

        def __init__(self, asset: str) -> None:
            super().__init__()
            self.asset = asset

    def __init__(self, id: str, number: int = 0) -> None:
        super().__init__(id, number)
        self.order: list[int] = []
        self._names: list[str] = []
        self._columns: Columns | None = None
        self._width = -1

    def update(self, latest: Latest) -> None:
        self.latest = latest
        told = latest.clusters
        self._columns = None
        self.order = []
        if told is not None and told.learned:
            # Those without a feature (-1) come last.
            self.order = sorted(
                range(len(told.asset)),
                key=lambda row: (told.cluster[row] < 0, told.cluster[row], -told.residual[row]),
            )
        self._names = [told.asset[row] for row in self.order] if told else []
        if (heading := 1 if self._names else 0) != self.heading:
            self.heading = heading
            self.refresh_bindings()
        self.sync()

    def names(self) -> list[str]:
        return self._names

    def count(self) -> int:
        return len(self._names) or len(self._wrapped(self.scrollable_content_region.width))

    def wanted(self, width: int) -> int:
        return self.heading + (len(self._names) or len(self._wrapped(width)))

    def sync(self) -> None:
        told = self.latest.clusters
        if told is None or not told.asset:
            self.note("")
        elif self._names:
            places = [standing(gate) for gate in told.gate]
            self.note(", ".join(f"{places.count(word)} {word}" for word in ("core", "drifting", "out")))
        else:
            self.note(told.method)
        super().sync()

    def head(self, index: int, width: int) -> Line:
        return self._laid_out(width).head(self.palette.muted)

    def line(self, index: int, width: int) -> Line:
        return self._laid_out(width).line(self.order[index]) if self._names else self._wrapped(width)[index]

    # -- what a model says ------------------------------------------------------------------------

    def _laid_out(self, width: int) -> Columns:
        if self._columns is None or self._width != width:
            self._width = width
            longest = max(len(name) for name in self._names) + 1
            self._columns = Columns(
                [
                    Column("asset", " asset", min(max(longest, 6), 11), self._asset, right=False),
                    Column("cluster", "cl", 4, self._cluster),
                    Column("similarity", "sim", 4, self._similarity, least=42),
                    Column("gate", "gate", 4, self._gate, least=60),
                    Column("state", " state", 9, self._state, right=False),
                    Column("residual", "resid", 6, self._residual),
                    Column("signal", "signal", 6, self._signal),
                    Column("weight", "wanted", 7, self._weight, least=70),
                    Column("held", "held", 7, self._held, least=70),
                    Column("was", "was", 0, self._was, least=50, right=False),
                ],
                width,
            )
        return self._columns

    @property
    def _told(self) -> Clusters:
        assert self.latest.clusters is not None
        return self.latest.clusters

    def _moved(self, row: int) -> tuple[bool, bool]:
        """Whether its cluster, and whether its place in it, are others than a bar ago."""
        told = self._told
        place, before = standing(told.gate[row]), standing(told.gate_before[row])
        return told.cluster[row] != told.cluster_before[row], place != before

    def _ink(self, row: int) -> Style:
        place = standing(self._told.gate[row])
        return {"core": self.palette.text, "drifting": self.palette.attention, "out": self.palette.muted}[place]

    def _asset(self, row: int) -> Cell:
        name = self._told.asset[row]
        style = self.palette.strong if self._told.held[row] else self._ink(row)
        return f"{'▸' if name == self.chosen else ' '}{name}", style

    def _cluster(self, row: int) -> Cell:
        cluster, moved = self._told.cluster[row], self._moved(row)[0]
        text = str(cluster) if cluster >= 0 else format.NONE
        return f"{MARK}{text}" if moved else text, self.palette.attention if moved else self.palette.accent

    def _similarity(self, row: int) -> Cell:
        return format.plain(self._told.similarity[row]), self.palette.muted

    def _gate(self, row: int) -> Cell:
        return format.plain(self._told.gate[row]), self.palette.muted

    def _state(self, row: int) -> Cell:
        moved = self._moved(row)[1]
        word = standing(self._told.gate[row]) if self._told.cluster[row] >= 0 else "unknown"
        return (
            f"{MARK if moved else ' '}{word}",
            self.palette.attention + self.palette.bold if moved else self._ink(row),
        )

    def _residual(self, row: int) -> Cell:
        value = self._told.residual[row]
        return format.signed(value), self.palette.strong if self._told.signal[row] else self.palette.muted

    def _signal(self, row: int) -> Cell:
        return self._share(self._told.signal[row], format.signed)

    def _weight(self, row: int) -> Cell:
        return self._share(self._told.weight[row], format.percent)

    def _held(self, row: int) -> Cell:
        return self._share(self._told.held[row], format.percent)

    def _share(self, value: float, form: Callable[[float], str]) -> Cell:
        """A number, or a dot where it rounds to nothing."""
        text = form(value)
        return (text, self.palette.text) if any(c in "123456789" for c in text) else ("·", self.palette.faint)

    def _was(self, row: int) -> Cell:
        told, (cluster, place) = self._told, self._moved(row)
        words = [f"in {told.cluster_before[row]}"] if cluster and told.cluster_before[row] >= 0 else []
        words += [standing(told.gate_before[row])] if place else []
        return " ".join(words), self.palette.attention

    # -- what correlations say --------------------------------------------------------------------

    def groups(self) -> list[tuple[str, list[tuple[str, float]]]]:
        """Clusters as a title and their assets with their mean correlations; the largest first, and last the assets
        that belong to none."""
        clusters = self.latest.clusters
        if clusters is None:
            return []
        found: dict[int, list[tuple[str, float]]] = {}
        for asset, cluster, similarity in zip(clusters.asset, clusters.cluster, clusters.similarity, strict=True):
            found.setdefault(cluster, []).append((asset, similarity))
        together = sorted((group for group in found.values() if len(group) > 1), key=len, reverse=True)
        alone = [group[0] for group in found.values() if len(group) == 1]
        titled = [(f"ρ {format.plain(sum(mean for _, mean in group) / len(group))}", group) for group in together]
        return [*titled, ("alone", alone)] if alone else titled

    def _wrapped(self, width: int) -> list[Line]:
        """The clusters, each on as many lines as it takes."""
        p = self.palette
        lines: list[Line] = []
        for title, group in self.groups():
            each = title != "alone" and width >= INDENT + 11 * len(group)  # room for every asset's own number
            line: Line = [(f" {title:<{INDENT - 1}}", p.muted)]
            room = width - INDENT
            for asset, similarity in group:
                value = f" {format.plain(similarity)}" if each else ""
                if len(asset) + len(value) > room:
                    lines.append(line)
                    line, room = [(" " * INDENT, p.muted)], width - INDENT
                line += [(asset, p.text), (f"{value}  ", p.muted)]
                room -= len(asset) + len(value) + 2
            lines.append(line)
        return lines or [[(" not enough bars yet", p.muted)]]

    # -- keys -------------------------------------------------------------------------------------

    def action_move(self, delta: int) -> None:
        if self._names:
            super().action_move(delta)
        else:
            Panel.action_move(self, delta)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "look" or bool(self._names)

    def action_look(self) -> None:
        if (place := self.place()) >= 0:
            self.post_message(self.Looked(self._names[place]))

    def on_click(self, event: events.Click) -> None:
        super().on_click(event)
        if event.chain == 2:
            self.action_look()
