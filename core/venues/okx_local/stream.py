"""The sockets: login, subscriptions, and pushes through bounded queues.

OKX has three paths: /public (market data), /private (the account) and /business (candles, trigger orders).
A client that does not read is cut off when its queue is full: it never costs memory, and its silence never stops
the market.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from itertools import count

import msgspec
from aiohttp import WSMsgType, web

from core.venues.okx_local.auth import Denied, Keys, check_login

QUEUE = 5_000
"""Messages that may wait for one client."""

_CHANNELS = {
    "public": {"tickers", "mark-price", "funding-rate", "books", "books5", "bbo-tbt", "trades"},
    "private": {"orders", "positions", "account", "balance_and_position"},
    "business": {"orders-algo"},
}
_ACCOUNT = _CHANNELS["private"] | {"orders-algo"}

Push = tuple[str, list[dict[str, object]] | list[list[str]]]
"""(action, data): the action is empty but for books."""


class Connection(ABC):
    """One client at one of the three paths. How a message reaches it is the line's affair: a socket here, a wire
    on virtual time in a rehearsal."""

    def __init__(self, path: str) -> None:
        self.name, self.path = "", path
        self.logged_in = False
        self.silent = self.dropped = False

    @abstractmethod
    def send(self, message: bytes) -> None:
        """One text frame, without waiting."""

    @abstractmethod
    def cut(self) -> None:
        """End the line without a word."""

    def event(self, name: str, **fields: object) -> None:
        self.send(msgspec.json.encode({"event": name, **fields, "connId": self.name}))

    def drop(self) -> None:
        self.dropped = True
        self.cut()


class Socket(Connection):
    """A client's WebSocket and what waits to be sent to it."""

    def __init__(self, path: str, request: web.Request, socket: web.WebSocketResponse) -> None:
        super().__init__(path)
        self._request, self._socket = request, socket
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(QUEUE)

    def send(self, message: bytes) -> None:
        try:
            self._waiting.put_nowait(message)
        except asyncio.QueueFull:
            self.drop()

    def cut(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()

    async def write(self) -> None:
        """Send what waits, until cancelled or the client is gone."""
        while True:
            message = await self._waiting.get()
            if not self.silent:
                await self._socket.send_frame(message, WSMsgType.TEXT)


class Hub:
    """Who listens to what.

    `instruments` are the ids that exist, `bar` the one candle channel (`candle1H`), `snapshot(channel,
    instrument)` gives what a new subscriber is sent at once. `changed` is called when somebody logs in, subscribes,
    comes or goes. `bend`, if set, sends each push in its own way: see `faults`.
    """

    def __init__(
        self,
        keys: Keys,
        instruments: Iterable[str],
        candle: str,
        snapshot: Callable[[str, str], list[Push]],
        changed: Callable[[], None],
        server_ms: Callable[[], int],
    ) -> None:
        self.bend: Callable[[Connection, str, str, bytes], None] | None = None
        self.connections: dict[Connection, None] = {}
        self.muted: set[tuple[str, str]] = set()
        self._keys, self._instruments, self._candle = keys, frozenset(instruments), candle
        self._snapshot, self._changed, self._server_ms = snapshot, changed, server_ms
        self._listeners: dict[tuple[str, str], dict[tuple[Connection, bytes], None]] = {}
        self._names = count(1)

    def listened(self, channel: str, instrument: str = "") -> bool:
        return bool(self._listeners.get((channel, instrument)))

    @property
    def ready(self) -> bool:
        """Somebody has logged in, and somebody listens to candles."""
        listening = any(key[0] == self._candle and who for key, who in self._listeners.items())
        return listening and any(connection.logged_in for connection in self.connections)

    def publish(self, channel: str, instrument: str, data: object, action: str = "") -> None:
        """Queue one push for everyone who subscribed to `channel`, of this instrument or of all."""
        if (channel, instrument) in self.muted or (channel, "") in self.muted:
            return
        keys = ((channel, instrument), (channel, "")) if instrument else ((channel, ""),)
        listeners = [who for key in keys for who in self._listeners.get(key, ())]
        if listeners:
            tail = _tail(data, action)
            for connection, head in listeners:
                if self.bend is None:
                    connection.send(head + tail)
                else:
                    self.bend(connection, channel, instrument, head + tail)

    def drop_all(self) -> None:
        for connection in list(self.connections):
            connection.drop()

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """One client's socket, from its coming to its going."""
        path = request.match_info["path"]
        socket = web.WebSocketResponse(max_msg_size=1 << 20)
        if path not in _CHANNELS:
            raise web.HTTPNotFound
        await socket.prepare(request)
        connection = Socket(path, request, socket)
        self.join(connection)
        writer = asyncio.create_task(connection.write())
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self.receive(connection, message.data)
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            self.leave(connection)
        return socket

    def join(self, connection: Connection) -> None:
        """A client has come."""
        connection.name = f"local{next(self._names)}"
        self.connections[connection] = None
        self._changed()

    def leave(self, connection: Connection) -> None:
        """A client has gone, with all it listened to."""
        self.connections.pop(connection, None)
        for listeners in self._listeners.values():
            for key in [key for key in listeners if key[0] is connection]:
                del listeners[key]
        self._changed()

    def receive(self, connection: Connection, text: str) -> None:
        """What a client says: ping, login, subscribe, unsubscribe."""
        if text == "ping":
            connection.send(b"pong")
            return
        try:
            request = msgspec.json.decode(text, type=dict[str, object])
            args = msgspec.convert(request.get("args"), list[dict[str, str]])
        except (msgspec.DecodeError, RecursionError):
            connection.event("error", code="60012", msg=f"Illegal request: {text[:500]}")
            return
        operation = request.get("op")
        if operation == "login":
            self._login(connection, args)
        elif operation == "subscribe":
            for arg in args:
                self._subscribe(connection, arg)
        elif operation == "unsubscribe":
            for arg in args:
                self._listeners.get(_key(arg), {}).pop((connection, _head(arg)), None)
                connection.event("unsubscribe", arg=arg)
        else:
            connection.event("error", code="60019", msg=f"Invalid op: {operation}")

    def _login(self, connection: Connection, args: list[dict[str, str]]) -> None:
        try:
            if connection.path == "public":
                raise Denied("60008", "Login is not supported for public channels")
            check_login(self._keys, args[0] if args else {}, self._server_ms())
        except Denied as denied:
            connection.event("error", code=denied.code, msg=denied.message)
            return
        connection.logged_in = True
        connection.event("login", code="0", msg="")
        self._changed()

    def _subscribe(self, connection: Connection, arg: dict[str, str]) -> None:
        channel, instrument = _key(arg)
        candle = connection.path == "business" and channel == self._candle
        known = candle or channel in _CHANNELS[connection.path]
        whole = channel in _ACCOUNT and not instrument
        if not known or not (whole or instrument in self._instruments):
            connection.event(
                "error",
                code="60018",
                msg=f"Wrong URL or channel:{channel},instId:{instrument} doesn't exist. Please use the correct"
                " URL, channel and parameters referring to API document.",
            )
            return
        if channel in _ACCOUNT and not connection.logged_in:
            connection.event("error", code="60011", msg="Please log in")
            return
        head = _head(arg)
        self._listeners.setdefault((channel, instrument), {})[connection, head] = None
        connection.event("subscribe", arg=arg)
        if not {(channel, instrument), (channel, "")} & self.muted:
            for action, data in self._snapshot(channel, instrument):
                connection.send(head + _tail(data, action))
        self._changed()


def _key(arg: dict[str, str]) -> tuple[str, str]:
    return arg.get("channel", ""), arg.get("instId", "")


def _head(arg: dict[str, str]) -> bytes:
    return b'{"arg":' + msgspec.json.encode(arg)


def _tail(data: object, action: str) -> bytes:
    word = b',"action":"' + action.encode() + b'"' if action else b""
    return word + b',"data":' + msgspec.json.encode(data) + b"}"
