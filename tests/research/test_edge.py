"""An edge is found where one was planted, and not where there is none; delay and costs do what they must."""

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from core.backtest.events import Assumptions
from core.backtest.result import Result, Trade
from core.data.panel import Panel
from core.data.synthetic import synthetic_panel
from core.domain.audit import Audit, Edge, Edges, Integrity, Placebo, PlantedEdge
from core.domain.backtest import Estimate, Source
from core.research.edge import break_even, edges, expected, placebo, planted_edge, verdict
from core.research.histories import Planted, planted
from core.research.runs import scaled
from core.research.words import lines

ASSETS = ("BTC", "ETH", "SOL")
PANEL = synthetic_panel(2, 3000, ASSETS)
REACH = 24


def reverting(panel: Panel, *, delay: int = 0, costs: float = 1.0, early: int = 0) -> Result:
    """A plain rule on the first pair: against a z of 24 bars, for 6 bars, filled at the next open. `early`: fills
    that many bars before they could be known."""
    spread = np.log(panel.close[:, 0] / panel.close[:, 1])
    trades, equity, t = [], np.full(len(panel) + 1, 1e5), REACH
    while t + 8 + delay < len(panel):
        window = spread[t - REACH + 1 : t + 1]
        z = (spread[t] - window.mean()) / window.std()
        if abs(z) > 1.0 and np.isfinite(z):
            opened = t + 1 + delay - early
            trades.append(made(panel, opened, opened + 6, -int(np.sign(z)), costs))
            equity[opened + 7 :] += trades[-1].pnl
            t += 7
        t += 1
    paid = np.zeros((len(panel) + 1, 3))
    paid[-1, 1] = sum(trade.fees for trade in trades)
    ts = np.append(panel.ts, panel.ts[-1] + panel.bar_ms)
    source = Source("made", "", "", "", panel.assets, panel.bar_ms, int(panel.ts[0]), int(panel.ts[-1]))
    none = np.zeros((len(ts), 1))
    return Result("plain", "plain", {}, source, {}, 0, ts, equity, ("BTC/ETH",), none, paid, tuple(trades))


def made(panel: Panel, opened: int, closed: int, side: int, costs: float) -> Trade:
    move = panel.open[closed, :2] / panel.open[opened, :2] - 1.0
    price = float(side * 1000.0 * (move[0] - move[1]))
    at = int(panel.ts[opened]), int(panel.ts[closed])
    return Trade("plain", "BTC/ETH", side, *at, closed - opened, 2000.0, price, 0.0, -2.0 * costs, 0.0, "", "")


def quiet(done: float) -> None:
    """Progress that nobody follows."""


def test_a_placebo_of_an_honest_rule_earns_nothing() -> None:
    found = placebo(reverting, PANEL, range(40), quiet)
    assert found.clean and found.mean.low < 0 < found.mean.high
    assert found.trades > 1000


def test_a_rule_that_is_filled_before_it_decides_is_called_out() -> None:
    def peeking(panel: Panel, *, delay: int = 0, costs: float = 1.0) -> Result:
        return reverting(panel, delay=delay, costs=costs, early=2)

    found = placebo(peeking, PANEL, range(10), quiet)
    assert not found.clean and found.mean.low * found.mean.high > 0
    known = planted_edge(peeking, planted(PANEL, 6000, 1), 1)
    assert not known.honest


@pytest.mark.parametrize("seed", range(4))
def test_a_planted_edge_is_found_and_measured(seed: int) -> None:
    found = planted_edge(reverting, planted(PANEL, 8000, seed), seed)
    assert found.found_it and found.honest
    assert found.planted > 0.001
    assert found.found is not None and found.found.value - found.planted == pytest.approx(found.error)


def test_no_edge_is_found_where_none_was_planted() -> None:
    found = planted_edge(reverting, planted(PANEL, 8000, 3, deviation=1e-6), 3)
    assert not found.found_it and found.honest
    assert abs(found.planted) < 1e-5


def test_the_expectation_of_a_trade_is_the_mean_over_many_worlds() -> None:
    """One trade in 3,000 worlds: the mean of its profits against that of the sums `expected` takes."""
    profits, known = [], []
    for seed in range(3000):
        market = planted(PANEL, 8, seed, half_life=2.0)
        trade = made(market.panel, 1, 6, 1, 0.0)
        profits.append(trade.price / trade.gross)
        known.append(expected(trade, market))
    off = np.array(profits) - np.array(known)
    assert abs(off.mean()) < 4 * off.std() / np.sqrt(len(off))
    assert np.corrcoef(profits, known)[0, 1] > 0.1


