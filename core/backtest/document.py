"""One run told as data: the `Document` of `--json`, of the cockpit's screen and of the report's head."""

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from core.backtest.metrics import growth, last_rows, metrics
from core.backtest.result import Result
from core.backtest.statistics import statistics
from core.backtest.words import percent
from core.data.panel import Ints
from core.domain.backtest import Compared, Curve, Document, Estimate, Metrics, Money, Statistics
from core.domain.market import Floats

POINTS = 400
"""Points of a curve that is told."""
ENOUGH_TRADES = 30
SURE = 0.95


class Analysis(msgspec.Struct, frozen=True):
    """A run, its figures, and how far they can be trusted."""

    result: Result
    metrics: Metrics
    statistics: Statistics


def analyse(
    result: Result, sharpes: Floats | None = None, overfitting: float | None = None, seed: int = 0
) -> Analysis:
    """Everything counted of `result`; `sharpes` and `overfitting` as `statistics` takes them."""
    figures = metrics(result)
    return Analysis(result, figures, statistics(result, figures, sharpes, overfitting, seed))


def document(told: Analysis, compared: Sequence[Analysis] = ()) -> Document:
    """The run as data; `compared`: other strategies' runs on the same data and costs."""
    result = told.result
    standing, sentence = verdict(told.metrics, told.statistics)
    return Document(
        strategy=result.strategy,
        engine=result.engine,
        standing=standing,
        verdict=sentence,
        params={name: _written(value) for name, value in result.params.items()},
        source=result.source,
        assumptions=result.assumptions,
        seed=result.seed,
        digest=result.digest,
        notes=result.notes,
        open_pairs=result.open_pairs,
        metrics=told.metrics,
        statistics=told.statistics,
        curve=curve(result),
        months=calendar(result.ts, result.equity, "M"),
        compared=tuple(
            Compared(other.result.strategy, other.metrics, curve(other.result), other.statistics.total_return)
            for other in compared
        ),
    )


def _written(value: float | int | str) -> float | int | str:
    """JSON knows no infinity: it would come back as nothing."""
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def thinned(length: int, most: int = POINTS) -> Ints:
    """At most `most` rows of `length`, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).round().astype(np.int64))


def underwater(equity: Floats) -> Floats:
    """(T+1,) share below the highest equity so far (0 or negative)."""
    return equity / np.maximum.accumulate(equity) - 1


def curve(result: Result) -> Curve:
    """The equity in few points."""
    rows = thinned(len(result.ts))
    return Curve(
        tuple(result.ts[rows].tolist()),
        tuple(result.equity[rows].tolist()),
        tuple(underwater(result.equity)[rows].tolist()),
    )


def calendar(ts: Ints, equity: Floats, unit: Literal["D", "M", "Y"]) -> dict[str, float]:
    """Return per calendar unit of UTC ("D", "M", "Y"), named like 2024-08-31, 2024-08, 2024; in order of time."""
    rows = last_rows(ts, unit)
    names = np.datetime_as_string((ts[1:][rows] - 1).astype("datetime64[ms]"), unit=unit)
    returns = growth(np.concatenate([equity[:1], equity[1:][rows]]))
    return dict(zip(names.tolist(), returns.tolist(), strict=True))


def verdict(figures: Metrics, trust: Statistics) -> tuple[str, str]:
    """(standing, sentence): whether there is something here to stake money on, in words.

    Promising takes a profit, 30 trades, an interval of the return above zero and a deflated Sharpe ratio of at
    least 95%; everything else that made a profit is unproven."""
    trades, span = figures.trades.count, f"{figures.years * 365:,.0f} days"
    told = f"{abs(figures.total_return):.1%} in {span}, {trades:,} trade{'s' * (trades != 1)}"
    told += f" and all costs{_between(trust.total_return)}"
    if not trades and not figures.exposure:
        return "unproven", f"Traded nothing in {figures.bars:,} bars: there is nothing to judge."
    if figures.money.net <= 0:
        return "losing", f"Lost {told}. {_where_lost(figures.money)}"
    lacks = []
    if trades < ENOUGH_TRADES:
        lacks.append(f"{trades} trades are too few to tell skill from luck")
    if trust.total_return is None:
        lacks.append("the period is too short for an interval")
    elif trust.total_return.low <= 0:
        lacks.append("the interval holds a loss")
    deflated = trust.deflated_sharpe or 0.0
    if deflated < SURE:
        runs = f"{trust.trials:,} trial{'s' * (trust.trials != 1)}"
        short = np.floor(deflated * 1e3) / 10  # What falls short is not rounded up to what would do.
        lacks.append(f"after {runs} on this data its deflated Sharpe ratio is {short:.1f}%, below {SURE:.0%}")
    if lacks:
        return "unproven", f"Made {told}. Unproven: {'; '.join(lacks)}."
    return "promising", (
        f"Made {told}. It stands against chance and the number of trials on this data, {trust.trials:,} "
        f"(deflated Sharpe ratio {deflated:.1%}): worth a test on data it has not seen."
    )


def _where_lost(money: Money) -> str:
    """Whether the idea lost, or what trading it cost."""
    if money.gross > 0:
        return (
            f"Before costs it made {money.gross:,.0f}; costs of {money.gross - money.net:,.0f} took more than that."
        )
    return f"It lost {-money.gross:,.0f} before costs: no saving on costs would help."


def _between(estimate: Estimate | None) -> str:
    return (
        f" (95% interval {percent(estimate.low, plus=True)} to {percent(estimate.high, plus=True)})"
        if estimate
        else ""
    )
