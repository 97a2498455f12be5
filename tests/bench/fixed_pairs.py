"""The plain rule that is timed beside other engines: disjoint fixed pairs, in where |z| > 1.5, out where z has
crossed zero. As an outside strategy it goes the whole way of any other: features, trader, risk, legs, ledger."""

import numpy as np

from core.domain.account import Holdings
from core.domain.decision import Decision, Entry, Exit, View
from core.strategies.params import DivergenceParams
from core.strategies.registry import Strategy

ENTRY = 1.5
NOTIONAL = 1000.0
FAR = 0.9
"""A stop and a target that are never reached."""
_NO_REASONS, _NO_SCORES, _NO_SIDES = np.zeros(0, np.uint8), np.zeros(0), np.zeros(0, np.int8)


def decide(view: View, holdings: Holdings, params: DivergenceParams) -> Decision:
    """Every second asset with its neighbour."""
    z, assets = view.column("z_score"), view.assets
    held = {book.pair: book for book in holdings.books}
    rows = {pair.name: row for row, pair in enumerate(view.pairs)} if not _ROWS else _ROWS
    _ROWS.update(rows)
    entries, exits = [], []
    for a, b in zip(assets[::2], assets[1::2], strict=True):
        name = f"{a}/{b}"
        now = float(z[_ROWS[name]])
        if name not in held:
            if abs(now) > ENTRY:
                side = -1 if now > 0 else 1
                entries.append(Entry(name, side, NOTIONAL, FAR, FAR, now, abs(now), 1.0, "strayed"))
        elif now * held[name].z <= 0:
            exits.append(Exit(name, "came back"))
    return Decision(
        view.ts, "fixed-pairs", tuple(entries), tuple(exits), (), _NO_REASONS, (), _NO_SCORES, _NO_SIDES
    )


_ROWS: dict[str, int] = {}

STRATEGY = Strategy(name="fixed-pairs", decide=decide)
