"""One run of the engine's process: the window opens first, then the start is told through it, step by step."""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
from collections import deque
from logging.handlers import RotatingFileHandler
from typing import Any

from core.clock import iso, monotonic, wall_ms
from core.config import Settings
from core.domain.errors import UserError
from core.domain.snapshot import LogLine, Snapshot, Status
from core.engine import doctor, licence, supervisor
from core.engine.commands import Commands
from core.engine.exchange import ExchangeProcess
from core.engine.narrator import Narrator
from core.engine.notify import Notifier
from core.engine.snapshots import Lag, Phase, snapshot
from core.engine.summary import summary
from core.link.server import LinkServer
from core.portfolio.events import AnyEvent, Decided, Stepped
from core.venues import shadow
from core.venues.okx.factory import Permit
from core.venues.port import VenueError

log = logging.getLogger("engine")
MODES = {"demo": "DEMO", "okx-demo": "OKX-DEMO", "shadow": "SHADOW", "okx": "LIVE"}
LAG_EVERY_S = 0.05


class Session:
    """Holds what lives as long as the process: the window, the phase, the log lines, the exchange's process."""

    def __init__(
        self, settings: Settings, resume: bool, headless: bool, quiet: bool, permit: Permit | None = None
    ) -> None:
        self.settings = settings
        self.permit = permit
        self.resume = resume
        self.headless = headless
        self.quiet = quiet
        self.code = 0
        self.phase = Phase()
        self.narrator = Narrator()
        self.lag = Lag()
        self.stopping = asyncio.Event()
        self._lines: deque[LogLine] = deque(maxlen=200)
        self._run: supervisor.Run | None = None
        self._exchange: ExchangeProcess | None = None
        self._decided = ""
        self.notifier = Notifier(settings.notify, MODES[settings.venue.name], self._untold)
        self._commands = Commands(self.view, self.stopping)
        self._name = iso(wall_ms())
        self._link = LinkServer(settings.paths.socket, self._commands.handle, session=self._name)
        self._base = self._status()

    async def run(self) -> dict[str, Any] | None:
        """From nothing to a summary (when headless). Raises UserError for what the user can mend."""
        self.settings.paths.create()
        self._log_to_file()
        self.narrator.sink(self._lines.append)
        self.narrator.sink(self._link.log)
        self.narrator.sink(lambda line: log.info("%s %s %s", iso(line.ts), line.kind, line.text))
        self.narrator.sink(self._alarm)
        self.narrator.sink(self.notifier.sink)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._signalled, number)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._kill)
        await self._link.start()
        works = (self._publish(), self._measure(), self.notifier.run())
        background = [asyncio.create_task(each) for each in works]
        work = asyncio.create_task(self._work(), name="work")
        stop = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and self._run is None:
                work.cancel()  # Nothing trades yet: there is nothing to bring to an end.
            with contextlib.suppress(asyncio.CancelledError):
                return await work
            return None
        except Exception as error:
            self.phase = Phase("failed", str(error) or type(error).__name__)
            self.notifier.note("alarms", wall_ms(), f"the engine has ended: {self.phase.detail}")
            self._link.publish(self.view())
            raise
        finally:
            for task in (*background, stop):
                task.cancel()
            if self._exchange is not None:
                await self._exchange.stop()
            await self._link.close()
            await self.notifier.close()

    # -- the work ---------------------------------------------------------------------------------

    async def _work(self) -> dict[str, Any] | None:
        market = None
        kinds = supervisor.kinds_of(self.settings)
        bundles = {}
        if self.settings.venue.name == "demo":
            if not self.resume:
                self._archive()
            self._enter("preparing", "the market")
            market = await supervisor.prepare_market(self.settings, self.resume, self._progress)
            for note in market.notes:
                self.narrator.say(market.first_ms, "engine", "warn", note)
            for kind in kinds:
                self._enter("training", f"the {kind} model")
                bundles[kind] = await supervisor.train(self.settings, market, kind, self._progress)
            self._enter("starting", "the local exchange")
            self._exchange = await supervisor.start_exchange(self.settings, market, self.resume)
        else:
            bundles = {kind: supervisor.latest_bundle(self.settings, kind) for kind in kinds}
        if self.permit is not None:
            self._enter("preparing", "the doctor")
            licence.examined(await doctor.examine(self.settings))
        venue = supervisor.make_venue(self.settings, self._exchange, self.permit)
        self._enter("connecting", venue.capabilities.name)
        try:
            async with supervisor.composed(self.settings, venue, bundles, market, self.narrator) as run:
                return await self._trade(run)
        except VenueError as error:
            raise UserError(f"venue {self.settings.venue.name}: {error}") from error

    async def _trade(self, run: "supervisor.Run") -> dict[str, Any] | None:
        engine = run.engine
        self._run, self._commands.engine = run, engine
        engine.journal.listen(self._heard)
        self.notifier.follow(engine.journal)
        self._base = self._status()
        self._enter("trading", "")
        if self.settings.venue.name == "shadow":
            self.narrator.say(engine.venue.market_ms(), "engine", "warn", shadow.ASSUMED)
        tasks = [
            *engine.tasks(run.market.last_traded_ms if run.market else None),
            asyncio.create_task(self._stopped(), name="stop"),
        ]
        try:
            done, _ = await asyncio.wait([*tasks, run.pump], return_when=asyncio.FIRST_COMPLETED)
            if tasks[0] in done and tasks[0].exception() is None and not self.headless:
                self._enter("finished", "the replay has ended: look around, then stop")
                done, _ = await asyncio.wait([*tasks[1:], run.pump], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # A task that failed ends the run, with its reason.
            self._enter("stopping", "letting orders come to their end")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await engine.executor.idle(timeout=10.0)
        if not self.headless:
            return None
        await engine.reconcile()
        return await summary(engine, await run.ledger.read(), run.model)

    async def _stopped(self) -> None:
        await self.stopping.wait()

    def _archive(self) -> None:
        """A fresh session: the last one's ledger and account are put aside, not thrown away."""
        paths = self.settings.paths
        ledger = paths.ledger("demo")
        if ledger.exists():
            folder = paths.home / "archive" / f"{wall_ms()}"
            folder.mkdir(parents=True, mode=0o700)
            for file in ledger.parent.glob(f"{ledger.name}*"):
                shutil.move(file, folder / file.name)

    # -- telling ----------------------------------------------------------------------------------

    def view(self) -> Snapshot:
        """What a screen sees now."""
        return snapshot(
            self._base, self.phase, self.lag, self._run.engine if self._run else None, list(self._lines)
        )

    def _enter(self, name: str, detail: str) -> None:
        self.phase = Phase(name, detail)
        self._say(f"{name} {detail}".strip())

    def _progress(self, share: float, text: str) -> None:
        self.phase = Phase(self.phase.name, text, share)

    def _heard(self, event: AnyEvent) -> None:
        """A line a bar, for who has no terminal."""
        match event:
            case Decided(entries=entries, exits=exits, text=text):
                acts = [*(f"exit {x}" for x in exits), *(f"enter {x}" for x in entries)]
                self._decided = "; ".join(acts) or text
            case Stepped(ts=ts, equity=equity):
                assert self._run is not None
                books = self._run.engine.journal.books
                held = ", ".join(book.pair for book in books.open_books()) or "flat"
                self._say(f"{iso(ts)}  equity {equity:12.2f}  {held:12}  {self._decided}")

    def _alarm(self, line: LogLine) -> None:
        """What must not be missed goes where there is no screen, too."""
        if line.level == "bad":
            self._say(f"{iso(line.ts)}  {line.kind}: {line.text}")

    def _untold(self, text: str) -> None:
        """Notifications do not arrive: who is at the terminal should know."""
        self.narrator.say(wall_ms(), "engine", "warn", text)

    def _say(self, text: str) -> None:
        if self.headless and not self.quiet:
            print(text, flush=True)

    def _status(self) -> Status:
        run, venue = self._run, self.settings.venue.name
        return Status(
            session=self._name,
            venue=venue,
            mode=MODES[venue],
            phase="",
            detail="",
            progress=-1.0,
            state="active",
            pid=os.getpid(),
            strategies=list(self.settings.engine.strategies),
            model=run.model if run else "",
            base_rate=run.base_rate if run else 0.0,
            bar_ms=self.settings.universe.bar_ms,
            bars=0,
            bars_total=run.market.bars if run and run.market else 0,
            market_ms=0,
            wall_ms=wall_ms(),
            latency_ms=0.0,
            lag_ms=0.0,
            step_ms=0.0,
            streams_live=0,
            streams_total=len(self.settings.universe.assets),
            warning="",
        )

    async def _publish(self) -> None:
        """Snapshots at the configured rate; the link sends only what has changed."""
        while True:
            self._link.publish(self.view())
            await asyncio.sleep(1 / self.settings.engine.snapshot_hz)

    async def _measure(self) -> None:
        """The loop's lag: how much later than asked a sleep ends."""
        while True:
            asked = monotonic()
            await asyncio.sleep(LAG_EVERY_S)
            self.lag.add((monotonic() - asked - LAG_EVERY_S) * 1000)

    def _signalled(self, number: int) -> None:
        self.code = 130 if number == signal.SIGINT else 0
        self.stopping.set()

    def _kill(self) -> None:
        """The kill switch by signal; before there is an engine, the file that it obeys as it starts."""
        if self._run is not None:
            self._run.engine.kill.pull("signal", "SIGUSR1")
        else:
            self.settings.paths.kill.touch(mode=0o600)

    def _log_to_file(self) -> None:
        handler = RotatingFileHandler(self.settings.paths.logs / "session.log", maxBytes=5_000_000, backupCount=3)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logging.basicConfig(level=self.settings.log.level.upper(), handlers=[handler], force=True)
