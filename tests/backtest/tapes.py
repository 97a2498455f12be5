"""Small markets and traders for the tests of the vectorised backtest, and its accounting in plain Python."""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from core.backtest.events import market_of
from core.backtest.kernel import Costs, Sides, Tape
from core.data.panel import Panel
from core.domain.backtest import Source
from core.domain.market import Floats
from core.execution.risk import Limits
from core.matching.replay import Market
from core.strategies.params import DivergenceParams
from core.strategies.registry import pair_features, strategy
from core.trader import Model, Trader

CASH = 100_000.0
LIMITS = Limits(Decimal("0.95"), Decimal(50_000), Decimal(10_000), Decimal(10), Decimal(1), Decimal("0.0005"))


def tape(
    opens: Sequence[Sequence[float]],
    close: Sequence[Sequence[float]],
    *,
    legs: Sequence[tuple[int, int]] = ((0, 1),),
    hedge: float = 1.0,
    rate: Floats | None = None,
    specs: Sequence[float] = (1.0, 1.0, 1e9, 0.0),
) -> Tape:
    """Prices as written down; every asset in lots of one unit, quotes anywhere, unless `specs` says otherwise."""
    prices = np.array(opens, np.float64)
    rates = np.zeros(prices.shape) if rate is None else rate
    return Tape(
        prices,
        np.array(close, np.float64),
        rates,
        np.any(rates != 0.0, axis=1),
        np.ascontiguousarray(np.array(legs, np.int64).T),
        np.full(len(legs), hedge),
        np.tile(np.array(specs, np.float64), (prices.shape[1], 1)),
    )


def plain_equity(
    given: Tape, costs: Costs, signals: Sides, notional: Floats, first: int, cash: float
) -> list[float]:
    """Equity at the close of each bar from `first` on, one pair and one bar after the other, without ticks."""
    holdings: dict[int, tuple[float, float]] = {}
    edge, curve = costs.half_spread + costs.slippage, []
    for t in range(first, len(signals)):
        for p, sizes in holdings.items():
            for asset, units in zip(given.legs[:, p], sizes, strict=True):
                cash -= units * given.close[t - 1, asset] * given.rate[t, asset]
        for p in range(signals.shape[1]) if t > first else ():
            side = np.sign(holdings[p][0]) if p in holdings else 0
            wanted = int(signals[t - 1, p])
            if wanted == side:
                continue
            trades = []
            if p in holdings:
                trades += [(i, -u) for i, u in zip(given.legs[:, p], holdings.pop(p), strict=True)]
            if wanted:
                a, b = given.legs[:, p]
                lots = [given.specs[i, 0] * given.close[t - 1, i] for i in (a, b)]
                whole = [0, 0]
                coarse = 0 if lots[0] >= lots[1] else 1
                whole[coarse] = int(notional[p] / lots[coarse] + 1e-9)
                whole[1 - coarse] = int(whole[coarse] * lots[coarse] / lots[1 - coarse] + 1e-9)
                if min(whole) >= 1:
                    holdings[p] = wanted * whole[0] * given.specs[a, 0], -wanted * whole[1] * given.specs[b, 0]
                    trades += list(zip((a, b), holdings[p], strict=True))
            for asset, units in trades:
                price = given.open[t, asset] * (1 + edge * np.sign(units))
                cash -= units * price + abs(units) * price * costs.taker
        worth = sum(
            u * given.close[t, i] for p, s in holdings.items() for i, u in zip(given.legs[:, p], s, strict=True)
        )
        curve.append(cash + worth)
    return curve


def trader_of(panel: Panel, params: DivergenceParams, name: str = "zscore", model: Model | None = None) -> Trader:
    """A trader of one of our strategies on the universe of `panel`."""
    instruments = {spec.id: spec for spec in replay(panel, 1).instruments}
    return Trader(
        strategy(name), params, pair_features(panel.assets, params, panel.bar_ms), model, instruments, LIMITS
    )


def replay(panel: Panel, start: int, bars: int = 0) -> Market:
    return market_of(panel, start, bars, 7)


def source_of(panel: Panel, start: int) -> Source:
    """Where a test's bars are from."""
    span = int(panel.ts[start]), int(panel.ts[-1])
    return Source("made", "synthetic", "", panel.content_hash, panel.assets, panel.bar_ms, *span)
