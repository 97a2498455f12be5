"""Hedge ratios, spreads and regimes of every pair, by one compiled loop for history and live.

The model of a pair is log(close_a) = alpha + beta log(close_b) + error: 1 USDT of a is hedged by beta USDT of b.

- `ols`: least squares over the last `window` bars.
- `kalman`: alpha and beta walk at random, and a Kalman filter follows them (R. E. Kalman 1960; for pairs:
  E. P. Chan, Algorithmic Trading, 2013, ch. 3). Neither of its noises is a number to tune; both adapt to the pair
  (M. West, J. Harrison, Bayesian Forecasting and Dynamic Models, 1997, ch. 6.3 and 10.8). Q = P (1/keep - 1) with
  keep = 2^(-1/half_life), a discount factor: it fits prices of any scale, and forgets at a rate that is known, so
  that the warm-up is. R is the running mean, with the same half-life, of surprise^2 / (1 + H P H' / R); it makes
  `kalman_deviation`, that of the spread as foreseen. An R that moved the gain, as in covariance matching, would
  learn least just after a pair has broken. The filter begins with the regression of the first full window.

The spread that is traded at bar t uses alpha and beta as known at t-1 (`beta_lag`); so does its z-score, and the
check for a jump of beta, which at t compares t-1 with t-2. `adf` is the t statistic of Engle and Granger's test on
the residual of the regression, `cointegrated` its verdict by MacKinnon's values for an estimated beta; `adf_ratio`
and `ratio_reverting` are the plain test on log(close_a / close_b), whose beta of 1 nobody estimated.

The regressions, tests and z-scores look at finite windows, so a restart changes none of their bits; the filter
is recursive and has forgotten its start after `warmup` bars. A silent bar repeats the last valid close; the filter
does not count it.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from core.data.panel import Ints
from core.domain.instrument import Pair, pairs_of
from core.features.hedge_loop import LAGS, NAMES, Rule, State, run
from core.features.mackinnon import Level, critical_value
from core.features.pair_loop import Grids
from core.features.stream import Columns, ColumnStream, forgotten


class HedgeParams(msgspec.Struct, frozen=True):
    """Windows in bars; `window` is that of regression and tests. `min_bars`: aligned bars within it below which a
    pair is not valid. `max_beta_jump`: a larger change of beta from one bar to the next blocks the spread.
    `half_life` is the filter's. `significance` is that of both tests."""

    window: int = 168
    z_window: int = 24
    volatility_window: int = 24
    min_bars: int = 150
    max_beta_jump: float = 0.1
    half_life: float = 72.0
    significance: Level = "5%"


class HedgeFeatures(ColumnStream):
    """Per pair, for each of `ols_` and `kalman_`: `alpha` and `beta` as known with this bar; as known before it
    `beta_lag`, `beta_jump` (absolute change), `spread` (log price units, 0 on the line), `z_score` and `volatility`
    (sample deviation of the spread's changes, per bar). Then `kalman_deviation`, `adf`, `cointegrated`,
    `adf_ratio`, `ratio_reverting` (verdicts are 1 or 0).

    `pairs` (P) are in the order of `pairs_of(assets)` unless given."""

    names = NAMES

    def __init__(
        self,
        assets: Sequence[str],
        bar_ms: int = 3_600_000,
        params: HedgeParams | None = None,
        pairs: Sequence[Pair] | None = None,
    ) -> None:
        super().__init__(assets, bar_ms)
        self.pairs = pairs_of(self.assets) if pairs is None else tuple(pairs)
        p = self.params = params or HedgeParams()
        tested = p.window - 1 - LAGS
        self._rule = Rule(
            p.window,
            p.z_window,
            p.volatility_window,
            p.min_bars,
            0.5 ** (1 / p.half_life),
            p.max_beta_jump,
            critical_value(p.significance, 2, tested),
            critical_value(p.significance, 1, tested),
        )
        order = {asset: i for i, asset in enumerate(self.assets)}
        legs = [(order[pair.a], order[pair.b]) for pair in self.pairs]
        self._legs = np.ascontiguousarray(np.array(legs, np.int64).reshape(-1, 2).T)
        self._state = State.fresh(len(self.assets), len(self.pairs), self._rule)

    @property
    def warmup(self) -> int:
        """Bars after which the filter has forgotten its start, and every window is full."""
        p = self.params
        return p.window + 2 + max(p.z_window, p.volatility_window + 1, forgotten(0.5 ** (1 / p.half_life)))

    def _run(self, ts: Ints, grids: Grids) -> Columns:
        shape = (len(ts), len(self.pairs), len(NAMES))
        out = Columns(ts, np.empty(shape), np.empty(shape, np.bool_))
        run(self._state, self._rule, self._legs, grids, out.values, out.valid)
        return out
