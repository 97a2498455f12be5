"""The compiled rule against a plain reading of the specification: equal scores, several places, switches."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.instrument import pairs_of
from core.features.bounds import bounds
from core.strategies.params import DivergenceParams
from core.strategies.rule import HELD, NEVER, Answer, Leave, Market, Rule, Why, blank, bounds_of, compiled, judge

ASSETS = tuple("ABCDEFGH")
PAIRS = pairs_of(ASSETS)
LEGS = np.ascontiguousarray(np.array([[ASSETS.index(p.a), ASSETS.index(p.b)] for p in PAIRS], np.int64).T)
HOUR = 3_600_000
NOW = 500 * HOUR


@dataclass
class Bar:
    """A bar of a market of eight assets, its numbers rounded so that scores tie, with up to three positions."""

    rule: Rule
    market: Market
    held: np.ndarray
    past: np.ndarray
    free: int
    taken: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.taken = np.zeros(len(ASSETS), np.int64)
        for row in self.held["row"]:
            self.taken[LEGS[:, row]] += 1

    def judged(self) -> Answer:
        answer = Answer.empty(len(self.held), len(PAIRS), self.rule.places)
        judge(self.rule, self.market, self.held, self.past, self.taken, self.free, answer)
        return answer


def draw(seed: int) -> Bar:
    rng = np.random.default_rng(seed)
    params = DivergenceParams(
        prob_threshold=0.4,
        correlation_threshold=0.8,
        max_concurrent_positions=int(rng.integers(1, 4)),
        switch_threshold=float(rng.choice([0.0, 0.5, 1.0, np.inf])),
        min_hold_bars=int(rng.integers(0, 3)),
        cooldown_bars=int(rng.integers(0, 3)),
        horizon_bars=8,
    )
    p, n = len(PAIRS), len(ASSETS)
    noise = rng.normal(size=(n, 5))
    noise[rng.integers(n)] = noise[rng.integers(n)] + 0.1 * rng.normal(size=5)
    market = Market(
        NOW,
        LEGS,
        rng.integers(-5, 6, p) / 2.0,
        rng.choice([0.4, 0.5, 1.0], p),
        rng.random(p) > 0.1,
        rng.choice([-0.001, 0.0, 0.0, 0.0, 0.001], n),
        np.asarray(np.corrcoef(noise)),
    )
    shuffled, past = rng.permutation(n), blank(p)
    rows = [
        PAIRS.index(next(q for q in PAIRS if {q.a, q.b} == {ASSETS[i], ASSETS[j]}))
        for i, j in shuffled[:6].reshape(3, 2)
    ]
    rows = rows[: int(rng.integers(0, 4))]
    held = np.zeros(len(rows), HELD)
    for m, row in enumerate(rows):
        opened = NOW - int(rng.integers(1, 10)) * HOUR
        held[m] = (row, opened, rng.choice([-2.0, 2.0]), rng.choice([-0.1, -0.05, 0.0, 0.05, 0.1]), 0.05, 0.1)
        past["held"][row] = True
    past["working"], past["other"] = rng.random(p) < 0.05, rng.random(p) < 0.05
    past["barred"], past["z"] = rng.random(p) < 0.2, rng.choice([-1.0, 1.0], p)
    past["closed"] = np.where(rng.random(p) < 0.5, NEVER, NOW - rng.integers(0, 4, p) * HOUR)
    return Bar(compiled(params, HOUR), market, held, past, params.max_concurrent_positions - len(rows))


def alone(bar: Bar, k: int, released: bool) -> Why:
    """What stands against a pair by itself."""
    rule, market, past = bar.rule, bar.market, bar.past[k]
    z, (a, b) = market.z[k], LEGS[:, k]
    short, long = (a, b) if z > 0 else (b, a)
    for why, applies in (
        (Why.HELD, past["held"]),
        (Why.WORKING, past["working"]),
        (Why.OTHER, past["other"]),
        (Why.UNUSABLE, not market.usable[k]),
        (Why.SMALL, abs(z) <= rule.z_entry),
        (Why.UNLIKELY, market.probability[k] <= rule.probability),
        (Why.BARRED, past["barred"] and not released),
        (Why.COOLING, NOW - past["closed"] < rule.cooldown),
        (Why.FUNDING, market.funding[short] < -rule.funding or market.funding[long] > rule.funding),
    ):
        if applies:
            return why
    return Why.ENTERED


def beside(bar: Bar, k: int, taken: set[int]) -> Why:
    """What the assets taken have against a pair."""
    legs = set(LEGS[:, k].tolist())
    if legs & taken:
        return Why.SHARED
    alike = any(abs(bar.market.correlation[i, j]) > bar.rule.correlation for i in legs for j in taken)
    return Why.CORRELATED if alike else Why.ENTERED


def leaves(bar: Bar, m: int) -> Leave:
    rule, market, position = bar.rule, bar.market, bar.held[m]
    row, age = position["row"], NOW - position["opened"]
    if bar.past["working"][row]:
        return Leave.STAY
    if position["share"] <= -position["stop"]:
        return Leave.STOP
    if position["share"] >= position["target"]:
        return Leave.TARGET
    if market.usable[row] and age >= rule.min_hold and np.sign(position["z"]) * market.z[row] <= rule.z_exit:
        return Leave.CROSSED
    return Leave.TIME if age >= rule.horizon else Leave.STAY


def by_hand(bar: Bar) -> tuple[list[Leave], list[Why], list[int]]:
    """Candidates one by one in order of score, then the one switch of the bar."""
    rule, market = bar.rule, bar.market
    score = [abs(z) * p if u else 0.0 for z, p, u in zip(market.z, market.probability, market.usable, strict=True)]
    released = bar.past["barred"] & market.usable & (np.sign(bar.past["z"]) * market.z <= 0)
    why = [alone(bar, k, bool(released[k])) for k in range(len(PAIRS))]
    left = [leaves(bar, m) for m in range(len(bar.held))]
    ranked = sorted((k for k in range(len(PAIRS)) if why[k] is Why.ENTERED), key=lambda k: -score[k])
    of = [set(LEGS[:, row].tolist()) for row in bar.held["row"]]
    chosen: list[int] = []

    def taken(without: int | None = None) -> set[int]:
        entered = [set(LEGS[:, k].tolist()) for k in chosen]
        return set().union(*(legs for m, legs in enumerate(of) if m != without), *entered)

    for k in ranked:
        why[k] = Why.FULL if bar.free <= 0 else beside(bar, k, taken())
        if why[k] is Why.ENTERED and len(chosen) == bar.free:
            why[k] = Why.OUTSCORED
        if why[k] is Why.ENTERED:
            chosen.append(k)
    for k in (k for k in ranked if k not in chosen):
        rows = bar.held["row"]
        open_to = [
            m
            for m, row in enumerate(rows)
            if left[m] is Leave.STAY
            and not bar.past["working"][row]
            and market.usable[row]
            and NOW - bar.held["opened"][m] >= rule.min_hold
            and score[k] - rule.switch > score[row]
            and beside(bar, k, taken(without=m)) is Why.ENTERED
        ]
        if open_to:
            left[min(open_to, key=lambda m: score[rows[m]])] = Leave.SWITCHED
            why[k] = Why.ENTERED
            chosen.append(k)
            break
    return left, why, chosen


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1).map(draw))
def test_the_compiled_rule_is_the_plain_reading(bar: Bar) -> None:
    answer = bar.judged()
    left, why, chosen = by_hand(bar)
    assert [Leave(x) for x in answer.left] == left
    assert [Why(x) for x in answer.why] == why
    assert [k for k in answer.chosen.tolist() if k >= 0] == chosen


def test_the_plain_reading_meets_every_reason_and_every_exit() -> None:
    """Otherwise the comparison above would prove less than it says."""
    told = [by_hand(draw(seed)) for seed in range(800)]
    assert {x for left, _, _ in told for x in left} == set(Leave)
    assert {x for _, why, _ in told for x in why} == set(Why)
    both = [chosen for left, _, chosen in told if Leave.SWITCHED in left and len(chosen) > 1]
    assert both, "an entry and a switch on one bar"


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1).map(draw))
def test_it_remembers_nothing_and_changes_only_its_answer(bar: Bar) -> None:
    before = [array.copy() for array in (*bar.market[1:], bar.held, bar.past, bar.taken)]
    one, other = bar.judged(), bar.judged()
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    after = [*bar.market[1:], bar.held, bar.past, bar.taken]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("volatility", "reference", "stop", "target"),
    [
        (0.04, 0.04, 0.06, 0.05),
        (0.06, 0.04, 0.09, 0.075),
        (0.40, 0.04, 0.12, 0.10),
        (0.01, 0.04, 0.03, 0.025),
        (0.0, 0.04, 0.06, 0.05),  # not known
        (0.04, 0.0, 0.06, 0.05),
        (float("nan"), 0.04, 0.06, 0.05),
    ],
)
def test_volatility_bounds_are_the_usual_ones_times_the_clipped_ratio(
    volatility: float, reference: float, stop: float, target: float
) -> None:
    """6% and 5% times clip(vol_asset / vol_BTC, 0.5, 2); the range of the asset has no say."""
    how = bounds_of(DivergenceParams(stop_mode="volatility"))
    assert bounds(how, 0.005, volatility, reference) == pytest.approx((stop, target))
