"""Contract sizes of the swaps that the local exchange lists.

Values follow OKX's listing (`GET /api/v5/public/instruments?instType=SWAP`: ctVal, lotSz, minSz, tickSz,
maxMktSz, lever) as of 2024 for the ten default assets. An asset outside the table gets sizes derived from its
price: what they are matters less than that they are of the same shape.
"""

from decimal import Decimal
from math import floor, log10

from core.domain.instrument import Instrument

QUOTE = "USDT"

#   asset: ctVal, lotSz, minSz, tickSz, maxMktSz, lever
_LISTED = {
    "BTC": ("0.01", "0.01", "0.01", "0.1", "12000", "100"),
    "ETH": ("0.1", "0.01", "0.01", "0.01", "20000", "100"),
    "SOL": ("1", "0.01", "0.01", "0.01", "15000", "50"),
    "XRP": ("100", "0.01", "0.01", "0.0001", "25000", "50"),
    "BNB": ("0.01", "1", "1", "0.1", "50000", "50"),
    "DOGE": ("1000", "0.01", "0.01", "0.00001", "10000", "50"),
    "ADA": ("100", "0.1", "0.1", "0.0001", "20000", "50"),
    "AVAX": ("1", "0.1", "0.1", "0.01", "25000", "50"),
    "LINK": ("1", "0.1", "0.1", "0.001", "40000", "50"),
    "DOT": ("1", "0.1", "0.1", "0.001", "60000", "50"),
}


def swap(asset: str, price: float) -> Instrument:
    """The USDT-margined perpetual of `asset`; `price` (> 0) sizes it where it is not in the table."""
    contract, lot, least, tick, most, lever = _LISTED.get(asset) or _derived(price)
    return Instrument(
        id=f"{asset}-{QUOTE}-SWAP",
        asset=asset,
        quote=QUOTE,
        settle=QUOTE,
        contract=Decimal(contract),
        lot=Decimal(lot),
        tick=Decimal(tick),
        min_size=Decimal(least),
        max_market_size=Decimal(most),
        max_leverage=Decimal(lever),
    )


def _derived(price: float) -> tuple[str, str, str, str, str, str]:
    """A contract worth about 10 USDT, prices of five digits."""
    power = floor(log10(price))
    return _ten(1 - power), "0.1", "0.1", _ten(power - 4), "50000", "20"


def _ten(power: int) -> str:
    return format(Decimal(1).scaleb(power), "f")
