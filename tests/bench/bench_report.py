"""What counting and reporting a run costs: a year of 1h bars, ten assets, 45 pairs, about a thousand trades."""

from time import perf_counter

import numpy as np

from core.backtest.document import analyse
from core.backtest.report import report
from core.backtest.statistics import overfitting_probability
from tests.backtest.made import made_result
from tests.bench.row import Row

REPORT_S, SWEEP_S = 2.0, 2.0


def run() -> list[Row]:
    """Figures with their intervals and the page with five compared runs; the overfitting of a sweep of 1,000."""
    runs = [made_result(seed, 8_760, 45, trades=1_000, edge=0.001) for seed in range(6)]
    report(analyse(runs[0]))
    begun = perf_counter()
    told = [analyse(one) for one in runs]
    counted = perf_counter() - begun
    page = report(told[0], told[1:])
    whole = perf_counter() - begun
    sweep = np.random.default_rng(0).normal(0, 0.01, (1_000, 8_760))
    begun = perf_counter()
    overfitting_probability(sweep)
    folded = perf_counter() - begun
    return [
        Row(
            "six runs counted, one page written",
            f"{whole * 1e3:.0f} ms, {len(page) / 1e6:.1f} MB",
            f"{counted * 1e3:.0f} ms counting alone",
            counted / whole,
            f"< {REPORT_S:g} s",
            whole < REPORT_S,
        ),
        Row(
            "overfitting of 1,000 parameter sets, 12,870 splits",
            f"{folded * 1e3:.0f} ms",
            "none in this run",
            0.0,
            f"< {SWEEP_S:g} s",
            folded < SWEEP_S,
        ),
    ]
