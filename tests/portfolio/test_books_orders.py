"""What the books say of orders and of how far each leg has come."""

import pytest
from life import BTC, ETH, D, Life
from stories import OPENED

from core.domain.orders import (
    Fill,
    OrderState,
)
from core.portfolio.events import (
    Part,
)


@pytest.fixture
def life() -> Life:
    return Life()


def test_a_fill_may_come_before_the_report(life: Life) -> None:
    life.want("i", (BTC, "3"), (ETH, "-1"))
    order = life.plan("i", 0, "3")
    life.fill(order, "2")
    record = life.books.orders[order]
    assert (record.state, record.filled, record.venue_id) == (OrderState.PLANNED, D(2), "v" + order)
    life.report(order, OrderState.LIVE, "1")
    assert (record.state, record.filled) == (OrderState.LIVE, D(2))
    assert life.books.progress("i")[0].filled == D(2)


def test_an_order_stays_open_until_its_fills_sum_to_what_was_reported(life: Life) -> None:
    life.want("i", (BTC, "3"), (ETH, "-1"))
    order = life.plan("i", 0, "3")
    life.report(order, OrderState.CANCELLED, "2")
    assert life.books.progress("i")[0].open
    life.fill(order, "1")
    assert life.books.progress("i")[0].open
    assert [o.client_id for o in life.books.open_orders("i")] == [order]
    life.fill(order, "1")
    leg = life.books.progress("i")[0]
    assert (leg.open, leg.filled, leg.wanted, leg.attempts) == (False, D(2), D(3), 1)
    assert life.books.open_orders("i") == []


def test_filled_without_an_amount_means_all_of_it(life: Life) -> None:
    life.want("i", (BTC, "3"), (ETH, "-1"))
    order = life.plan("i", 0, "3")
    life.report(order, OrderState.FILLED)
    assert life.books.orders[order].filled == D(3)
    assert life.books.progress("i")[0].open


def test_fills_of_the_whole_size_end_an_order_whose_report_is_lost(life: Life) -> None:
    life.want("i", (BTC, "3"), (ETH, "-1"))
    order = life.plan("i", 0, "3")
    life.fill(order, "1", "100")
    life.fill(order, "2", "103")
    record = life.books.orders[order]
    assert (record.state, record.open, record.average) == (OrderState.FILLED, False, D(102))


def test_a_late_report_does_not_open_a_closed_order_again(life: Life) -> None:
    life.want("i", (BTC, "3"), (ETH, "-1"))
    order = life.plan("i", 0, "3")
    life.report(order, OrderState.CANCELLED, "0", code="51000")
    life.report(order, OrderState.LIVE, "0")
    life.report(order, OrderState.FILLED, "0.00")
    assert life.books.orders[order].state is OrderState.CANCELLED
    assert life.books.orders[order].code == "51000"


def test_an_order_thought_absent_whose_fill_arrives_is_counted(life: Life) -> None:
    life.want("i", (BTC, "3"), (ETH, "-1"))
    order = life.plan("i", 0, "3")
    life.report(order, OrderState.ABSENT)
    assert not life.books.progress("i")[0].open
    life.fill(order, "3")
    assert life.books.progress("i")[0].filled == D(3)
    assert life.books.net(BTC) == D(3)


def test_progress_counts_attempts_and_keeps_the_last_word(life: Life) -> None:
    life.want("i", (BTC, "3"), (ETH, "-1"))
    assert [(leg.attempts, leg.last) for leg in life.books.progress("i")] == [(0, None), (0, None)]
    first = life.plan("i", 0, "3")
    assert life.books.progress("i")[0].open
    life.report(first, OrderState.REJECTED, code="51008")
    second = life.plan("i", 0, "3")
    leg = life.books.progress("i")[0]
    assert (leg.attempts, leg.open) == (2, True)
    assert leg.last is not None and leg.last.code == "51008"
    assert (first, second) == ("iL0A0", "iL0A1")


def test_a_fill_is_known_by_venue_id_where_the_client_id_is_missing(life: Life) -> None:
    life.want("i", (BTC, "3"), (ETH, "-1"))
    order = life.plan("i", 0, "3")
    life.report(order, OrderState.LIVE)
    nameless = Fill("t9", "v" + order, "", BTC, D(1), D(100), D("-0.1"), "USDT", 5)
    assert life.books.allocate(nameless) == (Part("i", 0, D(1), D("-0.1")),)
    stranger = Fill("t10", "v?", "", BTC, D(1), D(100), D("-0.1"), "USDT", 5)
    assert life.books.allocate(stranger) is None


def test_missing_fills_are_asked_for_from_before_the_oldest_open_order_but_not_from_before_the_ledger() -> None:
    life = Life()
    assert life.books.last_fill_ms == OPENED.ts
    life.want("i", (BTC, "3"), (ETH, "-1"))
    open_order, other = life.plan("i", 0, "3"), life.plan("i", 1, "-1")
    life.fill(other, "-1", ts=10**9)
    assert life.books.last_fill_ms == 1001  # when the open order was written
    life.report(open_order, OrderState.CANCELLED)
    assert life.books.last_fill_ms == 10**9 - 86_400_000
    assert life.books.has_trade("t1") and not life.books.has_trade("t2")
