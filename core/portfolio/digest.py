"""One hash over what a run decided and what came of it."""

import hashlib
from collections.abc import Sequence

from core.portfolio.events import AnyEvent, Decided, Filled


def digest(events: Sequence[AnyEvent]) -> str:
    """A hash over every decision and fill, in order: two runs that did the same have the same.

    Ids of orders and trades are left out: they name, they do not decide."""
    said = hashlib.sha256()
    for event in events:
        if isinstance(event, Decided):
            said.update(f"D{event.bar}{event.strategy}{event.entries}{event.exits}{event.text}".encode())
        elif isinstance(event, Filled):
            fill = event.fill
            # An amount's trailing zeros tell how it was computed, not how much it is.
            amounts = (amount.normalize() for amount in (fill.size, fill.price, fill.fee))
            said.update(f"F{fill.ts}{fill.instrument}{'|'.join(map(str, amounts))}".encode())
    return said.hexdigest()
