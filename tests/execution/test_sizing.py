"""Two legs in whole lots that match in value."""

from decimal import Decimal as D
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.account import Book, BookLeg
from core.domain.decision import Entry, Exit, Target
from core.domain.instrument import Instrument
from core.domain.orders import Action, Intent, Leg, Origin
from core.execution.sizing import Unsizable, entry_intent, exit_intent, margin_of, size_legs, target_intent
from core.execution.slices import MOST_SLICES, smallest
from tests.execution.fakes import BTC, ETH, SPECS

PAIR = (SPECS[BTC], SPECS[ETH])
AT = (D(1000), D(100))


def test_long_the_spread_buys_a_and_sells_b() -> None:
    assert size_legs(PAIR, AT, 1, D(100)) == (Leg(BTC, D(10)), Leg(ETH, D(-10)))


def test_short_the_spread_is_the_mirror() -> None:
    assert size_legs(PAIR, AT, -1, D(100)) == (Leg(BTC, D(-10)), Leg(ETH, D(10)))


def test_the_finer_leg_follows_what_the_coarser_can_do() -> None:
    """107 USDT are 10.7 BTC contracts, but 10 whole ETH ones: both legs become 100 USDT."""
    assert size_legs(PAIR, AT, 1, D(107)) == (Leg(BTC, D(10)), Leg(ETH, D(-10)))


def test_less_than_a_least_order_names_it() -> None:
    with pytest.raises(Unsizable, match=r"9.00 USDT is less than the least order of ETH-USDT-SWAP: 1 contracts"):
        size_legs(PAIR, AT, 1, D(9))


def test_more_than_the_largest_market_order_is_sized_all_the_same() -> None:
    assert size_legs(PAIR, AT, 1, D(60_000)) == (Leg(BTC, D(6000)), Leg(ETH, D(-6000)))


def test_a_hundred_of_the_largest_market_orders_is_too_much() -> None:
    assert size_legs(PAIR, AT, 1, D(5_000_000))[0].size == 500_000
    with pytest.raises(Unsizable, match="500001 contracts of ETH-USDT-SWAP exceed 100 times"):
        size_legs(PAIR, AT, 1, D(5_000_010))


@pytest.mark.parametrize("notional", ["0", "-5"])
def test_nothing_is_no_size(notional: str) -> None:
    with pytest.raises(Unsizable):
        size_legs(PAIR, AT, 1, D(notional))


lots = st.sampled_from([D("0.001"), D("0.01"), D("0.1"), D(1), D(10)])
contracts = st.sampled_from([D("0.01"), D("0.1"), D(1), D(100), D(1000)])
prices = st.decimals("0.0001", "90000", places=4)


@given(st.tuples(lots, lots), st.tuples(contracts, contracts), st.tuples(prices, prices), st.integers(10, 50_000))
@settings(max_examples=300, deadline=None)
def test_legs_agree_within_one_lot_of_the_coarser(
    lot: tuple[D, D], contract: tuple[D, D], at: tuple[D, D], usdt: int
) -> None:
    one, two = (
        Instrument(f"{n}-USDT-SWAP", n, "USDT", "USDT", c, step, D("0.0001"), step, D(10**12), D(10))
        for n, step, c in zip("AB", lot, contract, strict=True)
    )
    steps = [spec.notional(spec.lot, price) for spec, price in zip((one, two), at, strict=True)]
    try:
        legs = size_legs((one, two), at, 1, D(usdt))
    except Unsizable:
        assert usdt < max(steps), "there is room for a lot of each"
        return
    a, b = (abs(s.notional(leg.size, p)) for s, leg, p in zip((one, two), legs, at, strict=True))
    assert abs(a - b) < max(steps)
    assert max(a, b) <= usdt < max(a, b) + 2 * max(steps)
    for spec, leg in zip((one, two), legs, strict=True):
        assert leg.size % spec.lot == 0 and abs(leg.size) >= smallest(spec)


ENTRY = Entry("BTC/ETH", -1, 100.0, 0.06, 0.05, 1.8, 1.2, 0.7, "z +1.80, probability 0.70")


def test_an_entry_has_two_legs_always() -> None:
    """Known defect 3 of the published version: it traded the base leg alone, and held the market."""
    for side in (-1, 1):
        for notional in (10.0, 99.0, 5_000.0):
            entry = Entry("BTC/ETH", side, notional, 0.06, 0.05, 1.8, 1.2, 0.7, "test")
            intent = entry_intent("pxI0", 5, "zscore", entry, PAIR, AT, (1.0, 2.0))
            a, b = intent.legs
            assert (a.instrument, b.instrument) == (BTC, ETH)
            assert a.size * side > 0 > b.size * side
            assert a.size * 10 == -b.size * 10, "in this market a contract of either is worth the same"


