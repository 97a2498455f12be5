"""A small seeded market, exchanges on it, and the real ccxt.pro client pointed at them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.data.panel import Panel
from core.venues.okx_local import LOCKSTEP, LocalExchange, Settings

HOUR = 3_600_000
ASSETS = ("BTC", "ETH", "SOL", "XRP", "BNB", "DOGE", "ADA", "AVAX", "LINK", "DOT")
PRICES = (60_000, 3_000, 150, 0.5, 600, 0.1, 0.4, 30, 15, 6)
START = 200
"""The first streamed bar: a multiple of 8 hours after the panel's first."""

Serve = Callable[..., Awaitable[LocalExchange]]
Connect = Callable[[LocalExchange], Awaitable[Any]]


def market(bars: int = 320) -> Panel:
    """Ten random walks of hourly bars from 2024-01-01, funding of 0.01% every 8 hours."""
    chance, assets = np.random.default_rng(5), len(ASSETS)
    close = np.array(PRICES) * np.exp(np.cumsum(chance.normal(0, 0.004, (bars, assets)), axis=0))
    opened = np.vstack([PRICES, close[:-1]])
    high, low = np.maximum(opened, close) * 1.002, np.minimum(opened, close) * 0.998
    funding = np.full((bars, assets), np.nan)
    funding[::8] = 0.0001
    ts = 1_704_067_200_000 + np.arange(bars, dtype=np.int64) * HOUR
    return Panel.of(ts, ASSETS, (opened, high, low, close, 1e8 / close), HOUR, funding)


@pytest.fixture(scope="session")
def panel() -> Panel:
    return market()


@pytest.fixture
async def serve(panel: Panel, tmp_path: Path) -> AsyncIterator[Serve]:
    """Start an exchange, lockstep unless told otherwise; all are stopped at the end."""
    running: list[LocalExchange] = []

    async def start(**options: Any) -> LocalExchange:
        rules, home = options.pop("rules", None), options.pop("home", tmp_path / "exchange")
        options = {"speed": LOCKSTEP, "start": START} | options
        exchange = LocalExchange(panel, home, Settings(**options), rules=rules)
        running.append(await exchange.__aenter__())
        return exchange

    yield start
    for exchange in running:
        await exchange.__aexit__(None, None, None)


@pytest.fixture
async def exchange(serve: Serve) -> LocalExchange:
    return await serve()


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """A ccxt.pro client of an exchange, its markets loaded."""
    import ccxt.pro

    clients: list[Any] = []

    async def make(exchange: LocalExchange, **changed: Any) -> Any:
        keys = exchange.keys
        account = {"apiKey": keys.key, "secret": keys.secret, "password": keys.passphrase} | changed
        options = {"fetchMarkets": {"types": ["swap"]}, "defaultType": "swap"}
        client = ccxt.pro.okx({**account, "options": options, "enableRateLimit": False})
        urls = {"rest": exchange.url, "ws": exchange.url.replace("http", "ws") + "/ws/v5"}
        client.urls["api"] = client.urls["test"] = urls
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.close()


@pytest.fixture
async def okx(exchange: LocalExchange, connect: Connect) -> Any:
    return await connect(exchange)
