"""The features of a panel that is all at hand, handed out bar by bar: the same loop in chunks, the same bits."""

from collections.abc import Iterator

from core.data.panel import Panel
from core.domain.instrument import Pair
from core.domain.market import Bar
from core.features.pairs import FeatureHistory, Frame, PairFeatures

ROWS, BYTES = 512, 8_000_000
"""Bars computed at a time, and what their features may take: a few bars of many pairs, many of few. More would not
fit the processor's cache, and fewer would pay for the call each time."""


class Replayed:
    """Stands in for `features`, fresh: `update` takes the bars of `panel` from `first` on, in order."""

    def __init__(self, features: PairFeatures, panel: Panel, first: int) -> None:
        self._features = PairFeatures(features.assets, features.params, features.bar_ms)
        self._chunks = chunks(self._features, panel, first)
        self._chunk: FeatureHistory | None = None
        self._at = 0

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
        if self._chunk is None or self._at == len(self._chunk.ts):
            self._chunk, self._at = next(self._chunks), 0
        if bar.open_ms != self._chunk.ts[self._at]:
            raise ValueError(f"bar {bar.open_ms} is not the next of the panel, {self._chunk.ts[self._at]}")
        self._at += 1
        return self._chunk.frame(self._at - 1)


def chunks(features: PairFeatures, panel: Panel, first: int = 0) -> Iterator[FeatureHistory]:
    """The history of `panel` from bar `first` on, fed to `features` a part at a time."""
    row = 8 * len(features.pairs) * len(features.names)
    rows = max(1, min(ROWS, BYTES // row))
    for at in range(first, len(panel), rows):
        yield features.history(panel.slice(at, at + rows))
