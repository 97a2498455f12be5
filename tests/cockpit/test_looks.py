"""Three canonical pictures of the screen.

After a wanted change look at the report, then: `pytest tests/cockpit/test_looks.py --snapshot-update`.
"""

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from scene import Scene, serving
from textual.pilot import Pilot

from cockpit.app import CockpitApp


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (160, 50)], ids="{0[0]}x{0[1]}".format)
def test_the_dashboard_looks_as_it_did(snap_compare: Callable[..., bool], size: tuple[int, int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        app = CockpitApp(Path(folder) / "engine.sock", starting=lambda: "")

        engine = AsyncExitStack()

        async def settle(pilot: Pilot[Any]) -> None:
            # The engine stays until the picture has been taken; its loop's end closes it.
            await engine.enter_async_context(serving(app.socket_path, Scene()))
            async with asyncio.timeout(20):
                while not (app.latest.log and app.latest.clusters):
                    await pilot.pause(0.01)
            await pilot.pause(0.05)

        assert snap_compare(app, terminal_size=size, run_before=settle)
