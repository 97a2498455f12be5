"""A walk-forward of the cluster model over a small made-up market."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from core.backtest.result import Result
from core.config import Settings
from core.config.settings import ClusterTraining
from core.data.panel import Ints, Panel
from core.data.synthetic import planted_market
from core.domain.market import Floats
from core.jobs import Progress
from core.research.cluster_walk import Account, ClusterWalk
from core.research.walk_forward import Kept

DAY_MS = 86_400_000
RECIPE = ClusterTraining(
    n_clusters=2,
    window=10,
    epochs=2,
    train_days=130,
    test_days=25,
    threshold=0.4,
    similarity_threshold=0.3,
    cost_bps=5.0,
    seed=3,
)
BARS = 230


def market(seed: int = 5, bars: int = BARS) -> Panel:
    """Two groups of three and an outlier, daily bars."""
    return planted_market(seed, bars, (3, 3), 1, DAY_MS)[0]


def small_walk(panel: Panel | None = None) -> ClusterWalk:
    return ClusterWalk(market() if panel is None else panel, RECIPE, Account.of(Settings()), "planted")


def gone(walk: ClusterWalk, folder: Path, progress: Progress) -> tuple[tuple[Kept, ...], list[Result]]:
    """The walk, its result and what is beside it."""
    done = walk.train(folder, progress)
    played = walk.played(folder, done)
    return done, [played.result(), *played.beside()]


def silent(share: float, text: str) -> None:
    """Nobody listens."""


def disturbed(panel: Panel, first: int) -> Panel:
    """The same market with other prices from row `first` on."""
    rng = np.random.default_rng(1)
    factor = np.exp(np.cumsum(rng.normal(0, 0.05, panel.close.shape), axis=0))
    factor[:first] = 1.0
    prices = (panel.open, panel.high, panel.low, panel.close)
    opens, high, low, close = (np.ascontiguousarray(grid * factor) for grid in prices)
    return replace(panel, open=opens, high=high, low=low, close=close)


def without(panel: Panel, asset: str, rows: slice | Ints) -> Panel:
    """The market with one asset silent in `rows`."""
    volume: Floats = panel.volume.copy()
    volume[rows, panel.assets.index(asset)] = 0.0
    grids = panel.open, panel.high, panel.low, panel.close, volume
    return Panel.of(panel.ts, panel.assets, grids, panel.bar_ms)


def models(folder: Path) -> list[bytes]:
    """The model files of a walk, by name."""
    return sorted(file.read_bytes() for file in folder.glob("cluster-*.safetensors"))
