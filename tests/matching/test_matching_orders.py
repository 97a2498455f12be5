"""How orders meet the book, and what is refused."""

from decimal import Decimal as D

import pytest
from small_exchange import BTC, DEEP, ETH, INSTRUMENTS, THIN, Small, limit, market, only

from core.domain.account import Position
from core.domain.orders import Fill, OrderReport, OrderState, OrderType
from core.matching.core import Matching
from core.matching.rules import Rules
from core.matching.types import Cancel, Command, Place, PlaceTrigger, Quote, Rejected, SetLeverage, SettleFunding


def states(events: list) -> list[tuple[OrderState, D]]:
    return [(report.state, report.filled) for report in only(OrderReport, events)]


# --- the book ---------------------------------------------------------------------------------------------


def test_the_book_lies_around_the_mark_on_tick_and_on_lot() -> None:
    small = Small()
    bids, asks = small.matching.book(BTC, 10)
    assert (bids[0][0], asks[0][0]) == (D("999.9"), D("1000.1"))
    assert [price for price, _ in bids] == sorted((price for price, _ in bids), reverse=True)
    assert [price for price, _ in asks] == sorted(price for price, _ in asks)
    assert all(price % D("0.1") == 0 and size % D("0.1") == 0 and size > 0 for price, size in bids + asks)
    assert len(bids) == len(asks) == 10


@pytest.mark.parametrize("mark", ["1000", "1000.05", "0.4", "0.1", "98765.4"])
def test_best_prices_never_meet_and_are_at_least_a_tick_from_the_mark(mark: str) -> None:
    small = Small()
    small.move(BTC, mark)
    bids, asks = small.matching.book(BTC, 10)
    assert asks[0][0] >= D(mark) + D("0.1")
    assert all(D(0) < price <= D(mark) - D("0.1") for price, _ in bids)


def test_a_wider_spread_rule_widens_the_book() -> None:
    bids, asks = Small(rules=Rules(spread_bps=D(20))).matching.book(BTC, 1)
    assert (bids[0][0], asks[0][0]) == (D(999), D(1001))


def test_depth_follows_turnover() -> None:
    small = Small()
    deep = sum(float(size) for _, size in small.matching.book(BTC, 10)[1])
    small.move(BTC, "1000", DEEP / 10)
    shallow = sum(float(size) for _, size in small.matching.book(BTC, 10)[1])
    assert deep == pytest.approx(DEEP * 0.01 / 10, rel=0.2)  # one percent of turnover, 10 USDT a contract
    assert shallow == pytest.approx(deep / 10, rel=0.3)


def test_a_silent_market_still_holds_one_minimum_order_a_level() -> None:
    small = Small()
    small.move(ETH, "100", THIN)
    assert {size for side in small.matching.book(ETH, 10) for _, size in side} == {D(2)}


def test_depth_that_we_took_comes_back_only_with_the_next_quote() -> None:
    small = Small()
    small.move(BTC, "1000", THIN)
    before = small.matching.book(BTC, 10)
    small.do(market(BTC, "0.2"))  # two levels of 0.1
    bids, asks = small.matching.book(BTC, 10)
    assert asks == before[1][2:]
    assert bids == before[0]
    small.move(ETH, "100")
    assert small.matching.book(BTC, 10)[1] == asks
    small.move(BTC, "1000", THIN)
    assert small.matching.book(BTC, 10) == before


def test_before_its_first_quote_an_instrument_has_no_price_no_book_and_takes_no_orders() -> None:
    matching = Matching(INSTRUMENTS, D(1000), Rules())
    assert matching.mark(BTC) is None
    assert matching.book(BTC) == ([], [])
    (refused,) = only(Rejected, matching.step(1, [market(BTC, "1")], []))
    assert refused.code == "51001"


# --- market, limit, IOC, post-only ------------------------------------------------------------------------


