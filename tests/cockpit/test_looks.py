"""A few canonical pictures of the screens.

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
from shelf import backtests
from textual.pilot import Pilot

from cockpit.app import CockpitApp
from cockpit.screens.cluster import ClusterScreen

SHOTS = [
    ("dashboard", (80, 24), ()),
    ("dashboard", (120, 36), ()),
    ("dashboard", (160, 50), ()),
    ("clusters", (80, 24), ("6",)),
    ("clusters", (160, 50), ("6", "j")),
    ("asset", (80, 24), ("6", "j", "j", "j", "j", "enter")),
    ("asset", (160, 50), ("6", "j", "j", "j", "j", "enter")),
    ("backtest", (80, 24), ("b", "3")),
    ("backtest", (160, 50), ("b", "2", "j", "space", "k")),
]


@pytest.mark.parametrize(("screen", "size", "keys"), SHOTS, ids=[f"{s}-{w}x{h}" for s, (w, h), _ in SHOTS])
def test_the_screen_looks_as_it_did(
    snap_compare: Callable[..., bool], screen: str, size: tuple[int, int], keys: tuple[str, ...]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        app = CockpitApp(Path(folder) / "engine.sock", starting=lambda: "", backtests=backtests(Path(folder)))

        engine = AsyncExitStack()

        async def settle(pilot: Pilot[Any]) -> None:
            # The engine stays until the picture has been taken; its loop's end closes it.
            scene = Scene(learned=screen in ("clusters", "asset"))
            await engine.enter_async_context(serving(app.socket_path, scene))
            async with asyncio.timeout(20):
                while not (app.latest.log and app.latest.clusters):
                    await pilot.pause(0.01)
                for key in keys:
                    await pilot.press(key)
                    while screen == "backtest" and not app.backtests.runs:
                        await pilot.pause(0.01)
                while isinstance(app.screen, ClusterScreen) and app.screen.panel.trail is None:
                    await pilot.pause(0.01)
            await pilot.pause(0.05)

        assert snap_compare(app, terminal_size=size, run_before=settle)
