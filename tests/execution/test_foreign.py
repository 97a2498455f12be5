"""What is not ours: named, left alone, and known once a person has said so. What is ours and lost: cancelled."""

from decimal import Decimal as D

import pytest

from core.domain.errors import UserError
from core.domain.orders import Action, Order, OrderReport, OrderState, OrderType
from core.execution.reconcile import BY_HAND
from core.portfolio.events import Accepted, Billed, Commanded, Repaired
from tests.execution.fakes import BTC, ETH, Fault
from tests.execution.rig import Rig


def resting(client_id: str, instrument: str = BTC, price: str = "990") -> Order:
    return Order(client_id, "", 0, 0, instrument, D(1), OrderType.LIMIT, 10**12, D(price))


async def take_over(rig: Rig, why: str = "by phone") -> str:
    ids = iter(f"pxIz{n}" for n in range(9))
    return await rig.reconciler.take_over("me", why, lambda: next(ids))


class TestOrders:
    async def test_a_strangers_order_is_named_and_left_alone(self, rig: Rig) -> None:
        await rig.venue.place(resting("somebody1"))
        verdict = await rig.reconciler.run()
        assert verdict.foreign == (f"{BTC}: order somebody1 rests at the exchange and is not ours",)
        assert verdict.agrees and verdict.repaired == ()
        assert len(await rig.venue.open_orders()) == 1

    async def test_ours_that_the_ledger_does_not_know_is_cancelled_and_that_is_written(self, rig: Rig) -> None:
        await rig.venue.place(resting("pxI7L0A0"))
        verdict = await rig.reconciler.run()
        assert await rig.venue.open_orders() == []
        assert verdict.repaired == (f"{BTC}: orphaned order pxI7L0A0, which the ledger does not know, cancelled",)
        assert [event.what for event in rig.told(Repaired)] == list(verdict.repaired)

    async def test_ours_that_the_ledger_holds_as_ended_is_cancelled(self, rig: Rig) -> None:
        intent = await rig.intend("10", "-10")
        rig.venue.faults += [Fault.LOST_REQUEST]
        await rig.orders.send(intent, 0, D(10), False)
        order = next(iter(rig.books.orders.values())).order
        report = OrderReport(order.client_id, "v", BTC, OrderState.ABSENT, D(0), None, 1)
        await rig.orders.report(report)
        await rig.venue.place(resting(order.client_id))
        verdict = await rig.reconciler.run()
        assert "which the ledger holds as absent, cancelled" in verdict.repaired[0]
        assert await rig.venue.open_orders() == []

    async def test_ours_that_is_at_work_stays(self, rig: Rig) -> None:
        await rig.open_pair()
        before = len(rig.told(Repaired))
        await rig.reconciler.run()
        assert len(rig.told(Repaired)) == before and len(await rig.venue.protections()) == 2


