"""What is held: positions at the exchange, bills, and the virtual books they sum from."""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

import msgspec

from core.domain.orders import Action


class Position(msgspec.Struct, frozen=True, gc=False):
    """A net position: signed contracts and the average price of what is open (0 when flat)."""

    instrument: str
    size: Decimal
    average: Decimal
    ts: int = 0


class Balance(msgspec.Struct, frozen=True):
    """The exchange's word on one currency: `cash` (settled), `equity` (with unrealised), `free` for margin, and the
    `maintenance` margin of what is held (None: not told)."""

    currency: str
    cash: Decimal
    equity: Decimal
    free: Decimal
    ts: int = 0
    maintenance: Decimal | None = None


class BillKind(StrEnum):
    """OKX bill types 1 transfer, 2 trade, 5 liquidation, 8 funding, 9 ADL; everything else is `OTHER`."""

    TRANSFER = "transfer"
    TRADE = "trade"
    LIQUIDATION = "liquidation"
    FUNDING = "funding"
    ADL = "adl"
    OTHER = "other"


class Bill(msgspec.Struct, frozen=True, gc=False):
    """One line of the exchange's account statement: `change` moved the cash to `balance`.

    change = pnl + fee for a trade. `trade_id` is set for trades."""

    id: str
    ts: int
    kind: BillKind
    instrument: str
    currency: str
    change: Decimal
    balance: Decimal
    pnl: Decimal = Decimal(0)
    fee: Decimal = Decimal(0)
    trade_id: str = ""


class BookLeg(msgspec.Struct, frozen=True, gc=False):
    """One leg of a book: signed contracts, their average entry price, and one contract's units."""

    asset: str
    instrument: str
    size: Decimal
    average: Decimal
    contract: Decimal


class Book(msgspec.Struct, frozen=True, gc=False):
    """A pair held by a strategy: both legs, and what the ledger remembers of its entry.

    `side` is +1 for long the spread (long a, short b), -1 for short. `opened` is the market time of the
    deciding bar's close. `gross` is the entry notional of both legs, `fees` and `funding` are signed sums
    (negative: paid), `realized` what partial closes and unwinds have settled. `slices`: in how many parts it
    was opened, and is closed."""

    strategy: str
    pair: str
    side: int
    opened: int
    legs: tuple[BookLeg, ...]
    z: float
    score: float
    probability: float
    stop: float
    target: float
    gross: Decimal
    realized: Decimal
    fees: Decimal
    funding: Decimal
    intent: str
    slices: int = 1


def book_pnl(book: Book, prices: Mapping[str, float]) -> float:
    """P&L of a book in the quote currency at `prices` (by asset): open legs, what was realised, fees, funding.

    The one definition that stops, targets and screens share."""
    unrealized = sum(float(leg.size * leg.contract) * (prices[leg.asset] - float(leg.average)) for leg in book.legs)
    return unrealized + float(book.realized + book.fees + book.funding)


class Closed(msgspec.Struct, frozen=True, gc=False):
    """The last round trip of a pair: when, why, on which side; `barred` until z has crossed zero, which is
    judged against `z`, that of its entry."""

    pair: str
    ts: int
    side: int
    reason: str
    barred: bool
    z: float = 0.0


class Holdings(msgspec.Struct, frozen=True):
    """What a strategy may know of its books: the open ones, the last closed of each pair, pairs at work.

    `free` is the margin free for new positions in the settlement currency.
    """

    books: tuple[Book, ...]
    closed: dict[str, Closed]
    working: dict[str, Action]
    free: Decimal
