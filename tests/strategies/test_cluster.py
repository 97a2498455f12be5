"""The cluster strategy, sentence by sentence of its rule."""

from collections.abc import Mapping
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import ASSETS, HOUR, NOW

from core.domain.account import Book, BookLeg, Holdings
from core.domain.decision import Decision, View
from core.domain.instrument import Pair
from core.domain.market import Floats
from core.domain.orders import Action
from core.models.cluster.rule import NAMES
from core.strategies.cluster import decide
from core.strategies.cluster_rule import Why, compiled, judge
from core.strategies.params import ClusterParams

PARAMS = ClusterParams(capital_usdt=10_000.0, band=0.01, gate_exit=0.1, max_gross=1.0, max_net=1.0)
"""A whole position, of weight 0.1, is 1000 USDT; the band is 100."""


def view(
    weight: Mapping[str, float] | None = None,
    *,
    gate: Mapping[str, float] | None = None,
    unusable: tuple[str, ...] = (),
) -> View:
    """Four assets at 100 with a gate of 1 and no weight; and what a test says."""
    n = len(ASSETS)
    features = np.zeros((n, len(NAMES)))
    for i, asset in enumerate(ASSETS):
        w = (weight or {}).get(asset, 0.0)
        told = {"weight": w, "signal": 10 * w, "gate": (gate or {}).get(asset, 1.0), "residual": -20 * w}
        for name, value in told.items():
            features[i, NAMES.index(name)] = value
    nothing = np.zeros(n)
    return View(
        ts=NOW,
        assets=ASSETS,
        pairs=tuple(Pair(asset) for asset in ASSETS),
        names=NAMES,
        features=features,
        probability=np.ones(n),
        usable=np.array([asset not in unusable for asset in ASSETS]),
        close=np.full(n, 100.0),
        funding=nothing,
        atr_pct=nothing,
        correlation=np.zeros((n, n)),
        bar_ms=HOUR,
        volatility=nothing,
    )


def holding(held: Mapping[str, float], *working: str) -> Holdings:
    """Assets held at so many USDT."""
    zero = Decimal(0)
    books = tuple(
        Book(
            "cluster",
            asset,
            1 if value > 0 else -1,
            NOW - HOUR,
            (BookLeg(asset, f"{asset}-USDT-SWAP", Decimal(repr(value)) / 100, Decimal(100), Decimal(1)),),
            *(0.0, 0.0, 0.0, 0.0, 0.0),
            abs(Decimal(repr(value))),
            *(zero, zero, zero),
            "I1",
        )
        for asset, value in held.items()
    )
    return Holdings(books, {}, dict.fromkeys(working, Action.OPEN), Decimal(100_000))


def aims(decision: Decision) -> dict[str, float]:
    return {target.pair: round(target.notional, 6) for target in decision.targets}


def why(decision: Decision, asset: str) -> Why:
    return Why(decision.reasons[ASSETS.index(asset)])


# -- what is wanted -----------------------------------------------------------------------------------


def test_a_weight_is_a_share_of_the_capital_each_asset_for_itself() -> None:
    decision = decide(view({"BTC": 0.08, "SOL": -0.05}), holding({}), PARAMS)
    assert aims(decision) == {"BTC": 800.0, "SOL": -500.0}
    assert decision.direction.tolist() == [1, 0, -1, 0]
    assert decision.score == pytest.approx([0.8, 0.0, 0.5, 0.0])
    assert decision.targets[0].reason == "entered, residual -1.60, gate 1.00"
    assert (decision.entries, decision.exits, decision.text) == ((), (), "")


def test_a_new_chance_does_not_move_what_is_held() -> None:
    decision = decide(view({"BTC": 0.08, "ETH": 0.1}), holding({"BTC": 800.0}), PARAMS)
    assert aims(decision) == {"ETH": 1000.0}


@pytest.mark.parametrize(
    ("held", "weight", "target", "reason"),
    [
        (0.0, 0.0099, None, Why.SMALL),  # a position below the band is not opened
        (0.0, 0.0101, 101.0, Why.ENTERED),
        (500.0, 0.0599, None, Why.KEPT),  # the band is around what is held
        (500.0, 0.0601, 601.0, Why.RAISED),
        (500.0, 0.0401, None, Why.KEPT),
        (500.0, 0.0399, 399.0, Why.LOWERED),
        (101.0, 0.0051, None, Why.KEPT),  # what was opened at the band stays down to half of it
        (101.0, 0.0049, 0.0, Why.LEFT),
        (20.0, 0.0, 0.0, Why.LEFT),  # crumbs are not kept, whatever the band
        (500.0, -0.05, 0.0, Why.TURNED),  # the other side: closed first
        (20.0, -0.001, 0.0, Why.TURNED),
    ],
)
def test_the_band(held: float, weight: float, target: float | None, reason: Why) -> None:
    for sign in (1, -1):
        decision = decide(view({"ETH": sign * weight}), holding({"ETH": sign * held} if held else {}), PARAMS)
        assert aims(decision) == ({} if target is None else {"ETH": sign * target})
        assert why(decision, "ETH") is reason


def test_the_gate_forces_the_exit_and_forbids_the_entry() -> None:
    low = dict.fromkeys(("BTC", "ETH"), 0.09)
    decision = decide(view({"BTC": 0.05, "ETH": 0.05}, gate=low), holding({"BTC": 500.0}), PARAMS)
    assert aims(decision) == {"BTC": 0.0}
    assert (why(decision, "BTC"), why(decision, "ETH")) == (Why.EXPELLED, Why.OUTSIDE)


