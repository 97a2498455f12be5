"""How orders are carried out: what waits, what goes in parts, and how long a leg may stand alone."""

from decimal import Decimal

from pydantic import Field

from core.config.base import Exact, Seconds, Section


class Execution(Section):
    """The legs of a pair. Values are of one leg, in USDT at the prices of the decision; seconds are those of the
    event loop's clock. Nothing is refused: what is too large goes in slices, what takes too long is told."""

    passive_s: float = Field(0.0, ge=0, le=600)
    slice_usdt: Exact = Field(Decimal("Infinity"), gt=0, allow_inf_nan=True)
    max_unhedged_usdt: Exact = Field(Decimal(10_000), gt=0, allow_inf_nan=True)
    max_unhedged_s: Seconds = 10.0
