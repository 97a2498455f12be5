"""Opposite wishes of different strategies meet inside: what one gives the other takes, and no order is sent.

Books are virtual, the account is one. A crossing is a fill of size zero: its parts, which sum to nothing, move
contracts from book to book at the mark, without a fee.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

import msgspec

from core.domain.orders import Action, Fill, Intent
from core.portfolio.events import Filled, Part

ZERO = Decimal(0)


class Crossing(msgspec.Struct, frozen=True):
    """What is exchanged in one instrument: signed contracts by (intent, leg), summing to zero."""

    instrument: str
    parts: tuple[tuple[str, int, Decimal], ...]


def crossings(intents: Sequence[Intent]) -> tuple[Crossing, ...]:
    """What the new intents of one bar can give each other.

    Only what closes, and what has a single leg: a leg that is to be hedged goes its own way, for its hedge follows
    what the exchange has filled. Wishes of one strategy are left alone: it meant them so."""
    legs: dict[str, list[tuple[Intent, int, Decimal]]] = {}
    for intent in intents:
        if intent.action is Action.CLOSE or len(intent.legs) == 1:
            for number, leg in enumerate(intent.legs):
                legs.setdefault(leg.instrument, []).append((intent, number, leg.size))
    return tuple(Crossing(instrument, parts) for instrument, there in legs.items() if (parts := _parts(there)))


def _parts(legs: Sequence[tuple[Intent, int, Decimal]]) -> tuple[tuple[str, int, Decimal], ...]:
    """Buys and sells of one instrument, matched in order; none where one strategy has them all."""
    if len({intent.strategy for intent, _, _ in legs}) < 2:
        return ()
    matched = min(_sum(size for _, _, size in legs if size > 0), -_sum(size for _, _, size in legs if size < 0))
    parts = []
    for sign in (1, -1):
        left = matched
        for intent, number, size in legs:
            if size * sign > 0 and left:
                taken = min(abs(size), left)
                parts.append((intent.id, number, sign * taken))
                left -= taken
    return tuple(parts)


def crossed(crossing: Crossing, price: Decimal, currency: str, ts: int) -> Filled:
    """The ledger's event of a crossing at `price`, the mark, at market time `ts`."""
    name = f"N{ts}{crossing.instrument.replace('-', '')}"
    fill = Fill(name, "", "", crossing.instrument, ZERO, price, ZERO, currency, ts)
    return Filled(ts, fill, tuple(Part(intent, leg, size, ZERO) for intent, leg, size in crossing.parts))


def _sum(sizes: Iterable[Decimal]) -> Decimal:
    return sum(sizes, ZERO)
