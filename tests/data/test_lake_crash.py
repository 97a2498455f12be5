"""A crash leaves the old data set or the new one, whole: wherever it comes, and whatever it leaves behind."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from uuid import uuid4

import pytest
from lakes import Crash, Failing, keep

from core.data.lake import Lake, Mode
from core.data.panel import Panel
from core.data.source import open_source
from core.data.store import store_of
from core.data.synthetic import synthetic_panel
from core.domain.errors import UserError

ASSETS = ("BTC", "ETH")
ROOT = Path(__file__).resolve().parents[2]

Write = Callable[[Lake, Panel], object]
WRITES: dict[str, Write] = {
    "append": lambda lake, panel: keep(lake, panel, 40, 80, Mode.APPEND),
    "replace": lambda lake, panel: keep(lake, panel, 20, 60, Mode.REPLACE),
    "create": lambda lake, panel: keep(lake, panel, name="new"),
    "snapshot": lambda lake, panel: lake.snapshot("perp", "may"),
}


@pytest.fixture(scope="module")
def panel() -> Panel:
    return synthetic_panel(7, 80, ASSETS)


@pytest.fixture(params=["folder", "fsspec"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "lake") if request.param == "folder" else f"memory://{uuid4().hex}/lake"


def state(root: str) -> dict[str, str]:
    """All that a reader can see: each data set and snapshot by the hash of its content, every part proven."""
    lake = Lake(root)
    references = [r for name in lake.names() for r in (name, *(f"{name}@{s}" for s in lake.snapshots(name)))]
    return {r: open_source(r, root)[1].content for r in references if lake.verify(r)}


def prepared(root: str, panel: Panel) -> None:
    """A data set with something to sweep beside it, as a write that died would leave it."""
    keep(Lake(root, 16), panel, 0, 40)
    store_of(root).put("perp/candles/asset=BTC/left-over.parquet", b"half")


def attempt(root: str, panel: Panel, write: Write, at: int, error: BaseException) -> int:
    """Write with the change number `at` failing (0: none); how many changes were begun."""
    lake = Lake(root, 16)
    lake._store = store = Failing(lake._store, at, error)
    failure = pytest.raises((Crash, UserError), match=r"cannot be written: No space left|^$")
    with failure if at else nullcontext():
        write(lake, panel)
    return store.changes


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize("error", [Crash(), OSError(28, "No space left on device")], ids=["crash", "full disk"])
def test_at_every_step_it_is_the_old_or_the_new(root: str, panel: Panel, kind: str, error: BaseException) -> None:
    prepared(f"{root}0", panel)
    old = state(f"{root}0")
    steps = attempt(f"{root}0", panel, WRITES[kind], 0, error)
    new = state(f"{root}0")
    assert new != old and steps >= 1
    for step in range(1, steps + 1):
        place = f"{root}{step}"
        prepared(place, panel)
        attempt(place, panel, WRITES[kind], step, error)
        assert state(place) == old, f"change {step} of {steps} did not happen, and the manifest is the last"
        attempt(place, panel, WRITES[kind], 0, error)
        assert state(place) == new, "and the same write once more succeeds"


def test_what_a_crash_leaves_behind_is_swept_by_the_next_write(root: str, panel: Panel) -> None:
    prepared(root, panel)
    attempt(root, panel, WRITES["append"], 6, Crash())
    lake = Lake(root, 16)
    named = {f"perp/{part.path}" for part in lake.manifest("perp").parts} | {"perp/manifest.json"}
    assert set(store_of(root).files("perp")) > named
    made = keep(lake, panel, 0, 40, Mode.APPEND)
    named = {f"perp/{part.path}" for part in made.parts} | {"perp/manifest.json"}
    assert set(store_of(root).files("perp")) == named


def test_nothing_is_swept_while_a_manifest_cannot_be_read(root: str, panel: Panel) -> None:
    """What it names may be all that is left of a snapshot."""
    prepared(root, panel)
    lake = Lake(root)
    lake.snapshot("perp", "may")
    store_of(root).put("perp/snapshots/may.json", b"half")
    before = set(store_of(root).files("perp"))
    keep(lake, panel, 20, 60, Mode.REPLACE)
    assert set(store_of(root).files("perp")) > before


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from lakes import keep
from core.data.lake import Lake, Mode
from core.data.synthetic import synthetic_panel
from core.domain.errors import UserError

moment, replace, fsync = sys.argv[3], Path.replace, os.fsync

def replaced(path, target):
    if moment == "before the manifest" and target.name == "manifest.json":
        os.kill(os.getpid(), 9)
    replace(path, target)
    if moment == "after the manifest" and target.name == "manifest.json":
        os.kill(os.getpid(), 9)

def synced(handle):
    if moment == "within a part":
        os.ftruncate(handle, 100)
        os.kill(os.getpid(), 9)
    fsync(handle)

Path.replace, os.fsync = replaced, synced
keep(Lake(sys.argv[2], 16), synthetic_panel(7, 80, ("BTC", "ETH")), 40, 80, Mode.APPEND)
"""


@pytest.mark.parametrize("moment", ["within a part", "before the manifest", "after the manifest"])
def test_a_killed_writer_leaves_the_old_or_the_new(tmp_path: Path, panel: Panel, moment: str) -> None:
    root = str(tmp_path / "lake")
    prepared(root, panel)
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), root, moment]
    done = subprocess.run(command, cwd=ROOT, capture_output=True)
    assert done.returncode == -9, done.stderr.decode()[-500:]
    bars = 80 if moment == "after the manifest" else 40
    assert state(root) == {"perp": panel.slice(0, bars).content_hash}
    keep(Lake(root), panel, 40, 80, Mode.APPEND)
    assert state(root) == {"perp": panel.content_hash}, "the lock died with its holder"
    assert not [path for path in store_of(root).files("perp") if "/." in path], "no draft is left"
