"""Target weights, vectorised and event-driven, under the same assumptions: the same trades, the same money.

Orders of the last bar are left out: the one fills them at the last close, the other never."""

from decimal import Decimal as D
from pathlib import Path

import numpy as np
import pytest

from core.backtest.events import Assumptions, run_events
from core.backtest.result import Result
from core.backtest.weights import run_weights
from core.data.importer import load_panel
from core.data.panel import Panel
from core.data.synthetic import ASSETS, synthetic_panel
from core.domain.errors import UserError
from core.matching import listing
from core.strategies.params import ClusterParams
from tests.backtest.tapes import replay, source_of
from tests.strategies.made_clusters import cluster_trader, made_bundle

START = 450
FLAT = Assumptions(slippage="flat")
RUNS = {
    "as configured": ClusterParams(),
    "no band": ClusterParams(band=0.0),
    "a wide band": ClusterParams(band=0.04),
    "at its limits": ClusterParams(max_gross=0.2, max_net=0.05),
    "more than the gate lets in": ClusterParams(capital_usdt=150_000.0, max_gross=3.0, max_net=1.0),
    "a strict gate": ClusterParams(gate_exit=0.9),
}


def both(panel: Panel, params: ClusterParams, folder: Path, cash: int = 100_000) -> tuple[Result, Result]:
    bundle, source = made_bundle(folder, panel, START), source_of(panel, START)
    exact = run_events(
        [cluster_trader(bundle, panel, params)],
        replay(panel, START),
        D(cash),
        FLAT,
        source,
        seed=7,
        catastrophe_share=D("0.99"),
    )
    trader = cluster_trader(bundle, panel, params)
    return exact.result, run_weights(trader, replay(panel, START), float(cash), FLAT, source)


def agree(panel: Panel, exact: Result, fast: Result) -> None:
    """Trades, money at every close, exposure, costs."""
    last = int(panel.ts[-1]) + panel.bar_ms
    key = ("closed", "opened", "pair", "side", "bars", "exit")
    tell = [
        sorted(
            (trade for trade in result.trades if trade.closed < last), key=lambda trade: (trade.closed, trade.pair)
        )
        for result in (fast, exact)
    ]
    places = [[tuple(getattr(trade, name) for name in key[:5]) for trade in trades] for trades in tell]
    assert places[0] == places[1]
    for found, wanted in zip(*tell, strict=True):
        assert wanted.exit.startswith(found.exit), "the same reason, in the same words"
    for field in ("gross", "price", "slippage", "fees", "funding", "score", "probability"):
        money = [[getattr(trade, field) for trade in trades] for trades in tell]
        assert money[0] == pytest.approx(money[1], abs=1e-6), field
    assert (fast.ts == exact.ts).all() and fast.pairs == exact.pairs
    assert fast.equity[:-1] == pytest.approx(exact.equity[:-1], abs=1e-6)
    assert fast.costs[:-1] == pytest.approx(exact.costs[:-1], abs=1e-6)
    assert fast.exposure == pytest.approx(exact.exposure, abs=1e-6)


@pytest.mark.parametrize("case", RUNS)
def test_both_engines_hold_the_same(case: str, tmp_path: Path) -> None:
    panel = synthetic_panel(11, 900, ASSETS[:6])
    exact, fast = both(panel, RUNS[case], tmp_path)
    assert len(fast.trades) > 10 and np.abs(fast.exposure).sum() > 0
    agree(panel, exact, fast)


@pytest.mark.parametrize(("at_a_time", "bars"), [(60, 250), (0, 40)])
def test_both_engines_hold_the_same_where_orders_must_be_sliced(
    at_a_time: int, bars: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exchange takes 60 USDT, or the least it can, at a time: targets are met at the same open all the same, or
    in as many bars as it takes, and left there."""
    panel = synthetic_panel(11, START + bars, ASSETS[:6])
    for asset, price in zip(panel.assets, panel.close[START].tolist(), strict=True):
        contract, lot, least, tick, _, lever = listing._LISTED[asset]
        most = D(least) + round(at_a_time / (price * float(contract) * float(lot))) * D(lot)
        monkeypatch.setitem(listing._LISTED, asset, (contract, lot, least, tick, str(most), lever))
    exact, fast = both(panel, ClusterParams(capital_usdt=5_000.0), tmp_path)
    assert len(fast.trades) > 5 and exact.orders > 3 * len(exact.trades)
    agree(panel, exact, fast)


def test_both_engines_hold_the_same_with_little_money(tmp_path: Path) -> None:
    panel = synthetic_panel(12, 800, ASSETS[:6])
    exact, fast = both(panel, ClusterParams(), tmp_path, cash=3_000)
    assert fast.notes and fast.notes[0].endswith("refused by the risk gate")
    agree(panel, exact, fast)


def test_both_engines_hold_the_same_on_real_data(tmp_path: Path, shared_data: Path) -> None:
    files = shared_data / "perp_1h_10.parquet", shared_data / "perp_funding_10.parquet"
    panel = load_panel(*files, ASSETS, "1h").slice(4000, 5500)
    exact, fast = both(panel, ClusterParams(), tmp_path)
    assert len(fast.trades) > 30
    agree(panel, exact, fast)


def test_what_it_cannot_suppose_it_refuses(tmp_path: Path) -> None:
    panel = synthetic_panel(11, 600, ASSETS[:4])
    trader = cluster_trader(made_bundle(tmp_path, panel, START), panel, ClusterParams())
    with pytest.raises(UserError, match="use the event-driven one"):
        run_weights(trader, replay(panel, START), 1e5, Assumptions(latency="120"), source_of(panel, START))
