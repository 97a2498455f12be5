"""What stands unhedged, since when, and the alarm where it is too much or lasts too long."""

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal

import msgspec

from core.domain.account import BookLeg
from core.domain.instrument import Instrument
from core.domain.orders import Intent
from core.execution.legs import unhedged
from core.portfolio.books import Books

ZERO = Decimal(0)
SLACK = Decimal("1.1")
"""Slices are cut at the decision's prices and filled at others: what is above the bound by more is alarming."""


class Policy(msgspec.Struct, frozen=True):
    """How legs are carried out. The first leg of a pair waits in the book for `passive_s` seconds (0: it crosses at
    once). What stands unhedged is worth `max_unhedged` of the quote currency at most, and stands for
    `max_unhedged_s` seconds: beyond is an alarm, while hedging goes on."""

    passive_s: float = 0.0
    max_unhedged: Decimal = Decimal("Infinity")
    max_unhedged_s: float = float("inf")


CROSSING = Policy()
"""All orders cross the book at once, and nothing is alarming."""


class Unhedged(msgspec.Struct, frozen=True):
    """Signed `contracts` of an instrument that nothing matches, their value at what was paid for them, and since
    when, in seconds of the event loop's clock."""

    intent: str
    pair: str
    instrument: str
    contracts: Decimal
    notional: Decimal
    since: float


class Exposure:
    """Watches the intents at work: `look` after each event of one. `alarm(intent, text)` is called once for each
    cause; `alarms` are those that stand, by intent."""

    def __init__(
        self,
        books: Books,
        instruments: Mapping[str, Instrument],
        policy: Policy,
        alarm: Callable[[str], None],
    ) -> None:
        self._books = books
        self._instruments = instruments
        self._policy = policy
        self._alarm = alarm
        self._standing: dict[str, Unhedged] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.alarms: dict[str, str] = {}

    def standing(self) -> tuple[Unhedged, ...]:
        """What is unhedged now, oldest first."""
        return tuple(self._standing.values())

    def look(self, name: str) -> None:
        """Take in that something has happened to an intent."""
        state = self._books.intents[name]
        found = self._measure(state.intent) if state.outcome is None else None
        if found is None:
            self._clear(name)
            return
        if name not in self._timers and self._policy.max_unhedged_s < float("inf"):
            loop = asyncio.get_running_loop()
            self._timers[name] = loop.call_later(self._policy.max_unhedged_s, self._late, name)
        self._standing[name] = found
        if found.notional > self._policy.max_unhedged * SLACK:
            self.raise_alarm(name, f"{_told(found)}, more than the bound of {self._policy.max_unhedged} USDT")

    def raise_alarm(self, name: str, text: str) -> None:
        """Sound an alarm on an intent, unless one stands: it stands until the intent is hedged."""
        if name not in self.alarms:
            self.alarms[name] = text
            self._alarm(text)

    def close(self) -> None:
        """No alarm rings any more."""
        for timer in self._timers.values():
            timer.cancel()

    def _measure(self, intent: Intent) -> Unhedged | None:
        alone = unhedged(intent, self._books.progress(intent.id), self._instruments)
        paid = {leg.instrument: leg.average for leg in self._held(intent)}
        worth = []
        for leg, size in zip(intent.legs, alone, strict=True):
            if size:
                value = self._instruments[leg.instrument].notional(size, paid.get(leg.instrument, ZERO))
                worth.append((abs(value), leg.instrument, size))
        if not worth:
            return None
        since = (
            self._standing[intent.id].since if intent.id in self._standing else asyncio.get_running_loop().time()
        )
        notional, instrument, contracts = max(worth)
        return Unhedged(intent.id, intent.pair, instrument, contracts, notional, since)

    def _held(self, intent: Intent) -> tuple[BookLeg, ...]:
        book = self._books.book(intent.strategy, intent.pair)
        return book.legs if book is not None else ()

    def _clear(self, name: str) -> None:
        self._standing.pop(name, None)
        self.alarms.pop(name, None)
        if name in self._timers:
            self._timers.pop(name).cancel()

    def _late(self, name: str) -> None:
        found = self._standing[name]
        self.raise_alarm(name, f"{_told(found)} for {self._policy.max_unhedged_s:g} s")


def _told(found: Unhedged) -> str:
    side = "long" if found.contracts > 0 else "short"
    size = f"{abs(found.contracts)} contracts of {found.instrument}, {found.notional:.0f} USDT"
    return f"{found.pair}: {side} {size}, unhedged"
