"""The demo's market as a file: real candles or the seeded synthetic market. A process of its own, for it reads
Parquet: `python -m core.engine.prepare --out FILE.npz --lake DIR (--replay NAME|FILE [--funding FILE] | --seed N)`.
"""

import argparse
import json
import sys
from pathlib import Path

from core.data.panel import Panel
from core.data.source import open_panel
from core.data.synthetic import synthetic_panel
from core.domain.errors import UserError


def _panel(arguments: argparse.Namespace) -> Panel:
    assets = tuple(arguments.assets.split(","))
    if arguments.replay:
        funding = Path(arguments.funding) if arguments.funding else None
        return open_panel(arguments.replay, arguments.lake, funding, assets, arguments.bar)
    return synthetic_panel(arguments.seed, arguments.bars, assets, arguments.bar_ms)


def main() -> int:
    """Write the panel, print what it holds as one JSON line."""
    parser = argparse.ArgumentParser("core.engine.prepare", description="Write the demo's market to a file.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--assets", required=True, help="comma-separated, in the order of the configuration")
    parser.add_argument("--bar", required=True)
    parser.add_argument("--bar-ms", type=int, required=True)
    parser.add_argument("--replay", default="", help="candles, or a data set of the lake")
    parser.add_argument("--lake", type=Path, required=True)
    parser.add_argument("--funding", default="")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--bars", type=int, default=8760)
    arguments = parser.parse_args()
    try:
        panel = _panel(arguments)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.code
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    panel.save(arguments.out)
    said = {"bars": len(panel), "first": int(panel.ts[0]), "hash": panel.content_hash, "notes": list(panel.notes)}
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
