"""Panels written down as the long tables that users have."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet

from core.data.panel import Panel

OHLCV = ("open", "high", "low", "close", "volume")
Columns = dict[str, Any]


def candles_of(panel: Panel, kept: Any = None) -> Columns:
    """A row for each valid bar (or each that is `kept`), by time, then asset."""
    t, i = np.nonzero(panel.valid if kept is None else kept)
    symbols = np.array([f"{asset}USDT" for asset in panel.assets])[i]
    return {"timestamp": panel.ts[t], "symbol": symbols} | {name: getattr(panel, name)[t, i] for name in OHLCV}


def rates_of(panel: Panel, *, hours: bool = False) -> Columns:
    """A row for each rate that was settled, stamped by the open of its bar."""
    t, i = np.nonzero(np.isfinite(panel.funding_rate))
    symbols = np.array([f"{asset}USDT" for asset in panel.assets])[i]
    columns = {"timestamp": panel.ts[t], "symbol": symbols, "funding_rate": panel.funding_rate[t, i]}
    return columns | ({"funding_interval_hours": panel.funding_period_ms[t, i] / 3_600_000} if hours else {})


def write(path: Path, columns: Columns) -> Path:
    """As Parquet, feather or CSV, by the file's name."""
    writers = {".parquet": pyarrow.parquet.write_table, ".feather": pyarrow.feather.write_feather}
    writers.get(path.suffix, pyarrow.csv.write_csv)(pa.table(columns), path)
    return path


def row(columns: Columns, asset: str, ts: int) -> int:
    """Where the candle of `asset` at `ts` stands."""
    found = np.flatnonzero((columns["timestamp"] == ts) & (columns["symbol"] == f"{asset}USDT"))
    assert len(found) == 1
    return int(found[0])


def wide_of(panel: Panel) -> Columns:
    """Times down, closes of assets across; NaN where a bar is not valid."""
    closes = np.where(panel.valid, panel.close, np.nan)
    return {"date": panel.ts} | {f"{asset}USDT": closes[:, i] for i, asset in enumerate(panel.assets)}
