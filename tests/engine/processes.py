"""The engine as a process of its own: started, listened to, killed, and never left behind."""

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.portfolio.events import AnyEvent
from core.portfolio.ledger import SyncLedger

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
SMALL = {
    "COCKPIT_UNIVERSE__ASSETS": "BTC,ETH,SOL,XRP",
    "COCKPIT_DEMO__MARKET_BARS": "1000",
    "COCKPIT_VENUE__ORDER_EXPIRY_S": "0.5",
}
"""Four assets, six pairs: a life of the engine takes three seconds, most of it the start of Python."""


class Process:
    """One engine. Its stdout comes line by line, its stderr when it has ended."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid
        self.lines: list[str] = []

    async def line(self, word: str) -> str:
        """The next line with `word` in it; fails when the engine ends without one, or says nothing for long."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            async for raw in self._process.stdout:
                self.lines.append(raw.decode().rstrip())
                if word in self.lines[-1]:
                    return self.lines[-1]
        _, errors = await self._process.communicate()
        raise AssertionError(f"ended without {word!r}: {self.lines[-5:]} {errors.decode()[-2000:]}")

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def runs_for(self, seconds: float) -> bool:
        """Whether it is still running after that time; back at once when it ends."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), seconds)
        return self._process.returncode is None

    async def end(self) -> tuple[int, str, str]:
        """Wait for its end: (code, the rest of stdout, stderr)."""
        async with asyncio.timeout(PATIENCE_S):
            out, errors = await self._process.communicate()
            code = await self._process.wait()
        return code, out.decode(), errors.decode()

    async def result(self) -> dict[str, Any]:
        """The summary that a run with --json ends with."""
        code, out, errors = await self.end()
        assert code == 0, errors[-3000:]
        assert errors == "", errors[-3000:]
        said: dict[str, Any] = json.loads(out)
        return said


class Home:
    """A home of its own, and every process that was started in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started: list[Process] = []

    async def engine(self, *arguments: str, **environ: str) -> Process:
        """`python -m core.engine demo --headless ...` with the plain z-score rule."""
        usual = ("demo", "--headless", "--strategy", "zscore", "--train-bars", "450")
        return await self.run("core.engine", *usual, *arguments, **environ)

    async def run(self, module: str, *arguments: str, **environ: str) -> Process:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("COCKPIT_")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments),
            cwd=ROOT,
            env={**clean, **SMALL, "COCKPIT_HOME": str(self.path), **environ},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self._started.append(Process(process))
        return self._started[-1]

    def exchange_pid(self) -> int | None:
        """The local exchange of this home, as it announced itself; None when it has taken its leave."""
        return self._announced("pid")

    def exchange_port(self) -> int | None:
        """Where it listens on 127.0.0.1."""
        return self._announced("port")

    def _announced(self, name: str) -> int | None:
        with suppress(OSError, ValueError):
            value: int = json.loads((self.path / "exchange" / "exchange.json").read_text())[name]
            return value
        return None

    def strays(self) -> list[int]:
        """Processes that were given a path of this home and still run."""
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [pid for pid in pids if alive(pid, str(self.path))]

    def ledger(self) -> list[AnyEvent]:
        """What is in the ledger; only while no engine runs."""
        ledger = SyncLedger(self.path / "ledger" / "demo.sqlite")
        try:
            return ledger.events()
        finally:
            ledger._connection.close()

    async def clear(self) -> None:
        """End what is left, whatever happened."""
        for process in self._started:
            process.signal(signal.SIGKILL)
            await process.end()
        for pid in self.strays():
            os.kill(pid, signal.SIGKILL)


def alive(pid: int, word: str = "") -> bool:
    """Whether a process with `word` in its command runs (one that has ended and was not reaped does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" and word in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def whole(said: dict[str, Any]) -> dict[str, Any]:
    """What two runs that did the same have in common: orders may differ, for one may have had to ask twice."""
    kept = ("bars", "decisions", "fills", "round_trips", "fees", "funding", "cash", "equity", "digest")
    return {name: said[name] for name in kept} | {"agrees": all(said["agrees"].values())}
