"""Kills the engine over and over, while the exchange misbehaves, and looks whether anything was lost or doubled.

``python -m tests.soak.kill_campaign [--kills 200] [--seed 7] [--peace 25]`` (or `make soak`)

One session, one account: local exchange and engine are real processes, the market runs on at speed. Each life of
the engine is killed by SIGKILL at a named point on an order's way, or at any moment from its connecting on; faults
are armed at the exchange while it lives. After every `peace` kills, and after the last, the engine is started once
more without faults: it must be reconciled within five seconds, then it is stopped in good order and both accounts
are read from their files (see `agreement`). The lives come from the seed; when the machine runs what does not.
"""

import argparse
import asyncio
import random
import signal
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import aiohttp
import msgspec

from core.clock import monotonic
from core.domain.errors import UserError
from core.domain.snapshot import Status
from core.execution.failpoint import POINTS
from core.link.client import LinkClient
from tests.engine.processes import Home, Process
from tests.engine.small import instruments
from tests.soak.agreement import account, disagreements

SPEED = 20_000
"""Market seconds a second: an hourly bar closes five or six times a second."""
BARS_A_KILL = 60
LIVELY = {
    "COCKPIT_STRATEGY__DIVERGENCE__Z_WINDOW": "12",
    "COCKPIT_STRATEGY__DIVERGENCE__Z_ENTRY": "0.5",
    "COCKPIT_STRATEGY__DIVERGENCE__HORIZON_BARS": "3",
    "COCKPIT_STRATEGY__DIVERGENCE__MAX_CONCURRENT_POSITIONS": "3",
    "COCKPIT_STRATEGY__DIVERGENCE__CORRELATION_THRESHOLD": "1.0",
}
"""Pairs are entered and left at almost every bar: an order is nearly always on its way."""
RECONCILED_S = 5.0
PATIENCE_S = 60.0

PLACING = "POST trade/order"
REQUEST_FAULTS = (
    "drop_reply", "drop_before", "deliver_late", "delay", "late_reply", "html", "empty", "http_500", "http_504",
    "code:50001", "code:50011", "code:51008",
)  # fmt: skip
READ_FAULTS = ("html", "empty", "http_500", "drop_before", "delay", "code:50013", "code:50011")
READS = ("GET trade/order", "GET trade/fills", "GET account/positions", "GET account/bills", "GET account/balance")
PUSH_FAULTS = ("push_double", "push_lose", "push_late", "push_swap", "push_cut")
CHANNELS = ("orders", "positions", "account", "candle1H", "tickers")

Wish = dict[str, Any]


class Life(NamedTuple):
    """How one life is to go: the point at which it dies by itself (or none), the seconds it lives at most after it
    has begun to connect or (`trades`) has ended its first bar, and what the exchange is told to do wrong, each with
    the seconds to wait before."""

    point: str
    trades: bool
    seconds: float
    wishes: tuple[tuple[float, Wish], ...]


class Report(msgspec.Struct):
    """What came of a campaign. `reconciled`: of each peaceful start the seconds since the engine's process was made
    and since it began to connect; `wrong` is empty where nothing was lost or doubled."""

    seed: int
    kills: int = 0
    refused: int = 0
    fills: int = 0
    orders: int = 0
    intents: int = 0
    died: Counter[str] = msgspec.field(default_factory=Counter)
    faults: Counter[str] = msgspec.field(default_factory=Counter)
    reconciled: list[tuple[float, float]] = []
    wrong: list[str] = []

    def text(self) -> str:
        """The figures in a few lines."""
        whole, connected = (sorted(pair[n] for pair in self.reconciled) or [0.0] for n in (0, 1))
        return "\n".join(
            (
                f"seed {self.seed}: {self.kills} SIGKILLs, {self.refused} lives that gave up with a reason;"
                f" {self.intents} intents, {self.orders} orders, {self.fills} fills",
                f"died at: {', '.join(f'{name} {n}' for name, n in sorted(self.died.items()))}",
                f"faults: {', '.join(f'{name} {n}' for name, n in sorted(self.faults.items()))}",
                f"reconciled, {len(whole)} starts: {median(whole):.1f} s (worst {whole[-1]:.1f}) after the process"
                f" was made, {median(connected):.1f} s (worst {connected[-1]:.1f}) after it began to connect",
                *(f"WRONG: {line}" for line in self.wrong),
            )
        )


