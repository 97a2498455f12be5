"""A shelf of kept runs for pictures: seeded, with fixed times, whatever folder they lie in."""

import os
from pathlib import Path

from standin import compared, document, keep

from cockpit.backtests import Backtests, Form
from core.strategies.params import DivergenceParams

RUNS = (
    ("zscore", 12, {"z_entry": 1.0, "z_window": 24}),
    ("divergence", 5, {"z_entry": 1.25, "z_window": 24}),
    ("divergence", 3, {"z_entry": 1.5, "z_window": 24}),
)


def backtests(home: Path) -> Backtests:
    """Three runs and a data set under `home`."""
    for place, (strategy, seed, params) in enumerate(RUNS):
        told = document(seed, strategy, params=params, compared=compared(seed) if place == 0 else ())
        keep(home, f"run-{place}", told, "reports/run.html")
        os.utime(home / "runs" / f"run-{place}" / "result.json", (1_723_100_000 + 3600 * place,) * 2)
    folder = home / "lake" / "perp-1h"
    folder.mkdir(parents=True)
    (folder / "manifest.json").touch()
    parameters = DivergenceParams().model_dump()
    form = Form(dict.fromkeys(("divergence", "zscore"), parameters), "the synthetic market, seed 7")
    return Backtests(home, home / "lake", form)
