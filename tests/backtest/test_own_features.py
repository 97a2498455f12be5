"""Strategies from outside with our rule and features of their own: never run on ours in their place."""

from decimal import Decimal
from functools import partial

import msgspec
import numpy as np
import pytest

from core.backtest.events import Assumptions, run_events
from core.backtest.sweep import Params, sweep
from core.backtest.vectorised import run_vectorised
from core.data.synthetic import synthetic_panel
from core.domain.errors import UserError
from core.domain.market import Bar
from core.features.pairs import FeatureParams, Frame, PairFeatures
from core.strategies import divergence
from core.strategies.params import DivergenceParams
from core.strategies.registry import MakeFeatures, Strategy
from core.trader import Trader
from tests.backtest.tapes import CASH, LIMITS, replay, source_of

PANEL = synthetic_panel(5, 800)
START = 450
FLAT = Assumptions(slippage="flat")
SOURCE = source_of(PANEL, START)


class Upside(PairFeatures):
    """Pair features, the z-score upside down."""

    def update(self, bar: Bar) -> Frame:
        frame = super().update(bar)
        features = frame.features.copy()
        features[:, self.names.index("z_score")] *= -1
        return msgspec.structs.replace(frame, features=features)


def upside(assets: tuple[str, ...], params: DivergenceParams, bar_ms: int) -> Upside:
    return Upside(assets, bar_ms=bar_ms)


def slower(assets: tuple[str, ...], params: DivergenceParams, bar_ms: int) -> PairFeatures:
    """Ours, with a window of the strategy's own."""
    return PairFeatures(assets, FeatureParams(z_window=2 * params.z_window), bar_ms)


def trader_with(features: MakeFeatures, params: DivergenceParams | None = None) -> Trader:
    rule = Strategy(name="mine", decide=partial(divergence.decide, name="mine"), features=features)
    params = params or DivergenceParams()
    instruments = {spec.id: spec for spec in replay(PANEL, 1).instruments}
    made = features(PANEL.assets, params, PANEL.bar_ms)
    return Trader(rule, params, made, None, instruments, LIMITS)


def test_features_of_its_own_are_refused_with_the_way_out() -> None:
    refusal = "strategy mine has features of its own: use the event-driven backtest"
    with pytest.raises(UserError, match=refusal):
        run_vectorised(trader_with(upside), replay(PANEL, START), CASH, FLAT, SOURCE)
    with pytest.raises(UserError, match=refusal):
        sweep(trader_with(upside), [{"z_entry": 2.0}], replay(PANEL, START), CASH, FLAT, SOURCE)


def test_features_that_differ_with_the_set_are_refused() -> None:
    def either(assets: tuple[str, ...], params: DivergenceParams, bar_ms: int) -> PairFeatures:
        return (upside if params.z_entry > 1.5 else slower)(assets, params, bar_ms)

    with pytest.raises(UserError, match="features of its own"):
        sweep(trader_with(either), [{"z_entry": 2.0}], replay(PANEL, START), CASH, FLAT, SOURCE)


def test_the_event_driven_backtest_trades_on_them() -> None:
    run = run_events(
        [trader_with(upside)],
        replay(PANEL, START),
        Decimal(CASH),
        FLAT,
        SOURCE,
        seed=7,
        catastrophe_share=Decimal("0.99"),
    )
    usual = PairFeatures(PANEL.assets)
    z = usual.history(PANEL).features[:, :, usual.names.index("z_score")]
    rows = [pair.name for pair in usual.pairs]
    assert len(run.result.trades) > 5
    for trade in run.result.trades:
        decided = int(np.searchsorted(PANEL.ts, trade.opened)) - 1
        assert z[decided, rows.index(trade.pair)] * trade.side > 0, "with the spread, which it sees upside down"


def test_windows_of_its_own_hold_in_a_sweep() -> None:
    sets: list[Params] = [{"z_window": 20}, {"z_window": 30}]
    told = sweep(trader_with(slower), sets, replay(PANEL, START), CASH, FLAT, SOURCE)
    for number, given in enumerate(sets):
        alone = trader_with(slower, DivergenceParams.model_validate(given))
        equity = run_vectorised(alone, replay(PANEL, START), CASH, FLAT, SOURCE).equity
        assert told.column("profit")[number] == equity[-1] - CASH
