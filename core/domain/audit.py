"""What an audit says: findings that name the culprit and the way out, gathered in checks and two verdicts.

The form of `--json`. Times in text are UTC, times in ms are UTC, edges are per trade and shares of the entry value
of its legs; every profit comes with its period, its trades and an interval.
"""

from collections.abc import Sequence

import msgspec

from core.domain.backtest import Estimate, Source


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


class Edges(msgspec.Struct, frozen=True):
    """A run in a line: trades, their mean profit before costs and funding (`gross`) and after (`net`), as shares of
    entry value, None of too few trades; `total`: net profit over the deposit."""

    label: str
    first_ms: int
    last_ms: int
    trades: int
    gross: Estimate | None
    net: Estimate | None
    total: float


class Placebo(msgspec.Struct, frozen=True):
    """Runs on markets without an edge. `mean`: of their gross profits over the entry value traded, with its
    interval; `chance`: that it is so far from zero by chance (two-sided); `beaten`: share of the runs, the real one
    counted among them, whose edge is at least the real one; `clean`: the gross edge cannot be told from zero."""

    seeds: int
    trades: int
    mean: Estimate
    chance: float
    beaten: float
    clean: bool


class PlantedEdge(msgspec.Struct, frozen=True):
    """What was there to earn, and what the backtest says was earned, gross a trade: `planted` is the expectation
    of the very trades that were made, known from the market's construction. `error` = found - planted, with its
    `standard_error`; `found_it`: the interval of `found` is above zero; `honest`: the error is within four
    standard errors."""

    trades: int
    planted: float
    found: Estimate | None
    error: float
    standard_error: float
    found_it: bool
    honest: bool


class Edge(msgspec.Struct, frozen=True):
    """The verdict: "none", "before costs", "unproven" or "after costs", and what it rests on. `break_even`: times
    the costs at which nothing is left (None where there is nothing to begin with)."""

    verdict: str
    text: str
    runs: tuple[Edges, ...]
    break_even: float | None
    placebo: Placebo
    planted: PlantedEdge
    trials: int
    deflated_sharpe: float | None


class Audit(msgspec.Struct, frozen=True):
    """Both verdicts on one strategy, and what they are about. `engine`: of the runs behind the edge."""

    strategy: str
    engine: str
    params: dict[str, float | int | str]
    source: Source
    seed: int
    assumptions: dict[str, str]
    integrity: Integrity
    edge: Edge
