"""Shadow mode: a whole engine on a live market, with an account on paper; nothing of it leaves the machine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from core.config import load
from core.data.panel import Panel
from core.data.synthetic import synthetic_panel
from core.domain.errors import UserError
from core.domain.orders import Order, OrderType, Protection
from core.engine import supervisor
from core.engine.narrator import Narrator
from core.matching.rules import Rules
from core.venues.okx.factory import okx_market, okx_venue
from core.venues.okx.transport import OkxTransport
from core.venues.okx.venue import OkxVenue
from core.venues.okx_local import LOCKSTEP, LocalExchange, Settings
from core.venues.port import Refused
from core.venues.shadow import ShadowVenue

ASSETS = ("BTC", "ETH", "SOL", "XRP")
SWAPS = tuple(f"{asset}-USDT-SWAP" for asset in ASSETS)
BTC, ETH = SWAPS[:2]
START, HOUR = 460, 3_600_000
RULES = Rules(maker=D("0.0002"), taker=D("0.0005"))


class Wire:
    """Everything that a client would send: requests as (method, url, is it signed), and the sockets it opened."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, bool]] = []
        self.sockets: list[tuple[str, bool]] = []

    def tap(self, transport: Any) -> None:
        fetch, open_socket = transport.fetch, transport.open_socket

        async def fetched(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
            self.requests.append((method, url, "OK-ACCESS-SIGN" in (headers or {})))
            return await fetch(url, method, headers, body)

        async def opened(socket: str, arguments: Any, *, login: bool) -> Any:
            self.sockets.append((socket, login))
            return await open_socket(socket, arguments, login=login)

        transport.fetch, transport.open_socket = fetched, opened


class Stage:
    """The local exchange stands for OKX; `driver`, an ordinary client of it, lets its market go on."""

    def __init__(self, panel: Panel, home: Path, exchange: LocalExchange, driver: OkxVenue) -> None:
        self.panel, self.home, self.exchange, self.driver = panel, home, exchange, driver
        self.wire = Wire()
        self.bar = START - 1

    def shadow(self) -> ShadowVenue:
        market = okx_market(address=self.exchange.url, stale_after=1000.0)
        assert isinstance(market._transport, OkxTransport)
        self.wire.tap(market._transport)
        return ShadowVenue(market, self.home / "shadow.json", D(100_000), RULES)

    async def go_on(self) -> int:
        """The next bar closes; its open time."""
        await self.driver.acknowledge(int(self.panel.ts[self.bar]))
        self.bar += 1
        return int(self.panel.ts[self.bar])

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[ShadowVenue]:
        """A paper account on two instruments, with the first prices heard."""
        venue = self.shadow()
        await venue.connect([BTC, ETH])
        try:
            while not {BTC, ETH} <= venue._tops.keys():
                await venue.next_event()
            yield venue
        finally:
            await venue.close()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    panel = synthetic_panel(7, 700, ASSETS)
    async with LocalExchange(panel, tmp_path / "exchange", Settings(speed=LOCKSTEP, start=START)) as exchange:
        keys = exchange.keys
        driver = okx_venue(
            address=exchange.url, key=keys.key, secret=keys.secret, passphrase=keys.passphrase, lockstep=True
        )
        await driver.connect(SWAPS)
        try:
            yield Stage(panel, tmp_path, exchange, driver)
        finally:
            await driver.close()


def order(name: str, instrument: str, size: str, expires: int = 2**60) -> Order:
    return Order(name, name, 0, 0, instrument, D(size), OrderType.MARKET, expires)


async def test_an_engine_trades_on_paper_and_nothing_private_is_ever_sent(stage: Stage) -> None:
    options = {"universe.assets": list(ASSETS), "engine.strategies": ["zscore"], "venue.name": "shadow"}
    settings = load(None, options=options, environ={"COCKPIT_HOME": str(stage.home)})
    settings.paths.create()
    async with supervisor.composed(settings, stage.shadow(), {}, None, Narrator()) as run:
        books = run.engine.journal.books
        while not books.round_trips:
            assert stage.bar < 600, "the market gave no occasion"
            await run.engine.trade(await stage.go_on())
            assert await run.engine.executor.idle(10.0)
        verdict = await run.engine.reconcile()
        assert verdict.agrees, verdict.differences
        assert books.fills >= 4 and books.fees < 0
        balance = await run.engine.venue.balance()
        assert balance.cash == books.cash != D(100_000)

    assert settings.paths.ledger("shadow").exists() and not settings.paths.ledger("okx").exists()
    wire = stage.wire
    assert len(wire.requests) > 10 and {method for method, _, _ in wire.requests} == {"GET"}
    assert not any(signed for _, _, signed in wire.requests)
    public = ("/api/v5/public/", "/api/v5/market/", "/api/v5/system/status")
    assert all(any(path in url for path in public) for _, url, _ in wire.requests)
    assert set(wire.sockets) == {("public", False), ("business", False)}
    exchange = stage.exchange.exchange.matching
    assert not exchange.fills() and not exchange.orders() and exchange.cash == D(100_000)


async def test_paper_orders_trade_at_the_best_prices_last_told(stage: Stage) -> None:
    async with stage.connected() as venue:
        report = await venue.place(order("a", BTC, "3"))
        await venue.place(order("b", ETH, "-2"))
        bought, sold = await venue.fills(0)
        assert bought.price == report.average == venue._tops[BTC].ask
        assert sold.price == venue._tops[ETH].bid
        spec = venue.instruments[BTC]
        assert -bought.fee == spec.notional(D(3), bought.price) * RULES.taker


async def test_what_has_expired_or_has_no_price_is_refused(stage: Stage) -> None:
    async with stage.connected() as venue:
        with pytest.raises(Refused, match="expired"):
            await venue.place(order("a", BTC, "1", expires=1))
        venue._tops.clear()
        with pytest.raises(Refused, match="no best bid and ask"):
            await venue.place(order("b", BTC, "1"))
        assert await venue.order(BTC, "a") is None and not await venue.fills(0)


async def test_a_stop_fires_on_paper(stage: Stage) -> None:
    async with stage.connected() as venue:
        await venue.place(order("a", BTC, "3"))
        mark = venue._marks[BTC]
        trigger = venue.instruments[BTC].round_price(mark * D("0.9999"))
        placed = await venue.protect(Protection("s", BTC, D(-3), trigger))
        assert placed in await venue.protections()
        while await venue.protections():
            await stage.go_on()
            await asyncio.sleep(0.05)
            assert stage.bar < 650, "the mark never fell"
        assert not await venue.positions()
        closing = (await venue.fills(0))[-1]
        assert closing.size == -3 and closing.algo_id == "s"


async def test_the_paper_account_outlives_the_engine(stage: Stage) -> None:
    async with stage.connected() as venue:
        await venue.place(order("a", BTC, "3"))
        cash, held, told = venue.matching.cash, await venue.positions(), await venue.fills(0)
        bills = await venue.bills("")
    async with stage.connected() as again:
        assert (again.matching.cash, await again.fills(0), await again.bills("")) == (cash, told, bills)
        assert [(p.instrument, p.size) for p in held] == [(p.instrument, p.size) for p in await again.positions()]
        known = await again.order(BTC, "a")
        assert known is not None and known.state.final


async def test_funding_is_settled_on_paper_also_that_of_a_night_away(stage: Stage) -> None:
    async with stage.connected() as venue:
        await venue.place(order("a", BTC, "3"))
        while not [bill for bill in await venue.bills("") if bill.kind == "funding"]:
            await stage.go_on()
            await asyncio.sleep(0.02)
            assert stage.bar < START + 20
        before = len(await venue.bills(""))
    for _ in range(9):
        await stage.go_on()
    async with stage.connected() as venue:
        missed = (await venue.bills(""))[before:]
        assert [bill.kind for bill in missed] == ["funding"]


async def test_a_paper_account_that_holds_what_is_gone_is_named(stage: Stage) -> None:
    async with stage.connected() as venue:
        await venue.place(order("a", BTC, "3"))
    file = stage.home / "shadow.json"
    file.write_text(file.read_text().replace(BTC, "OLD-USDT-SWAP"))
    with pytest.raises(UserError, match=r"OLD-USDT-SWAP, which is no longer listed"):
        async with stage.connected():
            pass
    file.write_text("{")
    with pytest.raises(UserError, match=r"shadow\.json: the paper account cannot be read"):
        async with stage.connected():
            pass


async def test_the_market_alone_refuses_every_request_of_an_account(stage: Stage) -> None:
    market = okx_market(address=stage.exchange.url)
    await market.connect([BTC])
    try:
        with pytest.raises(Refused, match=r"only read|no account"):
            await market.place(order("a", BTC, "1"))
        with pytest.raises(Refused, match="no account"):
            await market.balance()
    finally:
        await market.close()
