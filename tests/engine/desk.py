"""A whole engine in this process, on the fake exchange: BTC/ETH, the plain z-score rule, bars closed by hand."""

import asyncio
from collections.abc import Callable
from decimal import Decimal as D
from pathlib import Path
from typing import TypeVar

import numpy as np

from core.compose import make_features
from core.config import load
from core.data.panel import Panel
from core.data.synthetic import synthetic_panel
from core.domain.market import Candle, Funding
from core.domain.snapshot import Command, LogLine, Reply, Snapshot, Status
from core.engine.commands import Commands
from core.engine.engine import Engine
from core.engine.narrator import Narrator
from core.engine.snapshots import Lag, Phase, snapshot
from core.engine.supervisor import prepare_account
from core.execution.journal import Journal
from core.execution.risk import Limits
from core.matching.types import Quote
from core.portfolio.books import Books
from core.portfolio.ledger import SyncLedger
from core.strategies.registry import strategy
from core.trader import Trader
from tests.execution.fakes import FakeVenue

T = TypeVar("T")
ASSETS = ("BTC", "ETH")
HOUR = 3_600_000
HISTORY = 450


class ReplayVenue(FakeVenue):
    """The fake exchange with a market to replay: `close_bar` is the hour passing."""

    def __init__(self, panel: Panel, *, lockstep: bool = True) -> None:
        super().__init__(lockstep=lockstep, cash="100000")
        self.panel = panel
        self.closed = HISTORY - 1
        self._quote()

    def market_ms(self) -> int:
        return int(self.panel.ts[self.closed]) + HOUR

    def close_bar(self) -> int:
        """The next bar closes: marks move to its close and its candles are told. Its open time."""
        self.closed += 1
        self._tell(self._quote(), None)
        for candle in self._candles(self.closed):
            self.events.put_nowait(candle)
        return int(self.panel.ts[self.closed])

    def crash_price(self, asset: str, share: float) -> None:
        """The price within the coming bar: a stop may fire."""
        index = ASSETS.index(asset)
        price = self.instruments[f"{asset}-USDT-SWAP"].round_price(
            D(repr(float(self.panel.close[self.closed, index]))) * D(str(share))
        )
        self.move(f"{asset}-USDT-SWAP", str(price))

    def _quote(self) -> list[object]:
        t = self.closed
        quotes = [
            Quote(name, D(repr(float(self.panel.close[t, i]))), 1e9) for i, name in enumerate(self.instruments)
        ]
        now = max(self.matching.now + 1, self.market_ms())
        return list(self.matching.step(now, (), quotes))

    def _candles(self, t: int) -> list[Candle]:
        p = self.panel
        grids = (p.open, p.high, p.low, p.close, p.volume)
        return [
            Candle(name, int(p.ts[t]), *(float(grid[t, i]) for grid in grids))
            for i, name in enumerate(self.instruments)
        ]

    async def candles(self, instrument: str, end_ms: int, count: int) -> list[Candle]:
        place = list(self.instruments).index(instrument)
        return [self._candles(t)[place] for t in range(max(0, self.closed + 1 - count), self.closed + 1)]

    async def funding(self, instrument: str, count: int) -> list[Funding]:
        place = list(self.instruments).index(instrument)
        known = np.flatnonzero(np.isfinite(self.panel.funding_rate[: self.closed + 1, place]))[-count:]
        return [
            Funding(instrument, int(self.panel.ts[t]), float(self.panel.funding_rate[t, place]), 8 * HOUR)
            for t in known
        ]


class Desk:
    """`await desk.open()`, then bar after bar; `restart` is what a crash leaves."""

    def __init__(self, home: Path, venue: ReplayVenue | None = None, **options: object) -> None:
        chosen = {"universe.assets": list(ASSETS), "engine.strategies": ["zscore"]}
        chosen |= {name.replace("__", "."): value for name, value in options.items()}
        self.settings = load(None, options=chosen, environ={"COCKPIT_HOME": str(home)})
        self.settings.paths.create()
        self.venue = venue or ReplayVenue(synthetic_panel(7, 900, ASSETS))
        self.lines: list[LogLine] = []

    async def open(self) -> "Desk":
        instruments = self.venue.instruments
        self.ledger = SyncLedger(self.settings.paths.ledger("demo"))
        books = Books(instruments)
        for event in self.ledger.events():
            books.apply(event)
        limits = await prepare_account(self.settings, self.venue, list(instruments))
        features = make_features(self.settings)
        params = self.settings.strategy.divergence
        trader = Trader(strategy("zscore"), params, features, None, instruments, limits)
        narrator = Narrator()
        narrator.sink(self.lines.append)
        journal = Journal(self.ledger, books)
        self.engine = Engine(
            self.settings, self.venue, journal, [trader, *self.beside(limits)], instruments, narrator
        )
        self.commands = Commands(self.view, asyncio.Event())
        self.commands.engine = self.engine
        self._tasks = [asyncio.create_task(self.engine.pump())]
        await self.engine.start()
        return self

    def beside(self, limits: Limits) -> list[Trader]:
        """Traders beside the plain z-score rule."""
        return []

    @property
    def books(self) -> Books:
        return self.engine.journal.books

    @property
    def trader(self) -> Trader:
        return self.engine.traders[0]

    def told(self, kind: type[T]) -> list[T]:
        """The ledger's events of one kind, in order."""
        return [event for event in self.ledger.events() if isinstance(event, kind)]

    async def bars(self, count: int = 1) -> None:
        """Let `count` bars close, each traded to its end."""
        for _ in range(count):
            await self.engine.trade(self.venue.close_bar())

    async def until_held(self, held: bool = True) -> None:
        """Bars until the pair is held (or no longer)."""
        for _ in range(200):
            if bool(self.books.open_books()) == held:
                return
            await self.bars()
        raise AssertionError("the market gave no occasion in 200 bars")

    async def ask(self, name: str, pair: str = "", side: int = 0, notional: float = 0.0) -> Reply:
        """A command, answered, and what it started brought to its end."""
        reply = await self.commands.handle(Command("1", name, pair, side, notional, "test"))
        await self.settled()
        return reply

    async def settled(self) -> None:
        assert await self.engine.executor.idle(60.0)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let (virtual) time pass until something is so; a minute at most."""
        for _ in range(6_000):
            if holds():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it did not come to be within a minute")

    def net(self) -> list[D]:
        """Contracts of BTC and ETH by the books, which must be what the exchange holds."""
        ours = [self.books.net(name) for name in self.venue.instruments]
        assert ours == [self.venue.net(name) for name in self.venue.instruments]
        return ours

    def view(self) -> Snapshot:
        base = Status(
            "s", "demo", "DEMO", "", "", -1.0, "active", 1, ["zscore"], "none", 0.0, HOUR, 0, 60, 0, 0, 0.0, 0.0,
            0.0, 0, 2, "",
        )  # fmt: skip
        return snapshot(base, Phase("trading"), Lag(), self.engine, self.lines)

    async def close(self) -> None:
        await self.engine.executor.stop(0.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.ledger.close()

    async def restart(self) -> "Desk":
        await self.close()
        self.venue.forget()
        return await self.open()
