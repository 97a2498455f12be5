"""Training of the universal forest: one model for all pairs, judged out of sample before its final fit.

Rows are (bar, pair), split by time alone. Around every held-out stretch, rows whose label could reach into it are
left out (purge), and after a stretch of labels another horizon of bars (embargo): Lopez de Prado (2018), chapter
7. The purge takes the longest reach a label can have, not the one it had: rows kept because they ended early are
mostly winners, and would teach an optimist.

Labels of one pair overlap, so rows are drawn by their uniqueness, and each tree draws as many as there are unique
labels (ibid., 4.5), not as many as there are rows.

Class weights make the forest's shares too high. Platt's scaling on the scale of logits takes them back to the
unweighted frequency. It is fitted by purged cross-fitting: each third of the training stretch is scored by a forest
fitted on the others, so that no row is judged by trees that saw it or its neighbours. Only rows beyond the entry
threshold serve for that, and for every figure: others are never traded.
"""

from dataclasses import replace
from importlib.metadata import version
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from core.clock import iso
from core.config import Settings
from core.data.panel import Panel
from core.domain.errors import UserError
from core.domain.market import Floats
from core.features.pairs import PairFeatures
from core.jobs import Progress
from core.models.bundle import FORMAT, KIND, Meta
from core.models.forest import DEPTH, LEAVES, QUESTIONS, Forest
from core.models.labels import Ints, Kind, LabelRule, label, uniqueness

TREES = 300
TRAIN_SHARE = 0.7
FOLDS = 3
FOLD_TREES = 1 / 3  # share of the trees in a forest that only serves calibration
MIN_ROWS = 200
GOLDEN = 16

