"""The local exchange, a process of its own."""

import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from core.domain.errors import UserError
from core.domain.secrecy import without_secrets
from core.jobs import QUIET


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
                env={**without_secrets(os.environ), **QUIET},
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
