"""From a closed bar to intents: one call of the model, one decision, the gate for entries and never for exits."""

from decimal import Decimal as D

import msgspec
import numpy as np
import pytest

from core.data.panel import Panel
from core.data.synthetic import synthetic_panel
from core.domain.account import Book, BookLeg, Holdings
from core.domain.decision import Entry
from core.domain.market import Floats
from core.domain.orders import Action, Intent, Origin
from core.domain.trading import TradingState
from core.execution.risk import Limits, Standing
from core.features.pairs import PairFeatures
from core.matching.listing import swap
from core.strategies.params import DivergenceParams
from core.strategies.registry import strategy
from core.trader import Names, Outcome, Trader

TEN = ("BTC", "ETH", "SOL", "XRP", "BNB", "DOGE", "ADA", "AVAX", "LINK", "DOT")
LIMITS = Limits(D("0.95"), D(50_000), D(10_000), D(10), D(1), D("0.0005"))
STANDING = Standing(D(100_000), D(0), D(100_000))
PAUSED = Standing(D(100_000), D(0), D(100_000), TradingState.REDUCING, "paused by me")
NOTHING = Holdings((), {}, {}, D(100_000))
WARM = 420


class Spy:
    """A model that remembers how it was asked."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def score(self, features: Floats) -> Floats:
        self.shapes.append(features.shape)
        return np.full(len(features), 0.9)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return synthetic_panel(7, 600, TEN)


def make(panel: Panel, model: Spy | None = None, limits: Limits = LIMITS, **params: float) -> Trader:
    instruments = {spec.id: spec for spec in (swap(asset, 1.0) for asset in TEN)}
    rule = strategy("zscore" if model is None else "divergence")
    trader = Trader(rule, DivergenceParams(**params), PairFeatures(TEN), model, instruments, limits)  # type: ignore[arg-type]
    for t in range(WARM):
        trader.warm(panel.bar(t))
    return trader


def first_entry(trader: Trader, panel: Panel, standing: Standing = STANDING) -> tuple[int, Intent]:
    for t in range(WARM, len(panel)):
        outcome = trader.on_bar(panel.bar(t), NOTHING, standing, Names("px", 0))
        if outcome.intents:
            return t, outcome.intents[0]
    raise AssertionError("no entry")


def held(panel: Panel, t: int, side: int = 1) -> Book:
    """BTC/ETH as if it had been opened at bar t's close."""
    legs = tuple(
        BookLeg(asset, f"{asset}-USDT-SWAP", sign * side * D(1), D(repr(float(panel.close[t, i]))), D("0.01"))
        for i, (asset, sign) in enumerate((("BTC", 1), ("ETH", -1)))
    )
    zero = D(0)
    opened = int(panel.ts[t]) + panel.bar_ms
    return Book(
        "zscore", "BTC/ETH", side, opened, legs, -2.0, 2.0, 1.0, 0.06, 0.05, D(600), zero, zero, zero, "pxI0"
    )


def test_all_pairs_are_scored_in_one_call_a_bar(panel: Panel) -> None:
    """Known defect 8: one slow call of the model for each pair and bar."""
    spy = Spy()
    trader = make(panel, spy)
    spy.shapes.clear()
    for t in range(WARM, WARM + 20):
        trader.on_bar(panel.bar(t), NOTHING, STANDING, Names("px", 0))
    assert spy.shapes == [(45, len(PairFeatures.names))] * 20


def test_live_bars_give_the_features_of_history(panel: Panel) -> None:
    """Known defects 5 and 6: live features lacked columns, and were made of the bar still forming."""
    history = PairFeatures(TEN).history(panel)
    trader = make(panel)
    for t in range(WARM, WARM + 50):
        view = trader.on_bar(panel.bar(t), NOTHING, STANDING, Names("px", 0)).view
        np.testing.assert_array_equal(view.features, history.features[t])
        assert view.ts == panel.ts[t] + panel.bar_ms, "what is decided is decided at the close"


def test_every_entry_has_two_legs_of_its_own_assets(panel: Panel) -> None:
    """Known defects 1 and 3: every pair's signal was applied to ETH's prices, and the base leg alone was traded."""
    trader, seen = make(panel), set()
    for t in range(WARM, len(panel)):
        for intent in trader.on_bar(panel.bar(t), NOTHING, STANDING, Names("px", 0)).intents:
            assert "/".join(leg.instrument.split("-")[0] for leg in intent.legs) == intent.pair
            assert intent.legs[0].size * intent.side > 0 > intent.legs[1].size * intent.side
            values = [
                float(abs(leg.size) * swap(asset, 1.0).contract) * panel.close[t, TEN.index(asset)]
                for asset, leg in zip(intent.pair.split("/"), intent.legs, strict=True)
            ]
            coarse = max(
                float(swap(a, 1.0).lot * swap(a, 1.0).contract) * panel.close[t, TEN.index(a)]
                for a in intent.pair.split("/")
            )
            assert abs(values[0] - values[1]) <= coarse, "valued at their own prices, the legs match"
            seen.add(intent.pair)
    assert len(seen) > 5


def test_the_same_bars_give_the_same_intents(panel: Panel) -> None:
    assert first_entry(make(panel), panel) == first_entry(make(panel), panel)


