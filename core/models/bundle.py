"""A bundle: a trained forest and all that must be known to trust it, in one file of `core.models.stored`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.clock import iso
from core.domain.errors import UserError
from core.domain.market import Floats
from core.models import stored
from core.models.forest import LEAVES, QUESTIONS, Forest

FORMAT = 1
KIND = "divergence-forest"
FEW = 12
"""Assets of a universe that is told in full."""
_DTYPES = {"feature": np.int32, "threshold": np.float32}  # all others are float64
_GOLDEN_TOLERANCE = 1e-9  # the walk is exact; exp and log may differ in the last digits between processors


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says of itself.

    `features` are the columns in order, `features_hash` their definitions. `label` is the rule of the labels
    (kind and parameters). `data_hash` is the content hash of the panel trained on, `source` its file or origin.
    `trained_from_ms` and `trained_until_ms` are open times of the first and the last bar of the training period;
    `labels_until_ms` the open time of the last bar that a label has seen. `metrics` are out of sample, with the
    base rate among rows beyond the entry threshold; `libraries` the versions that fitted it.
    """

    kind: str
    format: int
    features: tuple[str, ...]
    features_hash: str
    assets: tuple[str, ...]
    bar_ms: int
    label: dict[str, str | int | float]
    data_hash: str
    source: str
    trained_from_ms: int
    trained_until_ms: int
    labels_until_ms: int
    seed: int
    metrics: dict[str, float | None]
    libraries: dict[str, str]


@dataclass(frozen=True, eq=False)
class Bundle:
    """A loaded model: `score` all pairs of a bar in one call. `hash` is the SHA-256 of the file."""

    forest: Forest
    meta: Meta
    hash: str
    path: Path

    def score(self, features: Floats) -> Floats:
        """(P, F) features, columns in the order of `meta.features`, to (P,) calibrated probabilities.

        NaN for a row that is not all finite."""
        return self.forest.score(features)


class Known(Protocol):
    """What the meta of a model of any kind tells of the data that it knows, as in `Meta`."""

    @property
    def assets(self) -> tuple[str, ...]: ...
    @property
    def bar_ms(self) -> int: ...
    @property
    def trained_from_ms(self) -> int: ...
    @property
    def trained_until_ms(self) -> int: ...
    @property
    def labels_until_ms(self) -> int: ...


class AnyBundle(Protocol):
    """A loaded bundle of any kind."""

    @property
    def meta(self) -> Known: ...
    @property
    def path(self) -> Path: ...


def save(folder: Path, meta: Meta, forest: Forest, golden: Floats) -> Bundle:
    """Write `divergence-<hash>.safetensors` into `folder`, whole or not at all; golden (G, F) are rows of features
    whose scores travel with the model. Raises UserError where the folder cannot be written."""
    arrays: dict[str, NDArray[Any]] = {
        "feature": forest.feature,
        "threshold": forest.threshold,
        "leaf": forest.leaf,
        "platt": forest.platt,
        "golden_in": np.ascontiguousarray(golden, np.float64),
        "golden_out": forest.score(golden),
    }
    path, name = stored.save(folder, "divergence", meta, arrays)
    return Bundle(forest, meta, name, path)


def load(path: Path) -> Bundle:
    """Read and check what `save` wrote, and warm it: the first call in a process takes most of a second.

    Raises UserError where the file is missing, broken, not ours, of another kind, of a newer format, changed
    since it was written, or scores otherwise here than where it was trained."""
    found = stored.read(path)
    meta = found.meta(KIND, FORMAT, Meta)
    forest = _forest(found, len(meta.features))
    arrays = found.arrays
    golden = forest.score(arrays["golden_in"])
    if not np.allclose(golden, arrays["golden_out"], rtol=0.0, atol=_GOLDEN_TOLERANCE):
        off = float(np.max(np.abs(golden - arrays["golden_out"])))
        raise UserError(f"{path}: scores differ by {off:.2g} from those it was trained with; train again")
    return Bundle(forest, meta, found.hash, path)


