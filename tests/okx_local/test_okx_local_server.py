"""The exchange as a whole: lockstep, timed replay, restart from disk, faults, determinism, its own process."""

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import ccxt.pro as ccxt
import pytest

from core.clock import wall_ms
from core.data.panel import Panel
from core.domain.errors import UserError
from core.venues.okx_local import LOCKSTEP, LocalExchange, Settings

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
START = 200


async def post(exchange: LocalExchange, path: str, **body: object) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.post(f"{exchange.url}/local/{path}", json=body) as reply:
        return reply.status, await reply.json()


async def test_lockstep_moves_a_bar_for_each_acknowledgement_and_no_more(
    exchange: LocalExchange, panel: Panel
) -> None:
    bars = panel.ts.tolist()
    assert exchange.status()["bar"] == bars[START - 1], "the last bar of history is the first to acknowledge"
    _, status = await post(exchange, "acknowledge", bar=bars[START - 1])
    assert (status["bar"], status["market_ms"], status["done"]) == (bars[START], bars[START + 1], 1)
    _, status = await post(exchange, "acknowledge", bar=bars[START - 1])
    assert status["done"] == 1, "a bar acknowledged twice moves nothing"
    code, refused = await post(exchange, "acknowledge", bar=bars[START + 1])
    assert code == 400 and "has not closed" in refused["error"]
    assert exchange.status()["done"] == 1


async def test_the_market_stands_still_after_its_last_bar(serve: Any, panel: Panel) -> None:
    exchange = await serve(bars=3)
    for _ in range(5):
        await post(exchange, "acknowledge", bar=exchange.status()["bar"])
    status = exchange.status()
    assert (status["done"], status["total"], status["finished"]) == (3, 3, True)
    assert status["bar"] == panel.ts[START + 2]


async def test_prices_stay_within_the_bar_on_tick_and_end_at_its_close(
    exchange: LocalExchange, panel: Panel
) -> None:
    market = exchange.exchange.market
    for _ in range(3):
        bar, seen = market.bar, []
        while market.bar == bar:
            seen.append([float(price) for _, price in market.prices()])
            market.step()
        for asset, spec in enumerate(market.instruments):
            prices, half = [row[asset] for row in seen], float(spec.tick) * 0.51
            low, high = panel.low[bar, asset], panel.high[bar, asset]
            assert low - half <= min(prices) <= low + half and high - half <= max(prices) <= high + half
            assert abs(prices[0] - panel.open[bar, asset]) <= half
            assert abs(prices[-1] - panel.close[bar, asset]) <= half


async def test_timed_replay_waits_for_a_listener_and_then_runs_by_itself(serve: Any, connect: Any) -> None:
    exchange = await serve(speed=3_600_000.0, bars=4)
    okx = await connect(exchange)
    await okx.load_markets()
    await asyncio.wait_for(okx.watch_positions(), 5)
    assert exchange.status()["done"] == 0, "logged in, but nobody listens to candles"
    await asyncio.wait_for(okx.watch_ohlcv(BTC, "1h"), 5)
    async with asyncio.timeout(5):
        while not exchange.status()["finished"]:
            await okx.watch_ohlcv(BTC, "1h")
    assert exchange.status()["done"] == 4


async def test_account_and_market_come_back_from_disk(serve: Any, connect: Any, tmp_path: Path) -> None:
    first = await serve()
    okx = await connect(first)
    await okx.create_order(BTC, "market", "buy", 1, params={"clientOrderId": "kept"})
    resting = await okx.create_order(ETH, "limit", "buy", 1, 1_500)
    for _ in range(2):
        first.run_bar()
    before = await _everything(okx)
    killed_now = shutil.copytree(first.home, tmp_path / "copy")
    second = await serve(resume=True, home=killed_now)
    again = await connect(second)
    assert await _everything(again) == before
    assert (second.status()["bar"], second.status()["done"]) == (first.status()["bar"], 2)
    assert (await again.fetch_order(None, BTC, {"clOrdId": "kept"}))["status"] == "closed"
    await again.cancel_order(resting["id"], ETH)
    first.run_bar()
    second.run_bar()
    assert second.exchange.matching.state().markets == first.exchange.matching.state().markets


async def _everything(okx: Any) -> list[Any]:
    positions = (await okx.private_get_account_positions())["data"]
    fills = (await okx.private_get_trade_fills_history({"instType": "SWAP"}))["data"]
    pending = (await okx.private_get_trade_orders_pending())["data"]
    return [positions, fills, pending, (await okx.private_get_account_bills())["data"]]


