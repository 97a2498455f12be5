"""What `--data NAME|FILE` means to a run: the Panel, and a record by which anyone can tell what it was made of."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from core.clock import iso
from core.data.manifest import MANIFEST, NAME, open_panel, read_manifest
from core.data.panel import Panel
from core.domain.errors import UserError


class Provenance(msgspec.Struct, frozen=True):
    """Where a Panel came from. `name` of the data set or the file; `venue` whose prices they are ("" unknown);
    `manifest`: hash of the data set's manifest ("": a bare file); `content`: the Panel's own hash; `files`: SHA-256
    of each file that was read."""

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
) -> tuple[Panel, Provenance]:
    """The Panel of `source` (see `open_panel`), cut to bars that open in [start_ms, end_ms), and its provenance.

    UserError: what `open_panel` refuses; a period that holds no bar."""
    panel = open_panel(source, Path(lake), funding, assets, bar)
    whole = panel
    first, last = (0 if start_ms is None else start_ms), (np.iinfo(np.int64).max if end_ms is None else end_ms)
    start, stop = (int(at) for at in np.searchsorted(panel.ts, (first, last)))
    panel = panel.slice(start, stop)
    if not len(panel):
        raise UserError(
            f"{source}: no bar in that period; it has bars from {iso(int(whole.ts[0]))} to"
            f" {iso(int(whole.ts[-1]))}: change --from or --to"
        )
    if Path(source).is_file() or not NAME.fullmatch(str(source)):
        files = {path.name: _sha256(path) for path in (Path(source), funding) if path is not None}
        return panel, Provenance(Path(source).name, "", "", panel.content_hash, files)
    manifest = read_manifest(Path(lake), str(source))
    digest = _sha256(Path(lake) / str(source) / MANIFEST)
    return panel, Provenance(manifest.name, "", digest, panel.content_hash, manifest.files)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
