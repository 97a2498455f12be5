"""OKX v5 dictionaries to domain types and back: pure functions.

Every value OKX sends is a string and `""` means missing. Decimals are made from these strings, never through
floats. Fees keep OKX's own sign (negative: paid), which is the domain's. Field names follow OKX's API
documentation, https://www.okx.com/docs-v5/en/.
"""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import pairwise

from core.domain.account import Balance, Bill, BillKind, Position
from core.domain.instrument import Instrument
from core.domain.market import Candle, Funding, Mark, Ticker
from core.domain.orders import Fill, Order, OrderReport, OrderState, OrderType, Protection
from core.venues.okx.fields import Raw as Raw
from core.venues.okx.fields import exact, moment, name, number, positive, real, signed, time_ms, word
from core.venues.port import VenueEvent

CURRENCY = "USDT"
TAG = "cockpit"
"""Marks the orders that the dead-man's switch may cancel. Stops bear none: they must outlive us."""
HOUR_MS = 3_600_000
BILLING_MS = 60_000
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


def side_of(size: Decimal) -> str:
    return "buy" if size > 0 else "sell"


def trade_name(raw: Raw) -> str:
    """OKX counts trades per instrument, so that only both together name one."""
    return f"{word(raw, 'instId')}:{word(raw, 'tradeId')}" if raw.get("tradeId") else ""


# --- public data -------------------------------------------------------------------------------------


def is_linear(raw: Raw) -> bool:
    """A perpetual settled in its quote currency: the only kind whose contracts count units of the asset."""
    return raw.get("ctType") != "inverse" and raw["instId"].split("-")[1:] == [raw["settleCcy"], "SWAP"]


def instrument(raw: Raw) -> Instrument:
    """From `public/instruments`. baseCcy and quoteCcy are empty for swaps, so the id tells them."""
    asset, quote, _ = raw["instId"].split("-")
    lot = positive(raw["lotSz"])
    return Instrument(
        id=raw["instId"],
        asset=asset,
        quote=quote,
        settle=raw["settleCcy"],
        contract=positive(raw["ctVal"]) * (number(raw, "ctMult") or 1),
        lot=lot,
        tick=positive(raw["tickSz"]),
        min_size=number(raw, "minSz") or lot,
        max_market_size=number(raw, "maxMktSz", "maxLmtSz"),
        max_leverage=number(raw, "lever") or Decimal(1),
    )


def listed(raw: Raw) -> tuple[Instrument, str]:
    """An instrument and its state (live, suspend, preopen, test)."""
    return instrument(raw), raw.get("state", "live")


def ticker(raw: Raw, received: float) -> Ticker:
    """An empty side of the book is shown as the last price."""
    last = raw["last"]
    return Ticker(
        instrument=word(raw, "instId"),
        ts=moment(raw["ts"]),
        bid=exact(raw.get("bidPx") or last),
        ask=exact(raw.get("askPx") or last),
        last=positive(last),
        received=received,
    )


def mark(raw: Raw) -> Mark:
    return Mark(word(raw, "instId"), moment(raw["ts"]), positive(raw["markPx"]))


def candle(instrument_id: str, row: Sequence[str]) -> Candle | None:
    """`[ts, o, h, l, c, vol, volCcy, volCcyQuote, confirm]`; None while it is still forming.

    `vol` counts contracts, `volCcy` units of the base asset. ValueError: prices that no candle can have.
    """
    if row[8] != "1":
        return None
    opened, high, low, close, volume = (real(row[column]) for column in (1, 2, 3, 4, 6))
    if not 0 < low <= min(opened, close) <= max(opened, close) <= high or volume < 0:
        raise ValueError(f"{row[1:7]} is no candle")
    return Candle(instrument_id, moment(row[0]), opened, high, low, close, volume)


def funding_due(raw: Raw) -> Funding:
    """From the stream: the rate due at `fundingTime`, for a period up to `nextFundingTime`."""
    due = moment(raw["fundingTime"])
    following = time_ms(raw, "nextFundingTime")
    period = following - due if following > due else EIGHT_HOURS_MS
    return Funding(word(raw, "instId"), due, real(raw["fundingRate"]), period)


def funding_history(rows: Iterable[Raw]) -> list[Funding]:
    """Settled rates, oldest first. OKX does not tell the period: it is the time since the settlement before
    (of the first row: until the next), and eight hours at most, since history can have holes."""
    ordered = sorted(rows, key=lambda raw: moment(raw["fundingTime"]))
    times = [moment(raw["fundingTime"]) for raw in ordered]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    periods = [min(gap, EIGHT_HOURS_MS) for gap in (gaps[:1] or [EIGHT_HOURS_MS]) + gaps]
    return [
        Funding(word(raw, "instId"), ts, real(raw.get("realizedRate") or raw["fundingRate"]), period)
        for raw, ts, period in zip(ordered, times, periods, strict=True)
    ]


