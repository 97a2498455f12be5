"""Runs of one strategy as an audit needs them: on other bars, acted on later, dearer or cheaper."""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.backtest import weights
from core.backtest.baselines import asset_signals
from core.backtest.events import Assumptions, market_of, run_events
from core.backtest.fees import fees
from core.backtest.result import Result
from core.backtest.rule_loop import Known
from core.backtest.slippage import book_rules
from core.backtest.vectorised import compiled_of, gate_of, learn, run_signals, run_vectorised
from core.compose import make_limits, make_trader
from core.config import Settings
from core.data.panel import Panel
from core.domain.backtest import Source
from core.domain.errors import UserError
from core.domain.instrument import Pair
from core.domain.market import Bar
from core.features.pairs import Frame
from core.matching.replay import Market
from core.models.bundle import AnyBundle
from core.strategies import cluster
from core.strategies.cluster import ClusterFeatures
from core.strategies.params import ClusterParams
from core.strategies.registry import Features, Strategy
from core.trader import Trader

Kind = TypeVar("Kind", bound=np.generic)


@dataclass
class Late:
    """Features that arrive one bar late: what a slower trader would have acted on."""

    inner: Features
    before: Frame | None = None

    def update(self, bar: Bar) -> Frame:
        """The frame of the bar before, as if it were this one's; nothing is usable on the first."""
        frame = self.inner.update(bar)
        late = self.before or msgspec.structs.replace(frame, usable=np.zeros_like(frame.usable))
        self.before = frame
        return msgspec.structs.replace(late, ts=frame.ts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@dataclass(frozen=True)
class Runs:
    """A strategy over bars like those of `source`, traded from bar `start` on. `compiled`: through the compiled
    rule, a second a year; else event by event through its own `decide`, ten times as long."""

    settings: Settings
    rule: Strategy
    bundle: AnyBundle | None
    source: Source
    start: int
    seed: int
    assumed: Assumptions
    compiled: bool = True

    @property
    def engine(self) -> str:
        """The one that makes the runs."""
        return "vectorised" if self.compiled else "events"

    def __call__(self, panel: Panel, *, delay: int = 0, costs: float = 1.0) -> Result:
        """One run over `panel`; see `core.research.edge.Run`."""
        if not self.compiled:
            return self.by_events(panel, delay=delay, costs=costs)
        assumed, market = scaled(self.assumed, costs), market_of(panel, self.start, 0, self.seed)
        trader = self.trader(market, assumed)
        if trader.strategy.decide is cluster.decide and type(trader.features) is ClusterFeatures:
            return self._by_weights(trader, market, assumed, delay)
        known = learn(panel, compiled_of(trader).features, trader.model)
        for _ in range(delay):
            known = late(known)
        cash = float(self.settings.demo.cash)
        return run_vectorised(trader, market, cash, assumed, self.source, seed=self.seed, known=known)

    def _by_weights(self, trader: Trader, market: Market, assumed: Assumptions, delay: int) -> Result:
        """The cluster strategy, through its own compiled rule."""
        assert isinstance(trader.params, ClusterParams) and isinstance(trader.features, ClusterFeatures)
        wishes, gate, cash = (
            weights.learn(market.panel, trader.features),
            gate_of(trader.limits),
            self.settings.demo.cash,
        )
        for _ in range(delay):
            wishes = weights.Wishes._make(map(_moved, wishes))
            wishes.usable[0] = False
        return weights.run_wishes(
            self.rule.name, wishes, market, trader.params, gate, float(cash), assumed, self.source, seed=self.seed
        )

    def by_events(self, panel: Panel, *, delay: int = 0, costs: float = 1.0) -> Result:
        """The same, event by event."""
        assumed, market = scaled(self.assumed, costs), market_of(panel, self.start, 0, self.seed)
        trader = self.trader(market, assumed)
        for _ in range(delay):
            trader.features = cast(Any, Late(trader.features))
        cash, share = self.settings.demo.cash, self.settings.risk.catastrophe_share
        run = run_events([trader], market, cash, assumed, self.source, seed=self.seed, catastrophe_share=share)
        return run.result

    def trader(self, market: Market, assumed: Assumptions) -> Trader:
        """The live trader on this market's instruments."""
        limits = make_limits(self.settings, assumed.rules().taker)
        instruments = {spec.id: spec for spec in market.instruments}
        return make_trader(self.settings, self.rule, self.bundle, instruments, limits)


@dataclass(frozen=True)
class BaselineRuns:
    """A baseline that trades each asset for itself, in the same terms. `size`: entry value of each position."""

    name: str
    size: float
    cash: float
    source: Source
    start: int
    seed: int
    assumed: Assumptions
    engine: str = "vectorised"

    def __call__(self, panel: Panel, *, delay: int = 0, costs: float = 1.0) -> Result:
        """One run over `panel`; see `core.research.edge.Run`."""
        assumed, market = scaled(self.assumed, costs), market_of(panel, self.start, 0, self.seed)
        sides, told = asset_signals(panel)[self.name]
        for _ in range(delay):
            sides = _moved(sides)
        alone = [Pair(asset, asset) for asset in panel.assets]
        each, none = np.full(len(alone), self.size), np.zeros(len(alone))
        return run_signals(
            self.name, sides, market, alone, each, self.cash, assumed, self.source, params=told, hedge=none
        )


def runs_of(
    settings: Settings,
    rule: Strategy,
    bundle: AnyBundle | None,
    source: Source,
    panel: Panel,
    start: int,
    seed: int,
    assumed: Assumptions,
) -> tuple[Runs, Result]:
    """Runs by the fastest engine that can make them, and the first of them."""
    runs = Runs(settings, rule, bundle, source, start, seed, assumed)
    with suppress(UserError):
        return runs, runs(panel)
    runs = replace(runs, compiled=False)
    return runs, runs(panel)


def scaled(assumed: Assumptions, times: float) -> Assumptions:
    """`times` the fees and the spread; at 0 there are none (but for a tick: prices stay on their grid)."""
    if times == 1.0:
        return assumed
    maker, taker = (times * float(rate) * 1e4 for rate in fees(assumed.fees))
    spread = times * float(book_rules(assumed.slippage).spread_bps)
    slippage = f"flat:{spread:g}" if times else "none"
    return msgspec.structs.replace(assumed, fees=f"{maker:g}/{taker:g}", slippage=slippage)


def late(known: Known) -> Known:
    """What was known one bar earlier, in the place of what is known; nothing is usable on the first bar."""
    usable = _moved(known.usable)
    usable[0] = False
    return known._replace(
        z=_moved(known.z),
        probability=_moved(known.probability),
        usable=usable,
        funding=_moved(known.funding),
        atr_pct=_moved(known.atr_pct),
        volatility=_moved(known.volatility),
        day=_moved(known.day),
    )


def _moved(rows: NDArray[Kind]) -> NDArray[Kind]:
    """One row later; the first stands twice."""
    return np.concatenate([rows[:1], rows[:-1]])
