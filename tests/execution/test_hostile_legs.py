"""Whatever an exchange does, and in whatever order: two legs end matched or with nothing.

The exchange fills in part, rejects, loses requests and replies, tells late, twice, out of order or never, cancels,
carries out what had expired; the engine is killed at any moment. Prices jump, so that what rests is filled.
"""

import asyncio
from decimal import Decimal as D

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import VirtualLoop
from core.domain.orders import Action, Order
from core.execution.exposure import Policy
from core.execution.legs import halved
from core.portfolio.events import AnyEvent, Filled
from tests.execution.fakes import BTC, DEEP, SPECS, THIN, FakeVenue, Fault
from tests.execution.rig import Rig

FAULTS = [None, None, *Fault, "51008", "51006", "50001"]
QUIET_S = 120.0
"""Longer than any ghost takes to come, and to be taken back."""
LOT = D(1)
"""Of ETH, the coarser one: what is less cannot be matched."""

faults = st.lists(st.sampled_from(FAULTS), max_size=20)
cancels = st.lists(
    st.sampled_from([None, Fault.LOST_REPLY, Fault.LOST_REQUEST, Fault.MUTE, "51400", "50001"]), max_size=5
)
moves = st.lists(
    st.tuples(st.floats(0.0, 4.0), st.sampled_from(["997", "1000", "1003"]), st.booleans()), max_size=6
)


class Watch:
    """Looks at every order before it is sent and at every fill as it is booked."""

    def __init__(self, venue: FakeVenue) -> None:
        self.venue = venue
        venue.before_place = self.order

    def follow(self, rig: Rig) -> None:
        self.rig = rig
        rig.journal.listen(self.hear)

    def order(self, order: Order) -> None:
        """None asks for more than is wished, unless it takes back."""
        state = self.rig.books.intents[order.intent]
        wanted, had = state.intent.legs[order.leg].size, state.filled[order.leg]
        after = had + order.size
        assert abs(after) < abs(had) or (after * wanted >= 0 and abs(after) <= abs(wanted)), (order, had)

    def hear(self, event: AnyEvent) -> None:
        """Without ghosts no leg gets more than its wish, and a slice at most stands alone. (A ghost is told by its
        alarm, and goes back.)"""
        if not isinstance(event, Filled) or self.venue.haunted:
            return
        for part in event.parts:
            state = self.rig.books.intents[part.intent]
            wanted, got = state.intent.legs[part.leg].size, state.filled[part.leg]
            assert got * wanted >= 0 and abs(got) <= abs(wanted), f"{got} of {wanted}"
            a_slice = max(abs(leg.size) for leg in state.intent.legs) / state.intent.slices
            for alone in self.rig.executor.unhedged():
                assert alone.intent != part.intent or abs(alone.contracts) <= a_slice + LOT, alone


async def settled(rig: Rig) -> None:
    """The exchange has stopped misbehaving, and all has come home."""
    rig.venue.faults.clear()
    rig.venue.cancel_faults.clear()
    await asyncio.sleep(QUIET_S)
    assert await rig.executor.idle(3600.0), "something is at work for ever"
    await rig.drain()
    await rig.reconciler.run()
    assert await rig.executor.idle(3600.0), "something is at work for ever"
    verdict = await rig.reconciler.run()
    assert verdict.agrees, verdict.differences
    assert rig.venue.matching.orders() == [] and rig.books.unsettled() == [] and rig.executor.unhedged() == ()
    rig.held()
    rig.books.check()


@given(
    faults,
    cancels,
    moves,
    st.lists(st.floats(0.0, 9.0), max_size=2),
    st.sampled_from([1, 3]),
    st.sampled_from([(0, 1), (1, 0)]),
    st.sampled_from([0.0, 3.0]),
)
@settings(max_examples=120, deadline=None)
def test_two_legs_end_matched_or_with_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    wrong: list[Fault | str | None],
    uncancelled: list[Fault | str | None],
    jumps: list[tuple[float, str, bool]],
    crashes: list[float],
    slices: int,
    order: tuple[int, int],
    passive_s: float,
) -> None:
    async def story() -> None:
        path = tmp_path_factory.mktemp("story") / "ledger.sqlite"
        venue = FakeVenue(lockstep=False)
        watch, rig = Watch(venue), Rig(path, venue, Policy(passive_s, D(1000), 20.0))
        watch.follow(await rig.open())
        venue.faults += wrong
        venue.cancel_faults += uncancelled
        loop = asyncio.get_running_loop()
        for number, (pause, mark, thin) in enumerate(jumps):
            loop.call_later(number + pause, venue.move, BTC, mark, THIN if thin else DEEP)
        opening = await rig.intend("30", "-30", order=order, slices=slices)
        rig.executor.start(opening)
        for moment in crashes:
            await rig.executor.idle(moment)
            watch.follow(await rig.restart())
            await rig.reconciler.run()
            rig.executor.resume(fresh=False)
        await settled(rig)
        btc, eth = rig.held()
        assert 0 <= btc <= 30 and abs(btc + eth) < LOT and (btc == 0) == (eth == 0)
        for held in rig.books.open_books():
            assert halved(held, opening.legs, SPECS) == ()

        venue.move(BTC, "1000")
        venue.faults += wrong[::-1]
        if btc:
            rig.executor.start(await rig.intend(str(-btc), str(-eth), Action.CLOSE, slices=slices))
        await rig.executor.idle(30.0)
        await settled(rig)
        assert rig.held() == (0, 0) and rig.books.open_books() == []
        await rig.stop()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(story())
