"""`python -m tests.bench [--keep] [NAME ...]`: measures, prints one table, keeps it as Markdown.

Collects every `bench_*.py` beside this file that has `run() -> list[Row]`. Each row holds its own baseline, taken
in the same run: on a shared machine the ratio says more than either figure.
"""

import argparse
import importlib
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.row import Row

HERE = Path(__file__).resolve().parent
KEPT = HERE / "results" / "latest.md"
HEADS = ("what", "ours", "baseline", "ratio", "target", "met")


def main() -> int:
    """Exit code 0 if every target was met, else 1."""
    parser = argparse.ArgumentParser("tests.bench", description=__doc__)
    parser.add_argument("--keep", action="store_true", help=f"write the table to {KEPT.relative_to(HERE)}")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these, like features for bench_features.py")
    given = parser.parse_args()
    console = Console()
    rows: list[Row] = []
    for file in sorted(HERE.glob("bench_*.py")):
        name = file.stem.removeprefix("bench_")
        if not given.names or name in given.names:
            console.print(f"[dim]measuring {name}[/dim]")
            rows += importlib.import_module(f"tests.bench.{file.stem}").run()
    table = Table(*HEADS, title=f"{_when()}, {_machine()}", title_justify="left")
    for row in rows:
        table.add_row(*_cells(row), style="" if row.met else "red")
    console.print(table)
    if given.keep:
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(_markdown(rows), encoding="utf-8")
        console.print(f"kept in {KEPT.relative_to(Path.cwd()) if KEPT.is_relative_to(Path.cwd()) else KEPT}")
    return 0 if all(row.met for row in rows) else 1


def _cells(row: Row) -> tuple[str, ...]:
    return row.what, row.ours, row.baseline, f"{row.ratio:.3g}", row.target, "yes" if row.met else "NO"


def _markdown(rows: list[Row]) -> str:
    lines = [f"Measured {_when()} on {_machine()}, by `make bench`.", "", _line(HEADS), _line(["---"] * len(HEADS))]
    return "\n".join([*lines, *(_line(_cells(row)) for row in rows), ""])


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _when() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _machine() -> str:
    """The processor's name, how many cores may be used, and Python's version."""
    processor = platform.processor() or platform.machine()
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        named = (line.partition(":")[2].strip() for line in facts.read_text().splitlines() if "model name" in line)
        processor = next(named, processor)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{processor}, {cores} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
