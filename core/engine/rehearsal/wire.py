"""The line to the exchange on virtual time: OKX's requests and pushes as bytes, with what may befall them."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import ccxt
import msgspec

from core.clock import wall_ms
from core.engine.rehearsal.faults import CODES, Faults
from core.engine.rehearsal.life import Crashed, Life
from core.engine.rehearsal.world import World
from core.venues.okx.messages import Raw, stream_key
from core.venues.okx.transport import FaultHandler, PushHandler, Rejection, rejection_of
from core.venues.okx_local.rest import Reply, Request
from core.venues.okx_local.stream import Connection

HALF_OPEN_S = 9.0
"""After so many seconds without a pong a client gives a socket up (ccxt: two missing pongs, a ping every 3 s)."""

HTML = b"<!DOCTYPE html><html><body>Please wait...</body></html>"


class Line(Connection):
    """One socket of one process. What is sent arrives in order, a moment later, unless a fault has it otherwise."""

    def __init__(self, path: str, wire: "Wire") -> None:
        super().__init__(path)
        self._wire = wire
        self._waiting: deque[bytes] = deque()
        self._loop = asyncio.get_running_loop()
        self.acknowledged: dict[str, asyncio.Future[None]] = {}
        self.lost: asyncio.Future[Any] = self._future()

    def _future(self) -> asyncio.Future[Any]:
        """One that nobody needs to await: asyncio complains of unseen exceptions."""
        future: asyncio.Future[Any] = self._loop.create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future

    def send(self, message: bytes) -> None:
        if self.silent or self.dropped:
            return
        if not self._waiting:
            self._later(self._wire.faults.latency(), self._drain)
        self._waiting.append(message)

    def cut(self) -> None:
        self._later(self._wire.faults.latency(), self.end)

    def freeze(self) -> None:
        """Tell nothing more, and be found out by the missing pongs."""
        self.silent = True
        self._later(HALF_OPEN_S, self.end)

    def end(self, why: Exception | None = None) -> None:
        """The client sees that the socket is gone."""
        error = why or ccxt.NetworkError("connection closed")
        for future in (self.lost, *self.acknowledged.values()):
            if not future.done():
                future.set_exception(error)

    def tell(self, text: str) -> None:
        """What the client says, on its way to the exchange."""
        self._loop.call_later(self._wire.faults.latency(), self._heard, text, context=self._wire.world.context)

    def expect(self, name: str) -> asyncio.Future[None]:
        return self.acknowledged.setdefault(name, self._future())

    def _heard(self, text: str) -> None:
        if self in self._wire.world.exchange.hub.connections:
            self._wire.world.exchange.hub.receive(self, text)

    def _later(self, delay: float, act: Callable[[], None]) -> None:
        self._loop.call_later(delay, act, context=self._wire.life.context)

    def _drain(self) -> None:
        messages, self._waiting = self._waiting, deque()
        late: list[bytes] = []
        for message in messages:
            if not self._wire.life.alive or self.dropped:
                return
            account = self.path == "private"
            match self._wire.faults.push(account) if b'"data"' in message else "":
                case "push-lost":
                    continue
                case "push-doubled":
                    self._wire.receive(self, message)
                case "push-late":
                    late.append(message)
                    continue
                case "push-cut":
                    message = message[: len(message) // 2]
            self._wire.receive(self, message)
        for message in late:
            delay = self._wire.faults.of("push-late").uniform(0.0, 20.0)
            self._loop.call_later(delay, self._receive_late, message, context=self._wire.life.context)

    def _receive_late(self, message: bytes) -> None:
        if self._wire.life.alive and not self.dropped:
            self._wire.receive(self, message)


class Wire:
    """`core.venues.okx.transport.Transport` of one life, to the exchange of `world`."""

    def __init__(
        self, world: World, life: Life, faults: Faults, on_push: PushHandler, on_fault: FaultHandler, timeout: float
    ) -> None:
        self.world, self.life, self.faults = world, life, faults
        self.timeout = timeout * 1000
        self._on_push, self._on_fault = on_push, on_fault
        self._ahead_ms = 0
        self._lines: dict[str, Line] = {}

    def open(self) -> None:
        """There is nothing to open before the first request."""

    async def close(self) -> None:
        for socket in list(self._lines):
            await self.drop_socket(socket)

    def set_clock(self, ahead_ms: int) -> None:
        self._ahead_ms = ahead_ms

    async def post_local(self, path: str, body: Raw) -> None:
        raise AssertionError(f"{path}: there is no lockstep in a rehearsal")

    # --- requests ------------------------------------------------------------------------------------

    async def ask(self, verb: str, path: str, params: Any) -> Any:
        self.life.pass_gate()
        reply = await self._answer(self._request(verb, path, params))
        self.life.pass_gate()
        if reply is None or not isinstance(reply, Mapping):
            return reply
        rejection = rejection_of(reply)
        if rejection is not None:
            raise rejection
        return reply

    def _request(self, verb: str, path: str, params: Any) -> Request:
        """The request as ccxt would sign it, `expTime` being a header."""
        headers: dict[str, str] = {}
        if isinstance(params, Mapping) and "expTime" in params:
            headers["expTime"] = str(params["expTime"])
            params = {name: value for name, value in params.items() if name != "expTime"}
        query = {k: str(v) for k, v in params.items()} if verb == "GET" and params else {}
        raw = _raw(path, tuple(query.items()))
        body = "" if verb == "GET" else msgspec.json.encode(params).decode()
        if not path.startswith(("public/", "market/")):
            keys = self.world.keys
            at = datetime.fromtimestamp((wall_ms() + self._ahead_ms) / 1000, UTC).isoformat(timespec="milliseconds")
            headers |= {
                "OK-ACCESS-KEY": keys.key,
                "OK-ACCESS-PASSPHRASE": keys.passphrase,
                "OK-ACCESS-TIMESTAMP": at,
                "OK-ACCESS-SIGN": keys.sign(at + verb + raw + body),
            }
        return Request(verb, path, raw, query, headers, body)

    async def _answer(self, request: Request) -> Any:
        """Send, wait, decode. TimeoutError, ccxt's errors: the outcome is not known."""
        loop = asyncio.get_running_loop()
        posts = request.method == "POST"
        fate = self.faults.request(posts, CODES.get(request.path, ()) if posts else ())
        answered: asyncio.Future[Reply] = loop.create_future()

        def arrive(first: bool) -> None:
            reply = self.world.answer(request, fate.code, fate.executed)
            if first and fate.down is not None:
                loop.call_later(fate.down, _set, answered, reply)

        if fate.up is not None:
            loop.call_later(fate.up, arrive, True, context=self.world.context)
            if fate.again is not None:
                expiry = int(request.headers.get("expTime", "0")) / 1000 - self.world.epoch_ms / 1000
                at = max(loop.time() + fate.up, expiry) + fate.again
                loop.call_at(at, arrive, False, context=self.world.context)
        if fate.cut:
            loop.call_later(3 * self.faults.latency(), _fail, answered, ccxt.NetworkError("connection reset"))
        patience = self.timeout / 1000
        if fate.up is None or fate.down is None or fate.up + fate.down > patience:  # Else the answer is in time.
            loop.call_later(patience, _fail, answered, TimeoutError())
        status, content = await answered
        return _decoded(status, _spoiled(content, fate.spoiled), fate.spoiled)

    # --- sockets -------------------------------------------------------------------------------------

    async def open_socket(self, socket: str, arguments: Sequence[Raw], *, login: bool) -> Any:
        self.life.pass_gate()
        await asyncio.sleep(2 * self.faults.latency())
        self.life.pass_gate()
        line = self._lines[socket] = Line(socket, self)
        self.world.do(self.world.exchange.hub.join, line)
        if login:
            stamp = str((wall_ms() + self._ahead_ms) // 1000)
            keys = self.world.keys
            sign = keys.sign(f"{stamp}GET/users/self/verify")
            who = {"apiKey": keys.key, "passphrase": keys.passphrase, "timestamp": stamp, "sign": sign}
            known = line.expect("login")
            line.tell(msgspec.json.encode({"op": "login", "args": [who]}).decode())
            await known
        waiting = [line.expect(stream_key(argument)) for argument in arguments]
        line.tell(msgspec.json.encode({"op": "subscribe", "args": list(arguments)}).decode())
        for each in waiting:
            await each
        self.life.pass_gate()
        return line.lost

    async def renew(self, socket: str, arguments: Sequence[Raw]) -> None:
        line = self._lines.get(socket)
        if line is not None:
            self.life.pass_gate()
            for operation in ("unsubscribe", "subscribe"):
                line.tell(msgspec.json.encode({"op": operation, "args": list(arguments)}).decode())

    async def drop_socket(self, socket: str) -> None:
        line = self._lines.pop(socket, None)
        if line is not None:
            line.dropped = True
            self.world.do(self.world.exchange.hub.leave, line)

    def receive(self, line: Line, data: bytes) -> None:
        """One frame has come to the client, which treats it as the real one does."""
        with suppress(Crashed):
            self.life.pass_gate()
            self._receive(line, data)

    def _receive(self, line: Line, data: bytes) -> None:
        try:
            message = msgspec.json.decode(data)
            if "data" in message and "arg" in message:
                self.world.heard(stream_key(message["arg"]))
                try:
                    self._on_push(message)
                except Exception as error:
                    self._on_fault(stream_key(message["arg"]), error)
            elif message.get("event") in ("error", "login") and str(message.get("code", "0")) != "0":
                line.end(Rejection(str(message["code"]), str(message.get("msg", ""))))
            elif message.get("event") in ("subscribe", "login"):
                name = "login" if message["event"] == "login" else stream_key(message["arg"])
                future = line.acknowledged.get(name)
                if future is not None and not future.done():
                    future.set_result(None)
        except Exception as error:
            self._on_fault(line.path, error)


@lru_cache(maxsize=256)
def _raw(path: str, query: tuple[tuple[str, str], ...]) -> str:
    return f"/api/v5/{path}" + (f"?{urlencode(query)}" if query else "")


def _set(answered: "asyncio.Future[Reply]", reply: Reply) -> None:
    if not answered.done():
        answered.set_result(reply)


def _fail(answered: "asyncio.Future[Reply]", error: Exception) -> None:
    if not answered.done():
        answered.set_exception(error)


def _spoiled(content: bytes, how: str) -> bytes:
    match how:
        case "html":
            return HTML
        case "empty":
            return b""
        case "cut":
            return content[: len(content) // 2]
        case _:
            return content


def _decoded(status: int, content: bytes, spoiled: str) -> Any:
    """As ccxt hands it on: what is no JSON raises nothing, a server error does."""
    if spoiled.isdigit() or (status >= 500 and not content):
        raise (ccxt.RequestTimeout if spoiled == "504" else ccxt.ExchangeNotAvailable)(f"HTTP {spoiled or status}")
    try:
        return _parsed(content)
    except msgspec.DecodeError:
        return None


@lru_cache(maxsize=32)
def _parsed(content: bytes) -> Any:
    """An answer's JSON, which nobody changes: most answers are those of the minute before."""
    return msgspec.json.decode(content)
