"""Many parameter sets over the same bars: features and scores once, then one compiled run a set.

A set leaves one row of a table and, where asked for, its returns by block: memory does not grow with what a run
writes down. Every set that was run is a trial, and is told: the best of many must be judged as such.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import inf, prod

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from core.backtest.events import Assumptions
from core.backtest.kernel import (
    BARS,
    FEES,
    FUNDING,
    ORDERS,
    REFUSED,
    SLIPPAGE,
    TRADES,
    TURNOVER,
    WINS,
    Books,
    Record,
    Sides,
    follow,
)
from core.backtest.metrics import growth
from core.backtest.rule_loop import trade
from core.backtest.trials import Trial
from core.backtest.vectorised import (
    Compiled,
    compiled_of,
    costs_of,
    gate_of,
    learn,
    params_of,
    plain,
    tape_of,
    words,
)
from core.domain.backtest import Source
from core.domain.errors import UserError
from core.domain.instrument import Pair
from core.domain.market import Floats
from core.jit import jit
from core.jobs import Progress
from core.matching.replay import Market
from core.strategies.params import DivergenceParams
from core.strategies.rule import compiled
from core.trader import Trader

Value = float | int | str
Params = dict[str, Value]

GRID: dict[str, tuple[Value, ...]] = {
    "z_entry": (0.8, 1.0, 1.2),
    "prob_threshold": (0.4, 0.5, 0.6),
    "correlation_threshold": (0.75, 0.85, 0.95),
}
"""The sweep that every change of the divergence rule is seen against."""

COLUMNS = (
    "profit",
    "sharpe",
    "drawdown",
    "trades",
    "wins",
    "orders",
    "refused",
    "turnover",
    "slippage",
    "fees",
    "funding",
    "bars_held",
)
"""What a set leaves: profit after costs, in money; Sharpe ratio per bar (0 where nothing was traded); deepest fall
from a peak, a share of it (negative); counts; value traded and costs, in money; bars that closed trades lasted."""


@dataclass(frozen=True)
class Sweep:
    """S sets that were run: `params` of each, `table` (S, 12) of `COLUMNS`, and `returns` (S, B) float32 over
    blocks of `block` bars (B is 0 where they were not asked for)."""

    strategy: str
    assumptions: dict[str, str]
    source: Source
    seed: int
    params: tuple[Params, ...]
    table: Floats
    block: int
    returns: NDArray[np.float32]

    def column(self, name: str) -> Floats:
        """(S,) one column of the table."""
        return self.table[:, COLUMNS.index(name)]

    def trials(self) -> list[Trial]:
        """Every set as a trial on its data."""
        told = zip(self.params, self.column("sharpe").tolist(), strict=True)
        return [
            Trial(self.strategy, "vectorised", params, self.assumptions, self.source, self.seed, ratio)
            for params, ratio in told
        ]

    def ranked(self, by: str = "sharpe") -> list[int]:
        """Numbers of the sets, the highest `by` first; of equals the first that was run."""
        return [int(number) for number in np.argsort(-self.column(by), kind="stable")]


def grid(axes: Mapping[str, Sequence[Value]]) -> tuple[Params, ...]:
    """Every combination of the values of `axes`, the last axis fastest."""
    return tuple(dict(zip(axes, values, strict=True)) for values in product(*axes.values()))


def draws(axes: Mapping[str, Sequence[Value]], count: int, seed: int) -> tuple[Params, ...]:
    """`count` random sets, no two alike (all of them, in random order, where there are no more): an axis of two
    floats is a span, drawn from evenly; of any other one value is chosen."""
    chance = np.random.default_rng(seed)
    wanted = min(count, prod(inf if _span(values) else len(set(values)) for values in axes.values()))
    sets: dict[tuple[Value, ...], Params] = {}
    while len(sets) < wanted:
        drawn = {name: _drawn(chance, values) for name, values in axes.items()}
        sets[tuple(drawn.values())] = drawn
    return tuple(sets.values())


def sweep(
    trader: Trader,
    sets: Iterable[Params],
    market: Market,
    cash: float,
    assumptions: Assumptions,
    source: Source,
    *,
    block: int = 0,
    seed: int = 0,
    progress: Progress = lambda share, text: None,
) -> Sweep:
    """Run `trader`'s strategy with each of `sets` in place of its parameters (those not named stay).

    `block`: bars over which returns are kept (0: not at all). Raises UserError for a parameter that is not known or
    not possible, and for windows other than those its model was trained with.
    """
    sets, rule = tuple(sets), compiled_of(trader)
    chosen = [_changed(rule, given) for given in sets]
    panel, pairs = market.panel.slice(0, market.end), rule.features.pairs
    tape, costs, gate = tape_of(panel, market.instruments, pairs), costs_of(assumptions), gate_of(trader.limits)
    signals = np.zeros((len(panel), len(pairs)), np.int8)
    desk = _Desk(market, len(pairs), cash, len(sets), block)
    features, known = rule.features, learn(panel, rule.features, trader.model)
    # Sets with the same windows follow each other, so that one `Known` at a time is enough.
    for at, number in enumerate(sorted(range(len(sets)), key=lambda n: _windows(chosen[n]))):
        params = chosen[number]
        wanted = plain(trader.strategy, trader.strategy.features(panel.assets, params, panel.bar_ms))
        if wanted.params != features.params:
            if trader.model is not None:
                raise UserError(f"sweep: {sets[number]} needs features that the model was not trained on")
            features, known = wanted, learn(panel, wanted, None)
        desk.books.reset(cash)
        signals[:] = 0
        played = compiled(params, panel.bar_ms)
        refused = trade(played, gate, tape, known, costs, rule.past(), signals, desk.books, desk.record)
        desk.keep(number, refused)
        progress((at + 1) / len(sets), f"set {at + 1} of {len(sets)}")
    told = tuple(params_of(params) for params in chosen)
    said = words(assumptions, panel.slice(market.first, len(panel)))
    return Sweep(trader.strategy.name, said, source, seed, told, desk.table, block, desk.returns)


def sweep_signals(
    name: str,
    signals: Callable[[Params], Sides],
    sets: Iterable[Params],
    market: Market,
    pairs: Sequence[Pair],
    notional: Floats,
    cash: float,
    assumptions: Assumptions,
    source: Source,
    *,
    block: int = 0,
    seed: int = 0,
) -> Sweep:
    """Trade what `signals` gives for each of `sets`: (T, P) target sides over the bars of `market`, in an array
    that it may use again; see `core.backtest.kernel.follow` and `core.backtest.vectorised.run_signals`."""
    sets = tuple(sets)
    panel = market.panel.slice(0, market.end)
    tape, costs = tape_of(panel, market.instruments, pairs), costs_of(assumptions)
    desk = _Desk(market, len(pairs), cash, len(sets), block)
    for number, params in enumerate(sets):
        desk.books.reset(cash)
        follow(tape, costs, signals(params), notional, market.first, len(panel), desk.books, desk.record)
        desk.keep(number, 0)
    said = words(assumptions, panel.slice(market.first, len(panel)))
    return Sweep(name, said, source, seed, sets, desk.table, block, desk.returns)


class _Desk:
    """What all sets of a sweep share: one set of books, one record, and the table they leave their rows in."""

    def __init__(self, market: Market, pairs: int, cash: float, sets: int, block: int) -> None:
        self.books = Books.fresh(pairs, len(market.instruments), cash)
        self.record = Record.of(market.first, market.end, cash)
        self.table = np.zeros((sets, len(COLUMNS)))
        self.block = block
        blocks = (market.end - market.first) // block if block else 0
        self.returns = np.zeros((sets, blocks), np.float32)

    def keep(self, number: int, refused: int) -> None:
        """Write the row of set `number` from what books and record hold; `refused` by the risk gate."""
        sums, equity = self.books.sums, self.record.equity
        self.table[number] = (
            equity[-1] - equity[0],
            *figures(equity),
            *sums[[TRADES, WINS, ORDERS]],
            refused + sums[REFUSED],
            *sums[[TURNOVER, SLIPPAGE, FEES, FUNDING, BARS]],
        )
        if self.block:
            ends = equity[:: self.block]
            self.returns[number] = growth(ends)[: self.returns.shape[1]]


@jit
def figures(equity: Floats) -> tuple[float, float]:
    """(Sharpe ratio per bar, deepest drawdown) of (T+1,) equity, as `core.backtest.metrics` defines them."""
    bars = len(equity) - 1
    peak, depth, total = equity[0], 0.0, 0.0
    ruined = False
    returns = np.zeros(bars)
    for t in range(bars):
        before, after = equity[t], equity[t + 1]
        if ruined:
            continue
        if after <= 0.0:
            ruined, after = True, 0.0
        returns[t] = (after - before) / before
        total += returns[t]
        peak = max(peak, after)
        depth = min(depth, after / peak - 1.0)
    mean, squares = total / bars, 0.0
    for t in range(bars):
        squares += (returns[t] - mean) * (returns[t] - mean)
    deviation = np.sqrt(squares / (bars - 1)) if bars > 1 else 0.0
    return mean / deviation if deviation > 0.0 else 0.0, depth


def _windows(params: DivergenceParams) -> tuple[int, ...]:
    return params.z_window, params.atr_period, params.correlation_window, params.min_bars


def _changed(rule: Compiled, given: Params) -> DivergenceParams:
    """The rule's parameters with those of a set in their place."""
    try:
        return DivergenceParams.model_validate(rule.params.model_dump() | given)
    except ValidationError as error:
        wrong = error.errors()[0]
        name = ".".join(str(part) for part in wrong["loc"]) or "parameters"
        raise UserError(f"sweep: {name}: {wrong['msg']}, in {given}") from None


def _span(values: Sequence[Value]) -> bool:
    return len(values) == 2 and all(isinstance(value, float) for value in values) and values[0] != values[1]


def _drawn(chance: np.random.Generator, values: Sequence[Value]) -> Value:
    if _span(values):
        low, high = (float(value) for value in values)
        return float(chance.uniform(low, high))
    return values[int(chance.integers(len(values)))]
