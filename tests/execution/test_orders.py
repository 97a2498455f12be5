"""Orders: written before they are sent, asked for by their own name, filled once."""

from decimal import Decimal as D
from pathlib import Path

import pytest

from core.domain.orders import Action, Order, OrderState
from core.execution.orders import ABSENT_MARGIN_MS
from core.portfolio.events import Filled, Planned, Protected, Reported
from tests.execution.fakes import BTC, ETH, THIN, Fault
from tests.execution.rig import EXPIRY_MS, Rig, planned_on_disk


async def test_an_order_is_on_disk_before_it_is_sent(rig: Rig, tmp_path: Path) -> None:
    seen: list[str] = []

    def power_cut(order: Order) -> None:
        on_disk = planned_on_disk(rig.path, tmp_path / f"{len(seen)}.sqlite")
        assert Planned in {type(e) for e in on_disk} and on_disk[-1].order == order  # type: ignore[union-attr]
        seen.append(order.client_id)

    rig.venue.before_place = power_cut
    await rig.open_pair()
    assert seen == ["pxI0L0A0", "pxI0L1A0"]


async def test_ids_derive_from_intent_leg_and_attempt(rig: Rig) -> None:
    rig.venue.faults += ["51000", "51000", None]
    await rig.open_pair()
    assert [order.client_id for order in rig.venue.placed] == ["pxI0L0A0", "pxI0L0A1", "pxI0L0A2", "pxI0L1A0"]
    assert [order.attempt for order in rig.venue.placed] == [0, 1, 2, 0]


async def test_an_order_expires(rig: Rig) -> None:
    await rig.open_pair()
    assert rig.venue.placed[0].expires == 1_000_000 + EXPIRY_MS


async def test_a_lost_reply_is_asked_for_and_fills_once(rig: Rig) -> None:
    rig.venue.faults += [Fault.LOST_REPLY, Fault.LOST_REPLY]
    await rig.open_pair()
    assert rig.held() == (10, -10)
    assert len(rig.venue.placed) == 2 and len(rig.told(Filled)) == 2


async def test_a_lost_reply_on_a_mute_stream_is_asked_for_by_client_id(rig: Rig) -> None:
    """Neither reply nor stream: the question by client id, and the list of fills, tell all there is."""
    rig.venue.faults += [Fault.MUTE, Fault.MUTE]
    await rig.open_pair()
    assert rig.held() == (10, -10)
    assert set(rig.venue.asked) == {"pxI0L0A0", "pxI0L1A0"}
    assert len(rig.told(Filled)) == 2


@pytest.mark.parametrize("fault", [Fault.LOST_REQUEST, Fault.UNREACHABLE])
async def test_a_lost_request_is_absent_only_after_its_expiry_and_a_margin(rig: Rig, fault: Fault) -> None:
    rig.venue.faults += [fault]
    sent: list[tuple[int, str]] = []
    rig.venue.before_place = lambda order: sent.append((rig.venue.server_ms(), order.client_id))
    await rig.open_pair()
    assert [name for _, name in sent] == ["pxI0L0A0", "pxI0L0A1", "pxI0L1A0"], "a new attempt has a new id"
    assert sent[1][0] - sent[0][0] > EXPIRY_MS + ABSENT_MARGIN_MS
    assert rig.books.orders["pxI0L0A0"].state is OrderState.ABSENT
    assert rig.held() == (10, -10)


async def test_one_that_the_exchange_has_forgotten_is_known_by_its_fills(rig: Rig) -> None:
    """Not found by its name is not yet absent: the fills are asked as well."""

    async def forgotten(instrument: str, client_id: str) -> None:
        return None

    rig.venue.faults += [Fault.MUTE]
    rig.venue.order = forgotten  # type: ignore[method-assign, assignment]
    await rig.open_pair()
    assert rig.held() == (10, -10) and len(rig.venue.placed) == 2
    assert rig.books.orders["pxI0L0A0"].state is OrderState.FILLED


async def test_a_request_that_was_only_slow_fills_once(rig: Rig) -> None:
    rig.venue.faults += [Fault.SLOW_REQUEST, Fault.SLOW_REQUEST]
    await rig.open_pair()
    assert rig.held() == (10, -10) and len(rig.venue.placed) == 2


