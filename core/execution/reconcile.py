"""Does the ledger tell the same as the exchange? Asked at the start, on reconnect, and on a timer."""

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from itertools import takewhile

import msgspec

from core.domain.account import Balance, Bill, BillKind
from core.domain.errors import UserError
from core.domain.instrument import Instrument
from core.domain.orders import (
    Action,
    Fill,
    Intent,
    Leg,
    Order,
    OrderReport,
    OrderState,
    OrderType,
    Origin,
    base36,
)
from core.execution.journal import Journal
from core.execution.orders import ABSENT_MARGIN_MS, Orders
from core.execution.protection import Guard
from core.portfolio.events import (
    Accepted,
    AnyEvent,
    Billed,
    Commanded,
    Filled,
    Intended,
    Part,
    Protected,
    Repaired,
    Settled,
    Share,
)
from core.portfolio.pairbook import Claim
from core.venues.port import Refused, Venue

ZERO = Decimal(0)
BY_HAND = "manual"
"""The strategy whose books hold what strangers had traded and somebody has adopted."""
CASH_TOLERANCE = Decimal("1e-6")
"""Cash may differ by the exchange's own rounding of each bill; more is a disagreement."""


class Verdict(msgspec.Struct, frozen=True):
    """What reconciliation found, a line each: `differences` that remain (new exposure is refused until none does),
    what it `repaired`, and what is `foreign` (not ours, and left alone)."""

    differences: tuple[str, ...]
    repaired: tuple[str, ...]
    foreign: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        return not self.differences


