"""The engine: events in, bars closed, steps taken, orders watched. The walk of a bar reads from `_step` down."""

import asyncio
import contextlib
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from core.clock import monotonic
from core.config import Settings
from core.domain.decision import Exit, View
from core.domain.instrument import Instrument
from core.domain.market import Bar, Candle, Funding, Mark, Ticker
from core.domain.orders import Fill, OrderReport, Origin, base36
from core.engine.feed import Feed
from core.engine.market import MarketState
from core.engine.narrator import Narrator
from core.execution.executor import Executor
from core.execution.failpoint import failpoint
from core.execution.journal import Journal
from core.execution.orders import Orders
from core.execution.protection import Guard
from core.execution.reconcile import Reconciler, Verdict
from core.execution.risk import Standing
from core.execution.sizing import exit_intent
from core.portfolio.events import AnyEvent, Commanded, Decided, Intended, Opened, Stepped
from core.trader import Names, Outcome, Trader
from core.venues.port import Reconnected, StreamStatus, Venue, VenueError

RECONCILE_S = 60.0
RETRY_S = 2.0
STOP_S = 10.0


class Engine:
    """One account, one universe, the traders on it. Made by the supervisor, which gives it a connected venue."""

    def __init__(
        self,
        settings: Settings,
        venue: Venue,
        journal: Journal,
        traders: Sequence[Trader],
        instruments: dict[str, Instrument],
        narrator: Narrator,
    ) -> None:
        self.settings = settings
        self.venue = venue
        self.journal = journal
        self.traders = tuple(traders)
        self.instruments = instruments
        self.narrator = narrator
        self.orders = Orders(venue, journal, int(settings.venue.order_expiry_s * 1000))
        self.guard = Guard(venue, journal, settings.risk.catastrophe_share)
        self.executor = Executor(venue, journal, self.orders, self.guard, instruments)
        self.reconciler = Reconciler(venue, journal, self.orders, self.guard, instruments)
        self.feed = Feed(list(instruments), settings.universe.bar_ms, settings.venue.bar_timeout_s)
        self.market = MarketState(list(instruments.values()))
        self.verdict = Verdict(("not yet reconciled",), ())
        self.views: dict[str, View] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.step_ms = 0.0
        self.trading = asyncio.Event()
        self.deciding = asyncio.Lock()
        """Held from reading the books to writing the intents: two wishes never see the same books."""
        self.names = Names("", 0)
        self._early: list[Candle] | None = []
        self._funding: dict[str, Funding] = {}
        self._wake = asyncio.Event()
        self._bar: Bar | None = None
        self.asset_ids = {spec.asset: name for name, spec in instruments.items()}

    # -- starting ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open or fold the ledger, agree with the exchange, warm the features, finish what was half done."""
        books = self.journal.books
        if not books.prefix:
            await self._open_ledger()
        self.names = Names(books.prefix, books.intents_made)
        self.narrator.follow(self.journal)
        await self.reconcile()
        # Under lockstep the market has waited: an entry's bar is not past.
        self.executor.resume(fresh=self.venue.capabilities.lockstep)
        await self._warm()
        self.trading.set()

    async def _open_ledger(self) -> None:
        balance = await self.venue.balance()
        bills = await self.venue.bills("")
        now = self.venue.market_ms()
        last = bills[-1].id if bills else ""
        opened = Opened(now, base36(now), self.venue.capabilities.name, balance.currency, balance.cash, last)
        await self.journal.record(opened)

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
            await self._finish_step(last)

    def _warm_bar(self, bar: Bar) -> None:
        self.market.bar(bar)
        self._bar = bar
        for trader in self.traders:
            self.views[trader.strategy.name] = trader.warm(bar)

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

    async def trade(self, until_ms: int | None) -> None:
        """Step through closed bars, up to the one that opens at `until_ms`; None: for ever."""
        while until_ms is None or self.journal.books.last_step < until_ms:
            await self._step(await self.feed.next_bar())

    async def reconcile(self) -> Verdict:
        """Ask the exchange whether it tells the same, and mend what can be mended."""
        try:
            verdict = await self.reconciler.run()
        except VenueError as error:
            verdict = Verdict((str(error),), ())
        if verdict.differences != self.verdict.differences:
            for line in verdict.differences:
                self.narrator.say(self.venue.market_ms(), "health", "bad", line)
        self.verdict = verdict
        await self._rejoin()
        return verdict

    async def _rejoin(self) -> None:
        """Where the exchange has closed one leg of a pair, close the other at once."""
        books = self.journal.books
        async with self.deciding:
            working = {(i.strategy, i.pair) for i in books.unsettled()}
            for book in books.open_books():
                if (book.strategy, book.pair) in working or all(leg.size != 0 for leg in book.legs):
                    continue
                wish = Exit(book.pair, "the exchange closed its other leg", barred=True)
                intent = exit_intent(self.names.take(), self.venue.market_ms(), book, wish, Origin.RECOVERY)
                await self.journal.record(Intended(intent.ts, intent, barred=True))
                self.executor.start(intent)

    # -- the walk of a bar ------------------------------------------------------------------------

    async def _step(self, bar: Bar) -> None:
        """From a closed bar to its orders: features, scores, decision, risk (all in `Trader.on_bar`), ledger,
        legs. Under lockstep the step ends when every order it caused is settled."""
        began = monotonic()
        if self.orders.foreign or not self.verdict.agrees:
            await self.reconcile()  # A stop has fired within the bar: what is decided rests on what is held now.
        bar = await self._funded(bar)
        self.market.bar(bar)
        self._bar = bar
        for trader in self.traders:
            name = trader.strategy.name
            if self.journal.books.last_decision(name) >= bar.open_ms:
                self.views[name] = trader.warm(bar)  # Decided before a crash: nobody decides twice.
                continue
            async with self.deciding:
                standing = self.standing(bar)
                holdings = self.journal.books.holdings(name, standing.free)
                outcome = trader.on_bar(bar, holdings, standing, self.names)
                self.views[name], self.outcomes[name] = outcome.view, outcome
                self.step_ms = (monotonic() - began) * 1000
                await self.journal.record(*_events(bar, outcome))
            failpoint("intended")
            for intent in outcome.intents:
                self.executor.start(intent)
        if self.venue.capabilities.lockstep:
            await self.executor.idle()
        await self._finish_step(bar)

    async def _finish_step(self, bar: Bar) -> None:
        """Look after protections, take in the statement, write the end, let a market in lockstep go on."""
        for instrument in self.instruments.values():
            await self.guard.keep(instrument)
        with contextlib.suppress(VenueError):
            await self.reconciler.bills()
        equity = self.journal.books.equity(self.traders[0].prices(bar))
        if self.journal.books.last_step < bar.open_ms:
            await self.journal.record(Stepped(bar.close_ms, bar.open_ms, equity))
        await self.venue.acknowledge(bar.open_ms)

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

    # -- what others ask --------------------------------------------------------------------------

    @property
    def steps(self) -> int:
        """Bars stepped through since the ledger was opened; its first entry is where trading began."""
        return max(len(self.journal.books.curve) - 1, 0)

    def standing(self, bar: Bar) -> Standing:
        """The account by the ledger, at the bar's closes: deterministic, and the same in backtest."""
        books, prices = self.journal.books, self.traders[0].prices(bar)
        gross = sum(
            (
                abs(spec.notional(books.net(name), prices[name]))
                for name, spec in self.instruments.items()
                if name in prices
            ),
            Decimal(0),
        )
        trouble = "; ".join(self.verdict.differences)
        if not trouble and not self.venue.capabilities.lockstep:
            trouble = self.market.trouble()
        free = books.equity(prices) - gross / self.settings.venue.leverage
        return Standing(free, gross, books.state == "paused", trouble)

    @property
    def bar(self) -> Bar | None:
        """The last closed bar."""
        return self._bar

    @property
    def warning(self) -> str:
        """The worst of what is wrong now, in words; empty when nothing is."""
        wrongs = [*self.verdict.differences, *self.guard.wrong.values(), self.market.trouble()]
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


def _events(bar: Bar, outcome: Outcome) -> list[AnyEvent]:
    """The step's batch: the decision, then its intents, before any order of theirs."""
    decision = outcome.decision
    refused = "; ".join(f"{pair} refused: {why}" for pair, why in outcome.refused)
    hold = "" if decision.entries or decision.exits else decision.text
    decided = Decided(
        bar.close_ms,
        bar.open_ms,
        decision.strategy,
        tuple(i.pair for i in outcome.intents if i.action == "open"),
        tuple(f"{x.pair}: {x.reason}" for x in decision.exits),
        decision.released,
        refused or hold,
        tuple(asset for asset, valid in zip(outcome.view.assets, bar.valid, strict=True) if not valid),
    )
    intents = zip(outcome.intents, outcome.barred, strict=True)
    return [decided, *(Intended(bar.close_ms, intent, barred) for intent, barred in intents)]