def test_a_market_order_is_accepted_then_filled_at_the_best_price() -> None:
    small = Small()
    events = small.do(market(BTC, "3", "a"))
    assert states(events) == [(OrderState.LIVE, D(0)), (OrderState.FILLED, D(3))]
    (fill,) = only(Fill, events)
    assert (fill.size, fill.price, fill.maker, fill.client_id) == (D(3), D("1000.1"), False, "a")
    (position,) = only(Position, events)
    assert (position.size, position.average) == (D(3), D("1000.1"))
    record = small.matching.order(client_id="a")
    assert record is not None and record.report.state is OrderState.FILLED
    assert small.matching.order(venue_id=record.venue_id) == record
    assert small.matching.orders() == []


def test_a_market_order_walks_the_book_and_its_rest_is_cancelled() -> None:
    small = Small()
    small.move(BTC, "1000", THIN)  # ten levels of 0.1
    events = small.do(market(BTC, "-1.5", "a"))
    fills = only(Fill, events)
    assert [fill.price for fill in fills] == [D("999.9") - D("0.1") * k for k in range(10)]
    assert all(fill.size == D("-0.1") for fill in fills)
    assert states(events)[-2:] == [(OrderState.LIVE, D(1)), (OrderState.CANCELLED, D(1))]
    last = only(OrderReport, events)[-1]
    assert last.average == D("999.45")
    assert small.matching.book(BTC)[0] == []


def test_the_price_band_ends_a_market_order() -> None:
    small = Small(rules=Rules(price_band=D("0.0003")))
    small.move(BTC, "1000", THIN)
    events = small.do(market(BTC, "1"))
    assert [fill.price for fill in only(Fill, events)] == [D("1000.1"), D("1000.2"), D("1000.3")]
    assert states(events)[-1] == (OrderState.CANCELLED, D("0.3"))


def test_a_limit_order_takes_what_is_within_its_price_and_rests() -> None:
    small = Small()
    small.move(BTC, "1000", THIN)
    events = small.do(limit(BTC, "1", "1000.2", "a"))
    assert [fill.price for fill in only(Fill, events)] == [D("1000.1"), D("1000.2")]
    assert states(events)[-1] == (OrderState.LIVE, D("0.2"))
    (pending,) = small.matching.orders()
    assert (pending.client_id, pending.open) == ("a", D("0.8"))


def test_a_resting_order_fills_as_maker_at_its_own_price_when_the_book_crosses_it() -> None:
    small = Small()
    small.do(limit(BTC, "2", "995", "a"))
    assert small.move(BTC, "995") == []  # best ask 995.1: not there yet
    events = small.move(BTC, "994.9")
    (fill,) = only(Fill, events)
    assert (fill.price, fill.size, fill.maker) == (D(995), D(2), True)
    assert fill.fee == D("-2") * D("0.01") * 995 * D("0.0002")
    assert states(events) == [(OrderState.FILLED, D(2))]


def test_a_resting_order_fills_in_parts_when_little_crosses_it() -> None:
    small = Small()
    small.do(limit(BTC, "-0.3", "1001", "a"))
    assert states(small.move(BTC, "1001.2", THIN)) == [(OrderState.LIVE, D("0.1"))]
    assert states(small.move(BTC, "1001.2", THIN)) == [(OrderState.LIVE, D("0.2"))]
    assert states(small.move(BTC, "1001.2", THIN)) == [(OrderState.FILLED, D("0.3"))]


def test_of_two_resting_orders_the_better_price_then_the_older_fills_first() -> None:
    small = Small()
    small.do(limit(BTC, "0.1", "995", "old"), limit(BTC, "0.1", "995", "new"), limit(BTC, "0.1", "996", "best"))
    events = small.move(BTC, "994.8", THIN)  # asks 994.9 and 995.0: two for 995, the rest only for 996
    assert [fill.client_id for fill in only(Fill, events)] == ["best", "old"]


def test_an_ioc_order_never_rests() -> None:
    small = Small()
    small.move(BTC, "1000", THIN)
    part = small.do(limit(BTC, "1", "1000.1", "a", type=OrderType.IOC))
    assert states(part)[-1] == (OrderState.CANCELLED, D("0.1"))
    none = small.do(limit(BTC, "1", "999", "b", type=OrderType.IOC))
    assert states(none) == [(OrderState.LIVE, D(0)), (OrderState.CANCELLED, D(0))]
    assert small.matching.orders() == []