class Reconciler:
    """Brings the ledger up to what the exchange says, and names what cannot be explained."""

    def __init__(
        self, venue: Venue, journal: Journal, orders: Orders, guard: Guard, instruments: dict[str, Instrument]
    ) -> None:
        self._venue = venue
        self._journal = journal
        self._orders = orders
        self._guard = guard
        self._instruments = instruments
        self._lock = asyncio.Lock()

    async def run(self) -> Verdict:
        """Orders, fills, bills, positions, cash, protections, in the order in which they explain each other.

        One at a time: two that find the same thing unexplained would both explain it."""
        async with self._lock:
            return await self._run()

    async def _run(self) -> Verdict:
        books = self._journal.books
        repaired = []
        for record in [r for r in books.orders.values() if not r.state.final]:
            unknown = record.state is OrderState.PLANNED
            if await self._orders.inquire(record.order) and unknown:
                repaired.append(f"order {record.order.client_id}: its fate was unknown, it is {record.state}")
        orphans, foreign = await self._resting()
        repaired += orphans
        await self._orders.catch_up()
        await self.bills()
        repaired += await self.adopt()
        differences = [*await self._positions(), *await self._cash()]
        repaired += await self._guard.reconcile(self._instruments)
        now = self._venue.market_ms()
        await self._journal.record(*(Repaired(now, line, "reconciliation") for line in repaired))
        held = [f"{name}: {size} contracts accepted as not ours" for name, size in books.foreign.items() if size]
        return Verdict(tuple(differences), tuple(repaired), (*foreign, *held))

    async def _resting(self) -> tuple[list[str], list[str]]:
        """What rests at the exchange: ours that the ledger holds as ended, or does not know, is an orphan and is
        cancelled (what was repaired); what is not ours is named, and left alone."""
        books = self._journal.books
        orphans, foreign = [], []
        for report in await self._venue.open_orders():
            record = books.orders.get(report.client_id)
            if record is None and not report.client_id.startswith(books.prefix):
                named = f"order {report.client_id or report.venue_id}"
                foreign.append(f"{report.instrument}: {named} rests at the exchange and is not ours")
            elif record is None or record.state.final:
                try:
                    await self._venue.cancel(record.order if record is not None else _unknown(report))
                except Refused:
                    continue  # It has come to its end while we asked.
                said = f"which the ledger holds as {record.state}" if record else "which the ledger does not know"
                orphans.append(f"{report.instrument}: orphaned order {report.client_id}, {said}, cancelled")
        return orphans, foreign

    async def bills(self) -> int:
        """Write the exchange's statement since the last bill known; how many lines were new."""
        books = self._journal.books
        bills = await self._venue.bills(books.last_bill)
        if not bills:
            return 0

        def make() -> list[AnyEvent]:
            return [Billed(bill.ts, bill, self._shares(bill)) for bill in bills if not books.has_bill(bill.id)]

        await self._journal.record_from(make)
        return len(bills)

    def _shares(self, bill: Bill) -> tuple[Share, ...]:
        return self._journal.books.share_funding(bill) if bill.kind is BillKind.FUNDING else ()

    async def adopt(self) -> list[str]:
        """Enter what the exchange did by itself (a fired stop, liquidation, ADL) as its own intents.

        A fill that no order of ours explains, but which takes back what the books hold, is given to the books
        that held it (what strangers are known to hold it takes back first); what is left of it, or adds exposure,
        is foreign: shown, and left alone.
        """
        books, adopted = self._journal.books, []
        for trade_id, fill in list(self._orders.foreign.items()):
            await self._journal.record_from(partial(self._adoption, fill))
            if not books.has_trade(trade_id):
                continue
            del self._orders.foreign[trade_id]
            cause = f"catastrophe order {fill.algo_id}" if fill.algo_id else "the exchange itself"
            adopted.append(f"{fill.instrument}: {fill.size} contracts closed at {fill.price} by {cause}")
        self._orders.judged = frozenset(self._orders.foreign)
        return adopted

    def _adoption(self, fill: Fill) -> list[AnyEvent]:
        """What to write of a fill that no order explains, by what the books hold at this moment."""
        books = self._journal.books
        if books.has_trade(fill.trade_id):
            return []
        theirs = self._taken_back(fill)
        if theirs == fill.size and abs(books.foreign.get(fill.instrument, ZERO)) < abs(theirs):
            return []  # A stranger's round trip that nobody has accepted yet: both its fills are foreign.
        ours = msgspec.structs.replace(fill, size=fill.size - theirs)
        claims, rest = books.split_exchange_fill(ours)
        if rest or not (claims or theirs):
            return []
        events = self._exchange_events(ours, claims) if claims else []
        if theirs:
            why, trades = "taken back by who held it", () if claims else (fill.trade_id,)
            events.append(Accepted(fill.ts, "reconciliation", why, ZERO, ((fill.instrument, theirs),), trades))
        return events

    def _taken_back(self, fill: Fill) -> Decimal:
        """The part of a fill that takes back what strangers held, by what was accepted and their fills before it;
        our own stops never do."""
        books = self._journal.books
        before = takewhile(lambda other: other.trade_id != fill.trade_id, self._orders.foreign.values())
        seen = sum((other.size for other in before if other.instrument == fill.instrument), ZERO)
        foreign = books.foreign.get(fill.instrument, ZERO) + seen
        if foreign * fill.size >= 0 or fill.algo_id.startswith(f"{books.prefix}P"):
            return ZERO
        return min(fill.size, -foreign, key=abs)

    def _exchange_events(self, fill: Fill, claims: tuple[Claim, ...]) -> list[AnyEvent]:
        """The stop that fired, the exchange's own intents, one a book, the fill they explain, then their end."""
        books = self._journal.books
        intents = []
        for number, claim in enumerate(claims, books.exchange_intents):
            name = f"{books.prefix}X{base36(number)}"
            legs = (Leg(fill.instrument, claim.size),)
            reason = "catastrophe stop" if fill.algo_id else "liquidation or deleveraging"
            intents.append(
                Intent(name, fill.ts, claim.strategy, claim.pair, Action.CLOSE, Origin.EXCHANGE, legs, reason)
            )
        parts = tuple(Part(i.id, 0, claim.size, claim.fee) for i, claim in zip(intents, claims, strict=True))
        held = books.protections.get(fill.instrument)
        fired = [held] if held is not None and held.client_id == fill.algo_id else []
        return [
            *(Protected(fill.ts, protection, "fired") for protection in fired),
            *(Intended(fill.ts, intent, barred=True) for intent in intents),
            Filled(fill.ts, fill, parts),
            *(Settled(fill.ts, intent.id, "done") for intent in intents),
        ]

    async def _positions(self) -> list[str]:
        """Instruments of which the exchange holds another number of contracts than books and strangers together."""
        books = self._journal.books
        found = await self._beyond()
        self._orders.mystery = {
            name: size - self._orders.strangers(name) + books.foreign.get(name, ZERO)
            for name, size in found.items()
        }
        lines = []
        for name, more in found.items():
            known = books.net(name) + books.foreign.get(name, ZERO)
            lines.append(f"{name}: the exchange holds {known + more} contracts, the books {books.net(name)}")
        return lines

    async def _beyond(self) -> dict[str, Decimal]:
        """Signed contracts by instrument that the exchange holds beyond the books and what was accepted."""
        books = self._journal.books
        theirs = {p.instrument: p.size for p in await self._venue.positions()}
        names = sorted({*theirs, *books.account.open, *books.foreign})
        found = {n: theirs.get(n, ZERO) - books.net(n) - books.foreign.get(n, ZERO) for n in names}
        return {name: more for name, more in found.items() if more}

    async def _cash(self) -> list[str]:
        balance, cash = await self._venue.balance(), self._journal.books.cash
        if abs(balance.cash - cash) <= CASH_TOLERANCE or abs(await self._more(balance)) <= CASH_TOLERANCE:
            return []
        return [f"cash: the exchange says {balance.cash} {balance.currency}, the ledger {cash}"]

    async def _more(self, balance: Balance) -> Decimal:
        """Cash that the exchange has beyond the ledger. Fills may be written in another order than they were made;
        where some open and some close, the average cost of what is left, and by as much what was realised, then
        differ until all is closed: that much is no disagreement."""
        books = self._journal.books
        more = balance.cash - books.cash
        for theirs in await self._venue.positions():
            ours = books.account.open.get(theirs.instrument)
            if ours is not None and ours.size == theirs.size:
                more -= theirs.size * ours.contract * theirs.average - ours.cost
        return more

    # -- what a person decides -----------------------------------------------------------------------

    async def accept(self, who: str, why: str) -> str:
        """Take what the exchange tells beyond the books as known and not ours: a ledger event names who says so and
        why. In words what it was. UserError: there is nothing, or orders of ours may yet explain it."""
        async with self._lock:
            books = self._journal.books
            self._refuse_in_doubt()
            await self._orders.catch_up()
            await self.bills()
            await self.adopt()
            fills, positions = books.fills, await self._beyond()
            balance = await self._venue.balance()
            cash = balance.cash - books.cash
            cash = cash if abs(cash) <= CASH_TOLERANCE else await self._more(balance)
            self._refuse_in_doubt()
            if fills != books.fills:
                raise UserError("accept: a fill of ours came in meanwhile; look again, and ask again")
            if not positions and abs(cash) <= CASH_TOLERANCE:
                raise UserError("accept: ledger and exchange agree, there is nothing to accept")
            now = self._venue.market_ms()
            moved = tuple(positions.items())
            text = ", ".join([f"{cash:+} {balance.currency}", *(f"{size:+} {name}" for name, size in moved)])
            event = Accepted(now, who, why, cash, moved, tuple(self._orders.foreign))
            await self._journal.record(Commanded(now, "accept", f"{text} ({why})", who), event)
            self._orders.foreign.clear()
            self._orders.mystery.clear()
            return text

    def _refuse_in_doubt(self) -> None:
        """An order that is at work, or may still arrive, could explain a difference."""
        now = self._venue.server_ms()
        for record in self._journal.books.orders.values():
            late = record.state is OrderState.PLANNED and now > record.order.expires + ABSENT_MARGIN_MS
            if not (record.state.final or late):
                raise UserError(f"accept: order {record.order.client_id} is at work; ask again when it has ended")

    async def take_over(self, who: str, why: str, take: Callable[[], str]) -> str:
        """Enter the fills of strangers as trades by hand: books of the strategy `manual`, one an asset, hold what
        they hold, and are protected and closed like any other. `take` gives the names of intents.

        UserError: there is none that could be taken over."""
        async with self._lock:
            await self._orders.catch_up()
            books, fills = self._journal.books, sorted(self._orders.foreign.values(), key=lambda fill: fill.ts)
            fills = [fill for fill in fills if fill.instrument in self._instruments]
            if not fills:
                raise UserError(
                    "adopt: no fill of a stranger is known that could be taken over; what the account held before"
                    " the ledger began can only be accepted (cockpit accept)"
                )
            if any(fill.fee_currency != books.currency for fill in fills if fill.fee):
                raise UserError(f"adopt: fees were paid in another currency than {books.currency}: cockpit accept")
            now, text = self._venue.market_ms(), ", ".join(f"{f.size:+} {f.instrument} at {f.price}" for f in fills)
            events = self._by_hand(fills, why, take)
            await self._journal.record(Commanded(now, "adopt", f"{text} ({why})", who), *events)
            for fill in fills:
                del self._orders.foreign[fill.trade_id]
        for fill in fills:
            await self._guard.keep(self._instruments[fill.instrument])
        return text

    def _by_hand(self, fills: Sequence[Fill], why: str, take: Callable[[], str]) -> list[AnyEvent]:
        events: list[AnyEvent] = []
        held: dict[str, Decimal] = {}
        for fill in fills:
            asset = self._instruments[fill.instrument].asset
            if asset not in held:
                book = self._journal.books.book(BY_HAND, asset)
                held[asset] = book.legs[0].size if book is not None else ZERO
            action = Action.CLOSE if held[asset] * fill.size < 0 else Action.OPEN
            held[asset] += fill.size
            legs, side = (Leg(fill.instrument, fill.size),), 1 if fill.size > 0 else -1
            intent = Intent(take(), fill.ts, BY_HAND, asset, action, Origin.MANUAL, legs, why, (0,), side)
            parts = (Part(intent.id, 0, fill.size, fill.fee),)
            events += [
                Intended(fill.ts, intent),
                Filled(fill.ts, fill, parts),
                Settled(fill.ts, intent.id, "done", "adopted"),
            ]
        return events


def _unknown(report: OrderReport) -> Order:
    """An order of ours that the ledger does not know, as far as it takes to cancel it."""
    return Order(report.client_id, "", 0, 0, report.instrument, ZERO, OrderType.LIMIT, 0)
