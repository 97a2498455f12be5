"""The vectorised and the event-driven backtest, under the same assumptions: the same trades, the same money.

The event-driven run goes through the live trader, risk gate, legs, ledger and matching core, in exact decimals; the
vectorised one through compiled floats. Orders of the last bar are left out: the one fills them at the last close,
the other never."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from core.backtest.events import Assumptions, run_events
from core.backtest.result import Result, Trade
from core.backtest.vectorised import run_vectorised
from core.data.importer import load_panel
from core.data.panel import Panel
from core.data.synthetic import ASSETS, synthetic_panel
from core.domain.market import Floats
from core.strategies.params import DivergenceParams
from core.trader import Model
from tests.backtest.tapes import CASH, replay, source_of, trader_of

START = 450
FLAT = Assumptions(slippage="flat")
"""Whole orders at the next open, half a spread from the mark; no latency, nothing refused."""


class Leaning:
    """A model of one line: it trusts a spread that has moved fast."""

    def score(self, features: Floats) -> Floats:
        scores: Floats = 1 / (1 + np.exp(-0.5 * np.abs(features[:, 3])))
        return scores


POOR = 15_000
"""A deposit of which both legs of one pair take nearly all."""
RUNS = {
    "as configured": ("zscore", DivergenceParams(), None),
    "with a model": ("divergence", DivergenceParams(prob_threshold=0.6, z_exit=0.3), Leaning()),
    "three at a time": ("zscore", DivergenceParams(max_concurrent_positions=3, base_size_usdt=3000), None),
    "switching": ("zscore", DivergenceParams(max_concurrent_positions=2, switch_threshold=0.8), None),
    "tight stops, cooling down": (
        "zscore",
        DivergenceParams(
            stop_mode="volatility",
            stop_default=0.01,
            target_default=0.02,
            target_min=0.01,
            stop_min=0.005,
            cooldown_bars=5,
            min_hold_bars=2,
            horizon_bars=30,
        ),
        None,
    ),
    "more than the margin": ("zscore", DivergenceParams(base_size_usdt=120_000), None),
    "more than the gross allowed": (
        "zscore",
        DivergenceParams(base_size_usdt=4500, max_concurrent_positions=4, correlation_threshold=1.0),
        None,
    ),
    "one pair": ("btc-eth-regime", DivergenceParams(), None),
}


def both(panel: Panel, name: str, params: DivergenceParams, model: Model | None) -> tuple[Result, Result]:
    cash = POOR if params.base_size_usdt > 100_000 else int(CASH)
    exact = run_events(
        [trader_of(panel, params, name, model)],
        replay(panel, START),
        Decimal(cash),
        FLAT,
        source_of(panel, START),
        seed=7,
        catastrophe_share=Decimal("0.99"),
    )
    fast = run_vectorised(
        trader_of(panel, params, name, model), replay(panel, START), float(cash), FLAT, source_of(panel, START)
    )
    return exact.result, fast


def agree(panel: Panel, exact: Result, fast: Result) -> None:
    """Trades, money at every close, exposure, costs."""
    last = int(panel.ts[-1]) + panel.bar_ms
    wanted = sorted((trade for trade in exact.trades if trade.closed < last), key=_place)
    found = sorted(fast.trades, key=_place)
    assert [_place(trade) for trade in found] == [_place(trade) for trade in wanted]
    for field in ("gross", "price", "slippage", "fees", "funding", "score", "probability", "bars"):
        money = [[getattr(trade, field) for trade in trades] for trades in (found, wanted)]
        assert money[0] == pytest.approx(money[1], abs=1e-6), field
    assert (fast.ts == exact.ts).all()
    assert fast.equity[:-1] == pytest.approx(exact.equity[:-1], abs=1e-6)
    assert fast.costs[:-1] == pytest.approx(exact.costs[:-1], abs=1e-6)
    assert fast.exposure == pytest.approx(exact.exposure, abs=1e-6)


def _place(trade: Trade) -> tuple[int, int, str, int]:
    return trade.closed, trade.opened, trade.pair, trade.side


@pytest.mark.parametrize("case", RUNS)
def test_both_engines_make_the_same_trades(case: str) -> None:
    panel = synthetic_panel(11, 1500)
    exact, fast = both(panel, *RUNS[case])
    assert len(fast.trades) > 10
    agree(panel, exact, fast)


@pytest.mark.parametrize("case", ["as configured", "with a model", "switching", "tight stops, cooling down"])
def test_both_engines_make_the_same_trades_on_real_data(case: str, shared_data: Path) -> None:
    files = shared_data / "perp_1h_10.parquet", shared_data / "perp_funding_10.parquet"
    panel = load_panel(*files, ASSETS, "1h").slice(4000, 7000)
    exact, fast = both(panel, *RUNS[case])
    assert len(fast.trades) > 50
    agree(panel, exact, fast)
