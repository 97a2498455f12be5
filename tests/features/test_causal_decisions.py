"""No past decision moves when the future is cut off, or becomes another: every registered strategy, through the
same trader, ledger and books as live. And every model: a bar's score is its own, whatever stands beside it.
"""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uncertain_markets import another_future, market

from core.backtest.events import Assumptions, market_of, run_events
from core.backtest.vectorised import run_vectorised
from core.backtest.weights import run_weights
from core.compose import make_limits, make_trader
from core.config import Settings
from core.config.settings import Universe
from core.data.panel import Panel
from core.domain.account import Holdings
from core.domain.backtest import Source
from core.domain.decision import Decision, View
from core.domain.market import Floats
from core.features.pairs import PairFeatures
from core.models.bundle import AnyBundle, Bundle, save
from core.portfolio.events import AnyEvent, Decided
from core.strategies.params import Params
from core.strategies.registry import OURS, Strategy
from tests.models.small_model import trained_on
from tests.strategies.made_clusters import made_bundle

ASSETS = ("BTC", "ETH", "SOL", "DOGE")
START, BARS = 800, 960
Bundles = dict[str, AnyBundle]
CASH, SHARE = Decimal(100_000), Decimal("0.25")
SETTINGS = Settings(universe=Universe(assets=ASSETS))
every_strategy = pytest.mark.parametrize("rule", OURS, ids=lambda rule: rule.name)
cuts = st.integers(START + 2, BARS - 1)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return market(21, BARS, ASSETS)


