"""Sweeps: every set told, each as a run of its own would be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.backtest.events import Assumptions
from core.backtest.kernel import Sides
from core.backtest.metrics import growth, metrics, sharpe
from core.backtest.statistics import overfitting_probability
from core.backtest.sweep import GRID, Params, draws, figures, grid, sweep, sweep_signals
from core.backtest.vectorised import run_vectorised
from core.data.synthetic import synthetic_panel
from core.domain.errors import UserError
from core.domain.instrument import pairs_of
from core.domain.market import Floats
from core.strategies.params import DivergenceParams
from tests.backtest.tapes import CASH, replay, source_of, trader_of

PANEL = synthetic_panel(5, 1000)
START = 450
FLAT = Assumptions(slippage="flat")
SOURCE = source_of(PANEL, START)


class Flat:
    """A model that trusts every spread alike."""

    def score(self, features: Floats) -> Floats:
        return np.full(len(features), 0.55)


def test_the_grid_of_the_rule_has_27_sets() -> None:
    sets = grid(GRID)
    assert len(sets) == len({tuple(s.values()) for s in sets}) == 27
    assert sets[0] == {"z_entry": 0.8, "prob_threshold": 0.4, "correlation_threshold": 0.75}
    assert sets[1]["correlation_threshold"] == 0.85


def test_each_set_is_a_run_of_its_own() -> None:
    sets = grid({"z_entry": (0.8, 2.0), "z_window": (24, 48), "max_concurrent_positions": (1, 3)})
    told = sweep(trader_of(PANEL, DivergenceParams()), sets, replay(PANEL, START), CASH, FLAT, SOURCE, block=24)
    assert len(told.params) == 8 and told.returns.shape == (8, (len(PANEL) - START) // 24)
    for number, changed in enumerate(sets):
        params = DivergenceParams.model_validate(changed)
        alone = run_vectorised(trader_of(PANEL, params), replay(PANEL, START), CASH, FLAT, SOURCE)
        row = {
            name: told.column(name)[number] for name in ("profit", "sharpe", "drawdown", "trades", "orders", "fees")
        }
        assert row["profit"] == alone.equity[-1] - CASH
        assert row["sharpe"] == pytest.approx(sharpe(growth(alone.equity), 1.0))
        assert row["drawdown"] == pytest.approx(metrics(alone).max_drawdown.depth)
        assert (row["trades"], row["orders"]) == (len(alone.trades), alone.orders)
        assert row["fees"] == alone.costs[-1, 1]
        assert told.returns[number] == pytest.approx(growth(alone.equity[::24])[: told.returns.shape[1]], abs=1e-6)


def test_every_set_counts_as_a_trial() -> None:
    sets = grid({"z_entry": (0.8, 1.0, 1.2)})
    told = sweep(trader_of(PANEL, DivergenceParams()), sets, replay(PANEL, START), CASH, FLAT, SOURCE, seed=3)
    trials = told.trials()
    assert len({trial.key for trial in trials}) == 3
    alone = run_vectorised(
        trader_of(PANEL, DivergenceParams(z_entry=1.2)), replay(PANEL, START), CASH, FLAT, SOURCE, seed=3
    )
    assert trials[2].params == alone.params and trials[2].assumptions == alone.assumptions
    assert trials[2].sharpe == pytest.approx(sharpe(growth(alone.equity), 1.0) or 0.0)
    best = told.ranked()[0]
    assert told.column("sharpe")[best] == told.column("sharpe").max()


def test_overfitting_can_be_judged_from_its_blocks() -> None:
    told = sweep(
        trader_of(PANEL, DivergenceParams()), grid(GRID), replay(PANEL, START), CASH, FLAT, SOURCE, block=24
    )
    assert 0 <= overfitting_probability(told.returns.astype(np.float64), 8) <= 1


def test_random_sets_are_those_of_their_seed() -> None:
    axes = {"z_entry": (0.8, 1.6), "cooldown_bars": (0, 6, 12), "stop_mode": ("atr", "volatility")}
    some = draws(axes, 50, seed=9)
    assert some == draws(axes, 50, seed=9) != draws(axes, 50, seed=10)
    assert all(0.8 <= s["z_entry"] <= 1.6 and s["cooldown_bars"] in (0, 6, 12) for s in some)
    assert len({s["z_entry"] for s in some}) == 50 and {s["stop_mode"] for s in some} == {"atr", "volatility"}


@given(count=st.integers(1, 40), seed=st.integers(0, 2**32 - 1), values=st.lists(st.integers(0, 5), min_size=1))
def test_random_sets_are_all_different(count: int, seed: int, values: list[int]) -> None:
    axes = {"cooldown_bars": tuple(values), "stop_mode": ("atr", "volatility"), "z_exit": (0.5, 0.5)}
    some = [tuple(drawn.values()) for drawn in draws(axes, count, seed)]
    assert len(some) == len(set(some)) == min(count, 2 * len(set(values)))


@pytest.mark.parametrize(("wrong", "named"), [({"z_enter": 1.0}, "z_enter"), ({"z_entry": -1.0}, "z_entry")])
def test_a_set_that_cannot_be_is_named(wrong: Params, named: str) -> None:
    with pytest.raises(UserError, match=named):
        sweep(trader_of(PANEL, DivergenceParams()), [wrong], replay(PANEL, START), CASH, FLAT, SOURCE)


def test_windows_that_the_model_does_not_know_are_refused() -> None:
    trader = trader_of(PANEL, DivergenceParams(), "divergence", Flat())
    with pytest.raises(UserError, match="not trained on"):
        sweep(trader, [{"z_window": 48}], replay(PANEL, START), CASH, FLAT, SOURCE)


def test_signals_of_ones_own_can_be_swept() -> None:
    pairs = pairs_of(PANEL.assets)[:3]
    grid_of_sides = np.zeros((len(PANEL), 3), np.int8)

    def signals(params: Params) -> Sides:
        grid_of_sides[:] = 0
        grid_of_sides[500 : 500 + int(params["bars"])] = 1
        return grid_of_sides

    sets = grid({"bars": (10, 20)})
    told = sweep_signals("mine", signals, sets, replay(PANEL, START), pairs, np.full(3, 1000.0), CASH, FLAT, SOURCE)
    assert told.column("trades").tolist() == [3, 3] and told.column("bars_held").tolist() == [30, 60]
    assert told.returns.size == 0


def test_a_ruined_account_stays_at_nothing() -> None:
    equity = np.array([100.0, 50.0, -10.0, 80.0])
    ratio, depth = figures(equity)
    assert depth == -1.0
    assert ratio == pytest.approx(sharpe(growth(equity), 1.0))
