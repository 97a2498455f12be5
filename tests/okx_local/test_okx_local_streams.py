"""The sockets through ccxt.pro: every message of a burst arrives, in order, and refusals are named."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import ccxt.pro as ccxt
import msgspec
import pytest

from core.venues.okx_local import LocalExchange

BTC = "BTC/USDT:USDT"
Message = dict[str, Any]


class Wire:
    """A bare socket: what the exchange really sends, without a client library's caches."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, op: str, *args: dict[str, str]) -> None:
        await self.socket.send_json({"op": op, "args": list(args)})

    async def next(self, wanted: Callable[[Message], bool] = lambda m: True) -> Message:
        async with asyncio.timeout(5):
            while True:
                message = msgspec.json.decode(await self.socket.receive_str())
                if wanted(message):
                    return dict(message)

    async def subscribe(self, channel: str, instrument: str = "", **more: str) -> None:
        arg = {"channel": channel} | ({"instId": instrument} if instrument else {}) | more
        await self.send("subscribe", arg)
        ack = await self.next(lambda m: "event" in m)
        assert (ack["event"], ack["arg"]) == ("subscribe", arg), ack


@pytest.fixture
async def wire(exchange: LocalExchange) -> AsyncIterator[Callable[[str], Any]]:
    async with aiohttp.ClientSession() as session:

        async def dial(path: str) -> Wire:
            wired = Wire(await session.ws_connect(f"{exchange.url}/ws/v5/{path}"))
            if path != "public":
                await wired.send("login", _login(exchange))
                assert (await wired.next())["code"] == "0"
            return wired

        yield dial


