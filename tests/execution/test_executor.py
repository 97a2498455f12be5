"""Two legs to their end on an exchange that misbehaves, across crashes, and their catastrophe orders."""

import asyncio
from decimal import Decimal as D
from itertools import product
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import VirtualLoop
from core.domain.orders import Action, Protection
from core.portfolio.events import Protected, Settled
from tests.execution.fakes import BTC, ETH, FakeVenue, Fault
from tests.execution.rig import Rig


def stops(rig: Rig) -> dict[str, tuple[D, D]]:
    """The exchange's catastrophe orders: (size, trigger) by instrument; never two of one."""
    live = rig.venue.matching.triggers()
    assert len({t.instrument for t in live}) == len(live), live
    return {t.instrument: (t.size, t.trigger) for t in live}


class TestLegs:
    async def test_both_legs_fill(self, rig: Rig) -> None:
        await rig.open_pair()
        assert rig.held() == (10, -10)

    async def test_a_refused_second_leg_unwinds_the_first(self, rig: Rig) -> None:
        rig.venue.faults += [None, "51008", "51008", "51008"]
        intent = await rig.intend("10", "-10")
        assert await rig.run(intent) == "unwound"
        assert rig.held() == (0, 0)
        assert rig.books.open_books() == [] and stops(rig) == {}
        assert "51008" in rig.told(Settled)[-1].detail

    async def test_the_unwinding_never_gives_up(self, rig: Rig) -> None:
        rig.venue.faults += [None, *["51008"] * 3, *["50001"] * 12, Fault.LOST_REQUEST]
        assert await rig.run(await rig.intend("10", "-10")) == "unwound"
        assert rig.held() == (0, 0)

    async def test_a_refused_first_leg_aborts(self, rig: Rig) -> None:
        rig.venue.faults += ["51008"] * 3
        assert await rig.run(await rig.intend("10", "-10")) == "aborted"
        assert len(rig.venue.placed) == 3 and rig.held() == (0, 0)

    async def test_the_exit_never_gives_up(self, rig: Rig) -> None:
        await rig.open_pair()
        rig.venue.faults += ["50001"] * 20
        assert await rig.run(await rig.intend("-10", "10", Action.CLOSE)) == "done"
        assert rig.held() == (0, 0) and rig.books.round_trips == 1

    async def test_refusals_are_met_ever_more_calmly(self, rig: Rig) -> None:
        await rig.open_pair()
        times: list[float] = []
        rig.venue.before_place = lambda order: times.append(asyncio.get_running_loop().time())
        rig.venue.faults += ["50001"] * 30
        await rig.run(await rig.intend("-10", "10", Action.CLOSE))
        pauses = [b - a for a, b in zip(times[2::2], times[4::2], strict=False)]
        assert max(pauses) == pytest.approx(15.0) and pauses[:7] == sorted(pauses[:7])

    async def test_an_intent_must_be_in_the_ledger(self, rig: Rig) -> None:
        intent = await rig.intend("10", "-10")
        stranger = msgspec.structs.replace(intent, id="pxI9")
        with pytest.raises(AssertionError, match="pxI9 is not in the ledger"):
            rig.executor.start(stranger)

    async def test_started_twice_is_run_once(self, rig: Rig) -> None:
        intent = await rig.intend("10", "-10")
        rig.executor.start(intent)
        rig.executor.start(intent)
        assert rig.executor.busy == 1
        assert await rig.executor.idle(60.0) and rig.held() == (10, -10)

    async def test_idle_tells_when_its_patience_ends(self, rig: Rig) -> None:
        rig.venue.faults += [Fault.LOST_REQUEST]
        rig.executor.start(await rig.intend("10", "-10"))
        assert not await rig.executor.idle(1.0)
        assert await rig.executor.idle(60.0)

    async def test_a_failure_inside_is_not_swallowed(self, rig: Rig) -> None:
        rig.venue.before_place = lambda order: (_ for _ in ()).throw(OSError("disk full"))
        rig.executor.start(await rig.intend("10", "-10"))
        with pytest.raises(OSError, match="disk full"):
            await rig.executor.idle(60.0)
        rig.executor.failure = None