Mask = NDArray[np.bool_]
Figures = dict[str, float | None]


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How to train. `threshold` is the probability above which a row counts as predicted; `jobs` threads do not
    change the result (300 trees on 40,000 rows: 2.3 s on one, 1.3 s on two)."""

    label: LabelRule = LabelRule()
    trees: int = TREES
    min_leaf: int = 30
    positive_weight: float = 3.0
    threshold: float = 0.5
    seed: int = 7
    jobs: int = 2


def recipe_of(settings: Settings, label: Kind | None = None, trees: int = TREES) -> Recipe:
    """How to train under these settings: the labels trade as the strategy does, and are of the configured kind
    where `label` names no other; the draws are those of `demo.seed`."""
    params = settings.strategy.divergence
    rule = LabelRule(
        kind=label or params.label,
        z_entry=params.z_entry,
        z_exit=params.z_exit,
        min_hold=params.min_hold_bars,
        horizon=params.horizon_bars,
        stop_mode=params.stop_mode,
        stop_atr=params.stop_atr,
        stop_min=params.stop_min,
        stop_max=params.stop_max,
        stop_default=params.stop_default,
        target_atr=params.target_atr,
        target_min=params.target_min,
        target_max=params.target_max,
        target_default=params.target_default,
    )
    return Recipe(label=rule, trees=trees, threshold=params.prob_threshold, seed=settings.demo.seed)


class Rows(NamedTuple):
    """R labelled rows, in order of time: bar `t` (R,), features `x` (R, F), label `y` (R,) 0 or 1, `end` (R,) the
    last bar the label has seen, `weight` (R,) its uniqueness, `beyond` (R,) whether |z| > z_entry."""

    t: Ints
    x: Floats
    y: NDArray[np.int8]
    end: Ints
    weight: Floats
    beyond: Mask


class Trained(NamedTuple):
    """What `bundle.save` takes."""

    meta: Meta
    forest: Forest
    golden: Floats


def train(panel: Panel, features: PairFeatures, recipe: Recipe, source: str, progress: Progress) -> Trained:
    """Fit on all bars of `panel` (its assets in the order of the fresh `features`).

    `progress` hears shares of 1 with a word on what is being done. The same panel, recipe and libraries give the
    same bits. Raises UserError where bars or labelled rows are too few, or all labels are alike."""
    rule, bars = recipe.label, len(panel)
    need = fewest_bars(rule.reach, features.params.min_bars)
    if bars < need:
        raise UserError(
            f"{bars} bars are too few to train with horizon_bars {rule.horizon}: at least {need} are needed"
            f" ({features.params.min_bars} before the first row, purge and embargo around the test)"
        )
    progress(0.0, "computing features and labels")
    rows = labelled(panel, features, rule)
    metrics = _judged(rows, panel, recipe, lambda done, text: progress(0.1 + 0.4 * done, text))
    every = np.ones(len(rows.t), np.bool_)
    forest = _calibrated(rows, every, recipe, lambda done, text: progress(0.5 + 0.5 * done, text))
    golden = rows.x[np.linspace(0, len(rows.t) - 1, GOLDEN).astype(np.int64)]
    meta = Meta(
        kind=KIND,
        format=FORMAT,
        features=features.names,
        features_hash=features.hash,
        assets=panel.assets,
        bar_ms=panel.bar_ms,
        label=msgspec.to_builtins(rule),
        data_hash=panel.content_hash,
        source=source,
        trained_from_ms=int(panel.ts[0]),
        trained_until_ms=int(panel.ts[-1]),
        labels_until_ms=int(panel.ts[rows.end.max()]),
        seed=recipe.seed,
        metrics=metrics,
        libraries={name: version(name) for name in ("numpy", "numba", "safetensors", "scikit-learn")},
    )
    return Trained(meta, forest, golden)


def judge(panel: Panel, features: PairFeatures, recipe: Recipe, progress: Progress) -> Figures:
    """How good a forest of this recipe is out of sample; none is made to be served. As the metrics of a bundle."""
    return _judged(labelled(panel, features, recipe.label), panel, recipe, progress)


def _judged(rows: Rows, panel: Panel, recipe: Recipe, progress: Progress) -> Figures:
    """Figures of the last stretch of `panel`, by a forest of the rows that ended a horizon before it."""
    rule, bars = recipe.label, len(panel)
    split = round(bars * TRAIN_SHARE)
    inside = known(rows.t, split, bars, rule)
    test = (rows.t >= split + rule.horizon) & rows.beyond
    _demand(rows.y[inside], f"labelled rows from {iso(int(panel.ts[0]))}, before the test")
    _demand(rows.y[test], f"labelled rows from {iso(int(panel.ts[split]))}, in the test")
    forest = _calibrated(rows, inside, recipe, lambda done, text: progress(done, f"judging: {text}"))
    return {"rows": len(rows.t), **_metrics(forest, rows, test, panel.ts, recipe.threshold)}


def fewest_bars(reach: int, warmup: int) -> int:
    """Bars below which the test, or a fold of the calibration beside its purge and embargo, would be empty."""
    test = 2 * reach / (1.0 - TRAIN_SHARE)
    fold = (warmup + 2 * reach * FOLDS / (FOLDS - 1) + reach) / TRAIN_SHARE
    return int(max(test, fold)) + 24


def known(t: Ints, low: int, high: int, rule: LabelRule) -> Mask:
    """Which rows of bars `t` a forest may know that is judged on bars low .. high - 1: those whose label ends
    before them, and those that begin a horizon after the last of their labels."""
    return (t + rule.reach < low) | (t >= high + rule.reach + rule.horizon)


def labelled(panel: Panel, features: PairFeatures, rule: LabelRule) -> Rows:
    """The rows of `panel` that have a label and a usable pair."""
    past = features.history(panel)
    order = {asset: i for i, asset in enumerate(panel.assets)}
    legs = np.array([(order[pair.a], order[pair.b]) for pair in features.pairs], np.int64)
    z = past.features[:, :, features.names.index("z_score")]
    y, end = label(panel, legs, z, past.usable, past.atr_pct, past.volatility, rule)
    t, p = np.nonzero(y >= 0)
    weight = uniqueness(end)[t, p]
    return Rows(t, past.features[t, p], y[t, p], end[t, p], weight, np.abs(z[t, p]) > rule.z_entry)


def fit(rows: Rows, chosen: Mask, recipe: Recipe, trees: int) -> Forest:
    """An uncalibrated forest of the chosen rows, by scikit-learn."""
    weight = rows.weight[chosen]
    model = RandomForestClassifier(
        trees,
        max_depth=DEPTH,
        min_samples_leaf=recipe.min_leaf,
        class_weight={0: 1.0, 1: recipe.positive_weight},
        max_samples=min(len(weight), max(MIN_ROWS, round(float(weight.sum())))),
        random_state=recipe.seed,
        n_jobs=recipe.jobs,
    )
    model.fit(rows.x[chosen].astype(np.float32), rows.y[chosen], weight)
    return complete(model)


def complete(model: RandomForestClassifier) -> Forest:
    """The arrays of a fitted forest of two classes, its trees made complete; calibration is the identity."""
    trees = len(model.estimators_)
    forest = Forest(
        np.zeros((trees, QUESTIONS), np.int32),
        np.full((trees, QUESTIONS), np.inf, np.float32),
        np.empty((trees, LEAVES)),
        np.array([1.0, 0.0]),
    )
    for n, estimator in enumerate(model.estimators_):
        tree = estimator.tree_
        nodes = [0]  # of scikit-learn's tree, at places 0 .. 62 of the complete one
        for place in range(QUESTIONS):
            node = nodes[place]
            if tree.children_left[node] < 0:
                nodes += [node, node]
                continue
            nodes += [tree.children_left[node], tree.children_right[node]]
            forest.feature[n, place] = tree.feature[node]
            exact = tree.threshold[node]
            near = np.float32(exact)
            forest.threshold[n, place] = near if near <= exact else np.nextafter(near, np.float32(-np.inf))
        forest.leaf[n] = tree.value[nodes[QUESTIONS:], 0, 1]
    return forest


def platt(raw: Floats, y: NDArray[np.int8]) -> Floats:
    """(slope, intercept) that make sigmoid(slope * logit(raw) + intercept) most likely, by Newton's method, with
    Platt's (1999) smoothed targets. Where `raw` ranks the wrong way round the slope is 0: the base rate for all."""
    share = np.clip(raw, 1e-6, 1.0 - 1e-6)
    logit = np.log(share / (1.0 - share))
    positives, count = int(y.sum()), len(y)
    target = np.where(y == 1, (positives + 1) / (positives + 2), 1 / (count - positives + 2))
    flat = np.array([0.0, np.log(target.mean() / (1.0 - target.mean()))])
    found = flat.copy()
    for _ in range(50):
        probability = 1.0 / (1.0 + np.exp(-(found[0] * logit + found[1])))
        error, weight = probability - target, probability * (1.0 - probability)
        cross = np.sum(weight * logit)
        curvature = np.array([[np.sum(weight * logit**2) + 1e-9, cross], [cross, np.sum(weight) + 1e-9]])
        step = np.linalg.solve(curvature, np.array([np.sum(error * logit), np.sum(error)]))
        found -= step
        if np.abs(step).max() < 1e-10:
            break
    return found if found[0] > 0 else flat


