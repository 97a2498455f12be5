"""The decision on one bar: the whole of `decide`, and its compiled core inside a compiled loop."""

import timeit
from decimal import Decimal

import numpy as np
from numba import njit

from core.data.synthetic import synthetic_panel
from core.domain.account import Book, BookLeg, Closed, Holdings
from core.domain.decision import View
from core.features.pairs import PairFeatures
from core.strategies.divergence import decide
from core.strategies.params import DivergenceParams
from core.strategies.rule import HELD, Answer, Ints, Market, Rule, Table, blank, compiled, judge
from tests.bench.row import Row

HOUR = 3_600_000
CALLS, LOOPS = 2_000, 100_000


@njit(cache=True, nogil=True)
def _loop(times: int, rule: Rule, market: Market, held: Table, past: Table, taken: Ints, answer: Answer) -> None:
    for _ in range(times):
        judge(rule, market, held, past, taken, rule.places - len(held), answer)


def run() -> list[Row]:
    """45 pairs, one position held, every other pair traded before."""
    view = _view()
    zero, free, params = Decimal(0), Decimal(100_000), DivergenceParams()
    legs = tuple(
        BookLeg(asset, asset, Decimal(sign), Decimal(repr(float(view.close[i]))), Decimal(1))
        for i, (asset, sign) in enumerate((("BTC", 1), ("ETH", -1)))
    )
    numbers = (-9.0, 1.0, 1.0, 0.5, 0.5, Decimal(2_000), zero, zero, zero)
    book = Book("bench", "BTC/ETH", 1, view.ts - HOUR, legs, *numbers, "i")
    closed = {pair.name: Closed(pair.name, 0, 1, "", False, 1.0) for pair in view.pairs[1:]}
    holdings = Holdings((book,), closed, {}, free)
    assert not decide(view, holdings, params).exits
    whole = min(timeit.repeat(lambda: decide(view, holdings, params), number=CALLS, repeat=5)) / CALLS * 1e6
    core = _core(view, params)
    return [
        Row("decide, a bar of 45 pairs, one held", f"{whole:.1f} us", "-", 40 / whole, "40 us", whole <= 40),
        Row("the rule's compiled core, a bar", f"{core:.2f} us", "-", 10 / core, "10 us", core <= 10),
    ]


def _view() -> View:
    panel = synthetic_panel(7, 700)
    features = PairFeatures(panel.assets)
    frame = features.history(panel).frame(699)
    return View(
        ts=int(panel.ts[699]) + HOUR,
        assets=features.assets,
        pairs=features.pairs,
        names=features.names,
        features=frame.features,
        probability=np.ones(len(features.pairs)),
        usable=frame.usable,
        close=frame.close,
        funding=frame.funding,
        atr_pct=frame.atr_pct,
        correlation=frame.correlation,
        bar_ms=HOUR,
        volatility=frame.volatility,
    )


def _core(view: View, params: DivergenceParams) -> float:
    """Microseconds of `judge` with three places, one of them taken."""
    rule = compiled(params.model_copy(update={"max_concurrent_positions": 3}), HOUR)
    legs = np.array([[view.assets.index(leg) for leg in (pair.a, pair.b)] for pair in view.pairs], np.int64)
    z = np.ascontiguousarray(view.column("z_score"))
    market = Market(
        view.ts, np.ascontiguousarray(legs.T), z, view.probability, view.usable, view.funding, view.correlation
    )
    held, past, taken = np.zeros(1, HELD), blank(len(view.pairs)), np.zeros(len(view.assets), np.int64)
    held[0] = (0, view.ts - HOUR, -9.0, 0.0, 0.5, 0.5)
    past["held"][0], taken[:2] = True, 1
    arguments = (rule, market, held, past, taken, Answer.empty(1, len(view.pairs), rule.places))
    _loop(1, *arguments)
    return min(timeit.repeat(lambda: _loop(LOOPS, *arguments), number=1, repeat=3)) / LOOPS * 1e6