def test_a_crossing_post_only_order_is_accepted_and_then_cancelled() -> None:
    small = Small()
    events = small.do(limit(BTC, "1", "1000.1", "a", type=OrderType.POST_ONLY))
    assert states(events) == [(OrderState.LIVE, D(0)), (OrderState.CANCELLED, D(0))]
    assert only(Fill, events) == []
    assert states(small.do(limit(BTC, "1", "1000", "b", type=OrderType.POST_ONLY))) == [(OrderState.LIVE, D(0))]


def test_cancelling_keeps_what_was_filled() -> None:
    small = Small()
    small.move(BTC, "1000", THIN)
    small.do(limit(BTC, "1", "1000.2", "a"))
    assert states(small.do(Cancel(BTC, client_id="a"))) == [(OrderState.CANCELLED, D("0.2"))]
    record = small.matching.order(client_id="a")
    assert record is not None and record.report.filled == D("0.2") and record.traded == D("200.03")


# --- reduce-only ------------------------------------------------------------------------------------------


def test_reduce_only_is_cut_to_the_position() -> None:
    small = Small()
    small.do(market(BTC, "2"))
    events = small.do(market(BTC, "-5", reduce_only=True))
    assert states(events)[-1] == (OrderState.FILLED, D(2))
    assert small.position(BTC) == 0


@pytest.mark.parametrize("held", ["0", "2"])
def test_reduce_only_with_nothing_to_reduce_is_refused(held: str) -> None:
    small = Small()
    if D(held):
        small.do(market(BTC, held))
    (refused,) = only(Rejected, small.do(market(BTC, "1", reduce_only=True)))
    assert refused.code == "51169"


def test_a_resting_reduce_only_order_goes_when_its_position_goes() -> None:
    small = Small()
    small.do(market(BTC, "2"), limit(BTC, "-2", "1010", "a", reduce_only=True))
    assert states(small.do(market(BTC, "-2")))[-1] == (OrderState.CANCELLED, D(0))
    assert small.matching.orders() == []


def test_resting_reduce_only_orders_that_sum_above_the_position_never_turn_it() -> None:
    small = Small()
    small.do(market(BTC, "2"))
    small.do(*(limit(BTC, "-2", "1001", name, reduce_only=True) for name in ("a", "b")))
    events = small.do(market(BTC, "-1"))
    events += small.move(BTC, "1005")
    assert [(fill.client_id, fill.size) for fill in only(Fill, events)] == [("", D(-1)), ("a", D(-1))]
    assert small.position(BTC) == 0
    assert small.matching.orders() == []


# --- refusals ---------------------------------------------------------------------------------------------

REFUSED: list[tuple[str, Command]] = [
    ("51001", market("DOGE-USDT-SWAP", "1")),
    ("51001", SettleFunding("DOGE-USDT-SWAP", D("0.0001"))),
    ("51001", SetLeverage("DOGE-USDT-SWAP", D(2))),
    ("51001", PlaceTrigger("t", "DOGE-USDT-SWAP", D(1), D(2000))),
    ("51000", market(BTC, "1", "not-alphanumeric")),
    ("51000", market(BTC, "1", "x" * 33)),
    ("51000", market(BTC, "NaN")),
    ("51000", limit(BTC, "1E+40", "1000")),
    ("51000", Place("a", BTC, D(1), OrderType.LIMIT)),
    ("51000", limit(BTC, "1", "-5")),
    ("51000", limit(BTC, "1", "1000.0000000000000000000000000001")),
    ("51000", SettleFunding(BTC, D("NaN"))),
    ("51020", market(BTC, "0")),
    ("51020", market(BTC, "0.05")),
    ("51020", market(ETH, "1")),
    ("51121", market(BTC, "0.15")),
    ("51121", limit(ETH, "2.5", "100")),
    ("51006", limit(BTC, "1", "1000.05")),
    ("51006", limit(BTC, "1", "1020.1")),
    ("51006", limit(BTC, "-1", "979.9", type=OrderType.IOC)),
    ("51202", market(BTC, "5000.1")),
    ("51008", market(BTC, "1000")),
    ("51008", limit(BTC, "-1000", "1001")),
    ("51400", Cancel(BTC, client_id="never")),
    ("51400", Cancel(BTC, venue_id="77")),
    ("51400", Cancel(BTC)),
    ("51169", market(BTC, "1", reduce_only=True)),
    ("59102", SetLeverage(BTC, D("100.5"))),
    ("59102", SetLeverage(BTC, D("0.5"))),
    ("59102", SetLeverage(ETH, D("NaN"))),
]


