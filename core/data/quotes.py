"""Best bids and asks as they were quoted, for runs that ask what an order would really have met.

A row: timestamp, symbol, bid, bid_qty, ask, ask_qty (sizes in base units; other spellings in `NEEDED`). Files of
several markets name theirs in the symbol: `FILE#usdm` reads those alone that end with `usdm`. What cannot be is
left out and told; a file with much of it is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.clock import iso
from core.data.panel import Ints, Panel
from core.data.tables import SYMBOLS, Rows, read_rows, read_table
from core.domain.errors import UserError
from core.domain.market import Floats

NEEDED = {
    "bid": ("bid", "bid_price", "best_bid", "bidpx"),
    "bid_size": ("bid_qty", "bid_size", "bid_amount", "best_bid_qty", "bidsz"),
    "ask": ("ask", "ask_price", "best_ask", "askpx"),
    "ask_size": ("ask_qty", "ask_size", "ask_amount", "best_ask_qty", "asksz"),
}
STALE_MS = 60_000
"""A quote older than this says nothing of the book any more."""
MOST_WRONG = 0.05
"""Share of impossible quotes above which a file is refused."""
MOST_APART = 0.02
"""How far the middle of the quotes may usually lie from the candles: they must be of one market."""
ORDER = "row of the file"


class Top(NamedTuple):
    """The best prices at `ts` (ms UTC), sizes in base units."""

    ts: int
    bid: float
    bid_size: float
    ask: float
    ask_size: float


@dataclass(frozen=True, eq=False)
class Quotes:
    """Quotes of some assets. By asset: `ts` (R,) int64 ms UTC, never falling, and `tops` (R, 4) of bid, its size,
    ask and its size. `notes`: what the reading left out or mended, a line each."""

    name: str
    ts: dict[str, Ints]
    tops: dict[str, Floats]
    notes: tuple[str, ...] = ()

    def at(self, asset: str, ms: int) -> Top | None:
        """The last quote of `asset` at or before `ms`; None where there is none, or it is stale."""
        times = self.ts.get(asset)
        if times is None:
            return None
        row = int(np.searchsorted(times, ms, side="right")) - 1
        if row < 0 or ms - times[row] > STALE_MS:
            return None
        return Top(int(times[row]), *self.tops[asset][row].tolist())

    def check(self, panel: Panel) -> None:
        """UserError unless these are quotes of the panel's market: within its time, and near its prices."""
        begins, ends = int(panel.ts[0]), int(panel.ts[-1]) + panel.bar_ms
        first, last = min(int(ts[0]) for ts in self.ts.values()), max(int(ts[-1]) for ts in self.ts.values())
        if first >= ends or last < begins:
            raise UserError(
                f"{self.name}: quotes from {iso(first)} to {iso(last)}, but the candles are from {iso(begins)} to"
                f" {iso(ends)}: give the quotes of that time"
            )
        for asset, times in self.ts.items():
            bars = (times - begins) // panel.bar_ms
            inside = (bars >= 0) & (bars < len(panel))
            closes = panel.close[bars[inside], panel.assets.index(asset)]
            middle = self.tops[asset][inside][:, (0, 2)].mean(axis=1)
            apart = np.abs(middle / closes - 1)
            known = apart[np.isfinite(apart)]
            usual = float(np.median(known)) if len(known) else 0.0
            if usual > MOST_APART:
                raise UserError(
                    f"{self.name}: quotes of {asset} lie {usual:.1%} from its candles: they are of another market;"
                    " give those of the same"
                )


def read_quotes(source: str | Path, assets: Sequence[str]) -> Quotes:
    """The quotes of `assets` in the file `source` (see the module). UserError for what makes it unfit; an asset
    that has none is noted."""
    name, _, ending = str(source).partition("#")
    path = Path(name)
    table = read_table(path)
    table = _of_market(path, table, ending) if ending else table
    table = table.append_column(ORDER, pa.array(np.arange(table.num_rows, dtype=np.float64)))
    rows = read_rows(path, table, NEEDED | {ORDER: (ORDER,)}, assets=assets, late=True)
    found = [asset for asset in rows.assets if asset in rows.found]
    if not found:
        raise UserError(f"{path}: no quotes of {', '.join(assets)}; it has {', '.join(rows.found[:20])}")
    rows, notes = _sound(path, rows)
    without = [asset for asset in assets if asset not in found]
    if without:
        notes += (f"{path.name} has no quotes of {', '.join(without)}: their books are made",)
    ts, tops = {}, {}
    for i, asset in enumerate(rows.assets):
        mine = rows.asset == i
        if mine.any():
            ts[asset] = rows.ts[mine]
            tops[asset] = np.column_stack([rows.columns[column][mine] for column in NEEDED])
    return Quotes(path.name, ts, tops, notes)


def _of_market(path: Path, table: pa.Table, ending: str) -> pa.Table:
    """The rows whose symbols end so."""
    column = next((name for name in SYMBOLS if name in table.column_names), None)
    if column is None:
        return table  # What is missing is told by whoever reads it.
    kept = table.filter(pc.ends_with(table[column], ending))
    if not kept.num_rows:
        names = ", ".join(map(str, pc.unique(table[column]).to_pylist()[:8]))
        raise UserError(f"{path}: no symbol ends with {ending!r}; it has {names}")
    return kept


def _sound(path: Path, rows: Rows) -> tuple[Rows, tuple[str, ...]]:
    """The quotes that can be, each asset's in order of time, and what was done for that."""
    bid, bid_size, ask, ask_size = (rows.columns[name] for name in NEEDED)
    nothing = (bid <= 0) | (ask <= 0) | (bid_size <= 0) | (ask_size <= 0)
    crossed = ~nothing & (bid >= ask)
    for wrong, what in (
        (nothing, "a price or a size that is not above zero"),
        (crossed, "a bid not below its ask"),
    ):
        if wrong.mean() > MOST_WRONG:
            rows.refuse(wrong, what, "give a file of best bids and asks")
    late = sum(int((np.diff(rows.columns[ORDER][rows.asset == i]) < 0).sum()) for i in range(len(rows.assets)))
    told = {
        "left out: {} quotes with a price or a size that is not above zero": int(nothing.sum()),
        "left out: {} quotes whose bid is not below the ask": int(crossed.sum()),
        "{} quotes came out of order: sorted by time": late,
    }
    notes = tuple(f"{path.name}: {text.format(count)}" for text, count in told.items() if count)
    return rows.keep(~(nothing | crossed)), notes
