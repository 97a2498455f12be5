"""How the cost of a run grows with its pairs: event-driven and vectorised, features, decisions, orders and all.

The whole of each run over 240 bars is divided by its pairs and bars: what is paid once a bar (or once an order) is
most of it for few pairs, what is paid for each pair is most of it for many.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from time import perf_counter

from core.backtest.events import Assumptions, market_of, run_events
from core.backtest.result import Result
from core.backtest.vectorised import run_vectorised
from core.data.panel import Panel
from core.data.synthetic import synthetic_panel
from core.domain.backtest import Source
from core.execution.risk import Limits
from core.features.pairs import FeatureParams, PairFeatures
from core.strategies.params import DivergenceParams
from core.strategies.registry import strategy
from core.trader import Trader
from tests.bench.row import Row

BARS, WARM = 240, 60
MANY = (10, 46, 300)
"""Assets: 45, 1,035 and 44,850 pairs."""
LONG = (1_000, 8_000)
MOST = 3.0
PARAMS = DivergenceParams(min_bars=30, correlation_window=24, max_concurrent_positions=3)
LIMITS = Limits(*(Decimal(text) for text in ("0.95", "50000", "10000", "10", "1", "0.0005")))
FLAT = Assumptions(slippage="flat")
Engine = Callable[[Panel, Trader], Result]


def run() -> list[Row]:
    """On one thread."""
    engines = {"event-driven": _events, "vectorised": _vectorised}
    return [row for name, engine in engines.items() for row in (_by_pairs(name, engine), _by_bars(name, engine))]


def run_once(panel: Panel, engine: Engine) -> tuple[float, Result]:
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


def _by_pairs(name: str, engine: Engine) -> Row:
    """Microseconds by the pair and bar, from few pairs to many."""
    panels = [synthetic_panel(7, BARS + WARM, _assets(assets)) for assets in MANY]
    pairs = [assets * (assets - 1) // 2 for assets in MANY]
    few, some, many = (_seconds(panel, engine) / (count * BARS) for panel, count in zip(panels, pairs, strict=True))
    what = f"{name}, us a pair-bar over {BARS} bars of {', '.join(f'{n:,}' for n in pairs)} pairs / the second"
    return _row(what, [few, some, many], some, many)


def _by_bars(name: str, engine: Engine) -> Row:
    """The same of 45 pairs, from few bars to many."""
    few, many = (_seconds(synthetic_panel(7, bars + WARM, _assets(MANY[0])), engine) / (45 * bars) for bars in LONG)
    what = f"{name}, us a pair-bar of 45 pairs over {', '.join(f'{n:,}' for n in LONG)} bars / the first"
    return _row(what, [few, many], few, many)


def _row(what: str, costs: Sequence[float], base: float, worst: float) -> Row:
    shown = " / ".join(f"{1e6 * cost:.3g}" for cost in costs)
    return Row(what, shown, f"{1e6 * base:.3g}", base / worst, f"<= {MOST:g} x it", worst <= MOST * base)


def _seconds(panel: Panel, engine: Engine) -> float:
    """The best of three runs over the panel."""
    run_once(synthetic_panel(7, BARS + WARM, _assets(4)), engine)  # Loads what is compiled.
    runs = [run_once(panel, engine) for _ in range(3)]
    assert runs[0][1].fills > 40, runs[0][1].fills
    return min(seconds for seconds, _ in runs)


def _assets(count: int) -> tuple[str, ...]:
    return tuple(f"X{i}" for i in range(count))
