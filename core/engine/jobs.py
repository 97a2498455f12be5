"""Heavy work in processes of its own: started, listened to, and never left behind."""

import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from core.domain.errors import UserError

Progress = Callable[[float, str], None]
QUIET = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}
"""One thread a worker, and no spinning: two busy pools on two cores cost seconds (measured)."""


async def run_job(module: str, arguments: list[str], progress: Progress) -> dict[str, Any]:
    """Run `python -m module arguments` at low priority; its last stdout line is the JSON result.

    Lines on stderr that are JSON with `progress` and `text` are passed on; the last other line is the reason
    if it fails. Raises UserError with that reason. Cancelling ends the process.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **QUIET},
        preexec_fn=lambda: os.nice(10),
    )
    assert process.stdout is not None and process.stderr is not None
    try:
        out, reason = await asyncio.gather(process.stdout.read(), _listen(process.stderr, progress))
        code = await process.wait()
    except asyncio.CancelledError:
        if process.returncode is None:
            process.terminate()
            await process.wait()
        raise
    if code != 0:
        raise UserError(reason or f"{module} ended with code {code}")
    lines = out.decode().strip().splitlines()
    result: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return result


async def _listen(stream: asyncio.StreamReader, progress: Progress) -> str:
    """Pass progress on; the last line that is none of it."""
    last = ""
    async for raw in stream:
        line = raw.decode(errors="replace").strip()
        try:
            said = json.loads(line)
            progress(float(said["progress"]), str(said["text"]))
        except (ValueError, KeyError, TypeError):
            last = line or last
    return last


class ExchangeProcess:
    """The local exchange: a process that outlives the engine, found again by what it wrote to its folder."""

    def __init__(self, home: Path, port: int, pid: int) -> None:
        self.home = home
        self.port = port
        self.pid = pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @classmethod
    def running(cls, home: Path) -> "ExchangeProcess | None":
        """The one at work in `home`, if there is one: it holds the lock of its folder while it lives."""
        try:
            said = json.loads((home / "exchange.json").read_text())
            with (home / "exchange.lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None  # Nobody held it: what the file says is left over from one that was killed.
        except BlockingIOError:
            return cls(home, said["port"], said["pid"])
        except (OSError, ValueError, KeyError):
            return None

    @classmethod
    async def start(cls, home: Path, options: Mapping[str, str], resume: bool) -> "ExchangeProcess":
        """Start one in a session of its own (a signal to the engine's group does not reach it)."""
        arguments = [item for name, value in options.items() for item in (f"--{name}", value)]
        if resume:
            arguments.append("--resume")
        log = home / "exchange.log"
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "core.venues.okx_local", "--home", str(home), *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **QUIET},
                start_new_session=True,
            )
        assert process.stdout is not None
        try:
            line = await process.stdout.readline()
        except asyncio.CancelledError:
            process.terminate()  # Stopped before anybody knew of it: nobody else would end it.
            await process.wait()
            raise
        if not line:
            await process.wait()
            said = log.read_text(errors="replace").strip().splitlines()
            raise UserError(f"the local exchange did not start: {said[-1] if said else log}")
        ready = json.loads(line)
        return cls(home, ready["port"], ready["pid"])

    async def stop(self, timeout: float = 10.0) -> None:
        """End it (its account stays on disk) and wait until it is gone."""
        try:
            os.kill(self.pid, signal.SIGTERM)
            waited = 0.0
            while waited < timeout:
                os.kill(self.pid, 0)
                if _is_zombie(self.pid):
                    return
                await asyncio.sleep(0.02)
                waited += 0.02
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def _is_zombie(pid: int) -> bool:
    """Whether a child of ours has ended and only waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False
