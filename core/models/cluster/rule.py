"""Which cluster an asset is near, what its cluster agrees on, and how far it strays: one compiled loop.

The feature of an asset is its last W log closes, standardised within that window. Cluster k is a centroid, a
direction among such shapes; the similarity of asset and cluster is the cosine between the two. Per bar:

    gate      = sigmoid(GATE_SHARPNESS (max_k similarity - similarity_threshold)): near no centroid, an outlier
    share_k   = softmax_k(scaling_factor similarity_k / temp)
    consensus = sum_k share_k (mean of z over the others, weighted by gate share_k)
    residual  = z - consensus
    signal    = -sign(residual) gate sigmoid(s (|residual| - threshold)) sigmoid(s (stop_threshold - |residual|))
    weight    = WEIGHT signal, with s the scaling_factor

where z is the last value of the feature. An asset is no part of its own consensus, but for a weight of `OWN`:
where a cluster has no other member, nothing disagrees with the asset, and its residual is zero.

A bar at which no asset trades (a closed exchange, an outage) is none: windows are counted in bars of the market.
An asset that is silent alone repeats its last close, for `STALE` bars at most; then its price is unknown, and a
window with an unknown price, or without any change, is no feature: gate, signal and weight are zero.
"""

from typing import NamedTuple

import numpy as np

from core.data.panel import Ints
from core.domain.market import Floats
from core.features.pair_loop import Flags
from core.jit import jit

NAMES = ("z", "similarity", "cluster", "gate", "consensus", "residual", "signal", "weight")
GATE_SHARPNESS = 20.0
WEIGHT = 0.1
OWN = 0.01
STALE = 3
FLAT = 1e-9
"""A deviation of log prices below this is that of rounding: the price has not changed."""


class Clusters(NamedTuple):
    """A trained model: `centroids` (K, W), each of sum zero and length one, oldest bar first; the rest as in the
    formulas above. All that scoring needs, on whatever assets."""

    centroids: Floats
    threshold: float
    stop_threshold: float
    similarity_threshold: float
    temp: float
    scaling_factor: float


class State(NamedTuple):
    """All that is remembered between bars: finite windows alone. `logs` (W, N) is a ring of log closes, NaN where
    unknown; a bar's row is `seen` modulo W. `last` (N,) log close and `age` (N,) bars since. `told` (N, C) is what
    was said at the last bar of the market."""

    seen: Ints
    logs: Floats
    last: Floats
    age: Ints
    told: Floats

    @classmethod
    def fresh(cls, n: int, window: int) -> "State":
        """The state before the first bar: no price is known."""
        told = np.zeros((n, len(NAMES)))
        told[:, NAMES.index("cluster")] = -1.0
        logs = np.full((window, n), np.nan)
        return cls(np.zeros(1, np.int64), logs, np.full(n, np.nan), np.zeros(n, np.int64), told)


@jit
def run(state: State, model: Clusters, close: Floats, traded: Flags, values: Floats, valid: Flags) -> None:
    """Feed T bars, `close` and `traded` (T, N), and write their rows of `values` (T, N, C), columns in the order of
    NAMES, and `valid` (T, N): the asset has a feature, and the market is open."""
    clusters, window = model.centroids.shape
    n = close.shape[1]
    z, std, known = np.empty(n), np.empty(n), np.empty(n, np.bool_)
    similar, share = np.empty((clusters, n)), np.empty((clusters, n))
    for t in range(close.shape[0]):
        if not traded[t].any():
            values[t] = state.told
            valid[t] = False
            continue
        seen = state.seen[0]
        feed(close[t], traded[t], state.last, state.age, state.logs[seen % window])
        state.seen[0] = seen + 1
        standing(state.logs, seen, window, z, std, known)
        _compare(state.logs, seen, model.centroids, z, std, known, similar)
        weigh(model, z, known, similar, share, values[t])
        state.told[:] = values[t]
        valid[t] = known


