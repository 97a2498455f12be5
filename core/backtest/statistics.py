"""How far the figures of a run can be trusted: intervals, luck among many trials, overfitting of a sweep.

One history is one sample. Intervals resample it in blocks, so that what hangs together within a day stays together;
the deflated Sharpe ratio asks what the best of all trials would have shown without any edge; the probability of
overfitting asks how often the winner of one half of history is a loser in the other. All of them are about this
period: none knows that the market will change.
"""

from itertools import combinations
from math import ceil, e, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from core.backtest.metrics import (
    DAY_MS,
    FUNDING,
    PRICE,
    YEAR_MS,
    growth,
    kurtosis,
    metrics,
    sharpe,
    skew,
    trade_columns,
)
from core.backtest.result import Result
from core.data.panel import Ints
from core.domain.backtest import Estimate, Metrics, Statistics
from core.domain.market import Floats
from core.jit import jit

CONFIDENCE = 0.95
LIMITS = (2.5, 97.5)
"""Percentiles between which an estimate lies with that confidence."""
DRAWS = 2000
BLOCK = 24
"""Bars of a block of `profit_interval`: a day of 1h bars."""
FEWEST = 3
"""Blocks below which there is nothing to resample."""
GAMMA = 0.5772156649015329
"""Euler and Mascheroni's constant."""
_NORMAL = NormalDist()


def statistics(
    result: Result,
    figures: Metrics | None = None,
    sharpes: Floats | None = None,
    overfitting: float | None = None,
    seed: int = 0,
) -> Statistics:
    """Intervals and probabilities for `result`.

    `sharpes` (trials,): Sharpe ratios per bar of every run ever made on this data, this one among them (None: it
    is the only one). `overfitting`: of the sweep it was chosen from. `figures`: its metrics, if already at hand.
    """
    figures = figures or metrics(result)
    returns, yearly = growth(result.equity), YEAR_MS / result.source.bar_ms
    block = max(ceil(DAY_MS / result.source.bar_ms), ceil(len(returns) ** (1 / 3)))
    total, ratio, depth = _path_estimates(returns, yearly, figures, block, seed)
    each = sharpe(returns, 1.0)
    trials = 1 if sharpes is None else max(1, len(sharpes))
    by_luck = expected_maximum(sharpes) if sharpes is not None else 0.0
    shape = (len(returns), skew(returns) or 0.0, kurtosis(returns) or 0.0)
    return Statistics(
        block=block,
        draws=DRAWS,
        total_return=total,
        sharpe=ratio,
        max_drawdown=depth,
        trade_profit=_trade_estimate(result, seed),
        trials=trials,
        probabilistic_sharpe=None if each is None else probabilistic(each, *shape),
        deflated_sharpe=None if each is None else probabilistic(each, *shape, above=by_luck),
        expected_max_sharpe=by_luck * sqrt(yearly),
        min_bars=None if each is None else minimum_track(each, *shape[1:]),
        overfitting=overfitting,
    )


def profit_interval(equity: ArrayLike, seed: int = 0) -> tuple[float, float] | None:
    """95% interval of the P&L of a path like this one: equity at T+1 bars, resampled in blocks of 24 bars.

    None for fewer than three blocks: then there is nothing to resample."""
    steps = np.diff(np.asarray(equity, np.float64))
    if len(steps) < FEWEST * BLOCK:
        return None
    low, high = _middle(resampled_totals(steps, BLOCK, seed))
    return low, high


