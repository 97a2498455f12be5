"""Strategies that say how much of each asset to hold, the whole way: trader, gate, legs, books, exchange."""

from collections.abc import Mapping
from decimal import Decimal as D

import numpy as np
import pytest

from core.backtest.events import Assumptions, EventRun, market_of, run_events
from core.data.panel import Panel
from core.data.synthetic import synthetic_panel
from core.domain.account import Holdings
from core.domain.backtest import Source
from core.domain.decision import Decision, Target, View
from core.domain.instrument import Pair
from core.execution.risk import Limits
from core.features.pairs import PairFeatures
from core.matching import listing
from core.portfolio.books import Books
from core.portfolio.events import Decided, Filled, Intended, Planned, Settled
from core.strategies.params import DivergenceParams
from core.strategies.registry import Strategy
from core.trader import Trader

ASSETS = ("BTC", "ETH", "SOL")
START = 400
LIMITS = Limits(D("0.95"), D(50_000), D(10_000), D(10), D(1), D("0.0005"))
Plan = Mapping[int, dict[str, float]]
"""Of bars after the start, the targets of each asset in USDT."""


class Alone(PairFeatures):
    """The usual features, looked at by single assets."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel.assets, None, panel.bar_ms)
        self.pairs = tuple(Pair(asset) for asset in panel.assets)


def holder(name: str, panel: Panel, plan: Plan, limits: Limits = LIMITS) -> Trader:
    """A strategy that follows a plan."""

    def decide(view: View, holdings: Holdings, params: DivergenceParams) -> Decision:
        bar = int((view.ts - panel.ts[START]) // panel.bar_ms) - 1
        targets = tuple(Target(pair, size, "as planned") for pair, size in plan.get(bar, {}).items())
        none, few = np.zeros(0), np.zeros(0, np.int8)
        return Decision(view.ts, name, (), (), (), np.zeros(0, np.uint8), (), none, few, targets=targets)

    instruments = {spec.id: spec for spec in market_of(panel, START, 0, 7).instruments}
    return Trader(Strategy(name=name, decide=decide), DivergenceParams(), Alone(panel), None, instruments, limits)


def run(panel: Panel, *traders: Trader, bars: int = 12) -> EventRun:
    source = Source("made", "", "", "", panel.assets, panel.bar_ms, 0, 0)
    market = market_of(panel, START, bars, 7)
    return run_events(
        traders, market, D(100_000), Assumptions(), source, seed=7, catastrophe_share=D("0.25")
    )  # fmt: skip


def panel() -> Panel:
    return synthetic_panel(3, START + 40, ASSETS)


def books_after(done: EventRun, made: Panel) -> Books:
    books = Books({spec.id: spec for spec in market_of(made, START, 0, 7).instruments})
    for event in done.events:
        books.apply(event)
    books.check()
    return books


def sizes(done: EventRun, strategy: str, made: Panel, pair: str) -> list[float]:
    """USDT held by the strategy after each bar's orders, at that bar's close."""
    specs = {spec.id: spec for spec in market_of(made, START, 0, 7).instruments}
    books, held, bar = Books(specs), [], None
    for event in done.events:
        books.apply(event)
        if isinstance(event, Decided):
            bar = int((event.bar - made.ts[0]) // made.bar_ms)
        if type(event).__name__ == "Stepped" and bar is not None:
            book = books.book(strategy, pair)
            price = float(made.close[bar, made.assets.index(pair)])
            held.append(float(book.legs[0].size * book.legs[0].contract) * price if book else 0.0)
    return held


def test_a_position_grows_shrinks_turns_and_ends() -> None:
    made = panel()
    plan = {
        1: {"BTC": 4000.0},
        2: {"BTC": 8000.0},
        4: {"BTC": 2000.0},
        6: {"BTC": -3000.0},
        7: {"BTC": -3000.0},
        9: {"BTC": 0.0},
    }
    done = run(made, holder("one", made, plan))
    held = sizes(done, "one", made, "BTC")
    assert np.allclose(held, [0, 4000, 8000, 8000, 2000, 2000, 0, -3000, -3000, 0, 0, 0], rtol=0.05, atol=1)
    assert [trade.side for trade in done.result.trades] == [1, -1], "two round trips: one each way"
    change = done.result.equity[-1] - done.result.equity[0]
    assert abs(sum(trade.pnl for trade in done.result.trades) - change) < 1e-6


def test_a_target_beyond_the_largest_order_is_reached_in_its_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up, down and out: slices of what the exchange takes at a time, never refused for their sum."""
    contract, lot, least, tick, _, lever = listing._LISTED["BTC"]
    monkeypatch.setitem(listing._LISTED, "BTC", (contract, lot, least, tick, "2", lever))
    made = panel()
    plan = {1: {"BTC": 8000.0}, 3: {"BTC": 3000.0}, 5: {"BTC": 0.0}}
    done = run(made, holder("one", made, plan), bars=7)
    assert np.allclose(sizes(done, "one", made, "BTC"), [0, 8000, 8000, 3000, 3000, 0, 0], rtol=0.05, atol=1)
    orders = [abs(event.order.size) for event in done.events if isinstance(event, Planned)]
    assert len(orders) > 6 and max(orders) <= 2
    intents = [event.intent.legs[0].size for event in done.events if isinstance(event, Intended)]
    assert len(intents) == 3 and min(abs(size) for size in intents) > 2
    assert all(event.outcome == "done" for event in done.events if isinstance(event, Settled))
    books_after(done, made)


