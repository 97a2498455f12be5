"""How the cost of a run grows with its pairs: event-driven and vectorised, features, decisions, orders and all.

The whole of each run over 240 bars is divided by its pairs and bars: what is paid once a bar (or once an order) is
most of it for few pairs, what is paid for each pair is most of it for many.
"""

from collections.abc import Callable
from decimal import Decimal
from time import perf_counter

from core.backtest.events import Assumptions, market_of, run_events
from core.backtest.result import Result, Source
from core.backtest.vectorised import run_vectorised
from core.data.panel import Panel
from core.data.synthetic import synthetic_panel
from core.execution.risk import Limits
from core.features.pairs import FeatureParams, PairFeatures
from core.strategies.params import DivergenceParams
from core.strategies.registry import strategy
from core.trader import Trader
from tests.bench.row import Row

BARS, WARM = 240, 60
MANY = (10, 46, 300)
"""Assets: 45, 1,035 and 44,850 pairs."""
MOST = 3.0
PARAMS = DivergenceParams(min_bars=30, correlation_window=24, max_concurrent_positions=3)
LIMITS = Limits(*(Decimal(text) for text in ("0.95", "50000", "10000", "10", "1", "0.0005")))
FLAT = Assumptions(slippage="flat")


def run() -> list[Row]:
    """On one thread."""
    return [
        _curve("event-driven", lambda panel: run_once(panel, _events)),
        _curve("vectorised", lambda panel: run_once(panel, _vectorised)),
    ]


def run_once(panel: Panel, engine: Callable[[Panel, Trader], Result]) -> tuple[float, Result]:
    """Seconds of one run over the panel, and what it gave."""
    market = market_of(panel, WARM, 0, 7)
    features = PairFeatures(panel.assets, FeatureParams(24, 14, 24, 30), panel.bar_ms)
    instruments = {spec.id: spec for spec in market.instruments}
    trader = Trader(strategy("zscore"), PARAMS, features, None, instruments, LIMITS)
    began = perf_counter()
    result = engine(panel, trader)
    return perf_counter() - began, result


def _events(panel: Panel, trader: Trader) -> Result:
    market = market_of(panel, WARM, 0, 7)
    share = Decimal("0.25")
    return run_events(
        [trader], market, Decimal(100_000), FLAT, _source(panel), seed=7, catastrophe_share=share
    ).result


def _vectorised(panel: Panel, trader: Trader) -> Result:
    return run_vectorised(trader, market_of(panel, WARM, 0, 7), 100_000.0, FLAT, _source(panel))


def _source(panel: Panel) -> Source:
    span = int(panel.ts[WARM]), int(panel.ts[-1])
    return Source("bench", "synthetic", "", panel.content_hash, panel.assets, panel.bar_ms, *span)


def _curve(name: str, measure: Callable[[Panel], tuple[float, Result]]) -> Row:
    """Microseconds by the pair and bar, from few pairs to many: the best of three runs."""
    costs, pairs = [], [assets * (assets - 1) // 2 for assets in MANY]
    measure(synthetic_panel(7, BARS + WARM, _assets(4)))  # Loads what is compiled.
    for assets, count in zip(MANY, pairs, strict=True):
        panel = synthetic_panel(7, BARS + WARM, _assets(assets))
        runs = [measure(panel) for _ in range(3)]
        assert runs[0][1].fills > 40, runs[0][1].fills
        costs.append(1e6 * min(seconds for seconds, _ in runs) / (count * BARS))
    some, many = costs[1:]
    shown, told = " / ".join(f"{cost:.3g}" for cost in costs), ", ".join(f"{count:,}" for count in pairs)
    what = f"{name}, us a pair-bar over {BARS} bars of {told} pairs / the second"
    return Row(what, shown, f"{some:.3g}", some / many, f"<= {MOST:g} x the second", many <= MOST * some)


def _assets(count: int) -> tuple[str, ...]:
    return tuple(f"X{i}" for i in range(count))
