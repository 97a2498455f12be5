"""A year of a pair rule through the live trader and the exchange's matching core, beside nautilus_trader.

nautilus_trader is an optional peer with an interpreter of its own (`make peers`; COCKPIT_PEERS names another):
without it the row is left out. Each side runs in fresh processes, in turn, timed after its imports and whatever it
compiles, by its own processor time; the best run counts. Both trade the same bars from the same bar on, and must
make the same fills: at the same time, of the same asset, to the same side, within a tick of the next bar's open.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from core.data.panel import Panel
from core.data.synthetic import synthetic_panel
from core.matching.listing import swap
from tests.bench.peer import INTERPRETER, SCRIPTS, installed, told
from tests.bench.row import Row

BARS, START, SEED = 8760, 200, 7
RUNS = 3
FASTER = 5.0


def run() -> list[Row]:
    """On one thread."""
    if not installed("nautilus_trader"):
        return []
    panel = market()
    specs = {asset: swap(asset, float(panel.close[0, i])) for i, asset in enumerate(panel.assets)}
    ticks = {asset: float(spec.tick) for asset, spec in specs.items()}
    units = {asset: (f"{spec.tick:f}", f"{spec.lot * spec.contract:f}") for asset, spec in specs.items()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "panel.npz"
        panel.save(file)
        mine = [sys.executable, "-m", "tests.bench.fixed_pairs", str(file), str(START)]
        yours = [str(INTERPRETER), str(SCRIPTS / "nautilus_pairs.py"), str(file), str(START), json.dumps(units)]
        runs = [(told(mine), told(yours)) for _ in range(RUNS)]
    ours, theirs = (min(each, key=lambda line: line["seconds"]) for each in zip(*runs, strict=True))
    # Fast is worth nothing unless it is the same.
    agree(panel, ticks, ours["fills"], theirs["fills"])
    ratio = theirs["seconds"] / ours["seconds"]
    fills = f"{len(ours['fills']):,} fills"
    what = (
        f"{BARS:,} bars x {len(panel.assets)} assets, {fills}: event-driven / nautilus_trader {theirs['version']}"
    )
    cells = f"{ours['seconds']:,.2f} s", f"{theirs['seconds']:,.2f} s", ratio
    return [Row(what, *cells, f">= {FASTER:g}x", ratio >= FASTER)]


def market() -> Panel:
    """The synthetic market with prices on the ticks of the listing, and no funding: the peer settles none."""
    raw = synthetic_panel(SEED, BARS)
    places = [
        -int(swap(asset, float(raw.close[0, i])).tick.as_tuple().exponent) for i, asset in enumerate(raw.assets)
    ]
    grids = (raw.open, raw.high, raw.low, raw.close)
    prices = [np.column_stack([grid[:, i].round(to) for i, to in enumerate(places)]) for grid in grids]
    return Panel.of(raw.ts, raw.assets, (*prices, raw.volume), raw.bar_ms)


def agree(panel: Panel, ticks: dict[str, float], ours: list[Any], theirs: list[Any]) -> None:
    """Raise AssertionError unless both made the same fills, each within a tick of the open that it met."""
    mine, yours = (sorted((ts, asset, side) for ts, asset, side, _ in fills) for fills in (ours, theirs))
    assert mine == yours, f"{len(mine)} fills beside {len(yours)}, the first apart: {set(mine) ^ set(yours)}"
    assert len(mine) > BARS // 4, len(mine)
    rows, columns = (
        {int(ts): t for t, ts in enumerate(panel.ts)},
        {asset: i for i, asset in enumerate(panel.assets)},
    )
    for ts, asset, side, price in (*ours, *theirs):
        away = abs(price - panel.open[rows[ts], columns[asset]]) / ticks[asset]
        assert away < 1.001, f"{side} {asset} at {ts}: {price} is {away:.2f} ticks from the next open"
