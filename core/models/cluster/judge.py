"""How a trained model did on bars that it has not seen: what its weights earned after costs, with an interval."""

from math import sqrt

import numpy as np
import torch

from core.data.panel import Panel
from core.domain.errors import UserError
from core.models.cluster.loss import outcome
from core.models.cluster.rule import NAMES, Clusters
from core.models.cluster.score import ClusterScorer
from core.models.cluster.windows import market

YEAR_MS = 31_557_600_000
ENTERED = 0.01
"""A weight at which a position counts as opened: a tenth of a whole one."""
NORMAL_95 = 1.959963984540054
FEWEST = 20


def judge(panel: Panel, model: Clusters, first_ms: int, cost_bps: float) -> dict[str, float | None]:
    """Figures of the bars of `panel` that open at `first_ms` or later; those before only fill the windows.

    By the formula of the loss (`core.models.cluster.loss`), so without slippage, sizes in lots, or limits: a
    backtest has those. `sharpe` is annualised, `sharpe_low` and `sharpe_high` its 95% interval by Mertens' (2002)
    deviation, which knows skewness and fat tails and supposes independent bars; `net` is the sum of net returns,
    `net_low` and `net_high` likewise; `positions` how often one was opened. UserError: too few such bars."""
    known = market(panel)
    rows = np.flatnonzero(panel.ts[known.rows] >= first_ms)[:-2]  # the last two have no return
    if len(rows) < FEWEST:
        raise UserError(f"{len(rows)} bars to judge the model on: at least {FEWEST} are needed: raise --test-days")
    values = ClusterScorer(model, panel.assets, panel.bar_ms).history(panel).values[known.rows]
    weight = np.ascontiguousarray(values[rows, :, NAMES.index("weight")])
    made = outcome(torch.from_numpy(weight), torch.from_numpy(known.earned[rows]), cost_bps)
    net = made.net.numpy()
    held = np.abs(weight) >= ENTERED
    opened = held & ~np.vstack([np.zeros_like(held[:1]), held[:-1]])
    first, last = (int(panel.ts[known.rows[row]]) for row in (rows[0], rows[-1]))
    yearly = (len(rows) - 1) * YEAR_MS / (last - first)
    total, deviation = float(net.sum()), float(net.std(ddof=1))
    per_bar, error = _sharpe(net / deviation) if deviation > 0 else (None, None)
    margin = NORMAL_95 * deviation * sqrt(len(net))
    return {
        "test_from_ms": first,
        "test_until_ms": last,
        "test_bars": len(rows),
        "cost_bps": cost_bps,
        "positions": int(opened.sum()),
        "turnover": float(made.turnover.mean()),
        "gross": float(made.gross.mean()),
        "net": total,
        "net_low": total - margin,
        "net_high": total + margin,
        "sharpe": _yearly(per_bar, 0.0, error, yearly),
        "sharpe_low": _yearly(per_bar, -NORMAL_95, error, yearly),
        "sharpe_high": _yearly(per_bar, NORMAL_95, error, yearly),
    }


def _sharpe(scaled: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> tuple[float, float]:
    """The ratio per bar of returns of unit deviation, and the deviation of that estimate."""
    ratio = float(scaled.mean())
    off = scaled - ratio
    skew, fourth = float((off**3).mean()), float((off**4).mean())
    return ratio, sqrt(max(1.0 - skew * ratio + (fourth - 1.0) / 4.0 * ratio**2, 1e-12) / (len(scaled) - 1))


def _yearly(ratio: float | None, deviations: float, error: float | None, yearly: float) -> float | None:
    return None if ratio is None or error is None else (ratio + deviations * error) * sqrt(yearly)
