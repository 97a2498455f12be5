"""The kill switch on a whole engine: whatever is wrong, it halts, closes what is ours, and proves it."""

import asyncio

import msgspec
import pytest

from core.domain.orders import Fill, Leg, OrderState
from core.domain.snapshot import Command
from core.domain.trading import KILL
from core.portfolio.events import Intended, Killed, Planned, Switched
from core.venues.port import StreamState, StreamStatus
from tests.engine.desk import Desk
from tests.execution.fakes import BTC, ETH, Fault

PAIR = "BTC/ETH"
DONE = "the exchange holds no open order, no position and no stop of ours that could trade"


async def watched(desk: Desk) -> Desk:
    """A desk whose kill switch is looked after, as a session does."""
    desk._tasks.append(asyncio.create_task(desk.engine.kill.watch()))
    return desk


async def proven(desk: Desk, seconds: float = 60.0) -> Killed:
    assert await desk.engine.kill.done(seconds)
    await desk.settled()
    return desk.told(Killed)[-1]


def nothing_left(desk: Desk) -> bool:
    flat = [desk.venue.net(name) for name in (BTC, ETH)] == [0, 0]
    return flat and not desk.venue.matching.triggers() and not desk.venue.matching.orders()


async def test_the_command_closes_everything_and_prints_the_proof(desk: Desk) -> None:
    await watched(desk)
    await desk.ask("open", PAIR, 1)
    reply = await desk.ask("kill")
    assert reply.ok and not reply.pending and reply.message == f"killed: {DONE}"
    assert nothing_left(desk) and desk.books.open_books() == []
    assert desk.books.restrictions.state == "halted" and "killed by test" in desk.books.restrictions.reason
    assert desk.told(Killed) == [Killed(desk.told(Killed)[0].ts, "test", (DONE,))]


async def test_the_halt_stands_in_the_ledger_before_anything_is_sent(desk: Desk) -> None:
    await watched(desk)
    await desk.ask("open", PAIR, 1)
    seen: list[bool] = []
    desk.venue.before_place = lambda order: seen.append(any(e.cause == KILL for e in desk.told(Switched)))
    await desk.ask("kill")
    assert seen and all(seen)


async def test_a_file_is_enough_and_is_obeyed_once(desk: Desk) -> None:
    await watched(desk)
    await desk.ask("open", PAIR, 1)
    desk.settings.paths.kill.touch()
    await desk.until(lambda: bool(desk.told(Killed)))
    assert nothing_left(desk)
    await asyncio.sleep(5.0)
    assert len(desk.told(Killed)) == 1
    reply = await desk.ask("resume")
    assert not reply.ok and "remove it first" in reply.message
    desk.settings.paths.kill.unlink()
    assert (await desk.ask("resume")).ok and desk.books.restrictions.state == "active"


async def test_a_file_that_lies_there_at_the_start_is_obeyed_before_anything_trades(desk: Desk) -> None:
    await desk.until_held()
    desk.settings.paths.kill.touch()
    await desk.restart()
    assert desk.books.restrictions.state == "halted"
    await watched(desk)
    await desk.until(lambda: bool(desk.told(Killed)))
    assert nothing_left(desk)


async def test_it_works_while_ledger_and_exchange_disagree_and_leaves_strangers_alone(desk: Desk) -> None:
    await watched(desk)
    await desk.ask("open", PAIR, 1)
    desk.venue.stranger(BTC, "20")
    await desk.engine.reconcile()
    assert not desk.engine.verdict.agrees
    message = (await desk.ask("kill")).message
    assert "BTC-USDT-SWAP: 20.0 contracts are held that are not ours" in message
    assert [desk.venue.net(name) for name in (BTC, ETH)] == [20, 0]


async def test_where_a_stranger_is_short_of_what_we_are_long_only_ours_is_closed(desk: Desk) -> None:
    await watched(desk)
    await desk.ask("open", PAIR, 1)
    theirs = -2 * desk.venue.net(BTC)
    desk.venue.stranger(BTC, str(theirs))
    desk.engine.kill.pull("test", "a stranger")
    proof = (await proven(desk)).proof
    assert [desk.venue.net(name) for name in (BTC, ETH)] == [theirs, 0]
    assert proof == (DONE, f"BTC-USDT-SWAP: {theirs} contracts are held that are not ours")


