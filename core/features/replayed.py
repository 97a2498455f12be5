"""The features of a panel that is all at hand, handed out bar by bar: the same loop in chunks, the same bits."""

from core.data.panel import Panel
from core.domain.instrument import Pair
from core.domain.market import Bar
from core.features.pairs import FeatureHistory, Frame, PairFeatures

CHUNK = 512
"""Bars computed at a time: the more, the less each costs; they are held in memory."""


class Replayed:
    """Stands in for `features`, fresh: `update` takes the bars of `panel` from `first` on, in order."""

    def __init__(self, features: PairFeatures, panel: Panel, first: int) -> None:
        self._features = PairFeatures(features.assets, features.params, features.bar_ms)
        self._panel = panel
        self._next = self._from = first
        self._chunk: FeatureHistory | None = None

    @property
    def assets(self) -> tuple[str, ...]:
        return self._features.assets

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return self._features.pairs

    @property
    def names(self) -> tuple[str, ...]:
        return self._features.names

    @property
    def hash(self) -> str:
        return self._features.hash

    @property
    def warmup(self) -> int:
        return self._features.warmup

    def update(self, bar: Bar) -> Frame:
        """The frame of the panel's next bar; ValueError if `bar` is another one."""
        t = self._next
        if bar.open_ms != self._panel.ts[t]:
            raise ValueError(f"bar {bar.open_ms} is not the next of the panel, {self._panel.ts[t]}")
        if self._chunk is None or t - self._from == len(self._chunk.ts):
            self._from = t
            self._chunk = self._features.history(self._panel.slice(t, t + CHUNK))
        self._next += 1
        return self._chunk.frame(t - self._from)
