"""The vectorised backtest beside vectorbt, with the same orders and the same profit; beside the event-driven one;
and how its cost grows.

vectorbt is an optional peer with an interpreter of its own (`make peers`; COCKPIT_PEERS names another): without it
its rows are left out. Each side runs in a fresh process, timed after its imports and its first, compiling call.
vectorbt gets the targets of the single run ready made, legs with cash of their own, and three sets of a sweep at a
time: of all ways that were tried its fastest.
"""

import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from core.backtest.events import Assumptions, market_of, run_events
from core.backtest.kernel import ORDERS, Books, Record, follow
from core.backtest.sweep import GRID, grid, sweep
from core.backtest.vectorised import run_vectorised
from core.data.synthetic import synthetic_panel
from core.domain.backtest import Source
from core.execution.risk import Limits
from core.features.pairs import PairFeatures
from core.strategies.params import DivergenceParams
from core.strategies.registry import strategy
from core.trader import Trader
from tests.bench import spreads
from tests.bench.bench_models import median_ms
from tests.bench.peer import INTERPRETER, SCRIPTS, installed, told
from tests.bench.row import Row

FEW, MANY, AT_ONCE = 27, 1000, 3
SINGLE, SWEPT, EVENTS, LINEAR = 50.0, 30.0, 20.0, 3.0
YEAR = spreads.BARS


def run() -> list[Row]:
    """On one thread."""
    return [*against_vectorbt(), *against_events(), linear()]


def against_vectorbt() -> list[Row]:
    """One run, sweeps, and their memory. Of the long sweep vectorbt runs the first 27 sets, and is counted so many
    times as there are 27 in it: it would take minutes, and its time is linear."""
    if not installed("vectorbt"):
        return []
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "spreads.npz")
        spreads.write(file, MANY)
        theirs = {sets: _peer(file, sets, repeats) for sets, repeats in ((1, 7), (FEW, 1))}
        ours = {sets: _ours(file, sets, repeats) for sets, repeats in ((1, 51), (FEW, 7), (MANY, 1))}
    for sets in (1, FEW):
        # Fast is worth nothing unless it is the same.
        assert ours[sets]["orders"] == theirs[sets]["orders"], f"orders differ: {ours[sets]}, {theirs[sets]}"
        np.testing.assert_allclose(ours[sets]["profits"], theirs[sets]["profits"], rtol=1e-6)
    peer, rows = f"vectorbt {theirs[1]['version']}", []
    for sets, target in ((1, SINGLE), (FEW, SWEPT), (MANY, SWEPT)):
        times = max(sets / FEW, 1.0)
        yours = 1e3 * theirs[min(sets, FEW)]["seconds"] * times
        shown = f"{yours:,.0f} ms" + (f" ({times:.0f} x {FEW} sets)" if times > 1 else "")
        what = f"{sum(ours[1]['orders']):,.0f} orders" if sets == 1 else f"{sets:,} sets"
        what = f"45 pairs x {YEAR:,} bars, {what}: compiled / {peer}"
        rows.append(_beside(what, 1e3 * ours[sets]["seconds"], yours, target, shown))
    held, flat, other = (told["peak_mb"] for told in (ours[MANY], ours[FEW], theirs[FEW]))
    what = f"peak memory of the process, {MANY:,} sets / {peer}, {FEW} sets"
    cells = f"{held:,.0f} MB", f"{other:,.0f} MB", other / held
    return [*rows, Row(what, *cells, f"<= 1.1 x that of {FEW} sets", held <= 1.1 * flat)]


def against_events() -> list[Row]:
    """A year of the rule itself: through the live trader, and compiled; and a set of a sweep."""
    panel = synthetic_panel(spreads.SEED, YEAR)
    start, flat, cash = 500, Assumptions(slippage="flat"), 100_000
    market = market_of(panel, start, 0, 7)
    limits = Limits(*(Decimal(text) for text in ("0.95", "50000", "10000", "10", "1", "0.0005")))
    instruments = {spec.id: spec for spec in market.instruments}
    span = int(panel.ts[start]), int(panel.ts[-1])
    source = Source("bench", "synthetic", "", panel.content_hash, panel.assets, panel.bar_ms, *span)

    def trader() -> Trader:
        return Trader(strategy("zscore"), DivergenceParams(), PairFeatures(panel.assets), None, instruments, limits)

    def exact() -> None:
        fresh = market_of(panel, start, 0, 7)
        run_events([trader()], fresh, Decimal(cash), flat, source, seed=7, catastrophe_share=Decimal("0.99"))

    sets, usual = grid(GRID), (market, float(cash), flat, source)
    slow = median_ms(exact, 1)
    fast = median_ms(lambda: run_vectorised(trader(), *usual), 5)
    each = median_ms(lambda: sweep(trader(), sets, *usual, block=24), 3) / len(sets)
    name = f"the rule over {YEAR:,} bars of 45 pairs"
    return [
        _beside(f"{name}, features and all: compiled / event-driven", fast, slow, EVENTS),
        _beside(f"{name}, one of a sweep of {len(sets)}: compiled / event-driven", each, slow, EVENTS),
    ]


def linear(bars: int = 240) -> Row:
    """Nanoseconds a pair-bar, from few pairs to many: signals and accounting over 240 bars."""
    many = (10, 46, 300)
    costs = [pair_bar_ns(assets, bars) for assets in many]
    pairs = ", ".join(f"{n * (n - 1) // 2:,}" for n in many)
    shown, worst = " / ".join(f"{cost:.1f}" for cost in costs), max(costs)
    what = f"ns a pair-bar over {bars} bars of {pairs} pairs / the first"
    target = f"<= {LINEAR:g} x the first"
    return Row(what, shown, f"{costs[0]:.1f}", costs[0] / worst, target, worst <= LINEAR * costs[0])


def pair_bar_ns(assets: int, bars: int) -> float:
    """Signals and accounting of all pairs of `assets`, by the pair and bar."""
    z, tape = spreads.market(bars, tuple(f"X{i}" for i in range(assets)))
    z = np.random.default_rng(1).standard_normal(z.shape).cumsum(axis=0) / 4  # Nothing is usable so early.
    signals, notional = np.zeros(z.shape, np.int8), np.full(z.shape[1], spreads.NOTIONAL)
    books, record = Books.fresh(z.shape[1], assets, spreads.CASH), Record.of(0, bars, spreads.CASH)

    def once() -> None:
        books.reset(spreads.CASH)
        spreads.sides(z, 1.0, 0.0, signals)
        follow(tape, spreads.COSTS, signals, notional, 0, bars, books, record)

    spent = median_ms(once, 9)
    assert books.sums[ORDERS] > assets
    return 1e6 * spent / z.size


def _beside(what: str, mine: float, yours: float, target: float, shown: str = "") -> Row:
    """Milliseconds beside milliseconds."""
    yours_told = shown or f"{yours:,.0f} ms"
    return Row(what, f"{mine:,.2f} ms", yours_told, yours / mine, f">= {target:g}x", yours >= target * mine)


def _ours(file: str, sets: int, repeats: int) -> dict[str, Any]:
    return told([sys.executable, "-m", "tests.bench.spreads", file, str(sets), str(repeats)])


def _peer(file: str, sets: int, repeats: int) -> dict[str, Any]:
    script = str(SCRIPTS / "vectorbt_spreads.py")
    return told([str(INTERPRETER), script, file, str(sets), str(AT_ONCE), str(repeats)])