def next_life(chance: random.Random) -> Life:
    """A life drawn from `chance`."""
    point = f"{chance.choice(POINTS)}:{chance.randint(1, 4)}" if chance.random() < 0.5 else ""
    waits = [chance.choice((0.0, chance.uniform(0.0, 1.5))) for _ in range(chance.randint(0, 3))]
    trades = chance.random() < 0.7
    seconds = 4.0 if point else chance.uniform(0.0, 1.5 if trades else 0.5)
    return Life(point, trades, seconds, tuple((wait, _wish(chance)) for wait in waits))


def _wish(chance: random.Random) -> Wish:
    seconds, times = round(chance.uniform(0.05, 1.5), 3), chance.randint(1, 3)
    match chance.randrange(6):
        case 0 | 1:
            return {"do": chance.choice(REQUEST_FAULTS), "match": PLACING, "seconds": seconds, "times": times}
        case 2:
            wish = {"do": chance.choice(READ_FAULTS), "match": chance.choice(READS)}
            return wish | {"seconds": seconds, "times": times}
        case 3:
            wish = {"do": chance.choice(PUSH_FAULTS), "channel": chance.choice(CHANNELS)}
            return wish | {"seconds": seconds, "times": times}
        case 4:
            return {
                "do": chance.choice(("drop", "silence")),
                "socket": chance.choice(("private", "business", "all")),
            }
    return chance.choice(
        (
            {"do": "thin", "share": chance.choice((0.0005, 0.01))},
            {"do": "maintenance", "seconds": seconds},
            {"do": "clock", "seconds": chance.choice((-1.0, 3.0))},
        )
    )


async def campaign(home: Home, kills: int, seed: int, peace: int = 25) -> Report:
    """Kill `kills` lives; a peaceful one, with the accounts compared, after each `peace` of them and at the end."""
    chance, report, session = random.Random(seed), Report(seed), Session(home, kills)
    while report.kills < kills and not report.wrong:
        before = report.kills
        await session.live(next_life(chance), report)
        if report.kills > before and (report.kills % peace == 0 or report.kills == kills):
            try:
                await session.rest(report)
            except (AssertionError, TimeoutError) as stuck:
                report.wrong.append(f"after {report.kills} kills a peaceful start came to nothing: {stuck!r}")
    return report


