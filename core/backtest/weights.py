"""The vectorised backtest of target weights: a cluster strategy, or any table of weights, in one compiled pass.

`hold` decides at each close by the strategy's own rule, asks the risk gate, and trades the difference at the next
open, in the order and with the accounting of `core.backtest.kernel`. It answers as the event-driven run does where
both suppose the same; what it cannot suppose it refuses; margin calls and the inside of a bar it does not see.
"""

from typing import NamedTuple

import msgspec
import numpy as np

from core.backtest.events import Assumptions
from core.backtest.kernel import (
    CASH,
    FEES,
    FLOW,
    FUNDING,
    GROSS,
    LEAST,
    MOST,
    NOTE,
    OPENED,
    PROBABILITY,
    REFUSED,
    SCORE,
    SLIPPAGE,
    TICK,
    TRADES,
    UNIT,
    UNITS_A,
    Books,
    Costs,
    Record,
    Tape,
    Z,
    fill,
    mark,
    settle,
    tell,
)
from core.backtest.result import Result
from core.backtest.rule_loop import Gate
from core.backtest.vectorised import costs_of, gate_of, params_of, result, tape_of
from core.data.panel import Panel
from core.domain.backtest import Source
from core.domain.instrument import Pair
from core.domain.market import Floats
from core.jit import jit
from core.matching.replay import Market
from core.models.cluster.rule import NAMES
from core.strategies.cluster import ClusterFeatures, texts
from core.strategies.cluster_rule import Bytes, Flags, Rule, Why, compiled, judge
from core.strategies.params import ClusterParams
from core.trader import Trader

ROOM = 4096
"""Trades written down at first; a run that makes more is made again, with room for all."""


class Wishes(NamedTuple):
    """What is known at the close of each of T bars, each (T, N): `weight`, a share of the capital; `gate`; whether
    the asset is `usable`; `residual` and `signal`, which trades are told with."""

    weight: Floats
    gate: Floats
    usable: Flags
    residual: Floats
    signal: Floats


def run_weights(
    trader: Trader, market: Market, cash: float, assumptions: Assumptions, source: Source, *, seed: int = 0
) -> Result:
    """Run `trader`, of a cluster strategy, over the bars of `market`, those before its `first` being history: what
    `run_events` does. UserError for assumptions that only the event-driven backtest can make."""
    params, features = trader.params, trader.features
    assert isinstance(params, ClusterParams) and isinstance(features, ClusterFeatures), trader.strategy
    wishes = learn(market.panel.slice(0, market.end), features)
    gate = gate_of(trader.limits)
    return run_wishes(trader.strategy.name, wishes, market, params, gate, cash, assumptions, source, seed=seed)


def learn(panel: Panel, features: ClusterFeatures) -> Wishes:
    """What a strategy knows at each bar's close, from a fresh start of such `features`."""
    told = features.fresh().history(panel)

    def column(name: str) -> Floats:
        return np.ascontiguousarray(told.features[:, :, NAMES.index(name)])

    usable = np.ascontiguousarray(told.usable)
    return Wishes(column("weight"), column("gate"), usable, column("residual"), column("signal"))


def run_wishes(
    name: str,
    wishes: Wishes,
    market: Market,
    params: ClusterParams,
    gate: Gate,
    cash: float,
    assumptions: Assumptions,
    source: Source,
    *,
    seed: int = 0,
) -> Result:
    """Trade `wishes` (T bars of `market`, history included) by the cluster strategy's rule under `params`."""
    panel = market.panel.slice(0, market.end)
    alone = tuple(Pair(asset) for asset in panel.assets)
    tape, costs, rule = tape_of(panel, market.instruments, alone), costs_of(assumptions), compiled(params)
    room = ROOM
    while True:
        books = Books.fresh(len(alone), len(alone), cash)
        record = Record.of(market.first, len(panel), cash, len(alone), trades=room)
        hold(rule, gate, tape, wishes, costs, books, record)
        if (made := int(books.sums[TRADES])) <= room:
            break
        room = made
    words = texts(params)
    done = result(
        name,
        panel.assets,
        params_of(params),
        panel,
        books,
        record,
        assumptions,
        source,
        seed,
        told=lambda row: (f"entered, residual {row[Z]:+.2f}", words[int(row[NOTE])]),
        refused="orders refused by the risk gate",
    )
    margin = {"margin": "what exceeds the free margin is refused; nothing is liquidated"}
    return msgspec.structs.replace(done, assumptions=done.assumptions | margin)


