"""Is there anything to earn, and does the machine know when there is not?

Four questions to a run, none of which its author chose: one bar later, dearer and cheaper, on bars in random order,
on a market with a planted edge. Edges are per trade, as shares of the entry value of its legs, and always with
period, number of trades and a 95% interval.
"""

from collections.abc import Callable, Sequence
from math import ceil
from typing import NamedTuple, Protocol

import numpy as np

from core.backtest.result import Result, Trade
from core.backtest.statistics import FEWEST, LIMITS, resampled_totals
from core.data.panel import Panel
from core.domain.audit import Edges, Placebo, PlantedEdge
from core.domain.backtest import Estimate
from core.domain.market import Floats
from core.research.histories import Planted, permuted

FLIPS = 20_000
COMMON = 0.01
"""A placebo's gross edge is called none down to this probability of arising by chance."""
PROVEN = 0.95
"""Probability of a Sharpe ratio above zero from which it counts as proven."""
HONEST = 4.0
"""Standard errors by which the found edge may miss the planted one."""


class Run(Protocol):
    """One backtest of the strategy under audit. `delay`: bars by which signals are acted on later than the next
    open; `costs`: times the fees, spread and slippage of the configuration."""

    def __call__(self, panel: Panel, *, delay: int = 0, costs: float = 1.0) -> Result: ...


class Variant(NamedTuple):
    """One way of running it."""

    label: str
    delay: int
    costs: float


VARIANTS = (
    Variant("as configured", 0, 1.0),
    Variant("one bar later", 1, 1.0),
    Variant("without costs", 0, 0.0),
    Variant("at twice the costs", 0, 2.0),
)


def edges(result: Result, label: str, seed: int) -> Edges:
    """The edge of a run, with intervals by moving blocks of trades (Kuensch 1989)."""
    return Edges(
        label,
        result.source.first_ms,
        result.source.last_ms,
        len(result.trades),
        _estimate(np.array([trade.price / trade.gross for trade in result.trades]), seed),
        _estimate(np.array([trade.pnl / trade.gross for trade in result.trades]), seed),
        float(result.equity[-1] / result.equity[0] - 1.0),
    )


def placebo(run: Run, panel: Panel, seeds: Sequence[int], tell: Callable[[float], None]) -> Placebo:
    """Run on `panel` as it is, and with its bars in `len(seeds)` random orders.

    Edges are gross profit, that of pairs still open included, over the mean entry value of all trades of a run: a
    mean over closed trades alone would leave out the losers that were waited for."""
    runs = [run(panel)]
    for done, seed in enumerate(seeds):
        tell(done / len(seeds))
        runs.append(run(permuted(panel, seed)))
    value = [entry_value(made) for made in runs]
    traded = float(np.mean(value[1:])) or 1.0
    found = np.array([gross_profit(made) for made in runs[1:]]) / traded
    real = gross_profit(runs[0]) / (value[0] or 1.0)
    mean, half = float(found.mean()), 1.96 * float(found.std(ddof=1)) / len(found) ** 0.5
    chance = _chance(found, seeds[0])
    trades = sum(len(made.trades) for made in runs[1:])
    beaten = (1 + int((found >= real).sum())) / (1 + len(found))
    return Placebo(len(seeds), trades, Estimate(mean, mean - half, mean + half), chance, beaten, chance >= COMMON)


def entry_value(result: Result) -> float:
    """What all trades began with, in the settlement currency; of those still open, what they are worth."""
    return sum(trade.gross for trade in result.trades) + float(np.abs(result.exposure[-1]).sum())


def gross_profit(result: Result) -> float:
    """Profit before slippage, fees and funding, in the settlement currency, what is still held included."""
    return float(result.equity[-1] - result.equity[0] - (result.costs[-1] - result.costs[0]).sum())


