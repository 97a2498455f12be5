"""The vectorised backtest: a trader's rule, or a grid of signals, over a whole panel in compiled passes.

It answers as the event-driven one does where both suppose the same: whole orders at the next open, half a spread
from the mark, no latency, nothing refused by the exchange. What it cannot suppose it refuses; margin calls and what
happens within a bar it does not see.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.backtest.events import Assumptions, funded
from core.backtest.kernel import (
    CLOSED,
    FEES,
    FLOW,
    FUNDING,
    GROSS,
    NOTE,
    OPENED,
    ORDERS,
    PAIR,
    PROBABILITY,
    REFUSED,
    SCORE,
    SIDE,
    SLIPPAGE,
    TRADES,
    Books,
    Costs,
    Record,
    Sides,
    Tape,
    Z,
    follow,
)
from core.backtest.result import Result, Trade
from core.backtest.rule_loop import Gate, Known, trade
from core.data.panel import Panel
from core.domain.backtest import Source
from core.domain.errors import UserError
from core.domain.instrument import Instrument, Pair
from core.domain.market import Floats
from core.execution.risk import Limits
from core.execution.slices import MOST_SLICES, largest, smallest
from core.features.bounds import reference
from core.features.pairs import PairFeatures
from core.features.replayed import chunks
from core.matching.replay import Market
from core.strategies import divergence
from core.strategies.params import DivergenceParams, Params
from core.strategies.registry import Features, Strategy
from core.strategies.rule import Leave, blank, compiled
from core.trader import Model, Trader

CHUNK = 4096
"""Rows scored at once: what fits the processor's cache."""
LEFT = {
    Leave.STAY: "signal",
    Leave.STOP: "stop",
    Leave.TARGET: "target",
    Leave.CROSSED: "z crossed",
    Leave.TIME: "time stop",
    Leave.SWITCHED: "switched",
}


def run_vectorised(
    trader: Trader,
    market: Market,
    cash: float,
    assumptions: Assumptions,
    source: Source,
    *,
    seed: int = 0,
    known: Known | None = None,
) -> Result:
    """Run `trader` over the bars of `market`, those before its `first` being history: what `run_events` does.

    `known`: what `learn` gave for these bars and windows, if it is at hand. Raises UserError for a strategy whose
    rule is not compiled, and for assumptions that only the event-driven backtest can make.
    """
    rule = compiled_of(trader)
    panel, pairs = market.panel.slice(0, market.end), rule.features.pairs
    known = known or learn(panel, rule.features, trader.model)
    books = Books.fresh(len(pairs), len(panel.assets), cash)
    most = rule.params.max_concurrent_positions * (len(panel) - market.first)
    record = Record.of(market.first, len(panel), cash, len(pairs), trades=most)
    trade(
        compiled(rule.params, panel.bar_ms),
        gate_of(trader.limits),
        tape_of(panel, market.instruments, pairs),
        known,
        costs_of(assumptions),
        rule.past(),
        np.zeros((len(panel), len(pairs)), np.int8),
        books,
        record,
    )
    names = tuple(pair.name for pair in pairs)
    params = params_of(rule.params)
    return result(trader.strategy.name, names, params, panel, books, record, assumptions, source, seed)


def run_signals(
    name: str,
    signals: Sides,
    market: Market,
    pairs: Sequence[Pair],
    notional: Floats,
    cash: float,
    assumptions: Assumptions,
    source: Source,
    *,
    params: Mapping[str, float | int | str],
    hedge: Floats | None = None,
) -> Result:
    """Trade `signals` (T, P) over the bars of `market`, as `core.backtest.kernel.follow` says.

    `notional` (P,): value of each pair's first leg at entry; `hedge` (P,): value of the second for a value of 1 in
    the first (default 1). A pair of an asset with itself needs a hedge of 0: it is that asset alone, and so named.
    """
    panel = market.panel.slice(0, market.end)
    tape = tape_of(panel, market.instruments, pairs, hedge)
    books = Books.fresh(len(pairs), len(panel.assets), cash)
    changes = int(np.count_nonzero(np.diff(signals[market.first : market.end], axis=0)))
    record = Record.of(market.first, len(panel), cash, len(pairs), trades=changes)
    follow(
        tape,
        costs_of(assumptions),
        np.ascontiguousarray(signals[: market.end]),
        notional,
        market.first,
        len(panel),
        books,
        record,
    )
    names = tuple(pair.a if pair.a == pair.b else pair.name for pair in pairs)
    return result(name, names, dict(params), panel, books, record, assumptions, source, 0)


