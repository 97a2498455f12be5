"""The divergence rule, sentence by sentence of its specification."""

from decimal import Decimal

import numpy as np
import pytest
from markets import ASSETS, HOUR, NAMES, NOW, book, holdings, told, view

from core.domain.account import Closed
from core.domain.errors import UserError
from core.domain.instrument import Instrument
from core.domain.orders import Action
from core.execution.sizing import entry_intent
from core.strategies.divergence import TEXTS, Why, decide
from core.strategies.params import DivergenceParams
from core.strategies.registry import strategy

PARAMS = DivergenceParams()


def params(**changes: object) -> DivergenceParams:
    return PARAMS.model_copy(update=changes)


# -- who is eligible ----------------------------------------------------------------------------------


def test_the_highest_score_is_entered_and_every_pair_is_told_why() -> None:
    decision = decide(
        view(
            {"BTC/ETH": 2.0, "BTC/SOL": 1.0, "SOL/XRP": -3.0, "ETH/XRP": 1.8},
            probability={"SOL/XRP": 0.9, "ETH/XRP": 0.5},
            unusable=("BTC/XRP",),
        ),
        holdings(),
        PARAMS,
    )
    (entry,) = decision.entries
    assert (entry.pair, entry.side, entry.z, entry.probability) == ("SOL/XRP", 1, -3.0, 0.9)
    assert entry.score == pytest.approx(2.7)
    assert told(decision) == {
        "BTC/ETH": "another pair scores higher",
        "BTC/SOL": "|z| is not above {p.z_entry:g}",  # 1.0 is not above 1.0
        "BTC/XRP": "fewer than {p.min_bars} aligned bars, or a silent leg",
        "ETH/SOL": "|z| is not above {p.z_entry:g}",
        "ETH/XRP": "probability is not above {p.prob_threshold:g}",  # 0.5 is not above 0.5
        "SOL/XRP": "entered",
    }
    assert decision.exits == ()
    assert decision.released == ()


def test_score_and_direction_are_told_for_every_pair() -> None:
    decision = decide(
        view({"BTC/ETH": 2.0, "SOL/XRP": -0.5, "BTC/XRP": 4.0}, unusable=("BTC/XRP",)), holdings(), PARAMS
    )
    assert dict(zip(NAMES, decision.score.round(6).tolist(), strict=True)) == {
        "BTC/ETH": 1.6, "BTC/SOL": 0, "BTC/XRP": 0, "ETH/SOL": 0, "ETH/XRP": 0, "SOL/XRP": 0.4,
    }  # fmt: skip
    assert decision.direction.tolist() == [-1, 0, 0, 0, 0, 0]
    assert decision.reasons.dtype == np.uint8
    assert decision.direction.dtype == np.int8


@pytest.mark.parametrize(("z", "side"), [(2.0, -1), (-2.0, 1)])
def test_a_high_spread_is_sold_and_a_low_one_bought(z: float, side: int) -> None:
    (entry,) = decide(view({"ETH/SOL": z}), holdings(), PARAMS).entries
    assert (entry.pair, entry.side) == ("ETH/SOL", side)


def test_when_nothing_is_done_the_best_pair_says_why() -> None:
    assert decide(view({"BTC/ETH": 0.9}), holdings(), PARAMS).text == "BTC/ETH: |z| is not above 1"
    assert decide(view({"BTC/ETH": 2.0}), holdings(), PARAMS).text == ""


@pytest.mark.parametrize(
    ("z", "asset", "rate", "entered"),
    [
        (2.0, "BTC", -0.0006, False),  # short BTC pays a negative rate
        (2.0, "BTC", +0.0006, True),
        (2.0, "ETH", +0.0006, False),  # long ETH pays a positive rate
        (2.0, "ETH", -0.0006, True),
        (-2.0, "BTC", +0.0006, False),
        (-2.0, "ETH", -0.0006, False),
        (2.0, "BTC", -0.0005, True),  # at the threshold it may
        (2.0, "SOL", -0.01, True),  # not one of its legs
    ],
)
def test_no_leg_is_held_against_its_funding(z: float, asset: str, rate: float, entered: bool) -> None:
    decision = decide(view({"BTC/ETH": z}, funding={asset: rate}), holdings(), PARAMS)
    assert [entry.pair for entry in decision.entries] == ["BTC/ETH"] * entered
    assert told(decision)["BTC/ETH"] == ("entered" if entered else "funding against a leg")


