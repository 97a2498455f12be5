"""OkxVenue, through the real ccxt.pro, against the local exchange on loopback."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.data.panel import Panel
from core.venues.okx.factory import okx_venue
from core.venues.okx.venue import OkxVenue
from core.venues.okx_local import LOCKSTEP, LocalExchange, Settings

HOUR = 3_600_000
ASSETS = ("BTC", "ETH", "SOL", "XRP", "BNB", "DOGE", "ADA", "AVAX", "LINK", "DOT")
SWAPS = tuple(f"{asset}-USDT-SWAP" for asset in ASSETS)
PRICES = (60_000, 3_000, 150, 0.5, 600, 0.1, 0.4, 30, 15, 6)
FIRST_MS = 1_704_067_200_000
BARS, START = 480, 400

Connect = Callable[..., Awaitable[OkxVenue]]


@pytest.fixture(scope="session")
def market() -> Panel:
    """Ten random walks of 480 hourly bars, with funding every eighth; a seed makes them the same each time."""
    chance = np.random.default_rng(3)
    close = np.array(PRICES) * np.exp(np.cumsum(chance.normal(0, 0.004, (BARS, len(ASSETS))), axis=0))
    opened = np.vstack([PRICES, close[:-1]])
    grids = (opened, np.maximum(opened, close) * 1.002, np.minimum(opened, close) * 0.998, close, 1e8 / close)
    funding = np.full((BARS, len(ASSETS)), np.nan)
    funding[::8] = 0.0001
    ts = FIRST_MS + np.arange(BARS, dtype=np.int64) * HOUR
    return Panel.of(ts, ASSETS, grids, HOUR, funding)


class Serve:
    """Starts exchanges on the market (lockstep, unless told otherwise) in one folder, and stops them."""

    def __init__(self, market: Panel, home: Path) -> None:
        self._market, self._home = market, home
        self.running: list[LocalExchange] = []

    async def __call__(self, **options: Any) -> LocalExchange:
        settings = Settings(**({"speed": LOCKSTEP, "start": START} | options))
        self.running.append(await LocalExchange(self._market, self._home, settings).__aenter__())
        return self.running[-1]

    async def stop(self, exchange: LocalExchange) -> None:
        self.running.remove(exchange)
        await exchange.__aexit__(None, None, None)


@pytest.fixture
async def serve(market: Panel, tmp_path: Path) -> AsyncIterator[Serve]:
    serving = Serve(market, tmp_path / "exchange")
    yield serving
    for exchange in list(serving.running):
        await serving.stop(exchange)


@pytest.fixture
async def exchange(serve: Serve) -> LocalExchange:
    return await serve()


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """A venue connected to an exchange."""
    venues: list[OkxVenue] = []

    async def make(exchange: LocalExchange, instruments: tuple[str, ...] = SWAPS, **options: Any) -> OkxVenue:
        keys = exchange.keys
        options = {"lockstep": exchange.settings.speed == LOCKSTEP, "timeout": 5.0} | options
        venue = okx_venue(
            address=exchange.url, key=keys.key, secret=keys.secret, passphrase=keys.passphrase, **options
        )
        venues.append(venue)
        await venue.connect(instruments)
        return venue

    yield make
    for venue in venues:
        await venue.close()


@pytest.fixture
async def venue(exchange: LocalExchange, connect: Connect) -> OkxVenue:
    return await connect(exchange)
