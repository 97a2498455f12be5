"""Tables of candles, Parquet, CSV or feather, as columns of plain numbers: the one place that knows how files
spell things.

A row has a time, a symbol and numbers. Times: ms since 1970 (or s, us, ns: told by their size), ISO text, or a
date type; those without a zone are UTC. Symbols: BTCUSDT, BTC-USDT-SWAP, BTC/USDT:USDT ... in a column `symbol`,
or bare assets, taken as they are, in a column `asset`. What cannot be read is one `UserError` that names the file,
the column, the first row at fault by time, and the way out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
from numpy.typing import NDArray

from core.clock import iso
from core.data.panel import Ints
from core.domain.errors import UserError
from core.domain.market import Floats

Flags = NDArray[np.bool_]
QUOTES = ("USDT", "USDC", "USD")
CSV = (".csv", ".txt", ".gz")
TIMES = ("timestamp", "time", "date", "datetime")
SYMBOLS = ("symbol", "asset")
READERS = {
    b"PAR1": pyarrow.parquet.read_table,
    b"ARROW1": pyarrow.feather.read_table,
    b"FEA1": pyarrow.feather.read_table,
}
"""What a file begins with, and how it is read."""
UNITS = ((1e11, 1e-3), (1e14, 1.0), (1e17, 1e3), (np.inf, 1e6))
"""Below the first number a time since 1970 is in units of which so many make a millisecond."""
YEAR_2100_MS = 4_102_444_800_000
AGAIN = "mend or drop them and import again"


def asset_of(symbol: str) -> str:
    """The asset of a symbol in any of the usual spellings: BTCUSDT, BTC-USDT-SWAP, BTC/USDT:USDT -> BTC."""
    base = symbol.strip().upper()
    for mark in "/_.:":
        base = base.replace(mark, "-")
    base = base.split("-")[0]
    quote = next((quote for quote in QUOTES if base.endswith(quote) and base != quote), "")
    return base.removesuffix(quote)


class Rows(NamedTuple):
    """The rows of the chosen assets, by time, then asset. `ts` (R,) ms UTC; `asset` (R,) numbers into `assets`;
    `columns` the numbers, each (R,); `found` all assets of the file, by name; `notes` what the reading changed."""

    path: Path | str
    assets: tuple[str, ...]
    found: tuple[str, ...]
    ts: Ints
    asset: NDArray[np.intp]
    columns: dict[str, Floats]
    notes: tuple[str, ...] = ()

    def refuse(self, wrong: Flags, what: str, way_out: str = AGAIN) -> None:
        """Raise for the first row that is wrong, if one is."""
        if wrong.any():
            first = int(np.argmax(wrong))
            rows = int(wrong.sum())
            raise UserError(
                f"{self.path}: {self.assets[self.asset[first]]} at {iso(int(self.ts[first]))}: {what}"
                f" ({rows} such {'row' if rows == 1 else 'rows'}): {way_out}"
            )

    def doubles(self) -> Flags:
        """(R,) rows of the same asset and time as the row before."""
        again = np.zeros(len(self.ts), np.bool_)
        again[1:] = (self.ts[1:] == self.ts[:-1]) & (self.asset[1:] == self.asset[:-1])
        return again

    def refuse_doubles(self) -> None:
        """Raise if an asset has two rows of one time: which of them is true, nobody knows."""
        self.refuse(self.doubles(), "more than one row of this time", "drop the doubles and import again")

    def keep(self, kept: Flags) -> "Rows":
        """Those rows alone."""
        columns = {name: values[kept] for name, values in self.columns.items()}
        return self._replace(ts=self.ts[kept], asset=self.asset[kept], columns=columns)


def read_rows(
    path: Path,
    table: pa.Table,
    needed: Mapping[str, Sequence[str]],
    optional: Mapping[str, Sequence[str]] | None = None,
    assets: Sequence[str] | None = None,
    *,
    finite: bool = True,
    late: bool = False,
) -> Rows:
    """The rows of `assets` (default: of all, by name) in the `table` of `path`. Columns are asked for by the name
    they shall have and the names they may have in the file; an optional one that the file lacks is left out. Where
    a number is missing it is NaN, or with `finite` a UserError. Parts of a millisecond are cut off, or with `late`
    rounded up: what is stamped so is known by then."""
    names = {name: _column(path, table, spellings) for name, spellings in needed.items()}
    for name, spellings in (optional or {}).items():
        if any(spelling in table.column_names for spelling in spellings):
            names[name] = _column(path, table, spellings)
    times, symbols = (_column(path, table, spellings) for spellings in (TIMES, SYMBOLS))
    if not table.num_rows:
        raise UserError(f"{path}: no rows; export it again")
    chosen, found, asset = _assets(path, table[symbols], symbols == "asset", assets)
    kept = np.flatnonzero(asset >= 0)
    ts, asset = _times(path, table[times], late)[kept], asset[kept]
    order = np.lexsort((asset, ts))
    rows = Rows(path, chosen, found, ts[order], asset[order], {})
    for name, column in names.items():
        values = _numbers(path, table, column)[kept][order]
        rows.refuse(~np.isfinite(values) & finite, f"{column} is no finite number")
        rows.columns[name] = values
    return rows


def is_wide(table: pa.Table) -> bool:
    """Whether times go down and assets across: a wide table has no column for the symbol, and none for closes."""
    return not any(name in table.column_names for name in (*SYMBOLS, "close"))


def read_wide(path: Path, table: pa.Table, assets: Sequence[str] | None = None) -> Rows:
    """The cells of a wide table as rows of one column `close`. Those that are empty or NaN are no rows. `assets` as
    in `read_rows`."""
    names = table.column_names
    times = _column(path, table, TIMES)
    if not table.num_rows or len(names) < 2:
        raise UserError(f"{path}: no prices; export it again")
    headers = [name for name in names if name != times]
    chosen, found, number = _named(path, headers, False, assets)
    ts = _times(path, table[times])
    used = [i for i in range(len(headers)) if number[i] >= 0]
    grid = np.column_stack([_numbers(path, table, headers[i]) for i in used]) if used else np.empty((len(ts), 0))
    t, i = np.nonzero(~np.isnan(grid))
    asset = number[used][i]
    order = np.lexsort((asset, ts[t]))
    return Rows(path, chosen, found, ts[t][order], asset[order], {"close": grid[t, i][order]})


def read_table(path: Path) -> pa.Table:
    """All of a file, its headers in small letters without blanks around them."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a Parquet, feather or CSV file")
    try:
        with path.open("rb") as file:
            read = next((read for mark, read in READERS.items() if file.peek(8).startswith(mark)), None)
        if read is None and path.suffix.lower() not in CSV:
            raise UserError(f"{path}: not a Parquet file; save it as Parquet, as feather, or as CSV named .csv")
        table = (read or pyarrow.csv.read_csv)(path)
        table.validate(full=True)  # Offsets that point nowhere would end the process, not raise.
        return table.rename_columns([name.strip().lower() for name in table.column_names])
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{path}: cannot be read as Parquet, feather or CSV ({line}); save it again as one"
        ) from error


