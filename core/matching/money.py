"""Exact arithmetic: whatever cannot be exact is rounded here, to one quantum, and nowhere else."""

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

# Sums and products of sizes, prices and rates stay below 40 digits; one that does not is a fault, not a rounding.
EXACT = Context(prec=40, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow, FloatOperation])
_ROUNDING = Context(prec=80, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])


def product(a: Decimal, b: Decimal) -> Decimal:
    """a * b, rounded half even to 1e-12: for rates which may have any number of digits."""
    return _ROUNDING.multiply(a, b).quantize(QUANTUM, context=_ROUNDING)


def ratio(a: Decimal, b: Decimal) -> Decimal:
    """a / b, rounded half even to 1e-12."""
    return _ROUNDING.divide(a, b).quantize(QUANTUM, context=_ROUNDING)
