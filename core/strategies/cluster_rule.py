"""The cluster strategy itself, compiled: weights and what is held in, what is to be held out.

`cluster.decide` calls `judge` with what the ledger tells; the vectorised backtest calls it within its own loop,
with what it holds there: the same machine code, so that they cannot differ. N assets; notional is signed value at
the close, in the settlement currency. Nothing here remembers.

An asset's weight is a share of the capital, sized for itself. In this order:

1. a gate below the least closes the position: the asset is near no cluster any more;
2. a weight of the other side closes it, too: the next bar may enter anew;
3. a weight below the band is none: it opens nothing, and below half the band it closes what is held;
4. where the wishes exceed the gross limit, all are scaled down alike; where their net exceeds its limit, the side
   in excess is. What may not be changed (no feature, an order at work) takes its place first;
5. a change within the band is not made, unless what is held has drifted past a limit by more than the band: then
   every asset goes to its wished size.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.domain.market import Floats
from core.jit import jit
from core.strategies.params import ClusterParams

Flags = NDArray[np.bool_]
Bytes = NDArray[np.uint8]


class Why(IntEnum):
    """Why an asset's position is changed on this bar (`LEFT` and above), or is not."""

    WORKING = 0
    UNKNOWN = 1
    OUTSIDE = 2
    SMALL = 3
    KEPT = 4
    LEFT = 5
    EXPELLED = 6
    TURNED = 7
    LOWERED = 8
    RAISED = 9
    ENTERED = 10


class Rule(NamedTuple):
    """`ClusterParams` as plain numbers; all but `gate` in the settlement currency."""

    capital: float
    band: float
    gate: float
    gross: float
    net: float


def compiled(params: ClusterParams) -> Rule:
    """The rule that `params` describe."""
    capital = params.capital_usdt
    return Rule(
        capital, params.band * capital, params.gate_exit, params.max_gross * capital, params.max_net * capital
    )


@jit
def judge(rule: Rule, weight: Floats, gate: Floats, free: Flags, held: Floats, wanted: Floats, why: Bytes) -> None:
    """The answer to one closed bar: `wanted` (N,), the notional to hold from now on, and `why` (N,), a `Why`.

    `weight`, `gate`, `held` (N,); `free` (N,): the asset has a feature, and no order at work. Where nothing is to
    change, `wanted` is what is held."""
    _wish(rule, weight, gate, free, held, wanted, why)
    _limit(rule, free, wanted)
    gross = net = 0.0
    for i in range(len(held)):
        if why[i] == Why.KEPT and abs(wanted[i] - held[i]) > rule.band:
            why[i] = _change(held[i], wanted[i])
        now = held[i] if why[i] < Why.LEFT else wanted[i]
        gross += abs(now)
        net += now
    drifted = gross > rule.gross + rule.band or abs(net) > rule.net + rule.band
    for i in range(len(held)):
        if why[i] == Why.KEPT and drifted and wanted[i] != held[i]:
            why[i] = _change(held[i], wanted[i])
        if why[i] < Why.LEFT:
            if why[i] == Why.KEPT and held[i] == 0.0:
                why[i] = Why.SMALL
            wanted[i] = held[i]


@jit
def _change(held: float, wanted: float) -> Why:
    if held == 0.0:
        return Why.ENTERED
    return Why.RAISED if abs(wanted) > abs(held) else Why.LOWERED


@jit
def _wish(rule: Rule, weight: Floats, gate: Floats, free: Flags, held: Floats, wanted: Floats, why: Bytes) -> None:
    """What each asset is to be held at by itself, and why; KEPT where only the band has yet to speak."""
    for i in range(len(held)):
        wish, has = weight[i] * rule.capital, held[i] != 0.0
        wanted[i] = 0.0
        if not free[i]:
            wanted[i], why[i] = held[i], Why.UNKNOWN
        elif gate[i] < rule.gate:
            why[i] = Why.EXPELLED if has else Why.OUTSIDE
        elif wish * held[i] < 0.0:
            why[i] = Why.TURNED
        elif abs(wish) < (0.5 * rule.band if has else rule.band):
            why[i] = Why.LEFT if has else Why.SMALL
        else:
            wanted[i], why[i] = wish, Why.KEPT


@jit
def _limit(rule: Rule, free: Flags, wanted: Floats) -> None:
    """Scale what is `wanted` down to the limits, as far as it is free to be changed."""
    fixed_gross = fixed_net = longs = shorts = 0.0
    for i in range(len(wanted)):
        if not free[i]:
            fixed_gross += abs(wanted[i])
            fixed_net += wanted[i]
        elif wanted[i] > 0.0:
            longs += wanted[i]
        else:
            shorts -= wanted[i]
    total = longs + shorts
    scale = max(rule.gross - fixed_gross, 0.0) / total if fixed_gross + total > rule.gross and total > 0.0 else 1.0
    longs, shorts = longs * scale, shorts * scale
    net, up, down = fixed_net + longs - shorts, scale, scale
    if net > rule.net and longs > 0.0:
        up = scale * max(longs - (net - rule.net), 0.0) / longs
    elif net < -rule.net and shorts > 0.0:
        down = scale * max(shorts - (-net - rule.net), 0.0) / shorts
    for i in range(len(wanted)):
        if free[i]:
            wanted[i] *= up if wanted[i] > 0.0 else down
