"""The terminal: paints first, then connects; follows the engine; survives its going away and coming back."""

import asyncio
import contextlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Literal

from rich.segment import Segments
from rich.traceback import Traceback
from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.worker import Worker, WorkerCancelled

from cockpit import format
from cockpit.backtests import Backtests
from cockpit.screens.backtest import BacktestScreen
from cockpit.screens.dashboard import Dashboard
from cockpit.theme import DARK, DEFAULTS, Palette
from cockpit.widgets.panel import Latest
from core.clock import wall_ms
from core.domain.errors import UserError
from core.domain.snapshot import Command, Reply
from core.link.client import LinkClient, new_id

FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
RETRY = 0.5
"""Seconds between two attempts to reach the engine."""
ACTING_TIMEOUT = 30.0
"""Seconds that a command may take: closing waits for the fills of both legs."""


class CockpitApp(App[str]):
    """The cockpit of the engine that listens at `socket_path`.

    `starting` is given where an engine has just been started: it is asked, until the first connection, for a
    line that says how that goes, and raises UserError where it has failed (the app then ends with that line).
    `keymap` maps ids of bindings to keys. When the app has ended, `return_value` is a line for stdout and
    `return_code` the exit code.
    """

    TITLE = "cockpit"
    CSS_PATH = "cockpit.tcss"
    AUTO_FOCUS = None
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "stop", "Stop", id="act.stop", priority=True, tooltip="Stop the engine (asks first)"),
        Binding("ctrl+c", "leave", "Leave", id="app.leave", show=False, tooltip="How to leave; copies marked text"),
    ]

    def __init__(
        self,
        socket_path: Path,
        *,
        read_only: bool = False,
        starting: Callable[[], str] | None = None,
        keymap: Mapping[str, str] | None = None,
        rate: float = 5.0,
        backtests: Backtests | None = None,
    ) -> None:
        super().__init__()
        self.socket_path = socket_path
        self.read_only = read_only
        self.starting = starting
        self.rate = rate
        self.latest = Latest()
        self.client: LinkClient | None = None
        self.dashboard = Dashboard()
        self.backtests = backtests or Backtests(socket_path.parent)
        self.backtests.changed = self._show_backtests
        self.backtest = BacktestScreen(self.backtests)
        self.register_theme(DARK)
        self.theme = DARK.name
        self.set_keymap(keymap or {})
        self._palette: Palette | None = None
        self._since = 0
        self._could_act = False
        self._work: Worker[None] | None = None

    @property
    def palette(self) -> Palette:
        """The present theme's styles."""
        if self._palette is None:
            self._palette = Palette.of(self.get_css_variables())
        return self._palette

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return DEFAULTS

    def get_default_screen(self) -> Screen[None]:
        return self.dashboard

    def on_mount(self) -> None:
        self.theme_changed_signal.subscribe(self, self._retheme)
        self.install_screen(self.backtest, "backtest")
        self.dashboard.header.read_only = self.read_only
        # After the first paint: the screen must stand before the engine is asked for anything.
        self.call_after_refresh(lambda: self.run_worker(self._follow(), name="link"))

    def _retheme(self, _: object) -> None:
        self._palette = None
        self.dashboard.redraw()
        self.backtest.redraw()

    @property
    def may_act(self) -> bool:
        """Whether commands that change something can be sent now."""
        return not self.read_only and self.client is not None and self.client.state != "gone"

    async def _follow(self) -> None:
        """Connect, show what comes, and begin again when the engine has gone."""
        while True:
            client = LinkClient(self.socket_path, read_only=self.read_only, rate=self.rate)
            try:
                await client.connect()
            except UserError as error:
                if not self._wait_for(str(error)):
                    return
                await asyncio.sleep(RETRY)
                continue
            self.client, self.starting = client, None
            self.read_only = self.dashboard.header.read_only = client.read_only
            try:
                async for changed in client.changes():
                    self._take(client, changed)
            finally:
                self.client = None
                self._tell_keys()
                await client.close()

    def _wait_for(self, refusal: str) -> bool:
        """Say why there is no engine yet; False if there will be none."""
        if self.starting is not None:
            try:
                self.dashboard.say(self.starting() or "the engine is starting")
            except UserError as error:
                self.exit(str(error), return_code=error.code)
                return False
        elif self._since:
            self._lost()
        else:
            self.dashboard.say(refusal, grave=True)
        return True

    def _take(self, client: LinkClient, changed: frozenset[str]) -> None:
        latest = self.latest
        for name in changed - {"log", "link"}:
            setattr(latest, name, client.latest[name])
        if "log" in changed:
            latest.log, latest.logged = list(client.log), client.logged
        linked = client.state == "live"
        if "link" in changed or (linked and self._since):
            self._since = 0 if linked else self._since or wall_ms()
            self.dashboard.header.linked = linked
            changed |= {"status"}
        self.dashboard.update(latest, changed)
        if "status" in changed:
            self.backtest.job.linked = linked
            self.backtest.job.update(latest)
        if not linked:
            self._lost()
        elif "status" in changed:
            self.dashboard.say(latest.status.warning if latest.status else "")
        self._tell_keys()

    def _tell_keys(self) -> None:
        """Have the footer drawn again, which is dear, when keys have begun or ceased to work."""
        if self.may_act != self._could_act:
            self._could_act = self.may_act
            self.dashboard.refresh_bindings()

    def _lost(self) -> None:
        status = self.latest.status
        if status is not None and status.phase in ("stopping", "failed"):
            end = "has stopped" if status.phase == "stopping" else f"has failed ({status.detail})"
            text = f"THE ENGINE {end.upper()}: positions and protection stay at the exchange; start it with "
            self.dashboard.say(f"{text}cockpit demo --resume or cockpit run", grave=True)
            return
        self.dashboard.say(
            f"ENGINE UNREACHABLE since {format.clock(self._since)} UTC: positions and protection stay at the "
            "exchange; cockpit attach / cockpit demo --resume",
            grave=True,
        )

    async def command(self, command: Command) -> Reply:
        """Send a command. Raises UserError where the engine does not answer."""
        if self.client is None:
            raise UserError(f"{command.name}: the engine cannot be reached", 3)
        return await self.client.command(command, ACTING_TIMEOUT)

    def act(self, command: Command) -> None:
        """Send a command in the background and tell how it went."""
        self.run_worker(self._act(command))

    async def _act(self, command: Command) -> bool:
        try:
            reply = await self.command(command)
        except UserError as error:
            self.notify(str(error), title=f"{command.name}: no answer", severity="error", timeout=10, markup=False)
            return False
        title = f"{command.name} {command.pair}".strip() + ("" if reply.ok else ": refused")
        severity: Literal["information", "error"] = "information" if reply.ok else "error"
        self.notify(reply.message or "done", title=title, severity=severity, markup=False)
        return reply.ok

    async def stop(self) -> None:
        """Ask the engine to stop, and leave if it does."""
        if await self._act(Command(new_id(), "stop", who="cockpit")):
            self.exit(
                "The engine stops; positions and protection stay at the exchange. Resume: cockpit demo --resume"
            )

    def start_backtest(self) -> None:
        """Start what the form says, unless a run is at work; it goes on behind every screen."""
        if not self.backtests.running:
            self._work = self.run_worker(self._backtest(), name="backtest")

    async def _backtest(self) -> None:
        run = await self.backtests.run()
        job = self.backtests.job
        if self.screen is not self.backtest:
            severity: Literal["information", "error"] = "information" if run else "error"
            self.notify(job.text, title=f"backtest: {job.title}", severity=severity, markup=False)

    def cancel_backtest(self) -> None:
        """End the run at work, if there is one."""
        if self._work is not None:
            self._work.cancel()

    async def on_unmount(self) -> None:
        """No run outlives the terminal that started it."""
        if self._work is not None and not self._work.is_finished:
            self._work.cancel()
            with contextlib.suppress(WorkerCancelled):
                await self._work.wait()

    def _show_backtests(self) -> None:
        job = self.backtests.job
        self.dashboard.header.job = f"backtest {job.progress:.0%}" if self.backtests.running else ""
        self.dashboard.header.sync()
        self.backtest.follow()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "stop":
            return None if not self.may_act else self.screen is self.dashboard
        return True

    def action_stop(self) -> None:
        self.dashboard.confirm_stop()

    def detach(self) -> None:
        """Leave the engine alone and end."""
        if self.client is None:
            self.exit("No engine was reached. Start one: cockpit demo", return_code=3)
        else:
            self.exit("The engine goes on. Come back: cockpit attach. Stop it: cockpit stop")

    def export_screenshot(self, *, title: str | None = None, simplify: bool = False) -> str:
        """The screen as SVG, without the addresses of fonts elsewhere: a picture asks nobody for anything."""
        return FONTS.sub("", super().export_screenshot(title=title, simplify=simplify))

    def _fatal_error(self) -> None:
        """End with a traceback that shows no local variables: they may hold secrets."""
        self.bell()
        traceback = Traceback(width=None, show_locals=False)
        self._exit_renderables.append(Segments(self.console.render(traceback, self.console.options)))
        self._close_messages_no_wait()

    def action_leave(self) -> None:
        self.notify("q leaves this terminal and the engine goes on; ctrl+q stops the engine", title="leave?")

    def action_help_quit(self) -> None:
        self.action_leave()