def _login(exchange: LocalExchange, **changed: str) -> dict[str, str]:
    from core.clock import wall_ms

    stamp = str(wall_ms() // 1000)
    keys = exchange.keys
    login = {"apiKey": keys.key, "passphrase": keys.passphrase, "timestamp": stamp}
    return login | {"sign": keys.sign(f"{stamp}GET/users/self/verify")} | changed


async def test_tickers_of_ten_symbols_all_arrive(exchange: LocalExchange, okx: Any) -> None:
    heard: list[tuple[str, int]] = []
    complete = asyncio.Event()
    handle = okx.handle_ticker

    def queued(client: Any, message: Message) -> None:
        heard.extend((row["instId"], int(row["ts"])) for row in message["data"])
        if len(heard) >= 20:
            complete.set()
        handle(client, message)

    okx.handle_ticker = queued
    await okx.load_markets()
    await okx.watch_tickers(list(okx.markets))
    exchange.run_bar()
    async with asyncio.timeout(5):
        await complete.wait()
    assert len(heard) == len(set(heard)) == 20, "a snapshot and the next bar's open, of each symbol"
    assert {ts for _, ts in heard[10:]} == {exchange.exchange.market.now}


async def test_candles_of_all_symbols_are_confirmed_when_they_close(exchange: LocalExchange, okx: Any) -> None:
    rows: list[tuple[str, list[str]]] = []
    complete = asyncio.Event()

    def queued(client: Any, message: Message) -> None:
        for row in message["data"]:
            if row[8] == "1":
                rows.append((message["arg"]["instId"], row))
        if len(rows) == 10:
            complete.set()

    handle, okx.handle_ohlcv = (
        okx.handle_ohlcv,
        lambda client, message: (queued(client, message), handle(client, message)),
    )
    await okx.load_markets()
    await okx.watch_ohlcv_for_symbols([[symbol, "1h"] for symbol in okx.markets])
    bar = exchange.exchange.market.bar
    exchange.run_bar()
    async with asyncio.timeout(5):
        await complete.wait()
    assert len({name for name, _ in rows}) == 10
    by_name = dict(rows)["BTC-USDT-SWAP"]
    panel = exchange.panel
    assert int(by_name[0]) == panel.ts[bar]
    assert [float(x) for x in by_name[1:5]] == [g[bar, 0] for g in (panel.open, panel.high, panel.low, panel.close)]


async def test_orders_positions_and_balance_are_pushed_as_they_change(
    exchange: LocalExchange, okx: Any, wire: Any
) -> None:
    private = await wire("private")
    await private.subscribe("orders", instType="ANY")
    await private.subscribe("positions", instType="ANY")
    assert (await private.next())["data"] == [], "the first snapshot comes even if it is empty"
    await private.subscribe("account")
    assert (await private.next())["data"][0]["details"][0]["eq"] == "100000"
    made = await okx.create_order(BTC, "market", "buy", 1, params={"clientOrderId": "one"})

    def of(channel: str) -> Callable[[Message], bool]:
        return lambda m: m.get("arg", {}).get("channel") == channel

    live = (await private.next(of("orders")))["data"][0]
    assert (live["state"], live["clOrdId"], live["tradeId"]) == ("live", "one", "")
    done = await private.next(lambda m: of("orders")(m) and m["data"][0]["state"] == "filled")
    row = done["data"][0]
    assert row["ordId"] == made["id"] and row["accFillSz"] == "1" and row["tradeId"] and row["execType"] == "T"
    assert float(row["fillFee"]) < 0 and row["fillFeeCcy"] == "USDT"
    assert (await private.next(of("positions")))["data"][0]["pos"] == "1"
    assert float((await private.next(of("account")))["data"][0]["details"][0]["cashBal"]) < 100_000
    await okx.create_order(BTC, "market", "sell", 1)
    assert (await private.next(of("positions")))["data"][0]["pos"] == "0"


async def test_ccxt_watches_orders_and_positions(okx: Any) -> None:
    await okx.load_markets()
    watching = asyncio.create_task(okx.watch_orders())
    await asyncio.wait_for(okx.watch_positions(), 5)
    made = await okx.create_order(BTC, "market", "buy", 1)
    orders = await asyncio.wait_for(watching, 5)
    assert {order["id"] for order in orders} == {made["id"]}


async def test_books_go_on_without_a_gap_from_their_snapshot(exchange: LocalExchange, okx: Any) -> None:
    book = await okx.watch_order_book(BTC)
    first = book["nonce"]
    waiting = asyncio.create_task(okx.watch_order_book(BTC))
    await asyncio.sleep(0)
    exchange.run_bar()
    book = await asyncio.wait_for(waiting, 5)
    mark = float(exchange.exchange.matching.mark("BTC-USDT-SWAP") or 0)
    assert book["nonce"] == first + 1
    assert book["bids"][0][0] < mark < book["asks"][0][0]


async def test_books_resend_their_snapshot_on_a_second_subscription(exchange: LocalExchange, wire: Any) -> None:
    public = await wire("public")
    for _ in range(2):
        await public.subscribe("books", "BTC-USDT-SWAP")
        snapshot = await public.next()
        assert (snapshot["action"], snapshot["data"][0]["prevSeqId"]) == ("snapshot", -1)
        exchange.run_bar()
        update = await public.next()
        assert (update["action"], update["data"][0]["prevSeqId"]) == ("update", snapshot["data"][0]["seqId"])
        await public.send("unsubscribe", {"channel": "books", "instId": "BTC-USDT-SWAP"})
        assert (await public.next())["event"] == "unsubscribe"


@pytest.mark.parametrize(
    ("path", "arg", "code"),
    [
        ("public", {"channel": "tickers", "instId": "NOPE-USDT-SWAP"}, "60018"),
        ("public", {"channel": "nonsense", "instId": "BTC-USDT-SWAP"}, "60018"),
        ("public", {"channel": "candle1H", "instId": "BTC-USDT-SWAP"}, "60018"),
        ("business", {"channel": "candle5m", "instId": "BTC-USDT-SWAP"}, "60018"),
        ("public", {"channel": "tickers"}, "60018"),
    ],
)
async def test_a_subscription_that_cannot_be_is_refused(
    wire: Any, path: str, arg: dict[str, str], code: str
) -> None:
    socket = await wire(path)
    await socket.send("subscribe", arg)
    refused = await socket.next()
    assert (refused["event"], refused["code"]) == ("error", code)


async def test_ping_nonsense_and_private_channels_without_login(exchange: LocalExchange) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{exchange.url}/ws/v5/private") as socket:
        await socket.send_str("ping")
        assert await socket.receive_str() == "pong"
        await socket.send_str("{nonsense")
        assert (await Wire(socket).next())["code"] == "60012"
        await Wire(socket).send("subscribe", {"channel": "orders", "instType": "ANY"})
        assert (await Wire(socket).next())["code"] == "60011"
        await Wire(socket).send("dance", {})
        assert (await Wire(socket).next())["code"] == "60019"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"sign": "x"}, "60007"),
        ({"apiKey": "x"}, "60005"),
        ({"passphrase": "x"}, "60024"),
        ({"timestamp": "1"}, "60006"),
    ],
)
async def test_a_wrong_login_is_refused_by_name(
    exchange: LocalExchange, changed: dict[str, str], code: str
) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{exchange.url}/ws/v5/private") as socket:
        await Wire(socket).send("login", _login(exchange, **changed))
        assert (await Wire(socket).next())["code"] == code


async def test_ccxt_raises_on_a_wrong_login(exchange: LocalExchange, connect: Any) -> None:
    client = await connect(exchange)
    await client.load_markets()
    client.secret = "x"
    with pytest.raises(ccxt.AuthenticationError, match="60007"):
        await asyncio.wait_for(client.watch_orders(), 5)


async def test_a_client_that_does_not_read_is_cut_off(exchange: LocalExchange, wire: Any) -> None:
    """Its queue is bounded: the market goes on, and memory does not grow."""
    slow = await wire("public")
    (connection,) = exchange.exchange.hub.connections
    message = b" " * 1_000
    while not connection.dropped:
        connection.send(message)
    async with asyncio.timeout(5):
        while (await slow.socket.receive()).type not in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
            pass
    exchange.run_bar()


async def test_sandbox_mode_reaches_the_same_doors(exchange: LocalExchange, connect: Any) -> None:
    client = await connect(exchange)
    client.set_sandbox_mode(True)
    assert (await client.fetch_balance())["USDT"]["total"] == 100_000
    await asyncio.wait_for(client.watch_ticker(BTC), 5)
