"""The engine's two promises to its event loop: a bar's step under 10 ms, and a lag p99 under 20 ms in the demo."""

import os
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from time import perf_counter, sleep

import numpy as np

from core.data.synthetic import synthetic_panel
from core.domain.account import Holdings
from core.domain.errors import UserError
from core.domain.instrument import Instrument
from core.domain.snapshot import Command, Status
from core.execution.risk import Limits, Standing
from core.features.pairs import PairFeatures
from core.link.client import ask
from core.matching.listing import swap
from core.models.forest import LEAVES, QUESTIONS, Forest
from core.strategies.params import DivergenceParams
from core.strategies.registry import strategy
from core.trader import Names, Trader
from tests.bench.row import Row

STEP_MS, LAG_MS = 10.0, 20.0
DEMO_S = 20


def run() -> list[Row]:
    """Both, against the budget that the house allows them."""
    step, lag = _step(), _lag()
    return [
        Row(
            "step: closed bar to decision, 45 pairs, 300 trees, p99",
            f"{step:.2f} ms",
            "-",
            STEP_MS / step,
            f"< {STEP_MS:g} ms",
            step < STEP_MS,
        ),
        Row(
            f"loop lag of the engine over {DEMO_S} s of demo, p99",
            f"{lag:.2f} ms",
            "-",
            LAG_MS / lag,
            f"< {LAG_MS:g} ms",
            lag < LAG_MS,
        ),
    ]


def _forest(width: int) -> Forest:
    chance = np.random.default_rng(7)
    return Forest(
        chance.integers(0, width, (300, QUESTIONS)).astype(np.int32),
        chance.normal(size=(300, QUESTIONS)).astype(np.float32),
        chance.random((300, LEAVES)),
        np.array([1.0, 0.0]),
    )


def _step() -> float:
    """p99 of `Trader.on_bar` over 500 live bars: features, scores, decision, sizes, the risk gate."""
    panel = synthetic_panel(7, 1000)
    features = PairFeatures(panel.assets)
    specs: dict[str, Instrument] = {
        spec.id: spec
        for asset, price in zip(panel.assets, panel.close[0], strict=True)
        if (spec := swap(asset, float(price)))
    }
    big = Decimal(10**9)
    limits = Limits(Decimal("0.95"), big, big, Decimal(10), Decimal(1), Decimal("0.0005"))
    trader = Trader(
        strategy("divergence"), DivergenceParams(), features, _forest(len(features.names)), specs, limits
    )
    standing, names, held = Standing(big, Decimal(0), big), Names("bench", 0), Holdings((), {}, {}, big)
    for t in range(500):
        trader.warm(panel.bar(t))
    spent = []
    for t in range(500, 1000):
        bar = panel.bar(t)
        start = perf_counter()
        trader.on_bar(bar, held, standing, names)
        spent.append(perf_counter() - start)
    return float(np.percentile(spent, 99)) * 1e3


def _lag() -> float:
    """p99 of the loop's lateness, as the engine of a running demo reports it."""
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "COCKPIT_HOME": home}
        words = [sys.executable, "-m", "core.engine", "demo", "--strategy", "zscore"]
        engine = subprocess.Popen(words, env=environ, stdout=subprocess.DEVNULL)
        socket = Path(home) / "engine.sock"
        try:
            while _status(socket) is None:
                assert engine.poll() is None, "the demo's engine has ended"
                sleep(0.2)
            sleep(DEMO_S)
            status = _status(socket)
            assert status is not None
            return status.lag_ms
        finally:
            engine.terminate()
            engine.wait(30)


def _status(socket: Path) -> Status | None:
    """The engine's, once it trades."""
    try:
        found = ask(socket, Command("bench", "status")).snapshot
    except UserError:
        return None
    return found.status if found is not None and found.status.phase == "trading" else None
