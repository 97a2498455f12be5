"""The section [health]: from which value on a measure of health is told, and from which it is bad."""

from contextlib import suppress
from typing import Annotated, NamedTuple, Self

from pydantic import BeforeValidator, Field, model_validator

from core.config.base import Section

FALLING = frozenset({"disk_mb", "margin_ratio"})
"""Measures of which less is worse."""


class Range(NamedTuple):
    """The values from which a measure is told (`warn`), and from which it is `bad`."""

    warn: float
    bad: float


def _range(value: object) -> object:
    """A list of two numbers, as TOML or a variable gives it."""
    if isinstance(value, list | tuple) and len(value) == 2:
        with suppress(ValueError, TypeError):
            return Range(float(value[0]), float(value[1]))
    return value


Levels = Annotated[Range, BeforeValidator(_range), Field(description="two numbers, like [1, 2]: told, and bad")]


class Health(Section):
    """What is measured while the engine runs: from the first value on it is told, from the second acted upon."""

    clock_ms: Levels = Range(1000.0, 5000.0)
    requests: Levels = Range(0.5, 0.9)
    rejects: Levels = Range(0.2, 0.5)
    disk_mb: Levels = Range(1000.0, 200.0)
    lag_ms: Levels = Range(50.0, 500.0)
    margin_ratio: Levels = Range(6.0, 3.0)
    reconcile_s: Levels = Range(120.0, 300.0)
    unhedged_s: Levels = Range(5.0, 30.0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name, (warn, bad) in self:
            worse = warn >= bad if name in FALLING else warn <= bad
            if min(warn, bad) < 0 or not worse:
                raise ValueError(
                    f"{name} = [{warn:g}, {bad:g}]: the second is where it is bad, the worse of the two"
                )
        return self
