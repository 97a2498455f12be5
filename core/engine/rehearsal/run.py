"""One rehearsal: a world, a machine, and one life of the engine after another until the days are over."""

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from core.clock import Machine, VirtualLoop, cpu_s, iso
from core.config import Settings
from core.domain.errors import UserError
from core.domain.trading import DAILY_LOSS, LOSSES, MARGIN, TradingState
from core.engine import supervisor
from core.engine.engine import Engine
from core.engine.narrator import Narrator
from core.engine.rehearsal.disk import Disk
from core.engine.rehearsal.faults import Faults
from core.engine.rehearsal.life import Life, task_factory
from core.engine.rehearsal.market import hostile_market
from core.engine.rehearsal.wire import Wire
from core.engine.rehearsal.witness import Witness
from core.engine.rehearsal.world import World, every
from core.venues.okx.transport import Credentials, FaultHandler, PushHandler
from core.venues.okx.venue import OkxVenue
from core.venues.port import Capabilities, VenueError

HOUR_S, DAY_S = 3600.0, 86_400.0
QUIET_S, JUDGED_S = 1.0 * HOUR_S, 0.25 * HOUR_S
"""In the last hour of a day nothing goes wrong; a quarter before its end everything must have settled."""
TIMEOUT_S = 10.0
LOOK_S = 20.0
STUMBLES = 0.25
"""The share of deaths after which the process dies again as it starts, reconciles, or a moment later."""
MARKETS_OWN = (*LOSSES, MARGIN)
"""What may hold an account back in the quiet too: the market did it, and nothing has to mend itself."""
CAPABILITIES = Capabilities(
    "demo", real_money=False, lockstep=False, expiry=True, triggers=True, dead_man=True, limited=False
)


class Outcome(msgspec.Struct, frozen=True):
    """What came of a rehearsal of `days` (those that were finished) from `seed`: `broken`, the first invariant that
    did not hold, with the last lines told before it; or nothing."""

    seed: int
    days: float
    kinds: tuple[str, ...]
    broken: str
    told: tuple[str, ...]
    faults: dict[str, int]
    lives: int
    intents: int
    orders: int
    fills: int
    cpu_s: float = 0.0


