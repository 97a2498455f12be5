"""The features of every pair at every closed bar, by one compiled loop for history and live.

`PairFeatures` feeds `core.features.pair_loop.run`: `history` hands it T bars, `update` one. State is carried
from bar to bar, so T calls of one bar give the same bits as one call of T bars, and nothing of the future is
ever in reach. Finite windows are recomputed from ring buffers, oldest value first, so a restart from the last
`warmup` bars gives the same bits; only `spread_rsi` is recursive, and has forgotten its start by then
((13/14)^400 = 1e-13).

Returns are close to close, on the last valid close: a silent bar has return 0, true range 0 and keeps its
pair's volume ratio. The optional exchange-inflow columns of the specification are not computed: no source
delivers them yet, and a column of zeros would only pretend.
"""

import hashlib
import math
from collections.abc import Sequence

import msgspec
import numpy as np

from core.data.panel import Ints
from core.domain.instrument import Pair, pairs_of
from core.domain.market import Bar, Floats
from core.features.pair_loop import MEMORY, NAMES, Flags, Grids, Outputs, State, Windows, run
from core.features.stream import Stream

DAY_MS = 86_400_000
VERSION = 1
"""Rises whenever a definition in `pair_loop` changes, so that older models are refused."""


class FeatureParams(msgspec.Struct, frozen=True):
    """Windows in bars. `min_bars`: aligned bars, among the last 400, below which a pair is not usable."""

    z_window: int = 24
    atr_period: int = 14
    correlation_window: int = 168
    min_bars: int = 200


class Frame(msgspec.Struct, frozen=True):
    """What is known when the bar that opened at `ts` has closed; fields as in `core.domain.decision.View`."""

    ts: int
    features: Floats
    usable: Flags
    close: Floats
    funding: Floats
    atr_pct: Floats
    correlation: Floats
    volatility: Floats


class FeatureHistory(msgspec.Struct, frozen=True):
    """T frames in arrays: `features` (T, P, F), `usable` (T, P), `close`, `funding`, `atr_pct`, `volatility`
    (T, N).

    The correlation matrix in force at bar t is `correlations[day[t]]`, with `day` (T,) int64."""

    ts: Ints
    features: Floats
    usable: Flags
    close: Floats
    funding: Floats
    atr_pct: Floats
    correlations: Floats
    day: Ints
    volatility: Floats

    def frame(self, t: int) -> Frame:
        """Bar t, as `update` would have returned it."""
        return Frame(
            int(self.ts[t]),
            self.features[t],
            self.usable[t],
            self.close[t],
            self.funding[t],
            self.atr_pct[t],
            self.correlations[self.day[t]],
            self.volatility[t],
        )


class PairFeatures(Stream[FeatureHistory]):
    """The features of all pairs of `assets`, fed with closed bars in order.

    `pairs` (P) in the order of `pairs_of(assets)`; `names` (F). Features that cannot be computed (window not
    full, deviation zero, price missing) are 0 and their pair is not usable, others are untouched by it.
    """

    names = NAMES

    def __init__(self, assets: Sequence[str], params: FeatureParams | None = None, bar_ms: int = 3_600_000) -> None:
        super().__init__(assets, bar_ms)
        self.pairs: tuple[Pair, ...] = pairs_of(self.assets)
        self.params = params or FeatureParams()
        order = {asset: i for i, asset in enumerate(self.assets)}
        legs = [(order[pair.a], order[pair.b]) for pair in self.pairs]
        self._legs = np.ascontiguousarray(np.array(legs, np.int64).reshape(-1, 2).T)
        self._windows = Windows(
            self.params.z_window, self.params.atr_period, self.params.correlation_window, self.params.min_bars
        )
        self._state = State.fresh(len(self.assets), len(self.pairs), self._windows)

    @property
    def warmup(self) -> int:
        """Bars of history after which a fresh start cannot be told from one that has run for ever."""
        return max(MEMORY, DAY_MS // self.bar_ms + self.params.correlation_window + 1)

    @property
    def hash(self) -> str:
        """Names the definition of the features: a model trained on another one is refused."""
        return feature_hash(self.params)

    def update(self, bar: Bar) -> Frame:
        """Feed one closed bar and return its frame. Bars that were skipped count as silent ones."""
        return self._bar(bar).frame(0)

    def _run(self, ts: Ints, grids: Grids) -> FeatureHistory:
        bars, n, p = len(ts), len(self.assets), len(self.pairs)
        day = np.cumsum(ts % DAY_MS < self.bar_ms, dtype=np.int64)
        correlations = np.empty((int(day[-1]) + 1 if bars else 1, n, n))
        correlations[0] = self._state.correlation
        out = Outputs(
            np.empty((bars, p, len(NAMES))),
            np.empty((bars, p), np.bool_),
            np.empty((bars, n)),
            np.empty((bars, n)),
            np.empty((bars, n)),
            correlations,
        )
        run(self._state, self._windows, self._legs, day, grids, out)
        a_day = out.volatility * math.sqrt(DAY_MS / self.bar_ms)
        return FeatureHistory(
            ts, out.features, out.usable, out.close, grids.funding, out.atr_pct, out.correlations, day, a_day
        )


def feature_hash(params: FeatureParams) -> str:
    """16 hexadecimal digits over the definition's version, the columns and the windows."""
    text = f"{VERSION}|{','.join(NAMES)}|{msgspec.json.encode(params).decode()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
