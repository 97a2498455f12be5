"""The accounting of pairs in one compiled pass: sizes, fills, costs, funding and equity, bar by bar.

`follow` walks target sides, whoever has decided them: a grid of signals in one call, or a strategy's compiled rule
that calls it bar by bar (`core.backtest.vectorised`). A bar passes in the order of the exchange:

1. funding that settles at the bar's opening instant, on what is held then, valued at the last close before it;
2. orders decided at the last close, filled at this open: mid plus or minus half the spread and the slippage;
3. equity at this close; then the next decision.

Every change of money is a cash flow: equity is cash plus what is held at closes, so that nothing can be earned
or lost in between. Sizes are whole lots, kept as units of the asset (lots x lot size x contract size).

The helpers are inlined and take plain arrays: a call with a tuple of arrays costs more than a fill.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.data.panel import Ints
from core.domain.market import Floats
from core.jit import inlined, jit

Flags = NDArray[np.bool_]
Sides = NDArray[np.int8]

SLIPPAGE, FEES, FUNDING = 0, 1, 2
"""Columns of the costs; the first of `Books.held`, of `Books.sums` and of the trades, too."""
FLOW, GROSS, UNITS_A, UNITS_B, OPENED, NOTE, Z, SCORE, PROBABILITY = 3, 4, 5, 6, 7, 8, 9, 10, 11
"""Further columns of `Books.held`, and so of the trades."""
PAIR, SIDE, CLOSED = 12, 13, 14
"""Further columns of the trades."""
CASH, TURNOVER, ORDERS, TRADES, WINS, REFUSED, BARS = 3, 4, 5, 6, 7, 8, 9
"""Further places in `Books.sums`."""
UNIT, LEAST, MOST, TICK = 0, 1, 2, 3
"""Columns of `Tape.specs`."""


class Tape(NamedTuple):
    """What can be traded: T bars of N assets, P pairs.

    `open`, `close` (T, N); `rate` (T, N) funding settled at each bar's open, 0 where none is; `settles` (T,)
    whether any is. `legs` (2, P): asset numbers of a and b. `hedge` (P,): value of leg b for a value of 1 in
    leg a: 1 is dollar-neutral, 0 makes leg a a position of its own. `specs` (N, 4): units of the asset in a lot,
    the smallest and the largest size in lots, and the tick that quotes lie on (0: they lie anywhere).
    """

    open: Floats
    close: Floats
    rate: Floats
    settles: Flags
    legs: Ints
    hedge: Floats
    specs: Floats


class Costs(NamedTuple):
    """What trading costs, as shares of value: the taker's fee, half of the spread, and slippage beyond it.

    Where there are ticks, quotes are rounded away from the middle, which they leave by one tick at least."""

    taker: float = 0.0005
    half_spread: float = 0.0001
    slippage: float = 0.0


class Books(NamedTuple):
    """What is held, and what has come of it.

    `side` (P,), 0 where flat. `held` (P, 12), of the open round trip: slippage, fees and funding so far; all its
    cash flows, these included, so that its profit is `FLOW` plus what the legs are worth; the entry value of both
    legs at fill prices; signed units of both; the bar of the entry's fill; and what the decider writes there: a
    note, its z, score and probability. `net` (N,) units per asset. `sums` (10,) of the run: slippage, fees,
    funding, cash, value traded, orders, closed trades, those that won, entries that could not be sized, bars that
    closed trades lasted.
    """

    side: Sides
    held: Floats
    net: Floats
    sums: Floats

    @classmethod
    def fresh(cls, pairs: int, assets: int, deposit: float) -> "Books":
        """Nothing held, `deposit` in cash."""
        books = cls(np.zeros(pairs, np.int8), np.zeros((pairs, 12)), np.zeros(assets), np.zeros(10))
        books.sums[CASH] = deposit
        return books

    def reset(self, deposit: float) -> None:
        """Fresh again, in place: a sweep needs one set of books."""
        for array in self:
            array[...] = 0
        self.sums[CASH] = deposit


class Record(NamedTuple):
    """What a run from bar `first` on writes down, K bars: row 0 stands before the first, row k at the close of the
    k-th. `equity` (K+1,), `costs` (K+1, 3). As far as they have rows: `exposure` (K+1, P), signed value of both
    legs; `trades` (M, 15): what the books held of it at its end (`FLOW` is its profit), pair, side, and the bar of
    the exit's fill."""

    first: int
    equity: Floats
    costs: Floats
    exposure: Floats
    trades: Floats

    @classmethod
    def of(cls, first: int, bars: int, deposit: float, pairs: int = 0, trades: int = 0) -> "Record":
        """Room for bars `first` .. `bars` - 1; for the exposure of `pairs`, if any; for so many `trades`."""
        rows = bars - first + 1
        exposure = np.zeros((rows if pairs else 0, pairs))
        record = cls(first, np.empty(rows), np.empty((rows, 3)), exposure, np.zeros((trades, 15)))
        record.equity[0], record.costs[0] = deposit, 0.0
        return record


