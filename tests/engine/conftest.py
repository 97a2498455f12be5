"""Homes for engines."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.engine.processes import Home


@pytest_asyncio.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    made = Home(tmp_path / "home")
    yield made
    await made.clear()
