"""The form of the backtest screen: one value a line, chosen with the arrows or typed."""

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from cockpit.backtests import Field, Form
from cockpit.widgets.panel import Choosing, Line

HEADING = "parameters"
LABELS, NAMES = 14, 27
"""Columns of the names above the heading, and of the parameters' below it."""


class SetupPanel(Choosing):
    """Lines of the form, then the parameters of the chosen strategy with their defaults."""

    topics = frozenset()
    title = "setup"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l", "turn(1)", "Next value", id="setup.next", show=False, tooltip="The next value"),
        Binding("left,h", "turn(-1)", "Value before", id="setup.before", show=False, tooltip="The value before"),
        Binding("enter,space", "edit", "Edit", id="setup.edit", show=False, tooltip="Type a value, or turn it"),
        Binding("backspace,delete", "reset", "Default", id="setup.reset", show=False, tooltip="The default again"),
    ]

    class Edit(Message):
        """A value is to be typed."""

        def __init__(self, field: Field) -> None:
            super().__init__()
            self.field = field

    class Changed(Message):
        """A value is another one now."""

    def __init__(self, id: str, number: int, form: Form) -> None:
        super().__init__(id, number)
        self.form = form
        self._rows: dict[str, Field] = {}
        self.reread()

    def reread(self) -> None:
        """The form's lines are other ones: another strategy, more data sets."""
        fixed, own = self.form.fields(), self.form.settings()
        self._rows = {field.key: field for field in (*fixed, Field(HEADING), *own)}
        self.sync()

    def sync(self) -> None:
        field = self.field
        turns = "← → next  " if field.choices else ""
        self.note(f"{turns}enter: {'type' if field.free else 'next'}  ⌫ default")
        super().sync()

    def names(self) -> list[str]:
        return list(self._rows)

    def count(self) -> int:
        return len(self._rows)

    @property
    def field(self) -> Field:
        """The selected line."""
        return self._rows[self.names()[self.place()]]

    def line(self, index: int, width: int) -> Line:
        p = self.palette
        field = list(self._rows.values())[index]
        if field.key == HEADING:
            known = len(self._rows) - index - 1
            words = f" parameters of {self.form.value('strategy')} " if known else " no parameters to set here "
            return [(words, p.muted), ("─" * max(width - len(words) - 1, 0), p.faint)]
        changed = self.form.changed(field.key)
        room = LABELS if index < self.names().index(HEADING) else NAMES
        value = self.form.value(field.key)
        turns = bool(field.choices) and self.has_focus and index == self.place()
        cells: Line = [(f" {field.key:<{room - 2}}{'‹ ' if turns else '  '}", p.muted)]
        if value or not field.empty:
            cells.append((value, p.accent + p.bold if changed else p.text))
        else:
            cells.append((field.empty, p.muted))
        if turns:
            cells.append((" ›", p.muted))
        if changed and field.default:
            cells.append((f"  default {field.default}", p.muted))
        return cells

    def choose(self, row: int) -> None:
        """The heading is stepped over."""
        heading = self.names().index(HEADING)
        if row == heading:
            row += 1 if self.place() < heading and heading + 1 < self.count() else -1
        super().choose(row)

    def on_click(self, event: events.Click) -> None:
        before = self.chosen
        super().on_click(event)
        if self.chosen == before and not self.free:
            self.action_edit()

    def give(self, key: str, text: str) -> None:
        """Set a value."""
        self.form.give(key, text)
        self.reread()
        self.post_message(self.Changed())

    def action_turn(self, step: int) -> None:
        self.form.turn(self.field.key, step)
        self.reread()
        self.post_message(self.Changed())

    def action_edit(self) -> None:
        if self.field.free:
            self.post_message(self.Edit(self.field))
        else:
            self.action_turn(1)

    def action_reset(self) -> None:
        self.give(self.field.key, "")
