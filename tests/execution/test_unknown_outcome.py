"""Unknown is not failed: a market order fills, its reply is lost, and its id is free to be used again.

Whenever the exchange begins to show it, whenever the request or its double is delivered, and whenever the engine
dies in between: exactly one fill, in the books as at the exchange.
"""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal as D
from pathlib import Path

import pytest
import pytest_asyncio

from core.domain.account import Position
from core.domain.orders import Action, Fill, Order, OrderReport, OrderState
from core.execution.orders import ABSENT_MARGIN_MS
from core.venues.port import Unknown
from tests.execution.fakes import BTC, ETH, FakeVenue, Fault
from tests.execution.rig import EXPIRY_MS, Rig

NEVER = 10_000.0
DEADLINE_S = (EXPIRY_MS + ABSENT_MARGIN_MS) / 1000
"""Seconds after its sending from which on an order may count as absent."""


class BlindVenue(FakeVenue):
    """The first order of BTC gets no reply and is delivered `late` seconds after it was sent; a double of the same
    request `double` seconds after. Nothing on the stream tells of it; look-ups by id do not find it for `blind`
    seconds, nor, with `deaf`, do lists of fills show what it did. Positions are always true."""

    def __init__(self, *, late: float, blind: float, deaf: bool = False, double: float = NEVER) -> None:
        super().__init__()
        self.late, self.blind, self.deaf, self.double = late, blind, deaf, double
        self.first: Order | None = None
        self.sent_at = 0.0

    def hidden(self, client_id: str) -> bool:
        """Whether look-ups do not show that order yet."""
        now = asyncio.get_running_loop().time()
        return self.first is not None and client_id == self.first.client_id and now < self.sent_at + self.blind

    async def place(self, order: Order) -> OrderReport:
        if order.instrument != BTC or self.first is not None:
            return await super().place(order)
        self.before_place(order)
        self.placed.append(order)
        self.first, self.sent_at = order, asyncio.get_running_loop().time()
        for delay in (self.late, self.double):
            if delay < NEVER:  # The network's own: it goes on when the engine is gone.
                asyncio.get_running_loop().call_later(delay, self._deliver, order)
        raise Unknown("no reply")

    def _deliver(self, order: Order) -> None:
        self._tell_off(self._execute(order, None))

    def _tell_off(self, answered: object) -> None:
        """What the stream says of it is lost with the socket."""
        while not self.events.empty():
            event = self.events.get_nowait()
            if not isinstance(event, OrderReport | Fill | Position):
                raise AssertionError(event)

    async def order(self, instrument: str, client_id: str) -> OrderReport | None:
        found = await super().order(instrument, client_id)
        return None if self.hidden(client_id) else found

    async def fills(self, since_ms: int) -> list[Fill]:
        found = await super().fills(since_ms)
        return [fill for fill in found if not (self.deaf and self.hidden(fill.client_id))]

    async def open_orders(self) -> list[OrderReport]:
        return [report for report in await super().open_orders() if not self.hidden(report.client_id)]


@pytest_asyncio.fixture
async def rigs(tmp_path: Path) -> AsyncIterator[list[Rig]]:
    made: list[Rig] = []
    yield made
    for rig in made:
        await rig.stop()


async def settled(rig: Rig) -> None:
    """Until nothing is at work any more, and the ledger tells what the exchange does."""
    assert await rig.executor.idle(3600.0), "not settled within an hour"
    verdict = await rig.reconciler.run()
    assert verdict.agrees, verdict.differences


def executions(venue: BlindVenue, rig: Rig) -> list[D]:
    """Sizes of the fills of BTC at the exchange, which must be those in the books."""
    theirs = [fill for fill in venue.matching.fills(0) if fill.instrument == BTC]
    assert all(rig.books.has_trade(fill.trade_id) for fill in theirs)
    return [fill.size for fill in theirs]


# When the request is delivered, and from when on look-ups show it: before and after the expiry and its margin.
LATE = (0.0, 1.0, EXPIRY_MS / 1000 - 0.001)
BLIND = (0.0, 0.3, 4.9, 5.1, DEADLINE_S - 0.1, DEADLINE_S + 0.1, 20.0, 90.0)


@pytest.mark.parametrize("deaf", [False, True], ids=["fills are listed", "fills are hidden too"])
@pytest.mark.parametrize("blind", BLIND)
@pytest.mark.parametrize("late", LATE)
async def test_it_fills_once_whenever_the_exchange_shows_it(
    tmp_path: Path, rigs: list[Rig], late: float, blind: float, deaf: bool
) -> None:
    venue = BlindVenue(late=late, blind=blind, deaf=deaf)
    rig = await Rig(tmp_path / "l", venue).open()
    rigs.append(rig)
    assert await rig.run(await rig.intend("10", "-10")) == "done"
    await settled(rig)
    assert executions(venue, rig) == [D(10)] and rig.held() == (10, -10)


