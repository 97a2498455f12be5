"""Drives intents to their end: asks the state machine what to do, does it, waits for news, asks again."""

import asyncio
from collections.abc import Mapping

from core.clock import at_once
from core.domain.instrument import Instrument
from core.domain.orders import Intent
from core.execution.failpoint import failpoint
from core.execution.journal import Journal
from core.execution.legs import Finish, Wait, next_step
from core.execution.orders import PATIENCE_S, Orders, inquire_until_known
from core.execution.protection import Guard
from core.portfolio.events import AnyEvent, Filled, Planned, Reported, Settled
from core.venues.port import Venue

ROUNDS = 8
"""How often an immediate venue is asked within one bar."""


class Executor:
    """One task an unsettled intent. What it knows is in the books; a restart loses only the tasks."""

    def __init__(
        self, venue: Venue, journal: Journal, orders: Orders, guard: Guard, instruments: Mapping[str, Instrument]
    ) -> None:
        self._venue = venue
        self._journal = journal
        self._orders = orders
        self._guard = guard
        self._instruments = instruments
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._news: dict[str, asyncio.Event] = {}
        self.failure: BaseException | None = None
        self._failed = asyncio.Event()
        if not venue.capabilities.immediate:
            journal.listen(self._heard)

    def start(self, intent: Intent, fresh: bool = True) -> None:
        """Take an intent (already in the ledger) to its end, in the background."""
        assert intent.id in self._journal.books.intents, f"intent {intent.id} is not in the ledger"
        if intent.id in self._tasks:
            return
        if self._venue.capabilities.immediate:
            at_once(self._run(intent, fresh))
            return
        self._news[intent.id] = asyncio.Event()
        task = asyncio.create_task(self._run(intent, fresh), name=f"intent {intent.id}")
        self._tasks[intent.id] = task
        task.add_done_callback(lambda done: self._done(intent.id, done))

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
        await self.idle(timeout)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _run(self, intent: Intent, fresh: bool) -> None:
        books, news = self._journal.books, self._news.get(intent.id) or asyncio.Event()
        rounds = 0
        while True:
            news.clear()
            step = next_step(intent, books.progress(intent.id), self._instruments, fresh)
            if isinstance(step, Finish):
                settled = Settled(self._venue.market_ms(), intent.id, step.outcome, step.detail)
                await self._journal.record(settled)
                failpoint("settled")
                for leg in intent.legs:
                    await self._guard.keep(self._instruments[leg.instrument])
                return
            if isinstance(step, Wait):
                await self._wait(intent, news)
                continue
            if self._venue.capabilities.immediate and rounds >= ROUNDS:
                return  # Its market shows nothing new before the next bar: there `resume` goes on.
            if rounds >= 2 and not self._venue.capabilities.immediate:
                # Something keeps refusing us. Reducing is never given up, but it is asked for calmly.
                await asyncio.sleep(min(0.25 * 2.0 ** (rounds - 2), 15.0))
            rounds += 1
            sends = [self._orders.send(intent, send.leg, send.size, send.reducing) for send in step]
            if len(sends) == 1 or self._venue.capabilities.immediate:
                for send in sends:
                    await send
            else:
                await asyncio.gather(*sends)

    async def _wait(self, intent: Intent, news: asyncio.Event) -> None:
        """Until the exchange says something about this intent; if it stays silent, ask it."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await news.wait()
        except TimeoutError:
            books = self._journal.books
            for order in books.open_orders(intent.id):
                await inquire_until_known(self._orders, order)

    def _heard(self, event: AnyEvent) -> None:
        match event:
            case Planned(order=order):
                names = [order.intent]
            case Reported(report=report):
                names = [self._journal.books.orders[report.client_id].order.intent]
            case Filled(parts=parts):
                names = [part.intent for part in parts]
            case _:
                return
        for name in names:
            if name in self._news:
                self._news[name].set()

    def _done(self, intent_id: str, task: asyncio.Task[None]) -> None:
        del self._tasks[intent_id]
        del self._news[intent_id]
        if not task.cancelled() and task.exception() is not None:
            self.failure = task.exception()
            self._failed.set()
