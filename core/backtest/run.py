"""One run by name, and the baselines beside it, under the configured assumptions."""

import msgspec
import numpy as np

from core.backtest.baselines import baselines
from core.backtest.events import Assumptions, market_of, run_events
from core.backtest.prepare import Prepared, bundle_of
from core.backtest.result import Result
from core.backtest.vectorised import run_vectorised
from core.backtest.weights import run_weights
from core.compose import make_limits, make_trader
from core.config import Settings
from core.data.panel import Panel
from core.domain.backtest import BASELINES
from core.domain.market import Floats
from core.jobs import Progress
from core.matching.replay import Market
from core.strategies.registry import Strategy, strategy
from core.trader import Trader

NO_MODEL = "zscore"
"""The strategy whose universe and sizes a baseline is given, where it is run by itself."""


class Desk(msgspec.Struct, frozen=True):
    """All that a run needs: who trades, on what, under which assumptions."""

    settings: Settings
    prepared: Prepared
    trader: Trader
    market: Market
    assumed: Assumptions


def assumptions_of(settings: Settings) -> Assumptions:
    """What the configuration supposes of the market."""
    told = settings.backtest
    book = str(settings.beside(told.book)) if told.book else ""
    return Assumptions(**told.model_dump() | {"book": book})


def rule_of(name: str, settings: Settings) -> Strategy:
    """The strategy of that name; of a baseline of single assets, the one that it is measured by."""
    return strategy(NO_MODEL if name in BASELINES else name, settings, BASELINES)


def desk_of(settings: Settings, prepared: Prepared, rule: Strategy, progress: Progress) -> Desk:
    """The desk of a strategy; its model is trained if there is none of this data yet."""
    bundle = bundle_of(settings, prepared, rule.model, progress) if rule.model else None
    assumed = assumptions_of(settings)
    market = market_of(prepared.panel, prepared.start, 0, prepared.seed)
    limits = make_limits(settings, assumed.rules().taker)
    trader = make_trader(settings, rule, bundle, {spec.id: spec for spec in market.instruments}, limits)
    return Desk(settings, prepared, trader, market, assumed)


def run(desk: Desk, engine: str, progress: Progress) -> Result:
    """Run the desk's strategy over its period, by either engine."""
    cash, source, seed = desk.settings.demo.cash, desk.prepared.source, desk.prepared.seed
    if engine == "vectorised":
        if desk.trader.strategy.model == "cluster":
            return run_weights(desk.trader, desk.market, float(cash), desk.assumed, source, seed=seed)
        return run_vectorised(desk.trader, desk.market, float(cash), desk.assumed, source, seed=seed)
    return run_events(
        [desk.trader],
        desk.market,
        cash,
        desk.assumed,
        source,
        seed=seed,
        catastrophe_share=desk.settings.risk.catastrophe_share,
        progress=progress,
    ).result


def compare(desk: Desk) -> list[Result]:
    """The baselines on the same bars, with the same costs."""
    market = market_of(desk.prepared.panel, desk.prepared.start, 0, desk.prepared.seed)
    return baselines(desk.trader, market, float(desk.settings.demo.cash), desk.assumed, desk.prepared.source)


def index_of(panel: Panel, start: int) -> Floats:
    """(T+1,) the market itself at the rows of a result: equal shares of all assets priced at the start, held."""
    closes = panel.close[start - 1 :]
    with np.errstate(invalid="ignore"):
        shares: Floats = np.nanmean(closes / closes[0], axis=1)
    return shares
