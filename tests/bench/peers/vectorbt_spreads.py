"""Z-score spreads in vectorbt, timed: `python vectorbt_spreads.py SPREADS.npz SETS AT_ONCE REPEATS`, one JSON line.

Runs with the peers' own interpreter, so it imports nothing of ours. SPREADS.npz: `z` (T, P), `open`, `close` and
`units` (T, 2P), what an entry decided at a bar would take, of both legs of each pair, side by side; `entry` and
`exit` (S,), `fee`, `edge`, `cash`. The first SETS of the S are run, AT_ONCE in one portfolio. One set alone is
given its targets; of more, making them is part of the work, as it is for us.
"""

import json
import resource
import sys
import time

import numpy as np
import pandas as pd
import vectorbt as vbt


def last(mask):
    """Row of the last True at or before each row."""
    rows = np.arange(len(mask))[:, None]
    return np.maximum.accumulate(np.where(mask, rows, -1), axis=0)


def targets(data, entry, exit):
    """(T, 2P) units wanted of each leg at each open; NaN where nothing changes."""
    z = data["z"]
    long = last(z < -entry) > last(~(z < -exit))
    short = last(z > entry) > last(~(z > exit))
    side = long.astype(np.int8) - short.astype(np.int8)
    changed = np.diff(side, axis=0, prepend=np.int8(0)) != 0
    signed = np.repeat(side, 2, axis=1) * np.tile([1.0, -1.0], z.shape[1]) * data["units"]
    wanted = np.full(signed.shape, np.nan)
    np.copyto(wanted[1:], signed[:-1], where=np.repeat(changed[:-1], 2, axis=1))
    return wanted


def portfolio(data, wanted, sets):
    """Every leg a column with cash of its own: faster than one account of them all, and the same in sum."""
    return vbt.Portfolio.from_orders(
        pd.DataFrame(np.tile(data["close"], (1, sets)) if sets > 1 else data["close"]),
        wanted,
        size_type="targetamount",
        price=np.tile(data["open"], (1, sets)) if sets > 1 else data["open"],
        fees=float(data["fee"]),
        slippage=float(data["edge"]),
        init_cash=float(data["cash"]),
        freq="1h",
    )


def run(data, sets, at_once, ready):
    """Profit at the last close and orders of each set."""
    profits, orders = [], []
    for first in range(0, sets, at_once):
        some = range(first, min(first + at_once, sets))
        wanted = ready
        if wanted is None:
            wanted = np.hstack([targets(data, data["entry"][s], data["exit"][s]) for s in some])
        held = portfolio(data, wanted, len(some))
        legs = data["close"].shape[1]
        value = np.asarray(held.value()).reshape(len(wanted), len(some), legs).sum(axis=2)
        profits += (value[-1] - legs * float(data["cash"])).tolist()
        orders += np.asarray(held.orders.count()).reshape(len(some), legs).sum(axis=1).tolist()
    return profits, orders


def main():
    file, sets, at_once, repeats = sys.argv[1], *map(int, sys.argv[2:5])
    with np.load(file) as stored:
        data = {name: stored[name] for name in stored.files}
    ready = targets(data, data["entry"][0], data["exit"][0]) if sets == 1 else None
    # The first call compiles; of a long sweep, a short one does that as well.
    profits, orders = run(data, min(sets, 2), min(at_once, 2), ready)
    before, spent = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for _ in range(repeats):
        began = time.perf_counter()
        profits, orders = run(data, sets, at_once, ready)
        spent.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = {
        "seconds": float(np.median(spent)),
        "profits": profits,
        "orders": orders,
        "peak_mb": peak / 1024,
        "more_mb": (peak - before) / 1024,
        "version": vbt.__version__,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
