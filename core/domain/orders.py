"""Intents, orders and fills: what we want, what we asked the exchange, what it did.

They hold nothing that could lead back to them, so the garbage collector need not follow them (`gc=False`).
"""

from decimal import Decimal
from enum import StrEnum

import msgspec


class Action(StrEnum):
    """What an intent does to its book."""

    OPEN = "open"
    CLOSE = "close"


class Origin(StrEnum):
    """Who wanted it. `EXCHANGE`: done by the exchange itself (liquidation, ADL, a triggered stop)."""

    STRATEGY = "strategy"
    MANUAL = "manual"
    RECOVERY = "recovery"
    EXCHANGE = "exchange"


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"
    POST_ONLY = "post_only"
    IOC = "ioc"


class OrderState(StrEnum):
    """`PLANNED`: in the ledger, fate unknown until the exchange says. The last four are final.

    `ABSENT`: proven never to have reached the exchange (looked up after its expiry had passed).
    """

    final: bool

    PLANNED = "planned"
    LIVE = "live"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    ABSENT = "absent"

    def __init__(self, name: str) -> None:
        self.final = name not in ("planned", "live")


class Leg(msgspec.Struct, frozen=True, gc=False):
    """One leg of an intent: `size` signed contracts of `instrument` to trade."""

    instrument: str
    size: Decimal


class Basis(msgspec.Struct, frozen=True, gc=False):
    """What one leg was decided on: the close of the bar, and the value traded in it (quote currency). Execution is
    judged against it."""

    price: Decimal
    turnover: float


class Intent(msgspec.Struct, frozen=True, gc=False):
    """A wish for one book (strategy, pair), with a leg per instrument of the pair; legs[0] is the base leg.

    `ts` is market time. `stop` and `target` are shares of the pair's gross. `z`, `score` and
    `probability` are those of the deciding bar, kept so that the fold restores the book whole.
    `order` names the order in which the legs are sent: the less liquid one first; `slices`, in how many parts.
    `basis` has one row a leg where a strategy has decided on a bar, and none where somebody else has.
    """

    id: str
    ts: int
    strategy: str
    pair: str
    action: Action
    origin: Origin
    legs: tuple[Leg, ...]
    reason: str
    order: tuple[int, ...] = (0, 1)
    side: int = 0
    stop: float = 0.0
    target: float = 0.0
    z: float = 0.0
    score: float = 0.0
    probability: float = 0.0
    slices: int = 1
    basis: tuple[Basis, ...] = ()


class Order(msgspec.Struct, frozen=True, gc=False):
    """One attempt at one leg. `size` is signed contracts; `expires` is server time in ms, after which
    the exchange must refuse the request (OKX: header `expTime`). `mid` is the middle of best bid and ask as it was
    written, where that was known."""

    client_id: str
    intent: str
    leg: int
    attempt: int
    instrument: str
    size: Decimal
    type: OrderType
    expires: int
    price: Decimal | None = None
    reduce_only: bool = False
    mid: Decimal | None = None


class OrderReport(msgspec.Struct, frozen=True, gc=False):
    """What the exchange says of an order. `filled` is unsigned contracts. `client_id` is empty for orders
    that are not ours; `algo_id` names the trigger order it came from, if any."""

    client_id: str
    venue_id: str
    instrument: str
    state: OrderState
    filled: Decimal
    average: Decimal | None
    ts: int
    code: str = ""
    message: str = ""
    algo_id: str = ""


class Fill(msgspec.Struct, frozen=True, gc=False):
    """One execution. `size` is signed contracts, `fee` is signed (negative: paid), `ts` market time.

    `algo_id` is the client id of the trigger order that caused it, if one did."""

    trade_id: str
    venue_id: str
    client_id: str
    instrument: str
    size: Decimal
    price: Decimal
    fee: Decimal
    fee_currency: str
    ts: int
    maker: bool = False
    algo_id: str = ""


class Protection(msgspec.Struct, frozen=True, gc=False):
    """A stop-only catastrophe order that the exchange holds for one instrument's net position.

    `size` signed contracts it would trade, `trigger` the mark price that fires it."""

    client_id: str
    instrument: str
    size: Decimal
    trigger: Decimal
    venue_id: str = ""


_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


def base36(number: int) -> str:
    """`number` (>= 0) in lower-case base 36: short enough for OKX's 32-character client ids."""
    assert number >= 0, number
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _BASE36[digit] + digits
        if number == 0:
            return digits


def client_id(intent: str, leg: int, attempt: int) -> str:
    """The client order id of an attempt: derived, so that a restart asks for the same one.

    OKX allows 1 to 32 of [A-Za-z0-9].
    """
    name = f"{intent}L{leg}A{base36(attempt)}"
    assert len(name) <= 32 and name.isalnum(), name
    return name
