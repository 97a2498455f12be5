"""The divergence rule over T bars, compiled: `judge` decides at each close, `follow` trades it at the next open.

What a trader does around a rule is done here on floats: it cuts an entry to the free margin, sizes it, and asks the
risk gate (`core.trader.Trader.open`, `core.execution.risk.refusal`); the tests hold both to the same trades.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.backtest.kernel import (
    CASH,
    GROSS,
    NOTE,
    PROBABILITY,
    SCORE,
    Books,
    Costs,
    Flags,
    Record,
    Sides,
    Tape,
    Z,
    follow,
    profit,
    sizes,
)
from core.data.panel import Ints
from core.domain.market import Floats
from core.features.bounds import bounds
from core.jit import jit
from core.strategies.rule import HELD, Answer, Leave, Market, Rule, judge, notional


class Known(NamedTuple):
    """What is known at the close of each of T bars: `closes` (T,) its time in ms; `z`, `probability`, `usable`
    (T, P); `funding` (per 8 hours), `atr_pct`, `volatility` (T, N); the matrix in force is `correlations[day[t]]`.
    `reference`: the asset whose volatility all others are measured by."""

    closes: Ints
    z: Floats
    probability: Floats
    usable: Flags
    funding: Floats
    atr_pct: Floats
    volatility: Floats
    correlations: Floats
    day: Ints
    reference: int


class Gate(NamedTuple):
    """`core.execution.risk.Limits` as floats."""

    free_share: float
    max_gross: float
    max_order: float
    min_notional: float
    leverage: float
    taker: float


@jit
def trade(
    rule: Rule,
    gate: Gate,
    tape: Tape,
    known: Known,
    costs: Costs,
    past: NDArray[np.void],
    signals: Sides,
    books: Books,
    record: Record,
) -> int:
    """Run the rule from the record's first bar to the last; the number of entries that the gate has refused.

    `past` (P,) as `core.strategies.rule.blank`. Writes `signals` (T, P), the side wanted at each close."""
    bars, pairs = signals.shape
    legs, z, probability, usable = tape.legs, known.z, known.probability, known.usable
    positions = np.zeros(rule.places, HELD)
    row_of, share, barred = positions["row"], positions["share"], past["barred"]
    wish, left = np.zeros(pairs), np.zeros(rule.places, np.uint8)
    released, why, side = np.zeros(pairs, np.bool_), np.zeros(pairs, np.uint8), np.zeros(pairs, np.int8)
    score, chosen, taken = np.zeros(pairs), np.zeros(rule.places, np.int64), np.zeros(len(tape.specs), np.int64)
    count = refused = 0
    for t in range(record.first, bars):
        follow(tape, costs, signals, wish, t, t + 1, books, record)
        taken[:] = 0
        for m in range(count):
            row = row_of[m]
            share[m] = profit(books.held, row, legs[0, row], legs[1, row], tape.close[t]) / books.held[row, GROSS]
            taken[legs[0, row]] += 1
            taken[legs[1, row]] += 1
        now = Market(
            known.closes[t],
            legs,
            z[t],
            probability[t],
            usable[t],
            known.funding[t],
            known.correlations[known.day[t]],
        )
        answer = Answer(left[:count], released, why, side, score, chosen)
        judge(rule, now, positions[:count], past, taken, rule.places - count, answer)
        for k in range(pairs):
            if released[k]:
                barred[k] = False
        if left[:count].any():
            count = _leave(positions, count, now.ts, left, past, books.held)
        if chosen[0] >= 0:
            count, no = _enter(rule, gate, tape, known, books, positions, count, t, answer, past, wish)
            refused += no
        for m in range(count):
            row = row_of[m]
            signals[t, row] = books.side[row] if books.side[row] != 0 else side[row]
    return refused


@jit
def _leave(
    positions: NDArray[np.void], count: int, ts: int, left: NDArray[np.uint8], past: NDArray[np.void], held: Floats
) -> int:
    """Take what leaves from the positions, and remember it; how many are left."""
    row_of, entry_z = positions["row"], positions["z"]
    barred, kept = past["barred"], 0
    for m in range(count):
        row = row_of[m]
        if left[m] == Leave.STAY:
            positions[kept] = positions[m]
            kept += 1
            continue
        held[row, NOTE] = left[m]
        barred[row] = left[m] == Leave.STOP
        past["held"][row], past["z"][row], past["closed"][row] = False, entry_z[m], ts
    return kept


@jit
def _enter(
    rule: Rule,
    gate: Gate,
    tape: Tape,
    known: Known,
    books: Books,
    positions: NDArray[np.void],
    count: int,
    t: int,
    answer: Answer,
    past: NDArray[np.void],
    wish: Floats,
) -> tuple[int, int]:
    """Add the entries that can be sized and pass the gate to the positions; (how many those are now, refused)."""
    close, legs, specs, net = tape.close[t], tape.legs, tape.specs, books.net
    equity, gross, refused = books.sums[CASH], 0.0, 0
    for i in range(len(net)):
        if net[i] != 0.0:
            equity += net[i] * close[i]
            gross += abs(net[i]) * close[i]
    free = equity - gross / gate.leverage
    for row in answer.chosen:
        if row < 0:
            break
        a, b = legs[0, row], legs[1, row]
        most = free * gate.free_share / (2.0 / gate.leverage + 2.0 * gate.taker)
        wish[row] = min(notional(rule, answer.score[row]), max(most, 0.0))
        units_a, units_b = sizes(wish[row], tape.hedge[row], specs, a, b, close)
        value_a, value_b = units_a * close[a], units_b * close[b]
        value = value_a + value_b
        used = value / gate.leverage + value * gate.taker
        most_leg, least_leg = max(value_a, value_b), min(value_a, value_b)
        fits = units_a > 0.0 and most_leg <= gate.max_order and least_leg >= gate.min_notional
        if not (fits and gross + value <= gate.max_gross and used <= free * gate.free_share):
            refused += 1
            continue
        free -= used
        gross += value
        at = positions[count]
        at["row"], at["opened"], at["z"] = row, known.closes[t], known.z[t, row]
        at["stop"], at["target"] = bounds(
            rule.bounds, known.atr_pct[t, a], known.volatility[t, a], known.volatility[t, known.reference]
        )
        past["held"][row] = True
        books.held[row, Z], books.held[row, SCORE] = known.z[t, row], answer.score[row]
        books.held[row, PROBABILITY] = known.probability[t, row]
        count += 1
    return count, refused