@jit
def follow(
    tape: Tape,
    costs: Costs,
    signals: Sides,
    notional: Floats,
    start: int,
    stop: int,
    books: Books,
    record: Record,
) -> None:
    """Pass bars `start` .. `stop` - 1 towards `signals` (T, P): the side wanted at each bar's close.

    +1 is long the spread (long a, short b), 0 flat, -1 short. What bar t - 1 wants is filled at the open of bar t;
    nothing is at the record's first bar, before which nobody has decided. `notional` (P,): value of leg a at entry,
    in the settlement currency, by the closes of the deciding bar. An entry that cannot be sized is asked for again
    at each bar. A position is kept as it was entered until another side is wanted.
    """
    opens, close, rate, settles, legs, hedge, specs = tape
    taker, edge = costs.taker, costs.half_spread + costs.slippage
    side, held, net, sums = books
    first, equity, spent, exposure, trades = record
    for t in range(start, stop):
        if settles[t]:
            settle(side, held, sums, legs, specs, close[t - 1], rate[t])
        for p in range(len(side) if t > first else 0):
            wanted, had = signals[t - 1, p], side[p]
            if wanted == had:
                continue
            a, b = legs[0, p], legs[1, p]
            if had != 0:
                _sell(held, sums, net, p, (a, b), opens[t], specs, (taker, edge))
                tell(side, held, sums, trades, p, t)
                side[p], held[p, UNITS_A], held[p, UNITS_B] = 0, 0.0, 0.0
            if wanted != 0:
                units_a, units_b = sizes(notional[p], hedge[p], specs, a, b, close[t - 1])
                if units_a == 0.0:
                    sums[REFUSED] += 1
                    continue
                side[p], held[p, OPENED] = wanted, t
                held[p, UNITS_A], held[p, UNITS_B] = wanted * units_a, -wanted * units_b
                _buy(held, sums, net, p, (a, b), opens[t], specs, (taker, edge))
                if had != 0:  # It has turned: two trades, but one order per leg.
                    sums[ORDERS] -= 1 if units_b == 0.0 else 2
        mark(side, held, sums, net, legs, close, t, t - first + 1, equity, spent, exposure)


@inlined
def sizes(notional: float, hedge: float, specs: Floats, a: int, b: int, close: Floats) -> tuple[float, float]:
    """Units of legs `a` and `b` for `notional` in leg a at `close` (N,); 0 where an order would be too small or too
    large. `specs` and `hedge` as in `Tape`.

    As `core.execution.sizing.size_legs`: the leg with the coarser lot is cut to whole lots first, the other then
    matches the value that is left. (The factor gives back the last bits that the divisions have lost.)
    """
    back = 1.0 + 1e-12
    step_a = specs[a, UNIT] * close[a]
    lots_b = 0.0
    if hedge == 0.0:
        lots_a = np.floor(notional / step_a * back)
    else:
        step_b = specs[b, UNIT] * close[b] / hedge
        if step_a >= step_b:
            lots_a = np.floor(notional / step_a * back)
            lots_b = np.floor(lots_a * step_a / step_b * back)
        else:
            lots_b = np.floor(notional / step_b * back)
            lots_a = np.floor(lots_b * step_b / step_a * back)
        if not specs[b, LEAST] <= lots_b <= specs[b, MOST]:
            lots_a = lots_b = 0.0
    if not specs[a, LEAST] <= lots_a <= specs[a, MOST]:
        lots_a = lots_b = 0.0
    return lots_a * specs[a, UNIT], lots_b * specs[b, UNIT]


@inlined
def profit(held: Floats, p: int, a: int, b: int, close: Floats) -> float:
    """Profit of the open pair `p` (legs `a`, `b`) at `close` (N,), entry costs and funding so far included."""
    worth = held[p, UNITS_A] * close[a]
    if held[p, UNITS_B] != 0.0:
        worth += held[p, UNITS_B] * close[b]
    return float(held[p, FLOW] + worth)


@inlined
def _buy(
    held: Floats,
    sums: Floats,
    net: Floats,
    p: int,
    legs: tuple[int, int],
    opens: Floats,
    specs: Floats,
    rates: tuple[float, float],
) -> None:
    """Pay for the units that pair `p` takes."""
    a, b = legs
    held[p, FLOW] = held[p, SLIPPAGE] = held[p, FEES] = held[p, FUNDING] = 0.0
    net[a] += held[p, UNITS_A]
    held[p, GROSS] = fill(held, sums, p, held[p, UNITS_A], opens[a], specs[a, TICK], rates)
    if held[p, UNITS_B] != 0.0:
        net[b] += held[p, UNITS_B]
        held[p, GROSS] += fill(held, sums, p, held[p, UNITS_B], opens[b], specs[b, TICK], rates)


