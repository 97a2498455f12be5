"""Machine code of the inner loops, kept on disk under a name that changes whenever one of them does.

numba's cache looks at the file of the function that is called, not at those it calls in turn: after a change of
the rule, a loop that calls it would go on running the old one. So the whole folder is named by what all compiled
files say.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import platformdirs

F = TypeVar("F", bound=Callable[..., Any])

ROOT = Path(__file__).resolve().parent
MARK = b"from core.jit import"
"""How a file with a compiled function is known."""
KEPT = 4
"""Folders of earlier versions that stay, for whoever goes back and forth between two."""


def _folder() -> Path:
    """Where the machine code of these sources lies: beside them, else in the user's cache."""
    said = hashlib.sha256()
    for file in sorted(ROOT.rglob("*.py")):
        content = file.read_bytes()
        if MARK in content:
            said.update(content)
    beside = ROOT / "__pycache__"
    try:
        beside.mkdir(exist_ok=True)
        place = beside if os.access(beside, os.W_OK) else Path(platformdirs.user_cache_dir("cockpit", False))
    except OSError:
        place = Path(platformdirs.user_cache_dir("cockpit", False))
    folder = place / f"compiled-{said.hexdigest()[:16]}"
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        earlier = sorted(place.glob("compiled-*"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in earlier[KEPT + 1 :]:
            shutil.rmtree(old, ignore_errors=True)
    return folder


setattr(numba.config, "CACHE_DIR", str(_folder()))  # noqa: B010 (numba makes it at run time)


def jit(function: F) -> F:
    """Compile a function of an inner loop at its first call: without the GIL, floats as numpy has them."""
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def inlined(function: F) -> F:
    """The same, written into whoever calls it."""
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")(function))