class TestAccept:
    async def test_a_foreign_round_trip_leaves_cash_that_can_be_accepted(self, rig: Rig) -> None:
        await rig.open_pair()
        rig.venue.stranger(BTC, "3")
        rig.venue.stranger(BTC, "-3")
        await rig.drain()
        deposit, verdict = rig.books.deposit, await rig.reconciler.run()
        assert [line.partition(":")[0] for line in verdict.differences] == ["cash"]
        change = (await rig.venue.balance()).cash - rig.books.cash
        assert change < 0
        await rig.reconciler.accept("me", "a trade of my own")
        assert (await rig.reconciler.run()).agrees and rig.books.deposit == deposit + change
        (told,) = rig.told(Accepted)
        assert (told.who, told.why, told.cash, told.positions) == ("me", "a trade of my own", change, ())
        assert rig.told(Commanded)[-1].who == "me"

    async def test_a_position_is_known_from_then_on_over_restarts_too(self, rig: Rig) -> None:
        rig.venue.stranger(BTC, "3")
        await rig.drain()
        await rig.reconciler.accept("me", "mine")
        await rig.restart()
        verdict = await rig.reconciler.run()
        assert verdict.agrees and rig.books.foreign == {BTC: D(3)} and rig.books.net(BTC) == 0
        assert verdict.foreign == (f"{BTC}: 3 contracts accepted as not ours",)
        await rig.open_pair()
        assert (await rig.reconciler.run()).agrees

    async def test_what_was_there_before_the_ledger_can_be_accepted(self, rig: Rig) -> None:
        rig.venue.stranger(BTC, "3", told=False)
        assert not (await rig.reconciler.run()).agrees
        await rig.reconciler.accept("me", "old")
        assert (await rig.reconciler.run()).agrees

    async def test_closing_beside_a_stranger_who_holds_the_other_side(self, rig: Rig) -> None:
        """The account is net: a closing order would be cut short if it could only reduce."""
        await rig.open_pair()
        rig.venue.stranger(BTC, "-12")
        await rig.drain()
        await rig.reconciler.run()
        assert await rig.run(await rig.intend("-10", "10", Action.CLOSE)) == "done"
        assert (rig.books.net(BTC), rig.books.net(ETH)) == (0, 0)

    async def test_what_strangers_take_back_of_their_own_leaves_our_books_alone(self, rig: Rig) -> None:
        await rig.open_pair()
        rig.venue.stranger(BTC, "3")
        await rig.drain()
        await rig.reconciler.accept("me", "mine")
        rig.venue.stranger(BTC, "-3")
        await rig.drain()
        await rig.reconciler.run()
        assert (rig.books.net(BTC), rig.books.foreign[BTC]) == (10, 0)

    async def test_a_liquidation_of_all_takes_both_to_nothing(self, rig: Rig) -> None:
        await rig.open_pair()
        rig.venue.stranger(BTC, "3")
        await rig.drain()
        await rig.reconciler.accept("me", "mine")
        rig.venue.stranger(BTC, "-13")
        await rig.drain()
        verdict = await rig.reconciler.run()
        assert (rig.books.net(BTC), rig.books.foreign[BTC], rig.venue.net(BTC)) == (0, 0, 0)
        assert not any(line.startswith(BTC) for line in verdict.differences)
        rig.books.check()

    async def test_nothing_is_accepted_where_nothing_differs(self, rig: Rig) -> None:
        with pytest.raises(UserError, match="nothing to accept"):
            await rig.reconciler.accept("me", "why")

    async def test_nor_while_an_order_of_ours_may_explain_it(self, rig: Rig) -> None:
        rig.venue.faults += [Fault.LOST_REQUEST]
        await rig.orders.send(await rig.intend("10", "-10"), 0, D(10), False)
        rig.venue.stranger(BTC, "3")
        await rig.drain()
        with pytest.raises(UserError, match="is at work"):
            await rig.reconciler.accept("me", "why")
        assert rig.told(Accepted) == []


class TestAdopt:
    async def test_a_strangers_position_becomes_a_book_of_its_own_and_is_protected(self, rig: Rig) -> None:
        rig.venue.stranger(BTC, "3")
        await rig.drain()
        await take_over(rig)
        verdict = await rig.reconciler.run()
        assert verdict.agrees and verdict.foreign == () and rig.held() == (3, 0)
        (book,) = rig.books.open_books()
        assert (book.strategy, book.pair, book.side) == (BY_HAND, "BTC", 1)
        assert rig.books.protections[BTC].size == -3
        rig.books.check()

    async def test_a_round_trip_leaves_nothing_but_its_cost(self, rig: Rig) -> None:
        rig.venue.stranger(BTC, "3")
        rig.venue.stranger(BTC, "-3")
        await rig.drain()
        await take_over(rig)
        assert (await rig.reconciler.run()).agrees and rig.books.open_books() == []

    async def test_what_no_fill_tells_of_can_only_be_accepted(self, rig: Rig) -> None:
        with pytest.raises(UserError, match="cockpit accept"):
            await take_over(rig)


async def test_funding_of_a_live_market_falls_on_who_held_when_it_was_settled(rig: Rig) -> None:
    """The statement is read after the pair has been closed: it is its all the same."""
    await rig.open_pair()
    rig.venue.pay_funding(BTC, "0.0001")
    assert await rig.run(await rig.intend("-10", "10", Action.CLOSE)) == "done"
    await rig.reconciler.run()
    shares = [share for event in rig.told(Billed) for share in event.shares]
    assert [(share.strategy, share.pair, share.amount) for share in shares] == [("zscore", "BTC/ETH", D("-0.01"))]
