"""The metrics agree with quantstats on the same returns; where the definitions differ, that is said and held."""

from importlib import import_module
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from made import made_result

from core.backtest.metrics import YEAR_MS, metrics
from core.backtest.result import Result
from core.backtest.statistics import probabilistic, statistics
from core.domain.market import Floats

theirs: Any = import_module("quantstats.stats")  # its types are not declared
DAY_MS = 86_400_000
RUNS = {
    "hours": made_result(3, bars=3_000, edge=0.002),
    "losing": made_result(8, bars=2_000, edge=-0.004),
    "days": made_result(5, bars=700, bar_ms=DAY_MS),
}


@pytest.fixture(params=RUNS, scope="module")
def result(request: pytest.FixtureRequest) -> Result:
    return RUNS[request.param]


@pytest.fixture
def returns(result: Result) -> "pd.Series[float]":
    """As quantstats takes them: a series stamped by time."""
    return pd.Series(result.returns(), index=pd.to_datetime(result.ts[1:], unit="ms"))


def test_report_agrees_with_quantstats_on_the_same_returns(result: Result, returns: "pd.Series[float]") -> None:
    periods, ours = YEAR_MS / result.source.bar_ms, metrics(result)
    expected = {
        "total_return": theirs.comp(returns),
        "cagr": theirs.cagr(returns, periods=periods),
        "volatility": theirs.volatility(returns, periods=periods),
        "sharpe": theirs.sharpe(returns, periods=periods),
        "sortino": theirs.sortino(returns, periods=periods),
        "calmar": theirs.calmar(returns, periods=periods),
        "cvar_bar": theirs.cvar(returns, method="historical"),
        "skew": theirs.skew(returns),
        "kurtosis": theirs.kurtosis(returns),
    }
    assert {name: getattr(ours, name) for name in expected} == pytest.approx(expected, rel=1e-9)
    assert ours.max_drawdown.depth == pytest.approx(theirs.max_drawdown(returns))


def test_drawdown_dates_are_those_of_quantstats(result: Result, returns: "pd.Series[float]") -> None:
    details = theirs.drawdown_details(theirs.to_drawdown_series(returns))
    deepest = details.loc[details["max drawdown"].idxmin()]
    ours = metrics(result).max_drawdown
    assert pd.Timestamp(ours.trough_ms, unit="ms").strftime("%Y-%m-%d") == deepest["valley"]
    assert 100 * ours.depth == pytest.approx(deepest["max drawdown"])


def test_probabilistic_sharpe_agrees(result: Result, returns: "pd.Series[float]") -> None:
    assert statistics(result).probabilistic_sharpe == pytest.approx(theirs.probabilistic_ratio(returns))


def test_profits_per_trade_agree_where_a_trade_is_a_return() -> None:
    """Their hit rate, profit factor and payoff are of bars; fed with the trades' profits they are ours."""
    result = RUNS["hours"]
    profits, ours = pd.Series([trade.pnl for trade in result.trades]), metrics(result).trades
    assert ours.hit_rate == pytest.approx(theirs.win_rate(profits, prepare_returns=False))
    assert ours.profit_factor == pytest.approx(theirs.profit_factor(profits, prepare_returns=False))
    won, lost = profits[profits > 0], profits[profits < 0]
    assert [ours.average_win, ours.average_loss] == pytest.approx([won.mean(), lost.mean()])


def test_value_at_risk_differs_because_theirs_is_of_a_normal_distribution() -> None:
    """On normal returns both say the same; on the fat tails of a market only the quantile says how much is lost."""
    normal = made_result(1, bars=20_000)
    draws = np.random.default_rng(0).normal(0, 0.01, 20_000)
    normal_run = _with(normal, draws)
    assert metrics(normal_run).var_bar == pytest.approx(theirs.var(pd.Series(draws)), rel=0.02)
    fat = np.random.default_rng(0).standard_t(2.2, 20_000).clip(-40, 40) * 0.005
    ours, gaussian = metrics(_with(normal, fat)).var_bar, theirs.var(pd.Series(fat))
    assert np.mean(fat < ours) == pytest.approx(0.05, abs=1e-3)
    assert abs(np.mean(fat < gaussian) - 0.05) > 0.01


def _with(result: Result, returns: Floats) -> Result:
    return msgspec.structs.replace(result, equity=1e4 * np.concatenate([[1.0], np.cumprod(1 + returns)]))


def test_a_normal_sample_has_the_textbook_probability() -> None:
    """PSR of a Sharpe ratio of 0 is one half, whatever the shape."""
    assert probabilistic(0.0, 500, -2.0, 9.0) == 0.5
