"""The rule and its parameters: they know the vocabulary of `core.domain`, and nothing of orders."""

import numpy as np
from pydantic import Field

from core.domain.account import Holdings
from core.domain.decision import Decision, Entry, Exit, View
from core.strategies.params import Params

WORDS = ("not one of the fixed pairs", "z is too small", "something is held", "entered")


class FixedPairs(Params):
    """`entry`: |z| at which a pair is entered, `window` bars of z, `hold` bars at most."""

    pairs: tuple[str, ...] = ("BTC/ETH",)
    entry: float = Field(2.0, gt=0)
    window: int = Field(48, ge=3)
    hold: int = Field(24, ge=1)


def decide(view: View, holdings: Holdings, params: FixedPairs) -> Decision:
    """Enter the first fixed pair that has strayed far enough; leave when z has changed its sign, or in time."""
    z = view.column("z_score")
    rows = {pair.name: row for row, pair in enumerate(view.pairs)}
    exits = tuple(
        Exit(book.pair, f"z is {z[rows[book.pair]]:+.2f}")
        for book in holdings.books
        if book.pair not in holdings.working
        and (z[rows[book.pair]] * book.z <= 0 or view.ts - book.opened >= params.hold * view.bar_ms)
    )
    reasons = np.zeros(len(rows), np.uint8)
    entries: tuple[Entry, ...] = ()
    for name in params.pairs:
        row = rows[name]
        reasons[row] = 1
        if view.usable[row] and abs(z[row]) > params.entry:
            reasons[row] = 2
            if not (entries or holdings.books or holdings.working):
                reasons[row], side = 3, -1 if z[row] > 0 else 1
                size, score = params.base_size_usdt, abs(float(z[row]))
                entries = (Entry(name, side, size, 0.1, 0.1, float(z[row]), score, 1.0, f"z is {z[row]:+.2f}"),)
    direction = -np.sign(z).astype(np.int8)
    return Decision(view.ts, "fixed-pairs", entries, exits, (), reasons, WORDS, np.abs(z), direction)
