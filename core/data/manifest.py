"""Data sets of the lake: checked candles in one form, and a manifest that proves they are still the same.

A data set is a folder `lake/NAME`: `candles.parquet` (timestamp UTC ms, asset, open, high, low, close, volume),
`funding.parquet` if rates were given (timestamp, asset, funding_rate, and funding_interval_hours if known), and
`manifest.json`. It appears whole or not at all: written beside its place, synced, then renamed into it.
"""

import hashlib
import os
import platform
import re
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet

from core.clock import random_name, wall_ms
from core.data.importer import BARS_MS, OHLCV, PERIODS, RATES, load_panel, panel_of, read_candles, read_rates
from core.data.panel import Panel
from core.data.tables import Rows
from core.domain.errors import UserError

CANDLES, FUNDING, MANIFEST = "candles.parquet", "funding.parquet", "manifest.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LIBRARIES = ("numpy", "pyarrow")
VERSION = 1


class Manifest(msgspec.Struct, frozen=True):
    """What a data set holds and where it came from. `first_ms` and `last_ms`: open times of its bars.

    `files` are the SHA-256 of the files beside the manifest, `sources` the names of the imported files, `content`
    the content hash of the Panel of all assets, `notes` what the import mended."""

    version: int
    name: str
    imported_ms: int
    bar: str
    assets: tuple[str, ...]
    first_ms: int
    last_ms: int
    bars: int
    rows: int
    funding_rows: int
    content: str
    files: dict[str, str]
    sources: dict[str, str]
    libraries: dict[str, str]
    notes: tuple[str, ...]


def import_dataset(
    lake: Path, name: str, file: Path, funding: Path | None = None, *, replace: bool = False
) -> Manifest:
    """Check `file` (and `funding`), and keep them in the lake as `name`. An existing data set of that name stays
    as it is and is a UserError, unless `replace`: then the new one, once complete, takes its place."""
    place = lake / _checked(name)
    if place.exists() and not replace:
        raise _taken(place)
    candles, bar_ms = read_candles(file)
    rates = read_rates(funding, candles) if funding else None
    panel = panel_of(candles, bar_ms, rates)
    draft = lake / f".{name}.{random_name()}"
    try:
        draft.mkdir(mode=0o700, parents=True)
        files = {CANDLES: _write(draft / CANDLES, candles, {column: column for column in OHLCV})}
        if rates is not None:
            files[FUNDING] = _write(draft / FUNDING, rates, {"rate": RATES[0], "hours": PERIODS[0]})
        sources = {"candles": file.name} | ({"funding": funding.name} if funding else {})
        manifest = _manifest(name, panel, (candles, rates), files, sources)
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        (draft / MANIFEST).write_bytes(text + b"\n")
        for path in (draft / MANIFEST, draft):
            _sync(path)
        _publish(draft, place, replace)
    except OSError as error:
        raise UserError(f"{place}: cannot be written: {error.strerror}; choose another home") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return manifest


def read_manifest(lake: Path, name: str) -> Manifest:
    """The manifest of a data set; one that is missing or broken is a UserError."""
    path = lake / _checked(name) / MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        there = ", ".join(names(lake)) or "none yet"
        raise UserError(
            f"{name}: no such file and no such data set; the lake has: {there}. Make one: cockpit data import FILE"
        ) from None
    except (OSError, msgspec.MsgspecError) as error:
        raise UserError(f"{path}: not a manifest ({error}): import the data again with --replace") from error
    if manifest.version != VERSION:
        raise UserError(
            f"{path}: of version {manifest.version}, not {VERSION}: import the data again with --replace"
        )
    return manifest


def open_dataset(lake: Path, name: str, assets: Sequence[str] | None = None, bar: str | None = None) -> Panel:
    """The Panel of a data set, after every file was found to be what its manifest says. `assets` and `bar` as in
    `load_panel`."""
    folder = verified(lake, name)
    funding = folder / FUNDING
    return load_panel(folder / CANDLES, funding if funding.exists() else None, assets, bar)


def verified(lake: Path, name: str) -> Path:
    """The folder of a data set, its files compared with their hashes. A difference is a UserError."""
    manifest = read_manifest(lake, name)
    folder = lake / name
    mend = "import the data again with --replace"
    for file in (CANDLES, FUNDING):
        path, expected = folder / file, manifest.files.get(file)
        if path.exists() != (expected is not None):
            found = "is missing" if expected else "is not in the manifest"
            raise UserError(f"{path}: {found}: {mend}")
        if expected is not None and (found := _hash(path)) != expected:
            raise UserError(f"{path}: SHA-256 is {found[:12]}.., but the manifest says {expected[:12]}..: {mend}")
    return folder


def names(lake: Path) -> tuple[str, ...]:
    """The data sets of the lake, by name."""
    return tuple(sorted(path.parent.name for path in lake.glob(f"[!.]*/{MANIFEST}")))


def open_panel(
    source: str | Path,
    lake: Path,
    funding: Path | None = None,
    assets: Sequence[str] | None = None,
    bar: str | None = None,
) -> Panel:
    """What `--data NAME|FILE` means: the file of that path, else the data set of that name. `funding` goes with a
    file; a data set has its own."""
    if Path(source).is_file() or not NAME.fullmatch(str(source)):
        return load_panel(Path(source), funding, assets, bar)
    if funding is not None:
        raise UserError(f"{source} is a data set, which has its own funding: leave --funding {funding} away")
    return open_dataset(lake, str(source), assets, bar)


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise UserError(f"--name {name!r}: letters, digits, and . _ - after the first, at most 64", code=2)
    return name


def _taken(place: Path) -> UserError:
    return UserError(f"data set {place.name} exists: choose another --name, or --replace it")


def _manifest(
    name: str, panel: Panel, tables: tuple[Rows, Rows | None], files: dict[str, str], sources: dict[str, str]
) -> Manifest:
    candles, rates = tables
    return Manifest(
        version=VERSION,
        name=name,
        imported_ms=wall_ms(),
        bar=next(bar for bar, length in BARS_MS.items() if length == panel.bar_ms),
        assets=panel.assets,
        first_ms=int(panel.ts[0]),
        last_ms=int(panel.ts[-1]),
        bars=len(panel),
        rows=len(candles.ts),
        funding_rows=0 if rates is None else len(rates.ts),
        content=panel.content_hash,
        files=files,
        sources=sources,
        libraries={"python": platform.python_version()} | {library: version(library) for library in LIBRARIES},
        notes=panel.notes,
    )


def _write(path: Path, rows: Rows, names: dict[str, str]) -> str:
    """Write and sync rows as Parquet, columns by their names in the lake; return the file's hash."""
    columns = {
        "timestamp": pa.array(rows.ts, pa.timestamp("ms", "UTC")),
        "asset": pa.array(np.array(rows.assets, np.str_)[rows.asset]),
    }
    columns |= {named: pa.array(rows.columns[name]) for name, named in names.items() if name in rows.columns}
    pyarrow.parquet.write_table(pa.table(columns), path, compression="zstd")
    _sync(path)
    return _hash(path)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Force a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _publish(draft: Path, place: Path, replace: bool) -> None:
    """Rename the finished draft into its place. What stood there is put aside before and thrown away after; if
    the renaming fails it is put back."""
    aside = draft.with_name(f"{draft.name}.old")
    if replace and place.exists():
        place.rename(aside)
    try:
        draft.rename(place)
    except OSError:
        if aside.exists():
            aside.rename(place)
        elif place.exists():
            raise _taken(place) from None
        raise
    _sync(place.parent)
    shutil.rmtree(aside, ignore_errors=True)