@pytest.fixture(scope="module")
def bundles(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    """A model of each kind."""
    folder = tmp_path_factory.mktemp("models")
    forest = save(folder, *trained_on(panel.slice(0, START)))
    return {"": forest, "divergence": forest, "cluster": made_bundle(folder, panel, START)}


def source(panel: Panel) -> Source:
    return Source("x", "", "", "", ASSETS, panel.bar_ms, int(panel.ts[START]), int(panel.ts[-1]))


def decided(rule: Strategy, bundles: Bundles, panel: Panel) -> tuple[list[Decision], list[AnyEvent]]:
    """Every decision of an event-driven run, and its ledger up to the last of them."""
    said: list[Decision] = []

    def listened(view: View, holdings: Holdings, params: Params) -> Decision:
        said.append(rule.decide(view, holdings, params))
        return said[-1]

    replayed = market_of(panel, START, 0, 7)
    instruments = {spec.id: spec for spec in replayed.instruments}
    spied = msgspec.structs.replace(rule, decide=listened)
    trader = make_trader(
        SETTINGS, spied, bundles[rule.model], instruments, make_limits(SETTINGS, Decimal("0.0005"))
    )
    run = run_events([trader], replayed, CASH, Assumptions(), source(panel), seed=7, catastrophe_share=SHARE)
    events = list(run.events)
    last = max(i for i, event in enumerate(events) if isinstance(event, Decided))
    return said, events[: last + 1]


def told(decision: Decision) -> tuple[object, ...]:
    """All of a decision, its arrays by their bits."""
    fields = (getattr(decision, name) for name in Decision.__struct_fields__)
    return tuple(field.tobytes() if isinstance(field, np.ndarray) else field for field in fields)


def assert_prefix(
    short: tuple[list[Decision], list[AnyEvent]], whole: tuple[list[Decision], list[AnyEvent]]
) -> None:
    decisions, events = short
    assert [told(d) for d in decisions] == [told(d) for d in whole[0][: len(decisions)]]
    assert events == whole[1][: len(events)], "orders, fills, funding and positions, too"


@every_strategy
@settings(max_examples=3, deadline=None)
@given(cut=cuts, seed=st.integers(0, 2**32 - 1))
def test_the_future_moves_no_decision_of_the_past(
    rule: Strategy, panel: Panel, bundles: Bundles, cut: int, seed: int
) -> None:
    until_then = decided(rule, bundles, panel.slice(0, cut))
    assert len(until_then[0]) == cut - START
    assert_prefix(until_then, decided(rule, bundles, panel))
    assert_prefix(until_then, decided(rule, bundles, another_future(panel, cut, seed)))


@every_strategy
def test_there_is_something_that_could_have_moved(rule: Strategy, panel: Panel, bundles: Bundles) -> None:
    said, events = decided(rule, bundles, panel)
    other, _ = decided(rule, bundles, another_future(panel, START + 80, 1))
    assert any(decision.entries or decision.targets for decision in said) and len(events) > len(said) + 10
    assert [told(d) for d in said[81:]] != [told(d) for d in other[81:]]


@every_strategy
@settings(max_examples=6, deadline=None)
@given(cut=cuts, seed=st.integers(0, 2**32 - 1))
def test_the_future_moves_no_target_of_a_vectorised_run(
    rule: Strategy, panel: Panel, bundles: Bundles, cut: int, seed: int
) -> None:
    def exposure(bars: Panel) -> tuple[Floats, Floats]:
        replayed = market_of(bars, START, 0, 7)
        instruments = {spec.id: spec for spec in replayed.instruments}
        own = bundles[rule.model]
        trader = make_trader(SETTINGS, rule, own, instruments, make_limits(SETTINGS, Decimal("0.0005")))
        fast = run_weights if rule.model == "cluster" else run_vectorised
        run = fast(trader, replayed, float(CASH), Assumptions(), source(bars), seed=7)
        return run.exposure, run.equity

    whole, changed = exposure(panel), exposure(another_future(panel, cut, seed))
    rows = cut - START + 1
    for ours, theirs in zip(whole, changed, strict=True):
        assert ours[:rows].tobytes() == theirs[:rows].tobytes()
    assert np.count_nonzero(whole[0]) > 0


Score = Callable[[Floats], Floats]
MODELS: tuple[tuple[str, Callable[[Bundle], Score], float], ...] = (("forest", lambda bundle: bundle.score, 0.0),)
"""Every kind of model: how it scores rows of features, and by how much a score may depend on its neighbours (a
compiled one by nothing, a network's matrix product by its rounding)."""


@pytest.mark.parametrize(("kind", "of", "tolerance"), MODELS, ids=[kind for kind, _, _ in MODELS])
@settings(max_examples=10, deadline=None)
@given(cut=st.integers(250, BARS - 1), seed=st.integers(0, 2**32 - 1))
def test_the_future_moves_no_score_of_the_past(
    panel: Panel, bundles: Bundles, kind: str, of: Callable[[Bundle], Score], tolerance: float, cut: int, seed: int
) -> None:
    forest = bundles["divergence"]
    assert isinstance(forest, Bundle)

    def scores(bars: Panel) -> Floats:
        features = PairFeatures(ASSETS).history(bars).features
        return of(forest)(features.reshape(-1, features.shape[-1])).reshape(features.shape[:2])

    whole = scores(panel)[:cut]
    alone = of(forest)(PairFeatures(ASSETS).history(panel).features[cut - 1])
    for other in (scores(panel.slice(0, cut)), scores(another_future(panel, cut, seed))[:cut]):
        np.testing.assert_allclose(other, whole, rtol=0, atol=tolerance)
    np.testing.assert_allclose(alone, whole[-1], rtol=0, atol=tolerance, err_msg="one bar alone, as live")


def test_training_does_not_see_beyond_its_period(panel: Panel, tmp_path: Path) -> None:
    """Labels look ahead, but not out of the bars that they are given."""
    one = save(tmp_path / "one", *trained_on(panel.slice(0, START)))
    other = save(tmp_path / "other", *trained_on(another_future(panel, START, 5).slice(0, START)))
    assert one.hash == other.hash
    assert one.meta.labels_until_ms <= int(panel.ts[START - 1])
