"""`python -m core.data import|list|check|snapshot|verify`: the market data on this machine.

Notes go to stderr; the result goes to stdout, as words, or with `--json` as one JSON document.
"""

import argparse
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from core.clock import iso
from core.config import load
from core.data.check import Finding, check
from core.data.lake import Lake, Mode
from core.data.manifest import Manifest
from core.data.source import import_files
from core.domain.errors import UserError

MOST = 10
"""Findings of one kind that are told in words."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 done, 1 refused with one line on stderr (or findings to act on), 2 wrong usage."""
    given = _parser().parse_args(arguments)
    try:
        paths = load(given.config).paths
        paths.create()
        lake = Lake(given.lake or paths.lake)
        code: int = given.run(given, lake)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.code
    return code


def _import(given: argparse.Namespace, lake: Lake) -> int:
    mode = Mode.APPEND if given.append else Mode.REPLACE if given.replace else Mode.CREATE
    name = given.name or given.file.name.split(".")[0]
    manifest, notes = import_files(
        lake, name, given.file, given.funding, venue=given.venue, mode=mode, drop=given.drop_bad
    )
    for note in notes:
        print(note, file=sys.stderr)
    return _tell(given, manifest, _table(manifest, lake))


def _list(given: argparse.Namespace, lake: Lake) -> int:
    manifests = [lake.manifest(name) for name in lake.names()]
    rows = [
        (m.name, m.venue or "-", m.bar, f"{len(m.assets)}", f"{m.rows:,}", f"{m.funding_rows:,}", iso(m.first_ms),
         iso(m.last_ms), " ".join(f"@{label}" for label in lake.snapshots(m.name)))
        for m in manifests
    ]  # fmt: skip
    head = ("data set", "venue", "bar", "assets", "candles", "rates", "from", "to", "snapshots")
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    nothing = f"nothing in {lake.root} yet: cockpit data import FILE, or cockpit data download"
    documents = [_document(m) | {"snapshots": lake.snapshots(m.name)} for m in manifests]
    return _tell(given, documents, "\n".join(line.rstrip() for line in lines) if rows else nothing)


def _check(given: argparse.Namespace, lake: Lake) -> int:
    findings = check(given.data, lake.root, given.funding)
    acts = sum(finding.act for finding in findings)
    last = f"{acts} to act on, {len(findings) - acts} to know" if findings else "nothing found"
    lines: list[str] = []
    for (_, kind), group in groupby(findings, lambda finding: (finding.act, finding.kind)):
        said = [_line(finding) for finding in group]
        more = [f"      and {len(said) - MOST} more with a {kind}: --json has them all"] if len(said) > MOST else []
        lines += said[:MOST] + more
    _tell(given, findings, "\n".join((*lines, f"{given.data}: {last}")))
    return 1 if acts else 0


def _snapshot(given: argparse.Namespace, lake: Lake) -> int:
    manifest = lake.snapshot(given.name, given.label)
    said = f"{given.name}@{given.label}: {len(manifest.parts)} files frozen, manifest {manifest.hash}"
    return _tell(given, manifest, said)


def _verify(given: argparse.Namespace, lake: Lake) -> int:
    references = given.names or [
        reference for name in lake.names() for reference in (name, *(f"{name}@{s}" for s in lake.snapshots(name)))
    ]
    manifests = {reference: lake.verify(reference) for reference in references}
    said = (
        f"{name}: {len(m.parts)} files as they were written, manifest {m.hash}" for name, m in manifests.items()
    )
    return _tell(
        given, {name: _document(m) for name, m in manifests.items()}, "\n".join(said) or "the lake is empty"
    )


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--lake", help="folder or fsspec URL (default: lake in home)")
    shared.add_argument("--json", action="store_true", help="one JSON document")
    shared.add_argument("--config", type=Path)
    parser = argparse.ArgumentParser("core.data", description="The market data on this machine.")
    commands = parser.add_subparsers(required=True)

    def add(name: str, run: object, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, parents=[shared])
        command.set_defaults(run=run)
        return command

    command = add("import", _import, "check a file of candles and keep it in the lake")
    command.add_argument("file", type=Path, help="candles, long or wide: Parquet, CSV or feather")
    command.add_argument("--name", help="its name in the lake (default: the file's)")
    command.add_argument("--funding", type=Path, help="funding rates of these candles")
    command.add_argument("--venue", default="", help="whose prices these are: binance, okx, ...")
    command.add_argument("--drop-bad", action="store_true", help="leave impossible rows out, and say which")
    exists = command.add_mutually_exclusive_group()
    exists.add_argument("--append", action="store_true", help="add to the data set of that name")
    exists.add_argument("--replace", action="store_true", help="take the place of a data set of that name")
    add("list", _list, "what the lake holds")
    command = add("check", _check, "what is wrong with data")
    command.add_argument("data", help="a data set by its name, or a file")
    command.add_argument("--funding", type=Path, help="funding rates of a file of candles")
    command = add("snapshot", _snapshot, "freeze a data set")
    command.add_argument("name")
    command.add_argument("label")
    command = add("verify", _verify, "compare files with their hashes")
    command.add_argument("names", nargs="*", help="data sets or snapshots (default: all)")
    return parser


def _tell(given: argparse.Namespace, document: Any, text: str) -> int:
    if isinstance(document, Manifest):
        document = _document(document)
    print(msgspec.json.encode(document).decode() if given.json else text)
    return 0


def _document(manifest: Manifest) -> dict[str, Any]:
    """A manifest without the list of its parts, but with their number and size."""
    said: dict[str, Any] = msgspec.to_builtins(manifest)
    del said["parts"]
    return said | {"files": len(manifest.parts), "bytes": sum(part.size for part in manifest.parts)}


def _table(manifest: Manifest, lake: Lake) -> str:
    assets = manifest.assets
    some = ", ".join(assets[:10]) + (f" and {len(assets) - 10} more" if len(assets) > 10 else "")
    return "\n".join(
        (
            f"data set    {manifest.name}",
            f"venue       {manifest.venue or 'not said (--venue)'}",
            f"assets      {len(assets)}: {some}",
            f"bars        {manifest.bars:,} of {manifest.bar}, {iso(manifest.first_ms)} .. {iso(manifest.last_ms)}",
            f"candles     {manifest.rows:,} rows",
            f"funding     {manifest.funding_rows:,} rates" if manifest.funding_rows else "funding     none",
            f"manifest    {manifest.hash}",
            f"kept in     {lake.root}/{manifest.name}",
        )
    )


def _line(finding: Finding) -> str:
    mark = "ACT " if finding.act else "know"
    asset = f"{finding.asset} " if finding.asset else ""
    return f"{mark}  {asset}{finding.kind}: {finding.what}: {finding.todo}"


if __name__ == "__main__":
    sys.exit(main())
