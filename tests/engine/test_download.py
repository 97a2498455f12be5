"""Downloads: the whole history through our OKX client, continued after any interruption, patient with the venue."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.lake import Lake
from core.data.panel import Panel
from core.data.source import open_source
from core.data.synthetic import HOUR_MS, START_MS, synthetic_panel
from core.domain.errors import UserError
from core.domain.market import Candle, Funding
from core.engine.download import Download, Wanted, main
from core.venues.okx.history import OkxHistory
from core.venues.okx_local import LOCKSTEP, LocalExchange, Settings
from core.venues.port import Capabilities, Refused, Unreachable

ASSETS = ("BTC", "ETH")
NOW = 700
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def panel() -> Panel:
    return synthetic_panel(11, 800, ASSETS)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@asynccontextmanager
async def served(panel: Panel, home: Path, now: int = NOW) -> AsyncIterator[LocalExchange]:
    """The local exchange on bars 0 .. now-1 of a panel, and all that comes after."""
    async with LocalExchange(panel, home / f"exchange{now}", Settings(speed=LOCKSTEP, start=now)) as exchange:
        yield exchange


def silent(done: float, text: str) -> None:
    """Nobody listens to the progress."""


# -- through the real client, from the local exchange ---------------------------------------------


async def test_what_is_downloaded_is_the_market_bar_for_bar(panel: Panel, lake: Lake, tmp_path: Path) -> None:
    said: list[tuple[float, str]] = []
    async with served(panel, tmp_path) as exchange, OkxHistory(address=exchange.url) as history:
        made = await Download(history, lake, Wanted("okx", ASSETS), lambda *line: said.append(line)).run()
    again, source = open_source("okx", lake.root)
    assert again.content_hash == panel.slice(0, NOW).content_hash
    assert (made.venue, source.venue, made.bar) == ("demo", "demo", "1h")
    shares = [share for share, _ in said]
    assert shares == sorted(shares) and said[-1] == (1.0, "done") and "BTC: candles, at 2024-01-" in said[0][1]


async def test_a_later_run_continues_both_ways(panel: Panel, lake: Lake, tmp_path: Path) -> None:
    at = START_MS + 500 * HOUR_MS
    async with served(panel, tmp_path, 600) as exchange, OkxHistory(address=exchange.url) as history:
        made = await Download(history, lake, Wanted("okx", ASSETS, start_ms=at), silent).run()
        assert (made.first_ms, made.rows, made.funding_rows) == (at, 2 * 100, 2 * 14)
    async with served(panel, tmp_path) as exchange, OkxHistory(address=exchange.url) as history:
        counted = Counted(history)
        await Download(counted, lake, Wanted("okx", ASSETS, start_ms=at), silent).run()
        assert counted.pages == 4, "a look at the newest page and one page of what is new, for each asset"
        assert open_source("okx", lake.root)[1].content == panel.slice(500, NOW).content_hash
        await Download(history, lake, Wanted("okx", ASSETS), silent).run()
    assert open_source("okx", lake.root)[1].content == panel.slice(0, NOW).content_hash


async def test_a_period_is_what_was_asked_for(panel: Panel, lake: Lake, tmp_path: Path) -> None:
    wanted = Wanted("okx", ("ETH",), start_ms=START_MS + 100 * HOUR_MS, end_ms=START_MS + 164 * HOUR_MS)
    async with served(panel, tmp_path) as exchange, OkxHistory(address=exchange.url) as history:
        made = await Download(history, lake, wanted, silent).run()
    assert (made.first_ms, made.last_ms, made.bars) == (wanted.start_ms, wanted.end_ms - HOUR_MS, 64)
    assert (made.assets, made.funding_rows) == (("ETH",), 9)


async def test_what_is_not_listed_is_named(panel: Panel, lake: Lake, tmp_path: Path) -> None:
    async with served(panel, tmp_path) as exchange, OkxHistory(address=exchange.url) as history:
        with pytest.raises(UserError, match="lists no XRP-USDT-SWAP: choose other --assets"):
            await Download(history, lake, Wanted("okx", ("BTC", "XRP")), silent).run()
    assert lake.names() == ()


async def test_the_command_tells_its_progress_and_what_there_is(panel: Panel, lake: Lake, tmp_path: Path) -> None:
    async with served(panel, tmp_path) as exchange:
        words = ["--venue", "demo", "--address", exchange.url, "--assets", "ETH", "--lake", lake.root, "--json"]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "core.engine.download", *words), cwd=tmp_path,
            env={**os.environ, "COCKPIT_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    said = json.loads(out)
    assert (said["name"], said["rows"], said["funding_rows"]) == ("demo-1h", NOW, 88)
    lines = [json.loads(line) for line in err.splitlines()]
    assert lines[-1] == {"progress": 1.0, "text": "done"} and len(lines) == 4


def test_the_command_refuses_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("COCKPIT_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for words, code, said in (
        ("--venue demo", 1, "no local exchange runs: start one with cockpit demo"),
        ("--address http://127.0.0.1:1", 2, "--address is that of a local exchange: give --venue demo"),
        ("--venue demo --address http://127.0.0.1:1", 1, "cannot be reached"),
        ("--venue demo --address https://www.okx.com", 1, "expected http://127.0.0.1:PORT"),
        ("--from yesterday", 2, "--from yesterday: not a date"),
        ("--bar 3h", 1, "bar '3h': OKX has no such candles here"),
    ):
        assert main(words.split()) == code, words
        out, err = capsys.readouterr()
        assert not out and said in err and err.count("\n") == 1


def test_okx_itself_is_asked_at_the_pace_it_allows() -> None:
    """20 requests of candles in 2 seconds, 10 of funding rates (OKX v5, rate limits); loopback at any pace."""
    real, local = OkxHistory()._transport, OkxHistory(address="http://127.0.0.1:1")._transport
    assert real.enableRateLimit and not local.enableRateLimit
    costs = real.api["public"]["get"]
    for path, allowed in (("market/history-candles", 20), ("public/funding-rate-history", 10)):
        assert allowed * costs[path]["cost"] * real.rateLimit >= 2000, path


# -- interrupted anywhere -------------------------------------------------------------------------


class Counted:
    """A history that counts its pages and stops in the middle of one, if told to."""

    def __init__(self, history: Any, stop: int = 0) -> None:
        self._history, self.pages, self.stop = history, 0, stop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._history, name)

    async def candles_before(self, instrument: str, end_ms: int | None) -> list[Candle]:
        self.pages += 1
        if self.pages == self.stop:
            raise KeyboardInterrupt
        page: list[Candle] = await self._history.candles_before(instrument, end_ms)
        return page


class Market:
    """A venue in memory: the candles of one asset at some of the hours, in small pages."""

    page = 4
    where, bar_ms = "market", HOUR_MS
    capabilities = Capabilities("okx", real_money=False, lockstep=False, expiry=True, triggers=True)

    def __init__(self, hours: list[int]) -> None:
        self.instruments: dict[str, Any] = {"BTC-USDT-SWAP": SimpleNamespace()}
        self.candles = [_candle(hour) for hour in sorted(hours)]

    async def candles_before(self, instrument: str, end_ms: int | None) -> list[Candle]:
        older = [candle for candle in self.candles if end_ms is None or candle.open_ms < end_ms]
        return older[: -self.page - 1 : -1]

    async def rates_after(self, instrument: str, start_ms: int) -> list[Funding]:
        rates = [Funding(instrument, c.open_ms, 1e-4, 8 * HOUR_MS) for c in self.candles[-9::8]]
        return [rate for rate in rates if rate.ts > start_ms]


def _candle(hour: int) -> Candle:
    price = 100.0 + hour
    return Candle("BTC-USDT-SWAP", START_MS + hour * HOUR_MS, price, price + 2, price - 2, price + 1, 1.0 + hour)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_interrupted_anywhere_the_same_command_completes_it(data: st.DataObject) -> None:
    """Whatever is in the lake, from whatever runs before: halts of the market longer than a page, runs that were
    killed at any page, other periods; what the last run leaves is all that the venue has of the whole time."""
    hours = sorted(data.draw(st.sets(st.integers(0, 90), min_size=1), label="hours that were traded"))
    lake, batch = Lake(f"memory://{uuid4().hex}", 16), data.draw(st.sampled_from([1, 8, 100]))

    async def run(market: Any, start: int) -> None:
        wanted = Wanted("okx", ("BTC",), start_ms=start and START_MS + start * HOUR_MS)
        await Download(market, lake, wanted, silent, batch=batch).run()

    for known in sorted(data.draw(st.lists(st.integers(1, len(hours)), max_size=4), label="known at earlier runs")):
        stop, start = data.draw(st.integers(1, 12)), data.draw(st.sampled_from([0, hours[known - 1] // 2]))
        with suppress(KeyboardInterrupt):
            asyncio.run(run(Counted(Market(hours[:known]), stop), start))
    asyncio.run(run(Market(hours), 0))
    opened, _ = open_source("okx", lake.root)
    assert opened.ts[opened.valid[:, 0]].tolist() == [START_MS + hour * HOUR_MS for hour in hours]
    assert opened.close[opened.valid[:, 0], 0].tolist() == [101.0 + hour for hour in hours]


@pytest.mark.parametrize("batch", [4, 12])
def test_an_interruption_loses_one_batch_at_most(batch: int) -> None:
    market = Market(list(range(90)))
    for stop in range(2, 24):
        lake = Lake(f"memory://{uuid4().hex}")
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(Download(Counted(market, stop), lake, Wanted("okx", ("BTC",)), silent, batch=batch).run())
        read, rest = stop - 2, Counted(market)  # the first page only tells where the newest is
        asyncio.run(Download(rest, lake, Wanted("okx", ("BTC",)), silent, batch=batch).run())
        assert rest.pages <= 1 + (23 - read) + 1 + batch // 4


# -- patience -------------------------------------------------------------------------------------


class Moody(Market):
    """Raises what is in `errors`, one a request, before it answers."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__(list(range(10)))
        self.errors = list(errors)

    async def candles_before(self, instrument: str, end_ms: int | None) -> list[Candle]:
        if self.errors:
            raise self.errors.pop(0)
        return await super().candles_before(instrument, end_ms)


