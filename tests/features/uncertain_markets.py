"""Markets with what goes wrong in them, and other futures for them."""

import numpy as np

from core.data.panel import Panel
from core.data.synthetic import synthetic_panel

ASSETS = ("BTC", "ETH", "SOL", "DOGE")


def market(seed: int, bars: int, assets: tuple[str, ...] = ASSETS) -> Panel:
    """A synthetic market in which single bars are silent, and the last asset is listed 20 bars late."""
    panel = synthetic_panel(seed, bars, assets)
    volume = panel.volume.copy()
    volume[np.random.default_rng(seed).random(volume.shape) < 0.01] = 0.0
    volume[:20, -1] = 0.0
    grids = (panel.open, panel.high, panel.low, panel.close, volume)
    return Panel.of(panel.ts, panel.assets, grids, panel.bar_ms, panel.funding_rate)


def another_future(panel: Panel, cut: int, seed: int) -> Panel:
    """The same bars before `cut`; from there on other prices, volumes, funding and silent bars."""
    rng = np.random.default_rng(seed)
    left = (len(panel) - cut, len(panel.assets))
    moves = np.exp(np.cumsum(rng.normal(0, 0.05, left), axis=0))
    grids = [grid.copy() for grid in (panel.open, panel.high, panel.low, panel.close, panel.volume)]
    for prices in grids[:4]:
        prices[cut:] *= moves
    grids[4][cut:] *= rng.choice([0.0, 0.5, 3.0], left)
    rate = panel.funding_rate.copy()
    rate[cut:] *= -3.0
    return Panel.of(panel.ts, panel.assets, grids, panel.bar_ms, rate, panel.funding_period_ms)