@pytest.mark.parametrize(("code", "command"), REFUSED)
def test_a_refused_command_says_why_and_has_no_effect(code: str, command: Command) -> None:
    small = Small()
    before = small.matching.state()
    (refused,) = only(Rejected, small.do(command))
    assert (refused.code, refused.command) == (code, command)
    assert refused.message
    after = small.matching.state()
    assert (after.cash, after.orders, after.markets, after.orders_made) == (before.cash, [], before.markets, 0)


def test_a_far_limit_order_away_from_the_market_is_welcome() -> None:
    small = Small()
    assert states(small.do(limit(BTC, "1", "500"), limit(BTC, "-1", "2000"))) == [(OrderState.LIVE, D(0))] * 2


def test_a_client_id_is_unique_among_pending_orders_only() -> None:
    small = Small()
    small.do(limit(BTC, "1", "990", "a"))
    (refused,) = only(Rejected, small.do(limit(BTC, "1", "991", "a")))
    assert refused.code == "51016"
    small.do(Cancel(BTC, client_id="a"))
    assert states(small.do(market(BTC, "1", "a")))[-1] == (OrderState.FILLED, D(1))
    assert states(small.do(market(BTC, "2", "a")))[-1] == (OrderState.FILLED, D(2))
    latest = small.matching.order(client_id="a")
    assert latest is not None and latest.report.filled == 2


def test_cancelling_under_another_instrument_finds_nothing() -> None:
    small = Small()
    small.do(limit(BTC, "1", "990", "a"))
    assert only(Rejected, small.do(Cancel(ETH, client_id="a")))[0].code == "51400"
    assert len(small.matching.orders()) == 1


def test_commands_are_obeyed_in_order_after_the_market_has_moved() -> None:
    small = Small()
    events = small.step([market(BTC, "1"), market(BTC, "-1")], [Quote(BTC, D(1100), DEEP)])
    assert [fill.price for fill in only(Fill, events)] == [D("1100.2"), D("1099.8")]


def test_time_never_goes_back_and_senseless_quotes_are_faults_of_the_caller() -> None:
    small = Small()
    with pytest.raises(ValueError, match="went back"):
        small.matching.step(small.now - 1, [], [])
    for mark in ("0", "-1", "NaN", "Infinity"):
        with pytest.raises(ValueError, match="mark"):
            small.move(BTC, mark)
    with pytest.raises(ValueError, match="DOGE"):
        small.move("DOGE", "1")
    with pytest.raises(ValueError, match="turnover"):
        small.move(BTC, "1", float("nan"))


def test_the_past_is_bounded_and_ids_keep_rising() -> None:
    small = Small(keep=3)
    for _ in range(5):
        small.do(market(BTC, "1", "a"), market(BTC, "-1", "b"))
    matching = small.matching
    assert [fill.trade_id for fill in matching.fills()] == ["8", "9", "10"]
    assert [bill.id for bill in matching.bills()] == ["9", "10", "11"]
    assert [bill.id for bill in matching.bills("10")] == ["11"]
    assert matching.bills("11") == []
    assert len(matching.history().orders) == 3
    assert matching.order(venue_id="1") is None
    assert matching.order(client_id="a") is not None


def test_fills_are_asked_for_by_time() -> None:
    small = Small()
    for _ in range(3):
        small.do(market(BTC, "1"))
    assert [fill.ts for fill in small.matching.fills(small.now - 1)] == [small.now - 1, small.now]
