"""ccxt.pro's OKX client, bent as little as the session above it needs.

ccxt gives signing, TLS, rate limits, sockets with keep-alive and the demo account's addresses. Its parsers and
caches are passed by: every decoded push goes to one callback as it came, for a few microseconds where a parsed
ticker costs more than a hundred, with nothing dropped out of a burst and no dictionary changed in place.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import aiohttp
import ccxt
import msgspec
from ccxt.pro.okx import okx

from core.domain.errors import UserError
from core.venues.okx.messages import Raw, stream_key

PushHandler = Callable[[Raw], None]
FaultHandler = Callable[[str, Exception], None]

KEEP_ALIVE_MS = 3_000
"""A `ping` this often; two missing pongs end a half-open socket, which takes ccxt a minute by default."""

FAREWELL_SECONDS = 1.0

logger = logging.getLogger(__name__)


class Credentials:
    """An API key that does not show itself: neither in a repr, nor in what has passed `redact`."""

    __slots__ = ("key", "passphrase", "secret")

    def __init__(self, key: str, secret: str, passphrase: str) -> None:
        self.key, self.secret, self.passphrase = key, secret, passphrase

    def __repr__(self) -> str:
        return "Credentials(***)"

    def redact(self, text: str) -> str:
        """`text` without the key, the secret and the passphrase: OKX echoes a refused login whole."""
        for word in (self.secret, self.passphrase, self.key):
            if word:
                text = text.replace(word, "***")
        return text


class Rejection(ccxt.ExchangeError):  # type: ignore[misc]
    """The exchange's own answer that something did not succeed, decoded: its code decides what it means."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


def rejection_of(reply: Raw) -> Rejection | None:
    """What a decoded reply says went wrong. Of orders (code 1 or 2) the element's sCode is the reason."""
    code, message = str(reply.get("code", "")), str(reply.get("msg", ""))
    rows = reply.get("data")
    row = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else {}
    if row.get("sCode", "0") not in ("", "0"):
        return Rejection(str(row["sCode"]), str(row.get("sMsg", "")))
    return None if code in ("", "0") else Rejection(code, message)


class Transport(Protocol):
    """What the session above needs of a line to OKX: requests and sockets. It fails with a `Rejection`, ccxt's
    errors, aiohttp's, TimeoutError or OSError."""

    timeout: float
    """Milliseconds that bound a request."""

    def open(self) -> None: ...

    async def close(self) -> None: ...

    async def ask(self, verb: str, path: str, params: Any) -> Any:
        """The decoded reply of a request (`expTime` among `params` is its expiry); a Rejection where it said no."""

    def set_clock(self, ahead_ms: int) -> None:
        """The exchange's clock is so far ahead of this machine's: what requests are signed with."""

    async def post_local(self, path: str, body: Raw) -> None: ...

    async def open_socket(self, socket: str, arguments: Sequence[Raw], *, login: bool) -> Any: ...

    async def renew(self, socket: str, arguments: Sequence[Raw]) -> None: ...

    async def drop_socket(self, socket: str) -> None: ...


TransportMaker = Callable[[PushHandler, FaultHandler], Transport]


def method_name(verb: str, path: str) -> str:
    """ccxt's method for a path: GET trade/orders-pending -> privateGetTradeOrdersPending."""
    access = "public" if path.startswith(("public/", "market/", "system/")) else "private"
    return access + "".join(word.capitalize() for word in re.split("[/-]", f"{verb}/{path}"))


