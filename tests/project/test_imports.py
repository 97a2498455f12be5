"""What the terminal and the commands load: nothing heavy, whatever the contracts cannot see."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = "torch sklearn ccxt numba numpy pandas scipy pyarrow safetensors aiohttp aiosqlite"
ROOMS = "engine trader execution models portfolio venues features matching data"
HEAVY = {*LIBRARIES.split(), *(f"core.{room}" for room in ROOMS.split())}


def loaded(*arguments: str) -> set[str]:
    """Every module that `python ARGUMENTS` imports, and the packages they are in."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    names = {line.rpartition("|")[2].strip() for line in lines}
    assert len(names) > 20
    return names | {".".join(name.split(".")[:2]) for name in names} | {name.split(".")[0] for name in names}


@pytest.mark.parametrize(
    "arguments",
    [
        ("-m", "cockpit", "--help"),
        ("-m", "cockpit", "config", "check"),
        ("-c", "import cockpit.app"),
        ("-c", "import cockpit.commands.start, cockpit.commands.trade, cockpit.commands.jobs"),
        ("-c", "import core.config, core.link.client, core.link.server, core.domain.snapshot"),
    ],
    ids=["help", "config", "terminal", "commands", "link"],
)
def test_nothing_heavy_is_loaded(arguments: tuple[str, ...]) -> None:
    assert loaded(*arguments) & HEAVY == set()


def test_help_loads_neither_the_settings_nor_the_screen() -> None:
    assert loaded("-m", "cockpit", "--help") & {"core.config", "core.link", "textual", "cockpit.commands"} == set()


def test_the_engine_never_imports_torch() -> None:
    names = loaded("-c", "import core.engine.__main__")
    assert names & {"torch", "sklearn", "pandas"} == set()
