"""What is told of a sweep, the form of its `--json`: many sets of parameters, ranked, and the best one whole."""

import msgspec

from core.domain.backtest import Document


class SetFigures(msgspec.Struct, frozen=True):
    """One set: its parameters that were varied, yearly Sharpe ratio (0 where nothing was traded), deepest drawdown
    (share of the peak, negative), closed trades, share of winners, and costs (slippage, fees, funding) over the
    value traded. Profits are told of the best set alone, with its interval: of the others they would only tempt."""

    params: dict[str, float | int | str]
    sharpe: float
    max_drawdown: float
    trades: int
    hit_rate: float | None
    cost_share: float | None


class Swept(msgspec.Struct, frozen=True):
    """`sets` by Sharpe ratio, the highest first. `best`: the run of the first, judged as the best of all `trials`
    ever made on these data. `overfitting`: probability that the best in sample is below the median out of sample
    (None: too few sets or bars). `notes`: what else there is to know, in sentences."""

    strategy: str
    sets: tuple[SetFigures, ...]
    trials: int
    overfitting: float | None
    best: Document
    notes: tuple[str, ...] = ()
