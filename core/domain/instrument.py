"""What can be traded, and the pairs made of it."""

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

import msgspec


class Instrument(msgspec.Struct, frozen=True):
    """A linear perpetual swap: one contract is `contract` units of `asset`, settled in `settle`.

    Lot, minimum and maximum sizes are in contracts, tick is in units of the quote currency.
    Names follow OKX's `GET /api/v5/public/instruments` (ctVal, lotSz, minSz, maxMktSz, tickSz, lever).
    """

    id: str
    asset: str
    quote: str
    settle: str
    contract: Decimal
    lot: Decimal
    tick: Decimal
    min_size: Decimal
    max_market_size: Decimal
    max_leverage: Decimal

    def round_size(self, size: Decimal) -> Decimal:
        """`size` (signed contracts) cut toward zero to a whole number of lots."""
        return (size / self.lot).to_integral_value(ROUND_DOWN) * self.lot

    def round_price(self, price: Decimal) -> Decimal:
        """`price` rounded to the nearest tick."""
        return (price / self.tick).to_integral_value(ROUND_HALF_EVEN) * self.tick

    def contracts(self, notional: Decimal, price: Decimal) -> Decimal:
        """Contracts, in whole lots, whose value at `price` does not exceed `notional` (signed alike)."""
        return self.round_size(notional / (price * self.contract))

    def notional(self, size: Decimal, price: Decimal) -> Decimal:
        """Value of `size` contracts at `price`, in the quote currency, signed like `size`."""
        return size * self.contract * price


class Pair(msgspec.Struct, frozen=True):
    """A base leg `a` and a quote leg `b`, by asset; `direct` says the venue lists their cross market.

    Without `b` it is a single asset, held for itself: what is traded against the whole of a cluster has one leg."""

    a: str
    b: str = ""
    direct: bool = False

    @property
    def name(self) -> str:
        """The one name of the pair everywhere: `BTC/ETH`; of a single asset its own."""
        return f"{self.a}/{self.b}" if self.b else self.a

    @property
    def assets(self) -> tuple[str, ...]:
        """The assets of its legs."""
        return (self.a, self.b) if self.b else (self.a,)


def pairs_of(assets: tuple[str, ...]) -> tuple[Pair, ...]:
    """All N(N-1)/2 pairs in the order of the configuration: a always precedes b."""
    return tuple(Pair(a, b) for i, a in enumerate(assets) for b in assets[i + 1 :])
