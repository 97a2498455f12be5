"""The compiled loop behind `core.features.pairs`. One bar: assets first, then all pairs side by side.

Rings hold one row a bar and one column an asset or pair; inner loops run along a row, so that they vectorise
without reordering any sum. Windows are walked oldest row first, which makes a result depend on the values in
the window and on nothing else. The functions below are called directly, never passed: numba keeps them on disk.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.data.panel import Ints
from core.domain.market import Floats
from core.jit import jit

NAMES = (
    "spread",
    "z_score",
    "spread_rsi",
    "spread_roc",
    "spread_change_1",
    "vol_ratio",
    "vol_ratio_rel",
    "vol_diff_ratio",
    "realized_vol_base",
    "realized_vol_quote",
    "realized_vol_avg",
    "atr_base",
    "atr_quote",
    "atr_pct_base",
    "atr_pct_quote",
    "atr_pct_avg",
    "base_idx",
    "quote_idx",
    "base_funding",
    "quote_funding",
    "funding_diff",
    "funding_avg",
)
MEMORY = 400
"""Bars over which aligned bars are counted, and by which Wilder's recursion has forgotten its start."""
RSI, ROC, RATIO, VOL = 14, 5, 12, 24
ROUNDING = 1e-12
"""A deviation below this share of the mean is none: a constant spread's mean is off by its rounding."""

Flags = NDArray[np.bool_]


class Windows(NamedTuple):
    """Lengths in bars; `min_bars` of alignment before a pair is usable."""

    z: int
    atr: int
    correlation: int
    min_bars: int


class Grids(NamedTuple):
    """What the market said, each (T, N); `volume` in base units, `funding` per 8 hours."""

    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    funding: Floats
    valid: Flags


class Outputs(NamedTuple):
    """`features` (T, P, F), `usable` (T, P); last valid `close`, `atr_pct` and `volatility` (sample std of the last
    `VOL` returns) (T, N), 0 where unknown; `correlations` (D, N, N)."""

    features: Floats
    usable: Flags
    close: Floats
    atr_pct: Floats
    volatility: Floats
    correlations: Floats


class State(NamedTuple):
    """All that is remembered between bars. Rings are (rows, N or P); a bar's row is `seen` modulo the rows."""

    seen: Ints
    close: Floats
    returns: Floats
    ranges: Floats
    spreads: Floats
    ratios: Floats
    gain: Floats
    loss: Floats
    changes: Ints
    alive: Flags
    aligned: Ints
    correlation: Floats

    @classmethod
    def fresh(cls, n: int, p: int, windows: Windows) -> "State":
        """The state before the first bar: no price is known."""
        return cls(
            np.zeros(1, np.int64),
            np.full(n, np.nan),
            np.full((max(windows.correlation, VOL), n), np.nan),
            np.full((windows.atr, n), np.nan),
            np.full((max(windows.z, ROC + 1), p), np.nan),
            np.full((RATIO, p), np.nan),
            np.zeros(p),
            np.zeros(p),
            np.zeros(p, np.int64),
            np.zeros((MEMORY, p), np.bool_),
            np.zeros(p, np.int64),
            np.eye(n),
        )


