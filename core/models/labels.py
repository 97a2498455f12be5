"""What the forest learns: whether a diverged pair, traded by the rule, would have paid.

Time runs as in trading: a signal of bar t is known at its close and filled at the open of bar t + 1; a closed bar
u decides the exit, which is filled at the open of bar u + 1. Both legs hold half of the gross, which is 1 at entry.
Funding settles at the opening instant of a bar, before that bar's fills: a position entered at the open of t + 1
and left at the open of u + 1 has paid bars t + 2 .. u + 1.

Arrays are time first: T bars, P pairs, N assets. `legs` (P, 2) holds the asset index of a (base) and b (quote).
"""

from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.data.panel import Panel
from core.domain.market import Floats
from core.features.bounds import Bound, Bounds, bounds, reference
from core.jit import jit

Kind = Literal["profit", "published"]
Ints = NDArray[np.int64]


class LabelRule(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers a label depends on. Shares are of 1, `horizon` is in bars.

    kind `profit`: 1 if the two-leg profit after costs and funding is above zero, at the first of: z at or across
    `z_exit` times the entry's sign (from `min_hold` bars on), stop, target, `horizon` bars. Only rows with
    |z| > z_entry have one.
    Stop and target are set as the strategy sets them (`core.features.bounds`), and judged on closed bars on the
    profit over the gross: price, fees paid and funding. `fee` is paid per side on what is traded.

    kind `published`: for z > z_entry, 1 if the lowest spread (of closes) over t + 1 .. t + horizon is below
    spread * (1 - move); for z < -z_entry, 1 if the highest is above spread * (1 + move); else 0, on every row.
    """

    kind: Kind = "profit"
    z_entry: float = 1.0
    z_exit: float = 0.0
    min_hold: int = 0
    horizon: int = 102
    stop_mode: Literal["atr", "volatility"] = "atr"
    stop_atr: float = 10.0
    stop_min: float = 0.02
    stop_max: float = 0.10
    stop_default: float = 0.06
    target_atr: float = 8.0
    target_min: float = 0.02
    target_max: float = 0.15
    target_default: float = 0.05
    fee: float = 0.0005
    move: float = 0.005

    @property
    def reach(self) -> int:
        """Bars after t that the label of t may have to see: the open that follows the last bar of the horizon."""
        return self.horizon + 1

    @property
    def bounds(self) -> Bounds:
        """How stop and target are set."""
        return Bounds(
            self.stop_mode == "volatility",
            Bound(self.stop_atr, self.stop_min, self.stop_max, self.stop_default),
            Bound(self.target_atr, self.target_min, self.target_max, self.target_default),
        )


class Labels(NamedTuple):
    """`y` (T, P) int8: 1, 0, or -1 where a row has no label. `end` (T, P) int64: the last bar the label of a row
    has seen (it has seen t + 1 .. end), -1 without one.

    The last `reach` bars have no label, though some would be settled in time: keeping only those would keep the
    quick ones, which are mostly the winners."""

    y: NDArray[np.int8]
    end: Ints


def label(
    panel: Panel,
    legs: Ints,
    z: Floats,
    usable: NDArray[np.bool_],
    atr_pct: Floats,
    volatility: Floats,
    rule: LabelRule,
) -> Labels:
    """The labels of all pairs of `panel`. `z` and `usable` (T, P): where a pair is not usable z is unknown, so that
    it is neither entered nor found to have crossed. `atr_pct` and `volatility` (T, N): each asset's ATR over its
    close, and the deviation of its returns."""
    z = np.where(usable, z, np.nan)
    if rule.kind == "published":
        return Labels(*_published(panel.close, legs, z, rule.z_entry, rule.horizon, rule.move))
    rate = np.nan_to_num(panel.funding_rate)
    scales = (atr_pct, volatility, reference(panel.assets))
    settings = (rule.z_entry, rule.z_exit, rule.min_hold, rule.horizon, rule.fee)
    return Labels(*_profit(panel.open, panel.close, rate, legs, z, rule.bounds, scales, *settings))


def uniqueness(end: Ints) -> Floats:
    """(T, P) average uniqueness of each label among those of its own pair, 0 where `end` is -1.

    A label of bar t lives over t + 1 .. end; its uniqueness at a bar is one over the number of labels alive
    there, and its weight the mean of that over its life (Lopez de Prado 2018, Advances in Financial Machine
    Learning, 4.4).
    """
    return _uniqueness(np.ascontiguousarray(end, np.int64))


@jit
def _profit(
    opens: Floats,
    close: Floats,
    rate: Floats,
    legs: Ints,
    z: Floats,
    how: Bounds,
    scales: tuple[Floats, Floats, int],
    z_entry: float,
    z_exit: float,
    min_hold: int,
    horizon: int,
    fee: float,
) -> tuple[NDArray[np.int8], Ints]:  # pragma: no cover
    bars, pairs = z.shape
    atr_pct, volatility, usual = scales
    y = np.full((bars, pairs), -1, np.int8)
    end = np.full((bars, pairs), -1, np.int64)
    for p in range(pairs):
        a, b = legs[p]
        for t in range(bars - horizon - 1):
            if not abs(z[t, p]) > z_entry:
                continue
            side = -1.0 if z[t, p] > 0 else 1.0  # of the spread: long a and short b, or the other way round
            entry_a, entry_b = opens[t + 1, a], opens[t + 1, b]
            funding = 0.0
            stop, target = bounds(how, atr_pct[t, a], volatility[t, a], volatility[t, usual])
            for u in range(t + 1, t + horizon + 1):
                gain = 0.5 * side * (close[u, a] / entry_a - close[u, b] / entry_b) + funding - fee
                back = u - t >= min_hold and -side * z[u, p] <= z_exit
                value_a, value_b = opens[u + 1, a] / entry_a, opens[u + 1, b] / entry_b
                funding -= 0.5 * side * (value_a * rate[u + 1, a] - value_b * rate[u + 1, b])
                if back or gain <= -stop or gain >= target or u == t + horizon:
                    profit = 0.5 * side * (value_a - value_b) + funding - fee * (1.0 + 0.5 * (value_a + value_b))
                    y[t, p] = profit > 0.0
                    end[t, p] = u + 1
                    break
    return y, end


@jit
def _published(
    close: Floats, legs: Ints, z: Floats, z_entry: float, horizon: int, move: float
) -> tuple[NDArray[np.int8], Ints]:  # pragma: no cover
    bars, pairs = z.shape
    y = np.full((bars, pairs), -1, np.int8)
    end = np.full((bars, pairs), -1, np.int64)
    for p in range(pairs):
        a, b = legs[p]
        for t in range(bars - horizon - 1):
            if not np.isfinite(z[t, p]):
                continue
            y[t, p] = 0
            end[t, p] = t + horizon
            if abs(z[t, p]) <= z_entry:
                continue
            spread = close[t, a] / close[t, b]
            for u in range(t + 1, t + horizon + 1):
                later = close[u, a] / close[u, b]
                if (z[t, p] > 0 and later < spread * (1.0 - move)) or (
                    z[t, p] < 0 and later > spread * (1.0 + move)
                ):
                    y[t, p] = 1
                    end[t, p] = u
                    break
    return y, end


@jit
def _uniqueness(end: Ints) -> Floats:  # pragma: no cover
    bars, pairs = end.shape
    weight = np.zeros((bars, pairs))
    for p in range(pairs):
        alive = np.zeros(bars + 1)
        for t in range(bars):
            if end[t, p] > t:
                alive[t + 1] += 1.0
                alive[end[t, p] + 1] -= 1.0
        shares = np.zeros(bars + 1)  # shares[u + 1]: sum of 1 / alive over bars 0 .. u
        count = 0.0
        for u in range(bars):
            count += alive[u]
            shares[u + 1] = shares[u] + (1.0 / count if count > 0.5 else 0.0)
        for t in range(bars):
            if end[t, p] > t:
                weight[t, p] = (shares[end[t, p] + 1] - shares[t + 1]) / (end[t, p] - t)
    return weight
