"""What a strategy must beat: simple rules on the same bars, with the same costs, through the same accounting.

Each asset is traded for itself, long or flat, an equal share of the whole; a position is kept as it was entered,
and entered anew with the same share. Parameters are the customary ones, and tuned to nothing:

- buy-hold: every asset from the first bar to the last.
- ma-cross: long while the mean of 24 closes is above that of 96 (Brock, Lakonishok and LeBaron 1992, Simple
  Technical Trading Rules and the Stochastic Properties of Stock Returns, whose "variable length" rule it is).
- rsi: long from below 30 to above 70 (Wilder 1978, New Concepts in Technical Trading Systems).
- supertrend: long while the close is above the lower band of 3 ATR (O. Seban's Supertrend).
- btc-eth-regime: the divergence rule without its model on that one pair, if the universe has it.
"""

import numpy as np
from numpy.typing import NDArray

from core.backtest.events import Assumptions
from core.backtest.kernel import Sides
from core.backtest.result import Result
from core.backtest.vectorised import run_signals, run_vectorised
from core.data.panel import Panel, last_where
from core.domain.backtest import Source
from core.domain.instrument import Pair
from core.domain.market import Floats
from core.features.indicators import IndicatorParams, Indicators
from core.matching.replay import Market
from core.strategies.params import DivergenceParams
from core.strategies.registry import pair_features, strategy
from core.trader import Trader

PARAMS = IndicatorParams()
OVERSOLD, OVERBOUGHT = 30.0, 70.0
REGIME = "btc-eth-regime"


def baselines(
    trader: Trader, market: Market, cash: float, assumptions: Assumptions, source: Source
) -> list[Result]:
    """Every baseline over the bars that `trader` is judged on.

    The whole of each is what `trader` may hold at most: both legs of all its positions at twice the base size."""
    own = trader.params
    params = own if isinstance(own, DivergenceParams) else DivergenceParams(base_size_usdt=own.base_size_usdt)
    most = 4.0 * params.base_size_usdt * params.max_concurrent_positions
    gross = min(most, float(trader.limits.free_share) * cash)
    panel = market.panel.slice(0, market.end)
    alone = [Pair(asset, asset) for asset in panel.assets]
    share, hedge = np.full(len(alone), gross / len(alone)), np.zeros(len(alone))
    at = (market, alone, share, cash, assumptions, source)
    runs = [
        run_signals(name, signals, *at, params={"gross_usdt": gross} | told, hedge=hedge)
        for name, (signals, told) in asset_signals(panel).items()
    ]
    rule = strategy(REGIME)
    if set(rule.assets) <= set(panel.assets):
        instruments = {instrument.id: instrument for instrument in market.instruments}
        features = pair_features(panel.assets, params, panel.bar_ms)
        regime = Trader(rule, params, features, None, instruments, trader.limits)
        runs.append(run_vectorised(regime, market, cash, assumptions, source))
    return runs


def asset_signals(panel: Panel) -> dict[str, tuple[Sides, dict[str, float | int | str]]]:
    """Of each baseline by name: target sides (T, N), 1 long or 0 flat, decided at closes, and its parameters."""
    columns = Indicators(panel.assets, panel.bar_ms, PARAMS).history(panel)
    names = Indicators.names

    def column(name: str) -> tuple[Floats, NDArray[np.bool_]]:
        at = names.index(name)
        return columns.values[:, :, at], columns.valid[:, :, at]

    fast, _ = column("sma_fast")
    slow, known = column("sma_slow")
    rsi, rsi_known = column("rsi")
    side, side_known = column("supertrend_side")
    priced = np.isfinite(panel.close)
    return {
        "buy-hold": (priced.astype(np.int8), {}),
        "ma-cross": (
            kept(known & (fast > slow), known & (fast <= slow)),
            {"fast": PARAMS.fast, "slow": PARAMS.slow},
        ),
        "rsi": (
            kept(rsi_known & (rsi < OVERSOLD), rsi_known & (rsi > OVERBOUGHT)),
            {"period": PARAMS.rsi_period, "oversold": OVERSOLD, "overbought": OVERBOUGHT},
        ),
        "supertrend": (
            kept(side_known & (side > 0), side_known & (side < 0)),
            {"period": PARAMS.atr_period, "multiplier": PARAMS.supertrend_multiplier},
        ),
    }


def kept(long: NDArray[np.bool_], flat: NDArray[np.bool_]) -> Sides:
    """(T, N) 1 from a bar that says `long` to one that says `flat`: what is said stands until the other is."""
    return np.asarray(last_where(long) > last_where(flat), np.int8)
