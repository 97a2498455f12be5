"""The state machine of an intent's legs, as a pure function of what the ledger knows.

An opening of two legs sends the less liquid one first and hedges what that one gets with the other, slice by slice
(one, where nothing asks for more). Where it may be passive, a slice begins with a post-only order at the near
touch; what that leaves crosses the book.

                       nothing filled, three times
          +----------------------------------------------> aborted
          |
       planned ---> resting ----> crossing ----> hedging ----> done
          |        (passive)         ^  ^           | |          (both legs match; smaller than wished
          |            |             |  '- next  <--' |           where a slice has fallen short)
          '------------|-------------'     slice      | second leg fails three times
                       '--> hedging, as it fills      v
                                                  unwinding ---> done (what matches stays), or unwound (nothing)

A closing sends both legs at once, slice by slice, and never gives up: reducing is always allowed. A single leg has
nothing to match. Three arrows lead out of every state:

    more filled than wanted (an order given up for lost, and filled after all)  -> the excess is taken back
    restarted, or no new exposure wished                                        -> no further first leg; a resting
                                                                                   order is cancelled
    a fill after the end -> reopened -> what has come is taken back -> the end that it had

Nothing here remembers: after a crash the same function, asked with the folded ledger, says how to go on. That
is why there is no illegal transition to guard against: there are no transitions, only positions. Time is not here
either: when a resting order has waited long enough, who carries out the steps cancels it.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec

from core.domain.account import Book
from core.domain.instrument import Instrument
from core.domain.orders import Action, Intent, Leg, OrderState, OrderType
from core.execution.slices import ahead, capped, count, smallest, together
from core.portfolio.intents import LegProgress
from core.portfolio.pairbook import RESIDUE

ATTEMPTS = 3
"""Attempts at a leg that adds exposure, before it counts as failed."""
ZERO = Decimal(0)


class Send(msgspec.Struct, frozen=True):
    """Send an order of `size` signed contracts for leg `leg`; `reducing`: it takes exposure back; `passive`: it is
    to wait at the near touch, if there is one."""

    leg: int
    size: Decimal
    reducing: bool
    passive: bool = False


class Wait(msgspec.Struct, frozen=True):
    """An order is at work (or its fate unknown): do nothing until the exchange has said more."""


class Cancel(msgspec.Struct, frozen=True):
    """Take the resting order of leg `leg` out of the book: what it might still fill is not wanted any more."""

    leg: int


class Finish(msgspec.Struct, frozen=True):
    """The intent has come to its end: done, aborted or unwound."""

    outcome: str
    detail: str = ""


Step = tuple[Send, ...] | Wait | Cancel | Finish
Progress = tuple[LegProgress, ...]
Specs = tuple[Instrument, ...]


def next_step(
    intent: Intent,
    progress: Progress,
    instruments: Mapping[str, Instrument],
    fresh: bool = True,
    passive: bool = False,
) -> Step:
    """What to do now for `intent`, given how far each of its legs has come.

    `fresh` False (after a restart): no exposure is added beyond what hedges; an entry that has not traded yet is
    given up, for its bar is past. `passive`: the first leg of a pair may wait in the book.
    """
    specs = tuple(instruments[leg.instrument] for leg in intent.legs)
    if any(leg.open and not leg.resting for leg in progress):
        return Wait()
    if progress[0].reopened:
        return _restoring(progress, specs)
    if intent.action is Action.CLOSE:
        return _closing(intent, progress, specs)
    excess = _excess(progress, specs)
    if excess:
        return excess
    if len(intent.legs) == 1:
        return _single(intent, progress[0], specs, fresh)
    return _opening(intent, progress, specs, fresh, passive)


def unhedged(intent: Intent, progress: Progress, instruments: Mapping[str, Instrument]) -> tuple[Decimal, ...]:
    """Signed contracts of each leg that should be matched by the other and are not (see `unmatched`); of an intent
    that was reopened, all that has come since, or left."""
    if progress[0].reopened:
        return tuple(leg.filled - leg.wanted for leg in progress)
    if len(progress) == 1:
        return (ZERO,)
    closing = intent.action is Action.CLOSE
    held = [leg.filled - leg.wanted if closing else leg.filled for leg in progress]
    if not all(leg.size for leg in intent.legs):
        return tuple(held)  # Half a pair is closed: no leg of it is hedged.
    specs = tuple(instruments[leg.instrument] for leg in intent.legs)
    alone = unmatched(held, intent.legs, specs)
    return tuple(spec.round_size(size) for spec, size in zip(specs, alone, strict=True))


def unmatched(held: Sequence[Decimal], wished: Sequence[Leg], specs: Specs) -> tuple[Decimal, ...]:
    """Signed contracts of two legs, `held`, that nothing of the other matches in the proportion of `wished`, before
    lots; none where less than the other's least order is missing."""
    sizes = [abs(leg.size) for leg in wished]
    most, least = (0, 1) if abs(held[0]) * sizes[1] >= abs(held[1]) * sizes[0] else (1, 0)
    missing = specs[least].round_size(sizes[least] * abs(held[most]) / sizes[most]) - abs(held[least])
    if missing < smallest(specs[least]):
        return ZERO, ZERO
    alone = held[most] - (sizes[most] * abs(held[least]) / sizes[least]).copy_sign(held[most])
    return (alone, ZERO) if most == 0 else (ZERO, alone)


