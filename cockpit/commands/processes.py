"""Heavy work is another process: either this one becomes it, or it is started behind the terminal."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from core.domain.errors import UserError
from core.domain.secrecy import without_secrets

# Threads that wait by spinning bring a busy machine down; our own code is written for one thread.
THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


def flags(**options: object) -> list[str]:
    """Options of a command line: those that are None are left out, True stands alone, tuples are repeated."""
    words: list[str] = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            words.append(flag)
        elif isinstance(value, tuple):
            words.extend(word for part in value for word in (flag, str(part)))
        elif value is not None and value is not False:
            words.extend((flag, str(value)))
    return words


def become(module: str, arguments: Sequence[str]) -> NoReturn:
    """Turn this process into `python -m module arguments`: its signals, streams and exit code are then ours. Only
    what asks an exchange for an account is given the secrets."""
    sys.stdout.flush()
    sys.stderr.flush()
    trades = module.startswith("core.engine") and module != "core.engine.download"
    environ = os.environ if trades else without_secrets(os.environ)
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], {**THREADS, **environ})


class Background:
    """An engine started in a session of its own, so that Ctrl-C or a closed window never reaches it."""

    def __init__(self, module: str, arguments: Sequence[str], log: Path) -> None:
        self._log = log
        try:
            stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise UserError(f"{log}: cannot be written: {error.strerror}") from None
        try:
            self._start = os.fstat(stream).st_size
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env={**THREADS, **os.environ},
                start_new_session=True,
            )
        finally:
            os.close(stream)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def progress(self) -> str:
        """A line on how the start goes. Raises UserError, with the last line it wrote, once it has ended."""
        if self.running:
            return f"starting the engine (process {self._process.pid})"
        with self._log.open("rb") as log:
            log.seek(self._start)
            lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        raise UserError(
            lines[-1].strip() if lines else f"the engine ended at once and said nothing (see {self._log})"
        )
