"""Simulated days of the real engine against the local exchange's own code: how many go into an hour of one core."""

import tempfile
from pathlib import Path

from core.config import load
from core.engine.rehearsal.faults import kinds_of
from core.engine.rehearsal.run import rehearse
from tests.bench.row import Row

AIM = 1_000
DAYS = 2
CONFIG = """
[universe]
assets = ["BTC", "ETH", "SOL", "XRP"]
bar = "15m"
[venue]
stale_after_s = 120.0
[engine]
strategies = ["zscore"]
[strategy.divergence]
max_concurrent_positions = 2
correlation_threshold = 1.0
horizon_bars = 12
"""
"""Four assets, traded often: an order is in flight in most hours."""


def run() -> list[Row]:
    """By processor time, which a shared machine stretches less than wall time; the baseline has no fault."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.toml"
        file.write_text(CONFIG, encoding="utf-8")
        settings = load(file)
        rehearse(settings, {}, 1, 1, ())  # What is imported and compiled once is not a day's cost.
        rates = {}
        for faults in ("none", "all"):
            outcome = rehearse(settings, {}, 1, DAYS, kinds_of(faults))
            assert not outcome.broken, outcome.broken
            rates[faults] = outcome.days / outcome.cpu_s * 3600
    calm, hard = rates["none"], rates["all"]
    what, target = f"rehearsal, {DAYS} simulated days, 4 assets, 15m bars", f"{AIM:,} days/h"
    return [
        Row(f"{what}, every fault", _days(hard), f"{_days(calm)} without faults", hard / calm, target, hard >= AIM),
        Row(f"{what}, no fault", _days(calm), "-", calm / AIM, target, calm >= AIM),
    ]


def _days(rate: float) -> str:
    return f"{rate:,.0f} days/h of a core"
