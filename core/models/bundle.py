"""A bundle: a trained forest and all that must be known to trust it, in one .safetensors file.

Arrays and JSON, no pickle: loading runs no code of the file's. Nothing in it comes from the clock, and the same
data, seed and libraries give the same bytes, so the SHA-256 of the file is the model's name.
"""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as unpacked
from safetensors.numpy import save as packed

from core.clock import iso
from core.domain.errors import UserError
from core.domain.market import Floats
from core.models.forest import LEAVES, QUESTIONS, Forest

FORMAT = 1
KIND = "divergence-forest"
_KEY = "cockpit-bundle"  # one metadata key: with several, safetensors would write them in any order
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
    said = msgspec.to_builtins(meta)
    stamp = msgspec.json.encode({"meta": said, "digest": _digest(said, arrays)}, order="sorted")
    content = packed(arrays, {_KEY: stamp.decode()})
    name = hashlib.sha256(content).hexdigest()
    path = folder / f"divergence-{name[:12]}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, content)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; choose another folder") from None
    return Bundle(forest, meta, name, path)


def load(path: Path) -> Bundle:
    """Read and check what `save` wrote, and warm it: the first call in a process takes most of a second.

    Raises UserError where the file is missing, broken, not ours, of another kind, of a newer format, changed
    since it was written, or scores otherwise here than where it was trained."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; train a model: cockpit train") from None
    arrays, stamp = _unpack(path, content)
    meta = _meta(path, stamp)
    if stamp.get("digest") != _digest(stamp["meta"], arrays):
        raise UserError(f"{path}: its content is not what was written; train again")
    forest = _forest(path, arrays, len(meta.features))
    golden = forest.score(arrays["golden_in"])
    if not np.allclose(golden, arrays["golden_out"], rtol=0.0, atol=_GOLDEN_TOLERANCE):
        off = float(np.max(np.abs(golden - arrays["golden_out"])))
        raise UserError(f"{path}: scores differ by {off:.2g} from those it was trained with; train again")
    return Bundle(forest, meta, hashlib.sha256(content).hexdigest(), path)


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


def check_universe(bundle: Bundle, assets: Sequence[str], bar_ms: int) -> None:
    """Raise UserError unless these are the assets, in this order, and the bars trained on: a pair's identity is a
    feature, and every window and the horizon are counted in bars."""
    meta = bundle.meta
    if meta.assets != tuple(assets):
        had, has = ", ".join(meta.assets), ", ".join(assets)
        raise UserError(f"{bundle.path.name} was trained on {had}, not on {has}; train again: cockpit train")
    if meta.bar_ms != bar_ms:
        had, has = f"{meta.bar_ms // 60_000} minutes", f"{bar_ms // 60_000}"
        raise UserError(
            f"{bundle.path.name} was trained on bars of {had}, not of {has}; train again: cockpit train"
        )


def refuse_if_seen(bundle: Bundle, first_traded_ms: int) -> None:
    """Raise UserError where the model has seen the bar stamped `first_traded_ms` (open time), or a later one: it
    would be judged on what it was taught."""
    seen = max(bundle.meta.trained_until_ms, bundle.meta.labels_until_ms)
    if seen >= first_traded_ms:
        raise UserError(
            f"{bundle.path.name} was trained on bars up to {iso(seen)}, but trading begins at"
            f" {iso(first_traded_ms)}: train on earlier bars (cockpit train --train-bars), or begin later"
        )


def _digest(said: Any, arrays: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(msgspec.json.encode(said, order="sorted"))
    for name in sorted(arrays):
        digest.update(f"{name}{arrays[name].dtype.str}{arrays[name].shape}".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, also through a crash: a temporary file beside it, synced, then renamed."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _unpack(path: Path, content: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays and our stamp; a file of another origin, or one that is cut short, is a UserError."""
    try:
        arrays = {name: array.copy() for name, array in unpacked(content).items()}
        size = int.from_bytes(content[:8], "little")
        header = msgspec.json.decode(content[8 : 8 + size], type=dict[str, Any])
    except (SafetensorError, msgspec.MsgspecError, ValueError, KeyError) as error:
        raise UserError(f"{path}: not a model bundle, or a broken one ({error}); train again") from None
    text = header.get("__metadata__", {}).get(_KEY)
    if text is None:
        raise UserError(f"{path}: a safetensors file, but not a bundle of cockpit; train one: cockpit train")
    try:
        return arrays, msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise UserError(f"{path}: a broken bundle ({error}); train again") from None


def _meta(path: Path, stamp: dict[str, Any]) -> Meta:
    """Kind and format are read first: the rest may look otherwise in a bundle of another time."""
    said = stamp.get("meta")
    said = said if isinstance(said, dict) else {}
    if said.get("kind") != KIND:
        raise UserError(f"{path}: holds a model of kind {said.get('kind')!r}, wanted is {KIND!r}")
    if said.get("format") != FORMAT:
        raise UserError(
            f"{path}: bundle format {said.get('format')!r}, this version reads {FORMAT}: upgrade, or train again"
        )
    try:
        return msgspec.convert(said, Meta)
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: a broken bundle ({error}); train again") from None


def _forest(path: Path, arrays: dict[str, NDArray[Any]], width: int) -> Forest:
    """The forest, after checking what the compiled walk relies on: shapes, and columns that exist."""
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
    for name, shape in shapes.items():
        array = arrays.get(name, np.empty(0))
        if 0 in shape or array.shape != shape or array.dtype != _DTYPES.get(name, np.float64):
            found = f"{array.dtype} {array.shape}" if name in arrays else "nothing"
            raise UserError(f"{path}: a broken bundle ({name}: {found}, wanted {shape}); train again")
    feature = arrays["feature"]
    if feature.min() < 0 or feature.max() >= width:
        raise UserError(f"{path}: a broken bundle (a tree asks for a column outside 0 .. {width - 1}); train again")
    return Forest(feature, arrays["threshold"], arrays["leaf"], arrays["platt"])
