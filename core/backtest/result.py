"""What a backtest leaves behind: the one form that metrics, reports, audits and screens read.

Floats, for statistics: the exact books of an event-driven run stay in its ledger.
"""

import msgspec
import numpy as np

from core.data.panel import Ints
from core.domain.backtest import Source
from core.domain.market import Floats


class Trade(msgspec.Struct, frozen=True):
    """One round trip: a pair (or, of a baseline, a single asset) from flat to flat.

    `side` +1 long the spread, -1 short. `opened`, `closed`: market time of its first and last fill, ms UTC;
    `bars` between them. Money is in the settlement currency: `gross` the entry value of all legs, `price` the
    profit at the market's own prices (mid), `slippage`, `fees`, `funding` what trading and holding it brought
    beside (negative: paid). `entry` and `exit` say why. `score`, `probability`: of the deciding bar.
    """

    strategy: str
    pair: str
    side: int
    opened: int
    closed: int
    bars: int
    gross: float
    price: float
    slippage: float
    fees: float
    funding: float
    entry: str
    exit: str
    score: float = 0.0
    probability: float = 1.0

    @property
    def pnl(self) -> float:
        """What it made, all costs and funding included."""
        return self.price + self.slippage + self.fees + self.funding


class Result(msgspec.Struct, frozen=True):
    """A run of one strategy over T bars. Rows 1..T of the series stand at the close of bar 1..T, row 0 before.

    `ts` (T+1,) int64 ms UTC; `equity` (T+1,) at closes, costs and funding so far included, from `equity[0]`, the
    deposit; `exposure` (T+1, P) signed value held per pair at closes (long the spread positive: the value of both
    legs), columns named by `pairs`; `costs` (T+1, 3) sums so far of slippage, fees, funding (negative: paid).
    `trades` in order of closing; `open_pairs` still held at the end: their profit is in `equity` alone.
    `assumptions`: what was supposed of fees, slippage, latency, fills, each in words. `digest`: over decisions and
    fills, in order ("" where there is none).
    """

    strategy: str
    engine: str
    params: dict[str, float | int | str]
    source: Source
    assumptions: dict[str, str]
    seed: int
    ts: Ints
    equity: Floats
    pairs: tuple[str, ...]
    exposure: Floats
    costs: Floats
    trades: tuple[Trade, ...]
    open_pairs: tuple[str, ...] = ()
    orders: int = 0
    fills: int = 0
    digest: str = ""
    notes: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """What a column is: "pair", or "asset" where each is traded for itself."""
        return "pair" if any("/" in name for name in self.pairs) else "asset"

    def returns(self) -> Floats:
        """(T,) simple returns per bar of the equity."""
        return np.diff(self.equity) / self.equity[:-1]
