"""The fold: everything the engine knows of itself, made from the ledger's events and from nothing else.

Live, each event is applied after it has been written; a restart applies them all again and is where it was.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal, localcontext
from typing import Any

import msgspec

from core.domain.account import Bill, Book, Closed, Holdings
from core.domain.instrument import Instrument
from core.domain.orders import Action, Fill, Intent, Order, Origin
from core.portfolio.account import Account
from core.portfolio.events import (
    Accepted,
    AnyEvent,
    Billed,
    Decided,
    Filled,
    Intended,
    Killed,
    Loaded,
    Opened,
    Part,
    Planned,
    Protected,
    Reported,
    Settled,
    Share,
    Stepped,
    Switched,
)
from core.portfolio.intents import IntentState, LegProgress, OrderRecord
from core.portfolio.invariant import InvariantError, must
from core.portfolio.money import EXACT, ZERO
from core.portfolio.pairbook import RESIDUE, Claim, PairBook, Traded, share_funding, split_fill
from core.portfolio.protections import Protections
from core.portfolio.restrictions import Restrictions
from core.portfolio.watermarks import Watermarks

__all__ = ["Books", "Claim", "IntentState", "InvariantError", "LegProgress", "OrderRecord"]

OVERLAP_MS = 86_400_000
"""How far before the last fill one may still be missing: sockets break, and instruments share no order."""

Key = tuple[str, str]
"""(strategy, pair): what names a book."""


class Books:
    """The state of one account and its strategies. `apply` is the only way in.

    An event that cannot be is refused with `InvariantError` before it has changed anything.
    """

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        self._instruments = instruments
        self.account = Account(instruments)
        self.prefix = ""
        self.intents: dict[str, IntentState] = {}
        self.intents_made = 0
        """Intents of ours, from which their names are counted; `exchange_intents` counts those the exchange had."""
        self.exchange_intents = 0
        self.orders: dict[str, OrderRecord] = {}
        self.protections = Protections()
        self.foreign: dict[str, Decimal] = {}
        """Contracts of strangers on our account that somebody has accepted, by instrument."""
        self.watermarks = Watermarks()
        self.restrictions = Restrictions(self.watermarks.rebase)
        self.model = ""
        self.curve: list[tuple[int, Decimal]] = []
        """(close time in ms, equity) of each completed step."""
        self.peak = ZERO
        self.bars = self.decisions = self.fills = self.round_trips = 0
        self.last_step = -1
        self.last_bill = ""
        self._traded = Traded()
        self._unsettled: dict[str, Intent] = {}
        self._books: dict[Key, PairBook] = {}
        self._closed: dict[Key, Closed] = {}
        self._decided: dict[str, int] = {}
        self._trades: set[str] = set()
        self._bills: set[str] = set()
        self._client_ids: dict[str, str] = {}
        self._opened = self._last_fill = 0
        # Commanded and Repaired are told, and change nothing.
        self._folds: dict[type[AnyEvent], Callable[[Any], None]] = {
            Opened: self._open,
            Decided: self._decide,
            Intended: self._intend,
            Planned: self._plan,
            Reported: self._report,
            Filled: self._fill,
            Settled: self._settle,
            Billed: self._bill,
            Protected: self.protections.take,
            Accepted: self._accept,
            Switched: self.restrictions.switch,
            Killed: self.restrictions.prove,
            Loaded: self._load,
            Stepped: self._step,
        }

    # -- what readers ask -------------------------------------------------------------------------

    @property
    def currency(self) -> str:
        return self.account.currency

    @property
    def deposit(self) -> Decimal:
        """What was brought in: cash at the opening of the ledger, and transfers since."""
        return self.account.deposit

    @property
    def cash(self) -> Decimal:
        return self.account.cash

    @property
    def realized(self) -> Decimal:
        """Profit of closed contracts of the net positions, before fees and funding."""
        return self.account.realized

    @property
    def fees(self) -> Decimal:
        return self.account.fees

    @property
    def funding(self) -> Decimal:
        return self.account.funding

    def unrealized(self, marks: Mapping[str, Decimal]) -> Decimal:
        """See `Account.unrealized`; `marks` by instrument."""
        return self.account.unrealized(marks)

    def equity(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Cash plus unrealised profit; an instrument without a mark counts at its cost."""
        return self.account.equity(marks)

    def unsettled(self) -> list[Intent]:
        """Intents at work, oldest first."""
        return list(self._unsettled.values())

    def progress(self, intent: str) -> tuple[LegProgress, ...]:
        """How far each leg of an intent has come; of what closes no more is wanted than its book still holds."""
        state = self.intents[intent]
        book = self._books.get((state.intent.strategy, state.intent.pair))
        return state.progress(book.legs if book is not None else {})

    def open_orders(self, intent: str) -> list[Order]:
        """Orders of an intent that something may still come of."""
        return self.intents[intent].open_orders()

    def net(self, instrument: str) -> Decimal:
        """Signed contracts of an instrument, the sum over all books: what the exchange must hold."""
        held = self.account.open.get(instrument)
        return held.size if held is not None else ZERO

    def book(self, strategy: str, pair: str) -> Book | None:
        """The open book of a strategy in a pair; None when it holds nothing there."""
        held = self._books.get((strategy, pair))
        return None if held is None or held.flat else held.freeze(self._instruments)

    def open_books(self) -> list[Book]:
        """All books that hold something, in order of opening."""
        return [held.freeze(self._instruments) for held in self._books.values() if not held.flat]

    def holdings(self, strategy: str, free: Decimal) -> Holdings:
        """What `strategy` may know of its books, with `free` margin."""
        return Holdings(
            books=tuple(book for book in self.open_books() if book.strategy == strategy),
            closed={pair: closed for (owner, pair), closed in self._closed.items() if owner == strategy},
            working={i.pair: i.action for i in self._unsettled.values() if i.strategy == strategy},
            free=free,
        )

    def last_decision(self, strategy: str) -> int:
        """Open time of the last bar a strategy has decided on; -1 before the first."""
        return self._decided.get(strategy, -1)

    def has_trade(self, trade_id: str) -> bool:
        return trade_id in self._trades

    def has_bill(self, bill_id: str) -> bool:
        return bill_id in self._bills

    @property
    def last_fill_ms(self) -> int:
        """Market time before which no fill is missing: a day before the last one booked, or the writing of the
        oldest order that is still open, whichever is earlier; never before the ledger was opened, for what is
        older is in its cash. Fills told again are known by their trade id."""
        pending = (
            record.planned
            for name in self._unsettled
            for records in self.intents[name].orders
            for record in records
            if record.open
        )
        return max(min((self._last_fill - OVERLAP_MS, *pending)), self._opened)

    # -- whose is it ------------------------------------------------------------------------------

    def allocate(self, fill: Fill) -> tuple[Part, ...] | None:
        """The parts of a fill of one of our orders, known by client or venue id; None for any other."""
        record = self._order_of(fill)
        if record is None or record.order.instrument != fill.instrument:
            return None
        return (Part(record.order.intent, record.order.leg, fill.size, fill.fee),)

    def split_exchange_fill(self, fill: Fill) -> tuple[tuple[Claim, ...], Decimal]:
        """(the books' parts, what falls to none) of a fill by the exchange itself; see `split_fill`.

        The caller writes an intent of origin EXCHANGE for each claim, and one Filled whose parts are theirs."""
        if fill.instrument not in self._instruments:
            return (), fill.size
        with localcontext(EXACT):
            return split_fill(self._books.values(), fill, self._instruments[fill.instrument])

    def share_funding(self, bill: Bill) -> tuple[Share, ...]:
        """The shares of a funding bill, by what each book held when it was due; they sum to it exactly."""
        with localcontext(EXACT):
            return share_funding(self._traded.held(self._books.values(), bill.instrument, bill.ts), bill)

    # -- the fold ---------------------------------------------------------------------------------

    def apply(self, event: AnyEvent) -> None:
        """Take in one event, in the ledger's order."""
        must(bool(self.prefix) != isinstance(event, Opened), "the ledger must begin with one Opened", event)
        fold = self._folds.get(type(event))
        if fold is not None:
            with localcontext(EXACT):
                fold(event)

    def check(self) -> None:
        """Audit the whole state against itself; raises `InvariantError`. Costs a pass over all books."""
        with localcontext(EXACT):
            for name, holding in self.account.holdings.items():
                total = sum((b.legs[name].size for b in self._books.values() if name in b.legs), ZERO)
                must(total == holding.size, f"books of {name} sum to {total}, the account holds", holding.size)
            costs = sum((holding.cost for holding in self.account.holdings.values()), ZERO)
            paid = costs - self.account.realized
            must(paid == self.account.flow, f"fills cost {self.account.flow}, the account says", paid)

    def _open(self, event: Opened) -> None:
        must(event.prefix.isalnum(), "a ledger's prefix must be letters and digits", event)
        self.prefix = event.prefix
        self.account.currency = event.currency
        self.account.deposit = self.peak = event.cash
        self.watermarks.transfer(event.cash)
        self.last_bill = event.bill
        self._opened = event.ts

    def _decide(self, event: Decided) -> None:
        self.decisions += 1
        self._decided[event.strategy] = event.bar
        for pair in event.released:
            closed = self._closed.get((event.strategy, pair))
            if closed is not None:
                self._closed[event.strategy, pair] = msgspec.structs.replace(closed, barred=False)

    def _intend(self, event: Intended) -> None:
        intent = event.intent
        must(intent.id not in self.intents, "an intent must be new", intent)
        for leg in intent.legs:
            must(leg.instrument in self._instruments, "an intent must be of known instruments", intent)
        self.intents[intent.id] = IntentState(intent, event.barred)
        self._unsettled[intent.id] = intent
        if intent.origin is Origin.EXCHANGE:
            self.exchange_intents += 1
        else:
            self.intents_made += 1
        held = self._books.get((intent.strategy, intent.pair))
        if held is not None:
            held.barred |= event.barred

    def _plan(self, event: Planned) -> None:
        order = event.order
        state = self._intent(order.intent, event)
        must(order.client_id not in self.orders, "an order must be new", order)
        must(0 <= order.leg < len(state.intent.legs), "an order must be of a leg of its intent", order)
        must(state.intent.legs[order.leg].instrument == order.instrument, "an order must be of its leg", order)
        must(order.attempt == len(state.orders[order.leg]), "attempts must be counted without a gap", order)
        record = OrderRecord(order, event.ts)
        self.orders[order.client_id] = record
        state.orders[order.leg].append(record)

    def _report(self, event: Reported) -> None:
        record = self.orders.get(event.report.client_id)
        if record is None:
            raise InvariantError(f"a report must be of a planned order: {event.report}")
        record.report(event.report)
        if record.venue_id:
            self._client_ids[record.venue_id] = record.order.client_id

    def _fill(self, event: Filled) -> None:
        fill, parts = event.fill, event.parts
        must(fill.trade_id not in self._trades, "a trade must be booked once", fill)
        must(fill.instrument in self._instruments, "a fill must be of a known instrument", fill)
        must(fill.fee_currency == self.currency or not fill.fee, f"fees must be in {self.currency}", fill)
        must(sum((p.size for p in parts), ZERO) == fill.size, "the parts of a fill must sum to its size", event)
        must(sum((p.fee for p in parts), ZERO) == fill.fee, "the parts of a fill must sum to its fee", event)
        for part in parts:
            legs = self._intent(part.intent, event).intent.legs
            must(0 <= part.leg < len(legs), "a part must be of a leg of its intent", event)
            must(legs[part.leg].instrument == fill.instrument, "a part must be of its leg's instrument", event)
        self._trades.add(fill.trade_id)
        self.fills += 1
        self._last_fill = max(self._last_fill, fill.ts)
        self.account.trade(fill.instrument, fill.size, fill.price, fill.fee)
        record = self._order_of(fill)
        if record is not None:
            record.fill(fill)
        for part in parts:
            self._book_part(self.intents[part.intent], part, fill)

    def _book_part(self, state: IntentState, part: Part, fill: Fill) -> None:
        intent = state.intent
        state.filled[part.leg] += part.size
        key = intent.strategy, intent.pair
        held = self._books.get(key)
        if held is None:
            held = self._books[key] = PairBook(intent, self._instruments, fill.ts)
            held.barred = state.barred
        self._traded.add(fill.ts, held, fill.instrument, part.size)
        held.trade(intent, self._instruments[fill.instrument], part, fill.price)
        if state.outcome is not None:
            self._unsettled[intent.id] = state.reopen()  # What comes after the end was not wished: it goes back.

    def _settle(self, event: Settled) -> None:
        state = self._intent(event.intent, event)
        must(state.outcome is None, "an intent must be settled once", event)
        state.settle(event.outcome, event.detail)
        del self._unsettled[event.intent]
        self._retire(state, event)

    def _retire(self, state: IntentState, event: Settled) -> None:
        """A book that has gone flat, with nothing at work on it any more, ends its round trip; what it holds that
        no order can trade becomes residue."""
        intent, key = state.intent, (state.intent.strategy, state.intent.pair)
        held = self._books.get(key)
        busy = any((other.strategy, other.pair) == key for other in self._unsettled.values())
        if held is None or not (held.flat or event.residue) or busy:
            return
        del self._books[key]
        if not held.flat:
            self._leave(held, event.ts)
        if intent.strategy == RESIDUE:
            return
        self.round_trips += 1
        reason = intent.reason if intent.action is Action.CLOSE else f"{state.outcome}: {state.detail}"
        self._closed[key] = Closed(intent.pair, intent.ts, held.intent.side, reason, held.barred, held.intent.z)

    def _leave(self, held: PairBook, ts: int) -> None:
        """What a book cannot trade any more goes to the pair's residue, which belongs to no strategy."""
        key, named = (RESIDUE, held.intent.pair), msgspec.structs.replace(held.intent, strategy=RESIDUE)
        residue = self._books.setdefault(key, PairBook(named, self._instruments, ts))
        self._traded.move(ts, held, residue)
        residue.absorb(held)
        if residue.flat:
            del self._books[key]

    def _bill(self, event: Billed) -> None:
        bill = event.bill
        must(bill.id not in self._bills, "a bill must be booked once", bill)
        total = sum((share.amount for share in event.shares), ZERO)
        must(not event.shares or total == bill.change, "the shares of a bill must sum to it", event)
        self._bills.add(bill.id)
        self.last_bill = bill.id
        self.watermarks.transfer(self.account.bill(bill))
        for share in event.shares:
            held = self._books.get((share.strategy, share.pair))
            if held is not None and held.since < bill.ts:  # Not one opened anew since it was due.
                held.pay(share.amount)

    def _accept(self, event: Accepted) -> None:
        """A stranger's profit is none of ours: it moves what counts as brought in, and the marks with it."""
        self.account.deposit += event.cash
        self.watermarks.transfer(event.cash)
        for name, size in event.positions:
            self.foreign[name] = self.foreign.get(name, ZERO) + size
        self._trades.update(event.trades)

    def _load(self, event: Loaded) -> None:
        self.model = event.bundle

    def _step(self, event: Stepped) -> None:
        self.bars += 1
        self.last_step = event.bar
        self.curve.append((event.ts, event.equity))
        self.peak = max(self.peak, event.equity)
        self.watermarks.step(event.ts, event.equity)

    def _order_of(self, fill: Fill) -> OrderRecord | None:
        return self.orders.get(fill.client_id or self._client_ids.get(fill.venue_id, ""))

    def _intent(self, name: str, event: object) -> IntentState:
        must(name in self.intents, "an intent must stand before what comes of it", event)
        return self.intents[name]
