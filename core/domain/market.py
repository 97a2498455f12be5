"""What the market says: candles, tickers, funding, and the closed bar of a whole universe."""

from decimal import Decimal

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Candle(msgspec.Struct, frozen=True):
    """One closed candle of one instrument, stamped by its open time; volume in units of the base asset."""

    instrument: str
    open_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Ticker(msgspec.Struct, frozen=True):
    """Best prices of one instrument at market time `ts`; `received` is monotonic seconds, for health."""

    instrument: str
    ts: int
    bid: Decimal
    ask: Decimal
    last: Decimal
    received: float = 0.0


class Funding(msgspec.Struct, frozen=True):
    """A funding rate of one instrument, settled (or due) at `ts`, for a period of `period_ms`."""

    instrument: str
    ts: int
    rate: float
    period_ms: int

    @property
    def rate_8h(self) -> float:
        """The rate scaled to eight hours, the one scale in features, filters and screens."""
        return self.rate * 28_800_000 / self.period_ms


class Mark(msgspec.Struct, frozen=True):
    """The mark price of one instrument at market time `ts`."""

    instrument: str
    ts: int
    price: Decimal


class Bar(msgspec.Struct, frozen=True):
    """One closed bar of a universe of N assets, in the order of the configuration.

    `open_ms` is the open time, `close_ms` the moment it became known. `ohlcv` is (N, 5) float64
    (volume in base units), `funding` (N,) the last settled rate per 8 hours (0 where unknown), `valid`
    (N,) bool: False where the asset's candle is missing, silent or broken; its prices then repeat the
    last valid close and its volume is 0.
    """

    open_ms: int
    close_ms: int
    ohlcv: Floats
    funding: Floats
    valid: NDArray[np.bool_]
