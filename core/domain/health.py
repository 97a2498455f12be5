"""How the machine is: what a preflight or the doctor found, and what is measured while it runs."""

from typing import Literal

import msgspec

Level = Literal["good", "warn", "bad"]
Rule = Literal["", "hold", "reduce", "halt"]
"""What a bad reading does: nothing, no new entries, only reducing, nothing at all."""


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at: one line on how it is and, where it is not good, the way out.

    A `bad` one keeps the engine from trading; a `warn` is told."""

    name: str
    level: Level
    text: str
    way_out: str = ""

    @property
    def line(self) -> str:
        """All of it as one line."""
        return f"{self.name}: {self.text}" + (f"; {self.way_out}" if self.way_out else "")


class Report(msgspec.Struct, frozen=True):
    """What the doctor found, check by check; `ts` is when (ms UTC, this machine's clock)."""

    ts: int
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing is bad: warnings do not count."""
        return not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.level == "bad")


class Reading(msgspec.Struct, frozen=True):
    """One measure of health now. `text` is its value with its unit, `level` what the thresholds say of it, `rule`
    what a bad level does, `detail` which stream or instrument it is about, if one."""

    name: str
    text: str
    level: Level
    rule: Rule
    detail: str = ""

    @property
    def line(self) -> str:
        return f"{self.name} {self.text}" + (f" ({self.detail})" if self.detail else "")
