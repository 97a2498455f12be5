"""The features of all pairs: our compiled loop against pandas pair by pair, against memory itself, and live.

A third of pandas' time goes into frames and their index: on bare arrays that are aligned beforehand, the same
definitions, pair by pair, take about two thirds as long.
"""

from itertools import combinations
from time import perf_counter

import numpy as np
import pandas as pd

from core.data.panel import Panel
from core.data.synthetic import synthetic_panel
from core.features.pairs import MEMORY, FeatureHistory, PairFeatures
from tests.bench.bench_models import median_ms
from tests.bench.row import Row
from tests.features.plain_pairs import candles, plain

BARS, LIVE = 8760, 500
FASTER, WRITES, LIVE_MS = 30.0, 5.0, 10.0


def run() -> list[Row]:
    """A year of hours of ten assets, on one thread; every figure is the median of its runs."""
    panel = synthetic_panel(7, BARS)
    ours = history(panel).features
    # Fast is worth nothing unless it is the same, once every window is full and Wilder's start forgotten.
    frames = candles(panel)
    theirs = np.stack([table.to_numpy() for table in pair_by_pair(frames)], axis=1)
    np.testing.assert_allclose(ours[MEMORY:], theirs[MEMORY:], rtol=1e-6, atol=1e-9)

    loop = median_ms(lambda: history(panel), 15)
    pandas = median_ms(lambda: pair_by_pair(frames), 5)
    write = median_ms(lambda: np.empty(ours.shape).fill(1.0), 15)
    live = live_ms(panel)
    pairs = ours.shape[1]
    what = f"{pairs} pairs x {BARS:,} bars x {ours.shape[2]} features: compiled loop"
    times, share, most = f">= {FASTER:g}x", f">= {1 / WRITES:g}x", f"< {LIVE_MS:g} ms"
    one = f"features of one live bar, {pairs} pairs, after warm-up"
    return [
        Row(
            f"{what} / pandas", f"{loop:.1f} ms", f"{pandas:.0f} ms", pandas / loop, times, pandas >= FASTER * loop
        ),
        Row(f"{what} / write", f"{loop:.1f} ms", f"{write:.1f} ms", write / loop, share, loop <= WRITES * write),
        Row(one, f"{live:.3f} ms", "-", LIVE_MS / live, most, live < LIVE_MS),
    ]


def history(panel: Panel) -> FeatureHistory:
    return PairFeatures(panel.assets).history(panel)


def pair_by_pair(frames: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """The same features as one writes them down in pandas; the table that the tests hold our loop against, too.

    Nothing is taken from one pair to the next, but within a pair nothing is computed twice."""
    return [plain(frames, i, j) for i, j in combinations(range(len(frames)), 2)]


def live_ms(panel: Panel) -> float:
    """The median `update` of the last bars, after all bars before them."""
    features = PairFeatures(panel.assets)
    features.history(panel.slice(0, BARS - LIVE))
    spent = []
    for t in range(BARS - LIVE, BARS):
        bar = panel.bar(t)
        start = perf_counter()
        features.update(bar)
        spent.append(perf_counter() - start)
    return float(np.median(spent)) * 1e3
