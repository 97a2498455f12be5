"""From the settings to the fills, by the way that a live run takes, over a made-up market."""

from decimal import Decimal as D

from core.backtest.events import Assumptions, EventRun, market_of, run_events
from core.compose import make_limits, make_trader
from core.config import Settings
from core.data.panel import Panel
from core.domain.backtest import Source
from core.matching.listing import swap
from core.strategies.registry import strategy

WARM = 450
"""Bars of history before the first that is traded."""


def backtest(settings: Settings, panel: Panel, name: str) -> EventRun:
    """The strategy of that name on the bars of `panel` from `WARM` on."""
    specs = {s.id: s for s in (swap(a, float(panel.close[0, i])) for i, a in enumerate(panel.assets))}
    trader = make_trader(settings, strategy(name, settings), None, specs, make_limits(settings, D("0.0005")))
    first, last = int(panel.ts[WARM]), int(panel.ts[-1])
    source = Source("synthetic", "", "", "", panel.assets, panel.bar_ms, first, last)
    market = market_of(panel, WARM, 0, 7)
    return run_events([trader], market, D(100_000), Assumptions(), source, seed=7, catastrophe_share=D("0.25"))
