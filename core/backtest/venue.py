"""The exchange of a backtest: the venue port straight on the matching core, moved a bar at a time.

Nothing here waits (`Capabilities.immediate`): what came of an order has been told when `place` returns.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from decimal import Decimal
from random import Random

from core.backtest.inside import Stop, check, inside, quiet
from core.backtest.latency import Latency
from core.data.quotes import Quotes, Top
from core.domain.market import Candle, Floats, Funding
from core.domain.orders import Fill, Order, OrderReport, Protection
from core.matching.core import Matching
from core.matching.replay import Market
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
    Trigger,
)
from core.venues.paper import PaperAccount
from core.venues.port import Capabilities, Refused, VenueEvent

DUPLICATE = "51016"
"""OKX: the client id is that of a pending order. What was asked for stands already."""
REJECTED = "50026"
"""OKX: system error, try again later. The code of a request that the model of rejects refuses."""


class BacktestVenue(PaperAccount):
    """One account on one replayed market.

    Orders go one after another, each after its latency: the market has then moved along the bar. `rejects` is the
    share of orders refused for no reason of ours, drawn from `seed`. With `quotes` an order meets the best bid and
    ask of its moment, as far as they are known. `told` is awaited with each fill."""

    def __init__(
        self,
        market: Market,
        rules: Rules,
        cash: Decimal,
        latency: Latency,
        within: str,
        rejects: float,
        seed: int,
        quotes: Quotes | None = None,
    ) -> None:
        self.capabilities = Capabilities("backtest", False, True, expiry=False, triggers=True, immediate=True)
        self.market = market
        self.instruments = {spec.id: spec for spec in market.instruments}
        self.matching = Matching(market.instruments, cash, rules, now=market.now)
        self.told: Callable[[Fill], Awaitable[None]] = _untold
        self.slippage = 0.0
        """What all fills so far cost against the mark of their moment, in the settlement currency (<= 0)."""
        self.slipped: dict[str, float] = {}
        """The same of each fill, by trade id."""
        self.met = 0
        """How many orders met a real quote."""
        self._quotes = quotes
        self._top: dict[str, int] = {}
        """When the quote was given that stands for an instrument's book."""
        self._latency = latency
        self._within = check(within)
        self._rejects = rejects
        self._chance = Random(f"rejects {seed}")  # Latencies are drawn from the seed itself.
        self._now = market.now
        self._quoted: set[str] = set()
        self._stops: dict[str, Stop] = {}
        """The live trigger orders, by client id."""

    # -- the market ---------------------------------------------------------------------------------

    def close_bar(self) -> list[Fill]:
        """Walk the rest of the present bar, enter the next; the fills that the exchange itself has made.

        In the exchange's order: what happens within, the last price, funding of the next bar's open, its open.
        Nothing is quoted where nothing can come of it: a mark is moved when something asks for it."""
        market, matching, panel, events = self.market, self.matching, self.market.panel, []
        held = matching.held()
        if held and not self._quiet(panel.low[market.bar], panel.high[market.bar]):
            self._look()
            for now, quotes in inside(self._within, market, matching):
                if now > self._now:
                    events += self._step(now, (), quotes)
            events += self._step(market.closing, (), self._closes(held))
        due = [(market.instruments[i].id, rate) for i, rate in market.funding_due(ahead=1)]
        settled = [SettleFunding(name, Decimal(repr(rate))) for name, rate in due if name in held]
        if settled:
            events += self._step(market.closing, (), self._closes(held))
        market.next_bar()
        if settled:
            events += self._step(market.now, settled, ())
        self._now = market.now
        self._quoted.clear()
        self._top.clear()
        opens = market.opens()
        if held and not self._quiet(opens, opens):
            events += self._look()
        return [event for event in events if isinstance(event, Fill)]

    def _quiet(self, low: Floats, high: Floats) -> bool:
        return quiet(self.market, self.matching, self._stops.values(), low, high)

    def _closes(self, held: Iterable[str]) -> list[Quote]:
        closes, market = self.market.panel.close[self.market.bar], self.market
        return [market.quote(market.index[name], float(closes[market.index[name]])) for name in held]

    def _look(self, instrument: str = "") -> list[Event]:
        """Make sure that the present bar's open is the mark of all that is held, and of `instrument`."""
        wanted = {instrument, *self.matching.held()} - self._quoted - {""}
        if not wanted:
            return []
        self._quoted |= wanted
        market = self.market
        return self._step(self._now, (), [market.opening(market.index[name]) for name in sorted(wanted)])

    def _step(self, now: int, commands: Sequence[Command], quotes: Sequence[Quote]) -> list[Event]:
        """A step of the matching core; what its fills cost against the mark is counted."""
        events = self.matching.step(now, commands, quotes)
        for event in events:
            if isinstance(event, Fill):
                mark, contract = self.matching.mark(event.instrument), self.instruments[event.instrument].contract
                assert mark is not None
                cost = float((mark - event.price) * event.size * contract)
                self.slipped[event.trade_id] = cost
                self.slippage += cost
            elif isinstance(event, Trigger) and event.state != "live":
                self._stops.pop(event.client_id, None)
        return events

    async def _arrive(self, instrument: str) -> None:
        """Let an order travel: the mark of its instrument moves on along the bar, and may fire a stop there."""
        self._look(instrument)
        delay, market = self._latency(), self.market
        self._now = min(self._now + delay, market.closing)
        i = market.index[instrument]
        top = self._quotes.at(market.panel.assets[i], self._now) if self._quotes else None
        if top is not None:
            self.met += 1
            # What our own orders have taken of a quote does not come back before there is a newer one.
            if self._top.get(instrument) != top.ts:
                self._top[instrument] = top.ts
                await self._tell(self._step(self._now, (), [self._real(i, top)]))
        elif delay and market.bar < len(market.panel):  # Past the last bar the market stands still.
            await self._tell(self._step(self._now, (), [market.quote(i, self._between(i))]))

    def _between(self, asset: int) -> float:
        """The price on the straight way from the present bar's open to its close."""
        panel, bar = self.market.panel, self.market.bar
        part = (self._now - int(panel.ts[bar])) / panel.bar_ms
        return float(panel.open[bar, asset] + (panel.close[bar, asset] - panel.open[bar, asset]) * part)

    def _real(self, asset: int, top: Top) -> Quote:
        """The book of one level a side, in whole lots, around its middle."""
        spec = self.market.instruments[asset]
        bid, bid_size, ask, ask_size = (Decimal(repr(number)) for number in top[1:])
        sides = [
            ((price, contracts),) if (contracts := spec.round_size(size / spec.contract)) else ()
            for price, size in ((bid, bid_size), (ask, ask_size))
        ]
        return Quote(spec.id, (bid + ask) / 2, self.market.turnover[asset], (sides[0], sides[1]))

    async def _tell(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Fill):
                await self.told(event)

    # -- the port -----------------------------------------------------------------------------------

    async def connect(self, instruments: Sequence[str]) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def next_event(self) -> VenueEvent:
        raise AssertionError("a backtest tells its fills as they happen: see `told`")

    def server_ms(self) -> int:
        return self._now

    def market_ms(self) -> int:
        return self._now

    async def candles(self, instrument: str, end_ms: int, count: int) -> list[Candle]:
        raise AssertionError("a backtest has its bars from the panel")

    async def funding(self, instrument: str, count: int) -> list[Funding]:
        raise AssertionError("a backtest has its funding from the panel")

    async def mark(self, instrument: str) -> Decimal:
        self._look(instrument)
        mark = self.matching.mark(instrument)
        assert mark is not None, f"{instrument} has no price yet"
        return mark

    async def place(self, order: Order) -> OrderReport:
        await self._arrive(order.instrument)
        if self._rejects and self._chance.random() < self._rejects:
            raise Refused(f"{order.instrument}: refused by the model of rejects", REJECTED)
        place = Place(order.client_id, order.instrument, order.size, order.type, order.price, order.reduce_only)
        events = self._step(self._now, [place], ())
        if isinstance(events[0], Rejected):
            standing = self.matching.order(client_id=order.client_id) if events[0].code == DUPLICATE else None
            if standing is not None:
                return standing.report
            raise Refused(events[0].message, events[0].code)
        await self._tell(events)
        return [event for event in events if isinstance(event, OrderReport)][-1]

    async def cancel(self, order: Order) -> None:
        self._obey(Cancel(order.instrument, client_id=order.client_id))

    async def cancel_all_after(self, seconds: int) -> None:
        raise AssertionError("a backtest's exchange hears us always")

    async def set_leverage(self, instrument: str, leverage: Decimal) -> None:
        self._obey(SetLeverage(instrument, leverage))

    async def protect(self, protection: Protection) -> Protection:
        p = protection
        self._look(p.instrument)
        self._obey(PlaceTrigger(p.client_id, p.instrument, p.size, p.trigger))
        placed = self.matching.trigger(client_id=p.client_id)
        assert placed is not None
        self._stops[p.client_id] = p.instrument, p.size > 0, float(p.trigger)
        return Protection(p.client_id, p.instrument, p.size, p.trigger, placed.venue_id)

    async def unprotect(self, protection: Protection) -> None:
        if self._stops.pop(protection.client_id, None) is not None:
            self._obey(CancelTrigger(protection.instrument, client_id=protection.client_id))

    async def protections(self) -> list[Protection]:
        return [
            Protection(t.client_id, t.instrument, t.size, t.trigger, t.venue_id) for t in self.matching.triggers()
        ]

    async def acknowledge(self, bar_open_ms: int) -> None:
        """The run moves the market itself."""

    def _obey(self, command: SetLeverage | PlaceTrigger | CancelTrigger | Cancel) -> None:
        events = self.matching.step(self._now, [command], ())
        if events and isinstance(events[0], Rejected):
            raise Refused(events[0].message, events[0].code)


async def _untold(fill: Fill) -> None:
    raise AssertionError(f"nobody listens to the fills of this venue: {fill}")