class Session:
    """One account's session, through all lives of its engine."""

    def __init__(self, home: Home, kills: int) -> None:
        self._home = home
        bars = 450 + BARS_A_KILL * kills + 600
        self._environ = {**LIVELY, "COCKPIT_DEMO__MARKET_BARS": str(bars)}
        self._resume: tuple[str, ...] = ()

    async def live(self, life: Life, report: Report) -> None:
        """One life, up to its death by SIGKILL, or to its giving up because of what the exchange did."""
        engine = await self._start(**({"COCKPIT_KILL_AT": life.point} if life.point else {}))
        lasted, said, spoiling = False, "", asyncio.create_task(asyncio.sleep(0))
        try:
            await engine.line("connecting")
            await self._wish({"do": "clear"})
            spoiling = asyncio.create_task(self._spoil(life, report))
            if life.trades:
                await engine.line("equity")
            lasted = await engine.runs_for(life.seconds)
            engine.signal(signal.SIGKILL)
        except AssertionError as ended:  # Dead or given up before its time.
            said = str(ended)
        except TimeoutError:
            report.wrong.append(f"after {report.kills} kills an engine ended no bar for a minute, under {life}")
            engine.signal(signal.SIGKILL)
        spoiling.cancel()
        await asyncio.gather(spoiling, return_exceptions=True)
        code, _, errors = await engine.end()
        if code == -signal.SIGKILL:
            report.kills += 1
            report.died["any moment" if lasted else life.point.partition(":")[0]] += 1
        elif code == 1 and "Traceback" not in said + errors:
            report.refused += 1
        else:
            report.wrong.append(f"an engine ended with {code} after {report.kills} kills: {said}{errors[-3000:]}")

    async def rest(self, report: Report) -> None:
        """A start without faults: when is it reconciled, and do both accounts agree once it has been stopped?"""
        await self._wish({"do": "clear"})
        began = monotonic()
        engine = await self._start()
        await engine.line("connecting")
        connected = monotonic()
        await self._reconciled(engine)
        now = monotonic()
        report.reconciled.append((now - began, now - connected))
        await engine.line("equity")  # It trades on.
        engine.signal(signal.SIGTERM)
        code, _, errors = await engine.end()
        if code or errors:
            report.wrong.append(f"stopped in good order it ended with {code}: {errors[-3000:]}")
        events, theirs = self._home.ledger(), account(self._home.path / "exchange")
        kinds = Counter(type(event).__name__ for event in events)
        report.fills, report.orders, report.intents = kinds["Filled"], kinds["Planned"], kinds["Intended"]
        report.wrong += disagreements(events, theirs, instruments())

    async def _start(self, **environ: str) -> Process:
        engine = await self._home.engine("--speed", str(SPEED), *self._resume, **self._environ, **environ)
        self._resume = ("--resume",)
        return engine

    async def _reconciled(self, engine: Process) -> None:
        """Wait until the engine trades and tells of no disagreement."""
        link = LinkClient(self._home.path / "engine.sock", rate=20.0)
        await link.connect()
        try:
            async with asyncio.timeout(PATIENCE_S):
                async for _ in link.changes():
                    status: Status | None = link.latest.get("status")
                    if status is not None and status.phase == "trading" and not status.warning:
                        return
        finally:
            await link.close()

    async def _spoil(self, life: Life, report: Report) -> None:
        """Arm the faults of this life, each in its time."""
        for wait, wish in life.wishes:
            await asyncio.sleep(wait)
            await self._wish(wish)
            report.faults[wish["do"]] += 1

    async def _wish(self, wish: Wish) -> None:
        """Ask the exchange for trouble, if there is one yet."""
        port = self._home.exchange_port()
        if port is None:
            return
        with suppress(aiohttp.ClientError, UserError):
            url = f"http://127.0.0.1:{port}/local/faults"
            async with aiohttp.ClientSession() as http, http.post(url, json=wish) as reply:
                assert reply.status == 200, await reply.text()


async def _main(kills: int, seed: int, peace: int, path: Path) -> int:
    home = Home(path)
    began = monotonic()
    try:
        report = await campaign(home, kills, seed, peace)
    finally:
        await home.clear()
    print(report.text())
    print(f"{monotonic() - began:.0f} s")
    late = [pair for pair in report.reconciled if pair[1] > RECONCILED_S]
    return 1 if report.wrong or late else 0


def main() -> int:
    """Exit code 1 where anything was lost, doubled, orphaned, or reconciled late."""
    parser = argparse.ArgumentParser("tests.soak.kill_campaign", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--peace", type=int, default=25, help="kills between two peaceful starts")
    parser.add_argument("--home", type=Path, help="keep the session here")
    given = parser.parse_args()
    if given.home is not None:
        return asyncio.run(_main(given.kills, given.seed, given.peace, given.home / "session"))
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_main(given.kills, given.seed, given.peace, Path(folder) / "home"))


if __name__ == "__main__":
    sys.exit(main())
