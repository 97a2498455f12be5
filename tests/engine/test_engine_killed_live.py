"""Killed while the market goes on without it: what was half done is finished or given up, and accounts agree."""

import signal

import pytest

from core.portfolio.events import Intended, Settled
from tests.engine.processes import Home
from tests.engine.small import one_of_each

TIMED = ("--speed", "40000", "--bars", "30")


@pytest.mark.parametrize(("point", "outcome"), [("planned", "aborted"), ("sent", "done"), ("filled", "done")])
async def test_killed_at_the_first_leg_of_an_entry(point: str, outcome: str, home: Home) -> None:
    """Never sent: its bar is past, so it is given up. Sent or filled: the exchange has it, so it is hedged."""
    killed = await home.engine(*TIMED, COCKPIT_KILL_AT=point)
    code, _, errors = await killed.end()
    assert (code, errors) == (-signal.SIGKILL, ""), "it was to die at this point"

    said = await (await home.engine("--json", *TIMED, "--resume")).result()
    assert said["agrees"] == dict.fromkeys(said["agrees"], True)
    events = home.ledger()
    one_of_each(events)
    first = next(event.intent.id for event in events if isinstance(event, Intended))
    assert [event.outcome for event in events if isinstance(event, Settled) and event.intent == first] == [outcome]
