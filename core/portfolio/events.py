"""The ledger's events. `ts` is market time in ms UTC; money is Decimal.

The tag of each event is its name in the ledger's file: never rename one.
"""

from decimal import Decimal

import msgspec

from core.domain.account import Bill
from core.domain.instrument import Instrument
from core.domain.orders import Fill, Intent, Order, OrderReport, Protection
from core.domain.trading import BY_HAND


class Event(msgspec.Struct, frozen=True, gc=False, tag_field="event"):
    """Something that happened, at market time `ts`."""

    ts: int


class Opened(Event, frozen=True, tag="opened"):
    """The ledger begins: `prefix` starts every client order id made from it, `cash` is what the exchange
    reported in `currency`, after the bill with id `bill`: older bills are in the cash already."""

    prefix: str
    venue: str
    currency: str
    cash: Decimal
    bill: str = ""


class Decided(Event, frozen=True, tag="decided"):
    """A strategy's answer to the bar that opened at `bar`: what it wants, and whose bar after a stop ended.
    `text` is the reason in words when it holds; `missing` are the assets whose candle the bar closed without."""

    bar: int
    strategy: str
    entries: tuple[str, ...]
    exits: tuple[str, ...]
    released: tuple[str, ...]
    text: str
    missing: tuple[str, ...] = ()


class Intended(Event, frozen=True, tag="intended"):
    """An intent. It stands here before any of its orders."""

    intent: Intent
    barred: bool = False


class Planned(Event, frozen=True, tag="planned"):
    """An order about to be sent: from here on its fate is unknown until the exchange says."""

    order: Order


class Reported(Event, frozen=True, tag="reported"):
    """The exchange (or a proof of absence) told the state of one of our orders."""

    report: OrderReport


class Part(msgspec.Struct, frozen=True, gc=False):
    """The part of a fill that belongs to one intent: signed contracts, and its share of the fee."""

    intent: str
    leg: int
    size: Decimal
    fee: Decimal


class Filled(Event, frozen=True, tag="filled"):
    """An execution, attributed: the parts' sizes and fees sum to the fill's."""

    fill: Fill
    parts: tuple[Part, ...]


class Settled(Event, frozen=True, tag="settled"):
    """An intent has come to its end: done, aborted (nothing traded), unwound (a leg failed, the other was
    taken back). A fill that comes later reopens it. `residue`: what its book still holds no order can trade."""

    intent: str
    outcome: str
    detail: str = ""
    residue: bool = False


class Share(msgspec.Struct, frozen=True, gc=False):
    """The part of a bill that belongs to one book."""

    strategy: str
    pair: str
    amount: Decimal


class Billed(Event, frozen=True, tag="billed"):
    """A line of the exchange's statement that is not a trade: funding, transfer, liquidation fee. Trade bills
    are kept too, as the exchange's own word on cash, but move nothing: the fills have done so."""

    bill: Bill
    shares: tuple[Share, ...] = ()


class Protected(Event, frozen=True, tag="protected"):
    """A catastrophe order: state planned (about to be sent), live, cancelled, fired or failed."""

    protection: Protection
    state: str


class Commanded(Event, frozen=True, tag="commanded"):
    """Something a person asked for, and what came of it."""

    name: str
    text: str
    who: str


class Switched(Event, frozen=True, tag="switched"):
    """What one cause makes of the trading state has changed: active (it holds nothing back any more), reducing or
    halted, why, and who said so (empty: a rule). The account's state is the worst of all causes."""

    state: str
    reason: str
    cause: str = BY_HAND
    who: str = ""


class Killed(Event, frozen=True, tag="killed"):
    """The kill switch, pulled by `who`, has done its work: what the exchange said as proof, a line each."""

    who: str
    proof: tuple[str, ...]


class Repaired(Event, frozen=True, tag="repaired"):
    """Ledger and exchange were found to differ, and what was done about it."""

    what: str
    reason: str


class Accepted(Event, frozen=True, tag="accepted"):
    """Somebody (`who`, for the reason `why`) has said that what the exchange tells beyond the books is not
    ours: from here on so much more cash and so many more contracts of strangers are right. `trades` are the fills
    that explain it, as far as they were seen."""

    who: str
    why: str
    cash: Decimal
    positions: tuple[tuple[str, Decimal], ...]
    trades: tuple[str, ...] = ()


class Alarmed(Event, frozen=True, tag="alarmed"):
    """Something that a person must look at: it is being worked on, and has not come right in the usual time."""

    what: str


class Ramped(Event, frozen=True, tag="ramped"):
    """Of all sizes, budgets and limits `share` may be used from here on, and why."""

    share: Decimal
    reason: str


class Listed(Event, frozen=True, tag="listed"):
    """What instruments are like that were not known, or not so, at the last run: contract, lot, tick."""

    instruments: tuple[Instrument, ...]


class Loaded(Event, frozen=True, tag="loaded"):
    """A model bundle went into service."""

    strategy: str
    bundle: str
    trained_until: int


class Stepped(Event, frozen=True, tag="stepped"):
    """The step of the bar that opened at `bar` is complete: equity then, at the marks of its close."""

    bar: int
    equity: Decimal


AnyEvent = (
    Opened
    | Decided
    | Intended
    | Planned
    | Reported
    | Filled
    | Settled
    | Billed
    | Protected
    | Commanded
    | Switched
    | Killed
    | Repaired
    | Accepted
    | Listed
    | Alarmed
    | Ramped
    | Loaded
    | Stepped
)
