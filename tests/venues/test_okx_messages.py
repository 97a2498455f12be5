"""What OKX's dictionaries mean. The samples have the shape of OKX's documentation, spelled out by hand."""

from decimal import Decimal
from typing import Any

import pytest

from core.domain.account import Balance, BillKind, Position
from core.domain.market import Candle, Funding, Ticker
from core.domain.orders import Fill, Order, OrderReport, OrderState, OrderType, Protection
from core.venues.okx import messages

SWAP = "BTC-USDT-SWAP"
INSTRUMENT = {
    "instType": "SWAP", "instId": SWAP, "uly": "BTC-USDT", "baseCcy": "", "quoteCcy": "", "settleCcy": "USDT",
    "ctVal": "0.01", "ctMult": "1", "ctValCcy": "BTC", "ctType": "linear", "lotSz": "0.01", "tickSz": "0.1",
    "minSz": "0.01", "maxLmtSz": "100000000", "maxMktSz": "12000", "lever": "100", "state": "live",
}  # fmt: skip
ORDER = {
    "instId": SWAP, "ordId": "312", "clOrdId": "i1L0A0", "px": "", "sz": "3", "ordType": "market", "side": "sell",
    "posSide": "net", "tdMode": "cross", "accFillSz": "2", "avgPx": "60000.5", "state": "partially_filled",
    "fee": "-0.6", "feeCcy": "USDT", "cTime": "1700000000000", "uTime": "1700000000005", "reduceOnly": "false",
    "category": "normal", "cancelSource": "", "algoId": "", "algoClOrdId": "", "tradeId": "77", "fillPx": "60001",
    "fillSz": "1", "fillTime": "1700000000004", "fillFee": "-0.3", "fillFeeCcy": "USDT", "execType": "T",
}  # fmt: skip


def push(channel: str, *rows: Any, **arg: str) -> dict[str, Any]:
    return {"arg": {"channel": channel, **arg}, "data": list(rows)}


def test_an_instrument_is_named_by_its_id_and_sized_in_contracts() -> None:
    found = messages.instrument(INSTRUMENT)
    assert (found.asset, found.quote, found.settle) == ("BTC", "USDT", "USDT")
    assert (found.contract, found.lot, found.tick) == (Decimal("0.01"), Decimal("0.01"), Decimal("0.1"))
    assert found.max_market_size == 12000 and found.max_leverage == 100


@pytest.mark.parametrize(
    ("changed", "linear"),
    [
        ({}, True),
        ({"instId": "BTC-USD-SWAP", "settleCcy": "BTC", "ctType": "inverse"}, False),
        ({"instId": "BTC-USDT", "settleCcy": ""}, False),
        ({"instId": "BTC-USDT-240628"}, False),
    ],
)
def test_only_perpetuals_settled_in_their_quote_are_instruments(changed: dict[str, str], linear: bool) -> None:
    assert messages.is_linear({**INSTRUMENT, **changed}) is linear


def test_a_ticker_with_an_empty_side_shows_the_last_price() -> None:
    row = {"instId": SWAP, "ts": "5", "last": "10.1", "bidPx": "10", "askPx": ""}
    assert messages.push_events(push("tickers", row, instId=SWAP), 2.5) == [
        Ticker(SWAP, 5, Decimal(10), Decimal("10.1"), Decimal("10.1"), 2.5)
    ]


def test_a_forming_candle_is_no_candle() -> None:
    forming = ["7200000", "1", "2", "0.5", "1.5", "300", "3", "4.5", "0"]
    closed = ["3600000", "1", "2", "0.5", "1.5", "300", "3", "4.5", "1"]
    assert messages.push_events(push("candle1H", forming, closed, instId=SWAP), 0.0) == [
        Candle(SWAP, 3_600_000, 1.0, 2.0, 0.5, 1.5, 3.0)
    ]


@pytest.mark.parametrize(("bar", "okx"), [("1h", "1H"), ("4h", "4H"), ("6h", "6Hutc"), ("1d", "1Dutc")])
def test_long_bars_are_cut_in_utc(bar: str, okx: str) -> None:
    assert messages.BARS[bar][0] == okx


def test_funding_due_lasts_until_the_next_time() -> None:
    row = {"instId": SWAP, "fundingRate": "0.0001", "fundingTime": "14400000", "nextFundingTime": "28800000"}
    (due,) = messages.push_events(push("funding-rate", row, instId=SWAP), 0.0)
    assert due == Funding(SWAP, 14_400_000, 0.0001, 14_400_000)
    assert due.rate_8h == pytest.approx(0.0002)


