"""What an audit says: findings that name the culprit and the way out, gathered in checks and two verdicts."""

from collections.abc import Sequence

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong. `name`: the feature, model, pair or trade; `when`: the first bar it shows at (ISO
    text, UTC); `where`: `file:line` and the code there, "" where no line can be named; `mend`: what to do."""

    name: str
    when: str
    where: str
    fault: str
    mend: str

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.name} at {self.when}{place}: {self.fault}. To mend: {self.mend}"


class Check(msgspec.Struct, frozen=True):
    """One question of the integrity verdict, passed where nothing was found. `text`: what was looked at."""

    name: str
    text: str
    findings: tuple[Finding, ...] = ()

    @property
    def passed(self) -> bool:
        """Nothing was found."""
        return not self.findings


class Integrity(msgspec.Struct, frozen=True):
    """Whether the figures of a strategy can be trusted at all."""

    passed: bool
    checks: tuple[Check, ...]

    @classmethod
    def of(cls, checks: Sequence[Check]) -> "Integrity":
        """Passed where every check is."""
        return cls(all(check.passed for check in checks), tuple(checks))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, in the order of the checks."""
        return tuple(finding for check in self.checks for finding in check.findings)
