"""The disk of the simulated machine: the real ledger's SQL on the loop's own thread, full or slow at times."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from core.clock import at_once
from core.domain.errors import UserError
from core.engine.rehearsal.faults import Faults
from core.engine.rehearsal.life import Life
from core.engine.rehearsal.witness import Witness
from core.portfolio.events import AnyEvent, Planned
from core.portfolio.ledger import SyncLedger


class Disk:
    """What outlives the process."""

    def __init__(self, faults: Faults, witness: Witness) -> None:
        self.faults, self.witness = faults, witness
        self.full_until = self.slow_until = 0.0
        self.crash_after_plan = 0
        """Gates from the next order's plan to the crash (0: none): the life of an order is when it hurts."""

        self._open: SyncLedger | None = None

    async def open(self, path: Path, life: Life) -> "LifeLedger":
        assert self._open is None, "two processes hold one ledger"
        self._open = SyncLedger(path, durable=False)
        return LifeLedger(self._open, self, life)

    def unplug(self) -> None:
        """The process is gone: what it held open is closed, as the system does it."""
        if self._open is not None:
            at_once(self._open.close())
            self._open = None


class LifeLedger:
    """The ledger as one life has it open: `core.portfolio.ledger.Log`."""

    def __init__(self, ledger: SyncLedger, disk: Disk, life: Life) -> None:
        self._ledger, self._disk, self._life = ledger, disk, life

    async def append(self, batch: Sequence[AnyEvent]) -> None:
        disk, now = self._disk, asyncio.get_running_loop().time()
        self._life.pass_gate()  # Here it dies before the write: nothing of the batch was ever there.
        if disk.faults.on and now < disk.slow_until:
            await asyncio.sleep(disk.faults.of("disk-slow").uniform(0.0, 1.0))
            self._life.pass_gate()
        if disk.faults.on and now < disk.full_until:
            raise UserError(
                "the ledger: the disk is full: free some space and start again; nothing was half-written"
            )
        self._ledger.write(batch)
        disk.witness.written(batch)
        if disk.crash_after_plan and any(isinstance(event, Planned) for event in batch):
            self._life.crash_soon(disk.crash_after_plan)
            disk.crash_after_plan = 0
        self._life.pass_gate()  # And here after it: it is written, and nobody acts on it.

    async def read(self) -> list[AnyEvent]:
        return self._ledger.events()

    async def close(self) -> None:
        self._disk.unplug()