def test_a_glitch_does_not_churn() -> None:
    """No feature (a silent asset, a closed market): what is held stays as it is, and nothing is opened."""
    decision = decide(view(unusable=ASSETS), holding({"BTC": 500.0, "SOL": -300.0}), PARAMS)
    assert decision.targets == () and set(decision.reasons.tolist()) == {Why.UNKNOWN}


def test_an_order_at_work_comes_to_its_end_first() -> None:
    decision = decide(view({"BTC": 0.08, "ETH": 0.08}), holding({"BTC": 100.0}, "BTC"), PARAMS)
    assert aims(decision) == {"ETH": 800.0} and why(decision, "BTC") is Why.WORKING


def test_what_gives_up_exposure_comes_first() -> None:
    wanted = view({"BTC": 0.1, "ETH": 0.1, "SOL": -0.02})
    decision = decide(wanted, holding({"SOL": -500.0, "XRP": 400.0}), PARAMS)
    assert list(aims(decision)) == ["SOL", "XRP", "BTC", "ETH"]


def test_where_nothing_is_done_the_strongest_asset_says_why() -> None:
    assert decide(view({"ETH": 0.009}), holding({}), PARAMS).text == "ETH: the weight is within the band of 1.00%"


# -- limits -------------------------------------------------------------------------------------------


def test_above_the_gross_limit_all_are_scaled_alike() -> None:
    tight = PARAMS.model_copy(update={"max_gross": 0.15})
    decision = decide(view({"BTC": 0.1, "ETH": -0.1, "SOL": 0.1}), holding({}), tight)
    assert aims(decision) == pytest.approx({"BTC": 500.0, "ETH": -500.0, "SOL": 500.0})


def test_above_the_net_limit_the_side_in_excess_is_scaled() -> None:
    tight = PARAMS.model_copy(update={"max_net": 0.05})
    decision = decide(view({"BTC": 0.1, "ETH": -0.05, "SOL": 0.1}), holding({}), tight)
    assert aims(decision) == pytest.approx({"BTC": 500.0, "ETH": -500.0, "SOL": 500.0})


def test_what_may_not_be_changed_takes_its_place_first() -> None:
    tight = PARAMS.model_copy(update={"max_gross": 0.15})
    decision = decide(view({"BTC": 0.1, "ETH": 0.1}, unusable=("SOL",)), holding({"SOL": -1000.0}), tight)
    assert aims(decision) == pytest.approx({"BTC": 250.0, "ETH": 250.0})


@st.composite
def scenes(draw: st.DrawFn) -> tuple[ClusterParams, Floats, Floats, np.ndarray, Floats]:
    n = draw(st.integers(1, 8))
    numbers = st.floats(-0.1, 0.1).map(lambda x: round(x, 4))
    weight = np.array(draw(st.lists(numbers, min_size=n, max_size=n)))
    gate = np.array(draw(st.lists(st.floats(0, 1), min_size=n, max_size=n)))
    free = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    held = 10_000 * np.array(draw(st.lists(st.one_of(st.just(0.0), numbers), min_size=n, max_size=n)))
    gross = draw(st.floats(0.05, 0.8))
    params = ClusterParams(
        capital_usdt=10_000.0,
        band=draw(st.sampled_from([0.0, 0.005, 0.02])),
        max_gross=gross,
        max_net=draw(st.floats(0.02, 1.0)) * gross,
    )
    return params, weight, gate, free, held


@settings(max_examples=300, deadline=None)
@given(scenes())
def test_limits_bands_and_signs_hold_whatever_is_wanted(
    scene: tuple[ClusterParams, Floats, Floats, np.ndarray, Floats],
) -> None:
    params, weight, gate, free, held = scene
    rule, n = compiled(params), len(weight)
    wanted, reasons = np.empty(n), np.empty(n, np.uint8)
    judge(rule, weight, gate, free, held, wanted, reasons)
    changed = reasons >= Why.LEFT
    assert (wanted[~changed] == held[~changed]).all()
    assert not changed[~free].any()
    assert (wanted[changed & (gate < rule.gate)] == 0).all()
    assert (wanted * held >= 0).all() and (wanted * weight >= 0)[changed].all(), "through zero in two bars"
    assert (np.abs(wanted[changed]) <= np.abs(weight[changed]) * rule.capital + 1e-9).all()
    # What cannot be changed may exceed a limit by itself; the rest adds nothing to that.
    fixed = held[~free]
    slack = rule.band + 1e-6
    assert np.abs(wanted).sum() <= max(rule.gross, np.abs(fixed).sum()) + slack
    if not fixed.any():
        assert abs(wanted.sum()) <= rule.net + slack


@settings(max_examples=100, deadline=None)
@given(scenes())
def test_what_was_decided_stands(scene: tuple[ClusterParams, Floats, Floats, np.ndarray, Floats]) -> None:
    """Asked again with what it wanted, and nothing new, it changes nothing."""
    params, weight, gate, free, held = scene
    rule, n = compiled(params), len(weight)
    wanted, reasons, again, later = np.empty(n), np.empty(n, np.uint8), np.empty(n), np.empty(n, np.uint8)
    judge(rule, weight, gate, free, held, wanted, reasons)
    if (reasons == Why.TURNED).any():
        return
    judge(rule, weight, gate, free, wanted.copy(), again, later)
    assert again == pytest.approx(wanted, abs=1e-6)
