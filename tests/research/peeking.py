"""Features as people write them: two that are honest, and the usual ways to know the future by mistake."""

import numpy as np
import pandas as pd

from core.data.panel import Panel
from core.features.catalog import Arrays, Feature


def standardised(prices: np.ndarray) -> np.ndarray:
    mean = prices.mean(axis=0)
    spread = prices.std(axis=0)
    return (prices - mean) / spread


def looped(prices: np.ndarray) -> np.ndarray:
    out = np.zeros_like(prices)
    for t in range(len(prices) - 2):
        out[t] = prices[t + 2] / prices[t] - 1.0
    return out


def columns(panel: Panel) -> Arrays:
    close = panel.close
    next_open = np.vstack([panel.open[1:], panel.open[-1:]])
    table = pd.DataFrame(close)
    out = {}
    out["momentum"] = table.pct_change(3).to_numpy()
    out["average"] = np.stack([close[max(0, t - 9) : t + 1].mean(axis=0) for t in range(len(close))])
    out["shifted"] = table.shift(-3).to_numpy()
    out["centred"] = table.rolling(11, center=True).mean().to_numpy()
    out["normal"] = standardised(close)
    highest = table.rolling(24).max().shift(-24)
    out["label"] = (highest / table - 1.0 > 0.01).to_numpy()
    out["forming"] = next_open / close
    out["early"] = np.vstack([panel.funding[1:], panel.funding[-1:]])
    out["looped"] = looped(close)
    out["ranked"] = table.rank().to_numpy()
    out["filled"] = table.where(table > table.shift(1)).bfill().to_numpy()
    out["calendar"] = np.repeat(np.sin(panel.ts / 1e11)[:, None], close.shape[1], axis=1)
    out["counted"] = np.repeat(np.linspace(0.0, 1.0, len(close))[:, None], close.shape[1], axis=1)
    return out


class Peeking:
    """The columns above, as a feature of the catalog."""

    warmup = 30

    def __init__(self, assets: tuple[str, ...], bar_ms: int) -> None:
        self.assets, self.bar_ms = assets, bar_ms

    def history(self, panel: Panel) -> Arrays:
        return columns(panel)

    def update(self, bar: object) -> Arrays:
        raise NotImplementedError


FEATURE = Feature("peeking", Peeking)
