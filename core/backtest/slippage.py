"""The book that an order meets: how wide its spread is, and how much lies on its levels.

`book`: the depth model of the local exchange, made from each bar's turnover: large orders walk the levels, and
what the book does not hold stays unfilled. `flat`: a fixed half-spread at any size. `none`: the mid, to a tick.
"""

from decimal import Decimal

from core.domain.errors import UserError
from core.matching.rules import Rules

ENDLESS = 1e6
"""As `depth_share`: more than any order asks for."""

WIDEST = 400
"""Basis points: half of it is as far from the mark as the exchange lets an order trade."""

BOOKS: dict[str, Rules] = {
    "book": Rules(),
    "flat": Rules(depth_share=ENDLESS, levels=1),
    "none": Rules(spread_bps=Decimal(0), depth_share=ENDLESS, levels=1),
}


def book_rules(name: str) -> Rules:
    """The rules of the book of that name, or `flat:BPS`, a fixed spread of so many basis points around the mid."""
    if name in BOOKS:
        return BOOKS[name]
    kind, _, text = name.partition(":")
    try:
        spread = Decimal(text)
        if kind != "flat" or not 0 <= spread < WIDEST:
            raise ValueError
        return Rules(spread_bps=spread, depth_share=ENDLESS, levels=1)
    except (ValueError, ArithmeticError):
        raise UserError(f"slippage {name!r}: not one of {', '.join(BOOKS)}, nor flat:BPS, like flat:2") from None
