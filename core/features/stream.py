"""What every compiled feature module shares: bars come in order and once, skipped ones count as silent.

A module inherits `Stream` and brings its loop. `history` hands it T bars, `update` one: the same call, so the same
bits, and nothing of the future is ever in reach.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from core.data.panel import Ints, Panel
from core.domain.market import Bar, Floats
from core.features.pair_loop import Flags, Grids

FORGOTTEN = 1e-8
"""The weight at which a recursion's start no longer counts."""


class Columns(NamedTuple):
    """T bars, K assets or pairs, C columns: `values` (T, K, C), finite throughout, and `valid` (T, K, C).

    A value that is not valid (warm-up, silent bar, deviation zero, unstable) is not to be acted on; where it could
    not be computed it is 0. `ts` (T,) are the bars' open times: known at the close."""

    ts: Ints
    values: Floats
    valid: Flags


Told = TypeVar("Told")
"""What a loop tells of T bars."""


class Stream(ABC, Generic[Told]):
    """The features of `assets`, fed with closed bars in order; `names` (C) are its columns."""

    names: tuple[str, ...]

    def __init__(self, assets: Sequence[str], bar_ms: int) -> None:
        self.assets = tuple(assets)
        self.bar_ms = bar_ms
        self.last_open_ms: int | None = None

    @property
    @abstractmethod
    def warmup(self) -> int:
        """Bars of history after which a fresh start cannot be told from one that has run for ever."""

    @abstractmethod
    def _run(self, ts: Ints, grids: Grids) -> Told:
        """Feed T bars to the loop."""

    def history(self, panel: Panel) -> Told:
        """Feed all bars of `panel` (its assets in our order). ValueError if they do not follow the last one."""
        if panel.assets != self.assets or panel.bar_ms != self.bar_ms:
            raise ValueError(f"a panel of {panel.assets} at {panel.bar_ms} ms does not fit {self.assets}")
        grids = Grids(panel.high, panel.low, panel.close, panel.volume, panel.funding, panel.valid)
        return self._feed(panel.ts, grids)

    def _bar(self, bar: Bar) -> Told:
        """Feed one closed bar: T = 1. Bars skipped since the last count as silent."""
        if bar.close_ms - bar.open_ms != self.bar_ms or bar.ohlcv.shape != (len(self.assets), 5):
            raise ValueError(f"a bar of {bar.ohlcv.shape} over {bar.close_ms - bar.open_ms} ms does not fit")
        high, low, close, volume = np.ascontiguousarray(bar.ohlcv.T[1:, None, :])
        grids = Grids(high, low, close, volume, bar.funding[None], bar.valid[None])
        return self._feed(np.array([bar.open_ms]), grids)

    def _feed(self, ts: Ints, grids: Grids) -> Told:
        if self.last_open_ms is not None and len(ts):
            missing, rest = divmod(int(ts[0]) - self.last_open_ms, self.bar_ms)
            if rest or missing < 1:
                raise ValueError(f"bar {ts[0]} does not follow bar {self.last_open_ms}: bars come in order, once")
            if missing > 1:
                gap = self.last_open_ms + self.bar_ms * np.arange(1, missing)
                none = np.zeros((missing - 1, len(self.assets)))
                self._run(gap, Grids(none, none, none, none, none, none > 0))
        if len(ts):
            self.last_open_ms = int(ts[-1])
        return self._run(ts, grids)


class ColumnStream(Stream[Columns]):
    """A stream that tells columns, with a flag for each value."""

    def update(self, bar: Bar) -> Columns:
        """Feed one closed bar: T = 1. ValueError if it does not follow the last one."""
        return self._bar(bar)


def forgotten(decay: float) -> int:
    """Bars after which a recursion that keeps `decay` of its past a bar has forgotten its start."""
    return int(np.ceil(np.log(FORGOTTEN) / np.log(decay)))
