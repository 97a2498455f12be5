"""Fees, profit, funding, margin, liquidation and bills: exact to the last digit."""

from decimal import Decimal as D

import pytest
from small_exchange import BTC, DEEP, ETH, INSTRUMENTS, Small, limit, market, only

from core.domain.account import Balance, Bill, BillKind, Position
from core.domain.instrument import Instrument
from core.domain.orders import Fill, OrderReport, OrderState
from core.matching.core import Matching
from core.matching.rules import Rules
from core.matching.types import Cancel, Quote, Rejected, SetLeverage, SettleFunding


def test_the_account_begins_with_a_deposit() -> None:
    matching = Matching(INSTRUMENTS, D(10000), Rules(), now=42)
    (bill,) = matching.bills()
    assert bill == Bill("1", 42, BillKind.TRANSFER, "", "USDT", D(10000), D(10000))
    assert matching.balance() == Balance("USDT", D(10000), D(10000), D(10000), 42)


def test_all_instruments_settle_in_one_currency() -> None:
    odd = Instrument("X-USDC-SWAP", "X", "USDC", "USDC", D(1), D(1), D(1), D(1), D(1), D(1))
    with pytest.raises(ValueError, match="USDC"):
        Matching([*INSTRUMENTS, odd], D(1), Rules())


def test_a_round_trip_costs_the_spread_and_two_taker_fees() -> None:
    small = Small()
    opened = small.do(market(BTC, "3"))
    closed = small.do(market(BTC, "-3"))
    (buy,), (sell,) = only(Bill, opened), only(Bill, closed)
    assert buy.fee == -D(3) * D("0.01") * D("1000.1") * D("0.0005") == buy.change
    assert sell.pnl == D(3) * D("0.01") * (D("999.9") - D("1000.1"))
    assert sell.change == sell.pnl + sell.fee
    assert (buy.trade_id, sell.trade_id) == ("1", "2")
    balance = small.matching.balance()
    assert balance.cash == balance.equity == D(10000) + buy.change + sell.change == sell.balance


def test_unrealised_profit_follows_the_mark() -> None:
    small = Small()
    small.do(market(BTC, "-3"))
    small.move(BTC, "900")
    assert small.matching.unrealised(BTC) == D(3) * D("0.01") * (D("999.9") - 900)
    assert small.matching.balance().equity == small.matching.balance().cash + small.matching.unrealised(BTC)


def test_an_average_that_does_not_end_loses_nothing() -> None:
    """1 at 1000.1 and 2 at 1003.1 average 1002.1; a third of that cost never ends in decimals."""
    small = Small(rules=Rules(taker=D(0)))
    small.do(market(BTC, "1"))
    small.move(BTC, "1003")
    small.do(market(BTC, "2"))
    small.move(BTC, "1007")
    small.do(market(BTC, "0.4"))
    (position,) = small.matching.positions()
    cost = D("0.01") * (D("1000.1") + 2 * D("1003.2") + D("0.4") * D("1007.2"))
    assert position.average == pytest.approx(cost / (D("0.01") * D("3.4")), abs=D("1e-12"))
    for _ in range(3):
        small.do(market(BTC, "-1"))
    small.do(market(BTC, "-0.4"))
    proceeds = D("0.01") * D("3.4") * D("1006.8")
    assert small.matching.balance().cash == D(10000) + proceeds - cost
    assert small.matching.positions() == []


def test_a_flip_realises_the_old_position_and_begins_a_new_one() -> None:
    small = Small(rules=Rules(taker=D(0)))
    small.do(market(BTC, "2"))
    events = small.do(market(BTC, "-5"))
    (bill,), (position,) = only(Bill, events), only(Position, events)
    assert bill.pnl == D(2) * D("0.01") * (D("999.9") - D("1000.1"))
    assert (position.size, position.average) == (D(-3), D("999.9"))


# --- funding ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "rate", "change"), [("4", "0.0001", "-0.004"), ("-4", "0.0001", "0.004")])
def test_a_long_pays_a_positive_rate_and_a_short_receives_it(size: str, rate: str, change: str) -> None:
    small = Small()
    small.do(market(BTC, size))
    before = small.matching.balance().cash
    (bill,) = only(Bill, small.do(SettleFunding(BTC, D(rate))))
    assert (bill.kind, bill.instrument, bill.change) == (BillKind.FUNDING, BTC, D(change))
    assert small.matching.balance().cash == before + D(change)


def test_funding_without_a_position_or_at_no_rate_moves_nothing() -> None:
    small = Small()
    assert small.do(SettleFunding(BTC, D("0.01"))) == []
    small.do(market(BTC, "4"))
    assert small.do(SettleFunding(BTC, D(0))) == []


def test_a_rate_of_any_length_is_settled_to_a_trillionth() -> None:
    small = Small()
    small.do(market(BTC, "4"))
    (bill,) = only(Bill, small.do(SettleFunding(BTC, D(1) / D(7000))))
    assert bill.change == D("-0.005714285714")


# --- margin and leverage ----------------------------------------------------------------------------------


