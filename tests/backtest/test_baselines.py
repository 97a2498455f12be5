"""The rules that a strategy is set beside: each does what its name says, with the same costs."""

import numpy as np
import pandas as pd
import pytest

from core.backtest.baselines import asset_signals, baselines, kept
from core.backtest.events import Assumptions
from core.data.panel import Panel
from core.data.synthetic import synthetic_panel
from core.domain.backtest import BASELINES
from core.strategies.params import DivergenceParams
from tests.backtest.tapes import CASH, replay, source_of, trader_of

PANEL = synthetic_panel(5, 900)
START = 450
FLAT = Assumptions(slippage="flat")


def test_all_of_them_by_name_on_the_same_bars() -> None:
    trader = trader_of(PANEL, DivergenceParams())
    runs = baselines(trader, replay(PANEL, START), CASH, FLAT, source_of(PANEL, START))
    assert [run.strategy for run in runs] == [*BASELINES, "btc-eth-regime"]
    for run in runs:
        assert (run.ts == runs[0].ts).all() and run.equity[0] == CASH
        assert run.assumptions == runs[0].assumptions and run.source == runs[0].source
    assert runs[-1].pairs != runs[0].pairs == PANEL.assets
    assert {trade.pair for trade in runs[-1].trades} == {"BTC/ETH"}


def test_buying_and_holding_is_the_mean_of_the_returns() -> None:
    """Equal shares bought at the second open, never sold: the profit of 4,000 USDT, less one side's costs."""
    runs = baselines(
        trader_of(PANEL, DivergenceParams()), replay(PANEL, START), CASH, FLAT, source_of(PANEL, START)
    )
    held = runs[0]
    growth = (PANEL.close[-1] / PANEL.open[START + 1] - 1).mean()
    assert held.equity[-1] - CASH == pytest.approx(4000 * growth + held.costs[-1].sum(), abs=4)
    assert held.orders == 10 and set(held.open_pairs) == set(PANEL.assets) and not held.trades


def test_a_universe_without_the_pair_has_no_regime() -> None:
    panel = synthetic_panel(5, 700, ("SOL", "XRP", "ADA"))
    runs = baselines(
        trader_of(panel, DivergenceParams()), replay(panel, START), CASH, FLAT, source_of(panel, START)
    )
    assert [run.strategy for run in runs] == [*BASELINES]


def test_the_cross_is_long_above_the_slow_mean() -> None:
    close = pd.DataFrame(PANEL.close)
    fast, slow = close.rolling(24).mean(), close.rolling(96).mean()
    wanted = (fast > slow).to_numpy()
    clear = (abs(fast / slow - 1) > 1e-9).to_numpy()
    assert clear.mean() > 0.85
    signals, params = asset_signals(PANEL)["ma-cross"]
    assert (signals == wanted)[clear].all()
    assert params == {"fast": 24, "slow": 96}


def test_what_is_said_stands_until_the_other_is() -> None:
    long = np.array([[0], [1], [0], [0], [0], [1]], np.bool_)
    flat = np.array([[1], [0], [0], [1], [0], [0]], np.bool_)
    assert kept(long, flat)[:, 0].tolist() == [0, 1, 1, 0, 0, 1]


def test_signals_know_no_future() -> None:
    part = asset_signals(PANEL.slice(0, 600))
    for name, (signals, _) in asset_signals(PANEL).items():
        assert (signals[:600] == part[name][0]).all(), name


def test_an_asset_without_a_price_is_not_bought() -> None:
    grids = [grid.copy() for grid in (PANEL.open, PANEL.high, PANEL.low, PANEL.close, PANEL.volume)]
    for grid in grids:
        grid[:700, 3] = np.nan
    grids[4][:700, 3] = 0.0
    late = Panel.of(PANEL.ts, PANEL.assets, grids, PANEL.bar_ms)
    held = baselines(trader_of(late, DivergenceParams()), replay(late, START), CASH, FLAT, source_of(late, START))[
        0
    ]
    assert np.isfinite(held.equity).all() and not held.notes
    assert held.exposure[700 - START + 1, 3] == 0 and held.exposure[701 - START + 1, 3] > 0
