"""Indicators of single assets, by one compiled loop for history and live: what the baselines trade on.

A silent bar is one at the last valid close: return 0, true range 0; its columns are not valid. An asset's columns
become valid one by one, as their windows fill.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from core.data.panel import Ints
from core.features.indicator_loop import NAMES, Spans, State, run
from core.features.pair_loop import MEMORY, Grids
from core.features.stream import Columns, ColumnStream, forgotten


class IndicatorParams(msgspec.Struct, frozen=True):
    """Windows in bars. `supertrend_multiplier`: its bands' distance from the middle of a bar, in ATR."""

    volatility_window: int = 24
    atr_period: int = 14
    rsi_period: int = 14
    fast: int = 24
    slow: int = 96
    z_window: int = 24
    correlation_window: int = 168
    supertrend_multiplier: float = 3.0


class Indicators(ColumnStream):
    """Per asset: `simple_return`, `log_return` (close to close); `volatility`, sample deviation of log returns per
    bar; Wilder's `atr` and `rsi`; means of the close, plain (`sma_fast`, `sma_slow`) and exponential (`ema_fast`,
    `ema_slow`); `supertrend`, its line in units of price, and `supertrend_side` (+1, -1); `z_score` of the close;
    `correlation` of log returns with the first asset's."""

    names = NAMES

    def __init__(
        self, assets: Sequence[str], bar_ms: int = 3_600_000, params: IndicatorParams | None = None
    ) -> None:
        super().__init__(assets, bar_ms)
        p = self.params = params or IndicatorParams()
        self._spans = Spans(
            p.volatility_window,
            p.atr_period,
            p.rsi_period,
            p.fast,
            p.slow,
            p.z_window,
            p.correlation_window,
            p.supertrend_multiplier,
        )
        self._state = State.fresh(len(self.assets), self._spans)

    @property
    def warmup(self) -> int:
        """Bars after which the recursive means have forgotten their start, and Supertrend's walk has such bands."""
        p = self.params
        slowest = max(p.fast, p.slow)
        return max(
            slowest + forgotten(1 - 2 / (slowest + 1)),
            p.rsi_period + forgotten(1 - 1 / p.rsi_period),
            p.atr_period + forgotten(1 - 1 / p.atr_period) + MEMORY,
            p.correlation_window + 1,
            p.volatility_window + 1,
            p.z_window,
        )

    def _run(self, ts: Ints, grids: Grids) -> Columns:
        shape = (len(ts), len(self.assets), len(NAMES))
        out = Columns(ts, np.empty(shape), np.empty(shape, np.bool_))
        run(self._state, self._spans, grids, out.values, out.valid)
        return out
