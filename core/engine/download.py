"""History from OKX into the lake: `python -m core.engine.download --venue okx|demo`.

A data set never has a hole that OKX has not: an asset without candles is read backwards from the newest, one that
has some is continued forwards from its last and backwards from its first. So whenever it is interrupted, the same
command goes on where it stood, and at most one batch of pages is read twice.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec
import numpy as np

from core.clock import iso
from core.config import Settings, load
from core.data.importer import HOUR_MS, OHLCV, sound
from core.data.lake import Lake, Mode
from core.data.manifest import Manifest
from core.data.panel import EIGHT_HOURS_MS
from core.data.partition import CANDLES, FUNDING
from core.data.source import moment
from core.data.tables import Rows
from core.domain.errors import UserError
from core.domain.instrument import Instrument
from core.domain.market import Candle, Funding
from core.engine.exchange import ExchangeProcess
from core.jobs import Progress, tell
from core.venues.okx.history import OkxHistory
from core.venues.port import Capabilities, Unreachable, VenueError

T = TypeVar("T")
BATCH = 6_000
"""Candles of one asset that are kept in memory before they are written."""
WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before a request that came to nothing is sent again, the first time, the second ..."""
TOO_MANY = frozenset(("50011", "50061"))
"""OKX's answers to more requests than it allows."""


class History(Protocol):
    """What is asked of a venue: `core.venues.okx.history.OkxHistory` says it in full."""

    where: str
    bar_ms: int
    page: int
    capabilities: Capabilities
    instruments: dict[str, Instrument]

    async def candles_before(self, instrument: str, end_ms: int | None) -> list[Candle]: ...

    async def rates_after(self, instrument: str, start_ms: int) -> list[Funding]: ...


class Wanted(msgspec.Struct, frozen=True):
    """What to download as data set `name`: bars that open in [start_ms, end_ms) (0: the first, the newest)."""

    name: str
    assets: tuple[str, ...]
    quote: str = "USDT"
    start_ms: int = 0
    end_ms: int = 0
    funding: bool = True


