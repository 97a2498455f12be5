"""What holds of the divergence rule in every market and with every book."""

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import HOUR, NOW, book, holdings

from core.domain.account import Closed, Holdings
from core.domain.decision import Decision, View
from core.domain.instrument import pairs_of
from core.domain.orders import Action
from core.strategies.divergence import TEXTS, Why, decide
from core.strategies.params import DivergenceParams

ASSETS = ("BTC", "ETH", "SOL", "XRP", "BNB", "DOGE", "ADA", "AVAX", "LINK", "DOT")
PAIRS = pairs_of(ASSETS)
NAMES = [pair.name for pair in PAIRS]
tried = settings(max_examples=150, deadline=None)


@dataclass
class Case:
    view: View
    holdings: Holdings
    params: DivergenceParams


def draw(seed: int) -> Case:
    """A market of ten assets with up to three books that share no asset, as the rule itself would leave them."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(len(ASSETS), 6)) + 1.5 * rng.normal(size=6) * rng.integers(0, 2)
    seen = View(
        ts=NOW,
        assets=ASSETS,
        pairs=PAIRS,
        names=("z_score",),
        features=rng.normal(scale=1.5, size=(len(PAIRS), 1)),
        probability=rng.uniform(0.3, 1.0, len(PAIRS)),
        usable=rng.random(len(PAIRS)) > 0.1,
        close=rng.normal(100, 4, len(ASSETS)),
        funding=rng.normal(scale=0.0003, size=len(ASSETS)),
        atr_pct=np.where(rng.random(len(ASSETS)) < 0.1, np.nan, rng.uniform(0, 0.02, len(ASSETS))),
        correlation=np.asarray(np.corrcoef(noise)),
        bar_ms=HOUR,
        volatility=rng.uniform(0, 0.1, len(ASSETS)),
    )
    shuffled = list(rng.permutation(len(ASSETS)))
    chosen = [sorted(shuffled[2 * i : 2 * i + 2]) for i in range(rng.integers(0, 4))]
    pairs = [f"{ASSETS[i]}/{ASSETS[j]}" for i, j in chosen]
    books = [book(pair, int(rng.choice([-1, 1])), bars=int(rng.integers(1, 130))) for pair in pairs[1:]]
    working = dict.fromkeys(pairs[:1], Action.OPEN)
    free = [name for name in rng.choice(NAMES, 6, replace=False) if name not in pairs]
    closed = [
        Closed(str(n), NOW - int(rng.integers(0, 6)) * HOUR, 1, "", bool(rng.integers(2)), z=-1.0) for n in free
    ]
    params = DivergenceParams(
        max_concurrent_positions=int(rng.integers(1, 6)),
        cooldown_bars=int(rng.integers(0, 4)),
        correlation_threshold=float(rng.uniform(0.5, 1)),
    )
    return Case(seen, holdings(*books, closed=tuple(closed), working=working), params)


cases = st.integers(0, 2**32 - 1).map(draw)


def run(case: Case) -> Decision:
    return decide(case.view, case.holdings, case.params)


def taken(case: Case) -> set[str]:
    names = [held.pair for held in case.holdings.books] + list(case.holdings.working)
    return {asset for name in names for asset in name.split("/")}


@tried
@given(cases)
def test_no_asset_is_ever_held_twice(case: Case) -> None:
    entered = [asset for entry in run(case).entries for asset in entry.pair.split("/")]
    assert len(entered) == len(set(entered))
    assert not set(entered) & taken(case)


@tried
@given(cases)
def test_there_are_never_more_positions_than_places(case: Case) -> None:
    held = len(case.holdings.books) + len(case.holdings.working)
    assert len(run(case).entries) <= max(case.params.max_concurrent_positions - held, 0)


@tried
@given(cases)
def test_nothing_entered_moves_with_anything_held(case: Case) -> None:
    others = taken(case)
    for entry in run(case).entries:
        own = entry.pair.split("/")
        for one in own:
            for other in others:
                value = case.view.correlation[ASSETS.index(one), ASSETS.index(other)]
                assert abs(value) <= case.params.correlation_threshold
        others |= set(own)


@tried
@given(cases)
def test_the_same_bar_is_always_decided_alike(case: Case) -> None:
    one, other = run(case), run(case)
    assert (one.entries, one.exits, one.released, one.text) == (
        other.entries,
        other.exits,
        other.released,
        other.text,
    )
    assert np.array_equal(one.reasons, other.reasons)


@tried
@given(cases)
def test_a_mirrored_market_is_traded_the_other_way(case: Case) -> None:
    """z, funding and what is held turned round: the same pairs, the opposite side."""
    seen = case.view
    turned = View(
        **{
            **{f: getattr(seen, f) for f in seen.__struct_fields__},
            "features": -seen.features,
            "funding": -seen.funding,
        }
    )
    flat = Holdings((), {}, case.holdings.working, case.holdings.free)
    one, other = decide(seen, flat, case.params), decide(turned, flat, case.params)
    assert [(e.pair, -e.side, e.notional, e.stop) for e in one.entries] == [
        (e.pair, e.side, e.notional, e.stop) for e in other.entries
    ]
    assert np.array_equal(one.reasons, other.reasons)
    assert np.array_equal(one.direction, -other.direction)


@tried
@given(cases)
def test_every_pair_has_the_reason_that_a_plain_reading_of_the_rule_gives(case: Case) -> None:
    seen, p, books = case.view, case.params, {b.pair for b in case.holdings.books}
    decision = run(case)
    candidates, told = [], {}
    for row, pair in enumerate(PAIRS):
        z, name = float(seen.features[row, 0]), pair.name
        last = case.holdings.closed.get(name)
        rate_a, rate_b = (float(seen.funding[ASSETS.index(asset)]) for asset in (pair.a, pair.b))
        short, long = (rate_a, rate_b) if z > 0 else (rate_b, rate_a)
        if name in books:
            told[name] = "held"
        elif name in case.holdings.working:
            told[name] = "an order is at work"
        elif not seen.usable[row]:
            told[name] = "fewer than {p.min_bars} aligned bars, or a silent leg"
        elif abs(z) <= p.z_entry:
            told[name] = "|z| is not above {p.z_entry:g}"
        elif seen.probability[row] <= p.prob_threshold:
            told[name] = "probability is not above {p.prob_threshold:g}"
        elif last and last.barred and z < 0:
            told[name] = "barred after a stop until z crosses zero"
        elif last and NOW - last.ts < p.cooldown_bars * HOUR:
            told[name] = "cooling down for {p.cooldown_bars} bars after its last trade"
        elif short < -p.funding_threshold or long > p.funding_threshold:
            told[name] = "funding against a leg"
        else:
            candidates.append((abs(z) * seen.probability[row], name))
    entered = {entry.pair for entry in decision.entries}
    for name, text in zip(NAMES, (TEXTS[reason] for reason in decision.reasons), strict=True):
        if name in told:
            assert text == told[name], name
        else:
            assert (text == "entered") is (name in entered), name
            assert text in TEXTS[Why.FULL :], name
    assert entered <= {name for _, name in candidates}
    if entered and not taken(case):
        assert decision.entries[0].pair == max(candidates)[1]


@tried
@given(cases)
def test_only_what_is_held_leaves_and_only_stops_bar(case: Case) -> None:
    for leaving in run(case).exits:
        assert leaving.pair in {held.pair for held in case.holdings.books}
        assert leaving.barred is leaving.reason.startswith("stop")
