"""Trouble on order: what a test asks the exchange to do wrong, by `POST /local/faults`.

A request fault names the requests it waits for: `match` is a part of the path (`trade/batch-orders`), `body` a part
of the body, `nth` which such request is hit first (1), `times` how many are hit (1). What it does, where *later*
means after `seconds`, or on `{"do": "release"}`:

===============  =====================================================================================
`drop_reply`     the request is executed, then the connection is cut
`drop_before`    the connection is cut, nothing is executed
`deliver_late`   the connection is cut; the request is executed later
`delay`          the request is executed and answered later
`late_reply`     the request is executed at once and answered later
`twice`          the request is executed and answered, and later executed once more, unseen
`http_500`       HTTP 500, nothing is executed (also any other `http_NNN`)
`html`, `empty`  executed, but answered with HTTP 200 and a web page, or nothing
`code:51008`     refused with this code, nothing is executed; with `element` n only the n-th (0..) of a batch
===============  =====================================================================================

A push fault names the pushes it waits for: `channel` (`orders`) and `instId` (none: any), `nth` and `times` as
above, each listener's copy counted:

=============  =====================================================
`push_double`  sent twice
`push_lose`    not sent
`push_late`    sent later
`push_swap`    sent after the next push that this client gets
`push_cut`     the first half of its bytes is sent
=============  =====================================================

A socket fault acts at once: `{"socket": "private" | "public" | "business" | "all", "do": "drop"}` cuts,
`"do": "silence"` leaves the connections open and sends nothing more on them (not even a pong).
`{"channel": "tickers", "instId": "BTC-USDT-SWAP", "do": "mute"}` acknowledges subscriptions and pushes nothing
(no instId: all instruments).

Three faults change the exchange itself: `thin` leaves the share `share` of the book of `instId` (of all, if none is
named), so that orders fill in part; `maintenance` answers private requests with HTTP 503 and code 50001, for
`seconds` if given; `clock` sets the server's clock `seconds` ahead of the machine's (negative: behind).
`{"do": "clear"}` ends all of this but for a cut.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import msgspec

from core.venues.okx_local.exchange import Exchange
from core.venues.okx_local.stream import Connection

_REQUEST = {"drop_reply", "drop_before", "deliver_late", "delay", "late_reply", "twice", "html", "empty"}
_PUSH = {"push_double", "push_lose", "push_late", "push_swap", "push_cut"}
_PRIVATE = ("account/", "trade/")
MAINTENANCE = msgspec.json.encode(
    {"code": "50001", "msg": "Service temporarily unavailable. Please try again later.", "data": []}
)


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
    share: float = 0.0

    def hits(self, path: str, body: str) -> bool:
        """Count this request; True where the fault is due."""
        return self.match in path and self.body in body and self._counted()

    def hits_push(self, channel: str, instrument: str) -> bool:
        """Count this push; True where the fault is due."""
        return self.channel in ("", channel) and self.instId in ("", instrument) and self._counted()

    def _counted(self) -> bool:
        self.nth -= 1
        return -self.times < self.nth <= 0

    @property
    def code(self) -> str:
        return self.do.removeprefix("code:") if self.do.startswith("code:") else ""

    @property
    def status(self) -> int:
        digits = self.do.removeprefix("http_")
        return int(digits) if self.do.startswith("http_") and digits.isdecimal() else 0


class Faults:
    """The faults that wait, and the requests and pushes they hold."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange, self._hub = exchange, exchange.hub
        self._requests: list[Fault] = []
        self._pushes: list[Fault] = []
        self._swapped: dict[Connection, list[bytes]] = {}
        self._gate = asyncio.Event()
        self._late: set[asyncio.Task[None]] = set()
        self._reopens: float | None = None
        """Loop time at which maintenance is over; None: there is none."""
        self._acts: dict[str, Callable[[Fault], None]] = {
            "clear": self._clear,
            "release": self._release,
            "mute": lambda fault: self._hub.muted.add((fault.channel, fault.instId)),
            "drop": self._strike,
            "silence": self._strike,
            "thin": self._thin,
            "maintenance": self._close_doors,
            "clock": self._set_clock,
        }

    def add(self, fault: Fault) -> None:
        """Arm a fault of requests or pushes, or act at once. ValueError names what is unknown."""
        if fault.do in self._acts:
            self._acts[fault.do](fault)
        elif fault.do in _PUSH:
            self._pushes.append(fault)
            self._hub.bend = self._bend
        elif fault.do in _REQUEST or fault.code or 400 <= fault.status <= 599:
            self._requests.append(fault)
        else:
            raise ValueError(f"do {fault.do!r}: not a fault; see core/venues/okx_local/faults.py")

    def due(self, path: str, body: str) -> Fault | None:
        """The fault that this request (`METHOD path`) meets, if any."""
        if self._reopens is not None and path.partition(" ")[2].startswith(_PRIVATE):
            if asyncio.get_running_loop().time() < self._reopens:
                return Fault("maintenance")
            self._reopens = None
        met = [fault for fault in self._requests if fault.hits(path, body)]
        return met[0] if met else None

    async def hold(self, fault: Fault) -> None:
        """Wait `seconds`, or until released."""
        with suppress(TimeoutError):
            async with asyncio.timeout(fault.seconds):
                await self._gate.wait()

    def later(self, fault: Fault, act: Callable[[], object]) -> None:
        """Do `act` after `seconds`, or when released."""

        async def wait() -> None:
            await self.hold(fault)
            act()

        task = asyncio.create_task(wait())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    def close(self) -> None:
        """Forget what was to happen later."""
        for task in self._late:
            task.cancel()

    # --- what acts at once ---------------------------------------------------------------------------

    def _clear(self, fault: Fault) -> None:
        self._requests.clear()
        self._pushes.clear()
        self._swapped.clear()
        self._hub.bend = None
        self._hub.muted.clear()
        self._reopens = None
        self._exchange.thinned.clear()
        self._exchange.clock_shift = 0
        for connection in self._hub.connections:
            connection.silent = False

    def _release(self, fault: Fault) -> None:
        self._gate.set()
        self._gate = asyncio.Event()

    def _strike(self, fault: Fault) -> None:
        for connection in list(self._hub.connections):
            if fault.socket in (connection.path, "all"):
                connection.silent = fault.do == "silence"
                if fault.do == "drop":
                    connection.drop()

    def _thin(self, fault: Fault) -> None:
        if not 0 <= fault.share <= 1:
            raise ValueError(f"share {fault.share}: a share of the book, from 0 to 1")
        listed = self._exchange.market.index
        if fault.instId and fault.instId not in listed:
            raise ValueError(f"instId {fault.instId!r}: not listed here")
        for instrument in (fault.instId,) if fault.instId else listed:
            self._exchange.thinned[instrument] = fault.share
        self._exchange.obey((), self._exchange.market.quotes())
        self._exchange.commit()

    def _close_doors(self, fault: Fault) -> None:
        now = asyncio.get_running_loop().time()
        self._reopens = float("inf") if fault.seconds is None else now + fault.seconds

    def _set_clock(self, fault: Fault) -> None:
        self._exchange.clock_shift = int(1000 * (fault.seconds or 0))

    # --- pushes --------------------------------------------------------------------------------------

    def _bend(self, connection: Connection, channel: str, instrument: str, message: bytes) -> None:
        """Send one push, as the fault it meets wants it."""
        met = [fault for fault in self._pushes if fault.hits_push(channel, instrument)]
        do = met[0].do if met else ""
        if do == "push_swap":
            self._swapped.setdefault(connection, []).append(message)
            return
        if do == "push_late":
            self.later(met[0], lambda: connection.send(message))
        elif do == "push_cut":
            connection.send(message[: len(message) // 2])
        elif do != "push_lose":
            for _ in range(2 if do == "push_double" else 1):
                connection.send(message)
        for held in self._swapped.pop(connection, ()):
            connection.send(held)
