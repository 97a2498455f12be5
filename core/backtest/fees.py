"""What trading costs: (maker, taker) as shares of notional, positive: paid, by name of the fee schedule.

Perpetual swaps, regular users and the first VIP tier: https://www.okx.com/fees (2024).
"""

from decimal import Decimal

from core.domain.errors import UserError

Fees = tuple[Decimal, Decimal]

FEES: dict[str, Fees] = {
    "okx-regular": (Decimal("0.0002"), Decimal("0.0005")),
    "okx-vip1": (Decimal("0.00018"), Decimal("0.00045")),
    "none": (Decimal(0), Decimal(0)),
}


MOST = Decimal("0.01")
"""No exchange charges (or pays) as much."""


def fees(name: str) -> Fees:
    """The schedule of that name, or `MAKER/TAKER` in basis points, like `2/5`."""
    if name in FEES:
        return FEES[name]
    try:
        maker, taker = (Decimal(part) / 10_000 for part in name.split("/"))
        if not max(abs(maker), abs(taker)) < MOST:
            raise ValueError
    except (ValueError, ArithmeticError):
        known = ", ".join(FEES)
        raise UserError(f"fees {name!r}: not one of {known}, nor MAKER/TAKER in basis points, like 2/5") from None
    return maker, taker
