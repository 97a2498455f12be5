"""What is told of a walk-forward, the form of its `--json`: each segment, and the stitched run whole."""

import msgspec

from core.domain.backtest import Document, Estimate


class SegmentFigures(msgspec.Struct, frozen=True):
    """One segment: open times of the first and last bar that was learned from and that was tested, ms UTC; the
    tested `bars` of the market, how many `assets` were known, the `model` file in the walk's folder, and
    `training`: what its trainer says of it. Of the tested bars alone, too few to judge by: `total_return`,
    `trades` closed, what slippage, fees and funding brought (`costs`, negative: paid), and the yearly `sharpe`
    (None: nothing was held)."""

    number: int
    train_from_ms: int
    train_until_ms: int
    test_from_ms: int
    test_until_ms: int
    bars: int
    assets: int
    model: str
    training: dict[str, float | None]
    total_return: float
    trades: int
    costs: float
    sharpe: float | None


class Walked(msgspec.Struct, frozen=True):
    """`run`: all tested bars as one run, with what was compared on the same bars, assets and costs; `sharpes`: the
    yearly Sharpe ratio of each with its interval (None: nothing was traded, or too few bars). `id` names the folder
    under `walks` of home, and takes the walk up again."""

    id: str
    strategy: str
    segments: tuple[SegmentFigures, ...]
    run: Document
    sharpes: dict[str, Estimate | None]


class SetWalk(msgspec.Struct, frozen=True):
    """One parameter set of a search, walked forward: what was varied, and its run out of sample: yearly `sharpe`
    with its 95% interval, `deflated` (the confidence that it is above what the best of all trials would show
    without an edge), deepest drawdown (share of the peak, negative), mean gross `exposure` over equity, closed
    trades. `failed`: why there are no figures ("": there are). Profits are told of the best set alone."""

    number: int
    params: dict[str, float | int | str]
    sharpe: float | None = None
    low: float | None = None
    high: float | None = None
    deflated: float | None = None
    max_drawdown: float | None = None
    exposure: float | None = None
    trades: int = 0
    failed: str = ""


class Searched(msgspec.Struct, frozen=True):
    """`sets` by Sharpe ratio, the highest first, those that failed last; also in `tables` (files). `id` names the
    folder under `sweeps` of home, and takes the search up again. `best`: the run of the first, judged as the best
    of all `trials` ever made on these data. `overfitting`: the probability that the best in sample is below the
    median out of sample (None: too few sets or bars)."""

    id: str
    strategy: str
    sets: tuple[SetWalk, ...]
    trials: int
    overfitting: float | None
    best: Document
    tables: tuple[str, ...]
