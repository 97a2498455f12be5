"""The books of a run add up, and each way in which they might not is found and named."""

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from small_run import WARM, market, run, unfunded

from core.backtest.result import Result
from core.data.panel import Panel
from core.research.accounting import accounting
from core.research.decisions import causal, deciding_bars

replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def panel() -> Panel:
    return unfunded(market())


@pytest.fixture(scope="module")
def result(panel: Panel) -> Result:
    return run(panel)


def test_an_honest_run_passes(result: Result, panel: Panel) -> None:
    check = accounting(result, panel)
    assert len(result.trades) > 20
    assert check.passed, check.findings


def lost_fee(result: Result) -> Result:
    trades = list(result.trades)
    trades[3] = replace(trades[3], fees=trades[3].fees * 0.5)
    return replace(result, trades=tuple(trades))


def earned_fees(result: Result) -> Result:
    return replace(result, costs=-result.costs)


def free_money(result: Result) -> Result:
    equity = result.equity.copy()
    equity[-200:] += 1.0
    return replace(result, equity=equity)


def held_unbought(result: Result) -> Result:
    exposure = result.exposure.copy()
    column = result.pairs.index(result.trades[2].pair)
    first = int(np.searchsorted(result.ts, result.trades[2].opened, side="right"))
    exposure[first - 1, column] = exposure[first, column]  # at the close of the deciding bar
    return replace(result, exposure=exposure)


def other_asset(result: Result) -> Result:
    """The published version's defect: one pair's signals on another's prices."""
    trades = list(result.trades)
    trade = trades[5]
    trades[5] = replace(trade, price=trade.price + 0.05 * trade.gross, fees=trade.fees - 0.05 * trade.gross)
    return replace(result, trades=tuple(trades))


def not_a_number(result: Result) -> Result:
    equity = result.equity.copy()
    equity[100] = np.nan
    return replace(result, equity=equity)


@pytest.mark.parametrize(
    ("spoil", "name", "fault"),
    [
        (lost_fee, "equity", "away from deposit plus the profit"),
        (lost_fee, "fees", "of the account and of its trades differ"),
        (earned_fees, "fees", "it was earned, not paid"),
        (free_money, "equity", "+1.0000 away"),
        (held_unbought, "", "where its trades say +0"),
        (other_asset, "", "from open to open"),
        (not_a_number, "equity", "is not a number"),
    ],
)
def test_what_does_not_add_up_is_named(
    result: Result, panel: Panel, spoil: Callable[[Result], Result], name: str, fault: str
) -> None:
    findings = accounting(spoil(result), panel).findings
    assert any(fault in finding.fault and finding.name.startswith(name) for finding in findings), findings


def test_a_run_decides_by_the_past_alone(result: Result, panel: Panel) -> None:
    cuts = deciding_bars(result, panel, 3, seed=5)
    assert len(cuts) == 3
    assert causal(run, panel, result, cuts, seed=5).passed


def test_a_run_that_fills_at_the_deciding_bar_is_caught(result: Result, panel: Panel) -> None:
    def too_early(market: Panel) -> Result:
        """A run whose rows stand one bar too early: what it holds was decided by a bar that comes later."""
        honest = run(market)
        moved = np.vstack([honest.exposure[1:], honest.exposure[-1:]])
        return replace(honest, exposure=moved)

    base = too_early(panel)
    cuts = deciding_bars(result, panel, 3, seed=5)
    check = causal(too_early, panel, base, [cut - 1 for cut in cuts], seed=5)
    assert any("did only later" in finding.fault for finding in check.findings), check.findings


def test_deciding_bars_are_those_before_the_fills(result: Result, panel: Panel) -> None:
    fills = {at for trade in result.trades for at in (trade.opened, trade.closed)}
    for bar in deciding_bars(result, panel, 10, seed=2):
        assert bar >= WARM
        assert int(panel.ts[bar + 1]) in fills
