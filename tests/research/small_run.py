"""A short run of the z-score rule through the event-driven backtest."""

from decimal import Decimal

import numpy as np

from core.backtest.events import Assumptions, market_of, run_events
from core.backtest.result import Result
from core.compose import make_limits, make_trader
from core.config import Settings
from core.config.settings import Universe
from core.data.panel import Panel
from core.data.synthetic import synthetic_panel
from core.domain.backtest import Source
from core.strategies.registry import strategy

ASSETS = ("BTC", "ETH", "SOL", "XRP")
WARM = 400


def market(seed: int = 3, bars: int = 1100) -> Panel:
    return synthetic_panel(seed, bars, ASSETS)


def run(panel: Panel) -> Result:
    settings = Settings(universe=Universe(assets=ASSETS))
    market = market_of(panel, WARM, 0, 7)
    instruments = {spec.id: spec for spec in market.instruments}
    trader = make_trader(settings, strategy("zscore"), None, instruments, make_limits(settings, Decimal("0.0005")))
    source = Source("x", "", "", "", ASSETS, panel.bar_ms, int(panel.ts[WARM]), int(panel.ts[-1]))
    cash, share = Decimal(100_000), Decimal("0.25")
    return run_events([trader], market, cash, Assumptions(), source, seed=7, catastrophe_share=share).result


def unfunded(panel: Panel) -> Panel:
    """The same market without funding."""
    grids = (panel.open, panel.high, panel.low, panel.close, panel.volume)
    return Panel.of(panel.ts, panel.assets, grids, panel.bar_ms, np.full(panel.close.shape, np.nan))
