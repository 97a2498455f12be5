"""The lake: data sets as partitioned Parquet, at a path or an fsspec URL, proven unchanged whenever they are read.

    NAME/manifest.json                      what the data set is made of now
    NAME/snapshots/LABEL.json               what it was made of when it was frozen as NAME@LABEL
    NAME/candles/asset=BTC/2024...parquet   timestamp (UTC ms, bar open), open, high, low, close, volume (in units)
    NAME/funding/asset=BTC/2024...parquet   timestamp (of the settlement), funding_rate, funding_interval_hours

Parts never change: their names hold their hashes. A write puts new parts beside the old ones, then puts the
manifest that names them: that single put is the moment of change. Whatever dies before it leaves the old data set,
and files that nobody names, which the next write sweeps away. New rows join a neighbouring part while that is
small, so that many appends leave few files. Any reader of Parquet understands the folders (hive, key `asset`).
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from urllib.parse import quote

from core.clock import iso, wall_ms
from core.data.importer import BARS_MS
from core.data.manifest import (
    AGAIN,
    MANIFEST,
    SNAPSHOTS,
    VERSION,
    Manifest,
    Part,
    checked,
    decode,
    encode,
    libraries,
    manifest_hash,
)
from core.data.partition import CANDLES, FUNDING, Columns, file_name, join, merge, pack, split, unpack
from core.data.store import Store, store_of
from core.data.tables import Rows
from core.domain.errors import UserError

PART_ROWS = 100_000
"""Smaller parts take in new neighbours: an append rewrites so many rows of an asset at most."""


class Mode(Enum):
    """What to do with a data set that is there already."""

    CREATE = "create"
    APPEND = "append"
    REPLACE = "replace"


class Lake:
    """The data sets below `root`, a folder or an fsspec URL. A reference is `NAME`, or `NAME@LABEL` for a snapshot.
    Parts hold `part_rows` rows at most.

    Every method raises UserError for what a user can mend, storage that fails included."""

    def __init__(self, root: str | Path, part_rows: int = PART_ROWS) -> None:
        self._store: Store = store_of(root)
        self._part_rows = part_rows
        self.root = self._store.root

    # -- reading --------------------------------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        """All data sets, by name."""
        with self._reading():
            parts = (path.split("/") for path in self._store.files())
            return tuple(sorted(p[0] for p in parts if len(p) == 2 and p[1] == MANIFEST))

    def snapshots(self, name: str) -> tuple[str, ...]:
        """The labels under which states of a data set were frozen."""
        with self._reading():
            files = self._store.files(f"{checked(name)[0]}/{SNAPSHOTS}")
            return tuple(path.rpartition("/")[2].removesuffix(".json") for path in files)

    def manifest(self, reference: str) -> Manifest:
        """What a data set, or a snapshot of it, is made of."""
        name, label = checked(reference)
        try:
            with self._reading():
                return decode(self._store.place(_path(name, label)), self._store.read(_path(name, label)))
        except FileNotFoundError:
            raise self._unknown(name, label) from None

    def read(
        self,
        reference: str,
        assets: Sequence[str] | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
    ) -> tuple[Manifest, Rows, Rows | None, dict[str, str]]:
        """The manifest, candles and funding rates (None: none) of `assets` (default: all), and the SHA-256 of the
        files that were read. Of the candles at least those in [start_ms, end_ms) and the last ones before."""
        manifest = self.manifest(reference)
        chosen = manifest.assets if assets is None else tuple(assets)
        missing = [asset for asset in chosen if asset not in manifest.assets]
        if missing:
            raise UserError(
                f"{reference}: no candles of {', '.join(missing)}; it has {', '.join(manifest.assets[:20])}:"
                " change universe.assets"
            )
        candles = [p for a in chosen for p in _spanning(manifest.of(CANDLES, a), start_ms, end_ms)]
        rates = [part for asset in chosen for part in manifest.of(FUNDING, asset)]
        place = self._store.place(reference)
        if not candles:
            raise UserError(
                f"{reference}: no bar in that period; it has bars from {iso(manifest.first_ms)} to"
                f" {iso(manifest.last_ms)}: change --from or --to"
            )
        tables = []
        for parts in (candles, rates):
            read = [(part.asset, unpack(part.table, self._bytes(manifest.name, part))) for part in parts]
            tables.append(join(place, chosen, manifest.assets, read) if read else None)
        assert tables[0] is not None
        return manifest, tables[0], tables[1], {part.path: part.sha256 for part in candles + rates}

    def verify(self, reference: str) -> Manifest:
        """The manifest, after every part was found to be what it says; the first that is not is a UserError."""
        manifest = self.manifest(reference)
        for part in manifest.parts:
            self._bytes(manifest.name, part)
        return manifest

    def _bytes(self, name: str, part: Part) -> bytes:
        """A part as it was written, or a UserError that names it and both hashes."""
        path = f"{name}/{part.path}"
        place = self._store.place(path)
        try:
            with self._reading():
                data = self._store.read(path)
        except FileNotFoundError:
            raise UserError(
                f"{place}: is missing, but the manifest names it (SHA-256 {part.sha256}): {AGAIN}"
            ) from None
        if (found := hashlib.sha256(data).hexdigest()) != part.sha256:
            raise UserError(f"{place}: SHA-256 is {found}, but the manifest says {part.sha256}: {AGAIN}")
        return data

    # -- writing --------------------------------------------------------------------------------------

    def write(
        self,
        name: str,
        candles: Rows,
        bar_ms: int,
        rates: Rows | None = None,
        *,
        venue: str = "",
        sources: Mapping[str, str] | None = None,
        mode: Mode = Mode.CREATE,
    ) -> Manifest:
        """Keep checked rows as data set `name`; the new manifest, once it is published.

        CREATE refuses a name that is taken, REPLACE takes its place. APPEND adds to it (or creates it): venue and
        bar must be the same, and rows that are there already must be equal; they are kept once."""
        bar = next(bar for bar, length in BARS_MS.items() if length == bar_ms)
        if checked(name)[1]:
            raise UserError(f"--name {name!r}: a snapshot never changes; leave @ and what follows away", code=2)
        with self._writing(name):
            old = self._current(name, mode)
            if old is not None and (old.venue, old.bar) != (venue, bar):
                raise UserError(
                    f"data set {name} holds {old.bar} bars of {old.venue or 'no named venue'}, not {bar} bars of"
                    f" {venue or 'no named venue'}: choose another --name"
                )
            self._sweep(name)
            parts = self._added(name, CANDLES, candles, old.parts if old else ())
            if rates is not None:
                parts = self._added(name, FUNDING, rates, parts)
            notes = dict.fromkeys((*(old.notes if old else ()), *candles.notes))
            manifest = _manifest(
                name, venue, bar, parts, {**(old.sources if old else {}), **(sources or {})}, tuple(notes), old
            )
            self._store.put(_path(name), encode(manifest))
        return manifest

    def snapshot(self, name: str, label: str) -> Manifest:
        """Freeze a data set as it stands, after it was verified, as `NAME@LABEL`. A label is given once."""
        checked(f"{name}@{label}")
        with self._writing(name):
            manifest = self.verify(name)
            if label in self.snapshots(name):
                raise UserError(f"snapshot {name}@{label} exists, and never changes: choose another label")
            self._store.put(_path(name, label), encode(manifest))
        return manifest

    def _current(self, name: str, mode: Mode) -> Manifest | None:
        """The data set to add to."""
        path = _path(name)
        if mode is Mode.REPLACE or path not in self._store.files(name):
            return None
        if mode is Mode.CREATE:
            raise UserError(f"data set {name} exists: choose another --name, or --append to it, or --replace it")
        return self.manifest(name)

    def _added(self, name: str, table: str, rows: Rows, parts: Iterable[Part]) -> tuple[Part, ...]:
        """`parts`, with new ones in place of those that `rows` had to be merged with."""
        kept = {part.path: part for part in parts}
        for asset, new in split(rows, table):
            mine = [part for part in kept.values() if (part.table, part.asset) == (table, asset)]
            touched = _touched(mine, int(new["ts"][0]), int(new["ts"][-1]), self._part_rows)
            tables = [unpack(table, self._bytes(name, part)) for part in touched]
            whole = merge(asset, [*tables, new])
            for part in touched:
                del kept[part.path]
            for start in range(0, len(whole["ts"]), self._part_rows):
                piece = {column: values[start : start + self._part_rows] for column, values in whole.items()}
                part = self._put(name, table, asset, piece, {part.path for part in touched})
                kept[part.path] = part
        return tuple(sorted(kept.values(), key=lambda part: (part.table, part.asset, part.first_ms)))

    def _put(self, name: str, table: str, asset: str, columns: Columns, there: set[str]) -> Part:
        """Write a part, unless it is one of those that were just read."""
        data = pack(table, columns)
        digest = hashlib.sha256(data).hexdigest()
        path = f"{table}/asset={quote(asset, safe='')}/{file_name(columns, digest)}"
        if path not in there:
            self._store.put(f"{name}/{path}", data)
        ts = columns["ts"]
        return Part(table, asset, path, len(ts), int(ts[0]), int(ts[-1]), len(data), digest)

    def _sweep(self, name: str) -> None:
        """Remove what no manifest names: left by writers that died, and by data sets that were replaced. While a
        manifest cannot be read, all might be in use, and all stays."""
        files = set(self._store.files(name))
        kept = {path for path in files if path == _path(name) or path.startswith(f"{name}/{SNAPSHOTS}/")}
        try:
            named = [part for path in kept for part in decode(path, self._store.read(path)).parts]
        except UserError:
            return
        for path in files - kept - {f"{name}/{part.path}" for part in named}:
            self._store.remove(path)

    # -- storage --------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise UserError(f"{self.root}: cannot be read: {error.strerror or error}") from error

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        try:
            with self._store.alone(name):
                yield
        except OSError as error:
            place = self._store.place(name)
            raise UserError(
                f"{place}: cannot be written: {error.strerror or error}; choose another home, or another --lake"
            ) from error

    def _unknown(self, name: str, label: str) -> UserError:
        if label and name in self.names():
            there = ", ".join(self.snapshots(name)) or "none yet"
            return UserError(f"{name}@{label}: no such snapshot; {name} has: {there}")
        there = ", ".join(self.names()) or "none yet"
        return UserError(
            f"{name}: no such file and no such data set; the lake has: {there}. Make one: cockpit data import FILE"
        )


def _path(name: str, label: str = "") -> str:
    return f"{name}/{SNAPSHOTS}/{label}.json" if label else f"{name}/{MANIFEST}"


def _spanning(parts: Sequence[Part], start_ms: int | None, end_ms: int | None) -> list[Part]:
    """Parts with rows in [start_ms, end_ms), and the one before: what was the last price is asked of it."""
    begun = [part for part in parts if end_ms is None or part.first_ms < end_ms]
    early = [part for part in begun if start_ms is not None and part.first_ms <= start_ms]
    return begun[max(len(early) - 1, 0) :]


def _touched(parts: Sequence[Part], first_ms: int, last_ms: int, full: int) -> list[Part]:
    """Of one asset's parts those that overlap [first_ms, last_ms], and its neighbours unless they are full."""
    before = [part for part in parts if part.last_ms < first_ms]
    after = [part for part in parts if part.first_ms > last_ms]
    far = before[:-1] + after[1:] + [part for part in before[-1:] + after[:1] if part.rows >= full]
    return [part for part in parts if part not in far]


def _manifest(
    name: str,
    venue: str,
    bar: str,
    parts: tuple[Part, ...],
    sources: dict[str, str],
    notes: tuple[str, ...],
    old: Manifest | None,
) -> Manifest:
    candles = [part for part in parts if part.table == CANDLES]
    first, last = min(part.first_ms for part in candles), max(part.last_ms for part in candles)
    now = wall_ms()
    return Manifest(
        version=VERSION,
        name=name,
        venue=venue,
        bar=bar,
        assets=tuple(sorted({part.asset for part in candles})),
        first_ms=first,
        last_ms=last,
        bars=(last - first) // BARS_MS[bar] + 1,
        rows=sum(part.rows for part in candles),
        funding_rows=sum(part.rows for part in parts if part.table == FUNDING),
        created_ms=old.created_ms if old else now,
        changed_ms=now,
        sources=sources,
        libraries=libraries(),
        notes=notes,
        hash=manifest_hash(venue, bar, parts),
        parts=parts,
    )
