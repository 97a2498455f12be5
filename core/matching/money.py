"""Exact arithmetic: whatever cannot be exact is rounded here, to one quantum, and nowhere else."""

from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DecimalException,
    DivisionByZero,
    FloatOperation,
    Inexact,
    InvalidOperation,
    Overflow,
    Subnormal,
)

ZERO = Decimal(0)
QUANTUM = Decimal("1e-12")

# Sums and products of sizes, prices and rates stay below 60 digits; one that does not is a fault, not a rounding.
EXACT = Context(prec=60, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow, FloatOperation])
_ROUNDING = Context(prec=120, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])
# Raises on more than 18 digits and on magnitudes beyond 1e18 and 1e-18.
_MEANT = Context(prec=18, Emax=18, Emin=-18, traps=[Inexact, InvalidOperation, Overflow, Subnormal])


def sane(value: Decimal) -> bool:
    """A number that can have been meant: finite, at most 18 digits, so that exact arithmetic can hold it."""
    try:
        return _MEANT.plus(value).is_finite()
    except DecimalException:
        return False


def product(a: Decimal, b: Decimal) -> Decimal:
    """a * b, rounded half even to 1e-12: for rates which may have any number of digits."""
    return _ROUNDING.multiply(a, b).quantize(QUANTUM, context=_ROUNDING)


def ratio(a: Decimal, b: Decimal) -> Decimal:
    """a / b, rounded half even to 1e-12."""
    return _ROUNDING.divide(a, b).quantize(QUANTUM, context=_ROUNDING)
