"""How well orders were executed, for the screen and the command line: costs in basis points of the value decided
on.

A cost is positive, a gain negative."""

import msgspec


class Cost(msgspec.Struct, frozen=True):
    """A mean weighted by value, in basis points, with its 95% interval (None: too few to tell)."""

    bps: float
    low: float | None = None
    high: float | None = None


class QualityRow(msgspec.Struct, frozen=True):
    """Legs of one strategy in one instrument (empty: of all). `value` is what they were worth at the decision
    prices, `usdt` what their execution cost beyond these; `delay`, `spread` and `fee` are its parts in basis
    points, `assumed` is what a backtest would have supposed for delay and spread together."""

    strategy: str
    instrument: str
    legs: int
    fills: int
    value: float
    usdt: float
    delay: float
    spread: float
    fee: float
    assumed: float
    shortfall: Cost


class Quality(msgspec.Struct, frozen=True):
    """From the first to the last decision that was carried out (ms UTC; 0: none was). `drift` is what the last
    `judged` legs cost above the backtest's assumption, fees apart; beyond `bound` basis points, and beyond chance,
    it has `drifted`. `share` of all sizes is allowed, and why (`ramp`)."""

    from_ms: int
    to_ms: int
    rows: list[QualityRow]
    total: QualityRow
    drift: Cost
    judged: int
    bound: float
    drifted: bool
    share: float
    ramp: str
