"""Exact arithmetic for the fold: nothing is rounded silently, and where a share must be rounded, it is here.

The quantum is 1e-12 of the currency, half to even. What rounding a share leaves over always stays with somebody,
so that sums are conserved to the last digit.
"""

from collections.abc import Sequence
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    FloatOperation,
    Inexact,
    InvalidOperation,
    Overflow,
)

ZERO = Decimal(0)
QUANTUM = Decimal("1e-12")

# Sums of size x contract x price stay far below 60 digits: one that does not is a fault, not a rounding.
EXACT = Context(prec=60, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow, FloatOperation])
_WIDE = Context(prec=100, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])


def share(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """amount x part / whole, rounded to the quantum."""
    return _WIDE.divide(_WIDE.multiply(amount, part), whole).quantize(QUANTUM, context=_WIDE)


def shares(amount: Decimal, parts: Sequence[Decimal], whole: Decimal) -> list[Decimal]:
    """`amount` split in proportion to `parts` of `whole`, which they sum to; the residual goes to the first."""
    split = [share(amount, part, whole) for part in parts]
    split[0] += amount - sum(split, ZERO)
    return split