@jit
def feed(close: Floats, traded: Flags, last: Floats, age: Ints, row: Floats) -> None:
    """One bar of the market: the log price of each asset as it is known at its close, NaN where it is not."""
    for i in range(close.shape[0]):
        if traded[i]:
            last[i] = np.log(close[i])
            age[i] = 0
        else:
            age[i] += 1
        row[i] = last[i] if age[i] <= STALE else np.nan


@jit
def standing(logs: Floats, seen: int, window: int, z: Floats, std: Floats, known: Flags) -> None:
    """How far each asset stands from the `window` log prices that end with bar `seen` of the ring `logs`: z, their
    deviation (ddof 1), and whether that is a feature; else z is 0 and the deviation 1."""
    rows, n = logs.shape
    z[:] = 0.0
    std[:] = 0.0
    first = (seen - window + 1) % rows
    anchor = logs[seen % rows]
    at = first
    for _ in range(window):
        for i in range(n):
            z[i] += logs[at, i] - anchor[i]
        at = at + 1 if at + 1 < rows else 0
    for i in range(n):
        z[i] /= -window  # the anchor is the last price: minus the mean's distance from it
    at = first
    for _ in range(window):
        for i in range(n):
            off = logs[at, i] - anchor[i] + z[i]
            std[i] += off * off
        at = at + 1 if at + 1 < rows else 0
    for i in range(n):
        std[i] = np.sqrt(std[i] / (window - 1))
        known[i] = std[i] > FLAT
        if known[i]:
            z[i] /= std[i]
        else:
            z[i], std[i] = 0.0, 1.0


@jit
def _compare(
    logs: Floats, seen: int, centroids: Floats, z: Floats, std: Floats, known: Flags, similar: Floats
) -> None:
    """(K, N) cosines of features and centroids, which are centred: the window's mean drops out of the product."""
    clusters, window = centroids.shape
    n = logs.shape[1]
    off = np.empty(n)
    anchor = logs[seen % window]
    similar[:] = 0.0
    at = (seen + 1) % window
    for w in range(window):
        for i in range(n):
            off[i] = logs[at, i] - anchor[i]
        for k in range(clusters):
            c, row = centroids[k, w], similar[k]
            for i in range(n):
                row[i] += off[i] * c
        at = at + 1 if at + 1 < window else 0
    for i in range(n):
        scale = 1.0 / (std[i] * np.sqrt(window - 1.0))
        for k in range(clusters):
            similar[k, i] = similar[k, i] * scale if known[i] else 0.0


@jit
def weigh(model: Clusters, z: Floats, known: Flags, similar: Floats, share: Floats, out: Floats) -> None:
    """Shares, consensus, signal and weight of each asset: a row of `out` (N, C)."""
    clusters, n = similar.shape
    sharpness = model.scaling_factor
    mass, pull = np.zeros(clusters), np.zeros(clusters)
    for i in range(n):
        best = 0
        for k in range(1, clusters):
            if similar[k, i] > similar[best, i]:
                best = k
        nearest, total = similar[best, i], 0.0
        for k in range(clusters):
            share[k, i] = np.exp(sharpness / model.temp * (similar[k, i] - nearest))
            total += share[k, i]
        gate = _sigmoid(GATE_SHARPNESS * (nearest - model.similarity_threshold)) if known[i] else 0.0
        for k in range(clusters):
            share[k, i] /= total
            mass[k] += gate * share[k, i]
            pull[k] += gate * share[k, i] * z[i]
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = z[i], nearest, best if known[i] else -1, gate
    for i in range(n):
        gate, residual = out[i, 3], 0.0
        for k in range(clusters):
            others = mass[k] - gate * share[k, i] + OWN
            residual += share[k, i] * (mass[k] * z[i] - pull[k]) / others
        if not known[i]:
            residual = 0.0
        far = abs(residual)
        band = _sigmoid(sharpness * (far - model.threshold)) * _sigmoid(sharpness * (model.stop_threshold - far))
        signal = -np.sign(residual) * band * gate
        out[i, 4], out[i, 5], out[i, 6], out[i, 7] = z[i] - residual, residual, signal, WEIGHT * signal


@jit
def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + float(np.exp(-x)))
