"""The first leg of a pair waits at the near touch for a while, and crosses with what is left."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal as D
from pathlib import Path

import pytest
import pytest_asyncio

from core.domain.orders import Action, Order, OrderState, OrderType
from core.execution.exposure import Policy
from tests.execution.fakes import BTC, ETH, THIN, FakeVenue, Fault
from tests.execution.rig import Rig

WAIT = Policy(passive_s=5.0)


@pytest_asyncio.fixture
async def patient(tmp_path: Path) -> AsyncIterator[Rig]:
    made = await Rig(tmp_path / "ledger.sqlite", FakeVenue(lockstep=False), WAIT).open()
    yield made
    await made.stop()


def sent(rig: Rig) -> list[tuple[str, OrderType, D]]:
    return [(order.instrument, order.type, order.size) for order in rig.venue.placed]


POST, MARKET = OrderType.POST_ONLY, OrderType.MARKET


async def test_it_waits_at_the_near_touch(patient: Rig) -> None:
    bid = patient.venue.touch(BTC, True)
    patient.executor.start(await patient.intend("10", "-10"))
    await patient.until(lambda: len(patient.venue.placed) == 1)
    order = patient.venue.placed[0]
    assert (order.type, order.price) == (POST, bid) and bid is not None and bid < 1000
    assert not await patient.executor.idle(4.0) and len(patient.venue.placed) == 1


async def test_a_price_that_comes_to_it_fills_it_as_maker_and_the_hedge_crosses(patient: Rig) -> None:
    patient.executor.start(await patient.intend("10", "-10"))
    await patient.until(lambda: bool(patient.venue.matching.orders()))
    patient.venue.move(BTC, "999")
    assert await patient.executor.idle(1.0)
    assert sent(patient) == [(BTC, POST, D(10)), (ETH, MARKET, D(-10))] and patient.held() == (10, -10)
    assert [fill.maker for fill in patient.venue.matching.fills()] == [True, False]


async def test_after_its_time_it_is_cancelled_and_crosses(patient: Rig) -> None:
    at: list[float] = []
    patient.venue.before_place = lambda order: at.append(asyncio.get_running_loop().time())
    assert await patient.run(await patient.intend("10", "-10")) == "done"
    assert sent(patient) == [(BTC, POST, D(10)), (BTC, MARKET, D(10)), (ETH, MARKET, D(-10))]
    assert at[1] - at[0] == pytest.approx(5.0, abs=0.5) and patient.held() == (10, -10)
    assert patient.books.orders["pxI0L0A0"].state is OrderState.CANCELLED


async def test_what_fills_while_it_waits_is_hedged_at_once(patient: Rig) -> None:
    patient.executor.start(await patient.intend("40", "-40"))
    await patient.until(lambda: bool(patient.venue.matching.orders()))
    patient.venue.move(BTC, "998", THIN)
    await patient.until(lambda: patient.venue.net(BTC) > 0)
    part = patient.venue.net(BTC)
    assert part < 40
    await patient.until(lambda: patient.venue.net(ETH) != 0)
    assert patient.venue.net(ETH) == -int(part) and patient.venue.matching.orders(), "the rest is still waiting"
    patient.venue.move(BTC, "1000")
    assert await patient.executor.idle(60.0)
    await patient.drain()
    assert patient.held() == (40, -40)


async def test_one_that_would_cross_is_cancelled_by_the_exchange_and_crosses(patient: Rig) -> None:
    """Accepted by the reply, cancelled on the stream."""
    patient.executor.touch = lambda instrument, buy: D("1000.5")
    assert await patient.run(await patient.intend("10", "-10")) == "done"
    assert sent(patient) == [(BTC, POST, D(10)), (BTC, MARKET, D(10)), (ETH, MARKET, D(-10))]
    assert asyncio.get_running_loop().time() < 1.0, "at once"


async def test_where_the_touch_is_not_known_it_crosses(patient: Rig) -> None:
    patient.executor.touch = lambda instrument, buy: None
    assert await patient.run(await patient.intend("10", "-10")) == "done"
    assert sent(patient) == [(BTC, MARKET, D(10)), (ETH, MARKET, D(-10))]


async def test_where_the_market_waits_for_us_nothing_rests(tmp_path: Path) -> None:
    rig = await Rig(tmp_path / "ledger.sqlite", FakeVenue(lockstep=True), WAIT).open()
    await rig.open_pair()
    assert {order.type for order in rig.venue.placed} == {MARKET}
    await rig.stop()


async def test_an_exit_crosses(patient: Rig) -> None:
    await patient.open_pair()
    assert await patient.run(await patient.intend("-10", "10", Action.CLOSE)) == "done"
    assert [order.type for order in patient.venue.placed[-2:]] == [MARKET, MARKET] and patient.held() == (0, 0)


async def test_each_slice_waits_anew(patient: Rig) -> None:
    assert await patient.run(await patient.intend("10", "-10", slices=2)) == "done"
    slice_of = [(BTC, POST, D(5)), (BTC, MARKET, D(5)), (ETH, MARKET, D(-5))]
    assert sent(patient) == [*slice_of, *slice_of] and patient.held() == (10, -10)


async def test_a_fill_that_races_the_cancel_is_counted_before_the_rest_crosses(patient: Rig) -> None:
    """The cancel's reply is lost, and the order has been filled in part just before it."""

    async def race(order: Order) -> None:
        patient.venue.move(BTC, "998", THIN)
        patient.venue.move(BTC, "1000")
        await cancel(order)

    cancel, patient.venue.cancel = patient.venue.cancel, race  # type: ignore[method-assign]
    patient.venue.cancel_faults += [Fault.LOST_REPLY]
    assert await patient.run(await patient.intend("10", "-10")) == "done"
    assert patient.held() == (10, -10)
    crossed = sum(order.size for order in patient.venue.placed if (order.instrument, order.type) == (BTC, MARKET))
    assert 0 < crossed < 10