def test_the_expectation_of_a_single_asset_is_its_own() -> None:
    market = planted(PANEL, 50, 1)
    trade = msgspec.structs.replace(made(market.panel, 10, 11, 1, 0.0), pair="BTC")
    assert expected(trade, market) == pytest.approx(market.drift[9, 0])
    short = msgspec.structs.replace(trade, side=-1)
    assert expected(short, market) == -expected(trade, market)


def test_only_the_planted_pair_trades() -> None:
    market: Planted = planted(PANEL, 300, 1, ("SOL", "BTC"))
    assert market.panel.valid[1:].all(axis=0).tolist() == [True, False, True]
    assert not market.drift[:, 1].any()


def test_costs_and_delay_take_what_they_must() -> None:
    market = planted(PANEL, 8000, 5).panel
    told = [edges(reverting(market, delay=d, costs=c), "", 1) for d, c in ((0, 1.0), (4, 1.0), (0, 0.0), (0, 2.0))]
    means = [(run.gross.value, run.net.value) for run in told if run.gross and run.net]
    assert means[1][0] < means[0][0]  # later, less is left
    assert means[2][1] == pytest.approx(means[2][0])
    assert means[0][1] == pytest.approx(means[0][0] - 0.001)
    assert means[3][1] == pytest.approx(means[0][0] - 0.002)


def test_break_even_is_where_costs_eat_all() -> None:
    result = reverting(planted(PANEL, 8000, 5).panel)
    times = break_even(result)
    assert times is not None
    left = sum(trade.price + times * trade.fees for trade in result.trades)
    assert left == pytest.approx(0.0, abs=1e-6)
    losing = tuple(msgspec.structs.replace(trade, price=-1.0) for trade in result.trades)
    assert break_even(msgspec.structs.replace(result, trades=losing)) is None


def run_of(gross: Sequence[float], net: Sequence[float], trades: int = 100) -> Edges:
    return Edges("", 0, 1, trades, Estimate(*gross), Estimate(*net), 0.0)


def noise_of(beaten: float) -> Placebo:
    return Placebo(20, 2000, Estimate(0.0, -1.0, 1.0), 0.5, beaten, True)


GOOD = run_of((0.002, 0.001, 0.003), (0.001, 0.0005, 0.0015))
COSTLY = run_of((0.002, 0.001, 0.003), (0.0, -0.001, 0.001))
WEAK = run_of((0.001, -0.001, 0.003), (0.0, -0.002, 0.002))


@pytest.mark.parametrize(
    ("runs", "beaten", "sharpe", "word"),
    [
        ((GOOD, GOOD), 0.05, 0.99, "after costs"),
        ((GOOD, GOOD), 0.05, 0.80, "unproven"),
        ((GOOD, GOOD), 0.05, None, "unproven"),
        ((COSTLY, GOOD), 0.05, 0.99, "before costs"),
        ((WEAK, GOOD), 0.05, 0.99, "none"),
        ((GOOD, GOOD), 0.20, 0.99, "none"),
        ((GOOD, run_of((-0.001, -0.002, 0.001), (0, 0, 0))), 0.05, 0.99, "none"),
        ((Edges("", 0, 1, 2, None, None, 0.0), GOOD), 0.05, 0.99, "none"),
    ],
)
def test_the_verdict(runs: tuple[Edges, Edges], beaten: float, sharpe: float | None, word: str) -> None:
    assert verdict(runs, noise_of(beaten), sharpe)[0] == word


def test_costs_are_scaled_by_name() -> None:
    twice = scaled(Assumptions(), 2.0).rules()
    once = Assumptions().rules()
    assert (twice.taker, twice.maker, twice.spread_bps) == (2 * once.taker, 2 * once.maker, 2 * once.spread_bps)
    free = scaled(Assumptions(), 0.0).rules()
    assert free.taker == free.maker == free.spread_bps == 0
    assert scaled(Assumptions(), 1.0) == Assumptions()


def test_what_never_traded_has_no_placebo_and_no_interval_of_it() -> None:
    """Bought once and held: a shuffled market says nothing of a rule."""
    wide = Placebo(20, 0, Estimate(-0.02, -0.075, 0.036), 0.5, 0.05, True)
    none = Edges("as configured", 0, 1, 0, None, None, 0.3)
    untold = PlantedEdge(0, 0.0, None, 0.0, 0.0, False, True)
    edge = Edge("none", "0 trades are too few to tell", (none,), None, wide, untold, 1, None)
    source = Source("made", "", "", "", ("BTC",), 1, 0, 0)
    said = lines(Audit("buy-hold", "vectorised", {}, source, 7, {}, Integrity.of(()), edge))
    assert "no trade was closed in 20 random orders of the bars" in said and "break-even    no trade" in said
    assert " bp" not in said
    traded = msgspec.structs.replace(edge, placebo=noise_of(0.5), runs=(GOOD,))
    assert "2000 trades" in lines(Audit("rsi", "vectorised", {}, source, 7, {}, Integrity.of(()), traded))