def halved(book: Book, wished: Sequence[Leg], instruments: Mapping[str, Instrument]) -> tuple[Leg, ...]:
    """What of a book on which nothing is at work should be traded so that its legs match again; none: they do, or
    an order cannot tell. `wished`: the legs it was opened with."""
    specs = tuple(instruments[leg.instrument] for leg in book.legs)
    held = [leg.size for leg in book.legs]
    tradable = [abs(size) >= smallest(spec) for size, spec in zip(held, specs, strict=True)]
    if all(tradable) and book.strategy != RESIDUE:
        if len(held) != 2 or [leg.instrument for leg in wished] != [leg.instrument for leg in book.legs]:
            return ()
        alone = unmatched(held, wished, specs)
        held = [size - spec.round_size(size - more) for spec, size, more in zip(specs, held, alone, strict=True)]
    if not any(tradable) or not any(held):
        return ()
    return tuple(Leg(leg.instrument, -size if size else ZERO) for leg, size in zip(book.legs, held, strict=True))


def _restoring(progress: Progress, specs: Specs) -> Step:
    """Back to what the intent had when it ended: what has come since was meant for a moment that is past."""
    if any(leg.resting for leg in progress):
        return Cancel(next(index for index, leg in enumerate(progress) if leg.resting))
    rests = [leg.wanted - leg.filled for leg in progress]
    sends = _sends((capped(rest, spec) for rest, spec in zip(rests, specs, strict=True)), specs)
    outcome = "done" if any(leg.wanted for leg in progress) else "unwound"
    return sends or _end(outcome, "what came after the end was taken back", progress, specs, rests)


def _closing(intent: Intent, progress: Progress, specs: Specs) -> Step:
    rests = [leg.wanted - leg.filled for leg in progress]
    sizes = [leg.size for leg in intent.legs]
    steps = together(rests, sizes, count(intent.slices, intent.legs, specs), specs)
    return _sends(steps, specs) or _end("done", "", progress, specs, rests)


def _excess(progress: Progress, specs: Specs) -> tuple[Send, ...]:
    """What an opening has got beyond its wish: an order that was given up for lost has been filled after all."""
    over = (
        leg.wanted - leg.filled if leg.filled * leg.wanted > 0 and abs(leg.filled) > abs(leg.wanted) else ZERO
        for leg in progress
    )
    return _sends((capped(size, spec) for size, spec in zip(over, specs, strict=True)), specs)


def _single(intent: Intent, done: LegProgress, specs: Specs, fresh: bool) -> Step:
    """One leg has nothing to match: what it got is its position, and the next bar may ask for the rest."""
    if abs(done.wanted - done.filled) < smallest(specs[0]):
        return Finish("done")
    if done.failures >= ATTEMPTS or not (fresh or done.filled):
        return Finish("done") if done.filled else Finish("aborted", _why(done) or "restarted before it traded")
    step = ahead(done.wanted, done.filled, count(intent.slices, intent.legs, specs), specs[0])
    return (Send(0, step, reducing=False),)


