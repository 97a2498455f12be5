"""What is refused, with OKX's codes. None of these checks changes anything."""

import re
from decimal import Decimal

from core.domain.instrument import Instrument
from core.domain.orders import OrderType
from core.matching.money import sane
from core.matching.order_book import OrderBook
from core.matching.types import Place, PlaceTrigger

_CLIENT_ID = re.compile(r"[A-Za-z0-9]{0,32}")


class Refusal(Exception):
    """A command is refused: `code` as on OKX, and why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def check_client_id(client_id: str) -> None:
    if not _CLIENT_ID.fullmatch(client_id):
        raise Refusal("51000", f"Parameter clOrdId error: {client_id!r} is not 1 to 32 letters and digits")


def check_size(instrument: Instrument, size: Decimal, market_order: bool) -> None:
    if not sane(size):
        raise Refusal("51000", f"Parameter sz error: {size}")
    if abs(size) < instrument.min_size:
        raise Refusal("51020", f"{instrument.id}: order of {abs(size)} is below the minimum {instrument.min_size}")
    if size % instrument.lot:
        raise Refusal(
            "51121", f"{instrument.id}: order quantity {abs(size)} is no multiple of lot {instrument.lot}"
        )
    if market_order and abs(size) > instrument.max_market_size:
        raise Refusal(
            "51202",
            f"{instrument.id}: market order of {abs(size)} exceeds the maximum {instrument.max_market_size}",
        )


def check_price(book: OrderBook, place: Place) -> None:
    """Limit prices: on tick, and no further than the price band to the side where they would trade."""
    if place.type is OrderType.MARKET:
        return
    price, tick = place.price, book.instrument.tick
    if price is None or not sane(price) or price <= 0:
        raise Refusal("51000", f"Parameter px error: {place.type} order of {place.instrument} with price {price}")
    if price % tick:
        raise Refusal("51006", f"{place.instrument}: price {price} is no multiple of tick {tick}")
    buy = place.size > 0
    worst = book.limit(buy)
    if price > worst if buy else price < worst:
        side, bound = ("buy", "most") if buy else ("sell", "least")
        raise Refusal(
            "51006", f"{place.instrument}: price {price} to {side} is outside the limit, at {bound} {worst}"
        )


def check_trigger(book: OrderBook, order: PlaceTrigger) -> None:
    """A stop lies beyond the mark: above it to buy, below it to sell."""
    trigger, tick = order.trigger, book.instrument.tick
    if not sane(trigger) or trigger <= 0:
        raise Refusal("51000", f"Parameter slTriggerPx error: {trigger}")
    if trigger % tick:
        raise Refusal("51006", f"{order.instrument}: trigger price {trigger} is no multiple of tick {tick}")
    if order.size > 0 and trigger <= book.mark:
        raise Refusal("51278", f"{order.instrument}: stop to buy at {trigger} is not above the mark {book.mark}")
    if order.size < 0 and trigger >= book.mark:
        raise Refusal("51280", f"{order.instrument}: stop to sell at {trigger} is not below the mark {book.mark}")
