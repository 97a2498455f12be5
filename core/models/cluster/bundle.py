"""A trained cluster model in a file: what scoring needs, and all that must be known to trust it. No torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from core.domain.errors import UserError
from core.domain.market import Floats
from core.models import stored
from core.models.cluster.rule import Clusters, State, run

FORMAT = 1
KIND = "cluster"
TRAIN = "cockpit train cluster"
GOLDEN = 4
"""Bars whose scores travel with the model."""
_SCALARS = Clusters._fields[1:]
_GOLDEN_TOLERANCE = 1e-9  # exp and log may differ in the last digits between processors


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says of itself.

    `recipe`: every parameter of the training (`core.config.settings.ClusterTraining`). `data_hash` is the content
    hash of the panel trained on, `manifest` that of its data set ("": a bare file), `source` its file or origin.
    `trained_from_ms` and `trained_until_ms` are open times of the first and the last bar of the training period,
    its validation segment included; `labels_until_ms` that of the last bar a return has seen. `curve`: (loss of the
    training, loss of the validation) before each epoch; the model is that of `best_epoch`. `metrics` are out of
    sample (empty: not judged); `libraries` the versions that fitted it.
    """

    kind: str
    format: int
    assets: tuple[str, ...]
    bar_ms: int
    recipe: dict[str, Any]
    data_hash: str
    manifest: str
    source: str
    trained_from_ms: int
    trained_until_ms: int
    labels_until_ms: int
    seed: int
    curve: tuple[tuple[float, float], ...]
    best_epoch: int
    metrics: dict[str, float | None]
    libraries: dict[str, str]


@dataclass(frozen=True, eq=False)
class ClusterBundle:
    """A loaded model; `ClusterScorer(bundle.model, assets, bar_ms)` scores with it, after `check_universe`.

    `hash` is the SHA-256 of the file."""

    model: Clusters
    meta: Meta
    hash: str
    path: Path


def save(folder: Path, meta: Meta, model: Clusters, golden: Floats) -> ClusterBundle:
    """Write `cluster-<hash>.safetensors` into `folder`, whole or not at all; golden (G, N) are closes, NaN where an
    asset did not trade, whose last `GOLDEN` bars' scores travel with the model. UserError: cannot be written."""
    arrays = {
        "centroids": np.ascontiguousarray(model.centroids, np.float64),
        "parameters": np.array(model[1:], np.float64),
        "golden_in": np.ascontiguousarray(golden, np.float64),
        "golden_out": _scores(model, golden),
    }
    path, name = stored.save(folder, KIND, meta, arrays)
    return ClusterBundle(model, meta, name, path)


def load(path: Path) -> ClusterBundle:
    """Read and check what `save` wrote, and warm it: the first call in a process takes most of a second.

    Raises UserError where the file is missing, broken, not ours, of another kind or format, changed since it was
    written, of another shape than its recipe says, or scores otherwise here than where it was trained."""
    found = stored.read(path, TRAIN)
    meta = found.meta(KIND, FORMAT, Meta)
    arrays = found.arrays
    bars = len(arrays["golden_in"]) if "golden_in" in arrays else 0
    assets, shape = len(meta.assets), (meta.recipe.get("n_clusters", 0), meta.recipe.get("window", 0))
    shapes: dict[str, tuple[int, ...]] = {
        "centroids": shape,
        "parameters": (len(_SCALARS),),
        "golden_in": (bars, assets),
    }
    found.check(shapes, {})
    model = Clusters(arrays["centroids"], *arrays["parameters"].tolist())
    scores = _scores(model, arrays["golden_in"])
    found.check({"golden_out": scores.shape}, {})
    if not np.allclose(scores, arrays["golden_out"], rtol=0.0, atol=_GOLDEN_TOLERANCE):
        off = float(np.max(np.abs(scores - arrays["golden_out"])))
        raise UserError(f"{path}: scores differ by {off:.2g} from those it was trained with; train again: {TRAIN}")
    return ClusterBundle(model, meta, found.hash, path)


def _scores(model: Clusters, close: Floats) -> Floats:
    """(GOLDEN, N, C) what the model says of the last bars of `close` (G, N)."""
    state = State.fresh(close.shape[1], model.centroids.shape[1])
    values, valid = np.empty((*close.shape, state.told.shape[1])), np.empty(close.shape, np.bool_)
    run(state, model, np.ascontiguousarray(close), np.isfinite(close), values, valid)
    return values[-GOLDEN:]