def test_the_less_liquid_leg_goes_first() -> None:
    assert entry_intent("i", 0, "zscore", ENTRY, PAIR, AT, (1e6, 2e6)).order == (0, 1)
    assert entry_intent("i", 0, "zscore", ENTRY, PAIR, AT, (2e6, 1e6)).order == (1, 0)


def test_an_intent_keeps_what_the_book_must_remember_of_its_entry() -> None:
    intent = entry_intent("i", 7, "zscore", ENTRY, PAIR, AT, (1.0, 2.0), Origin.MANUAL)
    kept = (intent.ts, intent.side, intent.stop, intent.target, intent.z, intent.score, intent.probability)
    assert kept == (7, -1, 0.06, 0.05, 1.8, 1.2, 0.7)
    assert (intent.action, intent.origin) == (Action.OPEN, Origin.MANUAL)


def test_numbers_of_numpy_become_those_that_the_ledger_can_write() -> None:
    given: tuple[Any, ...] = ("BTC/ETH", np.int64(-1), *map(np.float64, (100.0, 0.06, 0.05, 1.8, 1.2, 0.7)), "t")
    entered = entry_intent("i", 7, "zscore", Entry(*given), PAIR, AT, (1.0, 2.0))
    target = Target("BTC", np.float64(100), "t", np.float64(2))
    aimed = target_intent("i", 7, "mine", target, None, PAIR[0], AT[0])
    assert aimed is not None
    for intent in (entered, aimed):
        assert msgspec.json.decode(msgspec.json.encode(intent), type=Intent) == intent
    plain = Entry("BTC/ETH", -1, 100.0, 0.06, 0.05, 1.8, 1.2, 0.7, "t")
    assert entered == entry_intent("i", 7, "zscore", plain, PAIR, AT, (1.0, 2.0))


def held(size: D) -> Book:
    zero = D(0)
    legs = (BookLeg("BTC", BTC, size, D(1000), D("0.01")),)
    return Book("mine", "BTC", 1, 0, legs, 0.0, 1.0, 0.0, 0.0, 0.0, D(60), zero, zero, zero, "pxI0")


@pytest.mark.parametrize("side", [1, -1])
def test_a_target_too_large_for_one_step_is_come_to_step_by_step(side: int) -> None:
    """6,200,000 USDT are 620,000 contracts; a hundred of the largest orders are 500,000."""
    target, step = Target("BTC", side * 6_200_000.0, "t"), MOST_SLICES * PAIR[0].max_market_size
    first = target_intent("i", 7, "mine", target, None, PAIR[0], AT[0])
    assert first is not None and first.legs == (Leg(BTC, side * step),) and first.action is Action.OPEN
    rest = target_intent("i", 7, "mine", target, held(side * step), PAIR[0], AT[0])
    assert rest is not None and rest.legs == (Leg(BTC, side * D(120_000)),)
    assert target_intent("i", 7, "mine", target, held(side * D(620_000)), PAIR[0], AT[0]) is None


def test_what_takes_exposure_back_is_never_cut() -> None:
    out = target_intent("i", 7, "mine", Target("BTC", 0.0, "t"), held(D(620_000)), PAIR[0], AT[0])
    assert out is not None and out.legs == (Leg(BTC, D(-620_000)),) and out.action is Action.CLOSE


def test_an_exit_takes_back_what_is_held_now() -> None:
    legs = (
        BookLeg("BTC", BTC, D("3.3"), D(1000), D("0.01")),
        BookLeg("ETH", ETH, D(-3), D(100), D("0.1")),
    )
    zero = D(0)
    book = Book("zscore", "BTC/ETH", 1, 0, legs, -1.5, 1.0, 0.6, 0.06, 0.05, D(60), zero, zero, zero, "pxI0")
    intent = exit_intent("pxI1", 9, book, Exit("BTC/ETH", "z crossed to +0.10"))
    assert intent.legs == (Leg(BTC, D("-3.3")), Leg(ETH, D(3)))
    assert (intent.action, intent.strategy, intent.pair, intent.side) == (Action.CLOSE, "zscore", "BTC/ETH", 1)


def test_margin_is_the_value_of_both_legs_over_leverage() -> None:
    legs = (Leg(BTC, D(10)), Leg(ETH, D(-10)))
    at = dict(zip((BTC, ETH), AT, strict=True))
    assert margin_of(legs, SPECS, at, D(1)) == 200
    assert margin_of(legs, SPECS, at, D(5)) == 40
