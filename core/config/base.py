"""What every section of config.toml is made of."""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _exact(value: object) -> object:
    """What TOML calls a number, as the Decimal a reader sees (never the float's binary tail)."""
    return Decimal(str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else value


def frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Exact = Annotated[Decimal, BeforeValidator(_exact)]
Names = Annotated[tuple[str, ...], BeforeValidator(frozen)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class Section(BaseModel):
    """A table of config.toml: frozen, nothing unknown, nothing converted behind the reader's back."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
