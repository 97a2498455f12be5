"""An event loop that does not wait: when nothing is ready, its clock jumps to the next timer."""

import asyncio
import selectors
from typing import Any


class _Jumping(selectors.DefaultSelector):
    """Moves the clock instead of sleeping. A loop that waits for nothing at all is a deadlock, and says so."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("deadlock: every task waits, and no timer runs")
            self.loop.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose `time()` is virtual seconds since it was made."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = _Jumping()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self.now
