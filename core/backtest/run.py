"""One run of a registered strategy, by either engine, under the configured assumptions."""

from core.backtest.events import Assumptions, market_of, run_events
from core.backtest.prepare import Prepared, Progress, bundle_of
from core.backtest.result import Result
from core.backtest.vectorised import run_vectorised
from core.compose import make_limits, make_trader
from core.config import Settings
from core.strategies.registry import Strategy

ENGINES = ("events", "vectorised")


def assumptions_of(settings: Settings) -> Assumptions:
    """What the configuration supposes of the market."""
    return Assumptions(**settings.backtest.model_dump())


def run_strategy(settings: Settings, prepared: Prepared, rule: Strategy, engine: str, progress: Progress) -> Result:
    """Run `rule` over the prepared period."""
    bundle = bundle_of(settings, prepared, progress) if rule.needs_model else None
    assumed = assumptions_of(settings)
    market = market_of(prepared.panel, prepared.start, 0, prepared.seed)
    limits = make_limits(settings, assumed.rules().taker)
    trader = make_trader(settings, rule, bundle, {spec.id: spec for spec in market.instruments}, limits)
    if engine == "vectorised":
        return run_vectorised(
            trader, market, float(settings.demo.cash), assumed, prepared.source, seed=prepared.seed
        )
    run = run_events(
        [trader],
        market,
        settings.demo.cash,
        assumed,
        prepared.source,
        seed=prepared.seed,
        catastrophe_share=settings.risk.catastrophe_share,
        progress=progress,
    )
    return run.result