def test_what_is_already_held_needs_no_order() -> None:
    made = panel()
    worth = 3000.0 * made.close[START + 2, 1] / made.close[START + 1, 1]
    done = run(made, holder("one", made, {1: {"ETH": 3000.0}, 2: {"ETH": worth + 0.5}}))
    assert sum(isinstance(event, Planned) for event in done.events) == 1


def test_more_than_the_budget_is_refused_and_less_never() -> None:
    made = panel()
    tight = Limits(D("0.95"), D(50_000), D(10_000), D(10), D(1), D("0.0005"), budget=D(5_000))
    plan = {1: {"BTC": 4000.0}, 2: {"ETH": 2000.0}, 3: {"BTC": 1000.0}, 4: {"ETH": 2000.0}}
    done = run(made, holder("one", made, plan, tight))
    refused = [event.text for event in done.events if isinstance(event, Decided) and "budget" in event.text]
    assert len(refused) == 1 and refused[0].startswith("ETH refused: one would hold ")
    assert sizes(done, "one", made, "ETH")[4] > 1900


def test_opposite_wishes_meet_inside() -> None:
    """One gives up what the other begins to hold: the contracts change books, and only the rest is an order."""
    made = panel()
    give = holder("give", made, {1: {"BTC": 6000.0}, 3: {"BTC": 0.0}})
    take = holder("take", made, {3: {"BTC": 4000.0}})
    done = run(made, give, take, bars=6)
    inside = [event for event in done.events if isinstance(event, Filled) and not event.fill.size]
    assert len(inside) == 1
    moved = {part.intent: part.size for part in inside[0].parts}
    assert sum(moved.values()) == 0 and inside[0].fill.fee == 0
    orders = [event.order for event in done.events if isinstance(event, Planned)]
    sold = [order.size for order in orders if order.size < 0]
    assert len(orders) == 2 and len(sold) == 1, "the entry, and the part of the exit that nobody took"
    assert -sold[0] == orders[0].size - max(moved.values())
    books = books_after(done, made)
    assert [(book.strategy, book.pair) for book in books.open_books()] == [("take", "BTC")]
    assert books.net("BTC-USDT-SWAP") == books.open_books()[0].legs[0].size


def test_one_strategy_does_not_meet_itself() -> None:
    made = panel()
    done = run(made, holder("one", made, {1: {"BTC": 2000.0, "ETH": -2000.0}, 2: {"BTC": 0.0, "ETH": 0.0}}))
    assert all(event.fill.size for event in done.events if isinstance(event, Filled))
    assert sum(isinstance(event, Intended) for event in done.events) == 4
