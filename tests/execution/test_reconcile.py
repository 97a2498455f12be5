"""Ledger against exchange: what is explained is entered, what cannot be is named, and nothing is invented."""

import asyncio
from decimal import Decimal as D

from core.domain.orders import Action, Origin
from core.portfolio.events import Filled, Intended, Protected, Settled
from tests.execution.fakes import BTC, ETH, Fault
from tests.execution.rig import Rig


async def test_both_tell_the_same(rig: Rig) -> None:
    await rig.open_pair()
    verdict = await rig.reconciler.run()
    assert verdict.agrees and verdict.repaired == ()


async def test_asked_again_it_writes_nothing(rig: Rig) -> None:
    await rig.open_pair()
    await rig.reconciler.run()
    before = len(rig.ledger.events())
    await rig.reconciler.run()
    assert len(rig.ledger.events()) == before


async def test_what_the_stream_did_not_tell_is_caught_up(rig: Rig) -> None:
    rig.venue.faults += [Fault.MUTE]
    intent = await rig.intend("10", "-10")
    await rig.orders.send(intent, 0, D(10), False)
    assert rig.books.net(BTC) == 0
    verdict = await rig.reconciler.run()
    assert verdict.agrees and rig.books.net(BTC) == 10


async def test_fills_told_in_another_order_than_they_were_made_are_no_disagreement(rig: Rig) -> None:
    """Part of the position is closed between two buys, and told after both: the exchange realised against another
    average cost than the ledger. What was paid is the same, and so is the cash once all is closed."""
    rig.venue.faults += [None, Fault.MUTE, None]
    for size, mark in (("10", "1000"), ("-4", "1010"), ("6", "1030")):
        rig.venue.move(BTC, mark)
        opening = D(size) > 0
        intent = await rig.intend(size, "0", Action.OPEN if opening else Action.CLOSE)
        await rig.orders.send(intent, 0, D(size), not opening)
        await rig.drain()
    assert rig.books.net(BTC) == 16
    assert (await rig.reconciler.run()).agrees
    assert rig.books.net(BTC) == 12 and rig.books.cash != (await rig.venue.balance()).cash
    last = await rig.intend("-12", "0", Action.CLOSE)
    await rig.orders.send(last, 0, D(-12), True)
    await rig.drain()
    assert rig.books.cash == (await rig.venue.balance()).cash


async def test_funding_is_taken_from_the_statement_and_shared(rig: Rig) -> None:
    await rig.open_pair()
    rig.venue.pay_funding(BTC, "0.0001")
    rig.venue.pay_funding(ETH, "0.0003")
    assert (await rig.reconciler.run()).agrees
    assert rig.books.funding == D("-0.01") + D("0.03")
    assert rig.books.open_books()[0].funding == D("0.02")


class TestForeign:
    async def test_a_strangers_trade_is_a_disagreement_by_name_and_number(self, rig: Rig) -> None:
        await rig.open_pair()
        rig.venue.stranger(BTC, "3")
        await rig.drain()
        verdict = await rig.reconciler.run()
        assert not verdict.agrees
        assert "BTC-USDT-SWAP: the exchange holds 13.0 contracts, the books 10" in verdict.differences[0].replace(
            "13 ", "13.0 "
        )
        assert any(line.startswith("cash: the exchange says") for line in verdict.differences)

    async def test_it_is_left_alone(self, rig: Rig) -> None:
        await rig.open_pair()
        rig.venue.stranger(BTC, "3")
        placed = len(rig.venue.placed)
        await rig.drain()
        await rig.reconciler.run()
        assert len(rig.venue.placed) == placed and rig.venue.net(BTC) == 13 and rig.books.net(BTC) == 10

    async def test_closing_goes_on_all_the_same(self, rig: Rig) -> None:
        await rig.open_pair()
        rig.venue.stranger(BTC, "3")
        await rig.drain()
        assert not (await rig.reconciler.run()).agrees
        assert await rig.run(await rig.intend("-10", "10", Action.CLOSE)) == "done"
        assert (rig.books.net(BTC), rig.venue.net(BTC)) == (0, 3)