async def test_what_nobody_can_explain_is_never_traded_against(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long BTC by the books, and the exchange holds none: neither fill nor bill says why."""
    await watched(desk)
    await desk.ask("open", PAIR, 1)
    held = desk.venue.net(BTC)
    desk.venue.stranger(BTC, str(-held), told=False)
    before = desk.venue.matching.now
    seen = desk.venue.matching.fills

    def hidden(since: int) -> list[Fill]:
        return [fill for fill in seen(since) if fill.ts != before]

    monkeypatch.setattr(desk.venue.matching, "fills", hidden)
    desk.engine.kill.pull("test", "a riddle")
    assert await desk.engine.kill.done(60.0), desk.engine.kill.proof
    assert [desk.venue.net(name) for name in (BTC, ETH)] == [0, 0]
    proof = desk.told(Killed)[-1].proof
    assert proof[:2] == (DONE, f"BTC-USDT-SWAP: the ledger holds {held} contracts that the exchange does not")
    assert len(proof) == 3 and proof[2].endswith("stands"), "its stop can only reduce"


async def test_it_works_with_dead_streams(desk: Desk) -> None:
    await watched(desk)
    await desk.ask("open", PAIR, 1)
    desk.engine.market.status(StreamStatus("orders", StreamState.DOWN))
    desk.venue.faults.extend([Fault.MUTE] * 10)
    desk.engine.kill.pull("test", "no word is heard")
    await proven(desk)
    assert nothing_left(desk)


@pytest.mark.parametrize("fault", ["50026", Fault.LOST_REPLY, Fault.LOST_REQUEST, Fault.SLOW_REQUEST, Fault.TWICE])
async def test_it_keeps_trying_until_the_exchange_has_nothing_left(desk: Desk, fault: Fault | str) -> None:
    await watched(desk)
    await desk.ask("open", PAIR, 1)
    desk.venue.faults.extend([fault] * 6)
    desk.engine.kill.pull("test", "against all odds")
    await proven(desk, 300.0)
    assert nothing_left(desk) and all(r.state.final for r in desk.books.orders.values())


async def test_an_exchange_that_cannot_be_asked_proves_nothing(desk: Desk) -> None:
    await watched(desk)
    await desk.ask("open", PAIR, 1)
    desk.venue.down = True
    reply = await desk.commands.handle(Command("1", "kill", who="test"))
    assert reply.ok and reply.pending and "the exchange cannot be asked" in reply.message
    assert desk.books.restrictions.state == "halted" and not desk.told(Killed)
    asking = await desk.commands.handle(Command("2", "resume", who="test"))
    assert not asking.ok and "the kill is at work" in asking.message
    desk.venue.down = False
    await proven(desk)
    assert nothing_left(desk)


async def test_a_kill_that_was_cut_short_goes_on_after_a_restart(desk: Desk) -> None:
    await watched(desk)
    await desk.ask("open", PAIR, 1)
    desk.venue.down = True
    desk.engine.kill.pull("test", "and then the lights went out")
    await desk.until(lambda: desk.books.restrictions.unproven)
    desk.venue.down = False
    await desk.restart()
    assert desk.books.restrictions.state == "halted" and desk.books.restrictions.unproven
    await watched(desk)
    await desk.until(lambda: bool(desk.told(Killed)))
    assert nothing_left(desk)


async def test_the_halt_outlives_a_restart_and_strategies_decide_nothing(desk: Desk) -> None:
    await watched(desk)
    await desk.ask("kill")
    await desk.restart()
    placed = len(desk.told(Planned))
    await desk.bars(60)
    assert desk.books.restrictions.state == "halted" and len(desk.told(Planned)) == placed
    assert desk.engine.kill.at_work is False
    assert (await desk.ask("resume")).message == "resumed: active, new positions are allowed"
    await desk.until_held()


async def test_an_entry_on_its_way_is_given_up_or_closed(desk: Desk) -> None:
    """The switch is pulled between the first leg and the second."""
    await watched(desk)

    def pull(order: object) -> None:
        desk.engine.kill.pull("test", "in the middle")

    desk.venue.before_place = pull
    await desk.commands.handle(Command("1", "open", PAIR, 1, who="test"))
    await desk.until(lambda: bool(desk.told(Killed)))
    assert nothing_left(desk) and desk.books.open_books() == []
    assert {r.state for r in desk.books.orders.values()} <= {OrderState.FILLED, OrderState.CANCELLED}


async def test_books_that_cancel_out_are_closed_without_the_exchange(desk: Desk) -> None:
    await watched(desk)
    await desk.ask("open", PAIR, 1)
    first = desk.told(Intended)[-1].intent
    legs = tuple(Leg(leg.instrument, -leg.size) for leg in first.legs)
    other = msgspec.structs.replace(first, id=desk.engine.names.take(), strategy="mirror", legs=legs, side=-1)
    await desk.engine.journal.record(Intended(other.ts, other))
    desk.engine.executor.start(other)
    await desk.settled()
    assert len(desk.books.open_books()) == 2 and [desk.venue.net(name) for name in (BTC, ETH)] == [0, 0]
    placed = len(desk.venue.placed)
    await desk.ask("kill")
    assert len(desk.venue.placed) == placed and desk.books.open_books() == []