def learn(panel: Panel, features: PairFeatures, model: Model | None) -> Known:
    """What a strategy knows at each bar's close, from a fresh start of such `features`: once for any number of
    parameter sets with the same windows."""
    fresh = PairFeatures(features.assets, features.params, features.bar_ms)
    shape, column = (len(panel), len(fresh.pairs)), fresh.names.index("z_score")
    z, probability, usable = np.empty(shape), np.ones(shape), np.empty(shape, np.bool_)
    atr_pct, volatility = np.empty_like(panel.close), np.empty_like(panel.close)
    day, matrices = np.empty(len(panel), np.int64), list[Floats]()
    done = 0
    # A part at a time: all features of many pairs would not fit into memory.
    for told in chunks(fresh, panel):
        rows = slice(done, done := done + len(told.ts))
        z[rows], usable[rows] = told.features[:, :, column], told.usable
        atr_pct[rows], volatility[rows] = told.atr_pct, told.volatility
        # A part begins with the matrix with which the one before has ended.
        day[rows] = told.day + max(len(matrices) - 1, 0)
        matrices += list(told.correlations[min(len(matrices), 1) :])
        if model is not None:
            probability[rows] = score(model, told.features)
    return Known(
        panel.ts + panel.bar_ms,
        z,
        probability,
        usable,
        np.ascontiguousarray(panel.funding),
        atr_pct,
        volatility,
        np.array(matrices),
        day,
        reference(panel.assets),
    )


def score(model: Model, features: Floats) -> Floats:
    """(T, P) probabilities of (T, P, F) features: all rows, a cache's worth at a time."""
    rows = features.reshape(-1, features.shape[2])
    scores = [model.score(rows[at : at + CHUNK]) for at in range(0, len(rows), CHUNK)]
    return np.concatenate(scores).reshape(features.shape[:2])


def tape_of(
    panel: Panel, instruments: Sequence[Instrument], pairs: Sequence[Pair], hedge: Floats | None = None
) -> Tape:
    """The panel as the kernel reads it; `instruments` in the order of its assets. A single asset has no hedge."""
    rate = np.nan_to_num(panel.funding_rate)
    order = {asset: i for i, asset in enumerate(panel.assets)}
    legs = np.array([(order[pair.a], order[pair.b or pair.a]) for pair in pairs], np.int64).reshape(-1, 2)
    specs = [
        (i.contract * i.lot, smallest(i) / i.lot, MOST_SLICES * largest(i) / i.lot, i.tick) for i in instruments
    ]
    return Tape(
        panel.open,
        panel.close,
        rate,
        np.any(rate != 0.0, axis=1),
        np.ascontiguousarray(legs.T),
        np.array([1.0 if pair.b else 0.0 for pair in pairs]) if hedge is None else hedge,
        np.array(specs, np.float64),
    )


def costs_of(assumptions: Assumptions) -> Costs:
    """The costs under `assumptions`. UserError for what only the event-driven backtest can suppose."""
    if assumptions.latency != "none" or assumptions.rejects or assumptions.book:
        book = f", book {assumptions.book}" if assumptions.book else ""
        what = f"latency {assumptions.latency}, {assumptions.rejects:.1%} of orders refused{book}"
        raise UserError(f"{what}: the vectorised backtest supposes none of it; use the event-driven one")
    rules = assumptions.rules()
    return Costs(float(rules.taker), float(rules.spread_bps) / 2e4)


def gate_of(limits: Limits) -> Gate:
    """The limits of the risk gate as floats."""
    return Gate(
        float(limits.free_share),
        float(min(limits.max_gross, limits.budget)),
        float(limits.max_order),
        float(limits.min_notional),
        float(limits.leverage),
        float(limits.taker),
    )


class Compiled(NamedTuple):
    """A strategy that is the compiled rule: its parameters, its features, the pairs that it may enter (all, if
    none is named)."""

    params: DivergenceParams
    features: PairFeatures
    only: tuple[str, ...]

    def past(self) -> NDArray[np.void]:
        """What is remembered of each pair before the first bar."""
        past = blank(len(self.features.pairs))
        if self.only:
            past["other"] = [pair.name not in self.only for pair in self.features.pairs]
        return past