class TestAfterACrash:
    async def test_an_entry_half_done_is_finished(self, rig: Rig) -> None:
        intent = await rig.intend("10", "-10")
        await rig.orders.send(intent, 0, D(10), False)
        await rig.restart()
        await rig.reconciler.run()
        assert rig.executor.resume(fresh=False) == 1
        assert await rig.executor.idle(60.0)
        await rig.drain()
        assert rig.held() == (10, -10)

    async def test_one_that_was_planned_and_never_sent_is_given_up(self, rig: Rig) -> None:
        rig.venue.faults += [Fault.LOST_REQUEST]
        intent = await rig.intend("10", "-10")
        await rig.orders.send(intent, 0, D(10), False)
        await rig.restart()
        rig.executor.resume(fresh=False)
        assert await rig.executor.idle(60.0)
        assert rig.held() == (0, 0) and rig.books.intents[intent.id].outcome == "aborted"

    async def test_in_a_market_that_has_waited_it_is_made(self, rig: Rig) -> None:
        await rig.intend("10", "-10")
        await rig.restart()
        rig.executor.resume(fresh=True)
        assert await rig.executor.idle(60.0)
        await rig.drain()
        assert rig.held() == (10, -10)

    async def test_names_go_on_where_they_stopped(self, rig: Rig) -> None:
        rig.venue.faults += [None, "50001", "50001"]
        intent = await rig.intend("10", "-10")
        await rig.orders.send(intent, 0, D(10), False)
        await rig.orders.send(intent, 1, D(-10), False)
        await rig.restart()
        rig.executor.resume(fresh=False)
        assert await rig.executor.idle(60.0)
        names = [order.client_id for order in rig.venue.placed]
        assert names == ["pxI0L0A0", "pxI0L1A0", "pxI0L1A1", "pxI0L1A2"]

    async def test_a_settled_intent_is_not_resumed(self, rig: Rig) -> None:
        await rig.open_pair()
        await rig.restart()
        assert rig.executor.resume(fresh=True) == 0


class TestProtection:
    async def test_an_open_pair_has_a_wide_stop_on_each_leg(self, rig: Rig) -> None:
        await rig.open_pair()
        assert stops(rig) == {BTC: (D(-10), D("750.0")), ETH: (D(10), D("125.00"))}

    async def test_a_flat_one_has_none(self, rig: Rig) -> None:
        await rig.open_pair()
        await rig.run(await rig.intend("-10", "10", Action.CLOSE))
        assert stops(rig) == {} and rig.books.protections == {}

    async def test_it_covers_the_sum_of_the_books(self, rig: Rig) -> None:
        await rig.open_pair("10", "-10", "zscore")
        await rig.open_pair("5", "-5", "divergence")
        assert stops(rig) == {BTC: (D(-15), D("750.0")), ETH: (D(15), D("125.00"))}

    async def test_at_no_moment_is_a_held_position_bare(self, rig: Rig) -> None:
        """The new order is placed before the old one goes."""
        await rig.open_pair("10", "-10", "zscore")
        bare: list[str] = []
        step = rig.venue.step

        def watched(*arguments: object) -> object:
            events = step(*arguments)  # type: ignore[arg-type]
            here = {t.instrument for t in rig.venue.matching.triggers()}
            bare.extend(name for name in (BTC, ETH) if rig.venue.net(name) and name not in here)
            return events

        rig.venue.step = watched  # type: ignore[method-assign, assignment]
        await rig.open_pair("5", "-5", "divergence")
        await rig.run(await rig.intend("-10", "10", Action.CLOSE))
        assert bare == []

    async def test_asking_twice_changes_nothing(self, rig: Rig) -> None:
        await rig.open_pair()
        before = len(rig.ledger.events())
        for spec in rig.venue.instruments.values():
            await rig.guard.keep(spec)
        assert len(rig.ledger.events()) == before

    async def test_asking_at_the_same_moment_makes_one(self, rig: Rig) -> None:
        """Two intents that settle together, and a reconciliation beside them, share an instrument."""
        await rig.open_pair("10", "-10", "zscore")
        first, second = await rig.intend("5", "-5", strategy="one"), await rig.intend("7", "-7", strategy="two")
        rig.executor.start(first)
        rig.executor.start(second)
        checks = [rig.guard.reconcile(dict(rig.venue.instruments)) for _ in range(5)]
        await asyncio.gather(rig.executor.idle(60.0), *checks)
        assert stops(rig) == {BTC: (D(-22), D("750.0")), ETH: (D(22), D("125.00"))}

    async def test_a_refused_one_is_told_and_the_old_one_stays(self, rig: Rig) -> None:
        await rig.open_pair("10", "-10", "zscore")
        rig.venue.protect_faults += ["51000", "51000"]
        await rig.open_pair("5", "-5", "divergence")
        assert stops(rig)[BTC][0] == -10 and rig.books.protections[BTC].size == -10
        rig.venue.protect_faults += ["51000"]
        await rig.guard.keep(rig.venue.instruments[BTC])
        assert "BTC-USDT-SWAP: its catastrophe order could not be set" in rig.guard.wrong[BTC]
        await rig.guard.keep(rig.venue.instruments[BTC])
        assert BTC not in rig.guard.wrong and stops(rig)[BTC][0] == -15

    @pytest.mark.parametrize("fault", [Fault.LOST_REPLY, Fault.LOST_REQUEST])
    async def test_one_whose_fate_is_unknown_is_settled_by_reconciliation(self, rig: Rig, fault: Fault) -> None:
        rig.venue.protect_faults += [fault]
        await rig.open_pair()
        await rig.reconciler.run()
        assert stops(rig) == {BTC: (D(-10), D("750.0")), ETH: (D(10), D("125.00"))}
        assert {p.client_id for p in rig.books.protections.values()} == {
            t.client_id for t in rig.venue.matching.triggers()
        }

    async def test_an_orphan_is_cancelled_and_a_strangers_left_alone(self, rig: Rig) -> None:
        await rig.open_pair()
        for name in ("pxPz", "somebody"):
            await rig.venue.protect(Protection(name, BTC, D(-1), D(700)))
        verdict = await rig.reconciler.run()
        assert any("orphaned catastrophe order pxPz cancelled" in line for line in verdict.repaired)
        assert {t.client_id for t in rig.venue.matching.triggers()} == {"pxP0", "pxP1", "somebody"}

    async def test_a_crash_between_writing_and_sending_leaves_no_gap(self, rig: Rig) -> None:
        intent = await rig.intend("10", "-10")
        await rig.orders.send(intent, 0, D(10), False)
        await rig.orders.send(intent, 1, D(-10), False)
        await rig.drain()
        await rig.journal.record(Protected(0, Protection("pxP0", BTC, D(-10), D(750)), "planned"))
        await rig.restart()
        await rig.reconciler.run()
        assert stops(rig)[BTC] == (D(-10), D("750.0"))
        assert rig.books.protections[BTC].client_id == "pxP1", "a name is never used twice"


