"""The accounting of the vectorised backtest: every cash flow, in the exchange's order."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.backtest.kernel import (
    CASH,
    CLOSED,
    FEES,
    FLOW,
    FUNDING,
    GROSS,
    OPENED,
    ORDERS,
    PAIR,
    REFUSED,
    SIDE,
    SLIPPAGE,
    TRADES,
    WINS,
    Books,
    Costs,
    Record,
    Sides,
    Tape,
    follow,
    sizes,
)
from core.domain.market import Floats
from core.execution.sizing import Unsizable, size_legs
from core.execution.slices import MOST_SLICES, largest
from core.matching.listing import swap
from tests.backtest.tapes import plain_equity, tape

FREE = Costs(0.0, 0.0, 0.0)
UNITS = slice(5, 7)


def play(
    given: Tape, signals: list[list[int]] | Sides, costs: Costs = FREE, notional: float = 1000.0, first: int = 0
) -> tuple[Books, Record]:
    grid = np.array(signals, np.int8)
    pairs, assets = grid.shape[1], given.open.shape[1]
    books = Books.fresh(pairs, assets, 10_000.0)
    record = Record.of(first, len(grid), 10_000.0, pairs, trades=50)
    follow(given, costs, grid, np.full(pairs, notional), first, len(grid), books, record)
    return books, record


def test_a_round_trip_by_hand() -> None:
    """Decided at the close of bar 0, bought at the open of bar 1; sold at the open of bar 3: 10 a at 100 to 110,
    20 b short at 50 to 49, costs of 10 bp fee and 20 bp around the mid."""
    market = tape(
        [[99, 50], [100, 50], [104, 50], [110, 49]],
        [[100, 50], [103, 51], [108, 50], [111, 48]],
    )
    books, record = play(market, [[1], [1], [0], [0]], Costs(0.001, 0.002))
    entry = 10 * 100 * 1.002 + 20 * 50 * 0.998
    leaving = 10 * 110 * 0.998 + 20 * 49 * 1.002
    slippage = -0.002 * (1000 + 1000 + 1100 + 980)
    trade = record.trades[0]
    assert (trade[PAIR], trade[SIDE], trade[OPENED], trade[CLOSED]) == (0, 1, 1, 3)
    assert trade[UNITS] == pytest.approx([10, -20])
    assert trade[GROSS] == pytest.approx(entry)
    assert trade[SLIPPAGE] == pytest.approx(slippage)
    assert trade[FEES] == pytest.approx(-0.001 * (entry + leaving))
    assert trade[FLOW] == pytest.approx(10 * 10 + 20 * 1 + trade[SLIPPAGE] + trade[FEES])
    bought = 10_000 - 10 * 100 * 1.002 + 20 * 50 * 0.998 - 0.001 * entry
    assert record.equity == pytest.approx(
        [10_000, 10_000, bought + 10 * 103 - 20 * 51, bought + 10 * 108 - 20 * 50, 10_000 + trade[FLOW]]
    )
    assert books.sums[[ORDERS, TRADES, WINS]].tolist() == [4, 1, 1]


def test_short_the_spread_is_the_mirror() -> None:
    market = tape([[100, 50]] * 3 + [[110, 50]], [[100, 50]] * 4)
    _, record = play(market, [[-1], [-1], [0], [0]])
    assert record.trades[0, UNITS].tolist() == [-10, 20]
    assert record.trades[0, FLOW] == pytest.approx(-100)


def test_funding_settles_before_the_fills_of_its_bar_on_what_is_held_then() -> None:
    """A rate of 1% on a at every bar: what enters at bar 1 pays at bars 2 and 3 on the closes before them, and has
    paid at bar 3 when it is sold there."""
    rate = np.zeros((4, 2))
    rate[:, 0] = 0.01
    market = tape([[100, 50]] * 4, [[100, 50], [120, 50], [130, 50], [140, 50]], rate=rate)
    _, record = play(market, [[1], [1], [0], [0]])
    assert record.costs[:, FUNDING] == pytest.approx([0, 0, 0, -10 * 1.20, -10 * (1.20 + 1.30)])
    assert record.trades[0, FUNDING] == pytest.approx(-25)


def test_a_short_receives_what_a_long_pays() -> None:
    rate = np.zeros((4, 2))
    rate[2, 1] = 0.01
    market = tape([[100, 50]] * 4, [[100, 50]] * 4, rate=rate)
    assert play(market, [[1]] * 4)[1].costs[-1, FUNDING] == pytest.approx(+10)
    assert play(market, [[-1]] * 4)[1].costs[-1, FUNDING] == pytest.approx(-10)


def test_nothing_is_filled_at_the_first_bar_and_the_last_decision_never_is() -> None:
    market = tape([[100, 50]] * 3, [[100, 50]] * 3)
    books, _ = play(market, [[1], [0], [0]], first=1)
    assert books.sums[ORDERS] == 0
    books, _ = play(market, [[0], [0], [1]])
    assert books.sums[ORDERS] == 0


def test_a_turn_is_two_trades_but_one_order_a_leg() -> None:
    market = tape([[100, 50]] * 4, [[100, 50]] * 4)
    books, record = play(market, [[1], [-1], [0], [0]])
    assert books.sums[[ORDERS, TRADES]].tolist() == [6, 2]
    assert record.trades[:2, SIDE].tolist() == [1, -1]


def test_an_entry_that_cannot_be_sized_is_asked_for_again() -> None:
    """1,000 buys no lot of an asset at 2,000; when the price has fallen, it does."""
    market = tape([[2000, 50]] * 3 + [[500, 50]], [[2000, 50]] * 2 + [[500, 50]] * 2)
    books, _ = play(market, [[1]] * 4)
    assert books.sums[REFUSED] == 2
    assert books.held[0, UNITS].tolist() == [2, -20]


def test_without_a_hedge_the_pair_is_its_first_leg() -> None:
    market = tape([[100, 50]] * 3, [[100, 50], [110, 50], [120, 50]], legs=[(0, 0)], hedge=0.0)
    books, record = play(market, [[1]] * 3)
    assert books.held[0, UNITS].tolist() == [10, 0]
    assert record.equity[-1] == pytest.approx(10_200)
    assert record.exposure[-1, 0] == pytest.approx(1200)


def test_quotes_lie_on_ticks_away_from_the_mark_by_one_at_least() -> None:
    """Half a spread of 1 bp of 100 is 0.01: on ticks of 0.1 the ask is 100.1; on ticks of 0.001 it is 100.01."""
    for tick, ask in ((0.1, 100.1), (0.001, 100.01), (0.03, 100.02)):
        market = tape([[100.0]] * 3, [[100.0]] * 3, legs=[(0, 0)], hedge=0.0, specs=(1.0, 1.0, 1e9, tick))
        books, _ = play(market, [[1], [1], [1]], Costs(0.0, 0.0001))
        assert 10_000 - books.sums[CASH] == pytest.approx(10 * ask)


@st.composite
def markets(draw: st.DrawFn) -> tuple[Tape, Sides, Floats]:
    """A few bars of three assets in three pairs, with funding, and any signals."""
    bars = draw(st.integers(3, 12))
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    close = 50 * np.exp(np.cumsum(chance.normal(0, 0.05, (bars, 3)), axis=0))
    opens = close * np.exp(chance.normal(0, 0.01, close.shape))
    rate = np.where(chance.random(close.shape) < 0.5, chance.normal(0, 0.001, close.shape), 0.0)
    unit = draw(st.sampled_from([0.01, 0.3, 1.0, 7.0]))
    market = tape(opens, close, legs=[(0, 1), (0, 2), (1, 2)], rate=rate, specs=(unit, 1.0, 1e9, 0.0))
    signals = chance.integers(-1, 2, (bars, 3)).astype(np.int8)
    return market, signals, chance.uniform(20, 2000, 3)


@settings(max_examples=60, deadline=None)
@given(markets(), st.integers(0, 2))
def test_equity_is_what_plain_python_finds(made: tuple[Tape, Sides, Floats], first: int) -> None:
    market, signals, notional = made
    costs = Costs(0.0005, 0.0003, 0.0002)
    books, record = Books.fresh(3, 3, 10_000.0), Record.of(first, len(signals), 10_000.0, 3, 100)
    follow(market, costs, signals, notional, first, len(signals), books, record)
    assert record.equity[1:] == pytest.approx(
        plain_equity(market, costs, signals, notional, first, 10_000.0), abs=1e-8
    )
    closed = record.trades[: int(books.sums[TRADES])]
    if not books.side.any():
        assert closed[:, FLOW].sum() == pytest.approx(record.equity[-1] - 10_000, abs=1e-8)
    for kind in (SLIPPAGE, FEES, FUNDING):
        still = books.held[books.side != 0, kind].sum()
        assert closed[:, kind].sum() + still == pytest.approx(record.costs[-1, kind], abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(markets(), st.integers(1, 11))
def test_the_future_moves_nothing(made: tuple[Tape, Sides, Floats], cut: int) -> None:
    market, signals, notional = made
    cut = min(cut, len(signals))
    whole, part = ((Books.fresh(3, 3, 1e4), Record.of(0, len(signals), 1e4, 3)) for _ in "wp")
    follow(market, Costs(), signals, notional, 0, len(signals), *whole)
    other, wanted = market.open.copy(), signals.copy()
    other[cut:] *= 1.5
    wanted[cut:] *= -1
    follow(market._replace(open=other), Costs(), wanted, notional, 0, cut, *part)
    assert (part[1].equity[: cut + 1] == whole[1].equity[: cut + 1]).all()
    assert (part[1].exposure[: cut + 1] == whole[1].exposure[: cut + 1]).all()


@settings(max_examples=60, deadline=None)
@given(markets())
def test_bar_by_bar_is_all_at_once(made: tuple[Tape, Sides, Floats]) -> None:
    market, signals, notional = made
    one, many = ((Books.fresh(3, 3, 1e4), Record.of(0, len(signals), 1e4, 3)) for _ in "om")
    follow(market, Costs(), signals, notional, 0, len(signals), *one)
    for t in range(len(signals)):
        follow(market, Costs(), signals, notional, t, t + 1, *many)
    assert (one[1].equity == many[1].equity).all()
    assert (one[0].sums == many[0].sums).all()


PRICES = st.decimals(Decimal("0.01"), Decimal(100_000), places=4, allow_nan=False)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["BTC", "ETH", "XRP", "BNB", "ADA", "OTHER"]),
    st.sampled_from(["SOL", "DOGE", "LINK", "MORE"]),
    PRICES,
    PRICES,
    st.decimals(Decimal(1), Decimal(100_000), places=2, allow_nan=False),
)
def test_sizes_are_those_of_the_exact_rule(a: str, b: str, at: Decimal, bt: Decimal, notional: Decimal) -> None:
    """The floats here and the decimals that trade give the same lots, or both refuse."""
    specs = swap(a, float(at)), swap(b, float(bt))
    table = np.array(
        [
            [
                float(s.contract * s.lot),
                float(max(s.lot, s.min_size) / s.lot),
                float(MOST_SLICES * largest(s) / s.lot),
                float(s.tick),
            ]
            for s in specs
        ]
    )
    found = sizes(float(notional), 1.0, table, 0, 1, np.array([float(at), float(bt)]))
    try:
        legs = size_legs(specs, (at, bt), 1, notional)
        wanted = [float(abs(leg.size) * spec.contract) for leg, spec in zip(legs, specs, strict=True)]
    except Unsizable:
        wanted = [0.0, 0.0]
    assert list(found) == pytest.approx(wanted, rel=1e-12)
