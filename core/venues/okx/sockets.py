"""Keeps the sockets of one account open and subscribed, and says what was lost meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from typing import Any

import ccxt

from core.venues.okx.messages import Raw, stream_key
from core.venues.okx.session import Session
from core.venues.okx.transport import Rejection, Transport
from core.venues.port import Reconnected

REOPEN_DELAYS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts to open a lost socket; the last one repeats. OKX allows three a second."""

PRIVATE = "private"


class Sockets:
    """`plan` holds the subscriptions of each socket (public, private, business), `patience(key)` the seconds a
    stream may be silent (None: for ever), `opening` the seconds an attempt may take. `resync` sets the clock
    that a login is signed with right."""

    def __init__(
        self,
        transport: Transport,
        session: Session,
        plan: Mapping[str, Sequence[Raw]],
        patience: Callable[[str], float | None],
        opening: float,
        resync: Callable[[], Awaitable[object]],
        traded: Callable[[], Awaitable[Container[str]]],
    ) -> None:
        self._transport, self._session, self._plan = transport, session, plan
        self._opening, self._resync, self._traded = opening, resync, traded
        self._places = {
            stream_key(argument): (socket, argument) for socket, arguments in plan.items() for argument in arguments
        }
        self._tasks: list[asyncio.Task[None]] = []
        for key in self._places:
            session.freshness.watch(key, patience(key))

    async def start(self) -> None:
        """Open all at once; returns when every subscription is acknowledged. The first failure is raised: a
        Rejection, ccxt.NetworkError or TimeoutError."""
        async with asyncio.TaskGroup() as group:
            opening = {socket: group.create_task(self._open(socket)) for socket in self._plan}
        self._tasks = [
            asyncio.create_task(self._keep(socket, task.result()), name=f"socket {socket}")
            for socket, task in opening.items()
        ]
        self._tasks.append(asyncio.create_task(self._watch_silence(), name="silence of streams"))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(self._transport.drop_socket(socket) for socket in self._plan))

    @property
    def names(self) -> Iterable[str]:
        return self._plan.keys()

    def _keys(self, socket: str) -> list[str]:
        return [stream_key(argument) for argument in self._plan[socket]]

    async def _open(self, socket: str) -> asyncio.Future[Any]:
        try:
            async with asyncio.timeout(self._opening):
                lost: asyncio.Future[Any] = await self._transport.open_socket(
                    socket, self._plan[socket], login=socket == PRIVATE
                )
        except BaseException:
            await self._transport.drop_socket(socket)
            raise
        for key in self._keys(socket):
            self._session.freshness.acknowledged(key)
        return lost

    async def _keep(self, socket: str, lost: asyncio.Future[Any]) -> None:
        while True:
            await asyncio.wait([lost])
            why = "closed" if lost.cancelled() else _why(lost.exception())
            for key in self._keys(socket):
                self._session.freshness.down(key, why)
            await self._transport.drop_socket(socket)
            lost = await self._reopen(socket)
            self.catch_up(socket)

    def catch_up(self, socket: str) -> None:
        """Something that this socket told is lost: have it asked for."""
        self._session.mailbox.put(Reconnected(socket))
        for key in self._keys(socket):
            self._catch_up(key)

    async def _reopen(self, socket: str) -> asyncio.Future[Any]:
        attempt = 0
        while True:
            await asyncio.sleep(REOPEN_DELAYS[min(attempt, len(REOPEN_DELAYS) - 1)])
            attempt += 1
            try:
                if socket == PRIVATE:
                    await self._resync()
                return await self._open(socket)
            except Exception as error:
                for key in self._keys(socket):
                    self._session.freshness.down(key, _why(error))

    async def _watch_silence(self) -> None:
        """Subscribe anew to what has fallen silent: an acknowledged subscription can be."""
        loop, interval = asyncio.get_running_loop(), self._session.freshness.interval
        while True:
            asleep = loop.time()
            await asyncio.sleep(interval)
            if loop.time() > asleep + 2 * interval:
                continue  # our own loop stood still: what came meanwhile has yet to be read
            silent: dict[str, list[Raw]] = {}
            fallen = self._session.freshness.check()
            traded = await self._traded() if fallen else ()
            for key in fallen:
                instrument = key.partition(":")[2]
                if instrument and instrument not in traded:
                    self._session.freshness.end(key)
                    continue
                socket, argument = self._places[key]
                silent.setdefault(socket, []).append(argument)
                self._catch_up(key)
            for socket, arguments in silent.items():
                try:
                    await self._transport.renew(socket, arguments)
                except (ConnectionError, ccxt.BaseError):
                    continue  # the socket is being lost, and `_keep` will see to it

    def _catch_up(self, key: str) -> None:
        kind, _, instrument = key.partition(":")
        if kind == "candle":
            self._session.flows[instrument].catch_up()


def _why(error: BaseException | None) -> str:
    """In few words, and never an exchange's text: it may echo a login."""
    if isinstance(error, Rejection):
        return f"refused with code {error.code}"
    if isinstance(error, ccxt.RequestTimeout | TimeoutError):
        return "no answer in time"
    return "connection lost"
