"""What goes into a step of the matching core and what comes out. All times are market time, ms UTC."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from core.domain.account import Bill, Position
from core.domain.orders import Fill, OrderReport, OrderType


class Place(msgspec.Struct, frozen=True, gc=False):
    """`size` signed contracts. `client_id` may be empty."""

    client_id: str
    instrument: str
    size: Decimal
    type: OrderType
    price: Decimal | None = None
    reduce_only: bool = False
    tag: str = ""


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """By venue id, or by client id among pending orders."""

    instrument: str
    venue_id: str = ""
    client_id: str = ""


class PlaceTrigger(msgspec.Struct, frozen=True, gc=False):
    """A stop-only trigger order: when the mark reaches `trigger`, a market order of `size` is sent."""

    client_id: str
    instrument: str
    size: Decimal
    trigger: Decimal
    reduce_only: bool = True


class CancelTrigger(msgspec.Struct, frozen=True, gc=False):
    instrument: str
    venue_id: str = ""
    client_id: str = ""


class SetLeverage(msgspec.Struct, frozen=True, gc=False):
    instrument: str
    leverage: Decimal


class SettleFunding(msgspec.Struct, frozen=True, gc=False):
    """Settle `rate` (of one period) on the open position at the mark: a long pays a positive rate."""

    instrument: str
    rate: Decimal


Command = Place | Cancel | PlaceTrigger | CancelTrigger | SetLeverage | SettleFunding


Levels = Sequence[tuple[Decimal, Decimal]]
"""(price, contracts) of one side of a book, best first."""


class Quote(msgspec.Struct, frozen=True, gc=False):
    """The market moved: mark (and last) price of an instrument, and its order book: the (bids, asks) of `book`, or
    levels around the mark, their depth made from `turnover`, the value traded per bar."""

    instrument: str
    mark: Decimal
    turnover: float = 0.0
    book: tuple[Levels, Levels] | None = None


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """A command was refused with one of OKX's codes; it has had no effect."""

    command: Command
    code: str
    message: str


class Trigger(msgspec.Struct, frozen=True, gc=False):
    """A trigger order's state: live, effective (fired; `order_id` is the order it sent), canceled, order_failed."""

    venue_id: str
    client_id: str
    instrument: str
    size: Decimal
    trigger: Decimal
    state: str
    ts: int
    order_id: str = ""
    reduce_only: bool = True


Event = OrderReport | Fill | Position | Bill | Trigger | Rejected
