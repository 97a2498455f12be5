"""What a data set of the lake is made of, and the one hash by which a run says what it was fed with."""

import hashlib
import platform
import re
from collections.abc import Iterable
from importlib.metadata import version

import msgspec

from core.domain.errors import UserError

VERSION = 2
MANIFEST, SNAPSHOTS = "manifest.json", "snapshots"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LIBRARIES = ("numpy", "pyarrow")
AGAIN = "import the data again with --replace"


class Part(msgspec.Struct, frozen=True):
    """A Parquet file with the rows of one asset from `first_ms` to `last_ms`: `table` candles or funding; `path`
    below the data set's folder. The parts of an asset's table never overlap in time."""

    table: str
    asset: str
    path: str
    rows: int
    first_ms: int
    last_ms: int
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """A data set as it stands. Only what `parts` names belongs to it, whatever else lies in its folder.

    `venue` whose prices these are ("": nobody said). `first_ms` and `last_ms`: open times of its bars, `bars` so
    many from one to the other. `created_ms`, `changed_ms`: when the first and the latest rows came. `sources`:
    files they came from, with their SHA-256. `libraries`: versions that wrote it last. `notes`: what was mended.
    """

    version: int
    name: str
    venue: str
    bar: str
    assets: tuple[str, ...]
    first_ms: int
    last_ms: int
    bars: int
    rows: int
    funding_rows: int
    created_ms: int
    changed_ms: int
    sources: dict[str, str]
    libraries: dict[str, str]
    notes: tuple[str, ...]
    hash: str
    parts: tuple[Part, ...]

    def of(self, table: str, asset: str) -> list[Part]:
        """The parts of one asset's table, by time."""
        return [part for part in self.parts if part.table == table and part.asset == asset]


def manifest_hash(venue: str, bar: str, parts: Iterable[Part]) -> str:
    """SHA-256 over what the data are: venue, bar, and of each part its table, asset, span and hash. Names, times
    and versions are left out: the same data imported again have the same hash."""
    said = [[part.table, part.asset, part.rows, part.first_ms, part.last_ms, part.sha256] for part in parts]
    return hashlib.sha256(msgspec.json.encode([VERSION, venue, bar, said])).hexdigest()


def libraries() -> dict[str, str]:
    """The versions of what reads and writes the lake."""
    return {"python": platform.python_version()} | {library: version(library) for library in LIBRARIES}


def encode(manifest: Manifest) -> bytes:
    """As it lies in the lake: JSON that people and other programs can read too."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode(place: str, data: bytes) -> Manifest:
    """The manifest in `data`, read from `place`. UserError: broken, of another version, or changed by hand."""
    try:
        found = msgspec.json.decode(data, type=_Version).version
        if found != VERSION:
            raise UserError(f"{place}: of version {found}, not {VERSION}: {AGAIN}")
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise UserError(f"{place}: not a manifest ({error}): {AGAIN}") from None
    expected = manifest_hash(manifest.venue, manifest.bar, manifest.parts)
    if manifest.hash != expected:
        raise UserError(f"{place}: says its hash is {manifest.hash}, but its parts give {expected}: {AGAIN}")
    return manifest


def checked(reference: str) -> tuple[str, str]:
    """(name, label) of `NAME` or `NAME@LABEL`, a snapshot; the label is "" where none is meant."""
    name, at, label = reference.partition("@")
    for word in (name, *([label] if at else [])):
        if not NAME.fullmatch(word):
            raise UserError(f"--name {reference!r}: letters, digits, and . _ - after the first, at most 64", code=2)
    return name, label


def is_reference(text: str) -> bool:
    """Whether `text` can be the name of a data set or of a snapshot."""
    name, at, label = text.partition("@")
    return NAME.fullmatch(name) is not None and (not at or NAME.fullmatch(label) is not None)


class _Version(msgspec.Struct):
    version: int
