"""What asks before it acts: each modal starts on Cancel, `y` says yes, `n` and escape say no."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Button, Static

from cockpit.widgets.panel import Line

if TYPE_CHECKING:
    from cockpit.app import CockpitApp


def text(lines: list[Line]) -> Text:
    """Lines as one renderable."""
    return Text("\n").join(Text.assemble(*line) for line in lines)


class Question(ModalScreen[bool]):
    """A question with what would happen below it. The answer is True only after a clear yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "yes", "Yes", id="question.yes", tooltip="Do it"),
        Binding("n,escape", "no", "No", id="question.no", tooltip="Leave everything as it is"),
        Binding(
            "left,right,h,l", "other", "Other button", id="question.other", show=False, tooltip="Change button"
        ),
    ]

    def __init__(self, title: str, lines: list[Line], yes: str, *, grave: bool = False) -> None:
        super().__init__(classes="question")
        self._question = title
        self._body = lines
        self._yes = yes
        self._grave = grave

    def compose(self) -> ComposeResult:
        with Vertical(id="box", classes="-grave" if self._grave else "") as box:
            box.border_title = self._question
            with VerticalScroll(can_focus=False):
                yield Static(text(self._body), id="body")
            with Horizontal(id="buttons"):
                yield Button("Cancel (n)", id="no", compact=True)
                yield Button(f"{self._yes} (y)", id="yes", compact=True)

    def on_mount(self) -> None:
        self.query_one("#no").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == "yes":
            self.action_yes()
        else:
            self.action_no()

    def action_yes(self) -> None:
        self.dismiss(True)

    def action_no(self) -> None:
        self.dismiss(False)

    def action_other(self) -> None:
        self.focus_next("Button")


def keys(screen: Screen[Any], groups: Mapping[str, str]) -> list[Line]:
    """The keys that work on a screen now, by the first word of their bindings' ids; `groups` are the titles."""
    p = cast("CockpitApp", screen.app).palette
    found: dict[str, tuple[list[str], str]] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        names, _ = found.setdefault(binding.id or "", ([], binding.tooltip))
        name = screen.app.get_key_display(binding)
        if name not in names:
            names.append(name)
    lines: list[Line] = []
    for prefix, title in groups.items():
        rows: list[Line] = [
            [(f"   {'  '.join(names):<14} ", p.accent), (words, p.text)]
            for id_, (names, words) in found.items()
            if id_.partition(".")[0] == prefix
        ]
        if rows:
            lines += [*([[]] if lines else []), [(f" {title}", p.strong)], *rows]
    return lines


class Help(ModalScreen[None]):
    """All keys that work now, from the bindings themselves."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,f1,q", "dismiss", "Back", id="help.back", tooltip="Back"),
    ]

    def __init__(self, lines: list[Line]) -> None:
        super().__init__(classes="question")
        self._body = lines

    def compose(self) -> ComposeResult:
        with Vertical(id="box", classes="-wide") as box:
            box.border_title = "keys"
            box.border_subtitle = "esc: back"
            with VerticalScroll():
                yield Static(text(self._body), id="body")
