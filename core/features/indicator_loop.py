"""The compiled loop behind `core.features.indicators`: one bar of all assets at a time, as in `pair_loop`.

Sources. RSI and ATR with their smoothing: J. W. Wilder, New Concepts in Technical Trading Systems (1978). The
exponential mean of span n weighs the newest value 2 / (n + 1) and begins with the plain mean of n values.
Supertrend: O. Seban's bands of `multiplier` ATR around the middle of the bar, which only ever close in on the
price until a close breaks through one.
"""

from typing import NamedTuple

import numpy as np

from core.data.panel import Ints
from core.domain.market import Floats
from core.features.pair_loop import MEMORY, ROUNDING, Flags, Grids, _mean, _mean_std
from core.jit import jit

NAMES = (
    "simple_return",
    "log_return",
    "volatility",
    "atr",
    "rsi",
    "sma_fast",
    "sma_slow",
    "ema_fast",
    "ema_slow",
    "supertrend",
    "supertrend_side",
    "z_score",
    "correlation",
)


class Spans(NamedTuple):
    """Lengths in bars, and Supertrend's multiple of the ATR."""

    volatility: int
    atr: int
    rsi: int
    fast: int
    slow: int
    z: int
    correlation: int
    multiplier: float


class State(NamedTuple):
    """All that is remembered between bars. Rings are (rows, N), a bar's row is `seen` modulo the rows; `smooth`
    (5, N) are the recursive means of true range, gain, loss, and of the close fast and slow, and `fed` (N,) the
    changes, `closes_fed` (N,) the closes they have been fed."""

    seen: Ints
    closes: Floats
    returns: Floats
    upper: Floats
    lower: Floats
    smooth: Floats
    fed: Ints
    closes_fed: Ints

    @classmethod
    def fresh(cls, n: int, spans: Spans) -> "State":
        """The state before the first bar: no price is known."""
        return cls(
            np.zeros(1, np.int64),
            np.full((max(spans.fast, spans.slow, spans.z, MEMORY), n), np.nan),
            np.full((max(spans.volatility, spans.correlation), n), np.nan),
            np.full((MEMORY, n), np.nan),
            np.full((MEMORY, n), np.nan),
            np.zeros((5, n)),
            np.zeros(n, np.int64),
            np.zeros(n, np.int64),
        )


@jit
def run(state: State, spans: Spans, grids: Grids, values: Floats, valid: Flags) -> None:
    """Feed T bars and write their rows of `values` and `valid`, both (T, N, C), columns in the order of NAMES."""
    n = grids.close.shape[1]
    mean, std, fast, slow = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    for t in range(grids.close.shape[0]):
        out, seen = values[t], state.seen[0]
        _feed(state, spans, grids, t, out)
        _mean(state.closes, seen, spans.fast, fast)
        _mean(state.closes, seen, spans.slow, slow)
        _mean_std(state.closes, seen, spans.z, mean, std)
        for i in range(n):
            out[i, 5], out[i, 6] = fast[i], slow[i]
            close = state.closes[seen % state.closes.shape[0], i]
            out[i, 11] = (close - mean[i]) / std[i] if std[i] > ROUNDING * mean[i] else np.nan
        _mean_std(state.returns, seen, spans.volatility, mean, std)
        for i in range(n):
            out[i, 2] = std[i] if std[i] > ROUNDING else np.nan
        _supertrend(state, seen, out)
        _mean_std(state.returns, seen, spans.correlation, mean, std)
        _correlate_with_first(state.returns, seen, spans.correlation, mean, std, out)
        for i in range(n):
            for c in range(out.shape[1]):
                finite = np.isfinite(out[i, c])
                valid[t, i, c] = finite and grids.valid[t, i]
                out[i, c] = out[i, c] if finite else 0.0
        state.seen[0] = seen + 1