def test_funding_against_the_best_pair_lets_the_next_one_in() -> None:
    decision = decide(view({"BTC/ETH": 3.0, "ETH/SOL": 2.0}, funding={"BTC": -0.001}), holdings(), PARAMS)
    assert [entry.pair for entry in decision.entries] == ["ETH/SOL"]


# -- what is held -----------------------------------------------------------------------------------


def test_nothing_is_entered_beside_a_held_pair_when_there_is_one_place() -> None:
    decision = decide(view({"BTC/ETH": 2.0, "SOL/XRP": 3.0}), holdings(book()), PARAMS)
    assert decision.entries == ()
    assert told(decision)["BTC/ETH"] == "held"
    assert told(decision)["SOL/XRP"] == "no more than {p.max_concurrent_positions} at a time"


def test_an_asset_is_held_once() -> None:
    decision = decide(
        view({"BTC/ETH": 2.0, "ETH/SOL": 3.0, "SOL/XRP": 1.5}), holdings(book()), params(max_concurrent_positions=3)
    )
    assert [entry.pair for entry in decision.entries] == ["SOL/XRP"]
    assert told(decision)["ETH/SOL"] == "one of its assets is held"


@pytest.mark.parametrize(("value", "entered"), [(0.86, False), (-0.86, False), (0.85, True), (-0.2, True)])
def test_nothing_is_held_that_moves_with_what_is_held(value: float, entered: bool) -> None:
    decision = decide(
        view({"BTC/ETH": 2.0, "SOL/XRP": 3.0}, correlation={("ETH", "XRP"): value}),
        holdings(book()),
        params(max_concurrent_positions=2),
    )
    assert bool(decision.entries) is entered
    assert told(decision)["SOL/XRP"] == (
        "entered" if entered else "correlates above {p.correlation_threshold:g} with a held asset"
    )


def test_the_legs_of_one_pair_may_move_together() -> None:
    assert decide(view({"BTC/ETH": 2.0}, correlation={("BTC", "ETH"): 0.99}), holdings(), PARAMS).entries


def test_entries_of_one_bar_are_filtered_against_each_other() -> None:
    z = {"BTC/ETH": 4.0, "ETH/SOL": 3.0, "SOL/XRP": 2.0}
    two = params(max_concurrent_positions=2)
    decision = decide(view(z), holdings(), two)
    assert [entry.pair for entry in decision.entries] == ["BTC/ETH", "SOL/XRP"]
    assert told(decision)["ETH/SOL"] == "one of its assets is held"
    decision = decide(view(z, correlation={("BTC", "XRP"): -0.9}), holdings(), two)
    assert [entry.pair for entry in decision.entries] == ["BTC/ETH"]
    assert told(decision)["SOL/XRP"] == "correlates above {p.correlation_threshold:g} with a held asset"


def test_what_is_at_work_takes_its_place_and_is_left_alone() -> None:
    working = {"BTC/ETH": Action.OPEN}
    decision = decide(view({"BTC/ETH": 3.0, "SOL/XRP": 2.0}), holdings(working=working), PARAMS)
    assert decision.entries == ()
    assert told(decision)["BTC/ETH"] == "an order is at work"
    assert told(decision)["SOL/XRP"] == "no more than {p.max_concurrent_positions} at a time"
    closing = holdings(book(), working={"BTC/ETH": Action.CLOSE})
    assert decide(view({"BTC/ETH": -3.0}), closing, PARAMS).exits == ()


def test_a_place_is_free_only_when_its_pair_is_gone() -> None:
    """The bar that closes a pair does not already fill its place: whether the close succeeds is not known."""
    decision = decide(view({"BTC/ETH": -0.1, "SOL/XRP": 3.0, "ETH/XRP": 4.0}), holdings(book()), PARAMS)
    assert [leaving.pair for leaving in decision.exits] == ["BTC/ETH"]
    assert decision.entries == ()