def block_starts(length: int, block: int, seed: int) -> Ints:
    """(DRAWS, blocks) first rows of blocks that together cover `length` rows, drawn with replacement.

    Moving-block bootstrap (Kuensch 1989): every stretch of `block` rows is as likely as any other."""
    return np.random.default_rng(seed).integers(0, length - block + 1, (DRAWS, -(-length // block)))


def resampled_totals(steps: Floats, block: int, seed: int) -> Floats:
    """(DRAWS,) sums of resampled `steps`, scaled to their number where whole blocks are more."""
    starts = block_starts(len(steps), block, seed)
    sums = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray((sums[starts + block] - sums[starts]).sum(axis=1) * len(steps) / (starts.shape[1] * block))


@jit
def resampled_paths(returns: Floats, starts: Ints, block: int, out: Floats) -> None:
    """Fills out (draws, 3): total return, Sharpe ratio per bar (0 of a flat path) and maximum drawdown of each
    path of len(returns) bars made of the blocks at `starts`; what a path's last block has too much is left off."""
    length = len(returns)
    for draw in range(starts.shape[0]):
        wealth, peak, depth, total, squares = 1.0, 1.0, 0.0, 0.0, 0.0
        for place in range(starts.shape[1]):
            first = starts[draw, place]
            for row in range(first, first + min(block, length - place * block)):
                step = returns[row]
                total += step
                squares += step * step
                wealth *= 1.0 + step
                peak = max(peak, wealth)
                depth = min(depth, wealth / peak - 1.0)
        mean = total / length
        variance = (squares - length * mean * mean) / (length - 1)
        out[draw, 0] = wealth - 1.0
        out[draw, 1] = mean / np.sqrt(variance) if variance > 0.0 else 0.0
        out[draw, 2] = depth


def probabilistic(ratio: float, bars: int, skewness: float, excess: float, above: float = 0.0) -> float:
    """Probability that the true Sharpe ratio exceeds `above`: PSR (Bailey and Lopez de Prado 2012, eq. 11).

    Both ratios are per bar; `excess` kurtosis is 0 for a normal distribution. With `above` from
    `expected_maximum` it is the deflated Sharpe ratio (Bailey and Lopez de Prado 2014, eq. 9)."""
    return _NORMAL.cdf((ratio - above) * sqrt(max(0, bars - 1) / _variance(ratio, skewness, excess)))


def expected_maximum(sharpes: Floats) -> float:
    """Sharpe ratio that the best of so many trials without an edge shows (Bailey and Lopez de Prado 2014, eq. 6).

    `sharpes` (trials,) of every trial, in one unit, which is that of the answer. Trials are taken as independent:
    those that resemble each other make the answer too high, never too low."""
    trials = len(sharpes)
    if trials < 2:
        return 0.0
    high = _NORMAL.inv_cdf(1 - 1 / trials)
    higher = _NORMAL.inv_cdf(1 - 1 / (trials * e))
    return float(np.std(sharpes, ddof=1)) * ((1 - GAMMA) * high + GAMMA * higher)


def minimum_track(
    ratio: float, skewness: float, excess: float, above: float = 0.0, confidence: float = CONFIDENCE
) -> float | None:
    """Bars after which a Sharpe ratio of `ratio` per bar is above `above` with `confidence`: minimum track record
    length (Bailey and Lopez de Prado 2012, eq. 13). None if it is not above it at all."""
    if ratio <= above:
        return None
    return 1 + _variance(ratio, skewness, excess) * (_NORMAL.inv_cdf(confidence) / (ratio - above)) ** 2


def overfitting_probability(returns: Floats, blocks: int = 16) -> float:
    """Probability that the best parameter set in sample is below the median out of sample: PBO by combinatorially
    symmetric cross-validation (Bailey, Borwein, Lopez de Prado and Zhu 2015).

    returns (S, T): of S parameter sets over the same T bars, cut into `blocks` (even) stretches; every choice of
    half of them is in sample once. Sets are ranked by their Sharpe ratio; a rank at the median counts half.
    ValueError for fewer than 2 sets or fewer bars than blocks."""
    sets, bars = returns.shape
    if sets < 2 or bars < blocks:
        raise ValueError(f"{sets} parameter sets over {bars} bars: at least 2 sets and {blocks} bars are needed")
    edges = np.linspace(0, bars, blocks + 1).astype(np.int64)
    counts = np.diff(edges).astype(np.float64)
    sums = np.add.reduceat(returns, edges[:-1], axis=1).T
    squares = np.add.reduceat(returns * returns, edges[:-1], axis=1).T
    inside = np.array(list(combinations(range(blocks), blocks // 2)))
    once = inside[: len(inside) // 2]  # the other half of the choices are these, turned round
    return float(_below_median(once, counts, sums, squares)) / len(inside)


@jit
def _below_median(inside: Ints, counts: Floats, sums: Floats, squares: Floats) -> float:
    """How many of the choices inside (C, blocks / 2), each also turned round, pick a set below the median outside.

    counts (blocks,), sums and squares (blocks, S) of the returns in each block."""
    sets, below = sums.shape[1], 0.0
    held = np.empty((2, 2, sets))  # inside and outside; sum and squares
    ratios = np.empty((2, sets))
    for choice in range(inside.shape[0]):
        held[0] = 0.0
        held[1, 0] = sums.sum(axis=0)
        held[1, 1] = squares.sum(axis=0)
        bars = np.array([0.0, counts.sum()])
        for block in inside[choice]:
            bars += np.array([counts[block], -counts[block]])
            held[0, 0] += sums[block]
            held[0, 1] += squares[block]
        held[1] -= held[0]
        for side in range(2):
            for place in range(sets):
                mean = held[side, 0, place] / bars[side]
                variance = held[side, 1, place] / bars[side] - mean * mean
                ratios[side, place] = mean / np.sqrt(variance) if variance > 0.0 else 0.0
        for side in range(2):
            own, rank = ratios[1 - side, np.argmax(ratios[side])], 0
            for place in range(sets):
                rank += int(ratios[1 - side, place] < own) - int(ratios[1 - side, place] > own)
            below += 1.0 if rank < 0 else 0.5 if rank == 0 else 0.0
    return below


def _variance(ratio: float, skewness: float, excess: float) -> float:
    """Of the estimate of a Sharpe ratio, times bars - 1 (Mertens 2002); never quite zero."""
    return max(1 - skewness * ratio + (excess + 2) / 4 * ratio**2, 1e-12)


def _middle(draws: Floats) -> tuple[float, float]:
    low, high = np.percentile(draws, LIMITS)
    return float(low), float(high)


def _path_estimates(
    returns: Floats, yearly: float, figures: Metrics, block: int, seed: int
) -> tuple[Estimate | None, Estimate | None, Estimate | None]:
    """Total return, yearly Sharpe ratio and maximum drawdown."""
    if len(returns) < FEWEST * block:
        return None, None, None
    draws = np.empty((DRAWS, 3))
    resampled_paths(returns, block_starts(len(returns), block, seed), block, draws)
    draws[:, 1] *= sqrt(yearly)
    return (
        Estimate(figures.total_return, *_middle(draws[:, 0])),
        None if figures.sharpe is None else Estimate(figures.sharpe, *_middle(draws[:, 1])),
        Estimate(figures.max_drawdown.depth, *_middle(draws[:, 2])),
    )


def _trade_estimate(result: Result, seed: int) -> Estimate | None:
    """Mean profit of a trade, in blocks of trades as they closed."""
    profit = trade_columns(result.trades)[:, PRICE : FUNDING + 1].sum(axis=1)
    block = ceil(len(profit) ** (1 / 3))
    if not len(profit) or len(profit) < FEWEST * block:
        return None
    return Estimate(float(profit.mean()), *_middle(resampled_totals(profit, block, seed) / len(profit)))
