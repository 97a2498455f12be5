"""How soon a user sees something: help, the first paint of the terminal, and what imports cost."""

import os
import pty
import select
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from time import perf_counter

from tests.bench.row import Row

HELP_S, PAINT_S = 0.4, 1.0
TIMES = 7


def run() -> list[Row]:
    """Medians of seven starts, each beside the bare interpreter's own start."""
    bare = median(lambda: start("-c", "pass"))
    rows = [
        ("cockpit --help", median(lambda: start("-m", "cockpit", "--help")), HELP_S),
        ("first paint of the terminal, in a pseudo-terminal", median(first_paint), PAINT_S),
        ("import core.config and the link's client", median(lambda: start("-c", LIGHT)), HELP_S),
        ("import cockpit.app", median(lambda: start("-c", "import cockpit.app")), PAINT_S),
    ]
    floor = f"{bare * 1e3:.0f} ms (python -c pass)"
    return [Row(what, f"{s * 1e3:.0f} ms", floor, bare / s, f"< {most:g} s", s < most) for what, s, most in rows]


LIGHT = "import core.config, core.link.client"
OPEN = "from pathlib import Path; from cockpit.app import CockpitApp; CockpitApp(Path('{}')).run()"
PAINTED = b"PAIRS"
"""What only the dashboard's first frame writes: the title of its first panel."""


def median(once: Callable[[], float]) -> float:
    """The median of seven, after one that fills the caches."""
    once()
    return statistics.median(once() for _ in range(TIMES))


def start(*arguments: str) -> float:
    """Seconds of one whole run of Python."""
    begun = perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return perf_counter() - begun


def first_paint() -> float:
    """Seconds from the start of the process until the dashboard's frame is on the terminal."""
    with tempfile.TemporaryDirectory() as folder:
        begun = perf_counter()
        child, terminal = pty.fork()
        if child == 0:
            os.environ.update(TERM="xterm-256color", COLUMNS="160", LINES="50")
            os.execv(sys.executable, [sys.executable, "-c", OPEN.format(f"{folder}/engine.sock")])
        seen = b""
        while PAINTED not in seen.upper():
            ready, _, _ = select.select([terminal], [], [], 20)
            assert ready, "the terminal painted nothing within 20 s"
            seen += os.read(terminal, 65536)
        spent = perf_counter() - begun
        os.kill(child, 9)
        os.close(terminal)
        os.waitpid(child, 0)
    return spent
