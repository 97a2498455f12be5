"""The event-driven backtest: the live walk of a bar, on the matching core instead of a socket.

Features, model, strategy, trader, risk gate, legs, orders, ledger events and books are those that trade; only the
venue differs (`core.backtest.venue`). What it supposes of the market is named by `Assumptions` and printed.
"""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from core.backtest.fees import fees
from core.backtest.latency import latency
from core.backtest.result import Result
from core.backtest.slippage import book_rules
from core.backtest.trades import Trades
from core.backtest.venue import BacktestVenue
from core.clock import at_once, iso
from core.data.panel import Panel
from core.data.quotes import Quotes, read_quotes
from core.domain.backtest import Source
from core.domain.market import Bar, Floats
from core.domain.orders import Fill
from core.domain.trading import TradingState
from core.execution.journal import Journal, MemoryLedger
from core.features.pairs import PairFeatures
from core.features.replayed import Replayed
from core.jobs import Progress
from core.matching.replay import Market
from core.matching.rules import Rules
from core.portfolio.books import Books
from core.portfolio.digest import digest
from core.portfolio.events import AnyEvent, Switched
from core.trader import Trader
from core.walk import Walk

TICKS = 6
"""Prices within a bar: those of the local exchange in lockstep, so that a demo at full speed is repeated."""
CHUNK = 256
"""Bars between two words on progress."""


class Assumptions(msgspec.Struct, frozen=True):
    """What a run supposes, by the names of the models (see the modules of those names). `rejects`: share of orders
    refused for no reason of ours. `book`: a file of real best bids and asks (see `core.data.quotes`), or none."""

    fees: str = "okx-regular"
    slippage: str = "book"
    latency: str = "none"
    inside: str = "adverse"
    rejects: float = 0.0
    book: str = ""

    def rules(self) -> Rules:
        """The exchange's rules under these assumptions."""
        maker, taker = fees(self.fees)
        return msgspec.structs.replace(book_rules(self.slippage), maker=maker, taker=taker)

    def words(self, funded: bool = True) -> dict[str, str]:
        """Each assumption in words, for the report; `funded`: the data have funding rates of what is traded."""
        rules = self.rules()
        many = rules.depth_share > 1
        real = f"the best bid and ask of {Path(self.book).name} as an order arrives; " if self.book else ""
        real += "where there is none of the last minute, " if self.book else ""
        depth = "at any size" if many else f"depth {rules.depth_share:.0%} of a bar's turnover a side"
        orders = "one after another, " + ("no latency" if self.latency == "none" else f"latency {self.latency} ms")
        within = {
            "adverse": "worse extreme before the better one; stops at their own price on the way",
            "replay": "the seeded path of the local exchange",
        }
        return {
            "signals": "decided at a bar's close, filled from the next open on",
            "fees": f"{self.fees}: maker {rules.maker:.4%}, taker {rules.taker:.4%} of value; all orders take",
            "slippage": f"{real}{self.slippage}: spread {rules.spread_bps} bp around the mark, {depth}",
            "latency": orders,
            "inside a bar": within[self.inside],
            "rejects": f"{self.rejects:.1%} of orders",
            "funding": "settled rates on the position held at each settlement, at the last price before it"
            if funded
            else "none: the data have no rates of this period",
            "margin": f"maintenance {rules.maintenance_rate:.2%} of value; below it everything is liquidated",
        }


@dataclass(frozen=True)
class EventRun:
    """A finished run: its result, and the ledger's events, from which everything can be told again."""

    result: Result
    events: Sequence[AnyEvent]


def funded(panel: Panel) -> bool:
    """Whether any funding rate is known of the bars."""
    return bool(np.isfinite(panel.funding_rate).any())


def market_of(panel: Panel, start: int, bars: int, seed: int) -> Market:
    """The replayed market: bars before `start` are history, `bars` (0: all) are traded."""
    return Market(panel, start=start, bars=bars, ticks=TICKS, seed=seed)


def run_events(
    traders: Sequence[Trader],
    market: Market,
    cash: Decimal,
    assumptions: Assumptions,
    source: Source,
    *,
    seed: int,
    catastrophe_share: Decimal,
    progress: Progress = lambda share, text: None,
) -> EventRun:
    """Run `traders` (of one universe, in the order of the panel) over the bars of a fresh `market`.

    `cash` in the settlement currency. Raises UserError for an assumption that is not known."""
    quotes = _quotes(assumptions.book, market.panel) if assumptions.book else None
    venue = BacktestVenue(
        market,
        assumptions.rules(),
        cash,
        latency(assumptions.latency, seed),
        assumptions.inside,
        assumptions.rejects,
        seed,
        quotes,
    )
    first, end = market.first, market.end
    begin = max(0, first - max(trader.features.warmup for trader in traders))
    traders = [_replaying(trader, market.panel, begin) for trader in traders]
    ledger = MemoryLedger()
    journal = Journal(ledger, Books(venue.instruments), immediate=True)
    walk = Walk(venue, journal, traders, venue.instruments, expiry_ms=5_000, catastrophe_share=catastrophe_share)
    venue.told = partial(_hear, walk)
    trades = Trades(venue.instruments, venue.slipped, market.panel.bar_ms)
    journal.listen(trades.hear)
    series = _Series(_all_pairs(traders), int(market.panel.ts[market.first]), float(cash))
    for name in venue.instruments:
        at_once(venue.set_leverage(name, traders[0].limits.leverage))
    at_once(walk.open())
    at_once(walk.reconcile())
    for bar in market.panel.bars(begin, first):
        walk.warm(bar)
    for t, bar in enumerate(market.panel.bars(first, end), first):
        _catch_up(walk, venue.close_bar())
        series.row(walk, bar, venue.slippage)
        at_once(walk.step(bar))
        at_once(walk.learn())
        at_once(walk.finish(bar))
        if (t - first) % CHUNK == 0:
            progress((t - first) / (end - first), f"bar {t - first} of {end - first}")
    series.end(walk, venue.slippage)
    words = assumptions.words(funded(market.panel.slice(first, end)))
    result = _result(walk, series, trades, words, source, seed, ledger.events)
    if quotes is not None:
        met = f"{venue.met} of {result.orders} orders met a quote of {quotes.name}"
        result = msgspec.structs.replace(result, notes=(*quotes.notes, met))
    result = msgspec.structs.replace(result, notes=(*result.notes, *_held_back(ledger.events)))
    return EventRun(result, ledger.events)