class OkxTransport(okx):  # type: ignore[misc]
    """One client for one account. `address` None is the real OKX (`sandbox`: its demo account), else
    `http://HOST:PORT` of an exchange that speaks OKX v5.

    `on_push` gets every `{"arg": ..., "data": [...]}`; what it raises, or a frame that cannot be decoded, goes
    to `on_fault(stream, error)` and never ends the receive loop.
    """

    logger = logger.getChild("ccxt")

    def __init__(
        self,
        *,
        address: str | None,
        credentials: Credentials,
        sandbox: bool,
        on_push: PushHandler,
        on_fault: FaultHandler,
        timeout: float = 10.0,
    ) -> None:
        super().__init__(
            {
                "apiKey": credentials.key,
                "secret": credentials.secret,
                "password": credentials.passphrase,
                "timeout": int(timeout * 1000),
                "enableRateLimit": address is None,
                "verify": address is None,  # no certificates are loaded for loopback
                "options": {"fetchMarkets": {"types": ["swap"]}},
                "streaming": {"keepAlive": KEEP_ALIVE_MS},
            }
        )
        # ccxt logs every request at DEBUG with its headers, which hold the key and the passphrase.
        self.logger.setLevel(logging.WARNING)
        self.on_push, self.on_fault = on_push, on_fault
        self.sandbox = sandbox
        if address is not None:
            local = {"rest": address, "ws": address.replace("http", "ws", 1) + "/ws/v5"}
            self.urls["api"], self.urls["test"] = dict(local), dict(local)
            self.timeout_on_exit = 0  # ccxt's pause for the sake of TLS
        if sandbox:
            self.set_sandbox_mode(True)

    # --- requests ------------------------------------------------------------------------------------

    async def ask(self, verb: str, path: str, params: Any) -> Any:
        return await getattr(self, method_name(verb, path))({} if params is None else params)

    def set_clock(self, ahead_ms: int) -> None:
        self.options["timeDifference"] = -ahead_ms

    def sign(self, path: str, api: Any = "public", method: str = "GET", params: Any = None) -> dict[str, Any]:
        """ccxt has no parameter for OKX's expiry of a request: `expTime` among `params` becomes the header."""
        params = {} if params is None else params
        expires = params.get("expTime") if isinstance(params, Mapping) else None
        if expires is not None:
            params = {name: value for name, value in params.items() if name != "expTime"}
        request: dict[str, Any] = super().sign(path, api, method, params)
        if expires is not None:
            request["headers"]["expTime"] = expires
        return request

    def handle_errors(
        self, status: int, reason: str, url: str, method: str, headers: Raw, body: str, reply: Any, *rest: Any
    ) -> None:
        """Raise the exchange's own answer, whatever the HTTP status: ccxt would fold its code into a text that
        also holds the whole body."""
        if isinstance(reply, Mapping):
            rejection = rejection_of(reply)
            if rejection is not None:
                raise rejection

    async def post_local(self, path: str, body: Raw) -> None:
        """A request outside OKX's API, unsigned, to the address this client points to.

        aiohttp.ClientError, TimeoutError: it failed."""
        self.open()
        timeout = aiohttp.ClientTimeout(total=self.timeout / 1000)
        async with self.session.post(self.urls["api"]["rest"] + path, json=body, timeout=timeout) as reply:
            reply.raise_for_status()

    # --- sockets -------------------------------------------------------------------------------------

    def seconds(self) -> int:
        """ccxt signs a socket's login with this machine's clock; the exchange wants its own."""
        return int(self.nonce() // 1000)

    def socket_url(self, socket: str) -> str:
        return str(self.get_url("", socket))

    def client(self, url: str) -> Any:
        """ccxt decodes a frame outside of any handler, so that a cut one would end the receive loop."""
        client = super().client(url)
        client.handle_text_or_binary_message = lambda data: self._receive(client, data)
        return client

    def _receive(self, client: Any, data: str | bytes) -> None:
        try:
            self.handle_message(client, data if data == "pong" else msgspec.json.decode(data))
        except Exception as error:
            self.on_fault(client.url.partition("/ws/v5/")[2].partition("?")[0], error)

    def handle_message(self, client: Any, message: Any) -> None:
        """Every decoded frame. An error event rejects all that waits on the socket: it is then made anew."""
        if message == "pong":
            self.handle_pong(client, message)
        elif "data" in message and "arg" in message:
            try:
                self.on_push(message)
            except Exception as error:
                self.on_fault(stream_key(message["arg"]), error)
        elif message.get("event") == "subscribe":
            client.resolve(message, "subscribed:" + stream_key(message["arg"]))
        elif message.get("event") in ("error", "login") and str(message.get("code", "0")) != "0":
            client.reject(Rejection(str(message["code"]), str(message.get("msg", ""))))
        elif message.get("event") == "login":
            client.resolve(message, "authenticated")

    async def open_socket(self, socket: str, arguments: Sequence[Raw], *, login: bool) -> Any:
        """Connect, log in where asked, subscribe to `arguments`; returns once every one is acknowledged, with a
        future that fails as soon as the socket is lost, for whatever reason.

        Rejection: refused; ccxt.NetworkError: not reached. Bound it by a timeout, and `drop_socket` after any
        failure: a client that has been refused something hangs for ever."""
        url = self.socket_url(socket)
        self.ws_dial_backoff: dict[str, Any] = {}  # the caller paces its attempts
        client = self.client(url)
        keys = ["subscribed:" + stream_key(argument) for argument in arguments]
        lost, *acknowledged = [self._expect(client, key) for key in ("lost", *keys)]
        if login:
            await self.authenticate({"access": socket})
        self.watch(url, keys[0], {"op": "subscribe", "args": list(arguments)}, keys[0])
        for each in acknowledged:
            await each
        return lost

    @staticmethod
    def _expect(client: Any, name: str) -> Any:
        """A future of the client that nobody needs to await: asyncio complains of unseen exceptions."""
        future = client.future(name)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future

    async def renew(self, socket: str, arguments: Sequence[Raw]) -> None:
        """Subscribe again to streams that have fallen silent on a socket that is open."""
        client = self.clients.get(self.socket_url(socket))
        if client is not None:
            await client.send({"op": "unsubscribe", "args": list(arguments)})
            await client.send({"op": "subscribe", "args": list(arguments)})

    async def drop_socket(self, socket: str) -> None:
        """Close it, whatever its state; the next `open_socket` begins anew. A half-open one says no farewell."""
        client = self.clients.pop(self.socket_url(socket), None)
        if client is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(client.close(), FAREWELL_SECONDS)


def check_address(address: str) -> str:
    """`address` without a trailing slash. UserError unless it is plain http on this machine: another host could
    be an exchange with real money."""
    head, _, tail = address.rstrip("/").partition("://")
    host, _, port = tail.rpartition(":")
    if head != "http" or host not in ("127.0.0.1", "localhost", "[::1]") or not port.isdigit():
        raise UserError(f"exchange address {address!r}: expected http://127.0.0.1:PORT of the local exchange")
    return f"{head}://{tail}"
