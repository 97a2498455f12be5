"""Drives intents to their end: asks the state machine what to do, does it, waits for news, asks again."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from core.clock import at_once
from core.domain.instrument import Instrument
from core.domain.orders import Fill, Intent
from core.domain.trading import TradingState
from core.execution.exposure import CROSSING, Exposure, Policy, Unhedged
from core.execution.failpoint import failpoint
from core.execution.journal import Journal
from core.execution.legs import Cancel, Finish, Send, Step, Wait, next_step
from core.execution.orders import PATIENCE_S, Orders, inquire_until_known
from core.execution.pace import Pace
from core.execution.protection import Guard
from core.execution.slices import count, smallest
from core.portfolio.events import Alarmed, AnyEvent, Filled, Planned, Reported, Settled, Switched
from core.venues.port import Venue

ROUNDS = 8
"""How often an immediate venue is asked within one bar, for each slice."""
WITHDRAW_S = 0.25
"""How long after a cancel that has not been confirmed it is asked for again."""


class Executor:
    """One task an unsettled intent. What it knows is in the books; a restart loses only the tasks."""

    def __init__(
        self,
        venue: Venue,
        journal: Journal,
        orders: Orders,
        guard: Guard,
        instruments: Mapping[str, Instrument],
        policy: Policy = CROSSING,
    ) -> None:
        """Where the market waits for us, or stands still, no order rests in the book, whatever the `policy`."""
        self._venue = venue
        self._journal = journal
        self._orders = orders
        self._guard = guard
        self._instruments = instruments
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._news: dict[str, asyncio.Event] = {}
        self._late: dict[str, Fill] = {}
        """What was filled after the end of an intent, while its task still looked after protections."""
        self._until: dict[str, float] = {}
        self._sending: set[str] = set()
        self._alarms: set[asyncio.Task[None]] = set()
        self._policy = policy
        self._immediate = venue.capabilities.immediate
        self._passive = policy.passive_s > 0 and not (self._immediate or venue.capabilities.lockstep)
        self.exposure = Exposure(journal.books, instruments, policy, self._alarm)
        self.touch: Callable[[str, bool], Decimal | None] = lambda instrument, buy: None
        """The best price on our side of the book: (instrument, whether we buy). None: not known, orders cross."""
        self.failure: BaseException | None = None
        self._failed = asyncio.Event()
        if not self._immediate:
            journal.listen(self._heard)

    def start(self, intent: Intent, fresh: bool = True) -> None:
        """Take an intent (already in the ledger) to its end, in the background."""
        assert intent.id in self._journal.books.intents, f"intent {intent.id} is not in the ledger"
        if intent.id in self._tasks:
            return
        if self._immediate:
            at_once(self._run(intent, fresh))
            return
        self._news[intent.id] = asyncio.Event()
        task = asyncio.create_task(self._run(intent, fresh), name=f"intent {intent.id}")
        self._tasks[intent.id] = task
        task.add_done_callback(lambda done: self._done(intent.id, done))
        self.exposure.look(intent.id)

    def resume(self, fresh: bool) -> int:
        """Start every intent that the ledger left unsettled; how many there were. `fresh`: the market has not
        moved since, so that entries which have not traded yet may still be made."""
        unsettled = self._journal.books.unsettled()
        for intent in unsettled:
            self.start(intent, fresh)
        return len(unsettled)

    @property
    def busy(self) -> int:
        """How many intents are being worked on."""
        return len(self._tasks)

    def unhedged(self) -> tuple[Unhedged, ...]:
        """What stands unhedged now, by intent, oldest first."""
        return self.exposure.standing()

    @property
    def alarms(self) -> tuple[str, ...]:
        """What is wrong with the intents at work, a line each: they stand until it has come right."""
        return tuple(self.exposure.alarms.values())

    async def idle(self, timeout: float | None = None) -> bool:
        """Wait until no intent is at work; False when `timeout` seconds were not enough."""
        while self._tasks:
            done, _ = await asyncio.wait(
                set(self._tasks.values()), timeout=timeout, return_when=asyncio.ALL_COMPLETED
            )
            if not done:
                return False
        if self.failure is not None:
            raise self.failure
        return True

    async def failed(self) -> None:
        """Wait until working on an intent has failed by a fault of our own (a full disk, a broken invariant), and
        raise it: an engine that cannot write must not go on trading."""
        await self._failed.wait()
        assert self.failure is not None
        raise self.failure

    async def stop(self, timeout: float) -> None:
        """Let what is at work come to its end; what does not in time goes on after the next start."""
        self._until.clear()  # What rests crosses now.
        for news in self._news.values():
            news.set()
        await self.idle(timeout)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), *self._alarms, return_exceptions=True)
        self.exposure.close()

    async def _run(self, intent: Intent, fresh: bool) -> None:
        books, news = self._journal.books, self._news.get(intent.id) or asyncio.Event()
        specs = [self._instruments[leg.instrument] for leg in intent.legs]
        rounds, most = 0, ROUNDS * count(intent.slices, intent.legs, specs)
        pace, rested = Pace(), False
        while True:
            news.clear()
            match step := self._step(intent, fresh):
                case Finish():
                    if await self._settle(intent, fresh):
                        return
                    continue
                case Wait():
                    await self._wait(intent, news)
                    continue
                case Cancel(leg=leg):
                    await self._withdraw(intent, leg)
                    continue
            if self._immediate:
                if rounds >= most:
                    return  # Its market shows nothing new before the next bar: there `resume` goes on.
                rounds += 1
                for send in step:
                    await self._send(intent, send)
                continue
            if not rested and (pause := pace.pause(books.progress(intent.id), step)):
                await asyncio.sleep(pause)
                rested = True
                continue  # Much may have come meanwhile.
            if self._rivals(intent):
                await news.wait()
                continue
            rested = False
            await self._send_all(intent, step)

    async def _send_all(self, intent: Intent, sends: Sequence[Send]) -> None:
        self._sending.add(intent.id)
        try:
            await asyncio.gather(*(self._send(intent, send) for send in sends))
        finally:
            self._sending.discard(intent.id)
            self._wake(intent)

    def _rivals(self, intent: Intent) -> bool:
        """Whether another intent has an order at work on the same book: what comes of it must be known, or both
        would close the same contracts. (Seldom: a late fill goes back while an exit is at work.)"""
        books = self._journal.books
        return any(
            other.id in self._sending or books.open_orders(other.id)
            for other in books.unsettled()
            if (other.strategy, other.pair) == (intent.strategy, intent.pair) and other.id != intent.id
        )

    def _wake(self, intent: Intent) -> None:
        """Something has happened to an intent: it looks again, and so do others on its book."""
        books = self._journal.books
        for name, news in self._news.items():
            other = books.intents[name].intent
            if (other.strategy, other.pair) == (intent.strategy, intent.pair):
                news.set()

    def _step(self, intent: Intent, fresh: bool) -> Step:
        """What to do now; while the account may take no new exposure, no first leg goes on."""
        books = self._journal.books
        wished = fresh and books.restrictions.state is TradingState.ACTIVE
        return next_step(intent, books.progress(intent.id), self._instruments, wished, self._passive)

    async def _send(self, intent: Intent, send: Send) -> None:
        spec = self._instruments[intent.legs[send.leg].instrument]
        price = self.touch(spec.id, send.size > 0) if send.passive else None
        if price is not None:
            price = spec.round_price(price)
            self._until[intent.id] = asyncio.get_running_loop().time() + self._policy.passive_s
        await self._orders.send(intent, send.leg, send.size, send.reducing, price)

    async def _settle(self, intent: Intent, fresh: bool) -> bool:
        """Write the end, unless a fill has come between: False, and there is more to do."""

        def make() -> tuple[AnyEvent, ...]:
            end = self._step(intent, fresh)
            if not isinstance(end, Finish):
                return ()
            dust = self._residue(intent)
            named = f"{' and '.join(dust)} stay, less than the least order" if dust else ""
            detail = "; ".join(filter(None, (end.detail, named)))
            return (Settled(self._venue.market_ms(), intent.id, end.outcome, detail, bool(dust)),)

        await self._journal.record_from(make)
        if self._journal.books.intents[intent.id].outcome is None:
            return False
        failpoint("settled")
        for leg in intent.legs:
            await self._guard.keep(self._instruments[leg.instrument])
        return True

    def _residue(self, intent: Intent) -> list[str]:
        """What the intent's book holds, by name, where that is less than the least orders and nobody else works on
        it."""
        books = self._journal.books
        book = books.book(intent.strategy, intent.pair)
        others = ((i.strategy, i.pair) for i in books.unsettled() if i.id != intent.id)
        if book is None or (book.strategy, book.pair) in others:
            return []
        if any(abs(leg.size) >= smallest(self._instruments[leg.instrument]) for leg in book.legs):
            return []
        return [f"{abs(leg.size)} contracts of {leg.instrument}" for leg in book.legs if leg.size]

    async def _wait(self, intent: Intent, news: asyncio.Event) -> None:
        """Until the exchange says something about this intent. If it stays silent it is asked; an order that only
        rests has its time, and is then taken out of the book."""
        books = self._journal.books
        working = books.open_orders(intent.id)
        crossing = [order for order in working if not books.orders[order.client_id].resting]
        patience = PATIENCE_S if crossing else max(self._until.get(intent.id, 0.0) - self._now(), 0.0)
        try:
            async with asyncio.timeout(patience):
                await news.wait()
        except TimeoutError:
            for order in crossing:
                await inquire_until_known(self._orders, order)
            if not crossing:
                await self._withdraw(intent, working[0].leg)

    async def _withdraw(self, intent: Intent, leg: int) -> None:
        """Take the resting order of a leg out of the book, as often as that must be asked."""
        books = self._journal.books
        for order in books.open_orders(intent.id):
            if order.leg == leg:
                await self._orders.withdraw(order)
                if books.orders[order.client_id].resting:
                    await asyncio.sleep(WITHDRAW_S)

    def _heard(self, event: AnyEvent) -> None:
        books = self._journal.books
        match event:
            case Planned(order=order):
                names = [order.intent]
            case Reported(report=report):
                names = [books.orders[report.client_id].order.intent]
            case Filled(parts=parts):
                names = [part.intent for part in parts]
            case Settled(intent=name):
                names = [name]
            case Switched():
                names = list(self._news)
            case _:
                return
        for name in names:
            self.exposure.look(name)
            self._wake(books.intents[name].intent)
            if isinstance(event, Filled) and books.intents[name].reopened:
                if name in self._news:  # The end is written, its protections are not yet right.
                    self._late.setdefault(name, event.fill)
                    continue
                self._reopen(name, event.fill)

    def _reopen(self, name: str, fill: Fill) -> None:
        """A fill has come after the end of its intent: work on it begins again, at once."""
        intent = self._journal.books.intents[name].intent
        late = f"{fill.size} contracts of {fill.instrument} were filled after its end"
        self.exposure.raise_alarm(name, f"{intent.pair}: {late}; they are taken back")
        self.start(intent, fresh=False)

    def _alarm(self, text: str) -> None:
        """Write an alarm; that must not wait for who has raised it."""
        task = asyncio.create_task(self._journal.record(Alarmed(self._venue.market_ms(), text)), name="alarm")
        self._alarms.add(task)
        task.add_done_callback(self._rung)

    def _rung(self, task: asyncio.Task[None]) -> None:
        self._alarms.discard(task)
        self._blame(task)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _done(self, intent_id: str, task: asyncio.Task[None]) -> None:
        del self._tasks[intent_id]
        del self._news[intent_id]
        self._until.pop(intent_id, None)
        self._blame(task)
        late = self._late.pop(intent_id, None)
        if late is not None and self._journal.books.intents[intent_id].reopened and not task.cancelled():
            self._reopen(intent_id, late)

    def _blame(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.failure = task.exception()
            self._failed.set()
