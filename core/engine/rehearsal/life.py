"""One life of the engine's process, which may end between any two things that the world could see of it.

A process acts on the world through its disk and its wire alone, so a crash "at any await" is a crash at one of
their gates: before an effect (then it never was) or after it (then nobody here learned of it).
"""

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar, copy_context
from typing import Any

from core.clock import Machine, machine


class Crashed(BaseException):
    """The process died here. Not an Exception: nothing may catch it."""


class Life:
    """The tasks of one process on `host`, and whether it still lives."""

    def __init__(self, host: Machine) -> None:
        self.alive = True
        self.began = asyncio.get_running_loop().time()
        self.died = asyncio.Event()
        self.gates = 0
        self._crash_at = 0
        self.tasks: set[asyncio.Task[Any]] = set()
        self.context = copy_context()
        self.context.run(LIFE.set, self)
        self.context.run(machine.set, host)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin the process: `work` and every task it starts belong to this life."""
        return asyncio.get_running_loop().create_task(work, context=self.context)

    def pass_gate(self) -> None:
        """Between two effects. Raises `Crashed` where the process dies, and for ever after."""
        self.gates += 1
        if self._crash_at and self.gates >= self._crash_at:
            self.kill()
        if not self.alive:
            raise Crashed

    def crash_soon(self, gates: int) -> None:
        """Die at the so-manieth gate from now."""
        self._crash_at = self.gates + gates

    def ended(self, task: asyncio.Task[Any]) -> None:
        """A task is done; how those of a dead process ended is of no interest to anyone."""
        self.tasks.discard(task)
        if not self.alive and not task.cancelled():
            task.exception()

    def kill(self) -> None:
        self.alive = False
        self.died.set()

    async def bury(self) -> None:
        """End what is left of a dead process: it can reach neither disk nor wire any more."""
        assert not self.alive
        while tasks := [task for task in self.tasks if not task.done()]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


LIFE: ContextVar[Life | None] = ContextVar("life", default=None)


def task_factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
    """Tasks remember whose life they belong to: that of the task that starts them."""
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
    context = options.get("context")
    life = context.get(LIFE) if context is not None else LIFE.get()
    if life is not None:
        life.tasks.add(task)
        task.add_done_callback(life.ended)
    return task