# --- orders and the account --------------------------------------------------------------------------


def report(raw: Raw) -> OrderReport:
    """An order as REST and the stream show it. `code` and `message` say why it was cancelled, or that the
    exchange itself is behind it (category: liquidation, ADL)."""
    average = number(raw, "avgPx")
    category = word(raw, "category")
    return OrderReport(
        client_id=word(raw, "clOrdId"),
        venue_id=name(raw, "ordId"),
        instrument=word(raw, "instId"),
        state=_STATES[raw["state"]],
        filled=number(raw, "accFillSz"),
        average=average or None,
        ts=time_ms(raw, "uTime", "cTime"),
        code=word(raw, "cancelSource"),
        message=word(raw, "cancelSourceReason") or (category if category not in ("", "normal") else ""),
        algo_id=word(raw, "algoClOrdId") or word(raw, "algoId"),
    )


def streamed_fill(raw: Raw) -> Fill | None:
    """The execution an order's message tells of, if it does."""
    size = number(raw, "fillSz")
    if not raw.get("tradeId") or not size:
        return None
    return Fill(
        trade_id=trade_name(raw),
        venue_id=name(raw, "ordId"),
        client_id=word(raw, "clOrdId"),
        instrument=word(raw, "instId"),
        size=signed(size, raw["side"]),
        price=positive(raw["fillPx"]),
        fee=number(raw, "fillFee"),
        fee_currency=word(raw, "fillFeeCcy") or word(raw, "feeCcy"),
        ts=time_ms(raw, "fillTime", "uTime"),
        maker=raw.get("execType") == "M",
        algo_id=word(raw, "algoClOrdId") or word(raw, "algoId"),
    )


def listed_fill(raw: Raw) -> Fill:
    """From `trade/fills` and `trade/fills-history`."""
    return Fill(
        trade_id=trade_name(raw),
        venue_id=name(raw, "ordId"),
        client_id=word(raw, "clOrdId"),
        instrument=word(raw, "instId"),
        size=signed(positive(raw["fillSz"]), raw["side"]),
        price=positive(raw["fillPx"]),
        fee=number(raw, "fee"),
        fee_currency=word(raw, "feeCcy"),
        ts=time_ms(raw, "fillTime", "ts"),
        maker=raw.get("execType") == "M",
        algo_id=word(raw, "algoClOrdId"),
    )


def position(raw: Raw) -> Position:
    """Net mode: `pos` is signed."""
    return Position(word(raw, "instId"), number(raw, "pos"), number(raw, "avgPx"), time_ms(raw, "uTime"))


def balance(raw: Raw) -> Balance:
    """From `account/balance` or the account stream; a currency not held is zero."""
    row: Raw = next((row for row in raw["details"] if row["ccy"] == CURRENCY), {})
    return Balance(
        currency=CURRENCY,
        cash=number(row, "cashBal", "eq"),
        equity=number(row, "eq"),
        free=number(row, "availEq", "availBal"),
        ts=time_ms(raw, "uTime"),
        maintenance=number(row, "mmr") if row.get("mmr") else number(raw, "mmr") if raw.get("mmr") else None,
    )


def bill(raw: Raw) -> Bill:
    """Funding is settled at the whole hour and billed within the minute after: `ts` is then the hour, by which it
    is known who held what."""
    ts, kind = moment(raw["ts"]), _BILL_KINDS.get(raw["type"], BillKind.OTHER)
    billed = kind is BillKind.FUNDING and ts % HOUR_MS < BILLING_MS
    return Bill(
        id=str(int(name(raw, "billId"))),
        ts=ts - ts % HOUR_MS if billed else ts,
        kind=kind,
        instrument=word(raw, "instId"),
        currency=word(raw, "ccy"),
        change=number(raw, "balChg"),
        balance=number(raw, "bal"),
        pnl=number(raw, "pnl"),
        fee=number(raw, "fee"),
        trade_id=trade_name(raw),
    )


def protection(raw: Raw) -> Protection:
    return Protection(
        client_id=word(raw, "algoClOrdId"),
        instrument=word(raw, "instId"),
        size=signed(positive(raw["sz"]), raw["side"]),
        trigger=positive(raw["slTriggerPx"]),
        venue_id=name(raw, "algoId"),
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
        "tag": TAG,
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
