"""What happens between a bar's open and its close, of which a bar tells only the extremes.

`adverse`: whoever holds a position meets its worse extreme first, and each stop at its own price on the way
there. `replay`: the seeded path of the local exchange, tick by tick, so that a demo of the same bars is repeated.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal

import numpy as np

from core.domain.errors import UserError
from core.domain.instrument import Instrument
from core.domain.market import Floats
from core.matching.core import Matching
from core.matching.replay import Market
from core.matching.types import Quote

Point = tuple[int, list[Quote]]
"""Market time in ms, and the prices then."""

Stop = tuple[str, bool, float]
"""The instrument of a trigger order, whether it buys, and the mark that fires it."""

MODELS = ("adverse", "replay")
ROUNDING = 1.002
"""More than the rounding of a mark to its tick: whoever looks closer than that walks the bar."""


def check(name: str) -> str:
    """`name`, if it is one of `MODELS`; else a UserError."""
    if name not in MODELS:
        raise UserError(f"inside {name!r}: not one of {', '.join(MODELS)}")
    return name


def inside(name: str, market: Market, matching: Matching) -> Iterator[Point]:
    """The points of the present bar after its open. Walks `market` where it is its path."""
    return _replay(market) if name == "replay" else iter(_adverse(market, matching))


def _replay(market: Market) -> Iterator[Point]:
    while market.tick < market.ticks:
        market.step()
        yield market.now, market.quotes()


def _adverse(market: Market, matching: Matching) -> list[Point]:
    """Three points: the stops that the bar reaches, the worse extreme, the better one. The close comes later."""
    panel, bar, turnover = market.panel, market.bar, market.turnover
    held = matching.held()
    stops = {trigger.instrument: trigger.trigger for trigger in matching.triggers()}
    points: tuple[list[Quote], ...] = ([], [], [])
    for i, spec in enumerate(market.instruments):
        if spec.id not in held or not np.isfinite(panel.close[bar, i]):
            continue
        low, high = _price(spec, panel.low[bar, i]), _price(spec, panel.high[bar, i])
        worse, better = (low, high) if held[spec.id][0] > 0 else (high, low)
        stop, mark = stops.get(spec.id), matching.mark(spec.id)
        if stop is not None and mark is not None and min(worse, mark) < stop < max(worse, mark):
            points[0].append(Quote(spec.id, stop, turnover[i]))
        points[1].append(Quote(spec.id, worse, turnover[i]))
        points[2].append(Quote(spec.id, better, turnover[i]))
    opened, quarter = int(panel.ts[bar]), panel.bar_ms // 4
    return [(opened + k * quarter, quotes) for k, quotes in enumerate(points, 1) if quotes]


def quiet(market: Market, matching: Matching, stops: Iterable[Stop], low: Floats, high: Floats) -> bool:
    """Whether nothing of ours can happen while prices stay within `low` .. `high` (N,): no stop is reached, and
    with all positions at their worst at once there is still twice the maintenance margin."""
    index, lows, highs = market.index, low.tolist(), high.tolist()
    for name, buy, price in stops:
        i = index[name]
        # A tick's width, for marks are rounded to ticks.
        if highs[i] * ROUNDING >= price if buy else lows[i] <= price * ROUNDING:
            return False
    equity, value = float(matching.cash), 0.0
    for name, units, cost in matching.exposed():
        worth = units * (lows if units > 0 else highs)[index[name]]
        equity += worth - cost
        value += abs(worth)
    return equity > 2 * float(matching.rules.maintenance_rate) * value


def _price(spec: Instrument, price: float) -> Decimal:
    return round(price / float(spec.tick)) * spec.tick
