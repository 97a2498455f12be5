"""Within a bar: the points that its extremes tell of, worse before better, and when a bar may be passed over."""

from decimal import Decimal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.backtest.events import market_of
from core.backtest.inside import Stop, inside, quiet
from core.data.panel import Panel
from core.data.synthetic import HOUR_MS, START_MS
from core.domain.market import Floats
from core.domain.orders import OrderType
from core.matching.core import Matching
from core.matching.replay import Market
from core.matching.rules import Rules
from core.matching.types import Place, PlaceTrigger, SetLeverage
from tests.backtest.scenes import BTC, ETH, hand, still

RULES = Rules(maker=Decimal(0), taker=Decimal(0), spread_bps=Decimal(0), depth_share=1e6, levels=1)


def desk(panel: Panel, sizes: dict[str, int], cash: int = 100_000, leverage: int = 1) -> tuple[Market, Matching]:
    """A market at the open of its second bar, and an account that holds `sizes` contracts since then."""
    market = market_of(panel, 1, 0, 7)
    matching = Matching(market.instruments, Decimal(cash), RULES, now=market.now)
    matching.step(market.now, [SetLeverage(name, Decimal(leverage)) for name in sizes], market.quotes())
    for name, size in sizes.items():
        matching.step(market.now, [Place("", name, Decimal(size), OrderType.MARKET)], ())
    assert {name: size for name, (size, _) in matching.held().items()} == sizes
    return market, matching


def points(
    panel: Panel, sizes: dict[str, int], stops: dict[str, str] | None = None
) -> list[tuple[int, dict[str, float]]]:
    """The adverse path of the second bar: minutes after its open, and the prices then."""
    market, matching = desk(panel, sizes)
    for name, price in (stops or {}).items():
        order = PlaceTrigger(f"s{name[:3]}", name, Decimal(-sizes[name]), Decimal(price))
        assert not [e for e in matching.step(market.now, [order], ()) if type(e).__name__ == "Rejected"]
    path = inside("adverse", market, matching)
    return [
        ((now - START_MS - HOUR_MS) // 60_000, {q.instrument: float(q.mark) for q in quotes})
        for now, quotes in path
    ]


WICKS = hand(still(), low={(1, 0): 50_000.0, (1, 1): 2_500.0}, high={(1, 0): 70_000.0, (1, 1): 3_500.0})


# -- the adverse path ------------------------------------------------------------------------------------------


def test_each_position_meets_its_worse_extreme_first() -> None:
    assert points(WICKS, {BTC: 5, ETH: -10}) == [
        (30, {BTC: 50_000.0, ETH: 3_500.0}),
        (45, {BTC: 70_000.0, ETH: 2_500.0}),
    ]
    assert points(WICKS, {BTC: -5, ETH: 10}) == [
        (30, {BTC: 70_000.0, ETH: 2_500.0}),
        (45, {BTC: 50_000.0, ETH: 3_500.0}),
    ]


def test_a_stop_on_the_way_is_met_at_its_own_price() -> None:
    path = points(WICKS, {BTC: 5, ETH: -10}, {BTC: "55000", ETH: "3600"})
    assert path[0] == (15, {BTC: 55_000.0}), "the other is out of reach"
    assert [minute for minute, _ in path] == [15, 30, 45]


def test_what_is_not_held_has_no_path() -> None:
    assert points(WICKS, {ETH: 3}) == [(30, {ETH: 2_500.0}), (45, {ETH: 3_500.0})]
    assert points(WICKS, {}) == []


def test_the_path_ends_before_the_bar_does() -> None:
    """Its close, and what settles then, come after: see the venue."""
    assert max(minute for minute, _ in points(WICKS, {BTC: 5, ETH: -10}, {BTC: "55000"})) < 60


def test_replay_walks_the_ticks_of_the_local_exchange() -> None:
    market, matching = desk(WICKS, {BTC: 5})
    other = market_of(WICKS, 1, 0, 7)
    walked = list(inside("replay", market, matching))
    assert len(walked) == market.ticks and market.tick == market.ticks
    for now, quotes in walked:
        other.step()
        assert (now, quotes) == (other.now, other.quotes())
    assert walked[-1][0] == market.closing
    low, high = (
        bound(float(q.mark) for _, quotes in walked for q in quotes if q.instrument == BTC) for bound in (min, max)
    )
    assert (low, high) == (50_000.0, 70_000.0), "both extremes are on it"


# -- when a bar may be passed over -----------------------------------------------------------------------------


def still_quiet(sizes: dict[str, int], stops: list[Stop], low: Floats, high: Floats, cash: int = 100_000) -> bool:
    market, matching = desk(hand(still()), sizes, cash, leverage=10)
    return quiet(market, matching, stops, np.asarray(low), np.asarray(high))


CALM = np.array([60_000.0, 3_000.0])


def test_a_stop_within_reach_is_looked_at() -> None:
    stop = (BTC, False, 50_000.0)
    assert still_quiet({BTC: 5}, [stop], np.subtract(CALM, (9_000, 0)), CALM)
    assert not still_quiet({BTC: 5}, [stop], np.subtract(CALM, (10_000, 0)), CALM)
    assert not still_quiet({BTC: 5}, [stop], np.subtract(CALM, (9_950, 0)), CALM), "nearer than a mark's rounding"
    above = (ETH, True, 3_500.0)
    assert still_quiet({ETH: -5}, [above], CALM, np.add(CALM, (0, 400)))
    assert not still_quiet({ETH: -5}, [above], CALM, np.add(CALM, (0, 500)))
    assert not still_quiet({ETH: -5}, [above], CALM, np.add(CALM, (0, 499)))


def test_each_of_two_stops_counts() -> None:
    stops = [(BTC, False, 50_000.0), (BTC, False, 59_000.0)]
    assert not still_quiet({BTC: 5}, stops, np.subtract(CALM, (1_500, 0)), CALM)
    assert not still_quiet({BTC: 5}, stops[::-1], np.subtract(CALM, (1_500, 0)), CALM)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(-300, 300).filter(bool),
    st.integers(-300, 300).filter(bool),
    st.floats(0.5, 1.0),
    st.floats(1.0, 1.5),
    st.integers(5_000, 40_000),
)
def test_what_is_passed_over_is_never_liquidated(a: int, b: int, fall: float, rise: float, cash: int) -> None:
    """Quiet bars leave margin wherever within them prices go, each for itself."""
    prices = {BTC: 60_000.0, ETH: 3_000.0}
    value = abs(a) * 0.01 * 60_000 + abs(b) * 0.1 * 3_000
    if value / 10 > 0.9 * cash:
        return
    sizes = {BTC: a, ETH: b}
    if not still_quiet(sizes, [], CALM * fall, CALM * rise, cash):
        return
    units = {BTC: 0.01, ETH: 0.1}
    for one in (fall, rise):
        for two in (fall, rise):
            marks = {BTC: prices[BTC] * one, ETH: prices[ETH] * two}
            worth = {name: size * units[name] * marks[name] for name, size in sizes.items()}
            cost = {name: size * units[name] * prices[name] for name, size in sizes.items()}
            equity = cash + sum(worth.values()) - sum(cost.values())
            assert equity > float(RULES.maintenance_rate) * sum(map(abs, worth.values()))
