"""Draws the README's pictures into cockpit/pictures/: `python tests/cockpit/pictures.py`."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from scene import Scene, serving
from shelf import backtests

from cockpit.app import CockpitApp
from cockpit.screens.cluster import ClusterScreen

FOLDER = Path(__file__).resolve().parents[2] / "cockpit" / "pictures"
SHOTS: dict[str, tuple[tuple[int, int], tuple[str, ...]]] = {
    "dashboard": ((160, 50), ()),
    "small": ((80, 24), ()),
    "open": ((120, 36), ("o",)),
    "help": ((120, 40), ("question_mark",)),
    "backtest": ((160, 50), ("b", "2", "j", "space", "k")),
    "backtest-small": ((80, 24), ("b", "3")),
    "clusters": ((110, 22), ("6", "j")),
    "asset": ((120, 36), ("6", "j", "j", "j", "j", "enter")),
}
"""Name of each picture, the terminal's size, and the keys pressed before it is taken."""
LEARNED = ("clusters", "asset")
"""Pictures of a model's clusters; elsewhere they are those of plain correlations."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


async def draw(name: str, size: tuple[int, int], keys: tuple[str, ...]) -> None:
    """Take one picture of the seeded scene."""
    with tempfile.TemporaryDirectory() as folder:
        async with serving(Path(folder) / "engine.sock", Scene(learned=name in LEARNED)) as engine:
            app = CockpitApp(engine.server.path, backtests=backtests(Path(folder)))
            async with app.run_test(size=size) as pilot:
                while not (app.latest.log and app.latest.clusters):
                    await pilot.pause(0.02)
                await pilot.press(*keys)
                while isinstance(app.screen, ClusterScreen) and app.screen.panel.trail is None:
                    await pilot.pause(0.02)
                await pilot.pause(0.2)
                (FOLDER / f"{name}.svg").write_text(app.export_screenshot(simplify=True), encoding="utf-8")


def draw_report(browser: str) -> Path:
    """Run the divergence rule on the synthetic market, and take a picture of the report's upper part."""
    with tempfile.TemporaryDirectory() as folder:
        page, shot = Path(folder) / "report.html", Path(folder) / "report.png"
        backtest = (sys.executable, "-m", "cockpit", "backtest", "divergence", "--compare", "--quiet")
        own = {**os.environ, "COCKPIT_HOME": folder}
        subprocess.run([*backtest, "--report", page], cwd=folder, env=own, check=True, stdout=subprocess.DEVNULL)
        window = ("--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1200,1500")
        subprocess.run([browser, *window, f"--screenshot={shot}", page.as_uri()], check=True, capture_output=True)
        few = Image.open(shot).convert("RGB").quantize(255, Image.Quantize.MAXCOVERAGE)
        few.save(FOLDER / "report.png", optimize=True)
    return FOLDER / "report.png"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, (size, keys) in SHOTS.items():
        asyncio.run(draw(name, size, keys))
        print(FOLDER / f"{name}.svg")
    if found := next(filter(shutil.which, BROWSERS), None):
        print(draw_report(found))
    else:
        print(f"report.png is left as it is: none of {', '.join(BROWSERS)} is installed")
