"""OKX v5 dictionaries to domain types and back: pure functions.

Every value OKX sends is a string and `""` means missing. Decimals are made from these strings, never through
floats. Fees keep OKX's own sign (negative: paid), which is the domain's. Field names follow OKX's API
documentation, https://www.okx.com/docs-v5/en/.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

from core.domain.account import Balance, Bill, BillKind, Position
from core.domain.instrument import Instrument
from core.domain.market import Candle, Funding, Mark, Ticker
from core.domain.orders import Fill, Order, OrderReport, OrderState, OrderType, Protection
from core.venues.port import VenueEvent

Raw = Mapping[str, Any]

CURRENCY = "USDT"
HOUR_MS = 3_600_000
EIGHT_HOURS_MS = 8 * HOUR_MS

BARS = {
    "1m": ("1m", 60_000),
    "5m": ("5m", 300_000),
    "15m": ("15m", 900_000),
    "30m": ("30m", 1_800_000),
    "1h": ("1H", HOUR_MS),
    "2h": ("2H", 2 * HOUR_MS),
    "4h": ("4H", 4 * HOUR_MS),
    "6h": ("6Hutc", 6 * HOUR_MS),
    "12h": ("12Hutc", 12 * HOUR_MS),
    "1d": ("1Dutc", 24 * HOUR_MS),
}
"""Our names of bars -> (OKX's name, ms). From six hours on OKX's plain names cut the day at Hong Kong's
midnight, so the UTC ones are asked for, by REST and on the stream alike."""

_ORDER_TYPES = {
    OrderType.MARKET: "market",
    OrderType.LIMIT: "limit",
    OrderType.POST_ONLY: "post_only",
    OrderType.IOC: "ioc",
}
_STATES = {
    "live": OrderState.LIVE,
    "partially_filled": OrderState.LIVE,
    "filled": OrderState.FILLED,
    "canceled": OrderState.CANCELLED,
    "mmp_canceled": OrderState.CANCELLED,
}
_BILL_KINDS = {
    "1": BillKind.TRANSFER,
    "2": BillKind.TRADE,
    "5": BillKind.LIQUIDATION,
    "8": BillKind.FUNDING,
    "9": BillKind.ADL,
}


def number(raw: Raw, *names: str) -> Decimal:
    """The first of the named fields that is not missing, as a Decimal; 0 where all are."""
    return next((Decimal(raw[name]) for name in names if raw.get(name)), Decimal(0))


def time_ms(raw: Raw, *names: str) -> int:
    """The first of the named times that is not missing; 0 where all are."""
    return next((int(raw[name]) for name in names if raw.get(name)), 0)


def signed(size: Decimal, side: str) -> Decimal:
    """OKX's unsigned size and side as our signed size."""
    return -size if side == "sell" else size


def side_of(size: Decimal) -> str:
    return "buy" if size > 0 else "sell"


def trade_name(raw: Raw) -> str:
    """OKX counts trades per instrument, so that only both together name one."""
    return f"{raw['instId']}:{raw['tradeId']}" if raw.get("tradeId") else ""


# --- public data -------------------------------------------------------------------------------------


def is_linear(raw: Raw) -> bool:
    """A perpetual settled in its quote currency: the only kind whose contracts count units of the asset."""
    return raw.get("ctType") != "inverse" and raw["instId"].split("-")[1:] == [raw["settleCcy"], "SWAP"]


def instrument(raw: Raw) -> Instrument:
    """From `public/instruments`. baseCcy and quoteCcy are empty for swaps, so the id tells them."""
    asset, quote, _ = raw["instId"].split("-")
    lot = Decimal(raw["lotSz"])
    return Instrument(
        id=raw["instId"],
        asset=asset,
        quote=quote,
        settle=raw["settleCcy"],
        contract=Decimal(raw["ctVal"]) * (number(raw, "ctMult") or 1),
        lot=lot,
        tick=Decimal(raw["tickSz"]),
        min_size=number(raw, "minSz") or lot,
        max_market_size=number(raw, "maxMktSz", "maxLmtSz"),
        max_leverage=number(raw, "lever") or Decimal(1),
    )


def ticker(raw: Raw, received: float) -> Ticker:
    """An empty side of the book is shown as the last price."""
    last = raw["last"]
    return Ticker(
        instrument=raw["instId"],
        ts=int(raw["ts"]),
        bid=Decimal(raw.get("bidPx") or last),
        ask=Decimal(raw.get("askPx") or last),
        last=Decimal(last),
        received=received,
    )


def mark(raw: Raw) -> Mark:
    return Mark(raw["instId"], int(raw["ts"]), Decimal(raw["markPx"]))


def candle(instrument_id: str, row: Sequence[str]) -> Candle | None:
    """`[ts, o, h, l, c, vol, volCcy, volCcyQuote, confirm]`; None while it is still forming.

    `vol` counts contracts, `volCcy` units of the base asset.
    """
    if row[8] != "1":
        return None
    return Candle(
        instrument_id, int(row[0]), float(row[1]), float(row[2]), float(row[3]), float(row[4]), float(row[6])
    )


def funding_due(raw: Raw) -> Funding:
    """From the stream: the rate due at `fundingTime`, for a period up to `nextFundingTime`."""
    due = int(raw["fundingTime"])
    following = time_ms(raw, "nextFundingTime")
    period = following - due if following > due else EIGHT_HOURS_MS
    return Funding(raw["instId"], due, float(raw["fundingRate"]), period)


def funding_history(rows: Iterable[Raw]) -> list[Funding]:
    """Settled rates, oldest first. OKX does not tell the period: it is the time since the settlement before
    (of the first row: until the next), and eight hours at most, since history can have holes."""
    ordered = sorted(rows, key=lambda raw: int(raw["fundingTime"]))
    times = [int(raw["fundingTime"]) for raw in ordered]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    periods = [min(gap, EIGHT_HOURS_MS) for gap in (gaps[:1] or [EIGHT_HOURS_MS]) + gaps]
    return [
        Funding(raw["instId"], ts, float(raw.get("realizedRate") or raw["fundingRate"]), period)
        for raw, ts, period in zip(ordered, times, periods, strict=True)
    ]


# --- orders and the account --------------------------------------------------------------------------


def report(raw: Raw) -> OrderReport:
    """An order as REST and the stream show it. `code` and `message` say why it was cancelled, or that the
    exchange itself is behind it (category: liquidation, ADL)."""
    average = number(raw, "avgPx")
    category = raw.get("category", "")
    return OrderReport(
        client_id=raw.get("clOrdId", ""),
        venue_id=raw["ordId"],
        instrument=raw["instId"],
        state=_STATES[raw["state"]],
        filled=number(raw, "accFillSz"),
        average=average or None,
        ts=time_ms(raw, "uTime", "cTime"),
        code=raw.get("cancelSource", ""),
        message=raw.get("cancelSourceReason") or (category if category not in ("", "normal") else ""),
        algo_id=raw.get("algoClOrdId") or raw.get("algoId", ""),
    )


def streamed_fill(raw: Raw) -> Fill | None:
    """The execution an order's message tells of, if it does."""
    size = number(raw, "fillSz")
    if not raw.get("tradeId") or not size:
        return None
    return Fill(
        trade_id=trade_name(raw),
        venue_id=raw["ordId"],
        client_id=raw.get("clOrdId", ""),
        instrument=raw["instId"],
        size=signed(size, raw["side"]),
        price=Decimal(raw["fillPx"]),
        fee=number(raw, "fillFee"),
        fee_currency=raw.get("fillFeeCcy") or raw.get("feeCcy", ""),
        ts=time_ms(raw, "fillTime", "uTime"),
        maker=raw.get("execType") == "M",
        algo_id=raw.get("algoClOrdId") or raw.get("algoId", ""),
    )


def listed_fill(raw: Raw) -> Fill:
    """From `trade/fills` and `trade/fills-history`."""
    return Fill(
        trade_id=trade_name(raw),
        venue_id=raw["ordId"],
        client_id=raw.get("clOrdId", ""),
        instrument=raw["instId"],
        size=signed(Decimal(raw["fillSz"]), raw["side"]),
        price=Decimal(raw["fillPx"]),
        fee=number(raw, "fee"),
        fee_currency=raw.get("feeCcy", ""),
        ts=time_ms(raw, "fillTime", "ts"),
        maker=raw.get("execType") == "M",
        algo_id=raw.get("algoClOrdId", ""),
    )


def position(raw: Raw) -> Position:
    """Net mode: `pos` is signed."""
    return Position(raw["instId"], number(raw, "pos"), number(raw, "avgPx"), time_ms(raw, "uTime"))


def balance(raw: Raw) -> Balance:
    """From `account/balance` or the account stream; a currency not held is zero."""
    row: Raw = next((row for row in raw["details"] if row["ccy"] == CURRENCY), {})
    return Balance(
        currency=CURRENCY,
        cash=number(row, "cashBal", "eq"),
        equity=number(row, "eq"),
        free=number(row, "availEq", "availBal"),
        ts=time_ms(raw, "uTime"),
    )


def bill(raw: Raw) -> Bill:
    return Bill(
        id=raw["billId"],
        ts=int(raw["ts"]),
        kind=_BILL_KINDS.get(raw["type"], BillKind.OTHER),
        instrument=raw.get("instId", ""),
        currency=raw["ccy"],
        change=number(raw, "balChg"),
        balance=number(raw, "bal"),
        pnl=number(raw, "pnl"),
        fee=number(raw, "fee"),
        trade_id=trade_name(raw),
    )


def protection(raw: Raw) -> Protection:
    return Protection(
        client_id=raw.get("algoClOrdId", ""),
        instrument=raw["instId"],
        size=signed(Decimal(raw["sz"]), raw["side"]),
        trigger=Decimal(raw["slTriggerPx"]),
        venue_id=raw["algoId"],
    )


def fee_rates(raw: Raw) -> tuple[Decimal, Decimal]:
    """(maker, taker) from `account/trade-fee`, where a negative rate is paid: ours is positive."""
    groups = raw.get("feeGroup") or [{}]
    maker = number(raw, "makerU", "maker") or number(groups[0], "maker")
    taker = number(raw, "takerU", "taker") or number(groups[0], "taker")
    return -maker, -taker


# --- requests ----------------------------------------------------------------------------------------


def place_request(order: Order) -> dict[str, str]:
    """The body of `trade/order`; `expTime` becomes a header on the way out (see the transport)."""
    request = {
        "instId": order.instrument,
        "tdMode": "cross",
        "clOrdId": order.client_id,
        "side": side_of(order.size),
        "ordType": _ORDER_TYPES[order.type],
        "sz": format(abs(order.size), "f"),
        "expTime": str(order.expires),
    }
    if order.price is not None:
        request["px"] = format(order.price, "f")
    if order.reduce_only:
        request["reduceOnly"] = "true"
    return request


def protect_request(protection: Protection) -> dict[str, str]:
    """The body of `trade/order-algo`: a stop at market, triggered by the mark price, that can only reduce.

    ccxt adds a random `clOrdId` to algo orders that have none, so it is given the same id.
    """
    return {
        "instId": protection.instrument,
        "tdMode": "cross",
        "side": side_of(protection.size),
        "ordType": "conditional",
        "sz": format(abs(protection.size), "f"),
        "slTriggerPx": format(protection.trigger, "f"),
        "slTriggerPxType": "mark",
        "slOrdPx": "-1",
        "reduceOnly": "true",
        "algoClOrdId": protection.client_id,
        "clOrdId": protection.client_id,
    }


# --- pushes of the streams ---------------------------------------------------------------------------

_NAMES = {"tickers": "ticker", "mark-price": "mark", "funding-rate": "funding"}


def stream_key(arg: Raw) -> str:
    """The name of a subscription everywhere: `ticker:BTC-USDT-SWAP`, `orders`."""
    channel: str = arg["channel"]
    name = "candle" if channel.startswith("candle") else _NAMES.get(channel, channel)
    return f"{name}:{arg['instId']}" if arg.get("instId") else name


def _order_events(raw: Raw) -> Iterable[VenueEvent]:
    """The fill before the report, so that all fills of an order are known when it is said to be done."""
    fill = streamed_fill(raw)
    return (report(raw),) if fill is None else (fill, report(raw))


_READERS: dict[str, Callable[[Raw], VenueEvent]] = {
    "mark-price": mark,
    "funding-rate": funding_due,
    "positions": position,
    "account": balance,
}


def push_events(message: Raw, received: float) -> list[VenueEvent]:
    """The events one `{"arg": ..., "data": [...]}` stands for; `received` is the loop's time in seconds."""
    arg, rows = message["arg"], message["data"]
    channel: str = arg["channel"]
    if channel == "tickers":
        return [ticker(row, received) for row in rows]
    if channel.startswith("candle"):
        closed = (candle(arg["instId"], row) for row in rows)
        return [each for each in closed if each is not None]
    if channel == "orders":
        return [event for row in rows for event in _order_events(row)]
    return [_READERS[channel](row) for row in rows]
