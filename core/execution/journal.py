"""Write first: the one door through which state changes. Append to the ledger, then fold into the books."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from core.portfolio.books import Books
from core.portfolio.events import AnyEvent

Listener = Callable[[AnyEvent], None]


class LedgerPort(Protocol):
    """Where events are kept: durable when `append` returns, all of a batch or nothing."""

    async def append(self, batch: Sequence[AnyEvent]) -> None: ...


class MemoryLedger:
    """Events in memory, for runs that nothing hangs on."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []

    async def append(self, batch: Sequence[AnyEvent]) -> None:
        self.events.extend(batch)


class Journal:
    """Appends events durably, folds them, and tells whoever listens. Never out of order, never in parts."""

    def __init__(self, ledger: LedgerPort, books: Books, immediate: bool = False) -> None:
        """`immediate`: the ledger never waits, and no loop need run (see `core.clock.at_once`)."""
        self.books = books
        self._immediate = immediate
        self._ledger = ledger
        self._lock = asyncio.Lock()
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """`listener(event)` is called after each event has been written and folded; it must be quick."""
        self._listeners.append(listener)

    async def record(self, *events: AnyEvent) -> None:
        """Write `events` as one batch, then fold them."""
        if self._immediate:
            await self._take(events)
        else:
            await self.record_from(lambda: events)

    async def record_from(self, make: Callable[[], Sequence[AnyEvent]]) -> None:
        """Like `record`, with the events made when it is their turn: for what depends on the books
        (has this trade been seen?), so that two tasks cannot both find it new."""
        if self._immediate:
            await self._take(make())  # Nothing waits, so nothing can come in between: no lock, no shield.
        else:
            # Shielded: a task cancelled in the middle must not leave written events unfolded.
            await asyncio.shield(self._write(make))

    async def _write(self, make: Callable[[], Sequence[AnyEvent]]) -> None:
        async with self._lock:
            await self._take(make())

    async def _take(self, events: Sequence[AnyEvent]) -> None:
        if not events:
            return
        await self._ledger.append(events)
        for event in events:
            self.books.apply(event)
        for event in events:
            for listener in self._listeners:
                listener(event)
