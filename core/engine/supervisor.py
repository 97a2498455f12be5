"""Composes a run: market, model, exchange, venue, ledger, engine, in the order in which they need each other."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from core import jobs
from core.backtest.fees import fees
from core.clock import in_thread
from core.compose import bundle_folder, load_compiled, make_limits, make_trader, stored_bundle
from core.config import Secrets, Settings
from core.data.files import write_whole
from core.domain.errors import UserError
from core.engine.engine import Engine
from core.engine.exchange import ExchangeProcess
from core.engine.narrator import Narrator
from core.execution.journal import Journal
from core.execution.risk import Limits
from core.jobs import Progress
from core.matching.rules import Rules
from core.models.bundle import Bundle, refuse_if_seen
from core.models.kinds import latest, loaded
from core.portfolio.books import Books
from core.portfolio.events import Listed, Loaded
from core.portfolio.ledger import Ledger, Log
from core.strategies.registry import strategy
from core.venues.okx.factory import Permit, okx_market, okx_venue
from core.venues.okx_local.auth import Keys
from core.venues.port import Venue
from core.venues.shadow import ShadowVenue


class Market(msgspec.Struct, frozen=True):
    """The demo's market as prepared: its file, the open time of its first bar, the bar where trading starts,
    and how many bars are traded. Kept beside the exchange's account, so that a resumed session finds it."""

    panel: str
    first_ms: int
    bar_ms: int
    start: int
    bars: int
    digest: str
    notes: tuple[str, ...]

    @property
    def first_traded_ms(self) -> int:
        """Open time of the first bar that is streamed."""
        return self.first_ms + self.start * self.bar_ms

    @property
    def last_traded_ms(self) -> int:
        """Open time of the last one."""
        return self.first_ms + (self.start + self.bars - 1) * self.bar_ms


class Run(msgspec.Struct):
    """What a run consists of, while it runs."""

    engine: Engine
    ledger: Log
    pump: asyncio.Task[None]
    market: Market | None
    model: str
    base_rate: float


async def prepare_market(settings: Settings, resume: bool, progress: Progress) -> Market:
    """Write the demo's panel (real candles or the seeded synthetic market) and say where trading starts.

    A resumed session goes on in the market it began in."""
    kept = settings.paths.exchange / "market.json"
    if resume and kept.exists():
        return msgspec.json.decode(kept.read_bytes(), type=Market)
    demo, universe = settings.demo, settings.universe
    progress(0.0, f"reading {demo.replay}" if demo.replay else f"making the synthetic market, seed {demo.seed}")
    target = settings.paths.exchange / "market.npz"
    arguments = ["--out", str(target), "--assets", ",".join(universe.assets)]
    arguments += ["--bar", universe.bar, "--bar-ms", str(universe.bar_ms), "--seed", str(demo.seed)]
    arguments += ["--bars", str(demo.market_bars), "--lake", str(settings.paths.lake)]
    for name, value in (("--replay", demo.replay), ("--funding", demo.funding)):
        if value:
            arguments += [name, value]
    ended = await jobs.run("core.engine.prepare", arguments, progress)
    market = market_of(settings, target, msgspec.json.decode(ended.document()))
    await in_thread(write_whole, kept, msgspec.json.encode(market))
    return market


def market_of(settings: Settings, panel: Path, said: dict[str, Any]) -> Market:
    """Where trading starts in a prepared market, and how long it goes on."""
    length, start = said["bars"], max(settings.demo.train_bars, settings.strategy.divergence.min_bars)
    if length < start + 2:
        raise UserError(f"the market has {length} bars, but {start} are history: fewer --train-bars, or more data")
    bars = min(settings.demo.bars or length, length - start)
    notes = tuple(said["notes"])
    return Market(str(panel), said["first"], settings.universe.bar_ms, start, bars, said["hash"], notes)


def kinds_of(settings: Settings) -> tuple[str, ...]:
    """The kinds of models that the strategies of this run need, each once."""
    needed = (strategy(name, settings).model for name in settings.engine.strategies)
    return tuple(dict.fromkeys(kind for kind in needed if kind))


async def train(settings: Settings, market: Market, kind: str, progress: Progress) -> Path:
    """A bundle of that kind trained on the bars before trading starts; an earlier one of the very same data is used
    again, and one that the configuration names before all."""
    if kind == "cluster" and settings.strategy.cluster.model:
        return settings.beside(settings.strategy.cluster.model)
    folder = bundle_folder(settings, kind, "demo", f"{market.digest} {market.start}")
    if found := stored_bundle(settings, kind, folder):
        return found.path
    arguments = ["--panel", market.panel, "--out", str(folder)]
    if settings.file is not None:
        arguments += ["--config", str(settings.file)]
    if kind == "cluster":
        of = ["--bars", str(market.start), "--seed", str(settings.train.cluster.seed)]
        ended = await jobs.run("core.models.cluster.before", [*arguments, *of], progress)
    else:
        of = ["--train-bars", str(market.start), "--seed", str(settings.demo.seed), "--json", "--served-only"]
        ended = await jobs.run("core.models", ["train", kind, *arguments, *of], progress)
    return Path(msgspec.json.decode(ended.document())["bundle"])


