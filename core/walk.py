"""The walk of a bar: from a closed bar to its settled orders, the same steps live, in backtest and in rehearsal.

It knows no clock and no socket; who calls it feeds it bars and what the venue tells.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial

import msgspec

from core.clock import monotonic
from core.domain.account import Book
from core.domain.decision import Exit, View
from core.domain.instrument import Instrument
from core.domain.market import Bar
from core.domain.orders import Action, Intent, Leg, Origin, base36
from core.domain.trading import TradingState
from core.execution.executor import Executor
from core.execution.exposure import CROSSING, Policy
from core.execution.failpoint import failpoint
from core.execution.journal import Journal
from core.execution.legs import halved
from core.execution.netting import crossed, crossings
from core.execution.orders import Orders
from core.execution.protection import Guard
from core.execution.reconcile import Reconciler, Verdict
from core.execution.risk import Standing
from core.execution.sizing import exit_intent
from core.execution.standing import measured, standing_of
from core.execution.states import breaches, recovered
from core.portfolio.events import AnyEvent, Decided, Filled, Intended, Opened, Stepped, Switched
from core.portfolio.restrictions import Restrictions
from core.trader import Names, Outcome, Trader
from core.venues.port import Venue, VenueError

STATEMENT_S = 1.0
"""How long the orders of a bar wait, at most, for the exchange's statement."""