def check_features(bundle: Bundle, names: Sequence[str], features_hash: str) -> None:
    """Raise UserError unless the bundle was trained on exactly these columns, in this order, so defined."""
    trained = bundle.meta.features
    way_out = f"{bundle.path.name} cannot score them; train again: cockpit train"
    for column, (had, has) in enumerate(zip(trained, names, strict=False)):
        if had != has:
            raise UserError(f"feature {column} is {has}, the model was trained with {had} there; {way_out}")
    if len(trained) != len(names):
        longer = trained if len(trained) > len(names) else names
        side = "only the model" if longer is trained else "the model lacks what"
        column = min(len(trained), len(names))
        raise UserError(f"feature {column}, {longer[column]}: {side} has it; {way_out}")
    if bundle.meta.features_hash != features_hash:
        had, has = bundle.meta.features_hash[:12], features_hash[:12]
        raise UserError(f"features are defined otherwise ({has}) than in training ({had}); {way_out}")


def check_universe(bundle: AnyBundle, assets: Sequence[str], bar_ms: int) -> None:
    """Raise UserError unless these are the assets, in this order, and the bars trained on: a pair's identity is a
    feature, and every window and the horizon are counted in bars."""
    meta = bundle.meta
    if meta.assets != tuple(assets):
        had, has = _unlike(meta.assets, tuple(assets))
        raise UserError(f"{bundle.path.name} was trained on {had}, not on {has}; train again: cockpit train")
    if meta.bar_ms != bar_ms:
        had, has = f"{meta.bar_ms // 60_000} minutes", f"{bar_ms // 60_000}"
        raise UserError(
            f"{bundle.path.name} was trained on bars of {had}, not of {has}; train again: cockpit train"
        )


def _unlike(had: tuple[str, ...], has: tuple[str, ...]) -> tuple[str, str]:
    """Two universes in words: whole where they are small, else by the first assets in which they differ."""
    if max(len(had), len(has)) <= FEW:
        return ", ".join(had), ", ".join(has)
    told = []
    for one, other in ((had, has), (has, had)):
        alone = [asset for asset in one if asset not in set(other)]
        first = f" ({', '.join(alone[:3])}{' ...' if len(alone) > 3 else ''} here alone)" if alone else ""
        told.append(f"{len(one)} assets{first}")
    return told[0], told[1] if set(had) != set(has) else f"the same {len(has)} in another order"


def refuse_if_seen(bundle: AnyBundle, first_traded_ms: int) -> None:
    """Raise UserError where the model has seen the bar stamped `first_traded_ms` (open time), or a later one: it
    would be judged on what it was taught."""
    seen = max(bundle.meta.trained_until_ms, bundle.meta.labels_until_ms)
    if seen >= first_traded_ms:
        raise UserError(
            f"{bundle.path.name} was trained on bars up to {iso(seen)}, but trading begins at"
            f" {iso(first_traded_ms)}: train on earlier bars (cockpit train --train-bars), or begin later"
        )


def _forest(found: stored.Stored, width: int) -> Forest:
    """The forest, after checking what the compiled walk relies on: shapes, and columns that exist."""
    arrays = found.arrays
    trees = len(arrays["feature"]) if "feature" in arrays else 0
    golden = len(arrays["golden_out"]) if "golden_out" in arrays else 0
    shapes = {
        "feature": (trees, QUESTIONS),
        "threshold": (trees, QUESTIONS),
        "leaf": (trees, LEAVES),
        "platt": (2,),
        "golden_in": (golden, width),
        "golden_out": (golden,),
    }
    found.check(shapes, _DTYPES)
    feature = arrays["feature"]
    if feature.min() < 0 or feature.max() >= width:
        raise UserError(
            f"{found.path}: a broken bundle (a tree asks for a column outside 0 .. {width - 1}); train again"
        )
    return Forest(feature, arrays["threshold"], arrays["leaf"], arrays["platt"])
