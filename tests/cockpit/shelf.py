"""A shelf of kept runs for pictures: seeded, with fixed times, whatever folder they lie in."""

import os
from pathlib import Path

from standin import compared, document, keep

from cockpit.backtests import Backtests, Form

RUNS = (
    ("zscore", 12, {"z_entry": 1.0, "z_window": 24}),
    ("divergence", 5, {"z_entry": 1.25, "z_window": 24}),
    ("divergence", 3, {"z_entry": 1.5, "z_window": 24}),
)


PARAMETERS: dict[str, object] = {
    "z_window": 24, "z_entry": 1.0, "z_exit": 0.0, "prob_threshold": 0.5, "correlation_threshold": 0.85,
    "correlation_window": 168, "funding_threshold": 0.0005, "atr_period": 14, "base_size_usdt": 1000.0,
    "stop_mode": "atr", "stop_atr": 10.0, "target_atr": 8.0, "stop_min": 0.02, "stop_max": 0.1,
    "horizon_bars": 102, "cooldown_bars": 0, "max_concurrent_positions": 1, "neutrality": "dollar",
}  # fmt: skip
"""Like those of the settings, but the same for ever."""


def backtests(home: Path) -> Backtests:
    """Three runs and a data set under `home`."""
    for place, (strategy, seed, params) in enumerate(RUNS):
        told = document(seed, strategy, params=params, compared=compared(seed) if place == 0 else ())
        keep(home, f"run-{place}", told, "reports/run.html")
        os.utime(home / "runs" / f"run-{place}" / "result.json", (1_723_100_000 + 3600 * place,) * 2)
    folder = home / "lake" / "perp-1h"
    folder.mkdir(parents=True)
    (folder / "manifest.json").touch()
    form = Form(dict.fromkeys(("divergence", "zscore"), PARAMETERS), "the synthetic market, seed 7")
    return Backtests(home, home / "lake", form)