def planted_edge(run: Run, market: Planted, seed: int) -> PlantedEdge:
    """Run on a market whose expected returns are known, and compare each trade with its own expectation.

    By Doob's decomposition a trade's profit is the sum of the returns that were expected, bar by bar, while it was
    held, and a martingale: so the difference has mean zero whatever the rule, if the backtest is honest."""
    made = run(market.panel).trades
    found = np.array([trade.price / trade.gross for trade in made])
    known = np.array([expected(trade, market) for trade in made])
    estimate = _estimate(found, seed)
    if estimate is None:
        return PlantedEdge(len(made), 0.0, None, 0.0, 0.0, False, True)
    off = found - known
    error, spread = float(off.mean()), float(off.std(ddof=1)) / len(off) ** 0.5
    honest = abs(error) <= HONEST * spread
    return PlantedEdge(len(made), float(known.mean()), estimate, error, spread, estimate.low > 0, honest)


def expected(trade: Trade, market: Planted) -> float:
    """Expected gross profit of `trade` over its entry value, from the bars it was held in: legs of equal value."""
    panel = market.panel
    first, last = (int(np.searchsorted(panel.ts, at, side="right")) - 1 for at in (trade.opened, trade.closed))
    columns = [panel.assets.index(asset) for asset in trade.pair.split("/")]
    weights = (1.0,) if len(columns) == 1 else (0.5, -0.5)
    total = 0.0
    for weight, column in zip(weights, columns, strict=True):
        worth = panel.close[first - 1 : last - 1, column] / panel.open[first, column]
        total += weight * float(np.sum(worth * market.drift[first - 1 : last - 1, column]))
    return trade.side * total


def break_even(result: Result) -> float | None:
    """Times the costs at which the trades of `result` come out even; None where they lost before costs."""
    earned = sum(trade.price + trade.funding for trade in result.trades)
    paid = -sum(trade.slippage + trade.fees for trade in result.trades)
    return earned / paid if earned > 0 and paid > 0 else None


def verdict(runs: Sequence[Edges], noise: Placebo, deflated_sharpe: float | None) -> tuple[str, str]:
    """("none", "before costs", "unproven" or "after costs", and why). An edge counts only if its whole interval is
    above zero, if no more than one placebo in twenty has as much, and if it outlives one bar of delay; it is proven
    only if the Sharpe ratio is, with regard to every trial on these data."""
    real, later = runs[0], runs[1]
    if real.gross is None or real.net is None:
        return "none", f"{real.trades} trades are too few to tell"
    if real.gross.low <= 0:
        return "none", "the interval of the gross edge a trade reaches zero or below"
    if noise.beaten > 0.05:
        return "none", f"{noise.beaten:.0%} of placebos have as much"
    if later.gross is None or later.gross.value <= 0:
        return "none", "it is gone one bar later: it would have to be faster than the next open"
    if real.net.low <= 0:
        return "before costs", "costs take it: the interval of the net edge a trade reaches zero or below"
    if deflated_sharpe is None or deflated_sharpe < PROVEN:
        likely = "undefined" if deflated_sharpe is None else f"only {deflated_sharpe:.0%} likely to be above zero"
        return "unproven", f"each trade earns after costs, but the deflated Sharpe ratio is {likely}"
    return (
        "after costs",
        "the interval of the net edge a trade is above zero, and the deflated Sharpe ratio with it",
    )


def _estimate(values: Floats, seed: int) -> Estimate | None:
    block = ceil(len(values) ** (1 / 3))
    if not len(values) or len(values) < FEWEST * block:
        return None
    low, high = np.percentile(resampled_totals(values, block, seed) / len(values), LIMITS)
    return Estimate(float(values.mean()), float(low), float(high))


def _chance(values: Floats, seed: int) -> float:
    """Two-sided probability of a mean this far from zero, if each value had been as likely with the other sign."""
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), (FLIPS, len(values)))
    return float((1 + np.sum(np.abs(signs @ values) >= abs(values.sum()) - 1e-15)) / (1 + FLIPS))