def _calibrated(rows: Rows, inside: Mask, recipe: Recipe, progress: Progress) -> Forest:
    """A forest of the rows `inside`, its calibration fitted on rows scored by forests that did not know them."""
    first, last = int(rows.t[inside].min()), int(rows.t[inside].max())
    edges = np.linspace(first, last + 1, FOLDS + 1).astype(np.int64).tolist()
    trees = max(1, round(recipe.trees * FOLD_TREES))
    raw = np.full(len(rows.t), np.nan)
    for fold, (low, high) in enumerate(pairwise(edges)):
        progress(fold / (FOLDS + 2), f"calibrating, {fold + 1} of {FOLDS}")
        held = inside & rows.beyond & (rows.t >= low) & (rows.t < high)
        others = inside & known(rows.t, low, high, recipe.label)
        if held.any() and others.sum() >= MIN_ROWS and 0 < rows.y[others].mean() < 1:
            raw[held] = fit(rows, others, recipe, trees).raw(rows.x[held])
    scored = np.isfinite(raw)
    _demand(rows.y[scored], "labelled rows to calibrate on")
    progress(FOLDS / (FOLDS + 2), f"fitting {recipe.trees} trees")
    return replace(fit(rows, inside, recipe, recipe.trees), platt=platt(raw[scored], rows.y[scored]))


def _metrics(forest: Forest, rows: Rows, test: Mask, ts: Ints, threshold: float) -> Figures:
    """Precision and recall at `threshold` beside the base rate, on the rows of the test; None where undefined."""
    probability, y = forest.score(rows.x[test]), rows.y[test]
    predicted = probability > threshold
    hits = int(y[predicted].sum())
    return {
        "test_from_ms": int(ts[rows.t[test].min()]),
        "test_until_ms": int(ts[rows.t[test].max()]),
        "test_rows": len(y),
        "base_rate": float(y.mean()),
        "threshold": threshold,
        "predicted": int(predicted.sum()),
        "precision": hits / int(predicted.sum()) if predicted.any() else None,
        "recall": hits / int(y.sum()),
        "auc": float(roc_auc_score(y, probability)),
        "brier": float(np.mean((probability - y) ** 2)),
    }


def _demand(y: NDArray[np.int8], what: str) -> None:
    """Raise UserError unless there are enough rows, of both classes."""
    if len(y) < MIN_ROWS:
        raise UserError(
            f"{len(y)} {what}: at least {MIN_ROWS} are needed; give more bars or assets, or a lower z_entry"
        )
    if y.min() == y.max():
        raise UserError(f"all {len(y)} {what} are {y[0]}: nothing to tell apart; give more bars or another --label")
