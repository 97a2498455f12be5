"""Scoring all pairs of a bar: our compiled walk against scikit-learn's own call, on the same forest."""

from collections.abc import Callable
from time import perf_counter

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from core.models.forest import DEPTH
from core.models.train import complete
from tests.bench.row import Row

TREES, PAIRS, FEATURES = 300, 45, 22
TARGET = 50.0


def run() -> list[Row]:
    """300 trees of depth 5 on noise with a little signal (full trees: the slowest case), 45 rows, one thread."""
    chance = np.random.default_rng(7)
    x = chance.normal(size=(6000, FEATURES))
    y = (x[:, 0] * x[:, 1] + chance.normal(size=len(x)) > 0).astype(int)
    model = RandomForestClassifier(TREES, max_depth=DEPTH, min_samples_leaf=30, random_state=7).fit(x, y)
    forest = complete(model)
    forest.warm()
    rows = np.ascontiguousarray(x[:PAIRS])
    assert (forest.raw(rows) == model.predict_proba(rows)[:, 1]).all(), "the walk must agree before it may be fast"
    ours, theirs = median_ms(lambda: forest.score(rows), 300), median_ms(lambda: model.predict_proba(rows), 15)
    ratio = theirs / ours
    what = f"score {PAIRS} rows, {TREES} trees: compiled walk / scikit-learn"
    return [Row(what, f"{ours:.3f} ms", f"{theirs:.1f} ms", ratio, f">= {TARGET:g}x", ratio >= TARGET)]


def median_ms(call: Callable[[], object], times: int) -> float:
    """The median duration of one call."""
    spent = []
    for _ in range(times):
        start = perf_counter()
        call()
        spent.append(perf_counter() - start)
    return float(np.median(spent)) * 1e3
