"""Orders: POST paths that trade, and GET paths that tell what became of it.

A POST answers with one acknowledgement an element; `code` is 0 when all were accepted, 1 when none was, 2 between.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

import msgspec

from core.clock import wall_ms
from core.domain.orders import OrderReport, OrderType
from core.matching.types import Cancel, CancelTrigger, Command, Place, PlaceTrigger, Rejected, Trigger
from core.venues.okx_local.api import ApiError, Get, Params, Rows, exact, limit, listed, needed, whole, wrong
from core.venues.okx_local.exchange import Exchange
from core.venues.okx_local.wire import Body

BATCH = 20
_TYPES = {
    "market": OrderType.MARKET,
    "optimal_limit_ioc": OrderType.MARKET,
    "limit": OrderType.LIMIT,
    "post_only": OrderType.POST_ONLY,
    "ioc": OrderType.IOC,
}
_OPEN = ("live", "partially_filled")

T = TypeVar("T")
Act = Callable[[Exchange, Params], Body]
"""Does one element of a request; ApiError refuses it."""


def _signed_size(params: Params) -> Decimal:
    """Contracts, positive to buy."""
    if params.get("tdMode") != "cross":
        raise wrong("tdMode", "the local exchange margins cross")
    if params.get("posSide", "") not in ("", "net"):
        raise wrong("posSide", "the account is in net mode")
    if params.get("side") not in ("buy", "sell"):
        raise wrong("side")
    size = exact(params, "sz")
    if size <= 0:
        raise wrong("sz")
    return size if params["side"] == "buy" else -size


def place(exchange: Exchange, params: Params) -> Body:
    spec = listed(exchange, needed(params, "instId"))
    kind = _TYPES.get(params.get("ordType", ""))
    if kind is None:
        raise wrong("ordType", f"{params.get('ordType', '')!r} is not known here; use one of {', '.join(_TYPES)}")
    if params.get("attachAlgoOrds", "[]") not in ("", "[]"):
        raise wrong("attachAlgoOrds", "the local exchange takes protective orders by trade/order-algo alone")
    command = Place(
        client_id=params.get("clOrdId", ""),
        instrument=spec.id,
        size=_signed_size(params),
        type=kind,
        price=None if kind is OrderType.MARKET else exact(params, "px"),
        reduce_only=params.get("reduceOnly") == "true",
        tag=params.get("tag", ""),
    )
    report = _first(exchange, command, OrderReport)
    return {"ordId": report.venue_id}


def cancel(exchange: Exchange, params: Params) -> Body:
    spec = listed(exchange, needed(params, "instId"))
    if not params.get("ordId") and not params.get("clOrdId"):
        raise ApiError("51407", "Either order ID or client order ID is required.")
    name, client = params.get("ordId", ""), params.get("clOrdId", "")
    report = _first(exchange, Cancel(spec.id, name, "" if name else client), OrderReport)
    return {"ordId": report.venue_id, "clOrdId": report.client_id}


def place_algo(exchange: Exchange, params: Params) -> Body:
    """A stop at market on the mark price: the one trigger order this exchange holds."""
    spec = listed(exchange, needed(params, "instId"))
    if params.get("ordType") != "conditional" or params.get("tpTriggerPx"):
        raise wrong("ordType", "the local exchange holds stop-only conditional orders alone")
    if params.get("slOrdPx") != "-1" or params.get("slTriggerPxType") != "mark":
        raise wrong(
            "slTriggerPxType", "the local exchange fires at the mark price, with a market order (slOrdPx -1)"
        )
    command = PlaceTrigger(
        client_id=params.get("algoClOrdId", ""),
        instrument=spec.id,
        size=_signed_size(params),
        trigger=exact(params, "slTriggerPx"),
        reduce_only=params.get("reduceOnly") == "true",
    )
    return {"algoId": _first(exchange, command, Trigger).venue_id}


def cancel_algo(exchange: Exchange, params: Params) -> Body:
    spec = listed(exchange, needed(params, "instId"))
    name, client = params.get("algoId", ""), params.get("algoClOrdId", "")
    if not name and not client:
        raise ApiError("50015", "Either parameter algoId or algoClOrdId is required.")
    trigger = _first(exchange, CancelTrigger(spec.id, name, "" if name else client), Trigger)
    return {"algoId": trigger.venue_id, "algoClOrdId": trigger.client_id}


def cancel_all_after(exchange: Exchange, params: Params) -> Rows:
    seconds = whole(params, "timeOut", -1)
    if seconds != 0 and not 10 <= seconds <= 120:
        raise wrong("timeOut", "0, or 10 to 120 seconds")
    tag = params.get("tag", "")
    exchange.cancel_all_after(seconds, tag)
    at = str(exchange.server_ms() + 1000 * seconds) if seconds else "0"
    return [{"triggerTime": at, "tag": tag, "ts": str(exchange.server_ms())}]


def _first(exchange: Exchange, command: Command, kind: type[T]) -> T:
    """Obey one command; the first event of `kind` is its own. ApiError where it was refused."""
    events = exchange.obey([command])
    for event in events:
        if isinstance(event, Rejected):
            raise ApiError(event.code, event.message)
    return next(event for event in events if isinstance(event, kind))


def refusal(params: Params, error: ApiError) -> Body:
    """The acknowledgement of an element that was refused."""
    algo = "slTriggerPx" in params or "algoId" in params or "algoClOrdId" in params
    kind, client = ("algoId", "algoClOrdId") if algo else ("ordId", "clOrdId")
    ids = {kind: "", "clOrdId": "", client: params.get(client, "")}
    return {**ids, "tag": params.get("tag", ""), "ts": str(wall_ms()), "sCode": error.code, "sMsg": error.message}


def acknowledge(exchange: Exchange, params: Params, act: Act) -> Body:
    """Do one element; what was refused tells why in sCode and sMsg."""
    try:
        return refusal(params, ApiError("0", "")) | act(exchange, params)
    except ApiError as error:
        return refusal(params, error)


ORDERS: dict[str, Act] = {
    "trade/order": place,
    "trade/batch-orders": place,
    "trade/cancel-order": cancel,
    "trade/cancel-batch-orders": cancel,
    "trade/order-algo": place_algo,
    "trade/cancel-algos": cancel_algo,
}
POST = {"trade/cancel-all-after": cancel_all_after}

EXPIRING = frozenset(("trade/order", "trade/batch-orders"))
"""Paths that obey the request header expTime (ms): later than that, they refuse."""


def _order(exchange: Exchange, params: Params) -> Rows:
    """By ordId, or the latest of that clOrdId."""
    name, client = params.get("ordId", ""), params.get("clOrdId", "")
    if not name and not client:
        raise ApiError("51407", "Either order ID or client order ID is required.")
    spec = listed(exchange, needed(params, "instId"))
    client = "" if name else client
    found = exchange.store.texts("order", id=name, client_id=client, instrument=spec.id, limit=1)
    if not found:
        raise ApiError("51603", "Order does not exist")
    return list(found)


def _orders(exchange: Exchange, params: Params, states: tuple[str, ...]) -> Rows:
    if params.get("instType", "SWAP") not in ("", "SWAP"):
        return []
    asked = params.get("state", "")
    found = exchange.store.texts(
        "order",
        instrument=params.get("instId", ""),
        tags=(asked,) if asked in states else states,
        older_than=params.get("after", ""),
        newer_than=params.get("before", ""),
        begin=whole(params, "begin", 0),
        end=whole(params, "end", 0),
        limit=limit(params),
    )
    types = params.get("ordType", "")
    if not types:
        return list(found)
    return [row for row in found if msgspec.json.decode(row, type=Body)["ordType"] in types.split(",")]


def _pending(exchange: Exchange, params: Params) -> Rows:
    return _orders(exchange, params, _OPEN)


def _history(exchange: Exchange, params: Params) -> Rows:
    needed(params, "instType")
    return _orders(exchange, params, ("filled", "canceled"))


def _fills(exchange: Exchange, params: Params) -> Rows:
    """Pages are by billId, as at OKX."""
    if params.get("instType", "SWAP") not in ("", "SWAP"):
        return []
    found = exchange.store.texts(
        "fill",
        instrument=params.get("instId", ""),
        tags=tuple(filter(None, [params.get("ordId", "")])),
        older_than=params.get("after", ""),
        newer_than=params.get("before", ""),
        begin=whole(params, "begin", 0),
        end=whole(params, "end", 0),
        limit=limit(params),
    )
    return list(found)


def _fills_history(exchange: Exchange, params: Params) -> Rows:
    needed(params, "instType")
    return _fills(exchange, params)


def _algo(exchange: Exchange, params: Params) -> Rows:
    name, client = params.get("algoId", ""), params.get("algoClOrdId", "")
    if not name and not client:
        raise ApiError("50015", "Either parameter algoId or algoClOrdId is required.")
    found = exchange.store.texts("trigger", id=name, client_id="" if name else client, limit=1)
    if not found:
        raise ApiError("51603", "Order does not exist")
    return list(found)


def _algos(exchange: Exchange, params: Params, states: tuple[str, ...]) -> Rows:
    """Only conditional ones exist here."""
    if "conditional" not in needed(params, "ordType").split(","):
        return []
    found = exchange.store.texts(
        "trigger",
        id=params.get("algoId", ""),
        client_id=params.get("algoClOrdId", ""),
        instrument=params.get("instId", ""),
        tags=states,
        older_than=params.get("after", ""),
        newer_than=params.get("before", ""),
        limit=limit(params),
    )
    return list(found)


def _algos_pending(exchange: Exchange, params: Params) -> Rows:
    return _algos(exchange, params, ("live",))


def _algos_history(exchange: Exchange, params: Params) -> Rows:
    if not params.get("state") and not params.get("algoId"):
        raise ApiError("50015", "Either parameter state or algoId is required.")
    ended = ("effective", "canceled", "order_failed")
    return _algos(exchange, params, (params["state"],) if params.get("state") else ended)


GET: dict[str, Get] = {
    "trade/order": _order,
    "trade/orders-pending": _pending,
    "trade/orders-history": _history,
    "trade/orders-history-archive": _history,
    "trade/fills": _fills,
    "trade/fills-history": _fills_history,
    "trade/order-algo": _algo,
    "trade/orders-algo-pending": _algos_pending,
    "trade/orders-algo-history": _algos_history,
}
