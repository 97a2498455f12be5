"""Faults of pushes, of the book, of the clock, and requests that come twice, as a client meets them."""

import asyncio
from decimal import Decimal
from typing import Any

import aiohttp
import ccxt
import msgspec
import pytest

from core.clock import wall_ms
from core.venues.okx_local import LocalExchange
from core.venues.okx_local.faults import Fault

BTC, SWAP = "BTC/USDT:USDT", "BTC-USDT-SWAP"
FAR = Decimal(60)


def arm(exchange: LocalExchange, do: str, **options: Any) -> None:
    exchange.faults.add(Fault(do, **options))


class Listener:
    """Tickers of one instrument, over a socket that did not ask for anything else."""

    def __init__(self, exchange: LocalExchange, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.exchange, self.socket = exchange, socket

    async def subscribe(self) -> None:
        await self.socket.send_json({"op": "subscribe", "args": [{"channel": "tickers", "instId": SWAP}]})
        assert (await self.socket.receive_json())["event"] == "subscribe"
        await self.socket.receive_json()

    def push(self, word: str) -> None:
        self.exchange.exchange.hub.publish("tickers", SWAP, [{"last": word}])

    async def heard(self) -> list[str]:
        """Everything that was sent before the answer to a ping: what is whole, by its one word."""
        await self.socket.send_str("ping")
        words = []
        while (text := await self.socket.receive_str()) != "pong":
            try:
                words.append(msgspec.json.decode(text)["data"][0]["last"])
            except msgspec.DecodeError:
                words.append("cut")
        return words


@pytest.fixture
async def listener(exchange: LocalExchange) -> Any:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{exchange.url}/ws/v5/public") as socket:
        made = Listener(exchange, socket)
        await made.subscribe()
        yield made


@pytest.mark.parametrize(
    ("do", "heard"),
    [
        ("push_double", ["a", "b", "b", "c"]),
        ("push_lose", ["a", "c"]),
        ("push_swap", ["a", "c", "b"]),
        ("push_cut", ["a", "cut", "c"]),
    ],
)
async def test_a_push_comes_twice_not_at_all_in_the_wrong_order_or_cut(
    do: str, heard: list[str], exchange: LocalExchange, listener: Listener
) -> None:
    arm(exchange, do, channel="tickers", nth=2)
    for word in "abc":
        listener.push(word)
    assert await listener.heard() == heard


async def test_a_push_comes_late(exchange: LocalExchange, listener: Listener) -> None:
    arm(exchange, "push_late", channel="tickers", instId=SWAP)
    for word in "ab":
        listener.push(word)
    assert await listener.heard() == ["b"]
    arm(exchange, "release")
    assert await listener.heard() == ["a"]


async def test_faults_of_other_channels_and_cleared_ones_do_nothing(
    exchange: LocalExchange, listener: Listener
) -> None:
    arm(exchange, "push_lose", channel="orders")
    arm(exchange, "push_lose", instId="ETH-USDT-SWAP")
    listener.push("a")
    arm(exchange, "push_lose")
    arm(exchange, "clear")
    listener.push("b")
    assert await listener.heard() == ["a", "b"]


async def test_a_thin_book_fills_a_part(exchange: LocalExchange, okx: Any) -> None:
    await okx.load_markets()
    whole = exchange.exchange.matching.book(SWAP, 400)[1]
    arm(exchange, "thin", instId=SWAP)
    depth = sum(size for _, size in exchange.exchange.matching.book(SWAP, 400)[1])
    assert 0 < depth < sum(size for _, size in whole) / 100
    made = await okx.create_order(BTC, "market", "buy", float(5 * depth), params={"clientOrderId": "part"})
    order = await okx.fetch_order(made["id"], BTC)
    assert order["status"] == "canceled" and order["filled"] == float(depth)
    arm(exchange, "clear")
    exchange.run_bar()
    assert sum(size for _, size in exchange.exchange.matching.book(SWAP, 400)[1]) > FAR * depth


async def test_an_acknowledgement_comes_late_but_the_order_was_at_work(exchange: LocalExchange, okx: Any) -> None:
    await okx.load_markets()
    arm(exchange, "late_reply", match="trade/batch-orders")
    sending = asyncio.create_task(okx.create_order(BTC, "market", "buy", 1, params={"clientOrderId": "slow"}))
    async with asyncio.timeout(5):
        while not await okx.fetch_positions():
            assert not sending.done()
    assert not sending.done()
    arm(exchange, "release")
    assert (await sending)["id"]


async def test_a_request_that_comes_twice_fills_twice_but_rests_once(exchange: LocalExchange, okx: Any) -> None:
    """As OKX has it: a client id is unique among pending orders only."""
    await okx.load_markets()
    for kind, size in (("market", 1), ("limit", 3)):
        arm(exchange, "twice", match="trade/batch-orders", seconds=0)
        await okx.create_order(BTC, kind, "buy", size, 30_000, {"clientOrderId": f"twin{kind}"})
        await okx.fetch_time()
    assert [str(p.size) for p in exchange.exchange.matching.positions()] == ["2"]
    assert [r.report.client_id for r in exchange.exchange.matching.orders()] == ["twinlimit"]


async def test_maintenance_closes_the_private_doors_for_a_while(exchange: LocalExchange, okx: Any) -> None:
    await okx.load_markets()
    arm(exchange, "maintenance")
    with pytest.raises(ccxt.OnMaintenance):
        await okx.fetch_balance()
    with pytest.raises(ccxt.OnMaintenance):
        await okx.create_order(BTC, "market", "buy", 1)
    assert await okx.fetch_time()
    arm(exchange, "clear")
    assert await okx.fetch_positions() == []
    arm(exchange, "maintenance", seconds=-1)
    assert await okx.fetch_positions() == [], "its time is over"


async def test_the_servers_clock_can_be_wrong(exchange: LocalExchange, okx: Any) -> None:
    arm(exchange, "clock", seconds=-90)
    assert -91_000 < await okx.fetch_time() - wall_ms() < -89_000
    with pytest.raises(ccxt.InvalidNonce):
        await okx.fetch_balance()
    await okx.load_time_difference()
    okx.options["adjustForTimeDifference"] = True
    assert await okx.fetch_balance()


@pytest.mark.parametrize(
    "wish",
    [{"do": "thin", "share": 2.0}, {"do": "thin", "instId": "ABC"}, {"do": "http_200"}, {"do": "http_²³"}],
)
async def test_senseless_wishes_are_refused(wish: dict[str, Any], exchange: LocalExchange) -> None:
    with pytest.raises(ValueError):
        exchange.faults.add(msgspec.convert(wish, Fault))
