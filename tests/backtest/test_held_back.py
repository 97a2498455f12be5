"""In a backtest the rules of loss and margin are those of live trading, and the result says when they acted."""

from decimal import Decimal as D
from typing import Any

import msgspec

from core.backtest.events import EventRun, run_events
from core.portfolio.events import Decided
from tests.backtest.scenes import Plan, enter, fills, hand, leave, play, still


def bounded(**limits: D) -> Any:
    """`run_events` with traders whose limits are these."""

    def run(traders: Any, *rest: Any, **options: Any) -> EventRun:
        for trader in traders:
            trader.limits = msgspec.structs.replace(trader.limits, **limits)
        return run_events(traders, *rest, **options)

    return run


def falling() -> list[list[float]]:
    """The long leg loses a fifth at bar 4, and comes back a bar later."""
    opens = still(10)
    opens[4] = [48_000.0, 3_000.0]
    return opens


def test_a_drawdown_halts_for_good_and_the_result_says_so() -> None:
    plan: Plan = {1: [enter(notional=20_000.0)], 5: [leave()], 6: [enter()]}
    run = play(hand(falling()), plan, cash=50_000, run=bounded(max_drawdown=D("0.05")))
    assert [event.text for event in run.events if isinstance(event, Decided)][-1].startswith("halted: drawdown of")
    assert len(fills(run)) == 2 and run.result.open_pairs == ("BTC/ETH",), "nobody is there to close or to resume"
    assert [note.split(" from ")[0] for note in run.result.notes] == ["halted"]


def test_a_days_loss_stops_entries_and_lets_exits_go() -> None:
    plan: Plan = {1: [enter(notional=20_000.0)], 5: [leave()], 6: [enter()]}
    run = play(hand(falling()), plan, cash=50_000, run=bounded(max_daily_loss=D("0.05")))
    assert len(fills(run)) == 4 and run.result.open_pairs == ()
    assert len(run.result.notes) == 1 and "since 00:00 UTC" in run.result.notes[0]


def test_without_a_breach_limits_leave_no_trace() -> None:
    plan: Plan = {1: [enter(notional=20_000.0)], 5: [leave()]}
    free, bound = (
        play(hand(falling()), plan, cash=50_000, run=run)
        for run in (
            run_events,
            bounded(max_drawdown=D("0.5"), max_daily_loss=D("0.5"), maintenance_rate=D("0.005")),
        )
    )
    assert bound.result.digest == free.result.digest and bound.result.notes == ()


def test_the_margin_is_reckoned_where_no_exchange_tells_it() -> None:
    plan: Plan = {1: [enter(notional=20_000.0)]}
    thin = bounded(maintenance_rate=D("0.5"), min_margin_ratio=D(3))
    run = play(hand(still()), plan, cash=50_000, run=thin)
    told = [event.text for event in run.events if isinstance(event, Decided) and event.text]
    assert fills(run) == [] and any("margin ratio would be 2." in text for text in told)
