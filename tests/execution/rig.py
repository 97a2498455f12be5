"""The acting hands as the engine puts them together, on the fake exchange and a real ledger."""

import asyncio
from collections.abc import Callable
from decimal import Decimal as D
from pathlib import Path
from typing import TypeVar

import msgspec

from core.domain.orders import Action, Fill, Intent, Leg, OrderReport, Origin, base36
from core.execution.executor import Executor
from core.execution.exposure import CROSSING, Policy
from core.execution.journal import Journal
from core.execution.orders import Orders
from core.execution.protection import Guard
from core.execution.reconcile import Reconciler
from core.portfolio.books import Books
from core.portfolio.events import AnyEvent, Intended, Opened
from core.portfolio.ledger import SyncLedger
from tests.execution.fakes import BTC, ETH, SPECS, FakeVenue

T = TypeVar("T")
EXPIRY_MS = 5_000


class Rig:
    """`await rig.open()` first. `restart` is what a crash leaves: the file, and the exchange."""

    def __init__(self, path: Path, venue: FakeVenue | None = None, policy: Policy = CROSSING) -> None:
        self.path = path
        self.policy = policy
        self.venue = venue or FakeVenue()
        self._pump: asyncio.Task[None] | None = None
        self._fold()

    def _fold(self) -> None:
        self.ledger = SyncLedger(self.path)
        books = Books(SPECS)
        for event in self.ledger.events():
            books.apply(event)
        self.journal = Journal(self.ledger, books)
        self.orders = Orders(self.venue, self.journal, EXPIRY_MS)
        self.guard = Guard(self.venue, self.journal, D("0.25"))
        self.executor = Executor(self.venue, self.journal, self.orders, self.guard, SPECS, self.policy)
        self.executor.touch = self.venue.touch
        self.reconciler = Reconciler(self.venue, self.journal, self.orders, self.guard, dict(SPECS))

    @property
    def books(self) -> Books:
        return self.journal.books

    def told(self, kind: type[T]) -> list[T]:
        """The ledger's events of one kind, in order."""
        return [event for event in self.ledger.events() if isinstance(event, kind)]

    async def open(self) -> "Rig":
        if not self.books.prefix:
            balance, bills = await self.venue.balance(), await self.venue.bills("")
            await self.journal.record(Opened(0, "px", "fake", balance.currency, balance.cash, bills[-1].id))
        self._pump = asyncio.create_task(self._take())
        return self

    async def _take(self) -> None:
        while True:
            event = await self.venue.next_event()
            if isinstance(event, OrderReport):
                await self.orders.report(event)
            elif isinstance(event, Fill):
                await self.orders.fill(event)

    async def intend(
        self,
        btc: str,
        eth: str,
        action: Action = Action.OPEN,
        *,
        order: tuple[int, int] = (0, 1),
        strategy: str = "zscore",
        origin: Origin = Origin.STRATEGY,
        slices: int = 1,
    ) -> Intent:
        """Write an intent of BTC/ETH; nothing is sent yet."""
        legs = (Leg(BTC, D(btc)), Leg(ETH, D(eth)))
        name = f"px{'I'}{base36(self.books.intents_made)}"
        side = 1 if legs[0].size > 0 else -1
        intent = Intent(
            name, self.venue.market_ms(), strategy, "BTC/ETH", action, origin, legs, "test", order, side, 0.1, 0.1
        )
        intent = msgspec.structs.replace(intent, slices=slices)
        await self.journal.record(Intended(intent.ts, intent))
        return intent

    async def run(self, intent: Intent, fresh: bool = True) -> str:
        """Take an intent to its end; how it ended."""
        self.executor.start(intent, fresh)
        assert await self.executor.idle(3600.0), "not settled within an hour"
        await self.drain()
        outcome = self.books.intents[intent.id].outcome
        assert outcome is not None
        return outcome

    async def open_pair(self, btc: str = "10", eth: str = "-10", strategy: str = "zscore") -> Intent:
        intent = await self.intend(btc, eth, strategy=strategy)
        assert await self.run(intent) == "done"
        return intent

    async def drain(self) -> None:
        """Until what the exchange has said so far is taken in."""
        await self.until(self.venue.events.empty)
        await asyncio.sleep(0.001)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let (virtual) time pass until something is so; a minute at most."""
        for _ in range(60_000):
            if holds():
                return
            await asyncio.sleep(0.001)
        raise AssertionError("it did not come to be within a minute")

    async def stop(self) -> None:
        await self.executor.stop(0.0)
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        await self.ledger.close()

    async def restart(self) -> "Rig":
        """Die and come back: what was in memory and on the way is lost."""
        await self.stop()
        self.venue.forget()
        self._fold()
        return await self.open()

    def held(self) -> tuple[D, D]:
        """(BTC, ETH) by the books, which must be what the exchange holds."""
        ours = self.books.net(BTC), self.books.net(ETH)
        assert ours == (self.venue.net(BTC), self.venue.net(ETH))
        return ours


def planned_on_disk(path: Path, copy: Path) -> list[AnyEvent]:
    """What a power cut at this moment would leave: the file and its log as they are on disk, opened elsewhere."""
    for suffix in ("", "-wal"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            copy.with_name(copy.name + suffix).write_bytes(source.read_bytes())
    ledger = SyncLedger(copy)
    try:
        return ledger.events()
    finally:
        ledger._connection.close()