@jit
def hold(rule: Rule, gate: Gate, tape: Tape, wishes: Wishes, costs: Costs, books: Books, record: Record) -> None:
    """Run the rule from the record's first bar to the last; refusals are counted in the books' sums."""
    opens, close, rate, settles, legs, _, specs = tape
    weight, score, usable, residual, signal = wishes
    side, held, net, sums = books
    first, equity, spent, exposure, trades = record
    taker, edge = costs.taker, costs.half_spread + costs.slippage
    n = len(side)
    lots, change, cost = np.zeros(n), np.zeros(n), np.zeros(n)
    value, wanted, why = np.zeros(n), np.zeros(n), np.zeros(n, np.uint8)
    for t in range(first, len(close)):
        if settles[t]:
            settle(side, held, sums, legs, specs, close[t - 1], rate[t])
        for p in range(n):
            if change[p] == 0.0:
                continue
            now, had = lots[p] + change[p], held[p, UNITS_A]
            if had == 0.0:
                side[p], held[p, OPENED], cost[p] = np.sign(now), t, 0.0
                held[p, FLOW] = held[p, SLIPPAGE] = held[p, FEES] = held[p, FUNDING] = 0.0
            held[p, UNITS_A] = now * specs[p, UNIT]
            units = held[p, UNITS_A] - had
            net[p] = held[p, UNITS_A]
            paid = fill(held, sums, p, units, opens[t, p], specs[p, TICK], (taker, edge))
            if abs(now) > abs(lots[p]):
                cost[p] += paid
                held[p, GROSS] = cost[p]
            else:
                cost[p] *= now / lots[p]
            lots[p], change[p] = now, 0.0
            if now == 0.0:
                held[p, NOTE], held[p, PROBABILITY] = why[p], 0.0
                tell(side, held, sums, trades, p, t)
                side[p] = 0
        mark(side, held, sums, net, legs, close, t, t - first + 1, equity, spent, exposure)
        for p in range(n):
            value[p] = held[p, UNITS_A] * close[t, p] if side[p] != 0 else 0.0
        judge(rule, weight[t], score[t], usable[t], value, wanted, why)
        _order(gate, specs, close[t], value, wanted, why, lots, change, sums)
        for p in range(n):
            if change[p] != 0.0 and side[p] == 0:
                held[p, Z], held[p, SCORE] = residual[t, p], abs(signal[t, p])


@jit
def _order(
    gate: Gate,
    specs: Floats,
    close: Floats,
    value: Floats,
    wanted: Floats,
    why: Bytes,
    lots: Floats,
    change: Floats,
    sums: Floats,
) -> None:
    """The lots to trade at the next open: as `core.execution.sizing.target_intent` cuts a target, and as
    `core.execution.risk.refusal` lets those pass that add exposure."""
    equity, gross = sums[CASH], 0.0
    for p in range(len(lots)):
        equity += value[p]
        gross += abs(value[p])
    free = equity - gross / gate.leverage
    for p in range(len(lots)):
        change[p] = 0.0
        if why[p] < Why.LEFT:
            continue
        least = specs[p, UNIT] * close[p]
        # (The factor gives back the last bits that the division has lost.)
        goal = np.sign(wanted[p]) * np.floor(abs(wanted[p]) / least * (1.0 + 1e-12))
        step = goal - lots[p]
        if abs(step) < specs[p, LEAST]:
            continue
        if abs(goal) >= abs(lots[p]):
            step = max(min(step, specs[p, MOST]), -specs[p, MOST])
            worth = abs(step) * least
            used = worth / gate.leverage + worth * gate.taker
            fits = gate.min_notional <= worth <= gate.max_order
            if not (fits and gross + worth <= gate.max_gross and used <= free * gate.free_share):
                sums[REFUSED] += 1
                continue
            free -= used
            gross += worth
        change[p] = step
