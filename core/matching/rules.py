"""What this exchange charges, how deep its books are, and what it asks as margin."""

from decimal import Decimal

import msgspec


class Rules(msgspec.Struct, frozen=True):
    """The exchange's own parameters; the defaults are those of an ordinary OKX account.

    `maker`, `taker`: fees as shares of notional (positive: paid). `spread_bps`: full spread around the mark.
    `depth_share`: the share of one bar's turnover that lies on each side of the book, over `levels` levels.
    `maintenance_rate`: maintenance margin as a share of notional. `price_band`: how far from the mark, as
    a share of it, an order may trade. `seed` varies the depth of the levels.
    """

    maker: Decimal = Decimal("0.0002")
    taker: Decimal = Decimal("0.0005")
    spread_bps: Decimal = Decimal(2)
    depth_share: float = 0.01
    levels: int = 10
    maintenance_rate: Decimal = Decimal("0.005")
    price_band: Decimal = Decimal("0.02")
    seed: int = 7
