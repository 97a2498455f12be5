"""Runs the engine at a high rate of messages, and looks whether its memory or its open files grow.

``python -m tests.soak.high_rate [--minutes 4] [--assets 24]`` (or `make soak`)

Engine and local exchange are real processes; the plain z-score rule trades often. Both are looked at every two
seconds. The first third is left out (caches fill, code is compiled); then the last is compared with the second.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import NamedTuple

import aiohttp

from core.clock import monotonic
from tests.engine.processes import Home
from tests.soak.kill_campaign import LIVELY

NAMES = (
    "BTC", "ETH", "SOL", "XRP", "BNB", "DOGE", "ADA", "AVAX", "LINK", "DOT", "LTC", "BCH", "UNI", "ATOM", "ETC",
    "FIL", "APT", "ARB", "OP", "NEAR", "INJ", "SUI", "TIA", "SEI",
)  # fmt: skip
SPEED = 12_000
"""Market seconds a second: twenty ticks a second, three bars."""
EVERY_S = 2.0
CHANNELS = 3
"""What the engine hears of each instrument at every tick: ticker, mark, forming candle."""
GROWTH, SLACK_MIB, HANDLES = 0.03, 4.0, 2
"""Memory may grow by this share and so much, open files by so many: allocators breathe, and a ledger is kept."""


class Sample(NamedTuple):
    """A process at one moment: resident memory in MiB, open files."""

    memory: float
    handles: int


def look(pid: int) -> Sample:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Sample(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir(f"/proc/{pid}/fd")))


def grown(samples: list[Sample]) -> str:
    """What has grown from the second third to the last; empty: nothing."""
    third = len(samples) // 3
    before, after = samples[third : 2 * third], samples[2 * third :]
    was, now = (median(sample.memory for sample in part) for part in (before, after))
    if now > was * (1 + GROWTH) + SLACK_MIB:
        return f"memory from {was:.1f} to {now:.1f} MiB"
    held, holds = (max(sample.handles for sample in part) for part in (before, after))
    return f"open files from {held} to {holds}" if holds > held + HANDLES else ""


async def count_tickers(url: str, assets: list[str], seconds: float) -> float:
    """Tickers a second that one listener is sent."""
    wanted = [{"channel": "tickers", "instId": f"{asset}-USDT-SWAP"} for asset in assets]
    heard = 0
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}/ws/v5/public") as socket:
        await socket.send_json({"op": "subscribe", "args": wanted})
        end = monotonic() + seconds
        while monotonic() < end:
            heard += b'"data"' in (await socket.receive_str()).encode()
    return heard / seconds


async def soak(home: Home, minutes: float, assets: list[str]) -> list[str]:
    """What has grown, a line each; the figures are printed."""
    bars = 450 + int(minutes * 60 * SPEED / 3600) + 2_000
    environ = LIVELY | {"COCKPIT_UNIVERSE__ASSETS": ",".join(assets), "COCKPIT_DEMO__MARKET_BARS": str(bars)}
    engine = await home.engine("--speed", str(SPEED), "--quiet", **environ)
    while (port := home.exchange_port()) is None:
        assert await engine.runs_for(0.2), await engine.end()
    exchange = home.exchange_pid()
    assert exchange is not None
    await engine.runs_for(15.0)
    rate = await count_tickers(f"http://127.0.0.1:{port}", assets, 10.0) * CHANNELS
    watched: dict[str, tuple[int, list[Sample]]] = {"engine": (engine.pid, []), "exchange": (exchange, [])}
    end = monotonic() + 60 * minutes
    while monotonic() < end and await engine.runs_for(EVERY_S):
        for pid, samples in watched.values():
            samples.append(look(pid))
    engine.signal(signal.SIGTERM)
    code, _, errors = await engine.end()
    wrong = [f"the engine ended with {code}: {errors[-1000:]}"] if code or errors else []
    print(f"{len(assets)} instruments, about {rate:.0f} messages a second, {minutes:g} minutes,", end=" ")
    print(f"{len(home.ledger())} events in the ledger")
    for name, (_, samples) in watched.items():
        memory = [sample.memory for sample in samples]
        third = len(memory) // 3
        parts = ", ".join(f"{median(memory[n * third : (n + 1) * third]):.1f}" for n in range(3))
        print(f"{name}: memory {parts} MiB (medians of thirds), open files {samples[0].handles} to", end=" ")
        print(f"{samples[-1].handles}")
        wrong += [f"{name}: {line}" for line in (grown(samples),) if line]
    return wrong


async def _main(minutes: float, assets: list[str], path: Path) -> int:
    home = Home(path)
    try:
        wrong = await soak(home, minutes, assets)
    finally:
        await home.clear()
    print("\n".join(wrong) or "flat")
    return 1 if wrong else 0


def main() -> int:
    """Exit code 1 where something has grown."""
    parser = argparse.ArgumentParser("tests.soak.high_rate", description=__doc__)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--assets", type=int, default=24, choices=range(2, len(NAMES) + 1), metavar="N")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_main(given.minutes, list(NAMES[: given.assets]), Path(folder) / "home"))


if __name__ == "__main__":
    sys.exit(main())