async def test_an_account_is_not_resumed_on_other_market_data(serve: Any, panel: Panel, tmp_path: Path) -> None:
    exchange = await serve()
    await exchange.__aexit__(None, None, None)
    other = LocalExchange(panel.slice(1, len(panel)), exchange.home, Settings(resume=True))
    with pytest.raises(UserError, match="other market data"):
        await other.__aenter__()
    exchange = await serve()
    assert exchange.status()["done"] == 0


async def test_one_exchange_a_folder(serve: Any) -> None:
    exchange = await serve()
    with pytest.raises(UserError, match="another local exchange"):
        await serve(resume=True)
    exchange.run_bar()


async def test_two_runs_with_the_same_commands_are_the_same(panel: Panel, tmp_path: Path, connect: Any) -> None:
    async def run(home: Path) -> list[Any]:
        async with LocalExchange(panel, home, Settings(speed=LOCKSTEP, start=START)) as exchange:
            okx = await connect(exchange)
            for i in range(6):
                side = "sell" if i % 2 else "buy"
                await okx.create_order(BTC, "market", side, 1 + i, params={"clientOrderId": f"m{i}"})
                price = float(exchange.exchange.matching.mark("ETH-USDT-SWAP") or 0) * (1.001 if i % 2 else 0.999)
                await okx.create_order(ETH, "limit", side, 2, price, {"clientOrderId": f"l{i}"})
                exchange.run_bar()
            return await _everything(okx)

    assert await run(tmp_path / "a") == await run(tmp_path / "b")


# Faults: what a client must survive can be asked for.


async def test_a_lost_reply_leaves_an_executed_order(exchange: LocalExchange, okx: Any) -> None:
    await okx.load_markets()
    await post(exchange, "faults", match="trade/batch-orders", do="drop_reply")
    with pytest.raises(ccxt.NetworkError):
        await okx.create_order(BTC, "market", "buy", 1, params={"clientOrderId": "lost"})
    assert (await okx.fetch_order(None, BTC, {"clOrdId": "lost"}))["filled"] == 1


async def test_a_lost_request_leaves_nothing(exchange: LocalExchange, okx: Any) -> None:
    await okx.load_markets()
    await post(exchange, "faults", match="trade/batch-orders", do="drop_before")
    with pytest.raises(ccxt.NetworkError):
        await okx.create_order(BTC, "market", "buy", 1, params={"clientOrderId": "lost"})
    with pytest.raises(ccxt.OrderNotFound):
        await okx.fetch_order(None, BTC, {"clOrdId": "lost"})


@pytest.mark.parametrize("expires", [60_000, 0])
async def test_a_late_delivery_is_executed_unless_it_has_expired(
    exchange: LocalExchange, okx: Any, expires: int
) -> None:
    await okx.load_markets()
    sign = okx.sign
    okx.sign = lambda *a, **k: (
        r := sign(*a, **k),
        r["headers"] and r["headers"].update(expTime=str(wall_ms() + expires)),
    )[0]
    await post(exchange, "faults", match="trade/batch-orders", do="deliver_late")
    with pytest.raises(ccxt.NetworkError):
        await okx.create_order(BTC, "market", "buy", 1, params={"clientOrderId": "late"})
    with pytest.raises(ccxt.OrderNotFound):
        await okx.fetch_order(None, BTC, {"clOrdId": "late"})
    await post(exchange, "faults", do="release")
    assert bool(await okx.fetch_positions()) is bool(expires)


