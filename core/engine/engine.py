"""The engine: events in, bars closed, steps taken, orders watched. The walk of a bar reads from `_step` down."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from core.config import Settings
from core.domain.account import Balance
from core.domain.instrument import Instrument
from core.domain.market import Bar, Candle, Funding, Mark, Ticker
from core.domain.orders import Fill, OrderReport
from core.engine.clusters import ClusterWatch
from core.engine.feed import Feed
from core.engine.health import HealthWatch
from core.engine.kill import KillSwitch
from core.engine.market import MarketState
from core.engine.narrator import Narrator
from core.engine.quality import QualityWatch
from core.engine.truth import PREFLIGHT, Telling, look_before
from core.execution.deadman import DeadMan
from core.execution.exposure import Policy
from core.execution.journal import Journal
from core.execution.reconcile import Verdict
from core.portfolio.events import AnyEvent, Commanded
from core.trader import Trader
from core.venues.port import Reconnected, StreamStatus, Venue, VenueError
from core.walk import Walk

RECONCILE_S = 60.0
RETRY_S = 2.0
JUDGE_S = 5.0
STOP_S = 10.0


class Engine(Walk):
    """The walk of a bar, live: fed by streams, reconciled on a timer. Made by the supervisor, which gives it a
    connected venue."""

    def __init__(
        self,
        settings: Settings,
        venue: Venue,
        journal: Journal,
        traders: Sequence[Trader],
        instruments: dict[str, Instrument],
        narrator: Narrator,
    ) -> None:
        super().__init__(
            venue,
            journal,
            traders,
            instruments,
            expiry_ms=int(settings.venue.order_expiry_s * 1000),
            catastrophe_share=settings.risk.catastrophe_share,
            policy=Policy(
                settings.execution.passive_s,
                settings.execution.max_unhedged_usdt,
                settings.execution.max_unhedged_s,
            ),
        )
        self.settings = settings
        self.narrator = narrator
        self.feed = Feed(list(instruments), settings.universe.bar_ms, settings.venue.bar_timeout_s)
        self.market = MarketState(list(instruments.values()))
        self.clusters = ClusterWatch(traders)
        self.quality = QualityWatch(settings, journal, venue.instruments, ramps=venue.capabilities.real_money)
        self.orders.mid, self.executor.touch = self.market.mid, self.market.touch
        self.trading = asyncio.Event()
        self._early: list[Candle] | None = []
        self._funding: dict[str, Funding] = {}
        self._wake = asyncio.Event()
        self._bar: Bar | None = None
        self.kill = KillSwitch(self, settings.paths.kill)
        self.dead_man = DeadMan(venue, settings.risk.dead_man_s, self._warn)
        self.money: Balance | None = None
        """The exchange's last word on the account."""
        self.listed: dict[str, Instrument] = {}
        """Instruments as they were at the last run."""
        self.health = HealthWatch(self)
        self._telling = Telling(self)
        self.asset_ids = {spec.asset: name for name, spec in instruments.items()}

    # -- starting ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open or fold the ledger, agree with the exchange, warm the features, finish what was half done."""
        await self.open()
        self.narrator.follow(self.journal)
        await self.kill.begin()
        await look_before(self)
        await self.reconcile()
        # Under lockstep the market has waited: an entry's bar is not past.
        self.executor.resume(fresh=self.venue.capabilities.lockstep)
        await self._warm()
        self.trading.set()

    async def _warm(self) -> None:
        """Fill the features with history; under lockstep, act on the bar that a crash interrupted."""
        warmup = max(trader.features.warmup for trader in self.traders)
        names = list(self.instruments)
        series = await asyncio.gather(*(self.venue.candles(name, 0, warmup) for name in names))
        for rates in await asyncio.gather(*(self.venue.funding(name, 1) for name in names)):
            for rate in rates:
                self._fund(rate)
        # Some candles of the newest bar may have closed while we asked: that bar is the stream's.
        ends = [candles[-1].open_ms for candles in series if candles]
        end = min((e for e in ends if e >= max(ends) - self.settings.universe.bar_ms), default=0)
        bars = self.feed.history([[c for c in candles if c.open_ms <= end] for candles in series])
        books, last = self.journal.books, bars[-1] if bars else None
        interrupted = last is not None and self.venue.capabilities.lockstep and 0 <= books.last_step < last.open_ms
        for bar in bars[:-1] if interrupted else bars:
            self._warm_bar(bar)
            await asyncio.sleep(0)
        early, self._early = [c for cs in series for c in cs if c.open_ms > end] + (self._early or []), None
        for candle in early:
            self.feed.candle(candle)
        if last is None:
            return
        if interrupted:
            await self._step(last)
        else:
            await self.executor.idle()
            await self.finish(last)

    def _warm_bar(self, bar: Bar) -> None:
        self.market.bar(bar)
        self._bar = bar
        self.warm(bar)
        self.clusters.take(self.views)

    # -- running ----------------------------------------------------------------------------------

    async def pump(self) -> None:
        """Take the venue's events, for ever. Started before anything else: fills may come at any moment."""
        while True:
            event = await self.venue.next_event()
            match event:
                case Ticker():
                    self.market.ticker(event)
                case Mark():
                    self.market.mark(event)
                case Candle():
                    self.feed.candle(event) if self._early is None else self._early.append(event)
                case OrderReport():
                    await self.orders.report(event)
                case Fill():
                    await self.orders.fill(event)
                    if self.orders.foreign and not self.venue.capabilities.lockstep:
                        self._wake.set()  # Under lockstep the next step asks, when nothing is on its way.
                case StreamStatus():
                    self._stream(event)
                case Reconnected():
                    self._wake.set()
                case Balance():
                    self.money = event
                case _:
                    pass

    def _stream(self, status: StreamStatus) -> None:
        """Tell when the first stream is lost and when all are back; what the clock's check found is told too."""
        before = self.market.trouble()
        self.market.status(status)
        now, ts = self.market.trouble(), self.venue.market_ms()
        if status.key == "clock" and status.detail:
            self.narrator.say(ts, "health", "warn", status.detail)
        elif now and not before:
            self.narrator.say(
                ts, "health", "bad", f"{status.key} is {status.state}: no new entries until it is back"
            )
        elif before and not now:
            self.narrator.say(ts, "health", "good", "all streams are live again")

    async def watch(self) -> None:
        """Reconcile on a timer, on reconnect and on a fill that is not ours; under lockstep on reconnect alone."""
        while True:
            # A fill on its way looks like a disagreement: what does not agree is looked at again soon.
            often = RECONCILE_S if self.verdict.agrees else RETRY_S
            pause = None if self.venue.capabilities.lockstep else often
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            self._wake.clear()
            await self.trading.wait()
            await self.reconcile()
            if PREFLIGHT in self.restrictions.standing:
                await look_before(self)

    def tasks(self, until_ms: int | None) -> list[asyncio.Task[None]]:
        """All that an engine does beside taking events, trading (up to the bar that opens at `until_ms`) first. One
        that ends with an error ends the run."""
        works = {"trade": self.trade(until_ms), "watch": self.watch(), "executor": self.executor.failed()}
        works["kill"], works["health"] = self.kill.watch(), self.health.watch()
        if not self.venue.capabilities.lockstep:
            works["risk"] = self.guard_equity()
        if self.dead_man.wanted:
            works["dead man"] = self.dead_man.keep()
        return [asyncio.create_task(work, name=name) for name, work in works.items()]

    async def trade(self, until_ms: int | None) -> None:
        """Step through closed bars, up to the one that opens at `until_ms`; None: for ever."""
        while until_ms is None or self.journal.books.last_step < until_ms:
            await self._step(await self.feed.next_bar())

    async def reconcile(self) -> Verdict:
        """As any walk does; what is found is told."""
        verdict = await super().reconcile()
        self._telling.take(verdict)
        return verdict

    # -- the walk of a bar ------------------------------------------------------------------------

    async def _step(self, bar: Bar) -> None:
        """What is held, what was settled, then the walk. Under lockstep it ends when every order is settled."""
        lockstep = self.venue.capabilities.lockstep
        if not self.verdict.agrees:
            await self.reconcile()
        await self.learn()  # A stop has fired within the bar: what is decided rests on what is held now.
        bar = await self._funded(bar)
        self.market.bar(bar)
        self._bar = bar
        await self.quality.step(bar.close_ms)
        await self.step(bar)
        self.clusters.take(self.views)
        if lockstep:
            await self.executor.idle()
            await self.learn()
        await self.finish(bar)

    async def _funded(self, bar: Bar) -> Bar:
        """The bar with the rates settled before its close; asks for those that have become due."""
        due = [f for f in self._funding.values() if f.ts + f.period_ms < bar.close_ms]
        if not due:
            return bar
        with contextlib.suppress(VenueError):
            for rates in await asyncio.gather(*(self.venue.funding(f.instrument, 1) for f in due)):
                for rate in rates:
                    self._fund(rate)
        return msgspec.structs.replace(bar, funding=self.feed.rates(bar.close_ms))

    def _fund(self, rate: Funding) -> None:
        self._funding[rate.instrument] = rate
        self.feed.fund(rate)

    async def guard_equity(self) -> None:
        """Between bars too, loss and margin at the marks of now change what the account may do; for ever. (A market
        that waits for us is judged at its closes alone: what comes of it must not depend on our clock.)"""
        while True:
            await asyncio.sleep(JUDGE_S)
            if self._bar is not None and self.verdict.agrees:
                await self.judge({**self.traders[0].prices(self._bar), **self.marks()})

    def marks(self) -> Mapping[str, Decimal]:
        return {} if self.venue.capabilities.lockstep else self.market.marks()

    def maintenance(self) -> Decimal | None:
        known = self.money
        return None if known is None or self.venue.capabilities.lockstep else known.maintenance

    def _warn(self, text: str) -> None:
        self.narrator.say(self.venue.market_ms(), "health", "warn", text)

    def trouble(self) -> str:
        return "" if self.venue.capabilities.lockstep else self.market.trouble() or self.health.trouble

    def share(self) -> Decimal:
        return self.quality.share

    # -- what others ask --------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """Bars stepped through since the ledger was opened; its first entry is where trading began."""
        return max(len(self.journal.books.curve) - 1, 0)

    @property
    def bar(self) -> Bar | None:
        """The last closed bar."""
        return self._bar

    @property
    def warning(self) -> str:
        """The worst of what is wrong now, in words; empty when nothing is."""
        wrongs = [*self.executor.alarms, *self.verdict.differences, *self.guard.wrong.values()]
        wrongs += [self.market.trouble(), self.health.trouble, *self.verdict.foreign]
        return next((wrong for wrong in wrongs if wrong), "")

    async def command(self, name: str, text: str, who: str, *events: AnyEvent) -> None:
        """Write what a person asked for, with what came of it, as one batch."""
        await self.journal.record(Commanded(self.venue.market_ms(), name, text, who), *events)

    async def stop(self) -> None:
        """No entry or exit order stays behind; positions and their protection do."""
        await self.executor.stop(STOP_S)
        with contextlib.suppress(VenueError):
            for record in [r for r in self.journal.books.orders.values() if not r.state.final]:
                await self.venue.cancel(record.order)
        await self.dead_man.release()