def _column(path: Path, table: pa.Table, spellings: Sequence[str]) -> str:
    """The first of `spellings` that is a column of the table."""
    for name in spellings:
        times = table.column_names.count(name)
        if times > 1:
            raise UserError(f"{path}: {times} columns are called {name}: keep one and import again")
        if times:
            return name
    raise UserError(
        f"{path}: no column {' or '.join(spellings)}; it has {_some(table.column_names)}:"
        " rename the one that is meant and import again"
    )


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _assets(
    path: Path, column: pa.ChunkedArray, bare: bool, assets: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...], NDArray[np.intp]]:
    """The assets asked for, those that are there, and each row's number among the former (-1: another one's)."""
    try:
        encoded = pc.dictionary_encode(column.cast(pa.large_string()).combine_chunks())
        symbols = encoded.dictionary.to_pylist()
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"{path}: its symbols ({column.type}) are no text: save it again as UTF-8") from error
    if encoded.null_count:
        row = int(np.argmax(encoded.is_null().to_numpy(zero_copy_only=False)))
        raise UserError(f"{path}: row {row + 1} has no symbol ({encoded.null_count} such rows): {AGAIN}")
    chosen, found, codes = _named(path, symbols, bare, assets)
    return chosen, found, codes[encoded.indices.to_numpy()]


