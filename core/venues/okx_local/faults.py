"""Trouble on order: what a test asks the exchange to do wrong.

A request fault (`POST /local/faults`) names the requests it waits for: `match` is a part of the path
(`trade/batch-orders`), `body` a part of the body, `nth` which such request is hit first (1), `times` how many are
hit (1). What it does:

===============  =====================================================================================
`drop_reply`     the request is executed, then the connection is cut
`drop_before`    the connection is cut, nothing is executed
`deliver_late`   the connection is cut; the request is executed after `seconds`, or on `{"do": "release"}`
`delay`          the request is executed and answered after `seconds`, or on `{"do": "release"}`
`http_500`       HTTP 500, nothing is executed (also any other `http_NNN`)
`html`, `empty`  executed, but answered with HTTP 200 and a web page, or nothing
`code:51008`     refused with this code, nothing is executed; with `element` n only the n-th (0..) of a batch
===============  =====================================================================================

A socket fault acts at once: `{"socket": "private" | "public" | "business" | "all", "do": "drop"}` cuts,
`"do": "silence"` leaves the connections open and sends nothing more on them (not even a pong).
`{"channel": "tickers", "instId": "BTC-USDT-SWAP", "do": "mute"}` acknowledges subscriptions and pushes nothing
(no instId: all instruments). `{"do": "clear"}` ends all this but for the cut.
"""

import asyncio
from contextlib import suppress

import msgspec

from core.venues.okx_local.stream import Hub


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """One wish; see the module's text."""

    do: str
    match: str = ""
    body: str = ""
    nth: int = 1
    times: int = 1
    seconds: float | None = None
    element: int | None = None
    socket: str = ""
    channel: str = ""
    instId: str = ""

    def hits(self, path: str, body: str) -> bool:
        """Count this request; True where the fault is due."""
        if self.match not in path or self.body not in body:
            return False
        self.nth -= 1
        return -self.times < self.nth <= 0

    @property
    def code(self) -> str:
        return self.do.removeprefix("code:") if self.do.startswith("code:") else ""

    @property
    def status(self) -> int:
        return int(self.do.removeprefix("http_")) if self.do.startswith("http_") else 0


class Faults:
    """The faults that wait, and the requests they hold."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._waiting: list[Fault] = []
        self._gate = asyncio.Event()

    def add(self, fault: Fault) -> None:
        """Arm a request fault, or act on sockets. ValueError names what is unknown."""
        if fault.do == "clear":
            self._waiting.clear()
            self._hub.muted.clear()
            for connection in self._hub.connections:
                connection.silent = False
        elif fault.do == "release":
            self._gate.set()
            self._gate = asyncio.Event()
        elif fault.do == "mute":
            self._hub.muted.add((fault.channel, fault.instId))
        elif fault.do in ("drop", "silence"):
            for connection in list(self._hub.connections):
                if fault.socket in (connection.path, "all"):
                    connection.silent = fault.do == "silence"
                    if fault.do == "drop":
                        connection.drop()
        elif (
            fault.do in ("drop_reply", "drop_before", "deliver_late", "delay", "html", "empty")
            or fault.code
            or (fault.do[5:].isdigit() and fault.status >= 400)
        ):
            self._waiting.append(fault)
        else:
            raise ValueError(f"do {fault.do!r}: not a fault; see core/venues/okx_local/faults.py")

    def due(self, path: str, body: str) -> Fault | None:
        """The fault that this request meets, if any."""
        met = [fault for fault in self._waiting if fault.hits(path, body)]
        return met[0] if met else None

    async def hold(self, fault: Fault) -> None:
        """Wait `seconds`, or until released."""
        with suppress(TimeoutError):
            async with asyncio.timeout(fault.seconds):
                await self._gate.wait()
