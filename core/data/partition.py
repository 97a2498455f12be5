"""One asset's table, as columns and as the Parquet bytes of a part of the lake."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from core.clock import iso
from core.data.tables import Rows
from core.domain.errors import UserError

CANDLES, FUNDING = "candles", "funding"
NAMES = {
    CANDLES: {name: name for name in ("open", "high", "low", "close", "volume")},
    FUNDING: {"rate": "funding_rate", "hours": "funding_interval_hours"},
}
"""The columns of each table: as `Rows` calls them, and as the files do."""
HOURS = 8.0
"""What a funding rate is for, if nothing else is said."""

Columns = dict[str, NDArray[Any]]
"""`ts` (R,) int64 ms UTC, rising, and numbers (R,) float64."""


def split(rows: Rows, table: str) -> Iterator[tuple[str, Columns]]:
    """The rows of each asset that has any."""
    order = np.argsort(rows.asset, kind="stable")
    bounds = np.searchsorted(rows.asset[order], np.arange(len(rows.assets) + 1))
    for asset, start, stop in zip(rows.assets, bounds[:-1], bounds[1:], strict=True):
        mine = order[start:stop]
        if len(mine):
            hours = np.full(len(mine), HOURS)
            numbers = {name: rows.columns[name][mine] if name in rows.columns else hours for name in NAMES[table]}
            yield asset, {"ts": rows.ts[mine], **numbers}


def merge(asset: str, tables: Sequence[Columns]) -> Columns:
    """All rows by time. A row that is there twice must be the same twice: else UserError, as nobody knows which of
    them is true."""
    whole = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    order = np.argsort(whole["ts"], kind="stable")
    whole = {name: values[order] for name, values in whole.items()}
    again = np.flatnonzero(np.diff(whole["ts"]) == 0) + 1
    for name, values in whole.items():
        other = again[values[again] != values[again - 1]]
        if len(other):
            at = int(other[0])
            raise UserError(
                f"{asset} at {iso(int(whole['ts'][at]))}: {name} is {values[at - 1]:.10g} in the lake, but"
                f" {values[at]:.10g} in what is added ({len(other)} such rows): mend it, or --replace all"
            )
    return {name: np.delete(values, again) for name, values in whole.items()}


def pack(table: str, columns: Mapping[str, NDArray[Any]]) -> bytes:
    """As Parquet: the same rows and versions of the libraries give the same bytes."""
    arrays = {"timestamp": pa.array(columns["ts"], pa.timestamp("ms", "UTC"))}
    arrays |= {named: pa.array(columns[name]) for name, named in NAMES[table].items()}
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(pa.table(arrays), sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def unpack(table: str, data: bytes) -> Columns:
    """What was packed."""
    read = pyarrow.parquet.read_table(pa.BufferReader(data))
    ts = np.asarray(read["timestamp"].cast(pa.int64()).to_numpy(), np.int64)
    return {"ts": ts} | {name: read[named].to_numpy() for name, named in NAMES[table].items()}


def join(place: str, assets: Sequence[str], found: Sequence[str], parts: Sequence[tuple[str, Columns]]) -> Rows:
    """The parts of several assets as one table, by time, then asset."""
    number = {asset: i for i, asset in enumerate(assets)}
    whole = {name: np.concatenate([columns[name] for _, columns in parts]) for name in parts[0][1]}
    asset = np.concatenate([np.full(len(columns["ts"]), number[name], np.intp) for name, columns in parts])
    order = np.lexsort((asset, whole["ts"]))
    columns = {name: values[order] for name, values in whole.items() if name != "ts"}
    return Rows(place, tuple(assets), tuple(found), whole["ts"][order], asset[order], columns)


def file_name(columns: Columns, digest: str) -> str:
    """When the part begins, for people, and its hash, so that no other content can have its name."""
    begin = datetime.fromtimestamp(int(columns["ts"][0]) / 1000, UTC)
    return f"{begin:%Y%m%dT%H%M}-{digest[:16]}.parquet"
