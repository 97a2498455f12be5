"""Heavy work in a process of its own: started, listened to without ever blocking the loop, never left behind.

A job is `python -m MODULE ARGUMENTS`. On stderr it tells how far it is, as JSON lines (`tell`), and why it failed,
as any other line; the last line on stdout is its result. Exit codes: 0 done, 1 refused, 2 wrong usage.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from core.domain.errors import UserError
from core.domain.secrecy import without_secrets

Progress = Callable[[float, str], None]
"""Called with the share done (0 to 1) and a line that says what is being done."""
NICE = 10
"""Below the engine and the terminal, which must stay smooth."""
PATIENCE = 5.0
"""Seconds that a cancelled job has to end by itself."""
QUIET = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}
"""One thread a process, and no spinning: two busy pools on two cores cost seconds (measured)."""
LINE = 2**20
"""The longest line of progress, in bytes."""


def tell(done: float, text: str) -> None:
    """From within a job: the share done (0 to 1), and what is being done."""
    print(json.dumps({"progress": round(done, 4), "text": text}), file=sys.stderr, flush=True)


def part(low: float, high: float) -> Progress:
    """`tell` for a part of a job: from `low` to `high` of the whole."""
    return lambda done, text: tell(low + done * (high - low), text)


class Ended(NamedTuple):
    """A job that has ended: all that it wrote on stdout, its last line on stderr that was no progress, its code."""

    module: str
    out: bytes
    reason: str
    code: int

    def refuse(self) -> None:
        """Raise UserError, with the reason and the code, if it failed."""
        if self.code:
            code = self.code if self.code in (1, 2) else 1
            raise UserError(self.reason or f"{self.module} ended with code {self.code} and said nothing", code)

    def document(self) -> bytes:
        """The result: the last line of stdout. Raises UserError where there is none."""
        self.refuse()
        lines = self.out.strip().splitlines()
        if not lines:
            raise UserError(f"{self.module} ended without a result{f': {self.reason}' if self.reason else ''}")
        return lines[-1]


async def run(module: str, arguments: Sequence[str], progress: Progress) -> Ended:
    """Run `python -m module arguments` at low priority, to its end, and pass its progress on.

    Cancelling ends the process: it is asked to, and after `PATIENCE` seconds made to."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**without_secrets(os.environ), **QUIET},
        limit=LINE,
    )
    assert process.stdout is not None and process.stderr is not None
    with contextlib.suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, process.pid, os.getpriority(os.PRIO_PROCESS, 0) + NICE)
    try:
        out, reason = await asyncio.gather(process.stdout.read(), _listen(process.stderr, progress))
        code = await process.wait()
    except BaseException:
        await _end(process)
        raise
    return Ended(module, out, reason, code)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(PATIENCE):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _listen(stream: asyncio.StreamReader, progress: Progress) -> str:
    """Pass progress on; the last line that is none of it."""
    last = ""
    async for raw in stream:
        line = raw.decode(errors="replace").strip()
        try:
            said = json.loads(line)
            done, text = float(said["progress"]), str(said["text"])
        except (ValueError, KeyError, TypeError):
            last = line or last
        else:
            progress(done, text)
    return last
