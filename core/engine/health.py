"""How the engine is, measured while it runs: each measure with its thresholds, and what a bad one does.

Of the rules `hold` refuses new entries while it lasts, `reduce` is a restriction of the account (a ledger event).
Exits, hedges and stops go on under both. Under lockstep nothing is acted upon: there the market waits for us.
"""

import asyncio
import contextlib
import shutil
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from core.config.health import FALLING, Range
from core.domain.health import Level, Reading, Rule
from core.domain.orders import OrderState
from core.domain.trading import TradingState
from core.portfolio.events import AnyEvent, Planned, Reported
from core.venues.port import VenueError

if TYPE_CHECKING:
    from core.engine.engine import Engine

EVERY_S = 1.0
CLOCK_EVERY_S = 60.0
LAG_KEPT = 20
"""Of so many naps the latest awakening is told as the loop's lag."""
REJECTS_MS = 600_000
FEW = 4
"""Fewer orders than that say nothing of the share that is refused."""
RULES: dict[str, Rule] = {
    "streams": "hold",
    "clock": "hold",
    "requests": "hold",
    "rejects": "reduce",
    "disk": "reduce",
    "lag": "hold",
    "margin": "",  # the risk gate's own
    "truth": "hold",
    "hedge": "hold",
}
"""What a bad reading of each measure does."""


def level_of(value: float, levels: Range, falling: bool = False) -> Level:
    """What the thresholds say of a value; `falling`: less is worse."""
    warn, bad = levels
    if (value <= bad) if falling else (value >= bad):
        return "bad"
    return "warn" if ((value <= warn) if falling else (value >= warn)) else "good"


