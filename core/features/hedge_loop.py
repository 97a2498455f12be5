"""The compiled loop behind `core.features.hedge`: hedge ratios first as known before the bar, then with it.

One bar: the spreads are judged by the slopes of the bar before, then the bar goes into the regressions. So no
order of the lines below could let a bar choose the hedge ratio that it is judged by.
"""

from typing import NamedTuple

import numpy as np

from core.data.panel import Ints
from core.domain.market import Floats
from core.features.pair_loop import ROUNDING, Flags, Grids, _mean, _products
from core.jit import jit

OF_A_METHOD = ("alpha", "beta", "beta_lag", "beta_jump", "spread", "z_score", "volatility")
OF_A_TEST = ("adf", "cointegrated", "adf_ratio", "ratio_reverting")
NAMES = (
    *(f"{method}_{name}" for method in ("ols", "kalman") for name in OF_A_METHOD),
    "kalman_deviation",
    *OF_A_TEST,
)
OLS, KALMAN, WIDTH = 0, 1, len(OF_A_METHOD)
LAGS = 1
"""Lagged differences in the Dickey-Fuller regression."""


class Rule(NamedTuple):
    """Windows in bars; `keep` is what the filter keeps of its past a bar; `jump` the change of a slope that blocks
    its spread; then the critical values for the regression's residual and for the log ratio."""

    window: int
    z: int
    volatility: int
    min_bars: int
    keep: float
    jump: float
    critical: float
    critical_ratio: float


class State(NamedTuple):
    """All that is remembered between bars. `logs` (rows, N) is a ring of log closes, `alive` (window, P) of aligned
    bars; a bar's row is `seen` modulo the rows. `slope` (2 methods, 3, P): of the newest bar and of the two before
    it; `level` (2, 2, P) likewise, where the quote leg's log price is 0. `filter` (7, P): the Kalman filter's level
    at its anchor, slope, anchor, the three entries of their covariance in units of R, and R."""

    seen: Ints
    logs: Floats
    alive: Flags
    aligned: Ints
    slope: Floats
    level: Floats
    filter: Floats

    @classmethod
    def fresh(cls, n: int, p: int, rule: Rule) -> "State":
        """The state before the first bar: no price is known."""
        return cls(
            np.zeros(1, np.int64),
            np.full((max(rule.window, rule.z, rule.volatility + 1), n), np.nan),
            np.zeros((rule.window, p), np.bool_),
            np.zeros(p, np.int64),
            np.full((2, 3, p), np.nan),
            np.full((2, 2, p), np.nan),
            np.full((7, p), np.nan),
        )


@jit
def run(state: State, rule: Rule, legs: Ints, grids: Grids, values: Floats, valid: Flags) -> None:
    """Feed T bars and write their rows of `values` and `valid`, both (T, P, C), columns in the order of NAMES.

    `legs` (2, P): asset numbers of base and quote."""
    n = grids.close.shape[1]
    mean, products = np.empty(n), np.empty((n, n))
    recent = np.empty(max(rule.z, rule.volatility + 1))
    for t in range(grids.close.shape[0]):
        seen = state.seen[0]
        traded = grids.valid[t]
        _feed(state, grids.close[t], traded, legs)
        _mean(state.logs, seen, rule.window, mean)
        _products(state.logs, seen, rule.window, mean, products)
        for k in range(legs.shape[1]):
            a, b = legs[0, k], legs[1, k]
            both = traded[a] and traded[b]
            row = values[t, k]
            for method in range(2):
                _judge(state, rule, method, k, a, b, recent, row[method * WIDTH :])
            row[2 * WIDTH] = _filter(state, rule.keep, k, a, b, mean[b]) if both else np.nan
            _regress(state, rule, k, mean[a], mean[b], products[a, a], products[a, b], products[b, b])
            for method in range(2):
                row[method * WIDTH], row[method * WIDTH + 1] = state.level[method, 0, k], state.slope[method, 0, k]
            _test(state, rule, k, a, b, mean, row[2 * WIDTH + 1 :])
            _flag(row, both and state.aligned[k] >= rule.min_bars, rule.jump, valid[t, k])
        state.seen[0] = seen + 1


