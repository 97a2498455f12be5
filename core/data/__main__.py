"""`python -m core.data import FILE`: check candles, keep them in the lake, and say what is there now.

Notes go to stderr; the result is the manifest as one JSON line on stdout with `--json`, else a table.
"""

import argparse
import sys
from pathlib import Path

import msgspec

from core.clock import iso
from core.config import load
from core.data.manifest import Manifest, import_dataset
from core.domain.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 done, 1 refused with one line on stderr, 2 wrong usage."""
    given = _parser().parse_args(arguments)
    try:
        paths = load(given.config).paths
        paths.create()
        name = given.name or given.file.name.split(".")[0]
        manifest = import_dataset(paths.lake, name, given.file, given.funding, replace=given.replace)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.code
    for note in manifest.notes:
        print(note, file=sys.stderr)
    print(msgspec.json.encode(manifest).decode() if given.json else _table(manifest, paths.lake))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("core.data", description="The market data on this machine.")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("import", help="check a file of candles and keep it in the lake")
    command.add_argument("file", type=Path, help="candles in long form (Parquet or CSV)")
    command.add_argument("--name", help="its name in the lake (default: the file's)")
    command.add_argument("--funding", type=Path, help="funding rates of these candles")
    command.add_argument("--replace", action="store_true", help="take the place of a data set of that name")
    command.add_argument("--json", action="store_true", help="the manifest as one JSON line")
    command.add_argument("--config", type=Path)
    return parser


def _table(manifest: Manifest, lake: Path) -> str:
    assets = manifest.assets
    some = ", ".join(assets[:10]) + (f" and {len(assets) - 10} more" if len(assets) > 10 else "")
    return "\n".join(
        (
            f"data set    {manifest.name}",
            f"assets      {len(assets)}: {some}",
            f"bars        {manifest.bars:,} of {manifest.bar}, {iso(manifest.first_ms)} .. {iso(manifest.last_ms)}",
            f"candles     {manifest.rows:,} rows from {manifest.sources['candles']}",
            f"funding     {manifest.funding_rows:,} rates" if "funding" in manifest.sources else "funding     none",
            f"content     {manifest.content[:16]}",
            f"kept in     {lake / manifest.name}",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
