"""A planted market, a plain cluster model that materialises its windows, and parameters for quick trainings."""

import numpy as np
import torch
from torch import Tensor

from core.config.settings import ClusterTraining
from core.data.panel import Panel
from core.domain.market import Floats
from core.models.cluster.model import ClusterModel, Told
from core.models.cluster.rule import FLAT, GATE_SHARPNESS, OWN, WEIGHT

SMALL = ClusterTraining(n_clusters=4, window=20, epochs=6, patience=6, threshold=1.0)


def some_logs(bars: int = 300, assets: int = 9, seed: int = 3) -> Floats:
    """Log prices of two groups: listed late, missing for a while, without change for a while, and complete ones."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(bars, 2)).cumsum(axis=0)
    logs = 0.01 * (factor[:, rng.integers(0, 2, assets)] + rng.normal(size=(bars, assets))) + rng.normal(
        size=assets
    )
    logs[:70, 2] = np.nan
    logs[150:155, 4] = np.nan
    logs[100:140, 6] = logs[100, 6]
    return logs


def similarities(logs: Floats, directions: Floats) -> tuple[Floats, Floats, Floats]:
    """(R, N, K) cosines, (R, N) z and whether there is a feature: every window written out, in double precision."""
    k, window = directions.shape
    bars, n = logs.shape
    similar, z, known = np.zeros((bars, n, k)), np.zeros((bars, n)), np.zeros((bars, n), np.bool_)
    for t in range(window - 1, bars):
        for i in range(n):
            shape = logs[t - window + 1 : t + 1, i]
            if np.isfinite(shape).all() and shape.std(ddof=1) > FLAT:
                feature = (shape - shape.mean()) / shape.std(ddof=1)
                known[t, i], z[t, i] = True, feature[-1]
                similar[t, i] = directions @ feature / np.linalg.norm(feature)
    return similar, z, known


def plain(model: ClusterModel, logs: Tensor) -> Told:
    """The formulas of the specification in plain PyTorch on materialised windows of `logs` (R, N) without gaps."""
    window = model.centroids.shape[1]
    windows = logs.unfold(0, window, 1)
    feature = (windows - windows.mean(-1, keepdim=True)) / windows.std(-1, keepdim=True)
    z = feature[..., -1]
    similar = feature / feature.norm(dim=-1, keepdim=True) @ model.directions().t()
    sharpness = model.value("scaling_factor")
    gate = torch.sigmoid(GATE_SHARPNESS * (similar.amax(-1) - model.value("similarity_threshold")))
    share = torch.softmax(sharpness * similar / model.value("temp"), -1)
    weight, at = gate[..., None] * share, z[..., None]
    others = weight.sum(1, keepdim=True) - weight + OWN
    consensus = ((weight * at).sum(1, keepdim=True) - weight * at + OWN * at) / others
    residual = z - (share * consensus).sum(-1)
    far = residual.abs()
    band = torch.sigmoid(sharpness * (far - model.value("threshold"))) * torch.sigmoid(
        sharpness * (model.value("stop_threshold") - far)
    )
    signal = -torch.sign(residual) * band * gate
    return Told(z, gate, residual, signal, WEIGHT * signal)


def panel_of_logs(logs: Floats, bar_ms: int = 3_600_000) -> Panel:
    """A market with these closes; an asset without one does not trade."""
    close = np.exp(logs)
    grids = (close, close, close, close, np.where(np.isfinite(close), 1.0, 0.0))
    ts = np.arange(len(logs), dtype=np.int64) * bar_ms
    return Panel.of(ts, [f"A{i}" for i in range(logs.shape[1])], grids, bar_ms)