def test_margin_is_the_value_at_the_mark_over_the_leverage() -> None:
    small = Small()
    assert small.matching.leverage(BTC) == 1
    small.do(market(BTC, "100"))
    assert small.matching.margins(BTC) == (D(1000), D(5))
    small.do(SetLeverage(BTC, D(4)))
    assert small.matching.margins(BTC)[0] == D(250)
    balance = small.matching.balance()
    assert balance.free == balance.equity - 250


def test_pending_orders_bind_margin_on_the_side_where_they_could_grow_the_position() -> None:
    small = Small()
    small.do(market(BTC, "100"), limit(BTC, "-150", "1010", "a"))
    assert small.matching.margins(BTC)[0] == D(1000)  # filled, it would be 50 short
    small.do(limit(BTC, "50", "990", "b"))
    assert small.matching.margins(BTC)[0] == D(1500)
    small.do(limit(BTC, "-100", "1010", "c", reduce_only=True))
    assert small.matching.margins(BTC)[0] == D(1500)
    small.do(Cancel(BTC, client_id="b"))
    assert small.matching.margins(BTC)[0] == D(1000)


def test_an_order_needs_its_margin_and_its_fee() -> None:
    small = Small(cash="1000")
    assert only(Rejected, small.do(market(BTC, "100")))[0].code == "51008"
    assert only(Rejected, small.do(market(BTC, "99.9"))) == []


def test_leverage_stretches_the_margin() -> None:
    small = Small(cash="1000")
    small.do(SetLeverage(BTC, D(3)))
    assert only(Rejected, small.do(market(BTC, "290"))) == []


def test_closing_is_never_refused_for_want_of_margin() -> None:
    small = Small(cash="1000")
    small.do(market(BTC, "99"))
    small.move(BTC, "700")
    assert small.matching.balance().free < 20
    events = small.do(market(BTC, "-99"))
    assert only(Rejected, events) == []
    assert small.position(BTC) == 0


def test_leverage_is_not_lowered_below_what_the_equity_can_carry() -> None:
    small = Small(cash="1000")
    small.do(SetLeverage(BTC, D(4)), market(BTC, "200"))
    (refused,) = only(Rejected, small.do(SetLeverage(BTC, D(1))))
    assert refused.code == "59103"
    assert small.matching.leverage(BTC) == 4


def test_raising_the_leverage_is_a_way_out_of_too_little_margin() -> None:
    small = Small(cash="1000")
    small.do(market(BTC, "-99"))
    small.move(BTC, "1200")
    assert small.matching.balance().free == 0
    assert only(Rejected, small.do(SetLeverage(BTC, D("1.1")))) == []
    assert small.matching.leverage(BTC) == D("1.1")


# --- liquidation ------------------------------------------------------------------------------------------


def test_below_maintenance_everything_is_cancelled_and_closed_at_the_mark() -> None:
    small = Small(cash="1000")
    small.do(SetLeverage(BTC, D(10)), SetLeverage(ETH, D(10)))
    small.do(market(BTC, "500"), market(ETH, "-100"), limit(ETH, "2", "90", "resting"))
    assert only(Bill, small.move(BTC, "830")) == []  # 150 left, above maintenance
    events = small.move(BTC, "805")
    assert small.matching.orders() == []
    assert small.matching.positions() == []
    bills = only(Bill, events)
    assert [(bill.kind, bill.instrument) for bill in bills] == [
        (BillKind.LIQUIDATION, BTC),
        (BillKind.LIQUIDATION, ETH),
    ]
    assert [(fill.price, fill.size) for fill in only(Fill, events)] == [(D(805), D(-500)), (D(100), D(100))]
    assert [bill.trade_id for bill in bills] == [fill.trade_id for fill in only(Fill, events)]
    reports = only(OrderReport, events)
    assert (reports[0].client_id, reports[0].state) == ("resting", OrderState.CANCELLED)
    forced = small.matching.order(venue_id=only(Fill, events)[0].venue_id)
    assert forced is not None and forced.place.tag == "liquidation" and forced.client_id == ""
    balance = small.matching.balance()
    assert balance.cash == balance.equity == balance.free == sum(bill.change for bill in small.matching.bills())


def test_a_gap_through_bankruptcy_leaves_a_debt_and_no_free_margin() -> None:
    small = Small(cash="1000")
    small.do(SetLeverage(BTC, D(10)), market(BTC, "500"))
    small.move(BTC, "500")
    balance = small.matching.balance()
    assert balance.cash < 0
    assert balance.free == 0
    assert only(Rejected, small.do(market(BTC, "1")))[0].code == "51008"


def test_funding_too_can_liquidate_at_the_next_quote() -> None:
    small = Small(cash="1000")
    small.do(SetLeverage(BTC, D(10)), market(BTC, "500"))
    small.do(SettleFunding(BTC, D("0.2")))
    assert [bill.kind for bill in only(Bill, small.move(BTC, "1000"))] == [BillKind.LIQUIDATION]


def test_every_bill_carries_the_running_balance() -> None:
    small = Small()
    small.do(market(BTC, "7"), market(ETH, "-9"), SettleFunding(BTC, D("0.0001")))
    small.step([market(BTC, "-7")], [Quote(BTC, D("1013.7"), DEEP)])
    bills = small.matching.bills()
    total = D(0)
    for number, bill in enumerate(bills, start=1):
        total += bill.change
        assert (bill.id, bill.balance) == (str(number), total)
    assert small.matching.balance().cash == total