class TestTheGate:
    def test_an_entry_that_is_refused_says_why_and_takes_no_name(self, panel: Panel) -> None:
        t, _ = first_entry(make(panel), panel)
        trader, names = make(panel), Names("px", 0)
        for earlier in range(WARM, t):
            trader.warm(panel.bar(earlier))
        outcome = trader.on_bar(panel.bar(t), NOTHING, PAUSED, names)
        assert outcome.intents == () and names.peek() == "pxI0"
        assert [why for _, why in outcome.refused] == ["reducing: paused by me"]

    @pytest.mark.parametrize(
        "standing",
        [msgspec.structs.replace(PAUSED, free=D(0), trouble="they disagree"), Standing(D(-5), D(10**9), D(-5))],
    )
    def test_an_exit_never_asks_it(self, panel: Panel, standing: Standing) -> None:
        trader = make(panel, horizon_bars=1)
        book = held(panel, WARM - 5)
        outcome = trader.on_bar(panel.bar(WARM), Holdings((book,), {}, {}, D(0)), standing, Names("px", 0))
        closing = outcome.intents[0]
        assert closing.action is Action.CLOSE and closing.pair == "BTC/ETH"
        assert [leg.size for leg in closing.legs] == [-leg.size for leg in book.legs]

    def test_a_wish_beyond_the_free_margin_is_cut_to_it(self, panel: Panel) -> None:
        trader = make(panel)
        entry = Entry("BTC/ETH", 1, 5_000.0, 0.06, 0.05, -1.5, 1.2, 0.8, "test")
        bar = panel.bar(WARM - 1)
        standing = Standing(D(3_000), D(0), D(100_000))
        intent, why = trader.open(entry, bar, standing, Names("px", 0), Origin.MANUAL)
        assert intent is not None, why
        prices = trader.prices(bar)
        gross = sum(
            abs(swap(leg.instrument.split("-")[0], 1.0).notional(leg.size, prices[leg.instrument]))
            for leg in intent.legs
        )
        assert D("0.7") * 3_000 < gross <= D("0.95") * 3_000

    def test_without_margin_nothing_is_opened(self, panel: Panel) -> None:
        entry = Entry("BTC/ETH", 1, 5_000.0, 0.06, 0.05, -1.5, 1.2, 0.8, "test")
        for free in (D(0), D(-100), D(5)):
            standing = Standing(free, D(0), D(100_000))
            intent, why = make(panel).open(entry, panel.bar(WARM - 1), standing, Names("px", 0), Origin.MANUAL)
            assert intent is None and "less than the least order" in why

    def test_two_entries_of_one_bar_share_the_margin(self, panel: Panel) -> None:
        """The second is judged on the account as it will stand when the first has been filled."""
        trader = make(panel, max_concurrent_positions=4, base_size_usdt=4_000.0)
        standing = Standing(D(10_000), D(0), D(100_000))
        for t in range(WARM, len(panel)):
            bar = panel.bar(t)
            outcome = trader.on_bar(bar, NOTHING, standing, Names("px", 0))
            if len(outcome.decision.entries) > 1:
                prices = trader.prices(bar)
                gross = sum(
                    abs(swap(leg.instrument.split("-")[0], 1.0).notional(leg.size, prices[leg.instrument]))
                    for intent in outcome.intents
                    for leg in intent.legs
                )
                assert gross < 10_000
                return
        raise AssertionError("no bar with two entries")


def test_names_go_on_where_the_ledger_stopped() -> None:
    names = Names("px", 35)
    assert (names.peek(), names.take(), names.take(), names.peek()) == ("pxIz", "pxIz", "pxI10", "pxI11")


def test_a_strategy_that_needs_a_model_is_not_made_without(panel: Panel) -> None:
    with pytest.raises(AssertionError, match="divergence: model given False"):
        Trader(strategy("divergence"), DivergenceParams(), PairFeatures(TEN), None, {}, LIMITS)


class TestASwitch:
    def switching(self, panel: Panel, standing: Standing) -> tuple[Book, Outcome]:
        """The first bar on which the rule leaves BTC/ETH, held since bar WARM, for another pair."""
        trader = make(panel, switch_threshold=0.0, horizon_bars=10_000, z_exit=0.0)
        for t in range(WARM, len(panel)):
            book = held(panel, t - 1, side=1)
            outcome = trader.on_bar(panel.bar(t), Holdings((book,), {}, {}, D(0)), standing, Names("px", 7))
            if outcome.refused or any(wish.into for wish in outcome.decision.exits):
                return book, outcome
        raise AssertionError("no switch")

    def test_the_old_pair_is_closed_and_the_new_one_opened_on_the_same_bar(self, panel: Panel) -> None:
        book, outcome = self.switching(panel, STANDING)
        closing, opening = outcome.intents
        assert (closing.id, closing.action, closing.pair) == ("pxI7", Action.CLOSE, book.pair)
        assert (opening.id, opening.action) == ("pxI8", Action.OPEN)
        assert closing.reason == f"switched to {opening.pair}"
        assert outcome.barred == (False, False)

    def test_it_is_both_or_nothing(self, panel: Panel) -> None:
        """Whoever may not enter has no reason to leave."""
        _, outcome = self.switching(panel, PAUSED)
        assert outcome.intents == () and outcome.decision.exits == ()
        assert [why for _, why in outcome.refused] == ["reducing: paused by me"]
