"""Homes for engines, and an engine in this process whose time is virtual."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from core.clock import VirtualLoop
from tests.engine.desk import Desk
from tests.engine.processes import Home

VIRTUAL = (
    "test_ramp",
    "test_feed", "test_engine_steps", "test_commands", "test_snapshots", "test_narrator",
    "test_cluster_watch", "test_health",
    "test_walk_races",
)  # fmt: skip


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Where there is no other process and no socket, nobody waits for a real clock."""
    return {"virtual": VirtualLoop} if item.path.stem in VIRTUAL else {"real": asyncio.new_event_loop}


@pytest_asyncio.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    made = Home(tmp_path / "home")
    yield made
    await made.clear()


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = await Desk(tmp_path / "home").open()
    yield made
    await made.close()
