"""OKX's words for our types: every value a string, "" for what is missing, fees negative where paid.

Field names and codes follow https://www.okx.com/docs-v5/en/.
"""

from collections.abc import Sequence
from decimal import Decimal

from core.domain.account import Bill, BillKind
from core.domain.instrument import Instrument
from core.domain.orders import Fill, OrderState
from core.matching.records import Record
from core.matching.types import Trigger

Body = dict[str, object]
ZERO = Decimal(0)

BARS = {
    60_000: "1m",
    180_000: "3m",
    300_000: "5m",
    900_000: "15m",
    1_800_000: "30m",
    3_600_000: "1H",
    7_200_000: "2H",
    14_400_000: "4H",
    21_600_000: "6Hutc",
    43_200_000: "12Hutc",
    86_400_000: "1Dutc",
}
"""OKX's name of each bar length (ms); of six hours and longer, the one aligned to UTC."""

BILL_TYPES = {
    BillKind.TRANSFER: ("1", "11"),
    BillKind.TRADE: ("2", "1"),
    BillKind.LIQUIDATION: ("5", "102"),
    BillKind.FUNDING: ("8", "173"),
    BillKind.ADL: ("9", "125"),
    BillKind.OTHER: ("13", ""),
}


def number(value: Decimal | float) -> str:
    """A number without exponent and without trailing zeros."""
    exact = value if isinstance(value, Decimal) else Decimal(repr(float(value)))
    text = format(exact, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def instrument(spec: Instrument, position: int) -> Body:
    """A row of public/instruments."""
    return {
        "instType": "SWAP",
        "instId": spec.id,
        "instIdCode": str(10_000 + position),
        "instFamily": f"{spec.asset}-{spec.quote}",
        "uly": f"{spec.asset}-{spec.quote}",
        "baseCcy": "",
        "quoteCcy": "",
        "settleCcy": spec.settle,
        "ctVal": number(spec.contract),
        "ctMult": "1",
        "ctValCcy": spec.asset,
        "ctType": "linear",
        "lever": number(spec.max_leverage),
        "tickSz": number(spec.tick),
        "lotSz": number(spec.lot),
        "minSz": number(spec.min_size),
        "maxMktSz": number(spec.max_market_size),
        "maxLmtSz": "100000000",
        "state": "live",
        "ruleType": "normal",
        "category": "1",
        "listTime": "1573557408000",
        "expTime": "",
        "optType": "",
        "stk": "",
        "alias": "",
    }


def candle(row: tuple[int, float, float, float, float, float], contract: Decimal, closed: bool) -> list[str]:
    """[ts, o, h, l, c, vol (contracts), volCcy (base), volCcyQuote, confirm]."""
    ts, o, h, low, c, volume = row
    sizes = (volume / float(contract), volume, volume * c)
    return [str(ts), *(number(x) for x in (o, h, low, c, *sizes)), "1" if closed else "0"]


def ticker(spec: Instrument, ts: int, last: Decimal, bid: Sequence[Decimal], ask: Sequence[Decimal],
           day: tuple[float, float, float, float]) -> Body:  # fmt: skip
    """`bid` and `ask` are (price, contracts); `day` is (open, high, low, base volume) of 24 hours."""
    opened, high, low, volume = day
    return {
        "instType": "SWAP",
        "instId": spec.id,
        "last": number(last),
        "lastSz": number(spec.lot),
        "askPx": number(ask[0]),
        "askSz": number(ask[1]),
        "bidPx": number(bid[0]),
        "bidSz": number(bid[1]),
        "open24h": number(opened),
        "high24h": number(high),
        "low24h": number(low),
        "volCcy24h": number(volume),
        "vol24h": number(volume / float(spec.contract)),
        "sodUtc0": "",
        "sodUtc8": "",
        "ts": str(ts),
    }


def fill(one: Fill, order: Body, bill_id: str) -> Body:
    """A row of trade/fills; `order` is the order it belongs to."""
    return {
        "instType": "SWAP",
        "instId": one.instrument,
        "tradeId": one.trade_id,
        "ordId": one.venue_id,
        "clOrdId": one.client_id,
        "billId": bill_id or one.trade_id,
        "tag": order["tag"],
        "fillPx": number(one.price),
        "fillSz": number(abs(one.size)),
        "side": side(one.size),
        "posSide": "net",
        "execType": "M" if one.maker else "T",
        "fee": number(one.fee),
        "feeCcy": one.fee_currency,
        "ts": str(one.ts),
        "fillTime": str(one.ts),
    }


def bill(one: Bill, cause: Fill | None) -> Body:
    """A row of account/bills; `cause` is the execution behind a trade's bill."""
    kind, sub = BILL_TYPES[one.kind]
    return {
        "billId": one.id,
        "ts": str(one.ts),
        "type": kind,
        "subType": sub,
        "instType": "SWAP" if one.instrument else "",
        "instId": one.instrument,
        "ccy": one.currency,
        "balChg": number(one.change),
        "bal": number(one.balance),
        "posBalChg": "0",
        "posBal": "0",
        "pnl": number(one.pnl),
        "fee": number(one.fee),
        "tradeId": one.trade_id,
        "ordId": cause.venue_id if cause else "",
        "clOrdId": cause.client_id if cause else "",
        "mgnMode": "cross" if one.instrument else "",
        "sz": number(abs(cause.size)) if cause else "",
        "px": number(cause.price) if cause else "",
        "execType": ("M" if cause.maker else "T") if cause else "",
        "from": "",
        "to": "",
        "notes": "",
        "tag": "",
    }


def order(record: Record, algo_id: str) -> Body:
    """A row of trade/orders-pending, without the last fill; `algo_id` is the venue's id of the trigger order it
    came from. A reduce-only order shows the size it was cut to."""
    place, report = record.place, record.report
    return {
        "instType": "SWAP",
        "instId": report.instrument,
        "ordId": report.venue_id,
        "clOrdId": report.client_id,
        "algoId": algo_id,
        "algoClOrdId": report.algo_id,
        "tag": place.tag,
        "ordType": place.type.value,
        "side": side(place.size),
        "posSide": "net",
        "tdMode": "cross",
        "ccy": "",
        "lever": "",
        "sz": number(abs(record.size)),
        "px": number(place.price) if place.price is not None else "",
        "reduceOnly": "true" if place.reduce_only else "false",
        "state": state(report.state, report.filled),
        "accFillSz": number(report.filled),
        "avgPx": number(report.average) if report.average else "",
        "fee": number(record.fee),
        "feeCcy": "USDT",
        "rebate": "0",
        "rebateCcy": "USDT",
        "pnl": "0",
        "category": "normal",
        "cancelSource": report.code if report.state is OrderState.CANCELLED else "",
        "cancelSourceReason": report.message if report.state is OrderState.CANCELLED else "",
        "attachAlgoOrds": [],
        **NO_FILL,
        "cTime": str(record.created),
        "uTime": str(report.ts),
    }


NO_FILL: Body = {
    "tradeId": "",
    "fillPx": "",
    "fillSz": "0",
    "fillTime": "",
    "fillFee": "0",
    "fillFeeCcy": "",
    "fillNotionalUsd": "",
    "fillPnl": "0",
    "execType": "",
}
"""The fill fields of an order that a push does not tell a fill of."""


def fill_fields(one: Fill, spec: Instrument) -> Body:
    """The same fields where it does."""
    return {
        "tradeId": one.trade_id,
        "fillPx": number(one.price),
        "fillSz": number(abs(one.size)),
        "fillTime": str(one.ts),
        "fillFee": number(one.fee),
        "fillFeeCcy": one.fee_currency,
        "fillNotionalUsd": number(abs(spec.notional(one.size, one.price))),
        "fillPnl": "0",
        "execType": "M" if one.maker else "T",
    }


def state(of: OrderState, filled: Decimal) -> str:
    """OKX's name of an order's state."""
    if of is OrderState.LIVE:
        return "partially_filled" if filled else "live"
    return "filled" if of is OrderState.FILLED else "canceled"


def trigger(one: Trigger, created: int) -> Body:
    """A row of trade/orders-algo-pending. Stop-only, at the mark, for a market order."""
    return {
        "instType": "SWAP",
        "instId": one.instrument,
        "algoId": one.venue_id,
        "algoClOrdId": one.client_id,
        "clOrdId": "",
        "ordId": one.order_id,
        "ordIdList": [one.order_id] if one.order_id else [],
        "ordType": "conditional",
        "side": side(one.size),
        "posSide": "net",
        "sz": number(abs(one.size)),
        "tdMode": "cross",
        "ccy": "",
        "state": one.state,
        "lever": "",
        "slTriggerPx": number(one.trigger),
        "slTriggerPxType": "mark",
        "slOrdPx": "-1",
        "tpTriggerPx": "",
        "tpTriggerPxType": "",
        "tpOrdPx": "",
        "triggerPx": "",
        "triggerPxType": "",
        "ordPx": "",
        "reduceOnly": "true" if one.reduce_only else "false",
        "actualPx": "",
        "actualSz": number(abs(one.size)) if one.order_id else "0",
        "actualSide": "sl" if one.order_id else "",
        "triggerTime": str(one.ts) if one.order_id else "",
        "failCode": "1" if one.state == "order_failed" else "",
        "tag": "",
        "cTime": str(created),
        "uTime": str(one.ts),
    }


def side(size: Decimal) -> str:
    return "buy" if size > 0 else "sell"
