"""Told to stop, a run leaves no order and no process behind, but positions and their protection stay."""

import signal

import pytest

from core.portfolio.books import Books
from core.portfolio.events import Decided, Repaired
from tests.engine.processes import Home, Process, alive
from tests.engine.small import instruments

TIMED = ("--speed", "20000", "--bars", "60")


def fold(home: Home) -> Books:
    books = Books(instruments())
    for event in home.ledger():
        books.apply(event)
    return books


async def holding(engine: Process) -> str:
    """The first line that says that a pair is held."""
    while " flat " in (line := await engine.line("equity")):
        pass
    return line


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_a_signal_stops_it_cleanly(home: Home, number: signal.Signals, code: int) -> None:
    engine = await home.engine(*TIMED)
    await holding(engine)
    exchange = home.exchange_pid()
    assert exchange is not None and alive(exchange)
    engine.signal(number)
    assert not await engine.runs_for(15.0), "it must end within seconds"
    ended, _, errors = await engine.end()
    assert (ended, errors) == (code, "")
    assert not alive(exchange) and home.strays() == [], "the exchange goes with the engine"

    books = fold(home)
    assert books.unsettled() == [] and all(order.state.final for order in books.orders.values())
    nets = {name: books.net(name) for name in instruments()}
    held = {name: -net for name, net in nets.items() if net}
    assert held, "stopped while a pair was held"
    assert {name: p.size for name, p in books.protections.items()} == held

    # The next life goes on with them: nothing to repair, and the exchange's own word is the same to the end.
    said = await (await home.engine("--json", "--speed", "max", "--resume")).result()
    assert all(said["agrees"].values())
    assert said["bars"] > 40, "bars that closed while no engine ran are history, the others are traded"
    assert [event for event in home.ledger() if isinstance(event, Repaired)] == []
    assert fold(home).intents.keys() >= books.intents.keys()


@pytest.mark.parametrize("word", ["preparing", "starting", "connecting"])
async def test_stopped_before_it_trades_nothing_is_left(word: str, home: Home) -> None:
    engine = await home.engine(*TIMED)
    await engine.line(word)
    engine.signal(signal.SIGTERM)
    code, _, errors = await engine.end()
    assert (code, errors) == (0, "")
    assert home.strays() == []


async def test_a_second_engine_in_the_same_home_is_refused_with_one_line(home: Home) -> None:
    first = await home.engine(*TIMED)
    await first.line("equity")
    second = await home.engine("--speed", "max", "--bars", "5")
    code, _, errors = await second.end()
    assert code == 1 and len(errors.strip().splitlines()) == 1, errors
    assert "an engine already runs" in errors and "cockpit stop" in errors
    await first.line("equity")
    first.signal(signal.SIGTERM)
    assert (await first.end())[0] == 0
    assert [e for e in home.ledger() if isinstance(e, Decided)], "the first one's ledger is untouched"
