"""Draws the README's pictures into cockpit/pictures/: `python tests/cockpit/pictures.py`."""

import asyncio
import tempfile
from pathlib import Path

from scene import Scene, serving
from shelf import backtests

from cockpit.app import CockpitApp

FOLDER = Path(__file__).resolve().parents[2] / "cockpit" / "pictures"
SHOTS: dict[str, tuple[tuple[int, int], tuple[str, ...]]] = {
    "dashboard": ((160, 50), ()),
    "small": ((80, 24), ()),
    "open": ((120, 36), ("o",)),
    "help": ((120, 40), ("question_mark",)),
    "backtest": ((160, 50), ("b", "2", "j", "space", "k")),
    "backtest-small": ((80, 24), ("b", "3")),
}
"""Name of each picture, the terminal's size, and the keys pressed before it is taken."""


async def draw(name: str, size: tuple[int, int], keys: tuple[str, ...]) -> None:
    """Take one picture of the seeded scene."""
    with tempfile.TemporaryDirectory() as folder:
        async with serving(Path(folder) / "engine.sock", Scene()) as engine:
            app = CockpitApp(engine.server.path, backtests=backtests(Path(folder)))
            async with app.run_test(size=size) as pilot:
                while not (app.latest.log and app.latest.clusters):
                    await pilot.pause(0.02)
                await pilot.press(*keys)
                await pilot.pause(0.2)
                (FOLDER / f"{name}.svg").write_text(app.export_screenshot(simplify=True), encoding="utf-8")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, (size, keys) in SHOTS.items():
        asyncio.run(draw(name, size, keys))
        print(FOLDER / f"{name}.svg")
