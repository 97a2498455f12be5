"""A recorded demo week, run once more by the event-driven backtest: the same market, model and settings."""

from collections.abc import Mapping
from decimal import Decimal

from core.backtest.events import EventRun, market_of, run_events
from core.backtest.run import assumptions_of
from core.compose import make_limits, make_trader
from core.config import load as load_settings
from core.data.panel import Panel
from core.domain.backtest import Source
from core.models.bundle import load
from core.strategies.registry import strategy
from tests.acceptance.demo import Recording


def backtested(week: Recording, changes: Mapping[str, object] | None = None) -> EventRun:
    """The week's event-driven run, within bars on the path of the demo's exchange. `changes`: of the settings."""
    options = {"backtest.inside": "replay"} | dict(changes or {})
    settings = load_settings(options=options, environ=week.plan.environment(week.home))
    panel = Panel.load(week.home / "exchange" / "market.npz")
    market = market_of(panel, max(week.plan.train_bars, 200), week.plan.bars, settings.demo.seed)
    assumed = assumptions_of(settings)
    bundle = next(week.home.glob("models/*/*.safetensors"), None)
    trader = make_trader(
        settings,
        strategy(week.plan.strategy),
        None if bundle is None else load(bundle),
        {spec.id: spec for spec in market.instruments},
        make_limits(settings, assumed.rules().taker),
    )
    source = Source("demo", "", "", panel.content_hash, panel.assets, panel.bar_ms, 0, 0)
    return run_events(
        [trader],
        market,
        Decimal(week.plan.cash),
        assumed,
        source,
        seed=settings.demo.seed,
        catastrophe_share=settings.risk.catastrophe_share,
    )