async def test_the_second_leg_fails_on_demand(exchange: LocalExchange, okx: Any) -> None:
    await post(exchange, "faults", match="trade/batch-orders", nth=2, do="code:51008")
    assert (await okx.create_order(BTC, "market", "buy", 1))["id"]
    with pytest.raises(ccxt.InsufficientFunds):
        await okx.create_order(ETH, "market", "sell", 1)
    assert (await okx.create_order(ETH, "market", "sell", 1))["id"]
    leg = {"instId": "BTC-USDT-SWAP", "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "1"}
    await post(exchange, "faults", match="trade/batch-orders", element=1, do="code:51008")
    reply = await okx.private_post_trade_batch_orders([leg, leg | {"instId": "ETH-USDT-SWAP"}])
    assert [row["sCode"] for row in reply["data"]] == ["0", "51008"]


async def test_a_web_page_or_an_error_in_place_of_an_answer(exchange: LocalExchange, okx: Any) -> None:
    await okx.load_markets()
    await post(exchange, "faults", match="trade/batch-orders", do="html")
    made = await okx.create_order(BTC, "market", "buy", 1, params={"clientOrderId": "page"})
    assert made["id"] is None and await okx.fetch_positions()
    await post(exchange, "faults", match="account/balance", do="http_500")
    with pytest.raises(ccxt.ExchangeNotAvailable):
        await okx.fetch_balance()
    await post(exchange, "faults", match="account/balance", do="code:50011")
    with pytest.raises(ccxt.RateLimitExceeded):
        await okx.fetch_balance()
    await okx.fetch_balance()


async def test_sockets_fall_silent_or_break_on_demand(exchange: LocalExchange) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{exchange.url}/ws/v5/public") as socket:
        await socket.send_str("ping")
        assert await socket.receive_str() == "pong"
        await post(exchange, "faults", socket="public", do="silence")
        await socket.send_str("ping")
        await post(exchange, "faults", do="clear")
        await socket.send_str("ping")
        assert await socket.receive_str() == "pong"
        await post(exchange, "faults", channel="tickers", instId="BTC-USDT-SWAP", do="mute")
        arg = {"channel": "tickers", "instId": "BTC-USDT-SWAP"}
        await socket.send_json({"op": "subscribe", "args": [arg]})
        assert (await socket.receive_json())["event"] == "subscribe"
        exchange.run_bar()
        await socket.send_str("ping")
        assert await socket.receive_str() == "pong", "no push came before it"
        await post(exchange, "faults", socket="all", do="drop")
        assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


async def test_a_fault_that_does_not_exist_is_refused(exchange: LocalExchange) -> None:
    assert (await post(exchange, "faults", do="explode"))[0] == 400
    assert (await post(exchange, "faults", do="drop_reply", mach="x"))[0] == 400


# The process.


class Process:
    def __init__(self, home: Path, file: Path) -> None:
        self.home, self.file = home, file

    async def start(self, *options: str) -> asyncio.subprocess.Process:
        command = ("-m", "core.venues.okx_local", "--home", str(self.home), "--panel", str(self.file))
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(sys.executable, *command, *options, stdout=pipe, stderr=pipe)


@pytest.fixture
def process(panel: Panel, tmp_path: Path) -> Process:
    panel.save(tmp_path / "panel.npz")
    return Process(tmp_path / "home", tmp_path / "panel.npz")


async def _ready(child: asyncio.subprocess.Process) -> dict[str, int]:
    assert child.stdout is not None
    async with asyncio.timeout(30):
        line = await child.stdout.readline()
    return dict(json.loads(line))


async def test_a_killed_process_comes_back_to_its_account(process: Process, connect: Any) -> None:
    child = await process.start("--speed", "max", "--start", str(START))
    ready = await _ready(child)
    assert (
        json.loads((process.home / "exchange.json").read_text())
        == ready
        == {"port": ready["port"], "pid": child.pid}
    )

    class Remote:
        url = f"http://127.0.0.1:{ready['port']}"
        keys = LocalExchange(Panel.load(process.file), process.home).keys

    okx = await connect(Remote())
    await okx.create_order(BTC, "market", "buy", 2)
    child.send_signal(signal.SIGKILL)
    await child.wait()
    child = await process.start("--speed", "max", "--resume", "--port", str(ready["port"]))
    await _ready(child)
    assert (await okx.fetch_positions())[0]["contracts"] == 2
    child.terminate()
    assert await child.wait() == 0
    assert not (process.home / "exchange.json").exists()


async def test_it_ends_by_itself_when_nobody_is_there(process: Process) -> None:
    child = await process.start("--idle-exit", "0.2", "--start", str(START))
    await _ready(child)
    async with asyncio.timeout(10):
        assert await child.wait() == 0


async def test_what_a_user_can_get_wrong_is_one_line(
    process: Process, exchange: LocalExchange, tmp_path: Path
) -> None:
    async def complaint(*options: str) -> str:
        child = await process.start(*options)
        out, err = await child.communicate()
        assert child.returncode == 1 and not out
        assert len(err.decode().splitlines()) == 1
        return err.decode()

    assert f"port {exchange.port}: in use" in await complaint("--port", str(exchange.port))
    assert "start 9999" in await complaint("--start", "9999")
    process.file.write_bytes(b"no panel")
    assert "not a saved panel" in await complaint()


def test_it_starts_light() -> None:
    """No ccxt, pandas, torch or scikit-learn in the exchange's process."""
    import subprocess

    heavy = "{'ccxt', 'pandas', 'torch', 'sklearn', 'scipy', 'numba'}"
    code = f"import sys, core.venues.okx_local.__main__; print(sorted({heavy} & set(sys.modules)))"
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert found.stdout.strip() == "[]"
