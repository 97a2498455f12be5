"""The engine's half of the dead-man's switch: renewed in time, loud when it is not, called off at the end."""

import asyncio

import msgspec

from core.execution.deadman import DeadMan
from tests.execution.fakes import FakeVenue


async def kept(venue: FakeVenue, seconds: float, told: list[str], every: int = 30) -> DeadMan:
    switch = DeadMan(venue, every, told.append)
    task = asyncio.create_task(switch.keep())
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return switch


async def test_it_is_renewed_three_times_within_its_time() -> None:
    venue, told = FakeVenue(), list[str]()
    await kept(venue, 29.0, told)
    assert venue.dead_man == [30, 30, 30] and told == []


async def test_a_renewal_that_fails_is_told_once_and_tried_again_every_second() -> None:
    venue, told = FakeVenue(), list[str]()
    venue.down = True
    switch = await kept(venue, 5.0, told)
    assert told == ["the dead-man's switch was not renewed: connection refused"] == [switch.wrong]
    venue.down = False
    await kept(venue, 5.0, told)
    assert venue.dead_man == [30]


async def test_when_it_is_back_that_is_told() -> None:
    venue, told = FakeVenue(), list[str]()
    venue.down = True
    asyncio.get_running_loop().call_later(3.5, setattr, venue, "down", False)
    assert (await kept(venue, 5.0, told)).wrong == ""
    assert told[-1] == "the dead-man's switch is set again"


async def test_at_the_end_it_is_called_off() -> None:
    venue, told = FakeVenue(), list[str]()
    await (await kept(venue, 1.0, told)).release()
    assert venue.dead_man == [30, 0]


async def test_there_is_none_where_the_exchange_has_none_or_nobody_wants_it() -> None:
    venue = FakeVenue()
    assert not DeadMan(venue, 0, print).wanted
    venue.capabilities = msgspec.structs.replace(venue.capabilities, dead_man=False)
    assert not DeadMan(venue, 60, print).wanted
    await DeadMan(venue, 60, print).release()
    assert venue.dead_man == []