def _held_back(events: Sequence[AnyEvent]) -> Iterator[str]:
    """What the rules of loss and margin have made of the run, a line each time: nobody is there to resume it."""
    for event in events:
        if isinstance(event, Switched) and event.state != TradingState.ACTIVE:
            yield f"{event.state} from {iso(event.ts)} on: {event.reason}"


def _quotes(file: str, panel: Panel) -> Quotes:
    """The real quotes of a run's market."""
    quotes = read_quotes(file, panel.assets)
    quotes.check(panel)
    return quotes


def _replaying(trader: Trader, panel: Panel, begin: int) -> Trader:
    """The trader with its features computed in chunks, where they are ours: the same bits, sooner."""
    fresh = copy(trader)
    if type(trader.features) is PairFeatures:  # What overrides ours must not be run on ours.
        fresh.features = Replayed(trader.features, panel, begin)
    return fresh


def _catch_up(walk: Walk, own: Sequence[Fill]) -> None:
    """Before a bar is judged: what the exchange did within it, and what is left over from the bar before."""
    for fill in own:
        at_once(walk.orders.fill(fill))
    if not walk.verdict.agrees:
        at_once(walk.reconcile())
    at_once(walk.learn())
    if walk.journal.books.unsettled():
        # Funding falls to what was held, before what is left over from the bar before goes on.
        at_once(walk.reconciler.bills())
        walk.executor.resume(fresh=False)


async def _hear(walk: Walk, fill: Fill) -> None:
    """Book a fill in the exchange's own order: what it has closed by itself comes before our next order's."""
    await walk.orders.fill(fill)
    if walk.orders.foreign:
        await walk.reconciler.adopt()


def _all_pairs(traders: Sequence[Trader]) -> tuple[str, ...]:
    """What any of them may hold, each once."""
    return tuple(dict.fromkeys(name for trader in traders for name in trader.pair_names))


class _Series:
    """Rows of the result, one a bar."""

    def __init__(self, pairs: tuple[str, ...], start_ms: int, cash: float) -> None:
        self.pairs = pairs
        self.ts, self.equity = [start_ms], [cash]
        self.costs: list[tuple[float, float, float]] = [(0.0, 0.0, 0.0)]
        self._row = {pair: i for i, pair in enumerate(pairs)}
        self._exposure: list[list[tuple[int, float]]] = [[]]

    def row(self, walk: Walk, bar: Bar, slippage: float) -> None:
        books = walk.journal.books
        close = dict(zip(walk.traders[0].features.assets, bar.ohlcv[:, 3].tolist(), strict=True))
        held = []
        for book in books.open_books():
            value = 0.0
            for leg in book.legs:
                value += abs(float(leg.size * leg.contract)) * close[leg.asset]
            held.append((self._row[book.pair], book.side * value))
        self.ts.append(bar.close_ms)
        self.equity.append(float(books.equity(walk.traders[0].prices(bar))))
        self.costs.append((slippage, float(books.fees), float(books.funding)))
        self._exposure.append(held)

    def end(self, walk: Walk, slippage: float) -> None:
        """The last bar's orders have traded at the open after it: what they cost belongs to the run."""
        books = walk.journal.books
        self.equity[-1] = float(books.curve[-1][1])
        self.costs[-1] = (slippage, float(books.fees), float(books.funding))

    def exposure(self) -> Floats:
        grid = np.zeros((len(self.ts), len(self.pairs)))
        for t, held in enumerate(self._exposure):
            for column, value in held:
                grid[t, column] += value
        return grid


def _result(
    walk: Walk,
    series: _Series,
    trades: Trades,
    assumptions: dict[str, str],
    source: Source,
    seed: int,
    events: Sequence[AnyEvent],
) -> Result:
    books, trader = walk.journal.books, walk.traders[0]
    params = {
        name: value if isinstance(value, int | float | str) else str(value)
        for name, value in trader.params.model_dump().items()
    }
    return Result(
        strategy="+".join(trader.strategy.name for trader in walk.traders),
        engine="events",
        params=params,
        source=source,
        assumptions=assumptions,
        seed=seed,
        ts=np.array(series.ts, np.int64),
        equity=np.array(series.equity),
        pairs=series.pairs,
        exposure=series.exposure(),
        costs=np.array(series.costs),
        trades=tuple(trades.closed),
        open_pairs=tuple(book.pair for book in books.open_books()),
        orders=len(books.orders),
        fills=books.fills,
        digest=digest(events),
    )
