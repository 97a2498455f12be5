"""Long tables of candles (Parquet or CSV) to a Panel: aligned, checked, every mended gap told.

Columns: timestamp (bar OPEN time: ms or s since 1970, ISO text, or a date type; naive is UTC), symbol (BTCUSDT,
BTC-USDT-SWAP, BTC/USDT:USDT ...), open, high, low, close, volume (base units). Funding: timestamp, symbol, rate
(`funding_rate`, `last_funding_rate` or `rate`) and, if given, the period in hours.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from core.clock import iso
from core.data.panel import Ints, Panel
from core.domain.errors import UserError
from core.domain.market import Floats

BARS_MS = {"1m": 60_000, "5m": 300_000, "15m": 900_000, "1h": 3_600_000, "4h": 14_400_000, "1d": 86_400_000}
PRICES = ("open", "high", "low", "close")
RATES = ("funding_rate", "last_funding_rate", "rate")
PERIODS = ("funding_interval_hours", "interval_hours", "period_hours")


def asset_of(symbol: str) -> str:
    """The asset of a symbol in any of the usual spellings: BTCUSDT, BTC-USDT-SWAP, BTC/USDT:USDT -> BTC."""
    base = symbol.upper().replace("/", "-").replace("_", "-").split("-")[0].split(":")[0]
    for quote in ("USDT", "USDC", "USD"):
        if base.endswith(quote) and base != quote:
            return base.removesuffix(quote)
    return base


def load_panel(
    path: Path, funding_path: Path | None = None, assets: Sequence[str] | None = None, bar: str = "1h"
) -> Panel:
    """A Panel of the candles in `path`, of `assets` in that order (default: all, by name), of bars `bar` long.

    Raises UserError, one line, for whatever makes the file unfit; gaps are filled with invalid bars and noted."""
    bar_ms = BARS_MS.get(bar)
    if bar_ms is None:
        raise UserError(f"bar {bar!r}: one of {', '.join(BARS_MS)}")
    table = _read(path)
    _need(path, table, ("timestamp", "symbol", *PRICES, "volume"))
    rows = _Rows.of(path, table, assets)
    _check_prices(path, table, rows)
    ts = np.arange(rows.ts.min(), rows.ts.max() + 1, bar_ms, dtype=np.int64)
    places = _places(path, rows, ts, bar_ms)
    grids = []
    for name in (*PRICES, "volume"):
        grid = np.full((len(ts), len(rows.assets)), 0.0 if name == "volume" else np.nan)
        grid[places, rows.asset] = _floats(path, table, name)[rows.kept]
        grids.append(grid)
    notes = _gaps(path, rows, places, len(ts), ts)
    rate, period = _funding(funding_path, rows.assets, ts, bar_ms) if funding_path else (None, None)
    return Panel.of(ts, rows.assets, grids, bar_ms, rate, period, notes=notes)


class _Rows(NamedTuple):
    """Which rows count: their open times, the number of their asset, and where in the table they stand."""

    assets: tuple[str, ...]
    ts: Ints
    asset: NDArray[np.intp]
    kept: NDArray[np.intp]

    @classmethod
    def of(cls, path: Path, table: pa.Table, assets: Sequence[str] | None) -> "_Rows":
        encoded = pc.dictionary_encode(table["symbol"].cast(pa.string())).combine_chunks()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.chunk(0)
        found = [asset_of(symbol) for symbol in encoded.dictionary.to_pylist()]
        chosen = tuple(assets) if assets else tuple(sorted(set(found)))
        missing = [asset for asset in chosen if asset not in found]
        if missing:
            there = ", ".join(sorted(set(found))[:20])
            raise UserError(f"{path}: no candles of {', '.join(missing)}; it has {there}: change universe.assets")
        number = np.array([chosen.index(name) if name in chosen else -1 for name in found])
        asset = number[encoded.indices.to_numpy(zero_copy_only=False)]
        kept = np.flatnonzero(asset >= 0)
        return cls(chosen, _times(path, table["timestamp"])[kept], asset[kept], kept)


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a Parquet or CSV file of candles")
    try:
        if path.suffix.lower() in (".csv", ".txt"):
            return pyarrow.csv.read_csv(path)
        return pyarrow.parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        line = str(error).splitlines()[0]
        raise UserError(
            f"{path}: cannot be read as Parquet or CSV ({line}); save it again as one of them"
        ) from error


def _need(path: Path, table: pa.Table, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in table.column_names]
    if missing:
        have = ", ".join(table.column_names)
        raise UserError(f"{path}: no column {', '.join(missing)}; it has {have}: rename them and import again")
    if not table.num_rows:
        raise UserError(f"{path}: no rows; export the candles again")


def _times(path: Path, column: pa.ChunkedArray) -> Ints:
    """Milliseconds UTC, whatever the column's type."""
    kind = column.type
    try:
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            column = pc.cast(column, pa.timestamp("ms"))
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            column = pc.cast(column, pa.timestamp("ms", getattr(column.type, "tz", None)), safe=False)
            return np.asarray(pc.cast(column, pa.int64()).to_numpy(), np.int64)
        times = np.asarray(column.to_numpy(), np.int64)
    except (pa.ArrowException, ValueError, TypeError) as error:
        line = str(error).splitlines()[0]
        raise UserError(f"{path}: column timestamp is {kind}, not a time ({line}): give ms UTC or ISO") from error
    return times * 1000 if times.max() < 100_000_000_000 else times


