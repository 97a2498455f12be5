"""What the thinking wing hands to the acting wing."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.domain.instrument import Pair
from core.domain.market import Floats


class View(msgspec.Struct, frozen=True):
    """What is known when a bar has closed: the only thing `decide` sees of the market.

    P pairs, N assets, F features. `features` (P, F) in the order of `names`; `probability` (P,) is
    calibrated and in [0, 1]; `usable` (P,) bool: enough aligned bars and a live candle in both legs;
    `close`, `funding` (per 8 h), `atr_pct`, `volatility` (std of the last day's returns, scaled to a day; 0 where
    unknown) are (N,), `correlation` (N, N).
    """

    ts: int
    assets: tuple[str, ...]
    pairs: tuple[Pair, ...]
    names: tuple[str, ...]
    features: Floats
    probability: Floats
    usable: NDArray[np.bool_]
    close: Floats
    funding: Floats
    atr_pct: Floats
    correlation: Floats
    bar_ms: int
    volatility: Floats

    def column(self, name: str) -> Floats:
        """The (P,) column of one feature."""
        return self.features[:, self.names.index(name)]


class Entry(msgspec.Struct, frozen=True):
    """Open a pair: `side` +1 long the spread, -1 short; `notional` is USDT per leg."""

    pair: str
    side: int
    notional: float
    stop: float
    target: float
    z: float
    score: float
    probability: float
    reason: str


class Target(msgspec.Struct, frozen=True):
    """Hold `notional` USDT of a single asset from now on (negative: short; 0: nothing), and why.

    Only what is to change is named: an asset without a target stays as it is. `score` is for the book and the
    screen."""

    pair: str
    notional: float
    reason: str
    score: float = 0.0


class Exit(msgspec.Struct, frozen=True):
    """Close a pair, and why; `barred`: not to be entered again before z has crossed zero. `into`: the pair that
    takes its place on the same bar; where that one cannot be entered, this one stays."""

    pair: str
    reason: str
    barred: bool = False
    into: str = ""


class Decision(msgspec.Struct, frozen=True):
    """One strategy's answer to one closed bar.

    `reasons` (P,) uint8 indexes `texts`: why each pair is (not) traded. `released` names pairs whose bar
    after a stop has ended. `score` (P,) and `direction` (P,) int8 are for the screen. `text` says in words why
    nothing is done, where nothing is. `targets` are the new sizes of single assets.
    """

    ts: int
    strategy: str
    entries: tuple[Entry, ...]
    exits: tuple[Exit, ...]
    released: tuple[str, ...]
    reasons: NDArray[np.uint8]
    texts: tuple[str, ...]
    score: Floats
    direction: NDArray[np.int8]
    text: str = ""
    targets: tuple[Target, ...] = ()