class Download:
    """One run: `await Download(history, lake, wanted, tell).run()`."""

    def __init__(
        self,
        history: History,
        lake: Lake,
        wanted: Wanted,
        tell: Progress,
        waits: Sequence[float] = WAITS,
        batch: int = BATCH,
    ) -> None:
        self._history, self._lake, self._wanted, self._tell = history, lake, wanted, tell
        self._waits, self._batch = waits, batch
        self._done = 0.0

    async def run(self) -> Manifest:
        """The data set's manifest when all is there. UserError: an asset that is not listed or has no candles, a
        venue that stays out of reach, a lake that cannot be written. What was written until then stays."""
        wanted, listed = self._wanted, self._history.instruments
        unknown = [asset for asset in wanted.assets if self._instrument(asset) not in listed]
        if unknown:
            raise UserError(
                f"{self._history.where} lists no {', '.join(map(self._instrument, unknown))}: choose other --assets"
            )
        for number, asset in enumerate(wanted.assets):
            self._done = number / len(wanted.assets)
            await self._candles(asset)
            if wanted.funding:
                await self._rates(asset)
        self._tell(1.0, "done")
        return self._lake.manifest(wanted.name)

    def _instrument(self, asset: str) -> str:
        return f"{asset}-{self._wanted.quote}-SWAP"

    # -- candles --------------------------------------------------------------------------------------

    async def _candles(self, asset: str) -> None:
        newest = await self._page(asset, self._wanted.end_ms)
        if not newest:
            raise UserError(f"{self._history.where} has no candles of {asset} in that period: change --to")
        held = self._held(CANDLES, asset)
        if held is None:
            await self._backward(asset, newest[0].open_ms + self._history.bar_ms)
        else:
            await self._forward(asset, held[1], newest[0].open_ms)
            await self._backward(asset, held[0])

    async def _backward(self, asset: str, before_ms: int) -> None:
        """From `before_ms` back to the beginning, of history or of what is wanted."""
        found: list[Candle] = []
        start, first = self._wanted.start_ms, before_ms
        while first > start:
            page = await self._page(asset, first)
            found += [candle for candle in page if candle.open_ms >= start]
            if page:
                first = page[-1].open_ms
                self._say(asset, first, (before_ms - first) / (before_ms - start) if start else 0.0)
            if len(found) >= self._batch or first <= start or not page:
                self._keep(asset, found)
                found = []
            if not page:
                return

    async def _forward(self, asset: str, last_ms: int, newest_ms: int) -> None:
        """From after `last_ms` to `newest_ms`. A page that is empty is a halt of the market, not its end."""
        found: list[Candle] = []
        bar_ms, begin = self._history.bar_ms, last_ms
        while last_ms < newest_ms:
            end = min(last_ms + self._history.page * bar_ms, newest_ms)
            found += [candle for candle in await self._page(asset, end + bar_ms) if candle.open_ms > last_ms]
            last_ms = end
            if len(found) >= self._batch or last_ms == newest_ms:
                self._keep(asset, found)
                found = []
            self._say(asset, last_ms, (last_ms - begin) / (newest_ms - begin))

    async def _page(self, asset: str, before_ms: int) -> list[Candle]:
        instrument = self._instrument(asset)
        return await self._patiently(lambda: self._history.candles_before(instrument, before_ms or None))

    def _keep(self, asset: str, candles: Sequence[Candle]) -> None:
        if candles:
            columns = {name: np.array([getattr(candle, name) for candle in candles]) for name in OHLCV}
            self._write(sound(_rows(asset, [candle.open_ms for candle in candles], columns)))

    # -- funding --------------------------------------------------------------------------------------

    async def _rates(self, asset: str) -> None:
        """Rates from the one before the first bar wanted, those aside that the lake has."""
        wanted, held = self._wanted, self._held(FUNDING, asset)
        first = wanted.start_ms - EIGHT_HOURS_MS
        after = held[1] if held and held[0] <= wanted.start_ms else first - 1
        found = await self._patiently(lambda: self._history.rates_after(self._instrument(asset), after))
        found = [
            rate
            for rate in found
            if not (held and held[0] <= rate.ts <= held[1]) and not 0 < wanted.end_ms <= rate.ts
        ]
        if found:
            hours = np.array([rate.period_ms / HOUR_MS for rate in found])
            columns = {"rate": np.array([rate.rate for rate in found]), "hours": hours}
            self._write(
                _rows(asset, [], dict.fromkeys(OHLCV, np.empty(0))), _rows(asset, [r.ts for r in found], columns)
            )

    # -- both -----------------------------------------------------------------------------------------

    def _held(self, table: str, asset: str) -> tuple[int, int] | None:
        """First and last time that the lake has of an asset."""
        if self._wanted.name not in self._lake.names():
            return None
        parts = self._lake.manifest(self._wanted.name).of(table, asset)
        return (parts[0].first_ms, parts[-1].last_ms) if parts else None

    def _write(self, candles: Rows, rates: Rows | None = None) -> None:
        venue, bar_ms = self._history.capabilities.name, self._history.bar_ms
        self._lake.write(self._wanted.name, candles, bar_ms, rates, venue=venue, mode=Mode.APPEND)

    def _say(self, asset: str, at_ms: int, share: float) -> None:
        self._tell(self._done + share / len(self._wanted.assets), f"{asset}: candles, at {iso(at_ms)}")

    async def _patiently(self, request: Callable[[], Awaitable[T]]) -> T:
        """Ask again, later and later, while the venue is out of reach or wants fewer requests."""
        for wait in (*self._waits, None):
            try:
                return await request()
            except VenueError as error:
                passing = isinstance(error, Unreachable) or error.code in TOO_MANY
                if wait is None or not passing:
                    again = "what was downloaded is kept: the same command goes on from there"
                    raise UserError(f"{error}; {again}") from None
                self._tell(self._done, f"{error}; again in {wait:g} s")
                await asyncio.sleep(wait)
        raise AssertionError("the last attempt returns or raises")