def _floats(path: Path, table: pa.Table, name: str) -> Floats:
    try:
        return np.asarray(pc.cast(table[name], pa.float64()).to_numpy(), np.float64)
    except pa.ArrowException as error:
        raise UserError(
            f"{path}: column {name} is {table[name].type}, not numbers: mend it and import again"
        ) from error


def _check_prices(path: Path, table: pa.Table, rows: _Rows) -> None:
    """Name the first impossible candle: not finite, not positive, or high and low that contradict the rest."""
    o, h, low, c = (_floats(path, table, name)[rows.kept] for name in PRICES)
    volume = _floats(path, table, "volume")[rows.kept]
    wrongs = {
        "a price or volume that is no finite number": ~np.isfinite(o + h + low + c + volume),
        "a price that is not above zero": np.minimum(np.minimum(o, c), low) <= 0,
        "a negative volume": volume < 0,
        "a high below or a low above its other prices": (h < np.maximum(o, c)) | (low > np.minimum(o, c)),
    }
    for what, wrong in wrongs.items():
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise UserError(
                f"{path}: {rows.assets[rows.asset[first]]} at {iso(int(rows.ts[first]))} has {what}"
                f" ({int(wrong.sum())} such rows): mend or drop them and import again"
            )


def _places(path: Path, rows: _Rows, ts: Ints, bar_ms: int) -> Ints:
    """Where on the time grid each row stands; rows off the grid and doubled rows are refused."""
    places, off = np.divmod(rows.ts - ts[0], bar_ms)
    if off.any():
        first = int(np.flatnonzero(off)[0])
        raise UserError(
            f"{path}: {rows.assets[rows.asset[first]]} has a bar at {iso(int(rows.ts[first]))}, off the grid of"
            f" {bar_ms // 60_000} minutes: set universe.bar to the bar of the file"
        )
    keys = places * len(rows.assets) + rows.asset
    values, counts = np.unique(keys, return_counts=True)
    if (counts > 1).any():
        key = int(values[np.argmax(counts > 1)])
        place, asset = divmod(key, len(rows.assets))
        raise UserError(
            f"{path}: {rows.assets[asset]} has {int(counts.max())} candles at {iso(int(ts[place]))}"
            f" ({int((counts > 1).sum())} such times): drop the doubles and import again"
        )
    return np.asarray(places, np.int64)


def _gaps(path: Path, rows: _Rows, places: Ints, bars: int, ts: Ints) -> tuple[str, ...]:
    """A line for each asset with bars missing between its first and its last."""
    notes = []
    for number, asset in enumerate(rows.assets):
        mine = np.sort(places[rows.asset == number])
        lost = int(mine[-1] - mine[0] + 1 - len(mine))
        if lost:
            after = int(mine[np.argmax(np.diff(mine) > 1)])
            notes.append(
                f"{path.name}: {asset} lacks {lost} bars, the first after {iso(int(ts[after]))}: kept invalid"
            )
        if mine[0] > 0 or mine[-1] < bars - 1:
            notes.append(f"{path.name}: {asset} only from {iso(int(ts[mine[0]]))} to {iso(int(ts[mine[-1]]))}")
    return tuple(notes)


def _funding(path: Path, assets: tuple[str, ...], ts: Ints, bar_ms: int) -> tuple[Floats, Ints]:
    """Rates on the grid of the bars within which they were settled, and their periods in ms (8 hours unless the
    file says otherwise). Several in one bar are summed."""
    table = _read(path)
    name = next((name for name in RATES if name in table.column_names), RATES[0])
    _need(path, table, ("timestamp", "symbol", name))
    rows = _Rows.of(path, table, assets)
    values = _floats(path, table, name)[rows.kept]
    if not np.isfinite(values).all():
        first = int(np.flatnonzero(~np.isfinite(values))[0])
        raise UserError(f"{path}: {assets[rows.asset[first]]} at {iso(int(rows.ts[first]))}: the rate is no number")
    hours = next((column for column in PERIODS if column in table.column_names), None)
    periods = _floats(path, table, hours)[rows.kept] if hours else np.full(len(values), 8.0)
    places = (rows.ts - ts[0]) // bar_ms
    inside = (places >= 0) & (places < len(ts))
    at = places[inside], rows.asset[inside]
    total, seen = np.zeros((len(ts), len(assets))), np.zeros((len(ts), len(assets)), np.bool_)
    np.add.at(total, at, values[inside])
    seen[at] = True
    period = np.zeros((len(ts), len(assets)), np.int64)
    period[at] = (periods[inside] * 3_600_000).astype(np.int64)
    for row in range(1, len(ts)):
        np.copyto(period[row], period[row - 1], where=period[row] == 0)
    period[period == 0] = 28_800_000
    return np.where(seen, total, np.nan), period
