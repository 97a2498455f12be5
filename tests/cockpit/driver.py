"""Drives the terminal in the tests: a running app, its fake engine, and words for what one does with them."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
from scene import FakeEngine, Scene, serving
from textual.pilot import Pilot

from cockpit.app import CockpitApp
from cockpit.screens.dashboard import Dashboard
from cockpit.widgets.panel import Panel
from core.domain.snapshot import Command

SMALL, ROOMY = (80, 24), (160, 50)
replace = msgspec.structs.replace


class Cockpit:
    """A running app with its engine, and words for what a test does with them."""

    def __init__(self, app: CockpitApp, pilot: Pilot[str], engine: FakeEngine | None) -> None:
        self.app = app
        self.pilot = pilot
        self._engine = engine

    @property
    def engine(self) -> FakeEngine:
        assert self._engine is not None
        return self._engine

    @property
    def board(self) -> Dashboard:
        return self.app.dashboard

    async def until(self, condition: Callable[[], Any]) -> None:
        """Let the app go on until `condition` holds (at most some seconds)."""
        for _ in range(400):
            if condition():
                await self.pilot.pause()
                return
            await self.pilot.pause(0.01)
        raise AssertionError("it did not come to pass")

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def publish(self, **status: Any) -> None:
        """Publish the scene (with changes of its status) and wait until the app shows it."""
        self.engine.scene.status = replace(self.engine.scene.status, **status)
        self.engine.publish()
        seq, log = self.engine.scene.status, len(self.engine.scene.log)
        await self.until(lambda: self.app.latest.status == seq and self.app.latest.logged >= log)

    async def sent(self, name: str) -> Command:
        """Wait for a command of this name."""
        await self.until(lambda: any(command.name == name for command in self.engine.seen))
        return next(command for command in reversed(self.engine.seen) if command.name == name)

    def text(self, panel: Panel | None = None) -> str:
        """What a panel (or all of the screen's text) says."""
        if panel is None:
            return "\n".join(
                "".join(segment.text for segment in line)
                for line in self.app.screen._compositor.render_strips(self.app.screen.size)
            )
        height = panel.scrollable_content_region.height
        return "\n".join(panel.render_line(y).text for y in range(height))


@contextlib.asynccontextmanager
async def cockpit(
    folder: Path, size: tuple[int, int] = SMALL, scene: Scene | None = None, **options: Any
) -> AsyncIterator[Cockpit]:
    """The app attached to a fake engine, after it has shown everything once."""
    async with serving(folder / "engine.sock", scene, read_only=options.pop("engine_read_only", False)) as engine:
        app = CockpitApp(engine.server.path, **{"rate": 20.0, **options})
        async with app.run_test(size=size, notifications=True) as pilot:
            it = Cockpit(app, pilot, engine)
            await it.until(lambda: app.latest.clusters is not None and app.latest.logged == len(engine.scene.log))
            yield it
