"""A walk-forward told: its segments, the one run of all, and what it is worth."""

from collections.abc import Mapping, Sequence

import numpy as np

from core.backtest.document import Analysis, analyse, document
from core.backtest.metrics import YEAR_MS, growth, sharpe
from core.backtest.result import Result
from core.backtest.trials import Trials, trial
from core.backtest.words import day
from core.data.panel import Panel
from core.domain.backtest import Estimate, Metrics
from core.domain.walk import SegmentFigures, Walked
from core.research.segments import Segment
from core.research.walk_forward import Kept


def judged(results: list[Result], trials: Trials, overfitting: float | None = None) -> list[Analysis]:
    """The first result counted as a trial and judged among all on these data, the others as they are."""
    own, *others = results
    trials.record([trial(own)])
    sharpes = trials.sharpes(own.source)
    return [analyse(own, sharpes, overfitting, own.seed), *(analyse(other, seed=other.seed) for other in others)]


def walked(
    name: str, panel: Panel, told: Sequence[Segment], done: Sequence[Kept], analyses: list[Analysis]
) -> Walked:
    """The document of a walk in the folder `name`."""
    own, *others = analyses
    rows = tuple(
        _figures(panel, segment, kept, own.result, segment.test.start - told[0].test.start)
        for segment, kept in zip(told, done, strict=True)
    )
    sharpes = {one.result.strategy: one.statistics.sharpe for one in analyses}
    return Walked(name, own.result.strategy, rows, document(own, others), sharpes)


def text(told: Walked) -> str:
    """What a person wants to know: the segments, then what all of them together earned where nobody had looked."""
    run = told.run
    heads = (
        f"{'segment':>7}  {'learned from':<24}{'tested':<24}{'assets':>7}{'epoch':>10}{'trades':>8}{'Sharpe':>8}"
    )
    rows = [
        f"{row.number + 1:>7}  {days(row.train_from_ms, row.train_until_ms):<24}"
        f"{days(row.test_from_ms, row.test_until_ms):<24}{row.assets:>7}{epoch(row.training):>10}{row.trades:>8,}"
        + (f"{row.sharpe:>8.2f}" if row.sharpe is not None else f"{'-':>8}")
        for row in told.segments
    ]
    idle = sum(row.sharpe is None for row in told.segments)
    metrics = {run.strategy: run.metrics} | {other.strategy: other.metrics for other in run.compared}
    beside = [
        f"{name:<14}{_estimate(metrics[name], value):<34}{metrics[name].max_drawdown.depth:>9.1%}"
        f"{metrics[name].exposure:>10.2f}{metrics[name].trades.count:>8,}"
        f"{metrics[name].money.net - metrics[name].money.gross:>12,.0f}"
        for name, value in told.sharpes.items()
    ]
    deflated = run.statistics.deflated_sharpe
    sure = "undefined" if deflated is None else f"{deflated:.1%} likely"
    return "\n".join(
        [
            f"{told.strategy} on {run.source.name}, walk {told.id}: {len(told.segments)} segments,"
            f" {sum(row.bars for row in told.segments):,} bars of the market out of sample",
            heads,
            *rows,
            *([f"{'-':>7}  nothing was held in {idle} of the segments"] if idle else []),
            "",
            f"{'':<14}{'Sharpe, yearly (95% interval)':<34}{'drawdown':>9}{'exposure':>10}{'trades':>8}"
            f"{'costs':>12}",
            *beside,
            "",
            *(f"{name:<14}{words}" for name, words in run.assumptions.items()),
            "",
            run.verdict,
            f"{sure} that its Sharpe ratio is above zero, deflated by {run.statistics.trials}"
            f" trial{'s' * (run.statistics.trials != 1)} on these data",
        ]
    )


def _figures(panel: Panel, segment: Segment, kept: Kept, result: Result, first: int) -> SegmentFigures:
    """`first`: the row of the result's equity before the segment's first tested bar."""
    last = first + segment.test.stop - segment.test.start
    returns = growth(result.equity[first : last + 1])
    began, ended = int(result.ts[first]), int(result.ts[last])
    closed = sum(began < trade.closed <= ended for trade in result.trades)
    return SegmentFigures(
        number=kept.number,
        train_from_ms=int(panel.ts[segment.train.start]),
        train_until_ms=int(panel.ts[segment.train.stop - 1]),
        test_from_ms=int(panel.ts[segment.test.start]),
        test_until_ms=int(panel.ts[segment.test.stop - 1]),
        bars=int(panel.valid[segment.test].any(axis=1).sum()),
        assets=len(kept.assets),
        model=kept.model,
        training=kept.training,
        total_return=float(np.prod(1.0 + returns) - 1.0),
        trades=closed,
        costs=float((result.costs[last] - result.costs[first]).sum()),
        sharpe=sharpe(returns, YEAR_MS / panel.bar_ms),
    )


def epoch(training: Mapping[str, float | None]) -> str:
    """Which epoch a model is of, and how many there were; nothing of a model that has none."""
    best, last = training.get("best_epoch"), training.get("epochs")
    return "" if best is None or last is None else f"{best:.0f} of {last:.0f}"


def days(first_ms: int, last_ms: int) -> str:
    """The days of the first and the last bar of a stretch."""
    return f"{day(first_ms)}..{day(last_ms)}"


def interval(middle: float | None, low: float | None, high: float | None) -> str:
    """A figure and its interval, as far as they are defined."""
    if middle is None:
        return "undefined: not traded"
    return f"{middle:.2f}" + (f" ({low:.2f} to {high:.2f})" if low is not None and high is not None else "")


def _estimate(figures: Metrics, value: Estimate | None) -> str:
    return interval(figures.sharpe, value.low if value else None, value.high if value else None)
