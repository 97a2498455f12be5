"""Shadow mode: the live market of a real exchange, and a paper account that no order leaves.

What is assumed, to its favour and against it: an order trades whole, at the best bid or ask that was last told when
it is placed, without travelling; what stands behind that price is not known, so that orders larger than the top of
the book are flattered. Fees are those of the rules, funding is settled at the rate last announced, a stop fires at
the mark. Refusals, partial fills and lost replies do not happen here: a rehearsal has them.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import msgspec

from core.clock import in_thread
from core.data.files import write_whole
from core.domain.account import Position
from core.domain.errors import UserError
from core.domain.instrument import Instrument
from core.domain.market import Candle, Funding, Mark, Ticker
from core.domain.orders import Fill, Order, OrderReport, Protection
from core.matching.core import Matching
from core.matching.records import History, State
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
from core.venues.okx.session import Mailbox
from core.venues.paper import PaperAccount
from core.venues.port import (
    Capabilities,
    Load,
    Maintenance,
    PriceLimit,
    Reconnected,
    Refused,
    Venue,
    VenueEvent,
)

KEPT = 500
"""Orders, fills and bills that the paper account remembers, each: reconciliation asks for those of a day."""
ENOUGH = Decimal(10**9)
"""Contracts at the best price: more than any order asks for."""
ASSUMED = "on paper: orders trade whole and at once, at the best bid or ask last told; nothing is sent"
"""What who looks at a shadow must know."""
EXPIRED, NO_QUOTE = "51116", "50026"


class Paper(msgspec.Struct, frozen=True):
    """The paper account as it is kept on disk."""

    state: State
    history: History


class ShadowVenue(PaperAccount):
    """`core.venues.port.Venue` over the public half of `market`; the account lives in `file`, which is written
    before anything of it is told, and begins with `cash`."""

    def __init__(self, market: Venue, file: Path, cash: Decimal, rules: Rules) -> None:
        self.capabilities = Capabilities("shadow", False, False, expiry=True, triggers=True)
        self.instruments: dict[str, Instrument] = {}
        self._market = market
        self._file = file
        self._cash = cash
        self._rules = rules
        self._tops: dict[str, Ticker] = {}
        self._marks: dict[str, Decimal] = {}
        self._due: dict[str, Funding] = {}
        self._mail = Mailbox()
        self._lock = asyncio.Lock()
        self._failure: Exception | None = None
        self._listening: asyncio.Task[None] | None = None

    # -- coming and going -----------------------------------------------------------------------------

    async def connect(self, instruments: Sequence[str]) -> None:
        await self._market.connect(instruments)
        try:
            self.instruments = self._market.instruments
            self.matching = self._opened(instruments)
            for name in {*instruments, *self.matching.held()}:
                self._marks[name] = await self._market.mark(name)
            await self._catch_up()
        except BaseException:
            await self._market.close()
            raise
        self._listening = asyncio.create_task(self._listen(), name="shadow")

    def _opened(self, instruments: Sequence[str]) -> Matching:
        """The account as it was left, or a new one. UserError: it holds what is no longer listed."""
        now = self._market.market_ms()
        with suppress(FileNotFoundError):
            try:
                paper = msgspec.json.decode(self._file.read_bytes(), type=Paper)
            except msgspec.MsgspecError as error:
                raise UserError(f"{self._file}: the paper account cannot be read: move it away ({error})") from None
            held = {kept.instrument for kept in paper.state.markets if kept.size}
            if gone := sorted(held - self.instruments.keys()):
                raise UserError(
                    f"{self._file}: the paper account holds {', '.join(gone)}, which is no longer listed: "
                    "move the file and the ledger of shadow away to begin anew"
                )
            names = dict.fromkeys((*instruments, *held))
            known = [kept for kept in paper.state.markets if kept.instrument in names]
            state = msgspec.structs.replace(paper.state, markets=known)
            specs = [self.instruments[name] for name in names]
            return Matching.restore(specs, self._rules, state, paper.history, keep=KEPT)
        specs = [self.instruments[name] for name in instruments]
        return Matching(specs, self._cash, self._rules, now=now, keep=KEPT)

    async def _catch_up(self) -> None:
        """Settle the funding that fell due while nobody was here, at today's mark."""
        for name in self.matching.held():
            since = self.matching.now
            missed = [rate for rate in await self._market.funding(name, KEPT) if since < rate.ts]
            await self._act([_settlement(rate) for rate in missed], [Quote(name, self._marks[name])])

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        await self._market.close()

    # -- the market -----------------------------------------------------------------------------------

    async def _listen(self) -> None:
        try:
            while True:
                event = await self._market.next_event()
                await self._see(event)
                self._mail.put(event)
        except Exception as error:
            self._failure = error
            self._mail.put(Reconnected("shadow"))  # Wakes who waits; the failure is what it gets.

    async def _see(self, event: VenueEvent) -> None:
        """What the market's word means for the paper account."""
        await self._settle()
        match event:
            case Ticker():
                self._tops[event.instrument] = event
            case Mark():
                self._marks[event.instrument] = event.price
                if event.instrument in self.matching.held():
                    await self._act((), [*self._quotes(event.instrument)])
            case Funding() if event.ts > self.market_ms():
                self._due[event.instrument] = event
            case _:
                pass

    async def _settle(self) -> None:
        """Settle the funding that has become due, at the rate last announced for it."""
        now = self._market.market_ms()
        for name in [name for name, rate in self._due.items() if rate.ts <= now]:
            rate = self._due.pop(name)
            if name in self.matching.held():
                await self._act([_settlement(rate)], [*self._quotes(name)])

    def _quotes(self, instrument: str) -> Iterator[Quote]:
        """What is known of an instrument's market now: nothing, while one side of its book is empty."""
        top, mark = self._tops.get(instrument), self._marks.get(instrument)
        if top is not None and 0 < top.bid < top.ask:
            book = ((top.bid, ENOUGH),), ((top.ask, ENOUGH),)
            yield Quote(instrument, mark or (top.bid + top.ask) / 2, book=book)

    async def _act(self, commands: Sequence[Command], quotes: Sequence[Quote]) -> list[Event]:
        """Move the paper account; what has changed is on disk before anybody is told."""
        async with self._lock:
            events = self.matching.step(self.market_ms(), commands, quotes)
            if any(not isinstance(event, Rejected) for event in events):
                paper = msgspec.json.encode(Paper(self.matching.state(), self.matching.history()))
                try:
                    await in_thread(write_whole, self._file, paper)
                except OSError as error:
                    raise UserError(
                        f"{self._file}: the paper account cannot be written: {error.strerror}"
                    ) from None
            for event in events:
                if isinstance(event, OrderReport | Fill | Position):
                    self._mail.put(event)
        return events

    async def _obey(self, command: Command, instrument: str) -> list[Event]:
        events = await self._act([command], [*self._quotes(instrument)])
        for event in events:
            if isinstance(event, Rejected):
                raise Refused(event.message, event.code)
        return events

    async def next_event(self) -> VenueEvent:
        event = await self._mail.get()
        if self._failure is not None:
            raise self._failure
        return event

    def server_ms(self) -> int:
        return self._market.server_ms()

    def market_ms(self) -> int:
        return max(self._market.market_ms(), self.matching.now)

    async def candles(self, instrument: str, end_ms: int, count: int) -> list[Candle]:
        return await self._market.candles(instrument, end_ms, count)

    async def funding(self, instrument: str, count: int) -> list[Funding]:
        return await self._market.funding(instrument, count)

    async def mark(self, instrument: str) -> Decimal:
        return self._marks[instrument] if instrument in self._marks else await self._market.mark(instrument)

    async def price_limit(self, instrument: str) -> PriceLimit:
        return await self._market.price_limit(instrument)

    async def maintenance(self) -> list[Maintenance]:
        return await self._market.maintenance()

    async def measure_clock(self) -> int:
        return await self._market.measure_clock()

    def load(self) -> Load:
        return self._market.load()

    # -- the paper account ----------------------------------------------------------------------------

    async def place(self, order: Order) -> OrderReport:
        if order.expires < self.server_ms():
            raise Refused(f"{order.instrument}: the order had expired", EXPIRED)
        if not any(self._quotes(order.instrument)):
            raise Refused(f"{order.instrument}: no best bid and ask are known yet", NO_QUOTE)
        place = Place(order.client_id, order.instrument, order.size, order.type, order.price, order.reduce_only)
        events = await self._obey(place, order.instrument)
        return [e for e in events if isinstance(e, OrderReport) and e.client_id == order.client_id][-1]

    async def cancel(self, order: Order) -> None:
        await self._obey(Cancel(order.instrument, client_id=order.client_id), order.instrument)

    async def cancel_all_after(self, seconds: int) -> None:
        raise AssertionError("the paper account lives and dies with us")

    async def set_leverage(self, instrument: str, leverage: Decimal) -> None:
        await self._obey(SetLeverage(instrument, leverage), instrument)

    async def protect(self, protection: Protection) -> Protection:
        p = protection
        if not any(self._quotes(p.instrument)):
            raise Refused(f"{p.instrument}: no best bid and ask are known yet", NO_QUOTE)
        await self._obey(PlaceTrigger(p.client_id, p.instrument, p.size, p.trigger), p.instrument)
        placed = self.matching.trigger(client_id=p.client_id)
        assert placed is not None
        return Protection(p.client_id, p.instrument, p.size, p.trigger, placed.venue_id)

    async def unprotect(self, protection: Protection) -> None:
        if any(live.client_id == protection.client_id for live in self.matching.triggers()):
            await self._obey(
                CancelTrigger(protection.instrument, client_id=protection.client_id), protection.instrument
            )

    async def protections(self) -> list[Protection]:
        return [
            Protection(t.client_id, t.instrument, t.size, t.trigger, t.venue_id) for t in self.matching.triggers()
        ]

    async def acknowledge(self, bar_open_ms: int) -> None:
        """A live market waits for nobody."""


def _settlement(rate: Funding) -> SettleFunding:
    return SettleFunding(rate.instrument, Decimal(repr(rate.rate)))
