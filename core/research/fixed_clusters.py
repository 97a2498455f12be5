"""What a learned clustering must beat: clusters drawn once from the correlations of the past.

The fixed clusters trade by the very rule of `core.models.cluster.rule`, with the same thresholds as learning starts
from, but an asset belongs to one cluster, whatever its last window looks like, and its gate never closes.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import AgglomerativeClustering, KMeans

from core.backtest.weights import Wishes
from core.config.settings import ClusterTraining
from core.data.panel import Panel
from core.domain.market import Floats
from core.features.pair_loop import Flags
from core.jit import jit
from core.models.cluster.rule import NAMES, Clusters, weigh
from core.models.cluster.windows import market, standings

SHARP = 50.0
"""Scaling over temperature at which a share of another cluster is nothing: exp(-50)."""
RESTARTS = 3

Labels = NDArray[np.int64]


def correlations(panel: Panel) -> Floats:
    """(N, N) of log returns per bar of the market, 0 where two were hardly ever known together."""
    logs = market(panel).logs
    steps = np.diff(logs, axis=0)
    there = np.isfinite(steps)
    both = there.T.astype(np.float64) @ there
    off = np.where(there, steps - np.nanmean(np.where(there, steps, np.nan), axis=0), 0.0)
    scale = np.sqrt((off**2).sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = off.T @ off / np.outer(scale, scale)
    found = np.where((both >= 3) & np.isfinite(found), found, 0.0)
    np.fill_diagonal(found, 1.0)
    return np.asarray(np.clip(found, -1.0, 1.0))


def by_kmeans(panel: Panel, clusters: int, seed: int) -> Labels:
    """(N,) cluster of each asset: k-means (MacQueen 1967) of the rows of the correlation matrix."""
    found = KMeans(min(clusters, len(panel.assets)), n_init=RESTARTS, random_state=seed).fit(correlations(panel))
    return np.asarray(found.labels_, np.int64)


def by_threshold(panel: Panel, least: float) -> Labels:
    """(N,) cluster of each asset: joined while the mean correlation of two clusters is at least `least` (average
    linkage, Sokal and Michener 1958)."""
    if len(panel.assets) < 2:
        return np.zeros(len(panel.assets), np.int64)
    rule = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage="average", distance_threshold=max(1.0 - least, 0.0)
    )
    return np.asarray(rule.fit(1.0 - correlations(panel)).labels_, np.int64)


def fixed_wishes(panel: Panel, labels: Labels, recipe: ClusterTraining) -> Wishes:
    """What the rule decides at the close of each bar of `panel` with assets held to `labels`, (T, N) each. Its
    first `recipe.window` bars only fill the window; where no asset trades, nothing is usable."""
    model = Clusters(
        np.empty((0, recipe.window)), recipe.threshold, recipe.stop_threshold, 0.0, recipe.scaling_factor / SHARP,
        recipe.scaling_factor,
    )  # fmt: skip
    found = market(panel)
    z, std, known = (np.empty(found.logs.shape, kind) for kind in (float, float, np.bool_))
    standings(found.logs, recipe.window, z, std, known)
    # An asset alone in its cluster has nobody to stray from: it is near none.
    shared = np.flatnonzero(np.bincount(labels, minlength=2) > 1)
    similar = np.where((shared if len(shared) else np.array([-1]))[:, None] == labels, 1.0, -1.0)
    told = np.empty((*z.shape, len(NAMES)))
    _decide(model, z, known, similar, told)
    usable = np.zeros(panel.close.shape, np.bool_)
    usable[found.rows] = known

    def column(name: str) -> Floats:
        grid = np.zeros(panel.close.shape)
        grid[found.rows] = told[:, :, NAMES.index(name)]
        return grid

    return Wishes(column("weight"), column("gate"), usable, column("residual"), column("signal"))


@jit
def _decide(model: Clusters, z: Floats, known: Flags, similar: Floats, told: Floats) -> None:
    """Fill `told` (R, N, C), columns in the order of NAMES, bar by bar."""
    share = np.empty_like(similar)
    for t in range(z.shape[0]):
        weigh(model, z[t], known[t], similar, share, told[t])
