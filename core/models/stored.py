"""How every model lies on disk: arrays and JSON in one .safetensors file, written whole or not at all.

No pickle: loading runs no code of the file's. Nothing in it comes from the clock, and the same data, seed and
libraries give the same bytes, so the SHA-256 of the file is the model's name.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as unpacked
from safetensors.numpy import save as packed

from core.data.files import write_whole
from core.domain.errors import UserError

Arrays = Mapping[str, NDArray[Any]]
M = TypeVar("M", bound=msgspec.Struct)
_KEY = "cockpit-bundle"  # one metadata key: with several, safetensors would write them in any order


@dataclass(frozen=True, eq=False)
class Stored:
    """A file as it was read: `said` is the meta, unchecked; `intact`: arrays and meta are what was written;
    `hash` is the SHA-256 of the file; `train` the command that makes another."""

    path: Path
    arrays: Arrays
    said: dict[str, Any]
    intact: bool
    hash: str
    train: str

    def meta(self, kind: str, form: int, model: type[M]) -> M:
        """What the file says of itself; UserError where it is of another kind or format, changed or broken.

        Kind and format are read first: the rest may look otherwise in a bundle of another time."""
        if self.said.get("kind") != kind:
            raise UserError(f"{self.path}: holds a model of kind {self.said.get('kind')!r}, wanted is {kind!r}")
        if (found := self.said.get("format")) != form:
            raise UserError(
                f"{self.path}: bundle format {found!r}, this version reads {form}: upgrade, or train again"
            )
        try:
            meta = msgspec.convert(self.said, model)
        except msgspec.ValidationError as error:
            raise UserError(f"{self.path}: a broken bundle ({error}); train again") from None
        if not self.intact:
            raise UserError(f"{self.path}: its content is not what was written; train again")
        return meta

    def check(self, shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, Any]) -> None:
        """UserError unless the arrays are there, of these shapes, none empty; `dtypes` where not float64."""
        for name, shape in shapes.items():
            array = self.arrays.get(name, np.empty(0))
            if 0 in shape or array.shape != shape or array.dtype != dtypes.get(name, np.float64):
                found = f"{array.dtype} {array.shape}" if name in self.arrays else "nothing"
                raise UserError(f"{self.path}: a broken bundle ({name}: {found}, wanted {shape}); train again")


def save(folder: Path, stem: str, meta: msgspec.Struct, arrays: Arrays) -> tuple[Path, str]:
    """Write `STEM-HASH.safetensors` into `folder`; its path and SHA-256. UserError: it cannot be written."""
    content = encoded(meta, arrays)
    name = hashlib.sha256(content).hexdigest()
    path = folder / f"{stem}-{name[:12]}.safetensors"
    put(path, content)
    return path, name


def put(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, making its folder. UserError: it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; choose another folder") from None


def encoded(meta: msgspec.Struct, arrays: Arrays) -> bytes:
    """A file's content."""
    said = msgspec.to_builtins(meta)
    stamp = msgspec.json.encode({"meta": said, "digest": digest(said, arrays)}, order="sorted")
    return bytes(packed(dict(arrays), {_KEY: stamp.decode()}))


def read(path: Path, train: str = "cockpit train") -> Stored:
    """A file that `save` or `put` wrote. UserError: missing, broken, or of another origin."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; train a model: {train}") from None
    arrays, stamp = _unpack(path, content, train)
    said = stamp.get("meta")
    said = said if isinstance(said, dict) else {}
    intact = stamp.get("digest") == digest(said, arrays)
    return Stored(path, arrays, said, intact, hashlib.sha256(content).hexdigest(), train)


def digest(said: Any, arrays: Arrays) -> str:
    """SHA-256 of meta and arrays, by which a file is known to be what was written."""
    found = hashlib.sha256(msgspec.json.encode(said, order="sorted"))
    for name in sorted(arrays):
        found.update(f"{name}{arrays[name].dtype.str}{arrays[name].shape}".encode())
        found.update(arrays[name].tobytes())
    return found.hexdigest()


def _unpack(path: Path, content: bytes, train: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays and our stamp; a file of another origin, or one that is cut short, is a UserError."""
    try:
        arrays = {name: array.copy() for name, array in unpacked(content).items()}
        size = int.from_bytes(content[:8], "little")
        header = msgspec.json.decode(content[8 : 8 + size], type=dict[str, Any])
    except (SafetensorError, msgspec.MsgspecError, ValueError, KeyError) as error:
        raise UserError(f"{path}: not a model bundle, or a broken one ({error}); train again") from None
    text = header.get("__metadata__", {}).get(_KEY)
    if text is None:
        raise UserError(f"{path}: a safetensors file, but not a bundle of cockpit; train one: {train}")
    try:
        return arrays, msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise UserError(f"{path}: a broken bundle ({error}); train again") from None
