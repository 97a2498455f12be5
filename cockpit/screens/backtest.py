"""The backtest screen: what to run, the runs so far, and what one of them found (beside another).

The work is another process; this screen can be left and come back to while it goes on.
"""

import asyncio
import os
import sys
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Footer, Input, Label, Static

from cockpit.backtests import Backtests, Field
from cockpit.layout import is_compact
from cockpit.screens.modals import Help, keys
from cockpit.widgets.job import JobPanel
from cockpit.widgets.panel import Panel
from cockpit.widgets.result import ResultPanel
from cockpit.widgets.runs import RunsPanel
from cockpit.widgets.setup import SetupPanel

if TYPE_CHECKING:
    from cockpit.app import CockpitApp

GROUPS = {
    "test": "backtest",
    "setup": "in the setup",
    "runs": "in the list of runs",
    "look": "look",
    "panel": "move within a panel",
    "app": "leave, help",
}
"""Titles of the help's groups, by the first word of the bindings' ids."""
OPENING = 5.0
"""Seconds after which a browser is taken to have opened."""


class BacktestScreen(Screen[None]):
    """Setup and runs on the left, the result on the right; one of the three at a time where it is small."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "run", "Run", id="test.run", tooltip="Run what the setup says"),
        Binding("x", "cancel", "Cancel", id="test.cancel", tooltip="End the run at work"),
        Binding("o", "report", "Report", id="test.report", tooltip="Open the shown run's report in the browser"),
        Binding("1", "jump('setup')", "Setup", id="look.setup", show=False, tooltip="To the setup"),
        Binding("2", "jump('runs')", "Runs", id="look.runs", show=False, tooltip="To the runs"),
        Binding("3", "jump('result')", "Result", id="look.result", show=False, tooltip="To the result"),
        Binding("tab", "next(1)", "Next", id="look.next", tooltip="To the next panel"),
        Binding("shift+tab", "next(-1)", "Before", id="look.before", show=False, tooltip="To the panel before"),
        Binding("question_mark,f1", "help", "Help", id="app.keys", tooltip="All keys", key_display="?"),
        Binding("escape,b,q", "back", "Dashboard", id="app.back", tooltip="Back; a run at work goes on"),
    ]

    def __init__(self, backtests: Backtests) -> None:
        super().__init__()
        self.backtests = backtests
        self.job = JobPanel("job", backtests)
        self.setup = SetupPanel("setup", 1, backtests.form)
        self.runs = RunsPanel("runs", 2)
        self.result = ResultPanel("result", 3)
        self.panels: dict[str, Panel] = {"setup": self.setup, "runs": self.runs, "result": self.result}
        self.tabs = Static(id="tabs")
        self.label = Label(id="label", markup=False)
        self.input = Input(id="input", compact=True)
        self.edit = Horizontal(self.label, self.input, id="edit")
        self.left = Vertical(self.setup, self.runs, id="left")
        self._field = Field("")
        self._shown = "setup"
        self._state = ""

    def compose(self) -> ComposeResult:
        yield self.job
        yield self.tabs
        yield Horizontal(self.left, self.result, id="lab")
        yield self.edit
        yield Footer(show_command_palette=False, compact=True)

    @property
    def cockpit(self) -> "CockpitApp":
        return cast("CockpitApp", self.app)

    def on_mount(self) -> None:
        self.edit.display = False
        self.setup.focus()

    @work(exclusive=True)
    async def on_screen_resume(self) -> None:
        """Runs may have been made from a shell meanwhile, and data imported."""
        self.job.update(self.cockpit.latest)
        await self.backtests.refresh()

    def on_resize(self, event: events.Resize) -> None:
        self.job.set_class(event.size.height < 32, "-low")
        self._arrange()

    def _arrange(self) -> None:
        """All three, or the one that was last looked at."""
        compact = is_compact(self.size)
        self.set_class(compact, "-compact")
        self.tabs.display = compact
        for name, panel in self.panels.items():
            panel.display = not compact or name == self._shown
            panel.untitled = compact
        self.left.display = not compact or self._shown != "result"
        self._tell_tabs()

    def _tell_tabs(self) -> None:
        """Where there is room for one panel, its neighbours' names."""
        parts = []
        for number, (name, panel) in enumerate(self.panels.items(), 1):
            text = f" {number} {panel.title} "
            chosen = f"[bold $background on $accent]{text}[/]"
            parts.append(chosen if name == self._shown else f"[@click=screen.jump('{name}')]{text}[/]")
        self.tabs.update(" ".join(parts))

    def follow(self) -> None:
        """Show how the run goes, and what there is now."""
        if not self.is_mounted:
            return
        self.job.sync()
        if self.runs.runs is not self.backtests.runs:
            self.runs.show(self.backtests.runs)
            self._show_run()
        self.setup.reread()
        state = self.backtests.job.state
        if state == self._state:
            return
        self._state = state
        self.refresh_bindings()
        if state == "done":
            self.runs.action_first()
            self._look("result")

    def redraw(self) -> None:
        """Draw everything again."""
        for panel in (self.job, *self.panels.values()):
            panel.redraw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "run":
            return None if self.backtests.running else True
        if action == "cancel":
            return True if self.backtests.running else None
        if action == "report":
            return True if self.runs.selected else None
        return True

    def action_run(self) -> None:
        self.cockpit.start_backtest()

    def action_cancel(self) -> None:
        self.cockpit.cancel_backtest()

    def _show_run(self) -> None:
        self.result.show(self.runs.selected, self.runs.beside)
        self.refresh_bindings()

    @on(RunsPanel.Shown)
    def _run_chosen(self, event: RunsPanel.Shown) -> None:
        self._show_run()
        if event.enter:
            self._look("result")

    @on(SetupPanel.Changed)
    def _setup_changed(self) -> None:
        self.job.sync()

    @on(SetupPanel.Edit)
    def _begin_edit(self, event: SetupPanel.Edit) -> None:
        field = self._field = event.field
        self.label.update(f" {field.key} ")
        self.input.placeholder = f"{field.default or field.empty}  (enter keeps, esc leaves)"
        self.input.value = self.backtests.form.value(field.key)
        self.edit.display = True
        self.input.focus()

    @on(Input.Submitted, "#input")
    def _end_edit(self, event: Input.Submitted) -> None:
        self.setup.give(self._field.key, event.value)
        self._leave_edit()

    def _leave_edit(self) -> None:
        self.edit.display = False
        self.setup.focus()

    def _look(self, name: str) -> None:
        self._shown = name
        self._arrange()
        self.panels[name].focus()

    def action_jump(self, name: str) -> None:
        self._look(name)

    def action_next(self, step: int) -> None:
        names = list(self.panels)
        self._look(names[(names.index(self._shown) + step) % len(names)])

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A click may have gone to another panel."""
        if event.widget.id in self.panels and event.widget.id != self._shown:
            self._shown = event.widget.id or ""
            self._tell_tabs()

    def action_back(self) -> None:
        if self.edit.display:
            self._leave_edit()
        else:
            self.app.pop_screen()

    def action_help(self) -> None:
        self.app.push_screen(Help(keys(self, GROUPS)))

    @work(exclusive=True, group="report")
    async def action_report(self) -> None:
        run = self.runs.selected
        if run is None:
            return
        path = run.document.report
        if not path:
            self.notify("this run was kept without a report", severity="warning")
        elif not _has_browser() or not await _browse(path):
            self.notify(path, title="the report lies here", timeout=15, markup=False)
        else:
            self.notify(path, title="opened in the browser", markup=False)


def _has_browser() -> bool:
    """Whether a browser has somewhere to open: one that draws on the terminal would fight with us for it."""
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


async def _browse(path: str) -> bool:
    """Open a file in the browser, from a process that can neither block this one nor write on its screen."""
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "webbrowser", "-t", f"file://{path}"),
        stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(OPENING):
            return await process.wait() == 0
    except TimeoutError:  # some browsers stay in the foreground until they are closed
        return True