class HealthWatch:
    """Measures every `every` seconds, and acts. `readings` are the last ones. All times are the loop's."""

    def __init__(self, engine: "Engine") -> None:
        self.every = EVERY_S
        self._engine = engine
        self._levels = engine.settings.health
        self._folder: Path = engine.settings.paths.home
        self._late: deque[float] = deque([0.0], maxlen=LAG_KEPT)
        self._orders: deque[tuple[int, bool]] = deque()
        self._clock = engine.venue.server_ms()
        self._offset = 0
        self._free_mb = float("inf")
        self.agreed = asyncio.get_running_loop().time()
        """When ledger and exchange were last found to tell the same."""
        self.readings: tuple[Reading, ...] = ()
        engine.journal.listen(self._heard)

    @property
    def trouble(self) -> str:
        """What is bad and keeps from new entries, in words; empty: nothing."""
        return next((r.line for r in self.readings if r.level == "bad" and r.rule == "hold"), "")

    async def watch(self) -> None:
        """Measure and act, for ever."""
        loop, asked = asyncio.get_running_loop(), float("-inf")
        while True:
            if loop.time() - asked >= CLOCK_EVERY_S:
                asked = loop.time()
                with contextlib.suppress(VenueError):
                    self._offset = await self._engine.venue.measure_clock()
            self._free_mb = free_mb(self._folder)
            await self.step()
            before = loop.time()
            await asyncio.sleep(self.every)
            self._late.append(loop.time() - before - self.every)

    async def step(self) -> None:
        """One measurement of everything, and what follows of it."""
        before = {reading.name: reading.level for reading in self.readings}
        self.readings = tuple(self._measured())
        if self._engine.venue.capabilities.lockstep:
            return
        for reading in self.readings:
            if reading.name != "streams" and reading.level != before.get(reading.name, "good"):
                self._engine.narrator.say(self._engine.venue.market_ms(), "health", reading.level, reading.line)
            if reading.rule in ("reduce", "halt") and self._engine.trading.is_set():
                await self._restrict(reading)

    async def _restrict(self, reading: Reading) -> None:
        cause = f"health: {reading.name}"
        if reading.level == "bad":
            state = TradingState.HALTED if reading.rule == "halt" else TradingState.REDUCING
            await self._engine.restrict(cause, state, reading.line)
        elif reading.level == "good" and cause in self._engine.restrictions.standing:
            await self._engine.release(cause)

    def _heard(self, event: AnyEvent) -> None:
        """Count orders, and those of them that were refused."""
        match event:
            case Planned(ts=ts):
                self._orders.append((ts, False))
            case Reported(ts=ts, report=report) if report.state is OrderState.REJECTED:
                self._orders.append((ts, True))

    def _measured(self) -> Iterator[Reading]:
        yield self._streams()
        yield self._reading("clock", f"{self._offset:+d} ms", abs(self._offset), self._levels.clock_ms)
        yield self._requests()
        yield self._rejects()
        if self._free_mb != float("inf"):
            yield self._reading("disk", f"{self._free_mb / 1000:.1f} GB free", self._free_mb, self._levels.disk_mb)
        late = max(self._late) * 1000
        yield self._reading("lag", f"{late:.1f} ms", late, self._levels.lag_ms)
        yield self._margin()
        yield self._truth()
        yield self._hedge()

    def _reading(self, name: str, text: str, value: float, levels: Range, detail: str = "") -> Reading:
        falling = name in ("disk", "margin")
        return Reading(name, text, level_of(value, levels, falling), RULES[name], detail)

    def _streams(self) -> Reading:
        """Every subscription by its own messages: what is not live, and which is the first of them."""
        live, total, wrong = self._engine.market.subscriptions()
        return Reading("streams", f"{live}/{total} live", "bad" if wrong else "good", RULES["streams"], wrong)

    def _requests(self) -> Reading:
        load = self._engine.venue.load()
        share = load.share if self._engine.venue.capabilities.limited else 0.0
        return self._reading("requests", f"{share:.0%}", share, self._levels.requests, load.name if share else "")

    def _rejects(self) -> Reading:
        since = self._engine.venue.market_ms() - REJECTS_MS
        while self._orders and self._orders[0][0] < since:
            self._orders.popleft()
        refused = sum(rejected for _, rejected in self._orders)
        sent = len(self._orders) - refused
        share = refused / sent if sent >= FEW else 0.0
        return self._reading("rejects", f"{refused} of {sent}", share, self._levels.rejects)

    def _margin(self) -> Reading:
        """Equity over maintenance margin, by the exchange's own word where it has given one."""
        money = self._engine.money
        if money is None or not money.maintenance:
            return Reading("margin", "none used", "good", RULES["margin"])
        ratio = float(money.equity / money.maintenance)
        return self._reading("margin", f"{ratio:.1f}x", ratio, self._levels.margin_ratio)

    def _truth(self) -> Reading:
        """How long ago ledger and exchange told the same; under lockstep it is asked when there is a reason."""
        age = asyncio.get_running_loop().time() - self.agreed
        if self._engine.venue.capabilities.lockstep and self._engine.verdict.agrees:
            age = 0.0
        wrong = "" if self._engine.verdict.agrees else self._engine.verdict.differences[0]
        return self._reading("truth", f"{age:.0f} s ago", age, self._levels.reconcile_s, wrong)

    def _hedge(self) -> Reading:
        """The leg that has stood longest without the other."""
        standing = self._engine.executor.unhedged()
        if not standing:
            return Reading("hedge", "whole", "good", RULES["hedge"])
        age = asyncio.get_running_loop().time() - standing[0].since
        text = f"{standing[0].notional:.0f} {self._engine.journal.books.currency} open for {age:.1f} s"
        return self._reading("hedge", text, age, self._levels.unhedged_s, standing[0].pair)


def free_mb(folder: Path) -> float:
    """Megabytes that may still be written where `folder` lies; infinite where that cannot be told."""
    try:
        return shutil.disk_usage(folder).free / 1e6
    except OSError:
        return float("inf")


assert {"disk_mb", "margin_ratio"} == FALLING