@jit
def run(state: State, windows: Windows, legs: Ints, day: Ints, grids: Grids, out: Outputs) -> None:
    """Feed T bars and write their rows of `out`.

    `legs` (2, P): asset numbers of base and quote. `day` (T,): row of `out.correlations` in force at each bar;
    where it rises, the matrix is computed anew. `out.correlations[0]` is the one in force before.
    """
    bars, n, p = grids.close.shape[0], grids.close.shape[1], legs.shape[1]
    vol, atr, turnover = np.empty(n), np.empty(n), np.empty(n)
    asset_mean, z_mean, z_std, ratio_mean = np.empty(n), np.empty(p), np.empty(p), np.empty(p)
    in_force = 0
    for t in range(bars):
        seen = state.seen[0]
        _feed_assets(state, grids, t, seen, turnover)
        _mean(state.ranges, seen, windows.atr, atr)
        _mean_std(state.returns, seen, VOL, asset_mean, vol)
        for i in range(n):
            out.close[t, i] = state.close[i]
            pct = atr[i] / state.close[i]
            out.atr_pct[t, i] = pct if np.isfinite(pct) else 0.0
            out.volatility[t, i] = vol[i] if np.isfinite(vol[i]) else 0.0
        if day[t] > in_force:
            in_force = day[t]
            _correlate(state.returns, seen, windows.correlation, state.correlation)
            out.correlations[in_force] = state.correlation

        _feed_pairs(state, legs, grids.valid[t], turnover, seen)
        _mean_std(state.spreads, seen, windows.z, z_mean, z_std)
        _mean(state.ratios, seen, RATIO, ratio_mean)
        pair_stats = (z_mean, z_std, ratio_mean)
        _write(state, windows, legs, grids.funding[t], grids.valid[t], (vol, atr), pair_stats, out, t)
        state.seen[0] = seen + 1


@jit
def _feed_assets(state: State, grids: Grids, t: int, seen: int, turnover: Floats) -> None:
    """Return, true range and quote volume of each asset; a silent one repeats its last close."""
    returns = state.returns[seen % state.returns.shape[0]]
    ranges = state.ranges[seen % state.ranges.shape[0]]
    for i in range(state.close.shape[0]):
        before = state.close[i]
        if grids.valid[t, i]:
            high, low, close = grids.high[t, i], grids.low[t, i], grids.close[t, i]
            returns[i] = close / before - 1.0
            # Built so that a missing previous close makes it NaN: the first bar has no true range.
            ranges[i] = (high if high > before else before) - (low if low < before else before) + 0.0 * before
            state.close[i] = close
            turnover[i] = grids.volume[t, i] * close
        else:
            returns[i] = ranges[i] = 0.0 * before
            turnover[i] = np.nan


@jit
def _feed_pairs(state: State, legs: Ints, valid: Flags, turnover: Floats, seen: int) -> None:
    """Spread, Wilder's averages, volume ratio and alignment of each pair."""
    size = state.spreads.shape[0]
    spread, before = state.spreads[seen % size], state.spreads[(seen - 1) % size]
    ratio, ratio_before = state.ratios[seen % RATIO], state.ratios[(seen - 1) % RATIO]
    alive = state.alive[seen % MEMORY]
    for k in range(legs.shape[1]):
        a, b = legs[0, k], legs[1, k]
        spread[k] = state.close[a] / state.close[b]
        now = turnover[a] / turnover[b]
        ratio[k] = now if np.isfinite(now) else ratio_before[k]
        both = valid[a] and valid[b]
        state.aligned[k] += np.int64(both) - np.int64(alive[k])
        alive[k] = both
    for k in range(legs.shape[1]):
        change = spread[k] - before[k]
        known = np.isfinite(change)
        up, down = change if change > 0.0 else 0.0, -change if change < 0.0 else 0.0
        # Wilder starts from the plain mean of the first changes: their sum, as long as they are too few.
        forget = 1.0 / RSI if state.changes[k] >= RSI else 0.0
        state.gain[k] += up * (1.0 / RSI) - state.gain[k] * forget
        state.loss[k] += down * (1.0 / RSI) - state.loss[k] * forget
        state.changes[k] += np.int64(known)


