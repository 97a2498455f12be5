"""Results without an engine: seeded, and consistent as an engine's are (equity = deposit + trades + costs)."""

from itertools import combinations

import numpy as np

from core.backtest.result import Result, Trade
from core.data.synthetic import ASSETS, HOUR_MS, START_MS
from core.domain.backtest import Source

DEPOSIT = 10_000.0
FEE, SLIP = 0.0005, 0.0002
EXITS = ("z crossed zero", "stop", "target", "time")


def made_result(
    seed: int,
    bars: int = 2_000,
    pairs: int = 10,
    *,
    edge: float = 0.0,
    trades: int = 200,
    size: float = 2_000.0,
    bar_ms: int = HOUR_MS,
    strategy: str = "divergence",
) -> Result:
    """A run of `bars` bars over the first `pairs` pairs of ten assets, about `trades` round trips of `size` gross.

    `edge` is the mean profit of a trade at mid prices, as a share of its gross, before costs."""
    draw = np.random.default_rng(seed)
    names = tuple(f"{a}/{b}" for a, b in combinations(ASSETS, 2))[:pairs]
    moves = np.zeros((bars + 1, 4))  # price, slippage, fees, funding
    exposure = np.zeros((bars + 1, len(names)))
    free = np.zeros(len(names), np.int64)
    done: list[Trade] = []
    waits = draw.exponential(bars / trades, trades)
    for start in np.sort(np.cumsum(waits).astype(int)):
        column, length = int(draw.integers(len(names))), int(draw.integers(1, 60))
        first, last = max(int(start), int(free[column])) + 1, max(int(start), int(free[column])) + 1 + length
        if last > bars:
            continue
        free[column] = last
        side = int(draw.choice((-1, 1)))
        path = size * (0.004 * draw.standard_t(4, length) + edge / length)
        moves[first + 1 : last + 1, 0] += path
        moves[(first, last), 1] -= size * SLIP
        moves[(first, last), 2] -= size * FEE
        settled = np.arange(first + 1, last + 1) % 8 == 0
        funding = np.where(settled, draw.normal(0, 1e-4 * size, length), 0.0)
        moves[first + 1 : last + 1, 3] += funding
        exposure[first:last, column] = side * (size + np.concatenate([[0.0], np.cumsum(path)[:-1]]))
        times = START_MS + (first - 1) * bar_ms, START_MS + (last - 1) * bar_ms, length
        money = size, float(path.sum()), -2 * size * SLIP, -2 * size * FEE, float(funding.sum())
        why = f"z {-2 * side:+.1f}", str(draw.choice(EXITS))
        done.append(Trade(strategy, names[column], side, *times, *money, *why, score=float(draw.uniform(1, 3))))
    return Result(
        strategy=strategy,
        engine="vectorised",
        params={"z_window": 24, "z_entry": 1.0, "model": "none"},
        source=Source(
            name="made", venue="synthetic", manifest="", content=f"{seed:064x}", assets=ASSETS, bar_ms=bar_ms,
            first_ms=START_MS, last_ms=START_MS + (bars - 1) * bar_ms,
        ),
        assumptions={"fees": "5 bp of the value traded", "slippage": "2 bp", "fills": "at the next open"},
        seed=seed,
        ts=START_MS + np.arange(bars + 1, dtype=np.int64) * bar_ms,
        equity=DEPOSIT + np.cumsum(moves.sum(axis=1)),
        pairs=names,
        exposure=exposure,
        costs=np.cumsum(moves[:, 1:], axis=0),
        trades=tuple(sorted(done, key=lambda trade: trade.closed)),
        orders=4 * len(done),
        fills=4 * len(done),
        digest=f"{seed:064x}",
    )  # fmt: skip