class Rehearsal:
    """`run` it once, on a `VirtualLoop`."""

    def __init__(
        self,
        settings: Settings,
        models: Mapping[str, Path],
        seed: int,
        days: int,
        kinds: Sequence[str],
        rates: Mapping[str, float] | None = None,
    ) -> None:
        """`settings` as traded; its paths must be a folder of this rehearsal's own. `models`: bundles by kind."""
        universe = settings.universe
        self.settings, self.models, self.seed, self.days = settings, models, seed, days
        self.faults = Faults(seed, kinds, dict(rates or {}))
        self.witness = Witness(
            settings.risk.max_gross_usdt,
            universe.bar_ms,
            settings.venue.stale_after_s,
            settings.execution.max_unhedged_s,
        )
        self.disk = Disk(self.faults, self.witness)
        self.host = Machine()
        warmup = max(settings.strategy.divergence.min_bars, 400)
        panel, gone = hostile_market(seed, universe.assets, universe.bar_ms, warmup, days, self.faults)
        cash, stale_after = settings.demo.cash, settings.venue.stale_after_s
        self.world = World(panel, warmup, cash, seed, stale_after, self.faults, self.witness, gone)
        self.told: list[str] = []
        self.lives = 0
        self.life = Life(self.host)
        self.engine: Engine | None = None
        self.narrator = Narrator()
        self.narrator.sink(lambda line: self._say(f"{line.kind}: {line.text}"))
        self.witness.market_ms = lambda: self.world.market.now
        self.witness.silence = self._silence
        self.witness.gross = self._gross
        self.witness.audit = self._audit
        self.witness.begin(self.world.exchange.matching.balance().cash, self.world.market.instruments)

    async def run(self) -> Outcome:
        """Live through the days; ends at the first broken invariant."""
        asyncio.get_running_loop().set_task_factory(task_factory)
        self.world.start()
        background = [asyncio.create_task(work) for work in (*self._machine(), self._look())]
        lives = asyncio.create_task(self._live())
        failed = asyncio.create_task(self.witness.failed.wait())
        over = asyncio.create_task(self._days())
        await asyncio.wait({lives, failed, over}, return_when=asyncio.FIRST_COMPLETED)
        days = asyncio.get_running_loop().time() / DAY_S
        for task in (lives, over):
            if task.done() and task.exception() is not None:
                self.witness.fail(f"the rehearsal itself: {task.exception()!r}")
        for task in (*background, lives, failed, over):
            task.cancel()
        await asyncio.gather(*background, lives, failed, over, return_exceptions=True)
        await self._end_life()
        await self.world.stop()
        witness = self.witness
        return Outcome(
            self.seed, round(days, 3), tuple(sorted(self.faults.kinds)), witness.broken, tuple(self.told[-40:]),
            self.faults.count, self.lives, witness.intents, witness.orders, len(witness.fills),
        )  # fmt: skip

    def _machine(self) -> list[Any]:
        """What befalls the machine that the engine runs on."""
        loop, disk, faults = asyncio.get_running_loop(), self.disk, self.faults

        def crash(chance: Any) -> None:
            if chance.random() < 0.5:
                self.life.crash_soon(chance.randint(1, 200))
            else:
                disk.crash_after_plan = chance.randint(1, 40)

        def step_clock(chance: Any) -> None:
            self.host.ahead_ms = int(chance.choice((-1, 1)) * 10 ** chance.uniform(2.0, 4.8))

        def fill_disk(chance: Any) -> None:
            disk.full_until = loop.time() + chance.uniform(10.0, 600.0)

        def slow_disk(chance: Any) -> None:
            disk.slow_until = loop.time() + chance.uniform(60.0, 3_600.0)

        acts = {"crash": crash, "clock": step_clock, "disk-full": fill_disk, "disk-slow": slow_disk}
        return [every(faults, kind, act) for kind, act in acts.items()]

    # --- lives ---------------------------------------------------------------------------------------

    async def _live(self) -> None:
        """The engine, started again a while after each end, as a service manager would."""
        while not self.world.market.finished:
            self.lives += 1
            again = self.lives > 1 and not self.life.alive and self.faults.on and "crash" in self.faults.kinds
            self.life = Life(self.host)
            if again and self.faults.of("crash").random() < STUMBLES:
                self.life.crash_soon(self.faults.of("crash").randint(1, 150))
            main = self.life.start(self._engine())
            died = asyncio.create_task(self.life.died.wait())
            await asyncio.wait({main, died}, return_when=asyncio.FIRST_COMPLETED)
            died.cancel()
            why = "the process died" if not self.life.alive else await self._ended(main)
            self._say(f"machine: {why}")
            await self._end_life()
            await asyncio.sleep(self.faults.of("crash").uniform(1.0, 60.0))

    async def _ended(self, main: "asyncio.Task[None]") -> str:
        """Why an engine ended by itself: what it may end by is told, anything else is a fault of ours."""
        error = main.exception()
        if isinstance(error, UserError | VenueError):
            return f"the engine ended: {error}"
        self.witness.fail(f"the engine fell: {error!r}")
        return f"the engine fell: {error!r}"

    async def _end_life(self) -> None:
        self.engine = None
        self.life.kill()
        await self.life.bury()
        for line in list(self.world.exchange.hub.connections):
            line.dropped = True
            self.world.do(self.world.exchange.hub.leave, line)
        self.disk.unplug()

    async def _engine(self) -> None:
        """One process: composed and run as any other."""
        life, settings = self.life, self.settings

        def wire(on_push: PushHandler, on_fault: FaultHandler) -> Wire:
            return Wire(self.world, life, self.faults, on_push, on_fault, TIMEOUT_S)

        keys = self.world.keys
        venue = OkxVenue(
            transport=wire,
            where="rehearsal exchange",
            credentials=Credentials(keys.key, keys.secret, keys.passphrase),
            capabilities=CAPABILITIES,
            bar=settings.universe.bar,
            stale_after=settings.venue.stale_after_s,
            timeout=TIMEOUT_S,
        )
        async with supervisor.composed(
            settings, venue, self.models, None, self.narrator, lambda path: self.disk.open(path, life)
        ) as run:
            self.engine = run.engine
            run.engine.health.every = run.engine.kill.every = 30.0  # A simulated day is not spent on measuring.
            tasks = [*run.engine.tasks(None), run.pump]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    # --- days ----------------------------------------------------------------------------------------

    async def _days(self) -> None:
        """First trouble, then quiet; then everything is judged."""
        loop = asyncio.get_running_loop()
        for day in range(1, self.days + 1):
            end = day * DAY_S
            await asyncio.sleep(end - QUIET_S - loop.time())
            self.faults.on = False
            self.host.ahead_ms = 0
            await asyncio.sleep(end - JUDGED_S - loop.time())
            self._judge()
            if self.witness.broken:
                return
            await asyncio.sleep(end - loop.time())
            await self._resume()
            self.faults.on = True

    async def _resume(self) -> None:
        """What a person does in the morning: lift what a rule has halted, so that the next day is traded."""
        engine = self.engine
        if engine is None or not engine.trading.is_set():
            return
        for cause, held in list(engine.restrictions.standing.items()):
            if held.state is TradingState.HALTED or cause == DAILY_LOSS:
                await engine.release(cause, "operator")

    async def _look(self) -> None:
        """What stands unhedged, seen again and again."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_S)
            engine = self.engine
            if engine is None or not engine.trading.is_set() or self.world.halted:
                continue
            for each in engine.executor.unhedged():
                if not self.world.traded(each.instrument):
                    continue  # A gap: nobody offers anything, and nothing can be hedged there.
                since = max(each.since, self.world.reopened, self.disk.full_until)
                alarmed = each.intent in engine.executor.exposure.alarms
                self.witness.bare(each, loop.time() - since, alarmed)

    def _audit(self) -> None:
        if self.engine is not None:
            self.engine.journal.books.check()

    def _judge(self) -> None:
        engine = self.engine
        if engine is None:
            self.witness.fail(
                "the engine does not run, though nothing has gone wrong for three quarters of an hour"
            )
            return
        self.witness.expect(not engine.trouble(), f"new entries are still refused: {engine.trouble()}")
        standing = engine.restrictions.standing.items()
        held_back = [each.reason for cause, each in standing if cause not in MARKETS_OWN]
        self.witness.expect(not held_back, f"the account is still held back: {'; '.join(held_back)}")
        self.witness.judge(engine.journal.books, self.world.exchange.matching, engine.verdict, engine.halved())

    def _silence(self) -> dict[str, float]:
        """Seconds since each stream of this life last brought something."""
        now, gone = asyncio.get_running_loop().time(), self.world.exchange.gone
        heard = self.world.last_heard.items()
        began = self.life.began
        return {stream: now - max(last, began) for stream, last in heard if stream.partition(":")[2] not in gone}

    def _gross(self) -> Decimal:
        """What is held, at the marks."""
        contracts = {spec.id: spec.contract for spec in self.world.market.instruments}
        matching = self.world.exchange.matching
        held = ((p, matching.mark(p.instrument) or Decimal(0)) for p in matching.positions())
        return sum((abs(p.size) * contracts[p.instrument] * mark for p, mark in held), Decimal(0))

    def _say(self, text: str) -> None:
        self.told.append(f"{iso(self.world.market.now)} {text}")
        del self.told[:-400]


def rehearse(
    settings: Settings,
    models: Mapping[str, Path],
    seed: int,
    days: int,
    kinds: Sequence[str],
    rates: Mapping[str, float] | None = None,
) -> Outcome:
    """One rehearsal of `days` days, from its seed alone, in a folder that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as home:
        own = settings.model_copy(update={"paths": type(settings.paths).model_validate({"home": home})})
        loop = VirtualLoop()
        with asyncio.Runner(loop_factory=lambda: loop) as runner:

            async def whole() -> Outcome:
                rehearsal = Rehearsal(own, models, seed, days, kinds, rates)
                loop.epoch_ms = rehearsal.world.epoch_ms
                return await rehearsal.run()

            began = cpu_s()
            return msgspec.structs.replace(runner.run(whole()), cpu_s=cpu_s() - began)
