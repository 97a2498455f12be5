"""Going live: how much of the capital may be used when, how execution is judged, and who is told."""

from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from core.config.base import Exact, Names, Section, frozen

EVENTS = ("fills", "halts", "repairs", "alarms", "summary")
"""What can be told outside of the terminal."""


class Live(Section):
    """Real money. `ramp`: the shares of all sizes, budgets and limits that may be used one after another, each for
    `ramp_days`. Where the last `drift_orders` orders cost more than `drift_bps` above what a backtest supposes, the
    ramp goes back by one. A rehearsal counts from `rehearsal_days` on."""

    ramp: Annotated[tuple[Exact, ...], BeforeValidator(frozen)] = Field(
        (Decimal("0.1"), Decimal("0.25"), Decimal("0.5"), Decimal("1.0")),
        min_length=1,
        max_length=20,
        description="a list of rising shares above 0 and up to 1, like [0.1, 0.25, 0.5, 1.0]",
    )
    ramp_days: int = Field(7, ge=1, le=365)
    drift_bps: float = Field(5.0, gt=0, le=1000)
    drift_orders: int = Field(20, ge=5, le=10_000)
    rehearsal_days: int = Field(30, ge=1, le=10_000)

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if not all(0 < share <= 1 for share in self.ramp) or any(b <= a for a, b in pairwise(self.ramp)):
            raise ValueError(f"ramp {[float(share) for share in self.ramp]} must rise, above 0 and up to 1")
        return self


class Notify(Section):
    """Who is not at the terminal is told of `events`, one message in `every_s` seconds at most; halts and alarms
    do not wait that long. Where to, stands in the environment: addresses hold secrets."""

    events: Names = Field(EVENTS, description=f"a list of {', '.join(EVENTS)}")
    every_s: float = Field(60.0, ge=1, le=86_400)

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in self.events:
            if name not in EVENTS:
                raise ValueError(f"event {name!r}: allowed is a list of {', '.join(EVENTS)}")
        return self
