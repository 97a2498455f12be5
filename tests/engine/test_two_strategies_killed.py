"""Both strategies by the public path: killed on the way of an order, the engine loses and doubles nothing."""

import asyncio
import signal
from typing import Any, NamedTuple

import pytest

from core.portfolio.books import Books
from core.portfolio.events import AnyEvent, Filled, Intended
from tests.engine.processes import Home, whole
from tests.engine.small import instruments, one_of_each

RUN = ("--strategy", "cluster", "--json", "--speed", "max", "--bars", "60")
"""Beside the plain z-score rule, that the engines of these tests run anyway."""
SMALL = {
    f"COCKPIT_TRAIN__CLUSTER__{name}": value
    for name, value in {
        "N_CLUSTERS": "2",
        "WINDOW": "24",
        "THRESHOLD": "0.8",
        "SIMILARITY_THRESHOLD": "0.1",
        "EPOCHS": "2",
    }.items()
}
"""A model trained in a moment, that trades often."""
NTH = {"intended": 20, "planned": 9, "sent": 14, "fill-seen": 12}


class Reference(NamedTuple):
    """A run that nobody disturbed, and the model that it has trained, for the others."""

    said: dict[str, Any]
    events: list[AnyEvent]
    model: str


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    async def run() -> Reference:
        home = Home(tmp_path_factory.mktemp("reference"))
        try:
            said = await (await home.engine(*RUN, **SMALL)).result()
            (model,) = (home.path / "models").rglob("cluster-*.safetensors")
            return Reference(said, home.ledger(), str(model))
        finally:
            await home.clear()

    return asyncio.run(run())


def test_the_reference_run_has_both_trading(reference: Reference) -> None:
    assert whole(reference.said)["agrees"] and reference.said["strategies"] == ["zscore", "cluster"]
    traded = [event.intent.strategy for event in reference.events if isinstance(event, Intended)]
    assert min(traded.count(name) for name in ("zscore", "cluster")) >= 4
    assert sum(isinstance(event, Filled) for event in reference.events) >= 20


@pytest.mark.parametrize("point", NTH)
async def test_killed_at(point: str, home: Home, reference: Reference) -> None:
    """What both want of one instrument at one bar may arrive in another order after a restart, and so meet other
    levels of its book: the accounts agree, the fills need not be those of the run that nobody disturbed."""
    model = {"COCKPIT_STRATEGY__CLUSTER__MODEL": reference.model}
    killed = await home.engine(*RUN, **model, COCKPIT_KILL_AT=f"{point}:{NTH[point]}")
    code, out, _ = await killed.end()
    assert (code, out) == (-signal.SIGKILL, ""), "it was to die at this point"

    said = await (await home.engine(*RUN, "--resume", **model)).result()
    assert all(said["agrees"].values()), said["agrees"]
    assert [said[name] for name in ("bars", "decisions")] == [
        reference.said[name] for name in ("bars", "decisions")
    ]
    events = home.ledger()
    one_of_each(events)
    books = Books(instruments())
    for event in events:
        books.apply(event)
    books.check()
    assert books.unsettled() == [], "no order is left to anybody"