def compiled_of(trader: Trader) -> Compiled:
    """The compiled rule behind `trader`; a UserError with the way out, if it decides otherwise."""
    decide, params, features = trader.strategy.decide, trader.params, trader.features
    told = decide.keywords if isinstance(decide, partial) else {}
    if getattr(decide, "func", decide) is not divergence.decide or not told.keys() <= {"name", "only"}:
        name = trader.strategy.name
        raise UserError(f"strategy {name} decides in Python, bar by bar: use the event-driven backtest for it")
    assert isinstance(params, DivergenceParams), trader.strategy
    return Compiled(params, plain(trader.strategy, features), told.get("only", ()))


def plain(rule: Strategy, features: Features) -> PairFeatures:
    """`features`, which are to be computed anew. UserError unless they are the pair features themselves: what
    overrides those would be lost."""
    if type(features) is not PairFeatures:
        raise UserError(f"strategy {rule.name} has features of its own: use the event-driven backtest for it")
    return features


def params_of(params: Params) -> dict[str, float | int | str]:
    """Parameters as results carry them."""
    told = params.model_dump().items()
    return {name: value if isinstance(value, int | float | str) else str(value) for name, value in told}


def words(assumptions: Assumptions, panel: Panel) -> dict[str, str]:
    """Each assumption in words, of a run that trades on `panel`; those of the event-driven run where they are the
    same."""
    costs = costs_of(assumptions)
    return assumptions.words(funded(panel)) | {
        "slippage": f"spread {2e4 * costs.half_spread:g} bp around the mark and at least two ticks, at any size",
        "inside a bar": "nothing: stops and targets are judged at closes alone",
        "margin": "entries are cut to the free margin; nothing is liquidated",
    }


def _reasons(row: Sequence[float]) -> tuple[str, str]:
    """Why a trade of the divergence rule, or of signals, was entered and left."""
    entry = f"z {row[Z]:+.2f}, probability {row[PROBABILITY]:.2f}" if row[NOTE] else "signal"
    return entry, LEFT[Leave(int(row[NOTE]))]


def result(
    strategy: str,
    pairs: tuple[str, ...],
    params: dict[str, float | int | str],
    panel: Panel,
    books: Books,
    record: Record,
    assumptions: Assumptions,
    source: Source,
    seed: int,
    told: Callable[[Sequence[float]], tuple[str, str]] = _reasons,
    refused: str = "entries could not be sized in whole lots",
) -> Result:
    """What a run has recorded, in the form that every backtest gives. `told` puts into words why the trade of a row
    was entered and left; `refused` what was not done."""
    first = int(panel.ts[record.first])
    orders = int(books.sums[ORDERS])
    count = int(books.sums[REFUSED])
    return Result(
        strategy=strategy,
        engine="vectorised",
        params=params,
        source=source,
        assumptions=words(assumptions, panel.slice(record.first, len(panel))),
        seed=seed,
        ts=first + panel.bar_ms * np.arange(len(record.equity), dtype=np.int64),
        equity=record.equity,
        pairs=pairs,
        exposure=record.exposure,
        costs=record.costs,
        trades=tuple(_trades(strategy, pairs, panel, books, record, told)),
        open_pairs=tuple(pair for pair, side in zip(pairs, books.side, strict=True) if side),
        orders=orders,
        fills=orders,
        notes=(f"{count} {refused}",) if count else (),
    )


def _trades(
    strategy: str,
    pairs: tuple[str, ...],
    panel: Panel,
    books: Books,
    record: Record,
    told: Callable[[Sequence[float]], tuple[str, str]],
) -> Sequence[Trade]:
    ts = panel.ts.tolist()
    trades = []
    for row in record.trades[: int(books.sums[TRADES])].tolist():
        opened, closed = int(row[OPENED]), int(row[CLOSED])
        costs = row[SLIPPAGE] + row[FEES] + row[FUNDING]
        entry, exit = told(row)
        trades.append(
            Trade(
                strategy=strategy,
                pair=pairs[int(row[PAIR])],
                side=int(row[SIDE]),
                opened=ts[opened],
                closed=ts[closed],
                bars=closed - opened,
                gross=row[GROSS],
                price=row[FLOW] - costs,
                slippage=row[SLIPPAGE],
                fees=row[FEES],
                funding=row[FUNDING],
                entry=entry,
                exit=exit,
                score=row[SCORE],
                probability=row[PROBABILITY] if row[NOTE] else 1.0,
            )
        )
    return trades
