"""A leg that is too large for one order goes in slices: how many, and how far the next one reaches.

All from contracts alone, so that a restart and a backtest cut where the live run has cut.
"""

from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal

from core.domain.instrument import Instrument
from core.domain.orders import Leg

MOST_SLICES = 100
"""More slices than this are no order any more but a programme: such a size is refused."""
ZERO = Decimal(0)


def smallest(instrument: Instrument) -> Decimal:
    """The smallest order the venue takes, in contracts: what is less cannot be sent."""
    return max(instrument.lot, instrument.min_size)


def largest(instrument: Instrument) -> Decimal:
    """The largest market order the venue takes, in contracts and whole lots."""
    return instrument.round_size(instrument.max_market_size)


def needed(legs: Sequence[Leg], specs: Sequence[Instrument], prices: Sequence[Decimal], most: Decimal) -> int:
    """Slices of `legs` so that none is worth more than `most` (quote currency), as far as least orders allow."""
    worth = (abs(s.notional(leg.size, price)) for leg, s, price in zip(legs, specs, prices, strict=True))
    fits = (int(abs(leg.size) / smallest(spec)) for leg, spec in zip(legs, specs, strict=True))
    return max(min(max(_up(value / most) for value in worth), *fits), 1)


def count(slices: int, legs: Sequence[Leg], specs: Sequence[Instrument]) -> int:
    """Slices of an intent that asks for `slices`: at least those that the venue's largest orders make of it."""
    return max(slices, *(_up(abs(leg.size) / largest(spec)) for leg, spec in zip(legs, specs, strict=True)))


def ahead(wanted: Decimal, filled: Decimal, slices: int, spec: Instrument) -> Decimal:
    """Signed contracts of the next order towards `wanted`: to the end of the slice that `filled` stands in.

    Slices end on whole lots, rounded up, so that what is filled at the end of one can be hedged to its full share.
    """
    rest = wanted - filled
    for number in range(1, slices):
        lots = _up(abs(wanted) * number / slices / spec.lot)
        step = (lots * spec.lot).copy_sign(wanted) - filled
        if step * wanted > 0 and smallest(spec) <= abs(step) < abs(rest):
            return capped(step, spec)
    return capped(rest, spec)


def together(
    rests: Sequence[Decimal], sizes: Sequence[Decimal], slices: int, specs: Sequence[Instrument]
) -> tuple[Decimal, ...]:
    """Signed contracts of the next orders that bring `rests` to nothing, a slice of `sizes` at a time.

    No leg starts on a slice before the others have come to the end of the one before. 0: nothing that can be sent.
    """
    shares = (abs(rest) * slices / abs(size) for rest, size in zip(rests, sizes, strict=True) if size)
    for left in reversed(range(_up(max(shares, default=ZERO)))):
        steps = []
        for rest, size, spec in zip(rests, sizes, specs, strict=True):
            lots = _up((abs(rest) - abs(size) * left / slices) / spec.lot)
            step = min(max(lots, 0) * spec.lot, abs(rest)) if left else abs(rest)
            steps.append(capped(step.copy_sign(rest), spec) if step >= smallest(spec) else ZERO)
        if any(steps):
            return tuple(steps)
    return tuple(ZERO for _ in rests)


def capped(size: Decimal, spec: Instrument) -> Decimal:
    """Signed contracts, at most the venue's largest order."""
    return max(min(size, largest(spec)), -largest(spec))


def _up(number: Decimal) -> int:
    return int(number.to_integral_value(ROUND_CEILING))
