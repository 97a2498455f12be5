"""The trading state on a whole engine: what moves it, what it lets through, and who brings it back."""

import asyncio
from decimal import Decimal as D

import msgspec
import pytest

from core.domain.market import Mark
from core.domain.orders import Action, Origin
from core.domain.trading import DAILY_LOSS, DRAWDOWN, TradingState
from core.portfolio.events import Decided, Intended, Stepped, Switched
from tests.engine.desk import Desk
from tests.execution.fakes import BTC

PAIR = "BTC/ETH"


def limited(desk: Desk, **limits: D) -> None:
    for trader in desk.engine.traders:
        trader.limits = msgspec.structs.replace(trader.limits, **limits)


async def lose(desk: Desk, share: str) -> None:
    """As if the last close had ended with equity so much higher than it is now."""
    now = desk.venue.market_ms()
    higher = desk.books.cash / (1 - D(share))
    await desk.engine.journal.record(Stepped(now, desk.books.last_step + 1, higher))


async def test_a_cause_holds_the_account_back_once_and_lets_it_go_when_it_is_gone(desk: Desk) -> None:
    for _ in range(2):
        await desk.engine.restrict("clock", TradingState.REDUCING, "the clock is 9 s behind")
    assert [(e.state, e.cause, e.reason) for e in desk.told(Switched)] == [
        ("reducing", "clock", "the clock is 9 s behind")
    ]
    refused = await desk.ask("open", PAIR, 1)
    assert not refused.ok and refused.message.endswith("reducing: the clock is 9 s behind")
    await desk.engine.release("clock")
    await desk.engine.release("clock")
    assert len(desk.told(Switched)) == 2 and (await desk.ask("open", PAIR, 1)).ok


async def test_no_machine_comes_back_from_a_halt(desk: Desk) -> None:
    await desk.engine.restrict("disk", TradingState.HALTED, "the disk is full")
    await desk.engine.restrict("disk", TradingState.REDUCING, "the disk is nearly full")
    await desk.engine.release("disk")
    assert desk.engine.restrictions.state == "halted"
    assert (await desk.ask("resume")).message == "resumed: active, new positions are allowed"
    assert [(e.cause, e.who) for e in desk.told(Switched)] == [("disk", ""), ("disk", "test")]


async def test_resume_lifts_what_waits_for_a_person_and_names_what_stays(desk: Desk) -> None:
    await desk.ask("pause")
    await desk.engine.restrict("clock", TradingState.REDUCING, "the clock is 9 s behind")
    assert (await desk.ask("resume")).message == "resumed: reducing, the clock is 9 s behind"
    again = await desk.ask("resume")
    assert not again.ok and again.message == "nothing to resume: reducing, the clock is 9 s behind"


async def test_a_halted_account_decides_nothing_and_closes_by_hand(desk: Desk) -> None:
    await desk.until_held()
    before = len(desk.told(Intended))
    await desk.engine.restrict("test", TradingState.HALTED, "as the test says")
    await desk.bars(40)
    assert len(desk.told(Intended)) == before
    assert {e.text for e in desk.told(Decided)[-40:]} == {"halted: as the test says"}
    assert desk.view().pairs.why == ["halted: as the test says"] and desk.view().status.reason == "as the test says"
    assert (await desk.ask("close", PAIR)).ok and desk.net() == [0, 0]


async def test_a_days_loss_reduces_till_midnight_and_exits_go_on(desk: Desk) -> None:
    limited(desk, max_daily_loss=D("0.000001"))
    for _ in range(300):
        await desk.bars()
        if desk.engine.restrictions.of(DAILY_LOSS) is TradingState.REDUCING and desk.books.open_books():
            break
    await desk.until_held(False)
    assert desk.net() == [0, 0] and desk.engine.restrictions.of(DAILY_LOSS) is TradingState.REDUCING
    limited(desk, max_daily_loss=D(1))
    for _ in range(30):
        await desk.bars()
        if not desk.engine.restrictions.standing:
            break
    switched = desk.told(Switched)
    assert [(e.state, e.cause) for e in switched] == [("reducing", DAILY_LOSS), ("active", DAILY_LOSS)]
    day = 86_400_000
    assert (switched[0].ts - 1) // day < (switched[1].ts - 1) // day, "not before the next day"
    opened = [e for e in desk.told(Intended) if e.intent.action is Action.OPEN]
    assert not [e for e in opened if switched[0].ts <= e.ts < switched[1].ts]


async def test_a_drawdown_halts_over_a_restart_until_a_person_resumes_and_counts_from_there(desk: Desk) -> None:
    await lose(desk, "0.31")
    await desk.bars()
    assert desk.engine.restrictions.state == "halted"
    await desk.restart()
    await desk.bars()
    assert "drawdown of 31.0%, the limit is 30.0%" in desk.engine.restrictions.reason
    await desk.ask("resume")
    await desk.bars(3)
    assert desk.engine.restrictions.state == "active" and not desk.engine.restrictions.of(DRAWDOWN).rank


async def test_what_is_at_work_counts_as_held(desk: Desk) -> None:
    """An entry whose orders are still out leaves no room for a second one."""
    bar = desk.engine.bar
    assert bar is not None
    empty = desk.engine.standing(bar, "zscore")
    intent, why = desk.trader.open(await entry(desk), bar, empty, desk.engine.names, Origin.MANUAL)
    assert intent is not None and not why
    desk.engine.names.take()
    await desk.engine.journal.record(Intended(intent.ts, intent))
    held = desk.engine.standing(bar, "zscore")
    after = empty.after(intent, desk.trader.limits, desk.venue.instruments, desk.trader.prices(bar))
    assert (held.gross, held.own, dict(held.pairs)) == (after.gross, after.own, dict(after.pairs))
    assert held.intents == after.intents == 1 and dict(held.nets) == dict(after.nets)


async def entry(desk: Desk):  # type: ignore[no-untyped-def]
    from core.domain.decision import Entry

    return Entry(PAIR, 1, 1000.0, 0.1, 0.1, -2.0, 1.0, 1.0, "test")


@pytest.mark.parametrize(("share", "passes"), [("1.09", True), ("1.11", False)])
async def test_a_mark_far_from_the_last_close_stops_an_order(desk: Desk, share: str, passes: bool) -> None:
    desk.venue.capabilities = msgspec.structs.replace(desk.venue.capabilities, lockstep=False)
    bar = desk.engine.bar
    assert bar is not None
    close = desk.trader.prices(bar)[BTC]
    desk.engine.market.mark(Mark(BTC, 1, close * D(share)))
    reply = await desk.ask("open", PAIR, 1)
    assert reply.ok == passes
    if not passes:
        assert "from the last close" in reply.message and reply.message.endswith("the limit is 10.0%")


async def test_between_bars_a_fall_of_the_marks_halts_too(desk: Desk) -> None:
    await desk.ask("open", PAIR, 1, 9_000.0)
    limited(desk, max_drawdown=D("0.01"), max_daily_loss=D(1))
    desk.venue.capabilities = msgspec.structs.replace(desk.venue.capabilities, lockstep=False)
    desk._tasks.append(asyncio.create_task(desk.engine.guard_equity()))
    bar = desk.engine.bar
    assert bar is not None
    desk.engine.market.mark(Mark(BTC, 1, desk.trader.prices(bar)[BTC] * D("0.8")))
    await desk.until(lambda: desk.engine.restrictions.state == "halted")
    assert desk.told(Switched)[-1].cause == DRAWDOWN
