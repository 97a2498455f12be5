"""The divergence rule itself, compiled: one bar of one market in, what leaves and what is entered out.

`divergence.decide` calls `judge` with what the ledger tells; a vectorised backtest calls it within its own loop,
with what it holds there: the same machine code, so that they cannot differ. Times are ms UTC, P pairs, N assets, M
positions held. Positions and the pairs' past are tables (structured arrays), which a backtest keeps from bar to
bar. Nothing here remembers, and nothing is allocated, except to weigh a switch.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.domain.market import Floats
from core.features.bounds import Bound, Bounds
from core.jit import jit
from core.strategies.params import DivergenceParams

Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Signs = NDArray[np.int8]
Table = NDArray[np.void]


class Why(IntEnum):
    """Why a pair is, or is not, traded on this bar. The first that applies, from the top, is told."""

    HELD = 0
    WORKING = 1
    OTHER = 2
    UNUSABLE = 3
    SMALL = 4
    UNLIKELY = 5
    BARRED = 6
    COOLING = 7
    FUNDING = 8
    FULL = 9
    SHARED = 10
    CORRELATED = 11
    OUTSCORED = 12
    ENTERED = 13


class Leave(IntEnum):
    """Why a position is closed on this bar. The first that applies, from STOP down, is told."""

    STAY = 0
    STOP = 1
    TARGET = 2
    CROSSED = 3
    TIME = 4
    SWITCHED = 5


HELD = np.dtype([("row", "i8"), ("opened", "i8"), ("z", "f8"), ("share", "f8"), ("stop", "f8"), ("target", "f8")])
"""A position: its pair's row (-1: not to be judged), the close of its deciding bar, z then, its P&L now over its
gross (fees and funding included), stop and target as shares of the gross."""

PAST = np.dtype(
    [("held", "?"), ("working", "?"), ("other", "?"), ("barred", "?"), ("z", "f8"), ("closed", "i8")], align=True
)
"""What is remembered of a pair: held now, an order at work on it, not one of the strategy's pairs, barred since a
stop until z crosses zero against `z`, that of the entry; when it was closed last (`NEVER`: never held)."""

NEVER = -(2**62)


def blank(pairs: int) -> Table:
    """The `PAST` of pairs that were never traded."""
    past = np.zeros(pairs, PAST)
    past["closed"] = NEVER
    return past


class Rule(NamedTuple):
    """`DivergenceParams` as plain numbers; `horizon`, `min_hold` and `cooldown` in ms."""

    z_entry: float
    z_exit: float
    probability: float
    correlation: float
    funding: float
    size: float
    bounds: Bounds
    horizon: int
    min_hold: int
    cooldown: int
    places: int
    switch: float


def compiled(params: DivergenceParams, bar_ms: int) -> Rule:
    """The rule that `params` describe, on bars of `bar_ms`."""
    return Rule(
        z_entry=params.z_entry,
        z_exit=params.z_exit,
        probability=params.prob_threshold,
        correlation=params.correlation_threshold,
        funding=params.funding_threshold,
        size=params.base_size_usdt,
        bounds=bounds_of(params),
        horizon=params.horizon_bars * bar_ms,
        min_hold=params.min_hold_bars * bar_ms,
        cooldown=params.cooldown_bars * bar_ms,
        places=params.max_concurrent_positions,
        switch=params.switch_threshold,
    )


def bounds_of(params: DivergenceParams) -> Bounds:
    """How `params` set stop and target."""
    return Bounds(
        params.stop_mode == "volatility",
        Bound(params.stop_atr, params.stop_min, params.stop_max, params.stop_default),
        Bound(params.target_atr, params.target_min, params.target_max, params.target_default),
    )


class Market(NamedTuple):
    """What is known at the close `ts` of a bar. `legs` (2, P): the assets of base and quote; `z`, `probability`,
    `usable` (P,); `funding` (N,) per 8 hours; `correlation` (N, N). C-contiguous."""

    ts: int
    legs: Ints
    z: Floats
    probability: Floats
    usable: Flags
    funding: Floats
    correlation: Floats


class Answer(NamedTuple):
    """What `judge` writes. `left` (M,) a `Leave` a position; `released` (P,) whose bar after a stop ends now;
    `why` (P,) a `Why` a pair; `side` (P,) +1 long the spread, -1 short, 0 neither; `score` (P,); `chosen` (places,)
    rows to enter, in order, then -1. Where a position is SWITCHED, the last one chosen takes its place."""

    left: Bytes
    released: Flags
    why: Bytes
    side: Signs
    score: Floats
    chosen: Ints

    @classmethod
    def empty(cls, positions: int, pairs: int, places: int) -> "Answer":
        """Room for the answer; its values mean nothing before `judge`."""
        return cls(
            np.empty(positions, np.uint8),
            np.empty(pairs, np.bool_),
            np.empty(pairs, np.uint8),
            np.empty(pairs, np.int8),
            np.empty(pairs),
            np.empty(places, np.int64),
        )


@jit
def judge(rule: Rule, market: Market, held: Table, past: Table, taken: Ints, free: int, answer: Answer) -> None:
    """The answer to one closed bar.

    `held` (M,) of `HELD`, `past` (P,) of `PAST`; `taken` (N,) positions (held or at work) that each asset is in,
    `free` places. A position that leaves on this bar still takes its place and its assets, which are free from the
    next bar on, when it is known to be gone; only one that is switched out of makes room at once."""
    for m in range(held.shape[0]):
        row = held["row"][m]
        answer.left[m] = Leave.STAY
        if row >= 0 and not past["working"][row]:
            answer.left[m] = leaving(rule, market, held, m)
    _stand(rule, market, past, answer)
    count = _choose(rule, market, taken, free, answer)
    if np.isfinite(rule.switch) and held.shape[0] > 0:
        _switch(rule, market, held, past, taken, count, answer)


@jit
def leaving(rule: Rule, market: Market, held: Table, m: int) -> Leave:
    """Whether position `m` is closed now, a `Leave`. Price stops and the time limit hold even where z is not
    known."""
    share, row, age = held["share"][m], held["row"][m], market.ts - held["opened"][m]
    if share <= -held["stop"][m]:
        return Leave.STOP
    if share >= held["target"][m]:
        return Leave.TARGET
    if market.usable[row] and age >= rule.min_hold and crossed(market.z[row], held["z"][m], rule.z_exit):
        return Leave.CROSSED
    return Leave.TIME if age >= rule.horizon else Leave.STAY


@jit
def crossed(now: float, entry: float, level: float) -> bool:
    """Whether z has come from its entry's side down to `level` (0: has changed its sign). Judged against the z
    at entry, not against the side taken: a pair opened by hand may bet the other way."""
    return bool(now * np.copysign(1.0, entry) <= level)


@jit
def notional(rule: Rule, score: float) -> float:
    """USDT per leg: the base size, up to twice as much for a high score."""
    return rule.size * min(max(1.0 + (score - 0.5) / 0.5, 1.0), 2.0)


@jit
def _stand(rule: Rule, market: Market, past: Table, answer: Answer) -> None:
    """Score and side of each pair, and the first reason that stands against it by itself; OUTSCORED where none
    does: it is a candidate."""
    # Taken out of their tuples once: in the loop, each would cost the counting of a reference.
    legs, zs, probabilities, usable = market.legs, market.z, market.probability, market.usable
    funding, released, why, score, sides = market.funding, answer.released, answer.why, answer.score, answer.side
    held, working, other = past["held"], past["working"], past["other"]
    barred, entry, closed = past["barred"], past["z"], past["closed"]
    for k in range(why.shape[0]):
        z, probability = zs[k], probabilities[k]
        side = (-1 if z > 0.0 else 1) if usable[k] and abs(z) > rule.z_entry else 0
        released[k] = barred[k] and usable[k] and crossed(z, entry[k], 0.0)
        score[k] = abs(z) * probability if usable[k] else 0.0
        sides[k] = side
        # Short the spread: short a, long b. The short pays a negative rate, the long a positive one.
        paid_a, paid_b = side * funding[legs[0, k]], -side * funding[legs[1, k]]
        if held[k]:
            why[k] = Why.HELD
        elif working[k]:
            why[k] = Why.WORKING
        elif other[k]:
            why[k] = Why.OTHER
        elif not usable[k]:
            why[k] = Why.UNUSABLE
        elif side == 0:
            why[k] = Why.SMALL
        elif not probability > rule.probability:
            why[k] = Why.UNLIKELY
        elif barred[k] and not released[k]:
            why[k] = Why.BARRED
        elif market.ts - closed[k] < rule.cooldown:
            why[k] = Why.COOLING
        elif paid_a > rule.funding or paid_b > rule.funding:
            why[k] = Why.FUNDING
        else:
            why[k] = Why.OUTSCORED


@jit
def _choose(rule: Rule, market: Market, taken: Ints, free: int, answer: Answer) -> int:
    """Enter the candidates with the best scores (of equals: the first), as far as places and the assets taken
    allow, and tell the others why not; how many are entered."""
    why, score, legs, matrix, chosen = answer.why, answer.score, market.legs, market.correlation, answer.chosen
    chosen[:] = -1
    for k in range(why.shape[0]):
        if why[k] == Why.OUTSCORED:
            why[k] = Why.FULL if free <= 0 else _conflict(legs, matrix, rule.correlation, taken, k)
    count = 0
    while count < free:
        best = -1
        for k in range(why.shape[0]):
            if why[k] == Why.OUTSCORED and (best < 0 or score[k] > score[best]):
                best = k
        if best < 0:
            break
        why[best] = Why.ENTERED
        chosen[count] = best
        count += 1
        for k in range(why.shape[0]):
            # Those that rank above were refused before `best` took its assets.
            below = score[k] < score[best] or (score[k] == score[best] and k > best)
            if below and (why[k] == Why.OUTSCORED or why[k] == Why.CORRELATED):
                against = _against(legs, matrix, rule.correlation, best, k)
                if against < why[k]:
                    why[k] = against
    return count


@jit
def _switch(rule: Rule, market: Market, held: Table, past: Table, taken: Ints, count: int, answer: Answer) -> None:
    """At most one switch a bar: the best candidate that found no place takes that of a position whose own pair now
    scores less by more than the threshold; of several, the one that scores least.

    A position can be left that is past `min_hold`, does not leave by itself, and whose z is known. Its assets do
    not stand against the candidate; those of all others do."""
    why, score, chosen = answer.why, answer.score, answer.chosen
    best, out = -1, -1
    now = taken.copy()
    for i in range(count):
        now[market.legs[0, chosen[i]]] += 1
        now[market.legs[1, chosen[i]]] += 1
    for k in range(why.shape[0]):
        if why[k] >= Why.FULL and why[k] != Why.ENTERED and (best < 0 or score[k] > score[best]):
            m = _replaced(rule, market, held, past, now, k, answer)
            if m >= 0:
                best, out = k, m
    if best >= 0:
        answer.left[out] = Leave.SWITCHED
        why[best] = Why.ENTERED
        chosen[count] = best


@jit
def _replaced(rule: Rule, market: Market, held: Table, past: Table, now: Ints, k: int, answer: Answer) -> int:
    """The position whose place candidate `k` may take, `now` being the assets taken; -1: none."""
    legs, score, rows, opened, working = market.legs, answer.score, held["row"], held["opened"], past["working"]
    found, least = -1, score[k] - rule.switch
    for m in range(rows.shape[0]):
        row = rows[m]
        if row < 0 or answer.left[m] != Leave.STAY or working[row] or not market.usable[row]:
            continue
        if market.ts - opened[m] < rule.min_hold or not score[row] < least:
            continue
        now[legs[0, row]] -= 1
        now[legs[1, row]] -= 1
        if _conflict(legs, market.correlation, rule.correlation, now, k) == Why.OUTSCORED:
            found, least = m, score[row]
        now[legs[0, row]] += 1
        now[legs[1, row]] += 1
    return found


@jit
def _conflict(legs: Ints, correlation: Floats, limit: float, taken: Ints, k: int) -> Why:
    """What the assets taken have against pair `k`: SHARED, CORRELATED, or OUTSCORED, nothing."""
    a, b = legs[0, k], legs[1, k]
    if taken[a] > 0 or taken[b] > 0:
        return Why.SHARED
    for i in range(taken.shape[0]):
        if taken[i] > 0 and (abs(correlation[a, i]) > limit or abs(correlation[b, i]) > limit):
            return Why.CORRELATED
    return Why.OUTSCORED


@jit
def _against(legs: Ints, correlation: Floats, limit: float, other: int, k: int) -> Why:
    """What pair `other` has against pair `k`, in the same words."""
    a, b = legs[0, k], legs[1, k]
    worst = Why.OUTSCORED
    for i in (legs[0, other], legs[1, other]):
        if i in (a, b):
            return Why.SHARED
        if abs(correlation[a, i]) > limit or abs(correlation[b, i]) > limit:
            worst = Why.CORRELATED
    return worst