async def test_a_busy_or_lost_venue_is_asked_again_and_said_so(lake: Lake) -> None:
    said: list[str] = []
    moody = Moody(
        Refused("market: 50011 Too Many Requests", "50011"), Unreachable("market: the connection was lost")
    )
    tell: Callable[[float, str], None] = lambda _, text: said.append(text)  # noqa: E731
    made = await Download(moody, lake, Wanted("okx", ("BTC",)), tell, waits=(0.0, 0.0)).run()
    assert made.rows == 10
    assert said[:2] == [
        "market: 50011 Too Many Requests; again in 0 s",
        "market: the connection was lost; again in 0 s",
    ]


async def test_patience_ends_and_the_way_on_is_told(lake: Lake) -> None:
    lost = [Unreachable("market: the connection was lost")] * 3
    for errors in (lost, [Refused("market: 51001 no such instrument", "51001")]):
        with pytest.raises(UserError, match="what was downloaded is kept: the same command goes on from there"):
            await Download(Moody(*errors), lake, Wanted("okx", ("BTC",)), silent, waits=(0.0, 0.0)).run()


async def test_candles_that_cannot_be_are_left_out_and_noted(lake: Lake) -> None:
    market = Market(list(range(10)))
    market.candles[3] = Candle("BTC-USDT-SWAP", START_MS + 3 * HOUR_MS, 1.0, 1.0, 2.0, 1.0, 1.0)
    made = await Download(market, lake, Wanted("okx", ("BTC",)), silent).run()
    assert (made.rows, made.notes) == (9, ("left out: 1 row impossible",))
