"""Metrics: what each figure means, on numbers one can check by hand, and what must hold for every run."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import DEPOSIT, made_result

from core.backtest.metrics import (
    DAY_MS,
    drawdowns,
    growth,
    kurtosis,
    last_rows,
    metrics,
    sharpe,
    skew,
    sortino,
    tail,
)
from core.backtest.result import Result, Trade
from core.data.synthetic import HOUR_MS, START_MS
from core.domain.backtest import Metrics, Money
from core.domain.market import Floats


def flat(equity: list[float], *trades: Trade, bar_ms: int = DAY_MS) -> Result:
    """A run with this equity at closes of bars, one pair, nothing held unless `trades` say so."""
    shape = made_result(0, bars=len(equity) - 1, pairs=1, trades=1, bar_ms=bar_ms)
    rows = len(equity)
    return msgspec.structs.replace(
        shape,
        equity=np.array(equity, float),
        exposure=np.zeros((rows, 1)),
        costs=np.zeros((rows, 3)),
        trades=trades,
        orders=0,
        fills=0,
    )


def trade(price: float, hours: int = 5, pair: str = "BTC/ETH", cost: float = -1.0) -> Trade:
    closed = START_MS + hours * HOUR_MS
    return Trade("divergence", pair, 1, START_MS, closed, hours, 1_000.0, price, cost, 2 * cost, 0.5, "z", "z")


def test_return_and_growth_of_a_year_that_doubles() -> None:
    figures = metrics(flat([100.0 * 2 ** (bar / 365) for bar in range(366)]))
    assert figures.years == 1
    assert figures.total_return == pytest.approx(1.0)
    assert figures.cagr == pytest.approx(1.0)


def test_a_half_year_is_compounded_to_a_year() -> None:
    figures = metrics(flat([100.0, 110.0], bar_ms=365 * DAY_MS // 2))
    assert figures.cagr == pytest.approx(1.1**2 - 1)


def test_volatility_sharpe_and_sortino_by_hand() -> None:
    returns = np.array([0.01, -0.02, 0.03, 0.0])
    mean, deviation = 0.005, math.sqrt(((0.005) ** 2 + 0.025**2 + 0.025**2 + 0.005**2) / 3)
    assert sharpe(returns, 365) == pytest.approx(mean / deviation * math.sqrt(365))
    assert sortino(returns, 365) == pytest.approx(mean / (0.02 / math.sqrt(4)) * math.sqrt(365))


def test_bars_of_any_length_give_yearly_figures() -> None:
    """The same returns an hour each are 24 times as many a year."""
    equity = (100 * np.cumprod(1 + np.random.default_rng(1).normal(0, 0.01, 500))).tolist()
    day, hour = metrics(flat(equity)), metrics(flat(equity, bar_ms=HOUR_MS))
    assert hour.volatility == pytest.approx(day.volatility * math.sqrt(24))
    assert hour.sharpe == pytest.approx((day.sharpe or 0) * math.sqrt(24))


def test_what_is_not_defined_is_none_and_never_nan() -> None:
    figures = metrics(flat([100.0] * 50))
    undefined = figures.sharpe, figures.sortino, figures.calmar, figures.skew, figures.kurtosis
    assert undefined == (None,) * 5
    assert figures.trades.hit_rate is None and figures.trades.profit_factor is None
    assert b"null" in msgspec.json.encode(figures)
    assert msgspec.json.decode(msgspec.json.encode(figures), type=Metrics) == figures


def test_a_run_of_no_bars_is_refused() -> None:
    with pytest.raises(ValueError, match="no bars"):
        metrics(msgspec.structs.replace(made_result(1), equity=np.array([1.0])))


def test_drawdowns_with_their_dates() -> None:
    equity = np.array([100.0, 120, 90, 96, 120, 130, 117, 125])
    ts = np.arange(8) * DAY_MS
    first, second = drawdowns(ts, equity)
    assert (first.depth, first.peak_ms, first.trough_ms) == pytest.approx((-0.25, DAY_MS, 2 * DAY_MS))
    assert (first.recovered_ms, first.bars, first.down_bars) == (4 * DAY_MS, 3, 1)
    assert (second.depth, second.recovered_ms, second.bars) == pytest.approx((-0.1, 0, 2))


def test_the_deepest_drawdown_need_not_be_the_longest() -> None:
    figures = metrics(flat([100.0, 50, 100, 99, 98, 97, 99]))
    assert figures.max_drawdown.depth == -0.5 and figures.max_drawdown.bars == 2
    assert figures.underwater.depth == pytest.approx(-0.03) and figures.underwater.bars == 4
    assert figures.calmar == pytest.approx(figures.cagr / 0.5)


def test_value_at_risk_is_read_off_the_returns() -> None:
    returns = np.concatenate([np.full(95, 0.01), [-0.01, -0.02, -0.03, -0.04, -0.05, -0.06]])
    limit, beyond = tail(returns)
    assert limit == -0.01
    assert beyond == pytest.approx(-0.035)


def test_a_close_at_midnight_ends_the_day_before() -> None:
    ts = START_MS + np.arange(50) * HOUR_MS  # from midnight
    assert last_rows(ts, "D").tolist() == [23, 47, 48]


def test_daily_risk_is_that_of_the_days() -> None:
    result = made_result(4, bars=24 * 40)
    ends = np.concatenate([result.equity[:1], result.equity[24::24]])
    figures = metrics(result)
    assert (figures.var_day, figures.cvar_day) == pytest.approx(tail(ends[1:] / ends[:-1] - 1))


def test_a_ruined_account_stays_ruined() -> None:
    assert growth(np.array([100.0, 50, -10, 20, 40])).tolist() == [-0.5, -1, 0, 0]
    figures = metrics(flat([100.0, 50, -10, 20, 40]))
    assert (figures.total_return, figures.cagr) == (-1, -1)


def test_trades_by_hand() -> None:
    """Profits after costs (-1 slippage, -2 fees, +0.5 funding): 17.5, 7.5, -12.5."""
    trades = (trade(20, 2), trade(10, 4), trade(-10, 9))
    figures = metrics(flat([100.0, 112.5], *trades)).trades
    assert (figures.count, figures.wins, figures.hit_rate) == pytest.approx((3, 2, 2 / 3))
    assert (figures.average_win, figures.average_loss) == (12.5, -12.5)
    assert (figures.payoff, figures.profit_factor) == (1, 2)
    assert figures.expectancy == pytest.approx(12.5 / 3)
    assert figures.expectancy_share == pytest.approx(12.5 / 3_000)
    assert (figures.hours_mean, figures.hours_median) == (5, 4)
    assert figures.money == Money(20, -3, -6, 1.5, 12.5)


def test_a_trade_that_made_nothing_is_no_win() -> None:
    figures = metrics(flat([100.0, 100.0], trade(2.5))).trades
    assert (figures.wins, figures.hit_rate, figures.profit_factor, figures.payoff) == (0, 0, None, None)


def test_exposure_and_turnover() -> None:
    held = np.array([[0.0, 0.0], [50, -50], [0, -100], [0, 0]])
    result = msgspec.structs.replace(flat([100.0] * 4, trade(0)), exposure=held, pairs=("BTC/ETH", "BTC/SOL"))
    figures = metrics(result)
    assert figures.exposure == pytest.approx((1 + 1 + 0) / 3)
    assert figures.time_in_market == pytest.approx(2 / 3)
    assert figures.turnover == pytest.approx(2 * 1_000 / 100 * 365 / 3)
    assert {pair.pair: pair.exposure for pair in figures.pairs} == pytest.approx({"BTC/ETH": 1 / 6, "BTC/SOL": 0.5})


def test_what_is_still_held_counts_once_in_turnover() -> None:
    held = np.array([[0.0], [100.0]])
    figures = metrics(msgspec.structs.replace(flat([100.0, 100.0]), exposure=held, open_pairs=("BTC/ETH",)))
    assert figures.turnover == pytest.approx(365)
    assert figures.pairs[0].open and figures.pairs[0].trades.count == 0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), bars=st.integers(50, 400), edge=st.floats(-0.01, 0.01))
def test_the_money_adds_up(seed: int, bars: int, edge: float) -> None:
    """Gross, slippage, fees and funding make the net; pairs make the trades; the net is the equity's change."""
    result = made_result(seed, bars, trades=20, edge=edge)
    figures = metrics(result)
    money = figures.money
    assert money.net == pytest.approx(result.equity[-1] - DEPOSIT)
    assert money.gross + money.slippage + money.fees + money.funding == pytest.approx(money.net)
    assert sum(pair.trades.money.net for pair in figures.pairs) == pytest.approx(figures.trades.money.net)
    assert sum(pair.trades.count for pair in figures.pairs) == figures.trades.count == len(result.trades)
    assert figures.trades.money.net == pytest.approx(money.net)  # the maker leaves nothing open
    assert figures.max_drawdown.depth <= figures.underwater.depth
    assert [pair.trades.money.net for pair in figures.pairs] == sorted(
        (pair.trades.money.net for pair in figures.pairs), reverse=True
    )


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-0.2, 0.2), min_size=5, max_size=60)
    .map(np.array)
    .filter(lambda returns: float(np.std(returns)) > 1e-6)
)
def test_scale_does_not_change_ratios(returns: Floats) -> None:
    """Sharpe, skew and kurtosis are of the shape alone: twice the size, the same figures."""
    for figure in (lambda x: sharpe(x, 365), skew, kurtosis):
        assert figure(2 * returns) == pytest.approx(figure(returns), rel=1e-6, abs=1e-9)
