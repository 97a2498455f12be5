"""One hash over what a run decided and what came of it."""

import hashlib
from collections.abc import Sequence

from core.domain.orders import Fill
from core.portfolio.events import AnyEvent, Decided, Filled


def digest(events: Sequence[AnyEvent]) -> str:
    """A hash over every decision and fill, bar by bar: two runs that did the same have the same.

    Ids of orders and trades are left out: they name, they do not decide. So is the order in which the fills between
    two decisions came home: orders of several pairs are at work at once, and nobody decides on who was first."""
    said = hashlib.sha256()
    fills: list[str] = []
    for event in events:
        if isinstance(event, Decided):
            said.update("".join(sorted(fills)).encode())
            fills.clear()
            said.update(f"D{event.bar}{event.strategy}{event.entries}{event.exits}{event.text}".encode())
        elif isinstance(event, Filled):
            fills.append(_text(event.fill))
    said.update("".join(sorted(fills)).encode())
    return said.hexdigest()


def _text(fill: Fill) -> str:
    # An amount's trailing zeros tell how it was computed, not how much it is.
    amounts = (amount.normalize() for amount in (fill.size, fill.price, fill.fee))
    return f"F{fill.ts}{fill.instrument}{'|'.join(map(str, amounts))}"