@pytest.mark.parametrize("deaf", [False, True], ids=["fills are listed", "fills are hidden too"])
@pytest.mark.parametrize("late", LATE)
async def test_it_fills_once_at_whatever_moment_the_engine_dies(
    tmp_path: Path, rigs: list[Rig], late: float, deaf: bool
) -> None:
    """The engine dies on both sides of every boundary, and forgets what is not on disk."""
    for number, kill in enumerate((0.0, 0.2, 1.5, 4.99, 5.01, DEADLINE_S - 0.2, DEADLINE_S + 0.2, 30.0)):
        venue = BlindVenue(late=late, blind=25.0, deaf=deaf)
        rig = await Rig(tmp_path / f"l{number}", venue).open()
        rigs.append(rig)
        rig.executor.start(await rig.intend("10", "-10"))
        await rig.until(lambda venue=venue: venue.first is not None)  # type: ignore[misc]
        await asyncio.sleep(kill)
        await rig.restart()
        await rig.reconciler.run()
        rig.executor.resume(fresh=False)
        await settled(rig)
        assert executions(venue, rig) == [D(10)], kill
        assert rig.held() == (10, -10), kill


async def test_a_request_delivered_after_its_expiry_does_nothing_and_a_new_attempt_fills_once(
    tmp_path: Path, rigs: list[Rig]
) -> None:
    for number, late in enumerate((EXPIRY_MS / 1000 + 0.001, 6.0, DEADLINE_S + 3, NEVER)):
        venue = BlindVenue(late=late, blind=0.0)
        rig = await Rig(tmp_path / f"l{number}", venue).open()
        rigs.append(rig)
        assert await rig.run(await rig.intend("10", "-10")) == "done"
        await asyncio.sleep(30.0)
        await settled(rig)
        assert executions(venue, rig) == [D(10)] and rig.held() == (10, -10)
        assert venue.first is not None
        assert rig.books.orders[venue.first.client_id].state is OrderState.ABSENT
        assert [order.attempt for order in venue.placed if order.instrument == BTC] == [0, 1]


async def test_a_double_of_a_filled_order_that_comes_after_the_expiry_does_nothing(
    tmp_path: Path, rigs: list[Rig]
) -> None:
    """Its id is free again, for nothing of it is pending: only the expiry keeps it from filling twice."""
    for number, double in enumerate((5.001, 6.0, 60.0)):
        venue = BlindVenue(late=0.0, blind=DEADLINE_S + 5, deaf=True, double=double)
        rig = await Rig(tmp_path / f"l{number}", venue).open()
        rigs.append(rig)
        assert await rig.run(await rig.intend("10", "-10")) == "done"
        await asyncio.sleep(90.0)
        await settled(rig)
        assert executions(venue, rig) == [D(10)] and rig.held() == (10, -10)


async def test_the_double_would_fill_again_without_an_expiry(tmp_path: Path, rigs: list[Rig]) -> None:
    """The premise of all this: what has been filled is not pending, so the exchange takes its id again."""
    venue = BlindVenue(late=0.0, blind=0.0, double=2.0)
    rig = await Rig(tmp_path / "l", venue).open()
    rigs.append(rig)
    await rig.orders.send(await rig.intend("10", "-10"), 0, D(10), False)
    await asyncio.sleep(3.0)
    assert [fill.size for fill in venue.matching.fills(0) if fill.instrument == BTC] == [D(10), D(10)]


async def test_a_strangers_position_does_not_keep_an_absent_order_from_being_absent(
    tmp_path: Path, rigs: list[Rig]
) -> None:
    venue = BlindVenue(late=NEVER, blind=0.0)
    rig = await Rig(tmp_path / "l", venue).open()
    rigs.append(rig)
    venue.stranger(BTC, "3")
    await rig.drain()
    assert await rig.run(await rig.intend("10", "-10")) == "done"
    assert (rig.books.net(BTC), venue.net(BTC), venue.net(ETH)) == (10, 13, -10)


async def test_a_difference_that_is_explained_by_now_leaves_no_lost_order_unknown_for_ever(rig: Rig) -> None:
    """When it was sent the exchange showed three contracts that no fill had told yet. They have been told since,
    and the position can never again differ by them."""
    await rig.open_pair()
    rig.orders.mystery = {BTC: D(3)}
    rig.venue.faults.append(Fault.LOST_REQUEST)
    assert await rig.run(await rig.intend("-10", "10", Action.CLOSE)) == "done"
    assert rig.venue.net(BTC) == 0 and rig.books.net(BTC) == 0
