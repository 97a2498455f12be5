"""Z-score spreads through our kernel, timed: `python -m tests.bench.spreads SPREADS.npz SETS REPEATS`, a JSON line.

A process of its own, as the peer's, so that both are measured alike: time after imports and the first call, and the
most memory that the process ever held. Every pair trades for itself: it is long below -entry until above -exit,
short above entry until below exit, in `NOTIONAL` a leg.
"""

import json
import resource
import sys
import time

import numpy as np

from core.backtest.events import market_of
from core.backtest.kernel import ORDERS, TICK, Books, Costs, Record, Sides, Tape, follow, sizes
from core.backtest.sweep import figures
from core.backtest.vectorised import tape_of
from core.data.synthetic import ASSETS, synthetic_panel
from core.domain.instrument import pairs_of
from core.domain.market import Floats
from core.features.pairs import PairFeatures
from core.jit import jit

BARS, SEED, CASH, NOTIONAL = 8760, 7, 1e7, 1000.0
COSTS = Costs(taker=0.0005, half_spread=0.0001)
ENTRY, EXIT = 1.9, 0.0
"""The single run: about 54,786 orders."""


@jit
def sides(z: Floats, entry: float, leave: float, out: Sides) -> None:
    """The rule, into `out` (T, P)."""
    held = np.zeros(z.shape[1], np.int8)
    for t in range(z.shape[0]):
        for p in range(z.shape[1]):
            now, was = z[t, p], held[p]
            long = (now < -entry) | ((was > 0) & (now < -leave))
            short = (now > entry) | ((was < 0) & (now > leave))
            held[p] = np.int8(long) - np.int8(short)
            out[t, p] = held[p]


def market(bars: int = BARS, assets: tuple[str, ...] = ASSETS) -> tuple[Floats, Tape]:
    """z (T, P) of a synthetic market, NaN where it is not known, and what is traded: quotes anywhere, for the peer
    knows no ticks, and no funding, for it knows none."""
    panel, pairs = synthetic_panel(SEED, bars, assets), pairs_of(assets)
    told = PairFeatures(assets).history(panel)
    z = np.where(told.usable, told.features[:, :, 1], np.nan)
    tape = tape_of(panel, market_of(panel, 1, 0, SEED).instruments, pairs)
    tape.specs[:, TICK] = 0.0
    return z, tape._replace(rate=np.zeros_like(tape.rate), settles=np.zeros_like(tape.settles))


def grid(sets: int) -> Floats:
    """(S, 2) the first of 1,000 entries and exits: the single run, then random ones around it."""
    chance = np.random.default_rng(SEED)
    all_of_them = np.column_stack([chance.uniform(0.8, 2.4, 1000), chance.uniform(0.0, 0.5, 1000)])
    all_of_them[0] = ENTRY, EXIT
    return all_of_them[:sets]


def units(tape: Tape) -> Floats:
    """(T, 2P) what an entry decided at each bar takes of both legs."""
    table = np.empty((len(tape.close), 2 * tape.legs.shape[1]))
    for t, close in enumerate(tape.close):
        for p, (a, b) in enumerate(tape.legs.T):
            table[t, 2 * p : 2 * p + 2] = sizes(NOTIONAL, 1.0, tape.specs, a, b, close)
    return table


def write(path: str, sets: int) -> None:
    """What both processes read: `opens`, `closes` (T, N), `legs` and `specs` for us; `open`, `close` and `units`
    (T, 2P), leg by leg, for the peer."""
    z, tape = market()
    both = tape.legs.T.ravel()
    entry, leave = grid(sets).T
    np.savez(
        path,
        z=z,
        opens=tape.open,
        closes=tape.close,
        legs=tape.legs,
        specs=tape.specs,
        open=tape.open[:, both],
        close=tape.close[:, both],
        units=units(tape),
        entry=entry,
        exit=leave,
        fee=COSTS.taker,
        edge=COSTS.half_spread,
        cash=CASH / 100,
    )


def read(path: str) -> tuple[Floats, Tape]:
    """Our half of it."""
    with np.load(path) as stored:
        z, opens, closes, legs, specs = (stored[name] for name in ("z", "opens", "closes", "legs", "specs"))
    bars, assets = opens.shape
    quiet = np.zeros((bars, assets)), np.zeros(bars, np.bool_)
    return z, Tape(opens, closes, *quiet, legs, np.ones(legs.shape[1]), specs)


def main() -> None:
    path, sets, repeats = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    z, tape = read(path)
    chosen = grid(sets)
    bars, pairs = z.shape
    ready = np.zeros(z.shape, np.int8)
    notional, books = np.full(pairs, NOTIONAL), Books.fresh(pairs, tape.open.shape[1], CASH)
    record = Record.of(0, bars, CASH)

    def one(entry: float, leave: float) -> tuple[float, float]:
        books.reset(CASH)
        if sets > 1:
            sides(z, entry, leave, ready)
        follow(tape, COSTS, ready, notional, 0, bars, books, record)
        figures(record.equity)
        return float(record.equity[-1] - CASH), float(books.sums[ORDERS])

    sides(z, ENTRY, EXIT, ready)
    one(ENTRY, EXIT)
    before, spent = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for _ in range(repeats):
        began = time.perf_counter()
        told = [one(entry, leave) for entry, leave in chosen]
        spent.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "seconds": float(np.median(spent)),
                "profits": [profit for profit, _ in told],
                "orders": [orders for _, orders in told],
                "peak_mb": peak / 1024,
                "more_mb": (peak - before) / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
