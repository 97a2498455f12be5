"""Stop and target of a pair as shares of its gross: one definition for the live rule, the backtests, the labels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from core.jit import jit

NARROW, WIDE = 0.5, 2.0
"""The least and the most by which an asset's volatility, relative to the reference's, scales a bound."""


class Bound(NamedTuple):
    """`times` the ATR within [`low`, `high`]; `usual` where nothing is known. Shares of 1."""

    times: float
    low: float
    high: float
    usual: float


class Bounds(NamedTuple):
    """How stop and target are set: by the base leg's ATR, or `by_volatility`: the usual ones, wider for an asset
    that moves more than the reference asset (BTC), narrower for one that moves less."""

    by_volatility: bool
    stop: Bound
    target: Bound


def reference(assets: Sequence[str]) -> int:
    """Which asset's volatility the others' is measured by: BTC, or the first of a universe without it."""
    return assets.index("BTC") if "BTC" in assets else 0


@jit
def bounds(how: Bounds, atr_pct: float, volatility: float, reference: float) -> tuple[float, float]:
    """(stop, target) of a pair whose base leg has `atr_pct` (ATR over close) and `volatility`, where the reference
    asset has volatility `reference` (both over the same window and scale, which cancels out)."""
    if how.by_volatility:
        ratio = volatility / reference
        known = np.isfinite(ratio) and ratio > 0.0
        scale = min(max(ratio, NARROW), WIDE) if known else 1.0
        return how.stop.usual * scale, how.target.usual * scale
    return _by_range(how.stop, atr_pct), _by_range(how.target, atr_pct)


@jit
def _by_range(bound: Bound, atr_pct: float) -> float:
    known = np.isfinite(atr_pct) and atr_pct > 0.0
    return min(max(bound.times * atr_pct, bound.low), bound.high) if known else bound.usual
