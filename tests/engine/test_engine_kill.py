"""Killed at every named point between intent, order, reply and fill, the engine loses and doubles nothing."""

import asyncio
import signal
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from core.domain.orders import Action
from core.execution.failpoint import POINTS
from core.portfolio.events import AnyEvent, Decided, Filled, Intended
from tests.engine.processes import Home, whole
from tests.engine.small import one_of_each

RUN = ("--json", "--speed", "max", "--bars", "60")
NTH = {"planned": 5, "sent": 2, "acknowledged": 5, "fill-seen": 4, "filled": 3, "settled": 2, "protecting": 3}


class Reference(NamedTuple):
    """A run that nobody disturbed."""

    said: dict[str, Any]
    events: list[AnyEvent]

    def nth(self, point: str) -> int:
        """Which time to die at `point`; "intended" is passed at every bar: the second one with an entry."""
        if point != "intended":
            return NTH[point]
        bars = [event.bar for event in self.events if isinstance(event, Decided)]
        entered = [
            bar
            for bar, event in zip(self._bars(), self.events, strict=True)
            if isinstance(event, Intended) and event.intent.action is Action.OPEN
        ]
        return bars.index(entered[1]) + 1

    def _bars(self) -> Iterator[int]:
        """The bar last decided on, at each event."""
        bar = -1
        for event in self.events:
            bar = event.bar if isinstance(event, Decided) else bar
            yield bar


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    async def run() -> Reference:
        home = Home(tmp_path_factory.mktemp("reference"))
        try:
            said = await (await home.engine(*RUN)).result()
            return Reference(said, home.ledger())
        finally:
            await home.clear()

    return asyncio.run(run())


def test_the_reference_run_has_something_to_lose(reference: Reference) -> None:
    assert whole(reference.said)["agrees"]
    assert reference.said["fills"] >= 8 and reference.said["round_trips"] >= 2
    assert set(NTH) | {"intended"} == set(POINTS)


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at(point: str, home: Home, reference: Reference) -> None:
    killed = await home.engine(*RUN, COCKPIT_KILL_AT=f"{point}:{reference.nth(point)}")
    code, out, _ = await killed.end()
    assert (code, out) == (-signal.SIGKILL, ""), "it was to die at this point"

    said = await (await home.engine(*RUN, "--resume")).result()
    assert whole(said) == whole(reference.said)
    one_of_each(home.ledger())


def test_the_summary_of_a_run_that_lost_a_fill_would_differ(reference: Reference) -> None:
    """The yardstick itself: a digest over one fill less is another one."""
    from core.portfolio.digest import digest

    fills = [i for i, event in enumerate(reference.events) if isinstance(event, Filled)]
    assert digest(reference.events) == reference.said["digest"]
    assert digest([e for i, e in enumerate(reference.events) if i != fills[2]]) != reference.said["digest"]
    assert digest([*reference.events, reference.events[fills[2]]]) != reference.said["digest"]