def _opening(intent: Intent, progress: Progress, specs: Specs, fresh: bool, passive: bool) -> Step:
    one, two = intent.order
    first, second = progress[one], progress[two]
    spec_one, spec_two = specs[one], specs[two]

    # The hedge matches what the first leg got, not what it wanted: a part fill makes a smaller pair.
    hedge = spec_two.round_size(second.wanted * first.filled / first.wanted)
    missing = hedge - second.filled
    unmatched = abs(missing) >= smallest(spec_two)
    beyond = missing * second.wanted < 0
    if unmatched and (beyond or second.failures < ATTEMPTS):
        return (Send(two, capped(missing, spec_two), reducing=beyond),)
    if first.resting:
        return Cancel(one) if unmatched or not fresh else Wait()

    if fresh and second.failures < ATTEMPTS and _goes_on(first):
        step = ahead(first.wanted, first.filled, count(intent.slices, intent.legs, specs), spec_one)
        if abs(step) >= smallest(spec_one):
            crossing = first.last is not None and first.last.order.type is OrderType.POST_ONLY and first.last.short
            retry = first.failures > 0
            return (Send(one, step, reducing=False, passive=passive and not crossing and not retry),)

    # What the second leg did not match is taken back from the first, however often that must be asked. If what
    # it got is less than a lot of the first, there is no pair: both go back.
    if unmatched or second.filled == 0:
        matched = spec_one.round_size(first.wanted * second.filled / second.wanted)
        back = [ZERO, ZERO]
        back[one] = capped(matched - first.filled, spec_one)
        back[two] = ZERO if matched else capped(-second.filled, spec_two)
        sends = _sends(back, specs)
        if sends:
            return sends
    if first.filled and second.filled:
        return Finish("done")
    if not (first.traded or second.traded):
        return Finish("aborted", _why(first) or "the engine was restarted before it traded")
    why = _why(second) if second.attempts else "the first leg got less than the least order of the second"
    return _end("unwound", why, progress, specs, [-leg.filled for leg in progress])


def _goes_on(first: LegProgress) -> bool:
    """Whether the first leg may get more: not when it has been taken back, when its last order that crossed the
    book got only a part (the book holds no more), or when it has got nothing too often."""
    last = first.last
    if last is None or last.order.type is OrderType.POST_ONLY:
        return True
    if last.order.size * first.wanted < 0 or first.failures >= ATTEMPTS:
        return False
    return not (last.filled and last.short)


def _sends(sizes: Iterable[Decimal], specs: Specs) -> tuple[Send, ...]:
    """Orders that take exposure back, of the sizes that can be sent, by leg."""
    sized = enumerate(zip(sizes, specs, strict=True))
    return tuple(Send(leg, size, reducing=True) for leg, (size, spec) in sized if abs(size) >= smallest(spec))


def _end(outcome: str, why: str, progress: Progress, specs: Specs, rests: list[Decimal]) -> Step:
    """The end, where `rests` is what should be closed and is less than the least order.

    Of whole lots it is asked for all the same, until it is refused: some venues take that of an order that closes.
    What then stays is named as it is written (see `Executor`)."""
    for index, (rest, leg, spec) in enumerate(zip(rests, progress, specs, strict=True)):
        if rest and spec.round_size(rest) == rest and not _refused(leg, rest):
            return (Send(index, rest, reducing=True),)
    return Finish(outcome, why)


def _refused(leg: LegProgress, rest: Decimal) -> bool:
    """Whether the exchange has refused to trade what is left of a leg."""
    last = leg.last
    return last is not None and last.state is OrderState.REJECTED and last.order.size == rest


def _why(leg: LegProgress) -> str:
    """The exchange's last word on a leg, for the log."""
    last = leg.last
    return f"{last.code} {last.message}".strip() if last is not None else ""
