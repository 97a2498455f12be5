"""A panel as the cluster model is trained on it: bars of the market, log prices, what a weight earns. No torch."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.data.panel import Ints, Panel
from core.domain.market import Floats
from core.features.pair_loop import Flags
from core.jit import jit
from core.models.cluster.rule import feed, standing

Singles = NDArray[np.float32]


DAY_MS = 86_400_000


class Market(NamedTuple):
    """R bars at which at least one asset trades. `rows` (R,) of the panel; `logs` (R, N) log closes as `rule.feed`
    knows them, NaN where unknown; `earned` (R, N): what a weight of 1, decided at the close of a bar, earns from
    the next open to the one after, funding that settles in between paid; 0 in the last two bars, without one."""

    rows: Ints
    logs: Floats
    earned: Floats

    def __len__(self) -> int:
        return len(self.rows)


def market(panel: Panel) -> Market:
    """The bars of the market in `panel`.

    A position decided at the close of t is filled at the open of t+1 and gone at that of t+2. A long pays the
    funding rates that settle from the one open until before the other (`Panel.funding_rate` of bar t+1), each on
    the value held at the open: the price's move until the settlement is left out. A silent asset's open repeats its
    last close, so it earns nothing while it is silent, and its whole gap at once when it is back."""
    rows = np.flatnonzero(panel.valid.any(axis=1))
    logs = np.empty((len(rows), len(panel.assets)))
    known_logs(panel.close[rows], panel.valid[rows], logs)
    earned = np.zeros_like(logs)
    if len(rows) > 2:
        opens = panel.open[rows]
        paid = np.add.reduceat(np.nan_to_num(panel.funding_rate), rows, axis=0)
        earned[:-2] = np.nan_to_num(opens[2:] / opens[1:-1] - 1.0 - paid[1:-1])
    return Market(rows, logs, earned)


def bars_of(days: int, bar_ms: int) -> int:
    """Bars of the market in so many of its days: 252 of them are 252 daily bars, or 6,048 hourly ones."""
    return max(1, days * DAY_MS // bar_ms)


@jit
def known_logs(close: Floats, traded: Flags, logs: Floats) -> None:
    """Fill `logs` (R, N) from R bars of the market."""
    n = close.shape[1]
    last, age = np.full(n, np.nan), np.zeros(n, np.int64)
    for t in range(close.shape[0]):
        feed(close[t], traded[t], last, age, logs[t])


@jit
def standings(logs: Floats, window: int, z: Floats, std: Floats, known: Flags) -> None:
    """Fill z, deviation and whether they are a feature, each (R, N), of every window in `logs` (R, N)."""
    z[: window - 1], std[: window - 1], known[: window - 1] = 0.0, 1.0, False
    for t in range(window - 1, logs.shape[0]):
        standing(logs, t, window, z[t], std[t], known[t])


@jit
def frame(logs: Floats, first: int, stride: int, out: Singles) -> None:
    """Fill `out` (L, Q, N): L bars from `first` + q `stride` on, less their own mean, 0 where unknown or past the
    end. Anchored so closely, single precision is enough: what is left is of the size of the window's deviation."""
    length, blocks, n = out.shape
    total, count = np.empty(n), np.empty(n)
    for q in range(blocks):
        total[:], count[:] = 0.0, 0.0
        start = first + q * stride
        stop = min(start + length, logs.shape[0])
        for t in range(start, stop):
            for i in range(n):
                x = logs[t, i]
                there = x == x
                total[i] += x if there else 0.0
                count[i] += there
        for i in range(n):
            total[i] = total[i] / count[i] if count[i] > 0 else 0.0
        for j in range(length):
            t = start + j
            for i in range(n):
                x = logs[t, i] - total[i] if t < stop else 0.0
                out[j, q, i] = x if x == x else 0.0