# -- size and bounds --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("z", "probability", "notional"),
    [(1.1, 0.51, 1122.0), (1.2, 0.6, 1440.0), (2.0, 0.5001, 2000.0), (9.0, 1.0, 2000.0)],
)
def test_the_size_grows_with_the_score_up_to_twice(z: float, probability: float, notional: float) -> None:
    """base x clip(1 + (score - 0.5) / 0.5, 1, 2), for each leg."""
    (entry,) = decide(view({"BTC/ETH": z}, probability={"BTC/ETH": probability}), holdings(), PARAMS).entries
    assert entry.notional == pytest.approx(notional)


def test_a_weak_score_is_never_below_the_base_size() -> None:
    wide = params(z_entry=0.2, z_exit=0.0, prob_threshold=0.1)
    (entry,) = decide(view({"BTC/ETH": 0.3}, probability={"BTC/ETH": 0.2}), holdings(), wide).entries
    assert entry.notional == PARAMS.base_size_usdt


@pytest.mark.parametrize(
    ("atr", "stop", "target"),
    [
        (0.005, 0.05, 0.04),
        (0.001, 0.02, 0.02),
        (0.012, 0.10, 0.096),
        (0.05, 0.10, 0.15),
        (float("nan"), 0.06, 0.05),
        (0.0, 0.06, 0.05),
    ],
)
def test_stop_and_target_follow_the_base_legs_range(atr: float, stop: float, target: float) -> None:
    """10 and 8 ATR of the base leg as shares of its price, clamped; 6% and 5% where it is unknown."""
    (entry,) = decide(view({"ETH/SOL": 2.0}, atr={"ETH": atr, "SOL": 0.9}), holdings(), PARAMS).entries
    assert entry.stop == pytest.approx(stop)
    assert entry.target == pytest.approx(target)


def test_stop_and_target_may_follow_the_base_legs_volatility_beside_bitcoins() -> None:
    by_volatility = params(stop_mode="volatility")
    told_of = view({"ETH/SOL": 2.0}, volatility={"BTC": 0.02, "ETH": 0.03, "SOL": 0.9}, atr={"ETH": 0.05})
    (entry,) = decide(told_of, holdings(), by_volatility).entries
    assert (entry.stop, entry.target) == pytest.approx((0.09, 0.075))


# -- exits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "z", "leaves"),
    [(-1, 0.3, False), (-1, 0.0, True), (-1, -0.01, True), (1, -0.3, False), (1, 0.0, True), (1, 1.7, True)],
)
def test_a_pair_leaves_when_z_has_crossed_zero(side: int, z: float, leaves: bool) -> None:
    """Defect 2: the published "|z| < 0" can never be true. The exit is a change of sign."""
    decision = decide(view({"BTC/ETH": z}), holdings(book(side=side)), PARAMS)
    assert [(e.pair, e.barred) for e in decision.exits] == [("BTC/ETH", False)] * leaves
    if leaves:
        assert decision.exits[0].reason == f"z crossed to {z:+.2f}"


def test_the_exit_may_lie_before_zero() -> None:
    early = params(z_exit=0.25)
    assert decide(view({"BTC/ETH": 0.3}), holdings(book()), early).exits == ()
    assert decide(view({"BTC/ETH": 0.2}), holdings(book()), early).exits


@pytest.mark.parametrize(("btc", "why"), [(112.0, "stop at -6.00%"), (90.0, "target at +5.00%")])
def test_stop_and_target_judge_the_pairs_profit_over_its_gross(btc: float, why: str) -> None:
    """Short 1000 USDT of BTC, long 1000 of ETH: BTC up 12% loses 120 of 2000."""
    decision = decide(view({"BTC/ETH": 2.0}, close={"BTC": btc}), holdings(book()), PARAMS)
    (leaving,) = decision.exits
    assert leaving.reason == why
    assert leaving.barred is why.startswith("stop")


def test_nothing_happens_just_inside_stop_and_target() -> None:
    for btc in (111.9, 90.1):
        assert decide(view({"BTC/ETH": 2.0}, close={"BTC": btc}), holdings(book()), PARAMS).exits == ()


def test_fees_funding_and_what_was_realised_belong_to_the_profit() -> None:
    inside = view({"BTC/ETH": 2.0}, close={"BTC": 111.5})
    assert decide(inside, holdings(book()), PARAMS).exits == ()
    for costly in (book(fees="-5"), book(funding="-5"), book(realized="-5")):
        assert decide(inside, holdings(costly), PARAMS).exits[0].reason == "stop at -6.00%"


