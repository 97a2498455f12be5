"""Execution quality: the shortfall of each leg against its decision price, told from the ledger alone."""

import random
from decimal import Decimal as D

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from core.domain.orders import Action, Basis, Fill, Intent, Leg, Order, OrderType, Origin, client_id
from core.execution.quality import (
    FEWEST,
    Execution,
    Executions,
    drift,
    drifted,
    mean,
    row,
    student,
)
from core.matching.core import Matching
from core.matching.rules import Rules
from core.matching.types import Place, Quote
from core.portfolio.books import Books
from core.portfolio.events import AnyEvent, Filled, Intended, Opened, Part, Planned, Settled
from tests.execution.fakes import BTC, ETH, SPECS

RULES = Rules()
BASIS = (Basis(D(1000), 1e8), Basis(D(100), 1e8))


class Tale:
    """A ledger written by hand: BTC/ETH, decided at 1000 and 100."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = [Opened(0, "px", "fake", "USDT", D(10_000))]
        self.books = Books(SPECS)
        self.books.apply(self.events[0])
        self.heard = Executions(self.books, SPECS, RULES)
        self._trades = 0

    def tell(self, *events: AnyEvent) -> None:
        for event in events:
            self.events.append(event)
            self.books.apply(event)
            self.heard.heard(event)

    def intend(self, name: str, btc: str, eth: str, basis: tuple[Basis, ...] = BASIS, ts: int = 1) -> None:
        legs = (Leg(BTC, D(btc)), Leg(ETH, D(eth)))
        intent = Intent(
            name, ts, "zscore", "BTC/ETH", Action.OPEN, Origin.STRATEGY, legs, "test", side=1, basis=basis
        )
        self.tell(Intended(ts, intent))

    def order(self, intent: str, leg: int, size: str, price: str, fee: str, mid: str | None) -> None:
        """One order of that size, written at `mid`, filled whole at `price`."""
        attempt = len(self.books.intents[intent].orders[leg])
        name, instrument = client_id(intent, leg, attempt), (BTC, ETH)[leg]
        middle = D(mid) if mid else None
        order = Order(name, intent, leg, attempt, instrument, D(size), OrderType.MARKET, 9, mid=middle)
        self._trades += 1
        fill = Fill(str(self._trades), f"v{self._trades}", name, instrument, D(size), D(price), D(fee), "USDT", 2)
        self.tell(Planned(2, order), Filled(2, fill, (Part(intent, leg, D(size), D(fee)),)))

    def settle(self, intent: str) -> None:
        self.tell(Settled(3, intent, "done"))

    def again(self) -> Executions:
        """What a restart makes of the ledger."""
        books = Books(SPECS)
        for event in self.events:
            books.apply(event)
        return Executions(books, SPECS, RULES)


def one(tale: Tale) -> Execution:
    (leg,) = tale.heard.legs()
    return leg


def test_a_buy_is_split_into_delay_spread_and_fee() -> None:
    tale = Tale()
    tale.intend("a", "10", "-10")
    tale.order("a", 0, "10", "1001.5", "-0.05", "1001")
    tale.settle("a")
    leg = one(tale)  # 10 contracts of 0.01 BTC
    assert (leg.value, leg.delay, leg.spread, leg.fee) == pytest.approx((100.0, 0.1, 0.05, 0.05))
    assert row([leg]).shortfall.bps == pytest.approx(20.0)
    assert (leg.strategy, leg.pair, leg.instrument, leg.fills) == ("zscore", "BTC/ETH", BTC, 1)


def test_a_sale_above_the_decision_price_gains() -> None:
    tale = Tale()
    tale.intend("a", "10", "-10")
    tale.order("a", 1, "-10", "100.2", "0.01", "100.3")
    tale.settle("a")
    leg = one(tale)  # 10 contracts of 0.1 ETH; the fee was a rebate
    assert (leg.delay, leg.spread, leg.fee) == pytest.approx((-0.3, 0.1, -0.01))


def test_a_leg_taken_back_costs_both_ways() -> None:
    tale = Tale()
    tale.intend("a", "10", "-10")
    tale.order("a", 0, "10", "1001", "0", "1000")
    tale.order("a", 0, "-10", "999", "0", "1000")
    tale.settle("a")
    leg = one(tale)
    assert (leg.value, leg.delay, leg.spread) == pytest.approx((200.0, 0.0, 0.2))


def test_where_no_quote_was_known_all_of_it_is_spread() -> None:
    tale = Tale()
    tale.intend("a", "10", "-10")
    tale.order("a", 0, "10", "1001", "0", None)
    tale.settle("a")
    assert (one(tale).delay, one(tale).spread) == pytest.approx((0.0, 0.1))


def test_what_nobody_decided_on_a_bar_or_did_not_trade_is_not_measured() -> None:
    tale = Tale()
    tale.intend("a", "10", "-10", basis=())
    tale.order("a", 0, "10", "1001", "0", "1000")
    tale.settle("a")
    tale.intend("b", "10", "-10")
    tale.settle("b")
    assert tale.heard.legs() == []


def test_what_is_at_work_counts_when_it_has_ended() -> None:
    tale = Tale()
    tale.intend("a", "10", "-10")
    tale.order("a", 0, "10", "1001", "0", "1000")
    assert tale.heard.legs() == []
    tale.settle("a")
    assert len(tale.heard.legs()) == 1


prices = st.decimals(900, 1100, places=1)
sizes = st.integers(1, 400)
fees = st.decimals(-1, 1, places=3)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), sizes, prices, prices, st.decimals(-1, 1, places=3)), min_size=1, max_size=6)
)
def test_the_parts_sum_to_what_the_contracts_cost_beyond_the_decision(
    orders: list[tuple[bool, int, D, D, D]],
) -> None:
    tale = Tale()
    for number, (buy, size, mid, price, fee) in enumerate(orders):
        name, signed = f"i{number}", size if buy else -size
        tale.intend(name, str(signed), "1", ts=number)
        tale.order(name, 0, str(signed), str(price), str(fee), str(mid))
        tale.settle(name)
    paid = sum((D(s if b else -s) * SPECS[BTC].contract * (p - 1000) - f for b, s, _, p, f in orders), D(0))
    assert sum(leg.shortfall for leg in tale.heard.legs()) == pytest.approx(float(paid), abs=1e-9)
    assert row(tale.heard.legs()).usdt == pytest.approx(float(paid), abs=1e-9)
    assert tale.again().legs() == tale.heard.legs()
    assert tale.heard.latest(2) == tale.heard.legs()[-2:]


@settings(max_examples=40, deadline=None)
@given(st.booleans(), st.integers(1, 4000), st.floats(0, 1e8), st.sampled_from([RULES, Rules(spread_bps=D(7))]))
def test_what_is_assumed_is_what_the_backtests_book_would_have_charged(
    buy: bool, size: int, turnover: float, rules: Rules
) -> None:
    signed = str(size if buy else -size)
    matching = Matching([SPECS[BTC]], D(10**9), rules)
    place = Place("a", BTC, D(signed), OrderType.MARKET)
    events = matching.step(1, [place], [Quote(BTC, D(1000), turnover)])
    fills = [event for event in events if isinstance(event, Fill)]
    got = sum((abs(fill.size) for fill in fills), D(0))

    tale = Tale()
    tale.heard = Executions(tale.books, SPECS, rules)
    tale.intend("a", signed, "1", basis=(Basis(D(1000), turnover), BASIS[1]))
    tale.order("a", 0, str(got if buy else -got), "1000", "0", "1000")
    tale.settle("a")
    charged = sum((abs(fill.size * (fill.price - 1000)) * SPECS[BTC].contract for fill in fills), D(0))
    assert one(tale).assumed == pytest.approx(float(charged))


@pytest.mark.parametrize("freedom", [4, 5, 9, 19, 99, 1000])
def test_the_quantile_is_students(freedom: int) -> None:
    assert student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=0.01)


def test_too_few_legs_have_no_interval() -> None:
    assert mean([], []).bps == 0 and mean([], []).low is None
    few = mean([1.0] * (FEWEST - 1), [1000.0] * (FEWEST - 1))
    assert (few.bps, few.low, few.high) == (pytest.approx(10.0), None, None)


def test_the_interval_covers_the_truth_nineteen_times_in_twenty() -> None:
    chance, hits = random.Random(11), 0
    for _ in range(1000):
        values = [chance.uniform(500, 1500) for _ in range(20)]
        costs = [value * (3.0 + chance.gauss(0, 6)) / 10_000 for value in values]
        told = mean(costs, values)
        assert told.low is not None and told.high is not None
        hits += told.low <= 3.0 <= told.high
    assert 930 <= hits <= 970


def executed(excess_bps: float, ts: int = 0, value: float = 1000.0) -> Execution:
    return Execution(ts, "zscore", "BTC/ETH", BTC, 1, value, 0.0, value * (excess_bps + 1) / 1e4, 9.0, value / 1e4)


def test_drift_is_what_lies_beyond_the_bound_and_beyond_chance() -> None:
    noise = random.Random(5)
    dear = [executed(8 + noise.gauss(0, 2)) for _ in range(20)]
    wild = [executed(8 + noise.gauss(0, 60)) for _ in range(20)]
    fair = [executed(noise.gauss(0, 2)) for _ in range(20)]
    assert drift(dear).bps == pytest.approx(8, abs=1.5), "fees are no assumption"
    assert drifted(drift(dear), 5.0) and not drifted(drift(dear), 12.0)
    assert drift(wild).bps > 5 or drift(wild).low is not None
    assert not drifted(drift(wild), 5.0) and not drifted(drift(fair), 5.0)
    assert not drifted(drift(dear[:4]), 5.0), "so few are chance"