@jit
def _feed(state: State, close: Floats, traded: Flags, legs: Ints) -> None:
    """Log prices, a silent asset's its last one; alignment; and the slopes grow a bar older."""
    seen, rows = state.seen[0], state.logs.shape[0]
    now, before = state.logs[seen % rows], state.logs[(seen - 1) % rows]
    for i in range(close.shape[0]):
        now[i] = np.log(close[i]) if traded[i] else before[i]
    alive = state.alive[seen % state.alive.shape[0]]
    for k in range(legs.shape[1]):
        both = traded[legs[0, k]] and traded[legs[1, k]]
        state.aligned[k] += np.int64(both) - np.int64(alive[k])
        alive[k] = both
        for method in range(2):
            state.slope[method, 2, k] = state.slope[method, 1, k]
            state.slope[method, 1, k] = state.slope[method, 0, k]
            state.level[method, 1, k] = state.level[method, 0, k]


@jit
def _judge(state: State, rule: Rule, method: int, k: int, a: int, b: int, recent: Floats, out: Floats) -> None:
    """What is traded at this bar, by the slope known at the bar before: spread, its z-score, its volatility.

    The window of the z-score is that of one portfolio, long 1 of a and short `lag` of b: a mean over spreads of
    several slopes would follow the slope more than the prices."""
    seen, rows, size = state.seen[0], state.logs.shape[0], recent.shape[0]
    lag = state.slope[method, 1, k]
    for i in range(size):
        row = state.logs[(seen - size + 1 + i) % rows]
        recent[i] = row[a] - lag * row[b]
    spread = recent[size - 1]
    mean = 0.0
    for i in range(size - rule.z, size):
        mean += recent[i]
    mean /= rule.z
    square, drift, change = 0.0, (spread - recent[size - 1 - rule.volatility]) / rule.volatility, 0.0
    for i in range(size - rule.z, size):
        square += (recent[i] - mean) * (recent[i] - mean)
    for i in range(size - rule.volatility, size):
        step = recent[i] - recent[i - 1] - drift
        change += step * step
    std, volatility = np.sqrt(square / (rule.z - 1)), np.sqrt(change / (rule.volatility - 1))
    out[2] = lag
    out[3] = abs(lag - state.slope[method, 2, k])
    out[4] = spread - state.level[method, 1, k]
    out[5] = (spread - mean) / std if std > ROUNDING else np.nan
    out[6] = volatility if volatility > ROUNDING else np.nan


@jit
def _regress(
    state: State, rule: Rule, k: int, mean_a: float, mean_b: float, aa: float, ab: float, bb: float
) -> None:
    """Least squares of the window; where the filter has not begun, it begins with this line and its errors."""
    moves = bb > ROUNDING * ROUNDING * rule.window
    slope = ab / bb if moves else np.nan
    state.slope[OLS, 0, k] = slope
    state.level[OLS, 0, k] = mean_a - slope * mean_b
    own = state.filter[:, k]
    variance = (aa - slope * ab) / (rule.window - 2)
    if not np.isfinite(own[6]) and variance > ROUNDING * ROUNDING:
        own[0], own[1], own[2] = mean_a, slope, mean_b
        own[3], own[4], own[5], own[6] = 1.0 / rule.window, 0.0, 1.0 / bb, variance
        state.slope[KALMAN, 0, k], state.level[KALMAN, 0, k] = slope, state.level[OLS, 0, k]


