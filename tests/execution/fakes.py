"""An exchange for the acting hands: the matching core behind the venue port, with faults to order.

Two instruments of round numbers. BTC: mark 1000.0, lot and minimum 0.1 contracts of 0.01 BTC. ETH: mark 100.00, lot
and minimum 1 contract of 0.1 ETH. One contract of either is worth 10 USDT.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal as D
from enum import Enum

from core.domain.account import Balance, Bill, Position
from core.domain.instrument import Instrument
from core.domain.market import Candle, Funding
from core.domain.orders import Fill, Order, OrderReport, OrderType, Protection
from core.matching.core import Matching
from core.matching.rules import Rules
from core.matching.types import (
    Cancel,
    CancelTrigger,
    Command,
    Event,
    Place,
    PlaceTrigger,
    Quote,
    Rejected,
    SetLeverage,
    SettleFunding,
)
from core.venues.paper import PaperAccount
from core.venues.port import Capabilities, Refused, Unknown, Unreachable, VenueEvent

BTC, ETH = "BTC-USDT-SWAP", "ETH-USDT-SWAP"
SPECS = {
    BTC: Instrument(BTC, "BTC", "USDT", "USDT", D("0.01"), D("0.1"), D("0.1"), D("0.1"), D(5000), D(100)),
    ETH: Instrument(ETH, "ETH", "USDT", "USDT", D("0.1"), D(1), D("0.01"), D(1), D(5000), D(50)),
}
DEEP = 100_000_000.0  # value traded per bar: levels of thousands of contracts
THIN = 0.0  # every level holds one minimum order


class Fault(Enum):
    """What happens to one request. `LATE_*`: what is late comes after half a second."""

    LOST_REPLY = "executed, the reply is lost"
    LOST_REQUEST = "never arrives, and there is no reply"
    UNREACHABLE = "could not be sent"
    SLOW_REQUEST = "arrives after a second, and there is no reply"
    LATE_FILL = "the reports come at once, the fills later"
    LATE_REPLY = "the fills come at once, the reply later"
    MUTE = "executed and answered, but the stream tells nothing"
    TWICE = "everything on the stream is told twice"
    GHOST = "arrives long after its expiry, when nobody expects it any more, and is carried out all the same"
    MEAGRE = "meets a book that holds next to nothing"


class FakeVenue(PaperAccount):
    """One account, in memory. `faults` are taken one a placed order, in order: a `Fault`, the code with which
    it is refused, or None. `before_place` is called with each order before anything else happens to it."""

    def __init__(self, *, lockstep: bool = True, cash: str = "10000") -> None:
        self.capabilities = Capabilities("fake", False, lockstep, True, True, dead_man=True)
        self.instruments = dict(SPECS)
        self.matching = Matching(SPECS.values(), D(cash), rules=Rules())
        self.faults: deque[Fault | str | None] = deque()
        self.protect_faults: deque[Fault | str | None] = deque()
        self.cancel_faults: deque[Fault | str | None] = deque()
        self.before_place: Callable[[Order], None] = lambda order: None
        self.placed: list[Order] = []
        self.asked: list[str] = []
        self.down = False
        self.acknowledged: list[int] = []
        self.haunted = 0
        """Ghosts that have come."""
        self.dead_man: list[int] = []
        """Each time the dead-man's switch was set, in seconds."""
        self._deadline: asyncio.TimerHandle | None = None
        self.events: asyncio.Queue[VenueEvent] = asyncio.Queue()
        self._waiting: list[asyncio.TimerHandle] = []
        self.move(BTC, "1000")
        self.move(ETH, "100")

    # -- the market, as the test moves it ------------------------------------------------------------

    def step(self, commands: Sequence[Command] = (), quotes: Sequence[Quote] = ()) -> list[Event]:
        return self.matching.step(self.matching.now + 1, commands, quotes)

    def move(self, instrument: str, mark: str, turnover: float = DEEP) -> None:
        """The mark moves; what that causes (a trigger, a liquidation) is told on the stream."""
        self._tell(self.step((), [Quote(instrument, D(mark), turnover)]), None)

    def pay_funding(self, instrument: str, rate: str) -> None:
        self.step([SettleFunding(instrument, D(rate))])

    def stranger(self, instrument: str, size: str, *, told: bool = True) -> None:
        """Somebody else trades on our account."""
        events = self.step([Place("somebody", instrument, D(size), OrderType.MARKET)])
        if told:
            self._tell(events, None)

    def net(self, instrument: str) -> D:
        return {p.instrument: p.size for p in self.matching.positions()}.get(instrument, D(0))

    def forget(self) -> None:
        """The engine is gone: what was on its way to it is lost."""
        for handle in self._waiting:
            handle.cancel()
        self.events = asyncio.Queue()

    def _tell(self, events: Sequence[Event], fault: Fault | None) -> None:
        for event in events:
            if not isinstance(event, OrderReport | Fill | Position) or fault is Fault.MUTE:
                continue
            if fault is Fault.LATE_FILL and isinstance(event, Fill):
                self._later(0.5, self.events.put_nowait, event)
                continue
            for _ in range(2 if fault is Fault.TWICE else 1):
                self.events.put_nowait(event)

    def _later(self, seconds: float, what: Callable[..., object], *arguments: object) -> None:
        self._waiting.append(asyncio.get_running_loop().call_later(seconds, what, *arguments))

    # -- the port ------------------------------------------------------------------------------------

    async def connect(self, instruments: Sequence[str]) -> None: ...

    async def close(self) -> None: ...

    async def next_event(self) -> VenueEvent:
        return await self.events.get()

    def server_ms(self) -> int:
        return 1_000_000 + int(asyncio.get_running_loop().time() * 1000)

    def market_ms(self) -> int:
        return self.matching.now

    async def candles(self, instrument: str, end_ms: int, count: int) -> list[Candle]:
        return []

    async def funding(self, instrument: str, count: int) -> list[Funding]:
        return []

    async def mark(self, instrument: str) -> D:
        await self._reach()
        mark = self.matching.mark(instrument)
        assert mark is not None
        return mark

    async def place(self, order: Order) -> OrderReport:
        self.before_place(order)
        await self._reach()
        self.placed.append(order)
        fault = self.faults.popleft() if self.faults else None
        if isinstance(fault, str):
            raise Refused(f"{order.instrument}: refused as the test says", fault)
        if fault is Fault.UNREACHABLE:
            raise Unreachable("connection refused")
        if fault is Fault.LOST_REQUEST:
            raise Unknown("no reply")
        if fault is Fault.SLOW_REQUEST:
            self._later(1.0, self._execute, order, None)
            raise Unknown("no reply")
        if fault is Fault.GHOST:
            self._later(20.0, self._haunt, order)
            raise Unknown("no reply")
        first = self._execute(order, fault)
        if isinstance(first, Rejected):
            raise Refused(first.message, first.code)
        if fault is Fault.LOST_REPLY:
            raise Unknown("no reply")
        if fault is Fault.LATE_REPLY:
            await asyncio.sleep(0.5)
        return first

    def _execute(self, order: Order, fault: Fault | None) -> OrderReport | Rejected:
        if self.server_ms() > order.expires:
            return Rejected(Cancel(order.instrument), "51149", "the request has expired")
        if fault is not Fault.MEAGRE:
            return self._obey(order, fault)
        mark = str(self.matching.mark(order.instrument))
        self.move(order.instrument, mark, THIN)
        try:
            return self._obey(order, None)
        finally:
            self.move(order.instrument, mark)

    def _haunt(self, order: Order) -> None:
        self.haunted += 1
        self._obey(order, None)

    def _obey(self, order: Order, fault: Fault | None) -> OrderReport | Rejected:
        place = Place(order.client_id, order.instrument, order.size, order.type, order.price, order.reduce_only)
        events = self.step([place])
        if isinstance(events[0], Rejected):
            return events[0]
        self._tell(events, fault)
        return next(event for event in events if isinstance(event, OrderReport))

    async def cancel(self, order: Order) -> None:
        await self._reach()
        fault = self.cancel_faults.popleft() if self.cancel_faults else None
        if isinstance(fault, str):
            raise Refused("refused as the test says", fault)
        if fault is Fault.LOST_REQUEST:
            raise Unknown("no reply")
        events = self.step([Cancel(order.instrument, client_id=order.client_id)])
        if isinstance(events[0], Rejected):
            raise Refused(events[0].message, events[0].code)
        self._tell(events, fault if isinstance(fault, Fault) else None)
        if fault is Fault.LOST_REPLY:
            raise Unknown("no reply")

    def touch(self, instrument: str, buy: bool) -> D | None:
        """The best price on one's own side of the book."""
        bids, asks = self.matching.book(instrument, 1)
        side = bids if buy else asks
        return side[0][0] if side else None

    async def cancel_all_after(self, seconds: int) -> None:
        await self._reach()
        self.dead_man.append(seconds)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if seconds:
            self._deadline = asyncio.get_running_loop().call_later(seconds, self._cancel_all)

    def _cancel_all(self) -> None:
        for record in self.matching.orders():
            self._tell(self.step([Cancel(record.report.instrument, venue_id=record.venue_id)]), None)

    async def order(self, instrument: str, client_id: str) -> OrderReport | None:
        await self._reach()
        self.asked.append(client_id)
        record = self.matching.order(client_id=client_id)
        return record.report if record else None

    async def open_orders(self) -> list[OrderReport]:
        return [record.report for record in self.matching.orders()]

    async def fills(self, since_ms: int) -> list[Fill]:
        await self._reach()
        return self.matching.fills(since_ms)

    async def positions(self) -> list[Position]:
        await self._reach()
        return self.matching.positions()

    async def balance(self) -> Balance:
        await self._reach()
        return self.matching.balance()

    async def bills(self, after: str) -> list[Bill]:
        await self._reach()
        return self.matching.bills(after)

    async def set_leverage(self, instrument: str, leverage: D) -> None:
        self.step([SetLeverage(instrument, leverage)])

    async def fee_rates(self) -> tuple[D, D]:
        return self.matching.rules.maker, self.matching.rules.taker

    async def protect(self, protection: Protection) -> Protection:
        await self._reach()
        fault = self.protect_faults.popleft() if self.protect_faults else None
        if isinstance(fault, str):
            raise Refused("refused as the test says", fault)
        if fault is Fault.LOST_REQUEST:
            raise Unknown("no reply")
        p = protection
        placed = self.step([PlaceTrigger(p.client_id, p.instrument, p.size, p.trigger)])[0]
        if isinstance(placed, Rejected):
            raise Refused(placed.message, placed.code)
        if fault is Fault.LOST_REPLY:
            raise Unknown("no reply")
        return next(known for known in await self.protections() if known.client_id == p.client_id)

    async def unprotect(self, protection: Protection) -> None:
        await self._reach()
        self.step([CancelTrigger(protection.instrument, client_id=protection.client_id)])

    async def protections(self) -> list[Protection]:
        await self._reach()
        return [
            Protection(t.client_id, t.instrument, t.size, t.trigger, t.venue_id) for t in self.matching.triggers()
        ]

    async def acknowledge(self, bar_open_ms: int) -> None:
        self.acknowledged.append(bar_open_ms)

    async def _reach(self) -> None:
        """A request takes a turn of the loop: whoever shares state without a lock is found out."""
        await asyncio.sleep(0)
        if self.down:
            raise Unreachable("connection refused")
