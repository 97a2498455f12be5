"""From a wish in USDT to two legs in whole lots that still match."""

from collections.abc import Mapping
from decimal import Decimal

from core.domain.account import Book
from core.domain.decision import Entry, Exit, Target
from core.domain.instrument import Instrument
from core.domain.orders import Action, Intent, Leg, Origin
from core.execution.slices import MOST_SLICES, largest, needed, smallest

INFINITY = Decimal("Infinity")


class Unsizable(Exception):
    """A pair cannot be sized: one line that says why."""


def size_legs(
    specs: tuple[Instrument, Instrument], prices: tuple[Decimal, Decimal], side: int, notional: Decimal
) -> tuple[Leg, Leg]:
    """Two legs of `notional` each (quote currency), side +1: long the first and short the second.

    The leg with the coarser lot is cut to whole lots first; the other then matches the value that is left, so
    that both legs agree within one lot of the coarser. Raises `Unsizable` where a lot or minimum is too large, or
    so many slices would be needed that they were no order any more.
    """
    steps = [spec.notional(spec.lot, price) for spec, price in zip(specs, prices, strict=True)]
    coarse = 0 if steps[0] >= steps[1] else 1
    fine = 1 - coarse
    sizes = [Decimal(0), Decimal(0)]
    sizes[coarse] = specs[coarse].contracts(notional, prices[coarse])
    value = specs[coarse].notional(sizes[coarse], prices[coarse])
    sizes[fine] = specs[fine].contracts(value, prices[fine])
    for leg in (coarse, fine):  # The coarser first: where it fails, the other is zero for its sake.
        spec, price, size = specs[leg], prices[leg], sizes[leg]
        least = smallest(spec)
        if size < least:
            raise Unsizable(
                f"{notional:.2f} USDT is less than the least order of {spec.id}: "
                f"{least} contracts, {spec.notional(least, price):.2f} USDT"
            )
        bounded(size, spec)
    return Leg(specs[0].id, side * sizes[0]), Leg(specs[1].id, -side * sizes[1])


def bounded(size: Decimal, spec: Instrument) -> None:
    """Raise `Unsizable` where `size` (unsigned contracts) takes too many of the largest orders to be one itself."""
    if size > MOST_SLICES * largest(spec):
        raise Unsizable(
            f"{size} contracts of {spec.id} exceed {MOST_SLICES} times its largest market order, {largest(spec)}"
        )


def entry_intent(
    intent_id: str,
    ts: int,
    strategy: str,
    entry: Entry,
    specs: tuple[Instrument, Instrument],
    prices: tuple[Decimal, Decimal],
    turnover: tuple[float, float],
    origin: Origin = Origin.STRATEGY,
    most: Decimal = INFINITY,
) -> Intent:
    """The intent of an entry; `turnover` (value traded in the last bar) says which leg is less liquid. It goes in
    slices worth `most` at most, a leg.

    Whatever numbers a strategy reckons in, NumPy's too, an intent holds those that the ledger can write."""
    side = int(entry.side)
    legs = size_legs(specs, prices, side, Decimal(repr(float(entry.notional))))
    return Intent(
        id=intent_id,
        ts=ts,
        strategy=strategy,
        pair=entry.pair,
        action=Action.OPEN,
        origin=origin,
        legs=legs,
        reason=entry.reason,
        order=(0, 1) if turnover[0] <= turnover[1] else (1, 0),
        side=side,
        stop=float(entry.stop),
        target=float(entry.target),
        z=float(entry.z),
        score=float(entry.score),
        probability=float(entry.probability),
        slices=needed(legs, specs, prices, most),
    )


def exit_intent(intent_id: str, ts: int, book: Book, exit: Exit, origin: Origin = Origin.STRATEGY) -> Intent:
    """The intent that takes a book back to flat, as it is held now, in as many slices as it was opened."""
    return Intent(
        id=intent_id,
        ts=ts,
        strategy=book.strategy,
        pair=book.pair,
        action=Action.CLOSE,
        origin=origin,
        legs=tuple(Leg(leg.instrument, -leg.size) for leg in book.legs),
        reason=exit.reason,
        side=book.side,
        slices=book.slices,
    )


def target_intent(
    intent_id: str,
    ts: int,
    strategy: str,
    target: Target,
    book: Book | None,
    spec: Instrument,
    price: Decimal,
    most: Decimal = INFINITY,
) -> Intent | None:
    """The intent that brings a single asset to its target's size, in whole lots and slices worth `most` at most;
    None: it is there already.

    A smaller size closes a part, a larger one opens more. Through zero it takes two bars: the first one closes, for
    what leaves must not wait for leave to enter. What takes too many of the exchange's largest orders for one
    step is cut to as many as may be: the next bar asks for the rest."""
    held = book.legs[0].size if book is not None else Decimal(0)
    wanted = spec.contracts(Decimal(repr(float(target.notional))), price)
    if held * wanted < 0:
        wanted = Decimal(0)
    change = wanted - held
    if abs(change) < smallest(spec):
        return None
    if abs(wanted) > abs(held):
        largest_step = MOST_SLICES * largest(spec)
        change = max(min(change, largest_step), -largest_step)
    legs = (Leg(spec.id, change),)
    return Intent(
        id=intent_id,
        ts=ts,
        strategy=strategy,
        pair=target.pair,
        action=Action.CLOSE if abs(wanted) < abs(held) else Action.OPEN,
        origin=Origin.STRATEGY,
        legs=legs,
        reason=target.reason,
        order=(0,),
        side=1 if (wanted or held) > 0 else -1,
        score=float(target.score),
        slices=needed(legs, (spec,), (price,), most),
    )


def margin_of(
    legs: tuple[Leg, ...], instruments: Mapping[str, Instrument], prices: Mapping[str, Decimal], leverage: Decimal
) -> Decimal:
    """Initial margin of `legs` at `prices`, in the settlement currency."""
    gross = sum(
        (abs(instruments[leg.instrument].notional(leg.size, prices[leg.instrument])) for leg in legs), Decimal(0)
    )
    return gross / leverage