def _named(
    path: Path, symbols: Sequence[str], bare: bool, assets: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...], NDArray[np.intp]]:
    """The assets asked for, those that `symbols` name, and each symbol's number among the former (-1: none)."""
    names = symbols if bare else [asset_of(symbol) for symbol in symbols]
    found = tuple(sorted(set(names)))
    chosen = tuple(assets) if assets is not None else found
    spelled: dict[str, str] = {}
    for symbol, name in zip(symbols, names, strict=True):
        other = spelled.setdefault(name, symbol)
        if other != symbol and name in chosen:
            raise UserError(f"{path}: {other} and {symbol} are both {name}: keep one of them and import again")
    number = {name: i for i, name in enumerate(chosen)}
    return chosen, found, np.array([number.get(name, -1) for name in names], np.intp)


def _times(path: Path, column: pa.ChunkedArray, late: bool = False) -> Ints:
    """Milliseconds UTC, whatever the column's type; parts of one are cut off, or counted whole if `late`."""
    kind = column.type
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy()))
        raise UserError(f"{path}: row {row + 1} has no timestamp ({column.null_count} such rows): {AGAIN}")
    try:
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            column = _parsed(column)
        if late and pa.types.is_timestamp(column.type):
            column = pc.ceil_temporal(column, unit="millisecond")
        if pa.types.is_temporal(column.type):
            zoned = pa.timestamp("ms", getattr(column.type, "tz", None))
            ts = np.asarray(pc.cast(pc.cast(column, zoned, safe=False), pa.int64()).to_numpy(), np.int64)
        else:
            ts = _scaled(column, late)
    except (pa.ArrowException, ValueError, TypeError) as error:
        line = str(error).splitlines()[0]
        raise UserError(f"{path}: column timestamp ({kind}) is no time ({line}): give ms UTC or ISO") from error
    wrong = (ts < 0) | (ts >= YEAR_2100_MS)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(
            f"{path}: row {row + 1} has the timestamp {column[row].as_py()}, not of the years 1970 to 2099"
            f" ({int(wrong.sum())} such rows): {AGAIN}"
        )
    return ts


def _parsed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """ISO text with or without a zone, or digits."""
    for kind in (pa.timestamp("ns"), pa.timestamp("ns", "UTC"), pa.int64()):
        try:
            return pc.cast(column, kind)
        except pa.ArrowInvalid as error:
            reason = error
    raise reason


def _scaled(column: pa.ChunkedArray, late: bool) -> Ints:
    """Numbers since 1970 as ms, by the size of the largest; parts of one as in `_times`."""
    values = column.to_numpy()
    if not np.isfinite(values).all():
        raise ValueError("it holds values that are not finite")
    per_ms = next(unit for below, unit in UNITS if values.max() < below)
    if per_ms < 1:
        return np.asarray(np.ceil(values * 1000) if late else values * 1000, np.int64)
    return np.asarray(-(-values // int(per_ms)) if late else values // int(per_ms), np.int64)


def _numbers(path: Path, table: pa.Table, name: str) -> Floats:
    try:
        return np.asarray(pc.cast(table[name], pa.float64(), safe=False).to_numpy(), np.float64)
    except pa.ArrowException as error:
        line = str(error).splitlines()[0]
        raise UserError(
            f"{path}: column {name} is {table[name].type}, not numbers ({line}): mend it and import again"
        ) from error