def test_a_stop_is_a_stop_even_where_z_has_crossed_too() -> None:
    decision = decide(view({"BTC/ETH": -1.0}, close={"BTC": 113.0}), holdings(book()), PARAMS)
    assert [e.barred for e in decision.exits] == [True]


def test_each_pair_is_judged_on_its_own_two_assets() -> None:
    """Defect 1: every pair's signals were applied to the prices of one asset."""
    held = holdings(book("BTC/SOL", side=1), book("ETH/XRP", side=-1))
    wide = params(max_concurrent_positions=2)
    z = {"BTC/SOL": -2.0, "ETH/XRP": 2.0}
    assert decide(view(z, close={"ETH": 113.0}), held, wide).exits[0].pair == "ETH/XRP"
    assert decide(view(z, close={"SOL": 113.0}), held, wide).exits[0].pair == "BTC/SOL"
    assert decide(view(z, close={"BTC": 112.0}), held, wide).exits[0].reason == "target at +6.00%"
    assert decide(view(z, close={"XRP": 112.0}), held, wide).exits[0].reason == "target at +6.00%"


def test_the_spread_is_held_and_not_the_market() -> None:
    """Defect 3: only the base leg was traded. When both legs rise alike, a pair neither gains nor loses."""
    for side in (-1, 1):
        everything_up = view({"BTC/ETH": -2.0 * side}, close=dict.fromkeys(ASSETS, 150.0))
        assert decide(everything_up, holdings(book(side=side)), PARAMS).exits == ()


def test_an_entry_becomes_two_legs_of_one_value() -> None:
    """Defect 3, on the way out: base and quote leg oppose each other and match within a lot."""
    (entry,) = decide(view({"BTC/ETH": 2.0}), holdings(), PARAMS).entries
    specs = [
        Instrument(
            f"{asset}-USDT-SWAP", asset, "USDT", "USDT", Decimal(contract), Decimal("0.01"), Decimal("0.1"),
            Decimal("0.01"), Decimal(10_000), Decimal(100),
        )
        for asset, contract in (("BTC", "0.01"), ("ETH", "0.1"))
    ]  # fmt: skip
    prices = Decimal(60_000), Decimal(2_500)
    intent = entry_intent("i", NOW, "divergence", entry, (specs[0], specs[1]), prices, (1.0, 1.0))
    values = [spec.notional(leg.size, price) for spec, leg, price in zip(specs, intent.legs, prices, strict=True)]
    assert values[0] < 0 < values[1]
    assert abs(values[0] + values[1]) <= max(
        spec.notional(spec.lot, price) for spec, price in zip(specs, prices, strict=True)
    )


def test_a_pair_that_does_not_come_back_leaves_after_the_horizon() -> None:
    away = view({"BTC/ETH": 2.0})
    assert decide(away, holdings(book(bars=101)), PARAMS).exits == ()
    (leaving,) = decide(away, holdings(book(bars=102)), PARAMS).exits
    assert (leaving.reason, leaving.barred) == ("time stop after 102 bars", False)


def test_a_pair_is_held_for_its_shortest_time_except_by_a_stop() -> None:
    patient = params(min_hold_bars=10)
    assert decide(view({"BTC/ETH": -1.0}), holdings(book(bars=9)), patient).exits == ()
    assert decide(view({"BTC/ETH": -1.0}), holdings(book(bars=10)), patient).exits
    assert decide(view({"BTC/ETH": -1.0}, close={"BTC": 120.0}), holdings(book(bars=1)), patient).exits


def test_a_pair_whose_z_is_not_known_keeps_its_stop_and_its_time_limit() -> None:
    silent = ("BTC/ETH",)
    assert decide(view({"BTC/ETH": 0.0}, unusable=silent), holdings(book()), PARAMS).exits == ()
    assert decide(view(unusable=silent, close={"BTC": 120.0}), holdings(book()), PARAMS).exits
    assert decide(view(unusable=silent), holdings(book(bars=102)), PARAMS).exits


