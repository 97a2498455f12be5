"""A cluster bundle without a training: centroids drawn at random, thresholds at which it trades often."""

from pathlib import Path

import numpy as np

from core.config.settings import ClusterTraining
from core.data.panel import Panel
from core.models.cluster.bundle import FORMAT, KIND, ClusterBundle, Meta, save
from core.models.cluster.rule import Clusters
from core.strategies.cluster import ClusterFeatures
from core.strategies.params import ClusterParams
from core.strategies.registry import served, strategy
from core.trader import Trader
from tests.backtest.tapes import LIMITS, replay


def made_model(seed: int = 3, clusters: int = 3, window: int = 24) -> Clusters:
    shapes = np.random.default_rng(seed).standard_normal((clusters, window)).cumsum(axis=1)
    shapes -= shapes.mean(axis=1, keepdims=True)
    shapes /= np.linalg.norm(shapes, axis=1, keepdims=True)
    return Clusters(shapes, 0.6, 3.0, 0.2, 1.0, 5.0)


def made_bundle(folder: Path, panel: Panel, bars: int, model: Clusters | None = None) -> ClusterBundle:
    """One that says it was trained on the first `bars` of `panel`."""
    model = made_model() if model is None else model
    recipe = ClusterTraining(n_clusters=len(model.centroids), window=model.centroids.shape[1])
    meta = Meta(
        kind=KIND,
        format=FORMAT,
        assets=panel.assets,
        bar_ms=panel.bar_ms,
        recipe=recipe.model_dump(),
        data_hash=panel.content_hash,
        manifest="",
        source="made",
        trained_from_ms=int(panel.ts[0]),
        trained_until_ms=int(panel.ts[bars - 1]),
        labels_until_ms=int(panel.ts[bars - 1]),
        seed=0,
        curve=((0.0, 0.0),),
        best_epoch=0,
        metrics={},
        libraries={},
    )
    return save(folder, meta, model, panel.close[:bars][-60:])


def cluster_trader(bundle: ClusterBundle, panel: Panel, params: ClusterParams) -> Trader:
    """The live trader on the universe of `panel`."""
    features = ClusterFeatures(bundle, panel.assets, panel.bar_ms)
    specs = {spec.id: spec for spec in replay(panel, 1).instruments}
    return Trader(served(strategy("cluster"), bundle), params, features, None, specs, LIMITS)