@pytest.mark.parametrize("fault", [Fault.LOST_REQUEST, Fault.LOST_REPLY, Fault.MUTE, "50001", "51400"])
async def test_a_cancel_is_asked_for_until_the_order_is_known_to_be_gone(patient: Rig, fault: Fault | str) -> None:
    patient.venue.cancel_faults += [fault] * 3
    assert await patient.run(await patient.intend("10", "-10")) == "done"
    assert patient.held() == (10, -10) and patient.venue.matching.orders() == []


@pytest.mark.parametrize("fault", [Fault.LOST_REQUEST, Fault.LOST_REPLY, Fault.SLOW_REQUEST, Fault.MUTE, "51006"])
async def test_one_whose_fate_is_unknown_ends_as_a_pair(patient: Rig, fault: Fault | str) -> None:
    patient.venue.faults += [fault]
    assert await patient.run(await patient.intend("10", "-10")) == "done"
    assert patient.held() == (10, -10) and patient.venue.matching.orders() == []


async def test_after_a_restart_what_waits_is_taken_out_and_what_it_got_is_hedged(patient: Rig) -> None:
    patient.executor.start(await patient.intend("40", "-40"))
    await patient.until(lambda: bool(patient.venue.matching.orders()))
    patient.venue.events._queue.clear()  # type: ignore[attr-defined]
    await patient.restart()
    patient.venue.move(BTC, "998", THIN)
    part = patient.venue.net(BTC)
    await patient.reconciler.run()
    patient.executor.resume(fresh=False)
    assert await patient.executor.idle(60.0)
    await patient.drain()
    btc, eth = patient.held()
    assert 0 < btc < 40 and btc - part < 1 and btc + eth < 1 and patient.venue.matching.orders() == []


async def test_stopping_does_not_wait_for_it(patient: Rig) -> None:
    patient.executor.start(await patient.intend("10", "-10"))
    await patient.until(lambda: bool(patient.venue.matching.orders()))
    before = asyncio.get_running_loop().time()
    await patient.executor.stop(10.0)
    await patient.drain()
    assert asyncio.get_running_loop().time() - before < 1.0 and patient.held() == (10, -10)
