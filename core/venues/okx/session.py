"""What stands between a stream as it comes and the events an engine may trust.

Nothing here knows OKX, sockets or clocks but the event loop's, so that rehearsal runs the same logic over the
matching core on virtual time: duplicates are dropped, reports never go back in time, gaps of candles are
filled, silence is noticed, and a slow consumer gets the latest quotes without losing anything that counts.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import count
from typing import TypeVar

import msgspec

from core.domain.account import Balance, Position
from core.domain.market import Candle, Mark, Ticker
from core.domain.orders import Fill, OrderReport
from core.venues.port import StreamState, StreamStatus, VenueEvent

K = TypeVar("K")
V = TypeVar("V")

REMEMBERED = 20_000
"""How many trade ids and orders are remembered: far more than any stream repeats, and little memory."""

FETCH_DELAYS = (0.25, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts to fetch missing candles; the last one repeats while the venue is unreachable."""


class Mailbox:
    """Events in order of arrival for one consumer.

    Of tickers and marks only the latest of each instrument waits, at the place where it arrived: a consumer
    that falls behind gets fewer quotes, never older ones. Everything else is kept.
    """

    def __init__(self) -> None:
        self._events: OrderedDict[object, VenueEvent] = OrderedDict()
        self._count = 0
        self._ready = asyncio.Event()

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: VenueEvent) -> None:
        if isinstance(event, Ticker | Mark):
            key: object = (type(event), event.instrument)
            self._events.pop(key, None)
        else:
            key = self._count = self._count + 1
        self._events[key] = event
        self._ready.set()

    async def get(self) -> VenueEvent:
        while not self._events:
            self._ready.clear()
            await self._ready.wait()
        return self._events.popitem(last=False)[1]


def _remember(memory: OrderedDict[K, V], key: K, value: V) -> None:
    """Newest last; the oldest is forgotten when the memory is full."""
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)


class Guard:
    """Lets each fill through once, and of reports, positions and balances only those that tell news."""

    def __init__(self) -> None:
        self._trades: OrderedDict[str, None] = OrderedDict()
        self._orders: OrderedDict[tuple[str, str], OrderReport] = OrderedDict()
        self._times: dict[str, int] = {}

    def admits(self, event: VenueEvent) -> bool:
        if isinstance(event, Fill):
            return self._new_trade(event)
        if isinstance(event, OrderReport):
            return self._news_of_order(event)
        if isinstance(event, Position):
            return self._not_older(event.instrument, event.ts)
        if isinstance(event, Balance):
            return self._not_older(event.currency, event.ts)
        return True

    def _new_trade(self, fill: Fill) -> bool:
        known = fill.trade_id in self._trades
        _remember(self._trades, fill.trade_id, None)
        return not known

    def _news_of_order(self, report: OrderReport) -> bool:
        """More filled is news. With as much filled: the end, or a later word on an order still open."""
        key = (report.instrument, report.venue_id)
        last = self._orders.get(key)
        if last is not None:
            if report.filled < last.filled:
                return False
            if report.filled == last.filled and (
                last.state.final or (report.ts <= last.ts and not report.state.final)
            ):
                return False
        _remember(self._orders, key, report)
        return True

    def _not_older(self, name: str, ts: int) -> bool:
        if ts < self._times.get(name, 0):
            return False
        self._times[name] = ts
        return True


