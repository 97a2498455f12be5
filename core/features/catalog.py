"""Every feature there is, by name: what tests and the audit walk through, so that none goes unexamined.

A feature whose module is not listed here is not a feature: `FEATURES` is the one table.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.data.panel import Panel
from core.domain.market import Bar
from core.features.hedge import HedgeFeatures
from core.features.indicators import Indicators
from core.features.pairs import Frame, PairFeatures
from core.features.stream import ColumnStream

Arrays = dict[str, NDArray[Any]]
"""Columns by name, each (T, ...): row t is what is known when bar t has closed. A live bar gives T = 1."""


class Fed(Protocol):
    """A feature at work: fed with closed bars in order, by the thousand or one by one."""

    @property
    def warmup(self) -> int: ...

    def history(self, panel: Panel) -> Arrays: ...

    def update(self, bar: Bar) -> Arrays: ...


class Feature(msgspec.Struct, frozen=True):
    """One entry of the catalog.

    `make(assets, bar_ms)` gives a fresh one that has seen nothing. `recursive` names the columns that remember more
    than a window, with the tolerance, relative and absolute, to which they agree after a restart from the last
    `warmup` bars; all other columns agree bit for bit."""

    name: str
    make: Callable[[tuple[str, ...], int], Fed]
    recursive: Mapping[str, float] = {}

    def history(self, panel: Panel) -> Arrays:
        """All columns over all bars of `panel`, from a fresh start."""
        return self.make(panel.assets, panel.bar_ms).history(panel)

    def warmup(self, panel: Panel) -> int:
        """Bars a fresh start needs on the assets and bar length of `panel`."""
        return self.make(panel.assets, panel.bar_ms).warmup


class _Pairs:
    """`PairFeatures` by columns: its features (T, P), and whatever else a frame carries, as it was at each bar."""

    def __init__(self, assets: tuple[str, ...], bar_ms: int) -> None:
        self._features = PairFeatures(assets, bar_ms=bar_ms)
        self.warmup = self._features.warmup

    def history(self, panel: Panel) -> Arrays:
        known = self._features.history(panel)
        return self._arrays([known.frame(t) for t in range(len(panel))])

    def update(self, bar: Bar) -> Arrays:
        return self._arrays([self._features.update(bar)])

    def _arrays(self, frames: list[Frame]) -> Arrays:
        fields = [name for name in Frame.__struct_fields__ if name not in ("ts", "features")]
        rest = {name: np.stack([getattr(frame, name) for frame in frames]) for name in fields}
        columns = np.stack([frame.features for frame in frames])
        return {name: columns[..., c] for c, name in enumerate(self._features.names)} | rest


class _Columns:
    """A `ColumnStream` by columns: each (T, K), and its flags as `NAME.valid`."""

    def __init__(self, stream: ColumnStream) -> None:
        self._stream = stream
        self.warmup = stream.warmup

    def history(self, panel: Panel) -> Arrays:
        return self._arrays(*self._stream.history(panel)[1:])

    def update(self, bar: Bar) -> Arrays:
        return self._arrays(*self._stream.update(bar)[1:])

    def _arrays(self, values: NDArray[Any], valid: NDArray[Any]) -> Arrays:
        names = self._stream.names
        flags = {f"{name}.valid": valid[..., c] for c, name in enumerate(names)}
        return {name: values[..., c] for c, name in enumerate(names)} | flags


_RECURSIVE = ("atr", "rsi", "ema_fast", "ema_slow", "supertrend", "supertrend_side")
_FILTERED = tuple(name for name in HedgeFeatures.names if name.startswith("kalman"))
"""The filter keeps 1e-8 of its start, but prices that hardly move do not tell alpha from beta: along that line the
start shows longer. On a year and a half of hourly bars 6e-5 was the most of it; we declare 1e-4."""

FEATURES: tuple[Feature, ...] = (
    Feature("pairs", _Pairs, {"spread_rsi": 1e-9}),
    Feature("indicators", lambda *of: _Columns(Indicators(*of)), dict.fromkeys(_RECURSIVE, 1e-6)),
    Feature("hedge", lambda *of: _Columns(HedgeFeatures(*of)), dict.fromkeys(_FILTERED, 1e-4)),
)
