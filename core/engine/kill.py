"""The kill switch: halt, cancel, close, and prove it. However it is pulled, it does not stop before the proof.

By key and command (`cockpit kill`), by a file KILL in the home folder, by signal (SIGUSR1): the last two need
neither terminal nor socket. It asks nobody whether ledger and exchange agree or streams are fresh. The halt stays,
over restarts too, until a person resumes; a kill that a crash has cut short goes on at the next start.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from core.domain.errors import UserError
from core.domain.trading import KILL, TradingState
from core.execution.kill import Proof, prove
from core.execution.slices import smallest
from core.portfolio.events import Killed, Switched
from core.venues.port import Refused, VenueError

if TYPE_CHECKING:
    from core.engine.engine import Engine

LOOK_S = 0.5
"""How often it is looked for the file."""
ROUND_S, PATIENCE_S = 1.0, 5.0
"""How long a round waits for its orders, and the longest pause between two rounds."""


class KillSwitch:
    """One an engine."""

    def __init__(self, engine: "Engine", file: Path) -> None:
        self._engine = engine
        self._file = file
        self._who, self._reason = "", ""
        self._pulled = asyncio.Event()
        self._proven = asyncio.Event()
        self._proven.set()
        self.every = LOOK_S
        self.proof = Proof((), ("the kill has just begun",), ())
        """What its last round has found."""

    @property
    def at_work(self) -> bool:
        return not self._proven.is_set()

    def pull(self, who: str, reason: str) -> None:
        """Begin; once more, where it has been done: to be sure is never wrong."""
        if not self.at_work:
            self._who, self._reason = who, reason
            self._proven.clear()
            self._pulled.set()

    async def done(self, seconds: float) -> bool:
        """Wait for the proof, `seconds` at most; whether it is there."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._proven.wait()
        return not self.at_work

    def refuse_resume(self) -> None:
        """Raise UserError where nobody may resume: it is at work, or its file still lies there."""
        if self.at_work:
            raise UserError(f"resume: the kill is at work: {'; '.join(self.proof.lines)}")
        if self._file.exists():
            raise UserError(f"resume: {self._file} still says kill: remove it first")

    async def begin(self) -> None:
        """Before anything trades: halt at once where the file lies there."""
        if self._file.exists():
            self._who, self._reason = "file", f"{self._file.name} lay in the home folder at the start"
            await self._halt()

    async def watch(self) -> None:
        """Go on with what was cut short; then look for the file, and work when pulled; for ever."""
        held = self._engine.restrictions
        if held.unproven:
            self.pull(held.standing[KILL].who, "begun before the start of this engine")
        seen = self._file.exists()
        while True:
            there = self._file.exists()
            if there and not seen:
                self.pull("file", f"{self._file.name} lies in the home folder")
            seen = there
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.every):
                    await self._pulled.wait()
            if self._pulled.is_set():
                self._pulled.clear()
                await self._kill()
                self._proven.set()

    async def _halt(self) -> None:
        now, reason = self._engine.venue.market_ms(), f"killed by {self._who}: {self._reason}"
        halted = Switched(now, TradingState.HALTED, reason, KILL, self._who)
        await self._engine.command("kill", self._reason, self._who, halted)

    async def _kill(self) -> None:
        """Halt, then round after round until the exchange says that nothing is left."""
        engine, told, pause = self._engine, self.proof, 0.1
        await self._halt()
        while True:
            try:
                self.proof = await self._round()
            except VenueError as error:
                self.proof = Proof((), (f"the exchange cannot be asked: {error}",), ())
            if self.proof.holds:
                await engine.journal.record(Killed(engine.venue.market_ms(), self._who, self.proof.lines))
                return
            if self.proof != told:
                told = self.proof
                text = f"kill: not yet: {'; '.join(told.lines)}"
                engine.narrator.say(engine.venue.market_ms(), "engine", "bad", text)
            await asyncio.sleep(pause)
            pause = min(pause * 2, PATIENCE_S)

    async def _round(self) -> Proof:
        """Cancel, close, let what is at work come to its end, learn what came of it, ask the exchange.

        Entries at work end by themselves: a halted account sends no first leg and takes back what rests."""
        engine = self._engine
        await self._cancel()
        await self._close()
        await engine.executor.idle(ROUND_S)
        await engine.reconcile()
        return await prove(engine.venue, engine.journal.books, engine.orders, engine.venue.instruments)

    async def _cancel(self) -> None:
        """Orders of ours that rest. Those the ledger does not know are orphans, which reconciliation cancels."""
        books, venue = self._engine.journal.books, self._engine.venue
        for report in await venue.open_orders():
            if report.client_id in books.orders:
                with contextlib.suppress(Refused):  # It has come to its end while we asked.
                    await venue.cancel(books.orders[report.client_id].order)

    async def _close(self) -> None:
        """Close what is held and not being worked on. What is too little for an order is left, and named."""
        engine, specs = self._engine, self._engine.venue.instruments
        async with engine.deciding:
            books = engine.journal.books
            working = {(intent.strategy, intent.pair) for intent in books.unsettled()}
            idle = [book for book in books.open_books() if (book.strategy, book.pair) not in working]
            chosen = [b for b in idle if any(abs(leg.size) >= smallest(specs[leg.instrument]) for leg in b.legs)]
            if chosen:
                await engine.close(chosen, "kill")