class CandleFlow:
    """One instrument's closed candles: each exactly once and in order, whatever the stream lost.

    A candle that leaves a gap waits until `fetch(after_open_ms)` has told every closed candle after the last
    one given. While the venue cannot be reached it is asked again; a candle that even then is not known
    (the exchange made none) is passed over, and `report` says so.
    """

    def __init__(
        self,
        bar_ms: int,
        fetch: Callable[[int], Awaitable[list[Candle]]],
        emit: Callable[[Candle], None],
        report: Callable[[str], None],
    ) -> None:
        self._bar_ms = bar_ms
        self._fetch = fetch
        self._emit = emit
        self._report = report
        self._last: int | None = None
        self._held: list[Candle] = []
        self.filling: asyncio.Task[None] | None = None
        self._again = False

    def seed(self, open_ms: int) -> None:
        """The newest candle that had closed before the stream began: where gaps are counted from."""
        if self._last is None:
            self._last = open_ms

    def push(self, candle: Candle) -> None:
        if self.filling is not None:
            self._held.append(candle)
        elif self._last is None or candle.open_ms == self._last + self._bar_ms:
            self._give(candle)
        elif candle.open_ms > self._last:
            self._held.append(candle)
            self.catch_up()

    def catch_up(self) -> None:
        """Ask for what was missed, e.g. after a reconnect, when no candle may come for an hour."""
        if self.filling is not None:
            self._again = True
        elif self._last is not None:
            self.filling = asyncio.get_running_loop().create_task(self._fill())

    def close(self) -> None:
        if self.filling is not None:
            self.filling.cancel()

    def _give(self, candle: Candle) -> None:
        self._last = candle.open_ms
        self._emit(candle)

    async def _fill(self) -> None:
        fetched = await self._fetch_all()
        while self._again:
            self._again = False
            fetched = await self._fetch_all()
        self.filling = None
        waiting, self._held = self._held, []
        for candle in sorted((*fetched, *waiting), key=lambda each: each.open_ms):
            if self._last is None or candle.open_ms > self._last:
                if self._last is not None and candle.open_ms > self._last + self._bar_ms:
                    self._report(f"no candle between {self._last} and {candle.open_ms}")
                self._give(candle)

    async def _fetch_all(self) -> list[Candle]:
        """Every candle after the last given one; asked again while the venue fails, whatever the reason (the
        flow must not end), and a few times while a gap remains for which REST may only be late."""
        assert self._last is not None
        told = False
        for attempt in count():
            try:
                fetched = await self._fetch(self._last)
                if self._whole(fetched) or attempt >= len(FETCH_DELAYS):
                    return fetched
            except Exception as error:
                if not told:
                    self._report(f"missed candles cannot be fetched yet: {error}")
                told = True
            await asyncio.sleep(FETCH_DELAYS[min(attempt, len(FETCH_DELAYS) - 1)])
        raise AssertionError("count() has no end")

    def _whole(self, fetched: Iterable[Candle]) -> bool:
        """Whether the candles after the last given one follow each other without a gap."""
        assert self._last is not None
        opens = sorted({each.open_ms for each in (*fetched, *self._held) if each.open_ms > self._last})
        return opens == list(range(self._last + self._bar_ms, opens[-1] + 1, self._bar_ms)) if opens else True


class _Watched(msgspec.Struct):
    heard: float
    patience: float | None
    state: StreamState | None = None
    renew_at: float = 0.0
    acknowledged: bool = False
    fault: bool = False
    ended: bool = False


