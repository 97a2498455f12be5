"""Whatever is sent to the local exchange: an answer in OKX's form, never a fault of its own, and it serves on."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from core.clock import wall_ms
from core.data.panel import Panel
from core.venues.okx_local import LOCKSTEP, Keys, LocalExchange, Settings

SWAP = "BTC-USDT-SWAP"
HOUR = 3_600_000
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12), st.just([]), st.just({}), st.just([{}]),
    st.sampled_from((
        "NaN", "-1", "0", "1e999999", "1E-999", "9" * 400, "²", "\x00", "Infinity", "0.1", SWAP, "٣", "true", "net",
    )),
)  # fmt: skip
ORDER = {"instId": SWAP, "tdMode": "cross", "side": "buy", "ordType": "limit", "sz": "1", "px": "50000",
         "clOrdId": "a1", "reduceOnly": "false"}  # fmt: skip
ALGO = {"instId": SWAP, "tdMode": "cross", "side": "sell", "ordType": "conditional", "sz": "1", "slTriggerPx": "9",
        "slTriggerPxType": "mark", "slOrdPx": "-1", "algoClOrdId": "p1", "reduceOnly": "true"}  # fmt: skip
POSTS: dict[str, Any] = {
    "trade/order": ORDER, "trade/batch-orders": ORDER, "trade/cancel-order": {"instId": SWAP, "ordId": "1"},
    "trade/order-algo": ALGO, "trade/cancel-algos": {"instId": SWAP, "algoId": "1"},
    "trade/cancel-all-after": {"timeOut": "10", "tag": ""},
    "account/set-leverage": {"instId": SWAP, "lever": "3", "mgnMode": "cross"},
    "account/set-position-mode": {"posMode": "net_mode"},
}  # fmt: skip
GETS = (
    "public/instruments", "public/mark-price", "public/funding-rate-history", "market/candles", "market/books",
    "market/history-candles", "account/positions", "account/balance", "account/bills", "account/leverage-info",
    "trade/order", "trade/orders-pending", "trade/orders-history", "trade/fills", "trade/orders-algo-pending",
    "public/position-tiers", "public/price-limit", "account/trade-fee", "system/status", "nowhere",
)  # fmt: skip
QUERY = ("instId", "instType", "limit", "before", "after", "bar", "sz", "begin", "end", "ordId", "clOrdId", "uly")
SPARE = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Door:
    """A local exchange and a client of it, with the loop that both run on."""

    def __init__(self, home: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.keys, self.faults = Keys(), list[Any]()
        self.loop.set_exception_handler(lambda _, context: self.faults.append(context))
        rows = np.full((40, 1), 60_000.0)
        grids = (rows, rows, rows, rows, np.full((40, 1), 1000.0))
        ts = 1_704_067_200_000 + HOUR * np.arange(40, dtype=np.int64)
        self.exchange = LocalExchange(Panel.of(ts, ("BTC",), grids, HOUR), home, Settings(speed=LOCKSTEP, start=20))
        self.run(self._open())

    async def _open(self) -> None:
        await self.exchange.__aenter__()
        self.http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        self.run(self.http.close())
        self.run(self.exchange.__aexit__(None, None, None))
        self.loop.close()

    def signed(self, method: str, path: str, body: str) -> dict[str, str]:
        """The headers of a request that is who it says it is."""
        stamp = np.datetime_as_string(np.datetime64(wall_ms(), "ms")) + "Z"
        return {
            "OK-ACCESS-KEY": self.keys.key,
            "OK-ACCESS-PASSPHRASE": self.keys.passphrase,
            "OK-ACCESS-TIMESTAMP": stamp,
            "OK-ACCESS-SIGN": self.keys.sign(stamp + method + path + body),
        }

    async def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Any = None, params: Any = None
    ) -> tuple[int, bytes]:
        url = self.exchange.url + path
        async with self.http.request(method, url, data=body, headers=headers, params=params) as reply:
            return reply.status, await reply.read()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    made = Door(tmp_path_factory.mktemp("exchange"))
    yield made
    made.close()


def proper(told: tuple[int, bytes]) -> None:
    """An answer in OKX's form."""
    status, content = told
    assert status in (200, 400, 401, 404, 405, 413), (status, content[:300])
    assert status in (405, 413) or isinstance(json.loads(content)["code"], str)