@jit
def _feed(state: State, spans: Spans, grids: Grids, t: int, out: Floats) -> None:
    """Prices, returns, the recursive means and Supertrend's bands; a silent bar is a bar at the last close."""
    seen, rows = state.seen[0], state.closes.shape[0]
    closes, before = state.closes[seen % rows], state.closes[(seen - 1) % rows]
    returns = state.returns[seen % state.returns.shape[0]]
    upper, lower = state.upper[seen % MEMORY], state.lower[seen % MEMORY]
    ranges, gain, loss, fast, slow = state.smooth
    for i in range(closes.shape[0]):
        last = before[i]
        traded = grids.valid[t, i]
        close = grids.close[t, i] if traded else last
        high, low = (grids.high[t, i], grids.low[t, i]) if traded else (last, last)
        closes[i] = close
        out[i, 0], out[i, 1] = close / last - 1.0, np.log(close / last)
        returns[i] = out[i, 1]
        if np.isfinite(close):
            fed = state.closes_fed[i]
            fast[i] = _smooth(fast[i], close, spans.fast, 2.0 / (spans.fast + 1.0), fed)
            slow[i] = _smooth(slow[i], close, spans.slow, 2.0 / (spans.slow + 1.0), fed)
            state.closes_fed[i] = fed + 1
        change = close - last
        if np.isfinite(change):
            fed = state.fed[i]
            span = (high if high > last else last) - (low if low < last else last)
            ranges[i] = _smooth(ranges[i], span, spans.atr, 1.0 / spans.atr, fed)
            gain[i] = _smooth(gain[i], max(change, 0.0), spans.rsi, 1.0 / spans.rsi, fed)
            loss[i] = _smooth(loss[i], max(-change, 0.0), spans.rsi, 1.0 / spans.rsi, fed)
            state.fed[i] = fed + 1
        atr = ranges[i] if state.fed[i] >= spans.atr else np.nan
        out[i, 3] = atr
        out[i, 4] = 100.0 * gain[i] / (gain[i] + loss[i]) if state.fed[i] >= spans.rsi else np.nan
        out[i, 7] = fast[i] if state.closes_fed[i] >= spans.fast else np.nan
        out[i, 8] = slow[i] if state.closes_fed[i] >= spans.slow else np.nan
        upper[i] = (high + low) / 2 + spans.multiplier * atr
        lower[i] = (high + low) / 2 - spans.multiplier * atr


@jit
def _smooth(value: float, new: float, span: int, weight: float, fed: int) -> float:
    """A recursive mean after `fed` values, begun as the plain mean of the first `span` (their sum, until then)."""
    return value + new / span if fed < span else value + weight * (new - value)


@jit
def _supertrend(state: State, seen: int, out: Floats) -> None:
    """Line and side (+1 above its lower band, -1 below its upper one), walked anew through the last MEMORY bars.

    How long the bands remember depends on the prices; a walk from a fixed distance is what makes a restart tell
    the same side as a run that never stopped."""
    rows = state.closes.shape[0]
    n, rows = out.shape[0], state.closes.shape[0]
    high, low, before = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    side = np.zeros(n)
    for back in range(MEMORY - 1, -1, -1):
        upper, lower = state.upper[(seen - back) % MEMORY], state.lower[(seen - back) % MEMORY]
        closes = state.closes[(seen - back) % rows]
        for i in range(n):
            keep_high = (before[i] <= high[i]) & (high[i] <= upper[i])
            keep_low = (before[i] >= low[i]) & (low[i] >= lower[i])
            high[i] = high[i] if keep_high else upper[i]
            low[i] = low[i] if keep_low else lower[i]
            before[i] = closes[i]
            side[i] = 1.0 if closes[i] > high[i] else -1.0 if closes[i] < low[i] else side[i]
    for i in range(n):
        out[i, 9] = low[i] if side[i] > 0 else high[i] if side[i] < 0 else np.nan
        out[i, 10] = side[i] if side[i] != 0 else np.nan


@jit
def _correlate_with_first(returns: Floats, seen: int, window: int, mean: Floats, std: Floats, out: Floats) -> None:
    """Pearson correlation of each asset's last `window` log returns with the first asset's."""
    out[:, 12] = 0.0
    at = (seen - window + 1) % returns.shape[0]
    for _ in range(window):
        first = returns[at, 0] - mean[0]
        for i in range(out.shape[0]):
            out[i, 12] += (returns[at, i] - mean[i]) * first
        at = at + 1 if at + 1 < returns.shape[0] else 0
    for i in range(out.shape[0]):
        flat = std[i] <= ROUNDING or std[0] <= ROUNDING
        out[i, 12] = np.nan if flat else out[i, 12] / (window - 1) / (std[i] * std[0])