def test_funding_history_finds_its_periods_and_prefers_the_realized_rate() -> None:
    hour = 3_600_000
    rows = [
        {"instId": SWAP, "fundingTime": str(at * hour), "fundingRate": "0.5", "realizedRate": realized}
        for at, realized in ((52, "0.3"), (24, ""), (20, "0.1"), (16, "0.2"))
    ]
    history = messages.funding_history(rows)
    assert [(each.ts // hour, each.rate, each.period_ms // hour) for each in history] == [
        (16, 0.2, 4), (20, 0.1, 4), (24, 0.5, 4), (52, 0.3, 8),
    ]  # fmt: skip


def test_a_streamed_order_tells_its_fill_before_its_state() -> None:
    fill, report = messages.push_events(push("orders", ORDER, instType="SWAP"), 0.0)
    assert fill == Fill(
        trade_id="BTC-USDT-SWAP:77", venue_id="312", client_id="i1L0A0", instrument=SWAP, size=Decimal(-1),
        price=Decimal(60001), fee=Decimal("-0.3"), fee_currency="USDT", ts=1_700_000_000_004,
    )  # fmt: skip
    assert report == OrderReport(
        "i1L0A0", "312", SWAP, OrderState.LIVE, Decimal(2), Decimal("60000.5"), 1_700_000_000_005
    )


def test_an_order_without_a_fill_tells_its_state_alone() -> None:
    row = {**ORDER, "tradeId": "", "fillSz": "0", "fillPx": "", "accFillSz": "0", "avgPx": "", "state": "canceled",
           "cancelSource": "31", "cancelSourceReason": "post only would cross"}  # fmt: skip
    (report,) = messages.push_events(push("orders", row, instType="SWAP"), 0.0)
    assert isinstance(report, OrderReport)
    assert report.state is OrderState.CANCELLED and report.filled == 0 and report.average is None
    assert (report.code, report.message) == ("31", "post only would cross")


def test_what_the_exchange_did_by_itself_is_told() -> None:
    (_, report) = messages.push_events(push("orders", {**ORDER, "clOrdId": "", "category": "adl"}), 0.0)
    assert isinstance(report, OrderReport) and report.message == "adl" and report.client_id == ""
    fill, report = messages.push_events(push("orders", {**ORDER, "algoId": "9", "algoClOrdId": "stop1"}), 0.0)
    assert isinstance(fill, Fill) and fill.algo_id == "stop1"
    assert isinstance(report, OrderReport) and report.algo_id == "stop1"


def test_a_listed_fill_is_the_streamed_one() -> None:
    listed = {
        "instId": SWAP, "tradeId": "77", "ordId": "312", "clOrdId": "i1L0A0", "fillPx": "60001", "fillSz": "1",
        "side": "sell", "execType": "T", "fee": "-0.3", "feeCcy": "USDT", "ts": "1700000000004", "fillTime": "",
    }  # fmt: skip
    assert messages.listed_fill(listed) == messages.streamed_fill(ORDER)


def test_trades_of_two_instruments_may_share_a_number() -> None:
    other = messages.streamed_fill({**ORDER, "instId": "ETH-USDT-SWAP"})
    assert other is not None and other.trade_id != "BTC-USDT-SWAP:77"


def test_the_account_in_its_currency() -> None:
    row = {"uTime": "9", "details": [
        {"ccy": "BTC", "eq": "1", "cashBal": "1", "availEq": "1"},
        {"ccy": "USDT", "eq": "105", "cashBal": "100", "availEq": "80"},
    ]}  # fmt: skip
    found = messages.balance(row)
    assert found == Balance("USDT", Decimal(100), Decimal(105), Decimal(80), 9)
    assert messages.balance({"uTime": "9", "details": []}).cash == 0


def test_a_flat_position_has_no_average() -> None:
    found = messages.position({"instId": SWAP, "posSide": "net", "pos": "0", "avgPx": "", "uTime": "3"})
    assert found == Position(SWAP, Decimal(0), Decimal(0), 3)


@pytest.mark.parametrize(
    ("kind", "meaning"), [("8", BillKind.FUNDING), ("2", BillKind.TRADE), ("77", BillKind.OTHER)]
)
def test_a_bill(kind: str, meaning: BillKind) -> None:
    row = {"billId": "5", "ts": "1", "type": kind, "instId": SWAP, "ccy": "USDT", "balChg": "-0.5", "bal": "99.5",
           "pnl": "0", "fee": "-0.5", "tradeId": "77"}  # fmt: skip
    found = messages.bill(row)
    assert (found.kind, found.change, found.balance, found.trade_id) == (
        meaning, Decimal("-0.5"), Decimal("99.5"), "BTC-USDT-SWAP:77",
    )  # fmt: skip


@pytest.mark.parametrize(
    "row",
    [
        {"makerU": "-0.0002", "takerU": "-0.0005", "maker": "", "taker": ""},
        {"maker": "-0.0002", "taker": "-0.0005"},
        {"feeGroup": [{"maker": "-0.0002", "taker": "-0.0005"}]},
    ],
)
def test_a_fee_paid_is_positive(row: dict[str, Any]) -> None:
    assert messages.fee_rates(row) == (Decimal("0.0002"), Decimal("0.0005"))


def test_an_order_travels_as_exact_text_with_its_expiry() -> None:
    order = Order(
        "i1L0A0", "i1", 0, 0, SWAP, Decimal("-1E+2"), OrderType.POST_ONLY, 1234, Decimal("0.00000010"), True
    )
    assert messages.place_request(order) == {
        "instId": SWAP, "tdMode": "cross", "clOrdId": "i1L0A0", "tag": "cockpit", "side": "sell",
        "ordType": "post_only", "sz": "100",
        "px": "0.00000010", "reduceOnly": "true", "expTime": "1234",
    }  # fmt: skip


def test_a_protection_is_a_reduce_only_stop_on_the_mark() -> None:
    request = messages.protect_request(Protection("p1", SWAP, Decimal("-2"), Decimal("50000")))
    assert request["slTriggerPxType"] == "mark" and request["slOrdPx"] == "-1" and request["reduceOnly"] == "true"
    assert (request["side"], request["sz"], request["slTriggerPx"]) == ("sell", "2", "50000")
    shown = {**request, "algoId": "44"}
    assert messages.protection(shown) == Protection("p1", SWAP, Decimal(-2), Decimal(50000), "44")
