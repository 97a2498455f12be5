"""What every REST handler shares: parameters as text, refusals, pages."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

import msgspec

from core.domain.instrument import Instrument
from core.venues.okx_local.exchange import Exchange

DIGITS = 18
"""The longest whole number that a parameter may be: what fits into the store."""

Params = dict[str, str]
Rows = list[object]
Get = Callable[[Exchange, Params], Rows]


class ApiError(Exception):
    """A request refused as a whole: OKX's code and message."""

    def __init__(self, code: str, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


def missing(name: str) -> ApiError:
    return ApiError("50014", f"Parameter {name} can not be empty.")


def wrong(name: str, why: str = "") -> ApiError:
    return ApiError("51000", f"Parameter {name} error{': ' + why if why else ''}")


def needed(params: Params, name: str) -> str:
    value = params.get(name, "")
    if not value:
        raise missing(name)
    return value


def whole(params: Params, name: str, default: int) -> int:
    """A parameter that is an integer."""
    text = params.get(name, "")
    if not text:
        return default
    if len(text) > DIGITS or not text.removeprefix("-").isdecimal():
        raise wrong(name)
    return int(text)


def exact(params: Params, name: str) -> Decimal:
    """A parameter that is a finite decimal number."""
    try:
        value = Decimal(params.get(name, ""))
    except InvalidOperation:
        raise wrong(name) from None
    if not value.is_finite():
        raise wrong(name)
    return value


def limit(params: Params, most: int = 100) -> int:
    return max(1, min(whole(params, "limit", 100), most))


def listed(exchange: Exchange, name: str) -> Instrument:
    """The instrument `name`, which must have a price."""
    position = exchange.market.index.get(name)
    if position is None or exchange.matching.mark(name) is None:
        raise ApiError("51001", f"Instrument ID, Instrument ID code, or Spread ID doesn't exist: {name}")
    return exchange.market.instruments[position]


def parse_items(text: str) -> list[Params]:
    """A JSON object, or an array of them, with every value as text (as OKX takes them)."""
    try:
        raw = msgspec.json.decode(text or "{}", type=dict[str, object] | list[dict[str, object]])
    except (msgspec.DecodeError, RecursionError):
        raise ApiError("50002", "JSON syntax error", 400) from None
    items = raw if isinstance(raw, list) else [raw]
    return [{key: _text(value) for key, value in item.items()} for item in items]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()
