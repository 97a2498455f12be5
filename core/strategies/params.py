"""The parameters of our strategies. Light on purpose: the configuration reads them, and so does the terminal."""

import math
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Params(BaseModel):
    """What the parameters of every strategy have: frozen, nothing unknown, nothing converted behind the reader's
    back. `base_size_usdt` is also the size of a pair opened by hand, in USDT per leg; `budget_usdt` the most that
    the strategy may hold, both legs of all its pairs together (inf: its share of what the account may)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    base_size_usdt: float = Field(1000.0, gt=0)
    budget_usdt: float = Field(math.inf, gt=0, allow_inf_nan=True)

    def scaled(self, share: float) -> Self:
        """The same with `share` of every size in USDT."""
        if share == 1.0:
            return self
        sizes = [name for name in type(self).model_fields if name.endswith("_usdt")]
        return self.model_copy(update={name: getattr(self, name) * share for name in sizes})


class DivergenceParams(Params):
    """Every number of the divergence rule, as `[strategy.divergence]` of config.toml names it.

    Shares are of 1 (0.02 is 2%), windows and horizons are in closed bars, money is USDT per leg, funding is
    per eight hours. The same parameters drive the plain z-score rule, which has no model.
    """

    z_window: int = Field(24, ge=3, le=1000)
    z_entry: float = Field(1.0, gt=0, le=10)
    z_exit: float = Field(0.0, ge=0, le=10)
    prob_threshold: float = Field(0.5, ge=0, le=1)
    correlation_threshold: float = Field(0.85, ge=0, le=1)
    correlation_window: int = Field(168, ge=3, le=5000)
    funding_threshold: float = Field(0.0005, ge=0, le=1)
    atr_period: int = Field(14, ge=2, le=1000)
    stop_mode: Literal["atr", "volatility"] = "atr"
    stop_atr: float = Field(10.0, gt=0)
    target_atr: float = Field(8.0, gt=0)
    stop_min: float = Field(0.02, gt=0, lt=1)
    stop_max: float = Field(0.10, gt=0, lt=1)
    stop_default: float = Field(0.06, gt=0, lt=1)
    target_min: float = Field(0.02, gt=0, lt=1)
    target_max: float = Field(0.15, gt=0, lt=1)
    target_default: float = Field(0.05, gt=0, lt=1)
    label: Literal["profit", "published"] = "profit"
    horizon_bars: int = Field(102, ge=1, le=10_000)
    switch_threshold: float = Field(math.inf, ge=0, allow_inf_nan=True)
    min_hold_bars: int = Field(0, ge=0)
    cooldown_bars: int = Field(0, ge=0)
    max_concurrent_positions: int = Field(1, ge=1, le=100)
    neutrality: Literal["dollar"] = "dollar"
    min_bars: int = Field(200, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for low, high in (("stop_min", "stop_max"), ("target_min", "target_max"), ("z_exit", "z_entry")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} {getattr(self, low)} is above {high} {getattr(self, high)}")
        return self


class ClusterParams(Params):
    """Every number of the cluster strategy, as `[strategy.cluster]` of config.toml names it.

    A model's weight is a share of `capital_usdt`, at most 0.1 of it an asset. `band`, `max_gross` and `max_net` are
    shares of that capital, too: changes within the band are not made; the limits are those of all positions
    together, longs and shorts alike and longs less shorts. `gate_exit`: a gate below it closes a position. `model`:
    the file of a bundle (empty: of a demo or a backtest one trained on the bars before, else the newest of this
    home). `base_size_usdt` is that of the baselines beside it. How the model is trained stands in
    `[train.cluster]`."""

    capital_usdt: float = Field(20_000.0, gt=0)
    band: float = Field(0.01, ge=0, le=1)
    gate_exit: float = Field(0.1, ge=0, le=1)
    max_gross: float = Field(1.0, gt=0, le=100)
    max_net: float = Field(0.5, gt=0, le=100)
    model: str = ""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.max_net > self.max_gross:
            raise ValueError(f"max_net {self.max_net} is above max_gross {self.max_gross}")
        return self