def test_a_book_of_a_pair_that_is_no_longer_watched_is_left_to_the_person() -> None:
    stranger = holdings(book("DOGE/LINK"), closed=(Closed("ADA/DOT", NOW, 1, "stop", True),))
    decision = decide(view({"SOL/XRP": 2.0}), stranger, params(max_concurrent_positions=2))
    assert (decision.exits, decision.released) == ((), ())
    assert [entry.pair for entry in decision.entries] == ["SOL/XRP"]


def test_a_book_without_an_entry_of_its_own_is_closed() -> None:
    """A late fill of a pair that is gone leaves contracts without a gross: they are taken back."""
    residue = book(stop=0.0, target=0.0)
    residue = type(residue)(**{**{f: getattr(residue, f) for f in residue.__struct_fields__}, "gross": Decimal(0)})
    assert [leaving.pair for leaving in decide(view({"BTC/ETH": 2.0}), holdings(residue), PARAMS).exits] == [
        "BTC/ETH"
    ]


# -- coming back ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "z", "freed"), [(-1, 1.5, False), (-1, -1.5, True), (1, -1.5, False), (1, 1.5, True)]
)
def test_a_stopped_pair_waits_until_z_has_crossed_zero(side: int, z: float, freed: bool) -> None:
    stopped = Closed("BTC/ETH", NOW - 50 * HOUR, side, "stop", True, z=-2.0 * side)
    decision = decide(view({"BTC/ETH": z}), holdings(closed=(stopped,)), PARAMS)
    assert decision.released == ("BTC/ETH",) * freed
    assert told(decision)["BTC/ETH"] == ("entered" if freed else "barred after a stop until z crosses zero")


def test_crossing_zero_is_judged_against_the_entry_even_of_a_pair_opened_by_hand_the_other_way() -> None:
    by_hand = Closed("BTC/ETH", NOW - HOUR, side=1, reason="stop", barred=True, z=2.0)
    assert decide(view({"BTC/ETH": 1.5}), holdings(closed=(by_hand,)), PARAMS).released == ()
    assert decide(view({"BTC/ETH": -0.1}), holdings(closed=(by_hand,)), PARAMS).released == ("BTC/ETH",)


def test_a_bar_is_not_lifted_by_a_z_that_is_not_known() -> None:
    stopped = Closed("BTC/ETH", NOW - HOUR, -1, "stop", True, z=2.0)
    assert decide(view(unusable=("BTC/ETH",)), holdings(closed=(stopped,)), PARAMS).released == ()


def test_a_pair_cools_down_for_some_bars() -> None:
    cool = params(cooldown_bars=3)
    for bars, entered in ((2, False), (3, True)):
        last = Closed("BTC/ETH", NOW - bars * HOUR, -1, "z crossed", False)
        decision = decide(view({"BTC/ETH": 2.0}), holdings(closed=(last,)), cool)
        assert bool(decision.entries) is entered
        assert told(decision)["BTC/ETH"] == (
            "entered" if entered else "cooling down for {p.cooldown_bars} bars after its last trade"
        )


# -- the frame of it --------------------------------------------------------------------------------


def test_every_reason_has_its_words() -> None:
    assert len(TEXTS) == len(Why) == len(set(TEXTS))
    assert list(Why) == list(range(len(TEXTS)))


def test_the_plain_rule_is_the_same_without_a_model() -> None:
    sure = view({"BTC/ETH": 1.5}, probability=dict.fromkeys(NAMES, 1.0))
    plain, learned = strategy("zscore"), strategy("divergence")
    assert (plain.model, learned.model) == ("", "divergence")
    one, other = plain.decide(sure, holdings(), PARAMS), learned.decide(sure, holdings(), PARAMS)
    assert (one.strategy, other.strategy) == ("zscore", "divergence")
    assert one.entries == other.entries


def test_an_unknown_strategy_is_named_with_those_there_are() -> None:
    with pytest.raises(
        UserError, match="strategy 'divergense' is not known; there are divergence, zscore"
    ) as caught:
        strategy("divergense")
    assert caught.value.code == 2


def test_a_decision_changes_nothing_that_it_was_given() -> None:
    seen = view({"BTC/ETH": 3.0, "SOL/XRP": -2.0})
    before = [array.copy() for array in (seen.features, seen.close, seen.correlation, seen.probability)]
    decide(seen, holdings(book()), params(max_concurrent_positions=3))
    after = [seen.features, seen.close, seen.correlation, seen.probability]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