class Walk:
    """One account, one universe, the traders on it, and the hands that work for them."""

    def __init__(
        self,
        venue: Venue,
        journal: Journal,
        traders: Sequence[Trader],
        instruments: dict[str, Instrument],
        *,
        expiry_ms: int,
        catastrophe_share: Decimal,
        policy: Policy = CROSSING,
    ) -> None:
        self.venue = venue
        self.journal = journal
        self.traders = tuple(traders)
        self.instruments = instruments
        self.orders = Orders(venue, journal, expiry_ms)
        self.guard = Guard(venue, journal, catastrophe_share)
        self.executor = Executor(venue, journal, self.orders, self.guard, venue.instruments, policy)
        self.reconciler = Reconciler(venue, journal, self.orders, self.guard, instruments)
        self.verdict = Verdict(("not yet reconciled",), ())
        self.views: dict[str, View] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.step_ms = 0.0
        self.deciding = asyncio.Lock()
        """Held from reading the books to writing the intents: two wishes never see the same books."""
        self.names = Names("", 0)

    async def open(self) -> None:
        """Begin the ledger, if it is new, with what the exchange says of the account; go on counting intents."""
        books = self.journal.books
        if not books.prefix:
            balance = await self.venue.balance()
            bills = await self.venue.bills("")
            now = self.venue.market_ms()
            last = bills[-1].id if bills else ""
            opened = Opened(now, base36(now), self.venue.capabilities.name, balance.currency, balance.cash, last)
            await self.journal.record(opened)
        self.names = Names(books.prefix, books.intents_made)

    @property
    def restrictions(self) -> Restrictions:
        """What holds the account back now."""
        return self.journal.books.restrictions

    def warm(self, bar: Bar) -> None:
        """Take a bar of the past into the features."""
        for trader in self.traders:
            self.views[trader.strategy.name] = trader.warm(bar)

    async def restrict(self, cause: str, state: TradingState, reason: str, who: str = "") -> None:
        """Hold the account back for `cause` (reducing or halted), as a ledger event. Nothing where the cause has
        already brought it there, or further: only a person comes back from a halt."""
        if state.rank > self.restrictions.of(cause).rank:
            await self.journal.record(Switched(self.venue.market_ms(), state, reason, cause, who))

    async def release(self, cause: str, who: str = "") -> None:
        """The cause is gone. Where it has halted the account that takes a person, named by `who`."""
        held = self.restrictions.of(cause)
        if held is TradingState.REDUCING or (held is TradingState.HALTED and who):
            gone = f"resumed by {who}" if who else "it is well again"
            await self.journal.record(Switched(self.venue.market_ms(), TradingState.ACTIVE, gone, cause, who))

    async def reconcile(self) -> Verdict:
        """Ask the exchange whether it tells the same, and mend what can be mended."""
        try:
            self.verdict = await self.reconciler.run()
        except VenueError as error:
            self.verdict = Verdict((str(error),), ())
        await self._rejoin()
        return self.verdict

    def halved(self) -> list[tuple[Book, tuple[Leg, ...]]]:
        """Books of which a leg has lost what the other still holds, or a part of it, and on which nothing is at
        work; with what is to be traded so that they match again."""
        books = self.journal.books
        opened = ((book, books.intents[book.intent].intent.legs) for book in books.open_books())
        halves = [(book, legs) for book, all_ in opened if (legs := halved(book, all_, self.venue.instruments))]
        working = {(i.strategy, i.pair) for i in books.unsettled()} if halves else set()
        return [(book, legs) for book, legs in halves if (book.strategy, book.pair) not in working]

    async def learn(self) -> None:
        """Take in what the exchange has done by itself, and close what it has left of a pair. The orders for that
        may fire stops on their way. Under lockstep it ends when they are settled."""
        seen: set[str] = set()
        while (new := self.orders.foreign.keys() - seen) or self.halved():
            seen |= new
            await self.reconcile()
            if self.venue.capabilities.lockstep:
                await self.executor.idle()

    async def _rejoin(self) -> None:
        """Where the exchange has closed one leg of a pair, or a part of it, close the same of the other at once."""
        async with self.deciding:
            for book, legs in self.halved():
                part = "" if any(not leg.size for leg in book.legs) else "a part of "
                wish = Exit(book.pair, f"the exchange closed {part}its other leg", barred=True)
                intent = exit_intent(self.names.take(), self.venue.market_ms(), book, wish, Origin.RECOVERY)
                intent = msgspec.structs.replace(intent, legs=legs)
                await self.journal.record(Intended(intent.ts, intent, barred=True))
                self.executor.start(intent)

    async def close(self, books: Sequence[Book], reason: str, *before: AnyEvent) -> None:
        """Close `books` by hand, their intents in one batch after the events `before`. Where some are long what
        others are short they give it to each other. Who calls holds `deciding`."""
        now = self.venue.market_ms()
        wishes = [(book, Exit(book.pair, reason)) for book in books]
        intents = [exit_intent(self.names.take(), now, book, wish, Origin.MANUAL) for book, wish in wishes]
        await self.journal.record(*before, *(Intended(now, intent) for intent in intents))
        await self._cross(intents)
        for intent in intents:
            self.executor.start(intent)

    async def step(self, bar: Bar) -> None:
        """From a closed bar to its orders: features, scores, decision, risk (all in `Trader.on_bar`), ledger,
        legs. Returns when the orders are on their way."""
        began = monotonic()
        intents: list[Intent] = []
        await self.judge(self.traders[0].prices(bar))
        for trader in self.traders:
            name = trader.strategy.name
            if self.journal.books.last_decision(name) >= bar.open_ms:
                self.views[name] = trader.warm(bar)  # Decided before a crash: nobody decides twice.
                continue
            async with self.deciding:
                if self.restrictions.state is TradingState.HALTED:
                    await self._hold(bar, trader)
                    continue
                standing = self.standing(bar, name)
                holdings = self.journal.books.holdings(name, standing.free)
                outcome = trader.on_bar(bar, holdings, standing, self.names)
                self.views[name], self.outcomes[name] = outcome.view, outcome
                self.step_ms = (monotonic() - began) * 1000
                await self.journal.record(*_events(bar, outcome))
            intents += outcome.intents
        failpoint("intended")
        # Funding of the bar's end falls to the books as they are now: what leaves has held until then.
        await self._statement_soon()
        await self._cross(intents)
        for intent in intents:
            self.executor.start(intent)

    async def _hold(self, bar: Bar, trader: Trader) -> None:
        """Take the bar in and decide nothing: the account is halted."""
        name = trader.strategy.name
        self.views[name] = trader.warm(bar)
        self.outcomes.pop(name, None)
        reason = f"halted: {self.restrictions.reason}"
        await self.journal.record(Decided(bar.close_ms, bar.open_ms, name, (), (), (), reason))

    async def _cross(self, intents: Sequence[Intent]) -> None:
        """What strategies want of each other, they give each other at the mark."""
        for crossing in crossings(intents):
            try:
                mark = await self.venue.mark(crossing.instrument)
            except VenueError:
                continue  # Without a mark each goes to the exchange.
            event = crossed(crossing, mark, self.journal.books.currency, self.venue.market_ms())
            await self.journal.record_from(partial(self._possible, event))

    def _possible(self, event: Filled) -> Sequence[AnyEvent]:
        """The crossing, if each part is still to be had: while the mark was asked for, a stop may have fired."""
        for part in event.parts:
            leg = self.journal.books.progress(part.intent)[part.leg]
            if abs(part.size) > abs(leg.wanted - leg.filled):
                return ()
        return (event,)

    async def _statement_soon(self) -> None:
        """The statement, if the exchange gives it at once: no order waits for it longer than that."""
        if self.venue.capabilities.immediate:
            await self._statement()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STATEMENT_S):
                await self._statement()

    async def _statement(self) -> None:
        with contextlib.suppress(VenueError):
            await self.reconciler.bills()

    async def finish(self, bar: Bar) -> None:
        """Look after protections, take in the statement, write the end, let a market in lockstep go on."""
        for instrument in self.guard.due(self.instruments):
            await self.guard.keep(instrument)
        await self._statement()
        equity = self.journal.books.equity(self.traders[0].prices(bar))
        if self.journal.books.last_step < bar.open_ms:
            await self.journal.record(Stepped(bar.close_ms, bar.open_ms, equity))
        await self.venue.acknowledge(bar.open_ms)

    def trouble(self) -> str:
        """What, beside a ledger that disagrees, makes new exposure unwise now; empty: nothing."""
        return ""

    def marks(self) -> Mapping[str, Decimal]:
        """Mark prices of now by instrument, where they may differ from the last closes: not in a replay, whose
        market stands at the close that is decided on."""
        return {}

    def maintenance(self) -> Decimal | None:
        """The maintenance margin as the exchange tells it; None: it is reckoned at the limits' rate."""
        return None

    def share(self) -> Decimal:
        """The share of all sizes and limits that may be used: all of it, but while real money ramps up."""
        return Decimal(1)

    def standing(self, bar: Bar, strategy: str) -> Standing:
        """The account by the ledger, as `strategy` meets it, at the bar's closes: deterministic, whoever calls."""
        books, prices, limits = self.journal.books, self.traders[0].prices(bar), self.traders[0].limits
        now = measured(books, prices, limits, self.venue.market_ms(), self.maintenance())
        trouble = "; ".join(self.verdict.differences) or self.trouble()
        marks, share = self.marks(), self.share()
        return standing_of(
            now, books, prices, limits, strategy, bar.close_ms, trouble=trouble, marks=marks, share=share
        )

    async def judge(self, prices: Mapping[str, Decimal]) -> None:
        """Let loss and margin at `prices` change what the account may do (see `core.execution.states`)."""
        books, limits = self.journal.books, self.traders[0].limits
        now = measured(books, prices, limits, self.venue.market_ms(), self.maintenance())
        for cause in recovered(now, self.restrictions, limits):
            await self.release(cause)
        for breach in breaches(now, books.watermarks, limits):
            await self.restrict(breach.cause, breach.state, breach.reason)


def _events(bar: Bar, outcome: Outcome) -> list[AnyEvent]:
    """The step's batch: the decision, then its intents, before any order of theirs."""
    decision = outcome.decision
    refused = "; ".join(f"{pair} refused: {why}" for pair, why in outcome.refused)
    hold = "" if decision.entries or decision.exits or decision.targets else decision.text
    aims = {target.pair for target in decision.targets}
    less = (f"{i.pair}: {i.reason}" for i in outcome.intents if i.pair in aims and i.action is Action.CLOSE)
    decided = Decided(
        bar.close_ms,
        bar.open_ms,
        decision.strategy,
        tuple(i.pair for i in outcome.intents if i.action is Action.OPEN),
        (*(f"{x.pair}: {x.reason}" for x in decision.exits), *less),
        decision.released,
        refused or hold,
        tuple(asset for asset, valid in zip(outcome.view.assets, bar.valid, strict=True) if not valid),
    )
    intents = zip(outcome.intents, outcome.barred, strict=True)
    return [decided, *(Intended(bar.close_ms, intent, barred) for intent, barred in intents)]
