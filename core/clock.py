"""The only module that asks the machine what time it is, makes random names, or starts threads.

Everything that waits does so through the running event loop, so that a loop with virtual time can run a year
in minutes. Wall time serves requests and logs, monotonic time serves health; market time comes from the venue.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

P = ParamSpec("P")
R = TypeVar("R")


def wall_ms() -> int:
    """Milliseconds UTC by this machine's clock."""
    return time.time_ns() // 1_000_000


def monotonic() -> float:
    """Seconds that never go back, from an arbitrary start."""
    return time.monotonic()


def random_name() -> str:
    """32 hexadecimal characters that nobody has used before (not for anything that must be repeatable)."""
    return uuid4().hex


def iso(ms: int) -> str:
    """`ms` UTC as text: 2024-08-08T13:00Z."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a short blocking function (a file, a compiled kernel that frees the GIL) off the loop."""
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
