"""The two-leg state machine, as a pure function of what the ledger knows.

An opening intent sends its less liquid leg first, then hedges what was filled with the other:

    planned -> first leg -> second leg -> done
                  |             '-> second leg refused -> unwinding -> unwound
                  '-> nothing filled -> aborted

A closing intent sends both legs at once and never gives up: reducing is always allowed.

Nothing here remembers: after a crash the same function, asked with the folded ledger, says how to go on. That
is why there is no illegal transition to guard against: there are no transitions, only positions.
"""

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from core.domain.instrument import Instrument
from core.domain.orders import Action, Intent
from core.portfolio.intents import LegProgress

ATTEMPTS = 3
"""Attempts at a leg that adds exposure, before it counts as failed."""


class Send(msgspec.Struct, frozen=True):
    """Send an order of `size` signed contracts for leg `leg`; `reducing`: it takes exposure back."""

    leg: int
    size: Decimal
    reducing: bool


class Wait(msgspec.Struct, frozen=True):
    """An order is at work (or its fate unknown): do nothing until the exchange has said more."""


class Finish(msgspec.Struct, frozen=True):
    """The intent has come to its end: done, aborted or unwound."""

    outcome: str
    detail: str = ""


Step = tuple[Send, ...] | Wait | Finish


def next_step(
    intent: Intent,
    progress: tuple[LegProgress, ...],
    instruments: Mapping[str, Instrument],
    fresh: bool = True,
) -> Step:
    """What to do now for `intent`, given how far each of its legs has come.

    `fresh` False (after a restart): an entry that has not traded yet is given up, for its bar is past.
    """
    if any(leg.open for leg in progress):
        return Wait()
    if intent.action is Action.CLOSE:
        return _closing(intent, progress, instruments)
    if len(intent.legs) == 1:
        return _single(intent, progress[0], instruments, fresh)
    return _opening(intent, progress, instruments, fresh)


def smallest(instrument: Instrument) -> Decimal:
    """The smallest order the venue takes, in contracts: what is less cannot be sent."""
    return max(instrument.lot, instrument.min_size)


def _closing(intent: Intent, progress: tuple[LegProgress, ...], instruments: Mapping[str, Instrument]) -> Step:
    sends = []
    for index, (leg, done) in enumerate(zip(intent.legs, progress, strict=True)):
        rest = done.wanted - done.filled
        if abs(rest) >= smallest(instruments[leg.instrument]):
            sends.append(Send(index, rest, reducing=True))
    return tuple(sends) if sends else Finish("done")


def _single(intent: Intent, done: LegProgress, instruments: Mapping[str, Instrument], fresh: bool) -> Step:
    """One leg has nothing to match: what it got is its position, and the next bar may ask for the rest."""
    rest = done.wanted - done.filled
    if abs(rest) < smallest(instruments[intent.legs[0].instrument]):
        return Finish("done")
    if done.attempts >= ATTEMPTS or not (fresh or done.filled):
        return Finish("done") if done.filled else Finish("aborted", _why(done) or "restarted before it traded")
    return (Send(0, rest, reducing=False),)


def _opening(
    intent: Intent,
    progress: tuple[LegProgress, ...],
    instruments: Mapping[str, Instrument],
    fresh: bool,
) -> Step:
    one, two = intent.order
    first, second = progress[one], progress[two]
    spec_one, spec_two = (instruments[intent.legs[i].instrument] for i in (one, two))

    if second.attempts == 0 and first.filled == 0:
        if first.last is not None and first.last.filled:
            # Its last order traded and yet nothing is held: it got too little to hedge and was taken back.
            return Finish("unwound", "the first leg got less than the least order of the second")
        if not fresh or first.attempts >= ATTEMPTS:
            return Finish("aborted", _why(first) or "the engine was restarted before it traded")
        return (Send(one, first.wanted, reducing=False),)

    # The hedge matches what the first leg got, not what it wanted: a part fill makes a smaller pair.
    hedge = spec_two.round_size(second.wanted * first.filled / first.wanted)
    missing = hedge - second.filled
    unmatched = abs(missing) >= smallest(spec_two)
    if unmatched and second.attempts < ATTEMPTS:
        return (Send(two, missing, reducing=False),)

    # What the second leg did not match is taken back from the first, however often that must be asked. If what
    # it got is less than a lot of the first, there is no pair: both go back.
    if unmatched or second.filled == 0:
        matched = spec_one.round_size(first.wanted * second.filled / second.wanted)
        back = [(one, matched - first.filled, spec_one)]
        if matched == 0:
            back.append((two, -second.filled, spec_two))
        sends = tuple(Send(leg, size, reducing=True) for leg, size, spec in back if abs(size) >= smallest(spec))
        if sends:
            return sends
    return Finish("done") if first.filled and second.filled else Finish("unwound", _why(second))


def _why(leg: LegProgress) -> str:
    """The exchange's last word on a leg, for the log."""
    last = leg.last
    return f"{last.code} {last.message}".strip() if last is not None else ""