@inlined
def _sell(
    held: Floats,
    sums: Floats,
    net: Floats,
    p: int,
    legs: tuple[int, int],
    opens: Floats,
    specs: Floats,
    rates: tuple[float, float],
) -> None:
    """Be paid for the units that pair `p` gives back."""
    a, b = legs
    net[a] -= held[p, UNITS_A]
    fill(held, sums, p, -held[p, UNITS_A], opens[a], specs[a, TICK], rates)
    if held[p, UNITS_B] != 0.0:
        net[b] -= held[p, UNITS_B]
        fill(held, sums, p, -held[p, UNITS_B], opens[b], specs[b, TICK], rates)


@inlined
def fill(
    held: Floats, sums: Floats, p: int, units: float, middle: float, tick: float, rates: tuple[float, float]
) -> float:
    """Pay for signed `units` around the price `middle`, with `rates` (fee, edge); the value that changed hands."""
    taker, edge = rates
    half = middle * edge
    if tick > 0.0:
        # As `core.matching.order_book`: the book's best prices lie on ticks, one away from the mark at least.
        ticks = np.rint(middle / tick)
        half = max(1.0, ticks * edge)
        # (What is whole stays whole, whatever bits it has lost.)
        quote = np.ceil(ticks + half - 1e-9) if units > 0.0 else np.floor(ticks - half + 1e-9)
        middle, half = ticks * tick, abs(quote - ticks) * tick
    size = abs(units)
    value = size * (middle + half if units > 0.0 else middle - half)
    fee = -taker * value
    flow = fee - value if units > 0.0 else fee + value
    held[p, FLOW] += flow
    held[p, SLIPPAGE] -= size * half
    held[p, FEES] += fee
    sums[CASH] += flow
    sums[SLIPPAGE] -= size * half
    sums[FEES] += fee
    sums[TURNOVER] += value
    sums[ORDERS] += 1
    return value


@inlined
def tell(side: Sides, held: Floats, sums: Floats, trades: Floats, p: int, t: int) -> None:
    """Count the round trip of pair `p` that has ended in bar `t`, and write it down where there is room."""
    n = int(sums[TRADES])
    sums[TRADES] += 1
    sums[WINS] += held[p, FLOW] > 0.0
    sums[BARS] += t - held[p, OPENED]
    if n < len(trades):
        for column in range(PAIR):
            trades[n, column] = held[p, column]
        trades[n, PAIR], trades[n, SIDE], trades[n, CLOSED] = p, side[p], t


@inlined
def settle(side: Sides, held: Floats, sums: Floats, legs: Ints, specs: Floats, close: Floats, rate: Floats) -> None:
    """Funding of `rate` (N,): a long pays a positive one on its value at the last mark, `close` (N,) to a tick."""
    for p in range(len(side)):
        if side[p] != 0:
            a, b = legs[0, p], legs[1, p]
            paid = held[p, UNITS_A] * rate[a] * _to_tick(close[a], specs[a, TICK])
            if held[p, UNITS_B] != 0.0:
                paid += held[p, UNITS_B] * rate[b] * _to_tick(close[b], specs[b, TICK])
            held[p, FLOW] -= paid
            held[p, FUNDING] -= paid
            sums[CASH] -= paid
            sums[FUNDING] -= paid


@inlined
def _to_tick(price: float, tick: float) -> float:
    return np.rint(price / tick) * tick if tick > 0.0 else price


@inlined
def mark(
    side: Sides,
    held: Floats,
    sums: Floats,
    net: Floats,
    legs: Ints,
    close: Floats,
    t: int,
    row: int,
    equity: Floats,
    spent: Floats,
    exposure: Floats,
) -> None:
    """Write the close of bar `t` into `row` of the record's arrays."""
    now = sums[CASH]
    for i in range(len(net)):
        if net[i] != 0.0:
            now += net[i] * close[t, i]
    equity[row] = now
    for kind in range(3):
        spent[row, kind] = sums[kind]
    if len(exposure):
        for p in range(len(side)):
            if side[p] != 0:
                worth = abs(held[p, UNITS_A]) * close[t, legs[0, p]]
                if held[p, UNITS_B] != 0.0:
                    worth += abs(held[p, UNITS_B]) * close[t, legs[1, p]]
                exposure[row, p] = side[p] * worth
