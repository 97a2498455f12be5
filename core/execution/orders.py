"""Orders: written first, sent second, and never forgotten. Reports and fills come home through here."""

import asyncio
import contextlib
from collections.abc import Callable, Collection
from decimal import Decimal

from core.domain.orders import (
    Fill,
    Intent,
    Order,
    OrderReport,
    OrderState,
    OrderType,
    client_id,
)
from core.execution.failpoint import failpoint
from core.execution.journal import Journal
from core.portfolio.events import AnyEvent, Filled, Planned, Reported
from core.venues.port import Refused, Unknown, Unreachable, Venue, VenueError

ABSENT_MARGIN_MS = 2_000
"""How long after its expiry an order that nobody knows is still asked for, before it counts as absent."""
ZERO = Decimal(0)
SHOWN_MS = 30_000
"""How long after its expiry an order that is nowhere to be found may still have made up for a difference."""
PATIENCE_S = 2.0
"""How long an order may be at work without news before the exchange is asked about it."""


class Orders:
    """Sends the orders of intents, and turns what the exchange says into ledger events."""

    def __init__(self, venue: Venue, journal: Journal, expiry_ms: int) -> None:
        self._venue = venue
        self._journal = journal
        self._expiry_ms = expiry_ms
        self.foreign: dict[str, Fill] = {}
        """Fills that no intent of ours explains, by trade id: for reconciliation to judge."""
        self.judged: frozenset[str] = frozenset()
        """Those of them that reconciliation has judged, and found to be nobody's of ours."""
        self.mystery: dict[str, Decimal] = {}
        """Contracts at the exchange that neither books nor known fills of strangers explain, by instrument, as
        reconciliation last saw them."""
        self.mid: Callable[[str], Decimal | None] = lambda instrument: None
        """The middle of an instrument's best bid and ask now: what its execution is judged by."""
        self._before: dict[str, Decimal] = {}
        """The same as it was when an order was sent, by client id, where there was any."""

    async def send(
        self, intent: Intent, leg: int, size: Decimal, reducing: bool, price: Decimal | None = None
    ) -> None:
        """Place an order for one leg: at `price` one that only waits in the book, else a market order. Returns when
        the exchange has answered or its answer is unknown."""
        books = self._journal.books
        instrument = intent.legs[leg].instrument
        net = books.net(instrument)
        # A fill that nobody has judged yet, or an unexplained difference, may be our own stop, just fired:
        # against that reduce-only holds, and an order that is cut short for it is asked for again.
        theirs = net + books.foreign.get(instrument, ZERO) + self._seen(instrument, self.judged)
        mystery = self.mystery.get(instrument, ZERO)
        attempt = len(books.intents[intent.id].orders[leg])
        order = Order(
            client_id=client_id(intent.id, leg, attempt),
            intent=intent.id,
            leg=leg,
            attempt=attempt,
            instrument=instrument,
            size=size,
            type=OrderType.MARKET if price is None else OrderType.POST_ONLY,
            price=price,
            expires=self._venue.server_ms() + self._expiry_ms,
            # In net mode other books, or strangers, may hold the other side: reduce-only would cut this short.
            reduce_only=reducing and all(held * size < 0 and abs(size) <= abs(held) for held in (net, theirs)),
            mid=self.mid(instrument),
        )
        if mystery:
            self._before[order.client_id] = mystery
        await self._journal.record(Planned(self._venue.market_ms(), order))
        failpoint("planned")
        try:
            report = await self._venue.place(order)
        except Refused as error:
            report = self._refused(order, error)
        except (Unknown, Unreachable):
            return  # It stays planned: its fate is unknown until `inquire` has proven it.
        failpoint("sent")
        await self.report(report)
        failpoint("acknowledged")

    async def withdraw(self, order: Order) -> None:
        """Take a resting order out of the book. What has come of it by then, the exchange tells when asked: whether
        the cancel has arrived is as unknown as whether the order has."""
        with contextlib.suppress(VenueError):
            await self._venue.cancel(order)
        if not self._journal.books.orders[order.client_id].state.final:
            await self.inquire(order)

    async def inquire(self, order: Order) -> bool:
        """Ask the exchange what became of an order; True when its fate is now known and written.

        Absence is believed only when the exchange's clock has passed the expiry by a margin (until then the request
        may still be on its way; afterwards OKX refuses it, see `expTime`), and when pending orders, history, fills
        and the position agree: an exchange may show what an order has done before it shows the order.
        """
        asked_at = self._venue.server_ms()
        try:
            report = await self._venue.order(order.instrument, order.client_id)
            if report is not None:
                await self.report(report)
                if report.filled:
                    await self.catch_up()
                return report.state.final
            if asked_at <= order.expires + ABSENT_MARGIN_MS:
                return False
            await self.catch_up()
            if await self._shows(order, late=asked_at > order.expires + SHOWN_MS):
                return False
        except VenueError:
            return False
        state = self._journal.books.orders[order.client_id]
        if not state.state.final and not state.filled:
            await self.report(self._gone(order, state.state))
        return True

    async def _shows(self, order: Order, late: bool) -> bool:
        """Whether the exchange holds more than is explained, on the side of this order: it may have been filled.

        A difference that was there when it was sent is not counted. Where just this much is gone by now, either the
        order has made up for it or it has been explained since: the first would show elsewhere before it is `late`.
        """
        name = order.instrument
        theirs = sum((p.size for p in await self._venue.positions() if p.instrument == name), ZERO)
        more = theirs - self._journal.books.net(name) - self.strangers(name)
        since = more - self._before.get(order.client_id, ZERO)
        return since * order.size > 0 and (more * order.size > 0 or not late)

    def strangers(self, instrument: str) -> Decimal:
        """Contracts that are not ours, as far as they are known: accepted ones, and those of fills seen since."""
        return self._journal.books.foreign.get(instrument, ZERO) + self._seen(instrument, self.foreign)

    def _seen(self, instrument: str, trades: Collection[str]) -> Decimal:
        """Contracts of those of the fills `trades` that no intent of ours explains."""
        fills = (self.foreign[name] for name in trades if name in self.foreign)
        return sum((fill.size for fill in fills if fill.instrument == instrument), ZERO)

    async def report(self, report: OrderReport) -> None:
        """Write what the exchange says of one of our orders; what is not ours or not new is left out."""

        def make() -> tuple[AnyEvent, ...]:
            known = self._journal.books.orders.get(report.client_id)
            if known is None or known.state.final:
                return ()
            if (known.state, known.filled) == (report.state, report.filled):
                return ()
            return (Reported(report.ts, report),)

        await self._journal.record_from(make)

    async def fill(self, fill: Fill) -> None:
        """Write an execution of ours, once; one that no order of ours explains is kept aside."""
        failpoint("fill-seen")

        def make() -> tuple[AnyEvent, ...]:
            books = self._journal.books
            if books.has_trade(fill.trade_id):
                return ()
            parts = books.allocate(fill)
            if parts is None:
                self.foreign.setdefault(fill.trade_id, fill)
                return ()
            return (Filled(fill.ts, fill, parts),)

        await self._journal.record_from(make)
        failpoint("filled")

    async def catch_up(self) -> None:
        """Ask for all fills since the last one written: what a broken socket did not tell."""
        books = self._journal.books
        for fill in await self._venue.fills(books.last_fill_ms):
            if not books.has_trade(fill.trade_id):  # A day of them is told again each time: most are known.
                await self.fill(fill)

    def _refused(self, order: Order, error: Refused) -> OrderReport:
        return self._final(order, OrderState.REJECTED, error.code, str(error))

    def _gone(self, order: Order, known: OrderState) -> OrderReport:
        """Of one that was never seen: it has not arrived. Of one that was: OKX forgets after two hours what was
        cancelled without a fill."""
        if known is OrderState.LIVE:
            return self._final(order, OrderState.CANCELLED, "", "the exchange keeps it no longer")
        return self._final(order, OrderState.ABSENT, "", "never reached the exchange")

    def _final(self, order: Order, state: OrderState, code: str, message: str) -> OrderReport:
        now = self._venue.market_ms()
        zero = Decimal(0)
        return OrderReport(order.client_id, "", order.instrument, state, zero, None, now, code, message)


async def inquire_until_known(orders: Orders, order: Order) -> None:
    """Ask again and again, ever more patiently, until the fate of `order` is known."""
    pause = 0.1
    while not await orders.inquire(order):
        await asyncio.sleep(pause)
        pause = min(pause * 2, 5.0)