class TestTheExchangeActs:
    """A fired stop, a liquidation: intents of the exchange's own, and the books follow."""

    async def _fire(self, rig: Rig) -> None:
        await rig.open_pair()
        rig.venue.move(BTC, "740")
        await rig.drain()

    async def test_a_fired_stop_becomes_an_intent_of_the_exchange(self, rig: Rig) -> None:
        await self._fire(rig)
        verdict = await rig.reconciler.run()
        assert verdict.agrees, verdict.differences
        assert any("closed at" in line and "pxP0" in line for line in verdict.repaired)
        assert rig.held() == (0, -10)
        intents = [e for e in rig.told(Intended) if e.intent.origin is Origin.EXCHANGE]
        assert [(e.intent.id, e.intent.reason, e.barred) for e in intents] == [("pxX0", "catastrophe stop", True)]

    async def test_every_fill_belongs_to_an_intent(self, rig: Rig) -> None:
        await self._fire(rig)
        await rig.reconciler.run()
        intents = {e.intent.id for e in rig.told(Intended)}
        assert all(part.intent in intents for e in rig.told(Filled) for part in e.parts)
        assert intents == {e.intent for e in rig.told(Settled)}

    async def test_the_ledger_says_that_it_fired(self, rig: Rig) -> None:
        await self._fire(rig)
        await rig.reconciler.run()
        assert [(e.protection.client_id, e.state) for e in rig.told(Protected)][-1] == ("pxP0", "fired")
        assert BTC not in rig.books.protections

    async def test_two_books_share_it(self, rig: Rig) -> None:
        await rig.open_pair("10", "-10", "zscore")
        await rig.open_pair("5", "-5", "divergence")
        rig.venue.move(BTC, "740")
        await rig.drain()
        assert (await rig.reconciler.run()).agrees
        claimed = {e.intent.strategy: e.intent.legs[0].size for e in rig.told(Intended) if "X" in e.intent.id}
        assert claimed == {"zscore": D(-10), "divergence": D(-5)}
        rig.books.check()

    async def test_a_liquidation_is_the_exchanges_too(self, rig: Rig) -> None:
        """With all of the account in one pair, and the stops gone, BTC falls by half and ETH doubles."""
        await rig.open_pair("480", "-480")
        for held in await rig.venue.protections():
            await rig.venue.unprotect(held)
        rig.venue.move(BTC, "500")
        rig.venue.move(ETH, "260")
        await rig.drain()
        assert (rig.venue.net(BTC), rig.venue.net(ETH)) == (0, 0)
        verdict = await rig.reconciler.run()
        assert rig.held() == (0, 0) and verdict.agrees, verdict.differences
        reasons = {e.intent.reason for e in rig.told(Intended) if e.intent.origin is Origin.EXCHANGE}
        assert reasons == {"liquidation or deleveraging"}

    async def test_asked_by_two_at_once_it_is_entered_once(self, rig: Rig) -> None:
        await self._fire(rig)
        await asyncio.gather(*(rig.reconciler.run() for _ in range(4)))
        assert len([e for e in rig.told(Intended) if e.intent.origin is Origin.EXCHANGE]) == 1
        assert rig.held() == (0, -10)

    async def test_a_fill_with_lead_over_the_books_waits_for_its_turn(self, rig: Rig) -> None:
        """Where our own exit and the exchange's close the same contracts, only what is held is claimed."""
        await rig.open_pair()
        await rig.run(await rig.intend("-10", "10", Action.CLOSE))
        rig.venue.stranger(BTC, "-10")
        await rig.drain()
        assert not (await rig.reconciler.run()).agrees
        assert rig.books.net(BTC) == 0 and next(iter(rig.orders.foreign.values())).size == -10

    async def test_after_a_restart_it_is_found_as_well(self, rig: Rig) -> None:
        await rig.open_pair()
        await rig.stop()
        rig.venue.move(BTC, "740")
        rig.venue.forget()
        rig._fold()
        await rig.open()
        assert (await rig.reconciler.run()).agrees
        assert rig.held() == (0, -10)
