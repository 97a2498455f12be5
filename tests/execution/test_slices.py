"""What is too large for one order goes in slices, each hedged before the next."""

from decimal import Decimal as D
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.instrument import Instrument
from core.domain.orders import Action, Leg
from core.execution.sizing import entry_intent
from core.execution.slices import ahead, count, needed, smallest, together
from tests.execution.fakes import BTC, ETH, FakeVenue, Fault
from tests.execution.rig import Rig
from tests.execution.test_sizing import AT, ENTRY, PAIR


def swap(lot: str, least: str, most: str) -> Instrument:
    return Instrument("A-USDT-SWAP", "A", "USDT", "USDT", D(1), D(lot), D("0.01"), D(least), D(most), D(10))


class TestHowMany:
    def test_one_where_nothing_asks_for_more(self) -> None:
        assert entry_intent("i", 0, "zscore", ENTRY, PAIR, AT, (1.0, 2.0)).slices == 1

    def test_as_many_as_keep_each_below_the_bound(self) -> None:
        """100 USDT a leg."""
        for most, slices in (("100", 1), ("99", 2), ("50", 2), ("30", 4), ("10", 10)):
            assert entry_intent("i", 0, "zscore", ENTRY, PAIR, AT, (1.0, 2.0), most=D(most)).slices == slices

    def test_never_smaller_than_the_least_order(self) -> None:
        """10 contracts of ETH are its ten least orders, whatever the bound."""
        assert needed((Leg(BTC, D(10)), Leg(ETH, D(-10))), PAIR, AT, D(1)) == 10

    def test_the_venues_largest_order_asks_for_more_by_itself(self) -> None:
        legs = (Leg(BTC, D(12_000)), Leg(ETH, D(-12_000)))
        assert (count(1, legs, PAIR), count(7, legs, PAIR)) == (3, 7)


lots = st.sampled_from(["0.01", "0.1", "1", "5"])


@given(
    lots,
    st.integers(1, 3),
    st.integers(1, 400),
    st.integers(1, 30),
    st.sampled_from([-1, 1]),
    st.lists(st.booleans()),
)
@settings(max_examples=200, deadline=None)
def test_slices_reach_the_wish_in_whole_lots(
    lot: str, least: int, size: int, slices: int, side: int, short: list[bool]
) -> None:
    """Whatever an order gets of its slice, and with a rest below the least order at most."""
    spec = swap(lot, str(least * D(lot)), str(100 * D(lot)))
    wanted, filled = side * (size + least) * D(lot), D(0)
    slices = min(slices, int(abs(wanted) / smallest(spec)))
    for _ in range(1000):
        step = ahead(wanted, filled, slices, spec)
        if abs(step) < smallest(spec):
            break
        assert step % spec.lot == 0 and step * side > 0
        assert abs(step) <= min(abs(wanted) / slices + smallest(spec) + spec.lot, D(100) * spec.lot)
        filled += spec.round_size(step / 2) if short and short.pop() else step
    assert abs(wanted - filled) < smallest(spec)


@given(lots, lots, st.integers(2, 60), st.integers(2, 60), st.integers(1, 12))
@settings(max_examples=200, deadline=None)
def test_two_legs_go_to_nothing_side_by_side(one: str, two: str, a: int, b: int, slices: int) -> None:
    specs = [swap(lot, lot, str(20 * D(lot))) for lot in (one, two)]
    sizes = [a * D(one), -b * D(two)]
    slices = count(min(slices, a, b), [Leg(BTC, size) for size in sizes], specs)
    rests = list(sizes)
    while any(steps := together(rests, sizes, slices, specs)):
        for leg, step in enumerate(steps):
            assert step * rests[leg] >= 0 and abs(step) <= abs(rests[leg])
            rests[leg] -= step
        shares = [abs(rest / size) for rest, size in zip(rests, sizes, strict=True)]
        assert abs(shares[0] - shares[1]) <= max(D(1) / a, D(1) / b)
    assert rests == [0, 0]


class TestAtWork:
    async def test_the_hedge_follows_each_slice(self, rig: Rig) -> None:
        assert await rig.run(await rig.intend("10", "-10", slices=4)) == "done"
        assert [order.size for order in rig.venue.placed] == [
            D("2.5"),
            -2,
            D("2.5"),
            -3,
            D("2.5"),
            -2,
            D("2.5"),
            -3,
        ]
        assert rig.held() == (10, -10)

    async def test_what_exceeds_the_largest_market_order_is_cut(self, tmp_path: Path) -> None:
        rig = await Rig(tmp_path / "ledger.sqlite", FakeVenue(cash="1000000")).open()
        assert await rig.run(await rig.intend("12000", "-12000")) == "done"
        assert [order.size for order in rig.venue.placed] == [4000, -4000] * 3
        assert await rig.run(await rig.intend("-12000", "12000", Action.CLOSE)) == "done"
        assert rig.held() == (0, 0) and len(rig.venue.placed) == 12
        await rig.stop()

    async def test_an_exit_leaves_in_as_many(self, rig: Rig) -> None:
        await rig.run(await rig.intend("10", "-10", slices=2))
        assert rig.books.open_books()[0].slices == 2
        at: list[tuple[D, D]] = []
        rig.venue.before_place = lambda order: at.append((rig.venue.net(BTC), rig.venue.net(ETH)))
        assert await rig.run(await rig.intend("-10", "10", Action.CLOSE, slices=2)) == "done"
        assert rig.held() == (0, 0) and [order.size for order in rig.venue.placed[-4:]] == [-5, 5, -5, 5]
        assert at[2] == (5, -5), "both legs have left their slice before the next"

    async def test_a_leg_that_cannot_leave_holds_the_other_as_its_hedge(self, rig: Rig) -> None:
        await rig.run(await rig.intend("10", "-10", slices=2))

        rig.venue.faults += [None, "50001", "50001", "50001"]
        worst = D(0)
        step = rig.venue.step

        def watched(*arguments: object) -> object:
            nonlocal worst
            events = step(*arguments)  # type: ignore[arg-type]
            worst = max(worst, abs(rig.venue.net(BTC) + rig.venue.net(ETH)))
            return events

        rig.venue.step = watched  # type: ignore[method-assign, assignment]
        assert await rig.run(await rig.intend("-10", "10", Action.CLOSE, slices=2)) == "done"
        assert rig.held() == (0, 0) and worst == 5

    async def test_a_slice_that_falls_short_ends_the_entry_with_what_matches(self, rig: Rig) -> None:
        rig.venue.faults += [None, None, Fault.MEAGRE]
        assert await rig.run(await rig.intend("60", "-60", slices=2)) == "done"
        btc, eth = rig.held()
        assert 30 < btc < 60 and btc + eth < 1

    async def test_a_slice_whose_hedge_fails_is_taken_back_alone(self, rig: Rig) -> None:
        rig.venue.faults += [None, None, None, "51008", "51008", "51008"]
        assert await rig.run(await rig.intend("10", "-10", slices=2)) == "done"
        assert rig.held() == (5, -5)
        assert [order.size for order in rig.venue.placed] == [5, -5, 5, -5, -5, -5, -5]

    async def test_after_a_restart_no_further_slice_begins(self, rig: Rig) -> None:
        intent = await rig.intend("10", "-10", slices=2)
        await rig.orders.send(intent, 0, D(5), False)
        await rig.restart()
        await rig.reconciler.run()
        rig.executor.resume(fresh=False)
        assert await rig.executor.idle(60.0)
        await rig.drain()
        assert rig.held() == (5, -5) and rig.books.intents[intent.id].outcome == "done"