def latest_bundle(settings: Settings, kind: str) -> Path:
    """The bundle of that kind that the configuration names, else the newest that `cockpit train` has stored."""
    named = settings.strategy.cluster.model if kind == "cluster" else ""
    return settings.beside(named) if named else latest(kind, settings.paths.models)


async def start_exchange(settings: Settings, market: Market, resume: bool) -> ExchangeProcess:
    """The local exchange of this home: the one that is running if resumed, else a new one."""
    home = settings.paths.exchange
    running = ExchangeProcess.running(home)
    if running is not None:
        if resume:
            return running
        await running.stop()
    options = {
        "panel": market.panel,
        "speed": str(settings.demo.speed),
        "start": str(market.start),
        "bars": str(market.bars),
        "seed": str(settings.demo.seed),
        "cash": str(settings.demo.cash),
        "port": str(settings.demo.port),
    }
    return await ExchangeProcess.start(home, options, resume)


def make_venue(settings: Settings, exchange: ExchangeProcess | None, permit: Permit | None = None) -> Venue:
    """The one OKX path, pointed at the local exchange, at OKX's demo account, at its market alone with an account
    on paper or, with a `permit`, at the account that it names."""
    bar, stale, name = settings.universe.bar, settings.venue.stale_after_s, settings.venue.name
    if name == "shadow":
        maker, taker = fees(settings.backtest.fees)
        market = okx_market(bar=bar, stale_after=stale)
        return ShadowVenue(market, settings.paths.paper, settings.demo.cash, Rules(maker, taker))
    keys = Secrets.load() if exchange is None else Keys()
    return okx_venue(
        address=None if exchange is None else exchange.url,
        key=keys.key,
        secret=keys.secret,
        passphrase=keys.passphrase,
        sandbox=name == "okx-demo",
        permit=permit,
        lockstep=exchange is not None and settings.demo.speed == "max",
        bar=bar,
        stale_after=stale,
    )


@contextlib.asynccontextmanager
async def composed(
    settings: Settings,
    venue: Venue,
    paths: Mapping[str, Path],
    market: Market | None,
    narrator: Narrator,
    open_ledger: Callable[[Path], Awaitable[Log]] = Ledger.open,
) -> AsyncIterator[Run]:
    """A connected, reconciled and warmed engine, with the bundles of `paths`, by kind; on leaving, everything it
    opened is closed."""
    names = [f"{asset}-{settings.universe.quote}-SWAP" for asset in settings.universe.assets]
    rules = [strategy(name, settings) for name in settings.engine.strategies]
    bundles = {kind: await in_thread(loaded, kind, path) for kind, path in paths.items()}
    for bundle in bundles.values():
        if market is not None:
            refuse_if_seen(bundle, market.first_traded_ms)
    await in_thread(load_compiled, settings, rules, bundles)
    await venue.connect(names)
    ledger = None
    try:
        instruments = {name: venue.instruments[name] for name in names}
        ledger = await open_ledger(settings.paths.ledger(settings.venue.name))
        books = Books(venue.instruments)  # All of them: an asset may have left the universe, not the ledger.
        serving, listed = {}, {}
        for event in await ledger.read():
            books.apply(event)
            if isinstance(event, Loaded):
                serving[event.strategy] = event.bundle
            elif isinstance(event, Listed):
                listed.update({spec.id: spec for spec in event.instruments})
        limits = await prepare_account(settings, venue, names)
        traders = [make_trader(settings, rule, bundles.get(rule.model), instruments, limits) for rule in rules]
        engine = Engine(settings, venue, Journal(ledger, books), traders, instruments, narrator)
        engine.listed = listed
        pump = asyncio.create_task(engine.pump(), name="pump")
        try:
            await engine.start()
            for kind, bundle in bundles.items():
                if serving.get(kind) != bundle.path.stem:
                    until = bundle.meta.trained_until_ms
                    await engine.journal.record(Loaded(venue.market_ms(), kind, bundle.path.stem, until))
            names_of = ", ".join(bundle.path.stem for bundle in bundles.values()) or "none"
            forest = bundles.get("divergence")
            base_rate = forest.meta.metrics.get("base_rate") if isinstance(forest, Bundle) else None
            yield Run(engine, ledger, pump, market, names_of, base_rate or 0.0)
            await engine.stop()
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
    finally:
        await venue.close()
        if ledger is not None:
            await ledger.close()


async def prepare_account(settings: Settings, venue: Venue, names: list[str]) -> Limits:
    """Set the leverage, read the fee tier: the limits of the risk gate with the account's own numbers."""
    leverage = Decimal(settings.venue.leverage)
    await asyncio.gather(*(venue.set_leverage(name, leverage) for name in names))
    _, taker = await venue.fee_rates()
    return make_limits(settings, taker)