@jit
def _filter(state: State, keep: float, k: int, a: int, b: int, anchor: float) -> float:
    """One bar of the Kalman filter of a line, described by its level at `anchor` and its slope; returns the
    deviation with which the bar was foreseen.

    The line is carried to the new anchor as it is (F = [[1, shift], [0, 1]]). Its covariance is kept in units of R:
    it grows by the share that is forgotten (Q), and R is learned from the surprises."""
    own = state.filter[:, k]
    level, slope, c00, c01, c11, noise = own[0], own[1], own[3], own[4], own[5], own[6]
    now = state.logs[state.seen[0] % state.logs.shape[0]]
    shift, at = anchor - own[2], now[b] - anchor
    level += slope * shift
    c00 = (c00 + shift * (2.0 * c01 + shift * c11)) / keep
    c01, c11 = (c01 + shift * c11) / keep, c11 / keep
    to_level, to_slope = c00 + at * c01, c01 + at * c11
    total = 1.0 + to_level + at * to_slope
    surprise = now[a] - level - slope * at
    level += to_level / total * surprise
    slope += to_slope / total * surprise
    own[0], own[1], own[2] = level, slope, anchor
    own[3], own[4] = c00 - to_level * to_level / total, c01 - to_level * to_slope / total
    own[5] = c11 - to_slope * to_slope / total
    own[6] = noise + (1.0 - keep) * (surprise * surprise / total - noise)
    state.slope[KALMAN, 0, k], state.level[KALMAN, 0, k] = slope, level - slope * anchor
    return float(np.sqrt(noise * total))


@jit
def _test(state: State, rule: Rule, k: int, a: int, b: int, mean: Floats, out: Floats) -> None:
    """Dickey-Fuller on the regression's residual and on the log ratio of the prices, each with its verdict."""
    seen = state.seen[0]
    out[0] = _adf(state.logs, seen, rule.window, a, b, mean, state.slope[OLS, 0, k], False)
    out[2] = _adf(state.logs, seen, rule.window, a, b, mean, 1.0, True)
    out[1] = np.float64(out[0] < rule.critical) + 0.0 * out[0]
    out[3] = np.float64(out[2] < rule.critical_ratio) + 0.0 * out[2]


@jit
def _adf(logs: Floats, seen: int, window: int, a: int, b: int, mean: Floats, slope: float, constant: bool) -> float:
    """The t statistic of g in change_i = g e_(i-1) + d change_(i-1) (+ constant); e = log a - slope log b, centred.

    Without a constant for the residual of a regression that had one; NaN where nothing moves or nothing is left."""
    rows = logs.shape[0]
    at = (seen - window + 1) % rows
    centre = mean[a] - slope * mean[b]
    older = logs[at, a] - slope * logs[at, b] - centre
    at = at + 1 if at + 1 < rows else 0
    old = logs[at, a] - slope * logs[at, b] - centre
    start, second, first = older, old, old - older
    e, ee, ed, dd, ey, dy = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    count = window - 1 - LAGS
    for _ in range(count):
        at = at + 1 if at + 1 < rows else 0
        new = logs[at, a] - slope * logs[at, b] - centre
        before, now = old - older, new - old
        e += old
        ee += old * old
        ed += old * before
        dd += before * before
        ey += old * now
        dy += before * now
        older, old = old, new
    # Squares of the changes one later differ by their ends alone; a sum of changes is a difference of levels.
    yy = dd - first * first + (old - older) * (old - older)
    if constant:
        d, y = older - start, old - second
        ee, ed, dd = ee - e * e / count, ed - e * d / count, dd - d * d / count
        ey, dy, yy = ey - e * y / count, dy - d * y / count, yy - y * y / count
    determinant = ee * dd - ed * ed
    if not (ee > ROUNDING * ROUNDING * count and determinant > ROUNDING * ee * dd):
        return np.nan
    g, of_change = (ey * dd - dy * ed) / determinant, (dy * ee - ey * ed) / determinant
    left = yy - g * ey - of_change * dy
    if not left > ROUNDING * yy:
        return np.nan
    freedom = count - 1 - LAGS - np.int64(constant)
    return float(g / np.sqrt(left / freedom * dd / determinant))


@jit
def _flag(row: Floats, usable: bool, jump: float, valid: Flags) -> None:
    """What is not finite becomes 0 and not valid; so does not valid a spread whose slope has just jumped."""
    jumps = row[3], row[WIDTH + 3]
    for c in range(row.shape[0]):
        method, column = c // WIDTH, c % WIDTH
        steady = method == 2 or column < 4 or jumps[method] <= jump
        finite = np.isfinite(row[c])
        valid[c] = usable and finite and steady
        row[c] = row[c] if finite else 0.0
