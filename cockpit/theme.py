"""Colours, one meaning each: profit, loss, attention, danger, selection, and the mode of the account.

A meaning never hangs on its colour alone: a sign, a word or a glyph always says it too.
"""

from dataclasses import dataclass

from rich.style import Style
from textual.color import Color
from textual.theme import Theme

DARK = Theme(
    name="cockpit",
    primary="#6cb6ff",
    secondary="#b894f6",
    accent="#6cb6ff",
    success="#5fd3a4",
    error="#ff8a87",
    warning="#e9b95f",
    foreground="#ccd5e0",
    background="#0b0e13",
    surface="#0b0e13",
    panel="#161c25",
    dark=True,
    variables={
        "danger": "#f2404c",
        "okx-demo": "#4cc3d6",
        "rule": "#2b3542",
        "muted": "#7e8b9b",
        "border-blurred": "#2b3542",
        "footer-key-foreground": "#6cb6ff",
        "footer-description-foreground": "#9aa6b5",
        "footer-background": "#0b0e13",
        "input-cursor-background": "#6cb6ff",
        "scrollbar": "#2b3542",
        "scrollbar-hover": "#3d4a5a",
        "scrollbar-active": "#6cb6ff",
        "scrollbar-background": "#0b0e13",
        "scrollbar-background-hover": "#0b0e13",
        "scrollbar-background-active": "#0b0e13",
    },
)

DEFAULTS = {
    "danger": "ansi_red",
    "okx-demo": "ansi_cyan",
    "rule": "ansi_bright_black",
    "muted": "ansi_bright_black",
}
"""What our own variables are in themes that do not name them."""


@dataclass(frozen=True)
class Palette:
    """Rich styles by meaning, for what panels draw line by line."""

    ground: Style
    text: Style
    bold: Style
    strong: Style
    muted: Style
    faint: Style
    profit: Style
    loss: Style
    attention: Style
    danger: Style
    accent: Style
    selected: Style
    selected_idle: Style
    demo: Style
    okx_demo: Style
    live: Style

    @classmethod
    def of(cls, variables: dict[str, str]) -> "Palette":
        """The palette of a theme, from its CSS variables (`App.get_css_variables`)."""

        def ink(name: str, bold: bool | None = None) -> Style:
            return Style(color=Color.parse(variables[name]).rich_color, bold=bold)

        def badge(name: str) -> Style:
            ground = Color.parse(variables[name])
            text = ground.get_contrast_text() if ground.ansi is None else Color.parse("ansi_black")
            return Style(color=text.rich_color, bgcolor=ground.rich_color, bold=True)

        def wash(name: str, share: float) -> Style:
            ground, ink_ = Color.parse(variables["background"]), Color.parse(variables[name])
            if ground.ansi is not None or ink_.ansi is not None:
                return Style(reverse=True)
            return Style(bgcolor=ground.blend(ink_, share).rich_color)

        return cls(
            ground=ink("foreground") + Style(bgcolor=Color.parse(variables["background"]).rich_color),
            text=ink("foreground"),
            bold=Style(bold=True),
            strong=ink("foreground", bold=True),
            muted=ink("muted"),
            faint=ink("rule"),
            profit=ink("success"),
            loss=ink("error"),
            attention=ink("warning"),
            danger=badge("danger"),
            accent=ink("accent"),
            selected=wash("accent", 0.22),
            selected_idle=wash("accent", 0.08),
            demo=badge("secondary"),
            okx_demo=badge("okx-demo"),
            live=badge("danger"),
        )

    def signed(self, value: float) -> Style:
        """The style of a gain (profit), a loss, or nothing (muted); the number shows its sign as well."""
        return self.profit if value > 0 else self.loss if value < 0 else self.muted

    def mode(self, mode: str) -> Style:
        """The badge of the account's mode. What is not known to be a demo is shown as real money."""
        return {"DEMO": self.demo, "SHADOW": self.okx_demo, "OKX-DEMO": self.okx_demo}.get(mode, self.live)
