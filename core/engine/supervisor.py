"""Composes a run: market, model, exchange, venue, ledger, engine, in the order in which they need each other."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from core import jobs
from core.clock import in_thread
from core.compose import load_compiled, make_features, make_limits, make_trader
from core.config import Secrets, Settings
from core.data.files import write_whole
from core.domain.errors import UserError
from core.engine.engine import Engine
from core.engine.exchange import ExchangeProcess
from core.engine.narrator import Narrator
from core.execution.journal import Journal
from core.execution.risk import Limits
from core.features.pairs import PairFeatures
from core.jobs import Progress
from core.models.bundle import check_features, load, refuse_if_seen
from core.portfolio.books import Books
from core.portfolio.events import Loaded
from core.portfolio.ledger import Ledger
from core.strategies.registry import strategy
from core.venues.okx.factory import okx_venue
from core.venues.okx_local.auth import Keys
from core.venues.port import Venue


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
    ledger: Ledger
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


async def train(settings: Settings, market: Market, progress: Progress) -> Path:
    """A bundle trained on the bars before trading starts; an earlier one of the very same data is used again."""
    # What a bundle is made of names its folder: other data, another period or other parameters train another one.
    made_of = f"{market.digest}{market.start}{settings.demo.seed}{settings.strategy.divergence.model_dump_json()}"
    name = f"demo-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"
    folder = settings.paths.models / name
    for found in sorted(folder.glob("*.safetensors")):
        # One that was damaged, or made for other features, is no loss here: the data to train it again is at hand.
        with contextlib.suppress(UserError):
            check_features(load(found), PairFeatures.names, make_features(settings).hash)
            return found
    arguments = ["train", "divergence", "--panel", market.panel, "--train-bars", str(market.start)]
    arguments += ["--seed", str(settings.demo.seed), "--out", str(folder), "--json", "--served-only"]
    if settings.file is not None:
        arguments += ["--config", str(settings.file)]
    ended = await jobs.run("core.models", arguments, progress)
    return Path(msgspec.json.decode(ended.document())["bundle"])


def latest_bundle(settings: Settings) -> Path:
    """The newest bundle that `cockpit train divergence` has stored."""
    found = sorted(settings.paths.models.glob("*.safetensors"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError(
            f"no model in {settings.paths.models}: train one with `cockpit train divergence --data FILE`"
        )
    return found[-1]


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


def make_venue(settings: Settings, exchange: ExchangeProcess | None) -> Venue:
    """The one OKX path, pointed at the local exchange or at OKX's demo account."""
    bar, stale = settings.universe.bar, settings.venue.stale_after_s
    lockstep = exchange is not None and settings.demo.speed == "max"
    keys = Secrets.load() if exchange is None else Keys()
    return okx_venue(
        address=None if exchange is None else exchange.url,
        key=keys.key,
        secret=keys.secret,
        passphrase=keys.passphrase,
        sandbox=exchange is None,
        lockstep=lockstep,
        bar=bar,
        stale_after=stale,
    )


@contextlib.asynccontextmanager
async def composed(
    settings: Settings, venue: Venue, bundle_path: Path | None, market: Market | None, narrator: Narrator
) -> AsyncIterator[Run]:
    """A connected, reconciled and warmed engine; on leaving, everything it opened is closed."""
    names = [f"{asset}-{settings.universe.quote}-SWAP" for asset in settings.universe.assets]
    rules = [strategy(name, settings) for name in settings.engine.strategies]
    bundle = None if bundle_path is None else await in_thread(load, bundle_path)
    if bundle is not None and market is not None:
        refuse_if_seen(bundle, market.first_traded_ms)
    await in_thread(load_compiled, settings, rules, bundle)
    await venue.connect(names)
    ledger = None
    try:
        instruments = {name: venue.instruments[name] for name in names}
        ledger = await Ledger.open(settings.paths.ledger(settings.venue.name))
        books = Books(venue.instruments)  # All of them: an asset may have left the universe, not the ledger.
        for event in await ledger.read():
            books.apply(event)
        limits = await prepare_account(settings, venue, names)
        traders = [make_trader(settings, rule, bundle, instruments, limits) for rule in rules]
        engine = Engine(settings, venue, Journal(ledger, books), traders, instruments, narrator)
        pump = asyncio.create_task(engine.pump(), name="pump")
        try:
            await engine.start()
            if bundle is not None and books.model != bundle.path.stem:
                meta = bundle.meta
                loaded = Loaded(venue.market_ms(), "divergence", bundle.path.stem, meta.trained_until_ms)
                await engine.journal.record(loaded)
            name, base_rate = (
                (bundle.path.stem, bundle.meta.metrics.get("base_rate") or 0.0) if bundle else ("none", 0.0)
            )
            yield Run(engine, ledger, pump, market, name, base_rate)
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