@given(path=st.sampled_from(sorted(POSTS)), data=st.data())
@SPARE
def test_requests_that_change_something(door: Door, path: str, data: st.DataObject) -> None:
    item = dict(POSTS[path])
    for name in data.draw(st.lists(st.sampled_from(sorted(item)), max_size=3, unique=True)):
        item[name] = data.draw(ODD)
    body = json.dumps(data.draw(st.sampled_from((item, [item], [item] * 3, [item] * 30, [])))).encode()
    full = f"/api/v5/{path}"
    headers = door.signed("POST", full, body.decode()) | {
        "expTime": data.draw(st.sampled_from(("", "²", "1", "x")))
    }
    proper(door.run(door.ask("POST", full, body, {k: v for k, v in headers.items() if v})))
    assert door.faults == []


@given(path=st.sampled_from(GETS), query=st.dictionaries(st.sampled_from(QUERY), ODD.map(str), max_size=4))
@SPARE
def test_requests_that_read(door: Door, path: str, query: dict[str, str]) -> None:
    full = f"/api/v5/{path}?{urlencode(query, errors='replace')}"
    url = URL(full, encoded=True)

    async def ask() -> tuple[int, bytes]:
        target = URL(door.exchange.url + str(url), encoded=True)
        async with door.http.get(target, headers=door.signed("GET", full, "")) as reply:
            return reply.status, await reply.read()

    proper(door.run(ask()))
    assert door.faults == []


@given(body=st.one_of(st.binary(max_size=60), st.just(b"[" * 5000), st.just(b'{"a":' * 3000), st.just(b"\xff")))
@SPARE
def test_bodies_that_are_no_json(door: Door, body: bytes) -> None:
    for path in ("/api/v5/trade/order", "/local/faults", "/local/acknowledge"):
        text = body.decode(errors="replace")
        status, _ = door.run(door.ask("POST", path, body, door.signed("POST", path, text)))
        assert status in (200, 400, 401), status
    door.run(door.ask("POST", "/local/faults", b'{"do":"clear"}'))
    assert door.faults == []


@given(stamp=st.sampled_from(("", "²", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "x")),
       sign=st.sampled_from(("", "x", "ü", "=" * 5000)))  # fmt: skip
@settings(max_examples=24, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_signatures_that_are_none(door: Door, stamp: str, sign: str) -> None:
    headers = door.signed("GET", "/api/v5/account/balance", "")
    headers |= {"OK-ACCESS-TIMESTAMP": stamp or headers["OK-ACCESS-TIMESTAMP"], "OK-ACCESS-SIGN": sign}
    headers = {name: value for name, value in headers.items() if value}
    status, content = door.run(door.ask("GET", "/api/v5/account/balance", None, headers))
    assert status == 401 and json.loads(content)["code"], content
    assert door.faults == []


@given(
    words=st.lists(
        st.one_of(
            st.text(max_size=40),
            st.sampled_from((
                "[" * 3000, "{}", '{"op":3}', '{"op":"login","args":[{}]}',
                '{"op":"subscribe","args":[{"channel":3}]}',
                '{"op":"login","args":[{"apiKey":"ü","timestamp":"²","sign":"ü","passphrase":"ü"}]}',
                '{"args":null}',
                '{"op":"subscribe","args":[{"channel":"tickers","instId":"x"}]}',
                '{"op":"unsubscribe","args":[{}]}',
            )),
        ),
        max_size=5,
    ),
    path=st.sampled_from(("public", "private", "business")),
)  # fmt: skip
@SPARE
def test_frames_of_clients(door: Door, words: list[str], path: str) -> None:
    async def talk() -> None:
        async with asyncio.timeout(10), door.http.ws_connect(f"{door.exchange.url}/ws/v5/{path}") as socket:
            for word in words:
                await socket.send_str(word)
            await socket.send_str("ping")
            while await socket.receive_str() != "pong":
                pass

    door.run(talk())
    assert door.faults == []


def test_a_login_of_other_letters_is_refused(door: Door) -> None:
    async def talk() -> str:
        async with door.http.ws_connect(f"{door.exchange.url}/ws/v5/private") as socket:
            login = {"apiKey": door.keys.key, "passphrase": door.keys.passphrase, "sign": "ü",
                     "timestamp": str(wall_ms() // 1000)}  # fmt: skip
            await socket.send_json({"op": "login", "args": [login]})
            return str((await socket.receive_json())["code"])

    assert door.run(talk()) == "60007"
