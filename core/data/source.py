"""What `--data NAME|FILE|LAKE` means to a run: the Panel, and the record that tells what it was made of."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from core.clock import iso
from core.data.importer import BARS_MS, load_panel, panel_of, read_candles, read_rates
from core.data.lake import Lake, Mode
from core.data.manifest import Manifest, is_reference
from core.data.panel import Panel
from core.data.partition import CANDLES
from core.domain.errors import UserError


class Provenance(msgspec.Struct, frozen=True):
    """Where a Panel came from. `name` of the data set, snapshot or file; `venue` whose prices they are ("": not
    known); `manifest`: hash of the data set's manifest ("": a bare file); `content`: the Panel's own hash; `files`:
    SHA-256 of each file that was read, by its name."""

    name: str
    venue: str
    manifest: str
    content: str
    files: dict[str, str]


def open_source(
    source: str | Path,
    lake: str | Path,
    funding: Path | None = None,
    assets: Sequence[str] | None = None,
    bar: str | None = None,
    start_ms: int | None = None,
    end_ms: int | None = None,
    manifest: str = "",
) -> tuple[Panel, Provenance]:
    """The Panel of `source`, cut to bars that open in [start_ms, end_ms), and its provenance.

    `source`: a file; a data set of `lake` by name, or NAME@LABEL, its snapshot; a data set elsewhere, by its folder
    or its fsspec URL. `funding` goes with a file; a data set has its own. `assets` in the order wanted (default:
    all, by name), `bar` what its bars must be, `manifest` the hash its manifest must have.

    UserError: whatever makes it unfit; a hash that does not match; a period that holds no bar."""
    place = locate(source, lake)
    if isinstance(place, Path):
        panel = load_panel(place, funding, assets, bar)
        files = {path.name: _sha256(path) for path in (place, funding) if path is not None}
        panel = _period(panel, source, start_ms, end_ms)
        return panel, Provenance(place.name, "", "", panel.content_hash, files)
    if funding is not None:
        raise UserError(f"{source} is a data set, which has its own funding: leave --funding {funding} away")
    home, reference = place
    found, candles, rates, files = home.read(reference, assets, start_ms, end_ms)
    if bar is not None and bar != found.bar:
        raise UserError(
            f"{source}: its bars are {found.bar} long, not {bar}: set universe.bar, or give another file"
        )
    if manifest and manifest != found.hash:
        raise UserError(f"{source}: the hash of its manifest is {found.hash}, but {manifest} was expected")
    last = max(part.last_ms for asset in candles.assets for part in found.of(CANDLES, asset))
    last = last if end_ms is None else min(last, end_ms)  # bars of which no asset has a candle are bars too
    panel = panel_of(candles, BARS_MS[found.bar], rates, last)
    panel = _period(panel, source, start_ms, end_ms)
    return panel, Provenance(reference, found.venue, found.hash, panel.content_hash, files)


def open_panel(
    source: str | Path,
    lake: str | Path,
    funding: Path | None = None,
    assets: Sequence[str] | None = None,
    bar: str | None = None,
) -> Panel:
    """The Panel alone: see `open_source`."""
    return open_source(source, lake, funding, assets, bar)[0]


def import_files(
    lake: Lake,
    name: str,
    file: Path,
    funding: Path | None = None,
    *,
    venue: str = "",
    mode: Mode = Mode.CREATE,
    drop: bool = False,
) -> tuple[Manifest, tuple[str, ...]]:
    """Check `file` (and `funding`) and keep them in the lake as `name`; what is to be told of them: gaps, and with
    `drop` the impossible rows that were left out. UserError: `load_panel`'s and `Lake.write`'s."""
    candles, bar_ms = read_candles(file, drop=drop)
    rates = read_rates(funding, candles) if funding else None
    sources = {path.name: _sha256(path) for path in (file, funding) if path is not None}
    notes = panel_of(candles, bar_ms, rates).notes
    return lake.write(name, candles, bar_ms, rates, venue=venue, sources=sources, mode=mode), notes


def moment(text: str, option: str) -> int:
    """What a command line gives `option`: `2024-05`, `2024-05-01`, `2024-05-01T13:00` or with a zone, as ms UTC
    (without one: UTC). UserError: no such time."""
    try:
        given = datetime.fromisoformat(f"{text}-01" if len(text) == len("2024-05") else text)
    except ValueError:
        raise UserError(f"{option} {text}: not a date; write it like 2024-05-01 or 2024-05-01T13:00", 2) from None
    return int((given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp() * 1000)


def locate(source: str | Path, lake: str | Path) -> Path | tuple[Lake, str]:
    """What `source` means: a file, or the name of a data set and the lake it is in."""
    text = str(source)
    if "://" not in text and Path(text).is_file():
        return Path(text)
    if is_reference(text):
        return Lake(lake), text
    if "://" in text or Path(text).is_dir():
        root, _, name = text.rstrip("/").rpartition("/")
        return Lake(root or "."), name
    return Path(text)


def _period(panel: Panel, source: str | Path, start_ms: int | None, end_ms: int | None) -> Panel:
    whole = int(panel.ts[0]), int(panel.ts[-1])
    wanted = whole[0] if start_ms is None else start_ms, whole[1] + 1 if end_ms is None else end_ms
    start, stop = (int(at) for at in np.searchsorted(panel.ts, wanted))
    if stop <= start:
        first, last = (iso(ts) for ts in whole)
        raise UserError(
            f"{source}: no bar in that period; it has bars from {first} to {last}: change --from or --to"
        )
    return panel.slice(start, stop)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
