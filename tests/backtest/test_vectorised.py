"""The vectorised backtest as a whole: what it tells, and what it refuses to suppose."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from core.backtest.events import Assumptions, run_events
from core.backtest.metrics import metrics
from core.backtest.vectorised import costs_of, learn, run_signals, run_vectorised, score
from core.data.synthetic import synthetic_panel
from core.domain.account import Holdings
from core.domain.decision import Decision, View
from core.domain.errors import UserError
from core.domain.instrument import pairs_of
from core.features.pairs import PairFeatures
from core.strategies.params import DivergenceParams
from core.strategies.registry import Strategy
from core.trader import Trader
from tests.backtest.tapes import CASH, LIMITS, replay, source_of, trader_of

PANEL = synthetic_panel(5, 900)
START = 450
FLAT = Assumptions(slippage="flat")


def test_the_result_adds_up() -> None:
    """What closed trades made, and what open ones are worth, is what the equity shows; costs are told apart."""
    trader = trader_of(PANEL, DivergenceParams(max_concurrent_positions=3))
    result = run_vectorised(trader, replay(PANEL, START), CASH, FLAT, source_of(PANEL, START))
    held = result.exposure != 0
    flat = max(t for t in range(len(held)) if not held[t].any())
    assert len(result.trades) > 20
    closed = [trade for trade in result.trades if trade.closed <= result.ts[flat]]
    assert sum(trade.pnl for trade in closed) == pytest.approx(result.equity[flat] - CASH, abs=1e-6)
    assert sum(trade.fees for trade in closed) == pytest.approx(result.costs[flat, 1], abs=1e-6)
    assert result.ts[0] == PANEL.ts[START] and result.ts[-1] == PANEL.ts[-1] + PANEL.bar_ms
    assert len(result.ts) == len(result.equity) == len(PANEL) - START + 1
    assert result.equity[0] == CASH and result.fills == result.orders
    assert result.open_pairs == tuple(np.array(result.pairs)[held[-1]])
    assert metrics(result).trades.count == len(result.trades)


def test_every_exit_and_entry_says_why() -> None:
    params = DivergenceParams(
        max_concurrent_positions=3, horizon_bars=12, stop_min=0.005, stop_atr=0.5, target_atr=1.0, target_min=0.005
    )
    result = run_vectorised(trader_of(PANEL, params), replay(PANEL, START), CASH, FLAT, source_of(PANEL, START))
    assert {trade.exit for trade in result.trades} == {"stop", "target", "z crossed", "time stop"}
    assert all(trade.bars <= 12 for trade in result.trades)
    for trade in result.trades:
        assert trade.entry.startswith("z -" if trade.side > 0 else "z +")


def test_both_engines_say_where_there_are_no_funding_rates() -> None:
    """Rates of the history before are none of the period."""
    panel = PANEL.slice(0, START + 30)
    silent = panel.funding_rate.copy()
    silent[START:] = np.nan
    for market, words in (
        (panel, "settled rates on"),
        (replace(panel, funding_rate=silent), "none: the data have"),
    ):
        at = replay(market, START), CASH, FLAT, source_of(market, START)
        trader, cash = trader_of(market, DivergenceParams()), Decimal(int(CASH))
        fast = run_vectorised(trader, *at)
        exact = run_events([trader], at[0], cash, FLAT, at[3], seed=7, catastrophe_share=Decimal("0.99")).result
        assert exact.assumptions["funding"] == fast.assumptions["funding"]
        assert fast.assumptions["funding"].startswith(words)


def test_the_last_bars_can_be_left_out() -> None:
    """A run that ends earlier is the beginning of the longer one."""
    trader = trader_of(PANEL, DivergenceParams(max_concurrent_positions=3))
    whole = run_vectorised(trader, replay(PANEL, START), CASH, FLAT, source_of(PANEL, START))
    part = run_vectorised(trader, replay(PANEL, START, 200), CASH, FLAT, source_of(PANEL, START))
    assert (part.equity == whole.equity[:201]).all() and (part.exposure == whole.exposure[:201]).all()


def test_one_scoring_of_all_rows_is_that_of_each_bar() -> None:
    class Model:
        def score(self, features: np.ndarray) -> np.ndarray:
            return 1 / (1 + np.exp(-features[:, 1]))

    told = PairFeatures(PANEL.assets).history(PANEL).features
    at_once = score(Model(), told)
    assert (at_once == np.stack([Model().score(told[t]) for t in range(len(PANEL))])).all()


def test_what_is_known_can_be_used_again() -> None:
    trader = trader_of(PANEL, DivergenceParams())
    known = learn(PANEL, trader.features, None)
    args = trader, replay(PANEL, START), CASH, FLAT, source_of(PANEL, START)
    assert (run_vectorised(*args, known=known).equity == run_vectorised(*args).equity).all()


@pytest.mark.parametrize("other", [Assumptions(latency="100"), Assumptions(rejects=0.01)])
def test_what_it_cannot_suppose_is_refused(other: Assumptions) -> None:
    with pytest.raises(UserError, match="use the event-driven one"):
        costs_of(other)


def test_a_rule_in_python_is_refused_by_name() -> None:
    def decide(view: View, holdings: Holdings, params: DivergenceParams) -> Decision:
        raise AssertionError

    usual = trader_of(PANEL, DivergenceParams())
    trader = Trader(Strategy(name="mine", decide=decide), usual.params, usual.features, None, {}, LIMITS)
    with pytest.raises(UserError, match="strategy mine decides in Python"):
        run_vectorised(trader, replay(PANEL, START), CASH, FLAT, source_of(PANEL, START))


def test_signals_of_ones_own_are_traded_and_told() -> None:
    pairs = pairs_of(PANEL.assets)[:2]
    signals = np.zeros((len(PANEL), 2), np.int8)
    signals[500:600, 0], signals[550:, 1] = 1, -1
    result = run_signals(
        "mine",
        signals,
        replay(PANEL, START),
        pairs,
        np.array([1000.0, 500.0]),
        CASH,
        FLAT,
        source_of(PANEL, START),
        params={"own": 1},
    )
    (trade,) = result.trades
    assert (trade.pair, trade.side, trade.bars, trade.exit) == (pairs[0].name, 1, 100, "signal")
    assert (trade.opened, trade.closed) == (PANEL.ts[501], PANEL.ts[601])
    assert trade.gross == pytest.approx(2000, rel=0.01)
    assert result.open_pairs == (pairs[1].name,) and result.orders == 6
    assert result.params == {"own": 1}
