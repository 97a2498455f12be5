"""How the engine is: one row a measure, each with a word and what follows where it is bad."""

from cockpit.widgets.panel import Line, Panel, column
from core.domain.health import Reading

WORDS = {"good": ("●", "good"), "warn": ("!", "watch"), "bad": ("✗", "bad")}
FOLLOWS = {"hold": "no new entries", "reduce": "only reducing", "halt": "halted", "": ""}


def worst(readings: list[Reading]) -> Reading | None:
    """The reading that matters most: a bad one, else one to watch; None where all are good."""
    found = {level: next((r for r in readings if r.level == level), None) for level in ("bad", "warn")}
    return found["bad"] or found["warn"]


class HealthPanel(Panel):
    """Streams, clock, requests, rejects, disk, lag, margin, truth, hedge."""

    topics = frozenset({"health"})
    title = "health"

    def count(self) -> int:
        return max(len(self.latest.health), 1)

    def sync(self) -> None:
        poor = sum(reading.level != "good" for reading in self.latest.health)
        self.note(f"{poor} not good" if poor else "all good" if self.latest.health else "")
        super().sync()

    def line(self, index: int, width: int) -> Line:
        p = self.palette
        if not self.latest.health:
            return [(" nothing is measured yet", p.muted)]
        reading = self.latest.health[index]
        glyph, word = WORDS[reading.level]
        style = {"good": p.muted, "warn": p.attention, "bad": p.loss}[reading.level]
        follows = FOLLOWS[reading.rule] if reading.level == "bad" else ""
        return [
            (f" {glyph} ", style),
            (column(reading.name, 9), p.text),
            (column(word, 6), style),
            (reading.text, p.strong if reading.level == "bad" else p.text),
            (f"  {reading.detail}" if reading.detail else "", p.muted),
            (f"  {follows}" if follows else "", p.attention),
        ]