async def test_while_the_venue_is_away_nothing_is_presumed(rig: Rig) -> None:
    rig.venue.faults += [Fault.LOST_REPLY]
    intent = await rig.intend("10", "-10")
    rig.venue.before_place = lambda order: setattr(rig.venue, "events", type(rig.venue.events)())
    await rig.orders.send(intent, 0, D(10), False)
    rig.venue.down = True
    order = rig.venue.placed[0]
    for _ in range(20):
        assert not await rig.orders.inquire(order)
    rig.venue.down = False
    assert await rig.orders.inquire(order)
    assert rig.books.net(BTC) == 10


@pytest.mark.parametrize("fault", [Fault.LATE_FILL, Fault.LATE_REPLY, Fault.TWICE])
async def test_reports_and_fills_come_in_any_order_and_any_number(rig: Rig, fault: Fault) -> None:
    rig.venue.faults += [fault] * 4
    await rig.open_pair()
    closing = await rig.intend("-10", "10", Action.CLOSE)
    assert await rig.run(closing) == "done"
    assert rig.held() == (0, 0)
    assert len(rig.venue.placed) == 4 and len(rig.told(Filled)) == 4
    assert rig.books.cash == (await rig.venue.balance()).cash


async def test_the_hedge_waits_for_the_fills_that_the_reports_have_announced(rig: Rig) -> None:
    rig.venue.faults += [Fault.LATE_FILL]
    sent: list[tuple[int, D]] = []
    rig.venue.before_place = lambda order: sent.append((rig.venue.server_ms() - 1_000_000, rig.books.net(BTC)))
    await rig.open_pair()
    assert sent == [(0, 0), (500, 10)]


async def test_a_fill_told_again_changes_nothing(rig: Rig) -> None:
    await rig.open_pair()
    before = len(rig.ledger.events())
    for fill in rig.venue.matching.fills():
        await rig.orders.fill(fill)
    for record in list(rig.books.orders.values()):
        report = await rig.venue.order(record.order.instrument, record.order.client_id)
        assert report is not None
        await rig.orders.report(report)
    assert len(rig.ledger.events()) == before and rig.held() == (10, -10)


async def test_two_tasks_with_the_same_fill_write_it_once(rig: Rig) -> None:
    """The stream and a question may bring it at the same moment."""
    import asyncio

    rig.venue.faults += [Fault.MUTE]
    intent = await rig.intend("10", "-10")
    await rig.orders.send(intent, 0, D(10), False)
    fill = rig.venue.matching.fills()[0]
    await asyncio.gather(*(rig.orders.fill(fill) for _ in range(5)), rig.orders.catch_up())
    assert len(rig.told(Filled)) == 1


async def test_a_fill_that_is_not_ours_is_kept_aside(rig: Rig) -> None:
    rig.venue.stranger(BTC, "3")
    await rig.drain()
    assert [fill.size for fill in rig.orders.foreign.values()] == [D(3)]
    assert rig.books.net(BTC) == 0 and rig.told(Filled) == []


async def test_a_refusal_is_written_with_its_code(rig: Rig) -> None:
    rig.venue.faults += ["51008"] * 3
    assert await rig.run(await rig.intend("10", "-10")) == "aborted"
    assert {e.report.code for e in rig.told(Reported)} == {"51008"}
    assert rig.venue.matching.fills() == [] and rig.told(Protected) == []


async def test_reduce_only_where_it_cannot_be_cut_short(rig: Rig) -> None:
    """Closing in net mode: reduce-only is right while the account holds at least as much on the other side."""
    await rig.open_pair()
    await rig.run(await rig.intend("-10", "10", Action.CLOSE))
    assert [order.reduce_only for order in rig.venue.placed] == [False, False, True, True]


async def test_a_book_closes_whole_though_another_holds_the_other_side(rig: Rig) -> None:
    """Two strategies, opposite wishes: the net is small, and reduce-only would cut the first's exit short."""
    await rig.open_pair("10", "-10", "zscore")
    await rig.open_pair("-6", "6", "divergence")
    assert rig.held() == (4, -4)
    assert await rig.run(await rig.intend("-10", "10", Action.CLOSE)) == "done"
    assert rig.held() == (-6, 6)
    assert [book.strategy for book in rig.books.open_books()] == ["divergence"]


async def test_a_thin_book_makes_a_smaller_pair(rig: Rig) -> None:
    """Ten levels of one least order each are all that ETH has: 10 contracts at a time, 30 in three attempts."""
    rig.venue.move(ETH, "100", THIN)
    outcome = await rig.run(await rig.intend("40", "-40"))
    btc, eth = rig.held()
    assert outcome == "done" and btc == -eth and 0 < btc < 40
