"""What happens between a bar's open and its close, of which a bar tells only the extremes.

`adverse`: whoever holds a position meets its worse extreme first, and each stop at its own price on the way
there. `replay`: the seeded path of the local exchange, tick by tick, so that a demo of the same bars is repeated.
"""

from collections.abc import Iterator
from decimal import Decimal

import numpy as np

from core.domain.errors import UserError
from core.domain.instrument import Instrument
from core.matching.core import Matching
from core.matching.types import Quote
from core.venues.okx_local.market import Market

Point = tuple[int, list[Quote]]
"""Market time in ms, and the prices then."""

MODELS = ("adverse", "replay")


def inside(name: str, market: Market, matching: Matching) -> Iterator[Point]:
    """The points of the present bar after its open. Walks `market` where it is its path."""
    if name == "replay":
        return _replay(market)
    if name == "adverse":
        return iter(_adverse(market, matching))
    raise UserError(f"inside {name!r}: not one of {', '.join(MODELS)}")


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
        size = held.get(spec.id)
        if not size or not np.isfinite(panel.close[bar, i]):
            continue
        low, high = _price(spec, panel.low[bar, i]), _price(spec, panel.high[bar, i])
        worse, better = (low, high) if size > 0 else (high, low)
        stop, mark = stops.get(spec.id), matching.mark(spec.id)
        if stop is not None and mark is not None and min(worse, mark) < stop < max(worse, mark):
            points[0].append(Quote(spec.id, stop, turnover[i]))
        points[1].append(Quote(spec.id, worse, turnover[i]))
        points[2].append(Quote(spec.id, better, turnover[i]))
    opened, quarter = int(panel.ts[bar]), panel.bar_ms // 4
    return [(opened + k * quarter, quotes) for k, quotes in enumerate(points, 1) if quotes]


def quiet(market: Market, matching: Matching) -> bool:
    """Whether nothing of ours can happen within the present bar: no stop within its range, and even at the worst
    prices of all positions at once twice the maintenance margin. Then its inside need not be walked."""
    panel, bar, index = market.panel, market.bar, market.index
    for trigger in matching.triggers():
        i, stop = index[trigger.instrument], trigger.trigger
        spec = market.instruments[i]
        if trigger.size < 0:
            if _price(spec, panel.low[bar, i]) <= stop:
                return False
        elif _price(spec, panel.high[bar, i]) >= stop:
            return False
    equity, value = float(matching.cash), 0.0
    for name, size in matching.held().items():
        i = index[name]
        units, worst = float(size * market.instruments[i].contract), (panel.low if size > 0 else panel.high)[bar, i]
        equity += units * (worst - float(matching.average(name)))
        value += abs(units * worst)
    return bool(equity > 2 * float(matching.rules.maintenance_rate) * value)


def _price(spec: Instrument, price: float) -> Decimal:
    return round(price / float(spec.tick)) * spec.tick
