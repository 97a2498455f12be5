"""The only module that asks the machine what time it is, makes random names, or starts threads.

Everything that waits does so through the running event loop, so that a loop with virtual time can run a year
in minutes. Wall time serves requests and logs, monotonic time serves health; market time comes from the venue.
"""

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

P = ParamSpec("P")
R = TypeVar("R")


class Machine:
    """A simulated machine: its clock is `ahead_ms` ahead of virtual time."""

    ahead_ms = 0


machine: ContextVar[Machine | None] = ContextVar("machine", default=None)
"""Whose clock `wall_ms` tells, on virtual time."""


class _Jumping(selectors.DefaultSelector):
    """Moves the clock instead of sleeping. A loop that waits for nothing at all is a deadlock, and says so."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout == 0:
            return []  # No file is ever waited for: there is nothing to ask the system.
        if timeout is None:
            raise RuntimeError("deadlock: every task waits, and no timer runs")
        self.loop.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that does not wait: when nothing is ready, its clock jumps to the next timer. `now` is virtual
    seconds since it was made at wall time `epoch_ms`; sockets and threads do not work on it."""

    def __init__(self, epoch_ms: int = 0) -> None:
        self.now = 0.0
        self.epoch_ms = epoch_ms
        selector = _Jumping()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self.now


def _virtual() -> VirtualLoop | None:
    loop = asyncio._get_running_loop()
    return loop if isinstance(loop, VirtualLoop) else None


def wall_ms() -> int:
    """Milliseconds UTC by this machine's clock."""
    loop = _virtual()
    if loop is not None:
        here = machine.get()
        return loop.epoch_ms + round(loop.now * 1000) + (here.ahead_ms if here else 0)
    return time.time_ns() // 1_000_000


def monotonic() -> float:
    """Seconds that never go back, from an arbitrary start."""
    loop = _virtual()
    return time.monotonic() if loop is None else loop.now


def cpu_s() -> float:
    """Seconds of processor time that this process has used."""
    return time.process_time()


def random_name() -> str:
    """32 hexadecimal characters that nobody has used before (not for anything that must be repeatable)."""
    return uuid4().hex


def iso(ms: int) -> str:
    """`ms` UTC as text: 2024-08-08T13:00Z."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a short blocking function (a file, a compiled kernel that frees the GIL) off the loop; on virtual time,
    which knows no threads, at once."""
    if _virtual() is not None:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)


def at_once(work: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine that finds nothing to wait for, without a loop: how a backtest runs what waits live."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    work.close()
    raise AssertionError(f"{work} waits for something: it needs an event loop")


def stamp(ms: int) -> str:
    """`ms` UTC as a file's name: 20240808-130000."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y%m%d-%H%M%S")
