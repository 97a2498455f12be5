"""Does the ledger tell the same as the exchange? Asked at the start, on reconnect, and on a timer."""

import asyncio
from decimal import Decimal
from functools import partial

import msgspec

from core.domain.account import Bill, BillKind
from core.domain.instrument import Instrument
from core.domain.orders import Action, Fill, Intent, Leg, OrderState, Origin, base36
from core.execution.journal import Journal
from core.execution.orders import Orders
from core.execution.protection import Guard
from core.portfolio.events import AnyEvent, Billed, Filled, Intended, Part, Protected, Repaired, Settled, Share
from core.portfolio.pairbook import Claim
from core.venues.port import Venue

CASH_TOLERANCE = Decimal("1e-6")
"""Cash may differ by the exchange's own rounding of each bill; more is a disagreement."""


class Verdict(msgspec.Struct, frozen=True):
    """What reconciliation found: `differences` that remain (new exposure is refused until none does), and
    what it `repaired`, a line each."""

    differences: tuple[str, ...]
    repaired: tuple[str, ...]

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
        await self._orders.catch_up()
        # Funding first: what the exchange has closed since had held until it settled.
        await self.bills()
        repaired += await self.adopt()
        differences = [*await self._positions(), *await self._cash()]
        repaired += await self._guard.reconcile(self._instruments)
        now = self._venue.market_ms()
        await self._journal.record(*(Repaired(now, line, "reconciliation") for line in repaired))
        return Verdict(tuple(differences), tuple(repaired))

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
        that held it; what is left of it, or adds exposure, is foreign: shown, and left alone.
        """
        books, adopted = self._journal.books, []
        for trade_id, fill in list(self._orders.foreign.items()):
            await self._journal.record_from(partial(self._adoption, fill))
            if not books.has_trade(trade_id):
                continue
            del self._orders.foreign[trade_id]
            cause = f"catastrophe order {fill.algo_id}" if fill.algo_id else "the exchange itself"
            adopted.append(f"{fill.instrument}: {fill.size} contracts closed at {fill.price} by {cause}")
        return adopted

    def _adoption(self, fill: Fill) -> list[AnyEvent]:
        """What to write of a fill that no order explains, by what the books hold at this moment."""
        claims, rest = self._journal.books.split_exchange_fill(fill)
        if not claims or rest or self._journal.books.has_trade(fill.trade_id):
            return []
        return self._exchange_events(fill, claims)

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
        books = self._journal.books
        theirs = {p.instrument: p.size for p in await self._venue.positions()}
        zero = Decimal(0)
        return [
            f"{name}: the exchange holds {theirs.get(name, zero)} contracts, the books {books.net(name)}"
            for name in sorted({*theirs, *self._instruments})
            if theirs.get(name, zero) != books.net(name)
        ]

    async def _cash(self) -> list[str]:
        balance, cash = await self._venue.balance(), self._journal.books.cash
        if abs(balance.cash - cash) <= CASH_TOLERANCE:
            return []
        return [f"cash: the exchange says {balance.cash} {balance.currency}, the ledger {cash}"]