class Freshness:
    """The state of each subscription by its own messages, not by its socket's: an acknowledged one can be
    silent. `emit` gets one StreamStatus per change. Times are the loop's, in seconds."""

    def __init__(self, emit: Callable[[StreamStatus], None]) -> None:
        self._emit = emit
        self._watched: dict[str, _Watched] = {}

    def watch(self, key: str, patience: float | None) -> None:
        """Begin to watch; a stream whose `patience` is None may rightly be silent for ever."""
        self._watched[key] = _Watched(asyncio.get_running_loop().time(), patience)

    def acknowledged(self, key: str) -> None:
        """The subscription stands: enough for a stream that may be silent, the rest prove it by a message."""
        watched = self._watched[key]
        watched.heard = asyncio.get_running_loop().time()
        watched.acknowledged = True
        if watched.patience is None:
            self._change(key, StreamState.LIVE)
        elif watched.ended:
            self._change(key, StreamState.ENDED)

    def heard(self, key: str) -> None:
        watched = self._watched.get(key)
        if watched is not None:
            watched.heard = asyncio.get_running_loop().time()
            watched.fault = watched.ended = False
            if watched.state is not StreamState.LIVE:
                self._change(key, StreamState.LIVE)

    def end(self, key: str) -> None:
        """There is nothing to be heard any more: silence is right, until something is."""
        self._watched[key].ended = True
        self._change(key, StreamState.ENDED, "nothing is traded there any more")

    def down(self, key: str, why: str) -> None:
        self._watched[key].acknowledged = False
        self._change(key, StreamState.DOWN, why)

    def fault(self, key: str, why: str) -> None:
        """A message could not be read: told once, until a good one comes. A whole socket (no key of ours) is as
        live as before."""
        watched = self._watched.get(key)
        if watched is None or not watched.fault:
            state = StreamState.LIVE if watched is None else watched.state or StreamState.STALE
            self._emit(StreamStatus(key, state, why))
        if watched is not None:
            watched.fault = True

    @property
    def interval(self) -> float:
        """Seconds between checks that notice silence soon enough."""
        return min((each.patience for each in self._watched.values() if each.patience), default=60.0) / 4

    def check(self) -> list[str]:
        """Notice what has fallen silent; returns the streams to subscribe anew now: at once, then ever less
        often while the silence lasts."""
        now = asyncio.get_running_loop().time()
        renew = []
        for key, watched in self._watched.items():
            silence = now - watched.heard
            silent = watched.patience is not None and silence >= watched.patience
            if watched.ended or not watched.acknowledged or not silent:
                continue
            if watched.state is not StreamState.STALE:
                self._change(key, StreamState.STALE, f"silent for {silence:.1f} s")
                watched.renew_at = now
            if now >= watched.renew_at:
                watched.renew_at = now + min(silence, 600.0)
                renew.append(key)
        return renew

    def _change(self, key: str, state: StreamState, detail: str = "") -> None:
        watched = self._watched[key]
        if watched.state is not state:
            watched.state = state
            self._emit(StreamStatus(key, state, detail))


class Session:
    """The one door to the engine: events go in as they come, and come out of `next_event` fit to be used."""

    def __init__(
        self,
        instruments: Iterable[str],
        bar_ms: int,
        fetch: Callable[[str, int], Awaitable[list[Candle]]],
    ) -> None:
        """`fetch(instrument, after_open_ms)`: every closed candle that opened after that, oldest first."""
        self.mailbox = Mailbox()
        self.freshness = Freshness(self.mailbox.put)
        self.market_ms = 0
        self._bar_ms = bar_ms
        self._guard = Guard()
        self.flows: Mapping[str, CandleFlow] = {
            each: self._flow(each, bar_ms, fetch) for each in dict.fromkeys(instruments)
        }

    def _flow(
        self, instrument: str, bar_ms: int, fetch: Callable[[str, int], Awaitable[list[Candle]]]
    ) -> CandleFlow:
        key = f"candle:{instrument}"
        return CandleFlow(
            bar_ms,
            lambda after: fetch(instrument, after),
            self.mailbox.put,
            lambda why: self.mailbox.put(StreamStatus(key, StreamState.LIVE, why)),
        )

    def deliver(self, key: str, events: Iterable[VenueEvent]) -> None:
        """What one message of the stream `key` told."""
        events = list(events)
        self.freshness.heard(key)
        self.advance(events)
        for event in events:
            if isinstance(event, Candle):
                self.flows[event.instrument].push(event)
            elif self._guard.admits(event):
                self.mailbox.put(event)

    def advance(self, events: Iterable[VenueEvent]) -> None:
        """Take note of the market time that events tell."""
        for event in events:
            if isinstance(event, Candle):
                self.market_ms = max(self.market_ms, event.open_ms + self._bar_ms)
            elif isinstance(event, Ticker | Mark | Fill | OrderReport):
                self.market_ms = max(self.market_ms, event.ts)

    async def next_event(self) -> VenueEvent:
        return await self.mailbox.get()

    def close(self) -> None:
        for flow in self.flows.values():
            flow.close()
