"""The peers beside which speed is measured: an optional extra, in an interpreter of their own (`make peers`)."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(__file__).resolve().parent / "peers"
INTERPRETER = Path(os.environ.get("COCKPIT_PEERS") or ROOT / ".venv-peers" / "bin" / "python")


def installed(package: str) -> bool:
    """Whether the peers' interpreter has `package`; says what to do where it has not."""
    imports = [str(INTERPRETER), "-c", f"import {package}"]
    if INTERPRETER.is_file() and not subprocess.run(imports, capture_output=True, timeout=120).returncode:
        return True
    print(f"{package} left out: {INTERPRETER} has none; `make peers` makes it, COCKPIT_PEERS names another")
    return False


def told(command: list[str]) -> dict[str, Any]:
    """The JSON line that a process prints; AssertionError with its last words if it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    line: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return line