@jit
def _write(
    state: State,
    windows: Windows,
    legs: Ints,
    funding: Floats,
    valid: Flags,
    asset_stats: tuple[Floats, Floats],
    pair_stats: tuple[Floats, Floats, Floats],
    out: Outputs,
    t: int,
) -> None:
    """One row of features per pair, in the order of NAMES; what is not finite becomes 0 and not usable."""
    vol, atr = asset_stats
    mean, std, ratio_mean = pair_stats
    seen, size = state.seen[0], state.spreads.shape[0]
    spreads, one_back = state.spreads[seen % size], state.spreads[(seen - 1) % size]
    five_back, ratios = state.spreads[(seen - ROC) % size], state.ratios[seen % RATIO]
    pct = out.atr_pct[t]
    for k in range(legs.shape[1]):
        a, b = legs[0, k], legs[1, k]
        row = out.features[t, k]
        row[0] = spreads[k]
        row[1] = (spreads[k] - mean[k]) / std[k] if std[k] > ROUNDING * mean[k] else np.nan
        gain, loss = state.gain[k], state.loss[k]
        row[2] = 100.0 * gain / (gain + loss) if state.changes[k] >= RSI else np.nan
        row[3] = 100.0 * (spreads[k] / five_back[k] - 1.0)
        row[4] = spreads[k] / one_back[k] - 1.0
        row[5] = ratios[k]
        row[6] = ratios[k] / ratio_mean[k]
        row[7] = vol[a] / vol[b]
        row[8], row[9], row[10] = vol[a], vol[b], (vol[a] + vol[b]) / 2
        row[11], row[12] = atr[a], atr[b]
        row[13], row[14], row[15] = pct[a], pct[b], (pct[a] + pct[b]) / 2
        row[16], row[17] = a, b
        row[18], row[19] = funding[a], funding[b]
        row[20], row[21] = funding[a] - funding[b], (funding[a] + funding[b]) / 2
        # What is left out here is finite whenever these are.
        total = row[1] + row[2] + row[3] + row[4] + row[6] + row[7] + row[11] + row[12] + row[20]
        finite = np.isfinite(total)
        if not finite:
            for f in range(row.shape[0]):
                if not np.isfinite(row[f]):
                    row[f] = 0.0
        out.usable[t, k] = finite and valid[a] and valid[b] and state.aligned[k] >= windows.min_bars


@jit
def _mean(ring: Floats, seen: int, window: int, mean: Floats) -> None:
    """Mean per column of the last `window` rows, the newest being row `seen`."""
    mean[:] = 0.0
    at = (seen - window + 1) % ring.shape[0]
    for _ in range(window):
        row = ring[at]
        for k in range(mean.shape[0]):
            mean[k] += row[k]
        at = at + 1 if at + 1 < ring.shape[0] else 0
    for k in range(mean.shape[0]):
        mean[k] /= window


@jit
def _mean_std(ring: Floats, seen: int, window: int, mean: Floats, std: Floats) -> None:
    """Mean and sample deviation (n - 1) per column of the last `window` rows, in two passes."""
    _mean(ring, seen, window, mean)
    std[:] = 0.0
    at = (seen - window + 1) % ring.shape[0]
    for _ in range(window):
        row = ring[at]
        for k in range(std.shape[0]):
            std[k] += (row[k] - mean[k]) * (row[k] - mean[k])
        at = at + 1 if at + 1 < ring.shape[0] else 0
    for k in range(std.shape[0]):
        std[k] = np.sqrt(std[k] / (window - 1))


@jit
def _products(ring: Floats, seen: int, window: int, mean: Floats, out: Floats) -> None:
    """(N, N) sums of products of the last `window` rows' distances from their means."""
    n = ring.shape[1]
    off = np.empty(n)
    out[:] = 0.0
    at = (seen - window + 1) % ring.shape[0]
    for _ in range(window):
        for i in range(n):
            off[i] = ring[at, i] - mean[i]
        for i in range(n):
            row = out[i]
            for j in range(n):  # the whole square: a straight row is faster than half of it
                row[j] += off[i] * off[j]
        at = at + 1 if at + 1 < ring.shape[0] else 0


@jit
def _correlate(returns: Floats, seen: int, window: int, out: Floats) -> None:
    """Pearson correlation of the last `window` returns; 0 where one is missing or constant, 1 on the diagonal."""
    n = returns.shape[1]
    mean, std = np.empty(n), np.empty(n)
    _mean_std(returns, seen, window, mean, std)
    _products(returns, seen, window, mean, out)
    for i in range(n):
        for j in range(n):
            value = out[i, j] / (window - 1) / (std[i] * std[j])
            out[i, j] = value if np.isfinite(value) else 0.0
        out[i, i] = 1.0