def _rows(asset: str, times: Sequence[int], columns: dict[str, np.typing.NDArray[np.float64]]) -> Rows:
    """Checked rows of one asset, by time."""
    ts = np.array(times, np.int64)
    order = np.argsort(ts, kind="stable")
    sorted_columns = {name: values[order] for name, values in columns.items()}
    return Rows("OKX", (asset,), (asset,), ts[order], np.zeros(len(ts), np.intp), sorted_columns)


# -- the command --------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 done, 1 refused with one line on stderr, 2 wrong usage, 130 interrupted."""
    given = _parser().parse_args(arguments)
    try:
        manifest = asyncio.run(_run(given, load(given.config)))
    except UserError as error:
        print(error, file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("interrupted: what was downloaded is kept, the same command goes on from there", file=sys.stderr)
        return 130
    said = {
        "name": manifest.name, "venue": manifest.venue, "bar": manifest.bar, "assets": manifest.assets,
        "rows": manifest.rows, "funding_rows": manifest.funding_rows, "first": iso(manifest.first_ms),
        "last": iso(manifest.last_ms), "hash": manifest.hash,
    }  # fmt: skip
    words = (
        f"{manifest.name}: {manifest.rows:,} candles of {len(manifest.assets)} assets, {said['first']} .."
        f" {said['last']}, and {manifest.funding_rows:,} rates; next: cockpit data check {manifest.name}"
    )
    print(json.dumps(said) if given.json else words)
    return 0


async def _run(given: argparse.Namespace, settings: Settings) -> Manifest:
    settings.paths.create()
    universe, bar = settings.universe, given.bar or settings.universe.bar
    wanted = Wanted(
        name=given.name or f"{given.venue}-{bar}",
        assets=tuple(given.assets.split(",")) if given.assets else universe.assets,
        quote=universe.quote,
        start_ms=moment(given.start, "--from") if given.start else 0,
        end_ms=moment(given.end, "--to") if given.end else 0,
        funding=not given.no_funding,
    )
    address = _address(given, settings)
    try:
        async with OkxHistory(address=address, bar=bar) as history:
            lake, tell = Lake(given.lake or settings.paths.lake), _hush if given.quiet else _tell
            return await Download(history, lake, wanted, tell).run()
    except VenueError as error:
        raise UserError(str(error)) from None


def _address(given: argparse.Namespace, settings: Settings) -> str | None:
    if given.venue == "okx":
        if given.address:
            raise UserError("--address is that of a local exchange: give --venue demo with it", code=2)
        return None
    running = ExchangeProcess.running(settings.paths.exchange)
    if not given.address and running is None:
        raise UserError("no local exchange runs: start one with cockpit demo, or give its --address")
    return given.address or (running.url if running else None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("core.engine.download", description="Candles and funding rates from OKX.")
    parser.add_argument("--venue", choices=("okx", "demo"), default="okx", help="OKX, or the local exchange")
    parser.add_argument("--name", help="the data set (default: VENUE-BAR); it is continued if it is there")
    parser.add_argument("--assets", help="BTC,ETH,... (default: universe.assets)")
    parser.add_argument("--bar", help="default: universe.bar")
    parser.add_argument("--from", dest="start", metavar="TIME", help="default: all there is")
    parser.add_argument("--to", dest="end", metavar="TIME", help="default: now")
    parser.add_argument("--no-funding", action="store_true")
    parser.add_argument("--address", help="of a local exchange (default: the one that runs)")
    parser.add_argument("--lake", help="folder or fsspec URL (default: lake in home)")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--config", type=Path)
    return parser


def _hush(done: float, text: str) -> None:
    """Nobody wants to know."""


def _tell(done: float, text: str) -> None:
    """A line for programs, or on a terminal one that is written over."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{done:4.0%}  {text}", end="" if done < 1 else "\n", file=sys.stderr, flush=True)
    else:
        tell(done, text)


if __name__ == "__main__":
    sys.exit(main())