FAULTS = [None, *Fault, "51008"]


@pytest.mark.parametrize(("one", "two"), product([f for f in FAULTS if f], repeat=2))
async def test_any_two_faults_leave_a_pair_or_nothing(tmp_path: Path, one: Fault | str, two: Fault | str) -> None:
    rig = await Rig(tmp_path / "ledger.sqlite").open()
    rig.venue.faults += [one, two]
    outcome = await rig.run(await rig.intend("10", "-10"))
    await asyncio.sleep(60.0)  # The last ghost has come, and has gone back.
    assert await rig.executor.idle(60.0)
    await rig.drain()
    btc, eth = rig.held()
    assert outcome == "done" and btc == -eth and 0 < btc <= 10
    assert btc == 10 or Fault.MEAGRE in (one, two)
    assert await rig.run(await rig.intend(str(-btc), str(-eth), Action.CLOSE)) == "done"
    assert rig.held() == (0, 0) and stops(rig) == {}
    verdict = await rig.reconciler.run()
    assert verdict.agrees and rig.orders.foreign == {}
    await rig.stop()


@given(
    st.lists(st.sampled_from(FAULTS), max_size=14),
    st.lists(st.floats(0.0, 9.0), max_size=4),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_faults_and_crashes_at_any_time(
    tmp_path_factory: pytest.TempPathFactory, faults: list[Fault | str | None], crashes: list[float], lockstep: bool
) -> None:
    """In and out again, stopped dead at any moments: at the end flat, and the exchange agrees on the cash."""

    async def story() -> None:
        path = tmp_path_factory.mktemp("story") / "ledger.sqlite"
        rig = await Rig(path, FakeVenue(lockstep=lockstep)).open()
        rig.venue.faults += faults
        for action, sizes in ((Action.OPEN, ("10", "-10")), (Action.CLOSE, None)):
            if sizes is None:
                btc, eth = rig.held()
                assert btc == -eth
                if btc == 0:
                    break
                sizes = (str(-btc), str(-eth))
            rig.executor.start(await rig.intend(*sizes, action))
            while crashes:
                await rig.executor.idle(crashes.pop())
                await rig.restart()
                await rig.reconciler.run()
                rig.executor.resume(fresh=lockstep)
            assert await rig.executor.idle(3600.0)
            await rig.drain()
            await rig.reconciler.run()
        assert rig.held() == (0, 0) and stops(rig) == {}
        assert (await rig.reconciler.run()).agrees
        assert rig.books.unsettled() == []
        rig.books.check()
        assert {e.client_id for e in rig.venue.matching.fills()} <= set(rig.books.orders)
        await rig.stop()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(story())
