"""The exchange of a backtest, asked directly: orders, refusals, stops, and a market moved a bar at a time."""

from collections.abc import Coroutine
from decimal import Decimal
from typing import Any, TypeVar

import pytest

from core.backtest.events import Assumptions, market_of
from core.backtest.latency import latency
from core.backtest.venue import REJECTED, BacktestVenue
from core.clock import at_once
from core.data.panel import Panel
from core.data.synthetic import HOUR_MS, START_MS
from core.domain.account import BillKind
from core.domain.errors import UserError
from core.domain.orders import Fill, Order, OrderReport, OrderState, OrderType, Protection
from core.venues.port import Refused
from tests.backtest.scenes import BTC, ETH, SOL, best, hand, still

R = TypeVar("R")
OPENED = START_MS + HOUR_MS


class Desk:
    """A venue on a market, at the open of its second bar, with somebody who listens to its fills."""

    def __init__(
        self, panel: Panel, assumed: Assumptions | None = None, cash: int = 100_000, seed: int = 1
    ) -> None:
        given = assumed or Assumptions(slippage="flat")
        self.market = market_of(panel, 1, 0, 7)
        self.venue = BacktestVenue(
            self.market,
            given.rules(),
            Decimal(cash),
            latency(given.latency, seed),
            given.inside,
            given.rejects,
            seed,
        )
        self.heard: list[Fill] = []
        self.venue.told = self._hear
        self.sent = 0

    async def _hear(self, fill: Fill) -> None:
        self.heard.append(fill)

    def do(self, asked: Coroutine[Any, Any, R]) -> R:
        """What the venue answers: it never waits."""
        return at_once(asked)

    def place(self, instrument: str, size: str, *, reduce_only: bool = False) -> OrderReport:
        self.sent += 1
        name = f"c{self.sent}"
        order = Order(name, "i", 0, 0, instrument, Decimal(size), OrderType.MARKET, 0, None, reduce_only)
        return self.do(self.venue.place(order))

    def protect(self, name: str, size: str, trigger: str, instrument: str = BTC) -> Protection:
        return self.do(self.venue.protect(Protection(name, instrument, Decimal(size), Decimal(trigger))))


def test_it_never_waits_and_takes_no_real_money() -> None:
    can = Desk(hand(still())).venue.capabilities
    assert can.immediate and can.triggers and not can.real_money and not can.expiry


def test_what_came_of_an_order_is_told_before_place_returns() -> None:
    desk = Desk(hand(still()))
    report = desk.place(BTC, "5")
    assert report.state is OrderState.FILLED and report.filled == 5
    (fill,) = desk.heard
    assert (fill.client_id, fill.size, fill.ts) == ("c1", Decimal(5), OPENED)
    assert report.average == fill.price == best(60_000.0, "0.1", buy=True)
    assert desk.do(desk.venue.order(BTC, "c1")) == report and desk.do(desk.venue.fills(OPENED)) == [fill]
    assert [held.size for held in desk.do(desk.venue.positions())] == [5]
    assert desk.do(desk.venue.open_orders()) == []
    assert desk.do(desk.venue.order(BTC, "unknown")) is None


def test_a_refusal_of_the_exchange_has_no_effect() -> None:
    desk = Desk(hand(still()), cash=1_000)
    for size, code in (("500", "51008"), ("0.001", "51020"), ("0.015", "51121")):
        with pytest.raises(Refused) as caught:
            desk.place(BTC, size)
        assert caught.value.code == code
    with pytest.raises(Refused) as caught:
        desk.place(BTC, "-1", reduce_only=True)
    assert caught.value.code == "51169"
    assert not desk.heard and desk.do(desk.venue.balance()).cash == 1_000


def test_rejects_are_drawn_from_their_seed_and_say_so() -> None:
    def outcomes(seed: int) -> list[str]:
        desk = Desk(hand(still()), Assumptions(slippage="flat", rejects=0.4), seed=seed)
        codes = []
        for number in range(200):
            try:
                desk.place(BTC, "1" if number % 2 else "-1")
                codes.append("")
            except Refused as refused:
                codes.append(refused.code)
        assert len(desk.heard) == codes.count("")
        return codes

    assert outcomes(1) == outcomes(1) != outcomes(2)
    assert set(outcomes(1)) == {"", REJECTED} and 50 < outcomes(1).count(REJECTED) < 110


def test_a_book_once_taken_is_empty_until_the_market_moves() -> None:
    """Two orders of one moment meet one book; at the next open it is whole again."""
    desk = Desk(hand(still(), turnover=100_000.0), Assumptions(slippage="book"))
    first, second = desk.place(ETH, "100"), desk.place(ETH, "100")
    assert first.state is OrderState.CANCELLED and 0 < first.filled < 100 and second.filled == 0
    desk.venue.close_bar()
    assert desk.place(ETH, "100").filled > 0


def test_slippage_is_counted_by_fill_and_in_all() -> None:
    desk = Desk(hand(still()))
    desk.place(BTC, "5")
    desk.place(ETH, "-10")
    costs = [desk.venue.slipped[fill.trade_id] for fill in desk.heard]
    assert costs == pytest.approx([-6 * 0.05, -0.3 * 1.0]) and desk.venue.slippage == pytest.approx(sum(costs))


def test_time_goes_on_by_bars_and_orders() -> None:
    desk = Desk(hand(still(4)), Assumptions(slippage="flat", latency="20000"))
    times = [desk.venue.market_ms()]
    for _ in range(4):
        desk.place(BTC, "1")
        times.append(desk.venue.market_ms())
        if not desk.market.finished:
            desk.venue.close_bar()
            times.append(desk.venue.market_ms())
    assert times == sorted(times) and desk.venue.server_ms() == times[-1]
    assert [(time - START_MS) % HOUR_MS for time in times] == [0, 20_000, 0, 20_000, 0, 20_000, 0, 0]


def test_after_the_last_bar_its_close_stands() -> None:
    opens = still(3)
    desk = Desk(hand(opens, [*opens[:2], [61_000.0, 3_100.0]]), Assumptions(slippage="none", latency="5000"))
    desk.venue.close_bar()
    desk.venue.close_bar()
    assert desk.market.finished and desk.do(desk.venue.mark(BTC)) == 61_000
    desk.place(BTC, "1")
    assert desk.heard[0].price == best(61_000.0, "0.1", buy=True, half_bp="0")
    assert desk.heard[0].ts == START_MS + 3 * HOUR_MS


def test_a_stop_is_held_until_it_is_taken_away_or_fires() -> None:
    panel = hand(still(6), low={(2, 0): 40_000.0, (4, 0): 40_000.0})
    desk = Desk(panel)
    desk.place(BTC, "5")
    placed = desk.protect("p1", "-5", "50000")
    assert placed.venue_id and desk.do(desk.venue.protections()) == [placed]
    assert desk.venue.close_bar() == [], "not reached in this bar"
    (fill,) = desk.venue.close_bar()
    assert (fill.algo_id, fill.size) == ("p1", Decimal(-5)) and fill not in desk.heard, (
        "the exchange's own, told by the bar"
    )
    assert desk.do(desk.venue.protections()) == []
    desk.do(desk.venue.unprotect(placed))  # Already gone is no error.
    desk.place(BTC, "5")
    again = desk.protect("p2", "-5", "50000")
    desk.do(desk.venue.unprotect(again))
    assert desk.venue.close_bar() == desk.venue.close_bar() == []


def test_of_two_stops_at_one_price_one_can_be_taken_away() -> None:
    """As it is when a position grows: the new one is placed before the old is cancelled."""
    desk = Desk(hand(still(6), low={(2, 0): 40_000.0}))
    desk.place(BTC, "5")
    old = desk.protect("p1", "-5", "50000")
    desk.protect("p2", "-5", "50000")
    desk.do(desk.venue.unprotect(old))
    desk.venue.close_bar()
    assert [fill.algo_id for fill in desk.venue.close_bar()] == ["p2"]


def test_a_stop_beyond_the_mark_is_refused() -> None:
    desk = Desk(hand(still()))
    desk.place(BTC, "5")
    with pytest.raises(Refused) as caught:
        desk.protect("p1", "-5", "60000.1")
    assert caught.value.code == "51280"
    assert desk.do(desk.venue.protections()) == [] and desk.venue.close_bar() == []


def test_funding_settles_before_the_open_trades() -> None:
    """Of what is held, at the last price before, in the exchange's own order."""
    opens = still(5)
    opens[2] = [66_000.0, 3_300.0]
    opens[3] = [90_000.0, 3_300.0]
    closes = [*opens[1:2], opens[2], [70_000.0, 3_000.0], opens[4], opens[4]]
    desk = Desk(hand(opens, closes, funding={(3, 0): 0.001, (3, 1): 0.001}))
    desk.place(BTC, "5")
    desk.venue.close_bar()
    desk.venue.close_bar()
    bills = [bill for bill in desk.do(desk.venue.bills("")) if bill.kind is BillKind.FUNDING]
    assert [(bill.instrument, bill.ts, bill.change) for bill in bills] == [
        (BTC, START_MS + 3 * HOUR_MS, Decimal("-0.05") * 70_000 * Decimal("0.001"))
    ]


def test_leverage_is_bounded_by_the_instrument() -> None:
    desk = Desk(hand(still()))
    desk.do(desk.venue.set_leverage(BTC, Decimal(100)))
    with pytest.raises(Refused) as caught:
        desk.do(desk.venue.set_leverage(BTC, Decimal(101)))
    assert caught.value.code == "59102"


def test_fees_are_those_of_the_assumption() -> None:
    desk = Desk(hand(still()), Assumptions(slippage="flat", fees="1/8"))
    assert desk.do(desk.venue.fee_rates()) == (Decimal("0.0001"), Decimal("0.0008"))
    desk.place(BTC, "5")
    assert desk.heard[0].fee == -desk.heard[0].price * Decimal("0.05") * Decimal("0.0008")


def test_an_order_can_be_cancelled_only_while_it_is_pending() -> None:
    desk = Desk(hand(still()))
    desk.place(BTC, "5")
    done = Order("c1", "i", 0, 0, BTC, Decimal(5), OrderType.MARKET, 0)
    with pytest.raises(Refused):
        desk.do(desk.venue.cancel(done))
    report = desk.do(desk.venue.order(BTC, "c1"))
    assert report is not None and report.state is OrderState.FILLED


def test_bars_and_funding_come_from_the_panel_and_events_are_told() -> None:
    desk = Desk(hand(still()))
    for asked in (desk.venue.candles(BTC, 0, 1), desk.venue.funding(BTC, 1), desk.venue.next_event()):
        with pytest.raises(AssertionError):
            desk.do(asked)
    for nothing in (desk.venue.connect([BTC]), desk.venue.close(), desk.venue.acknowledge(START_MS)):
        assert desk.do(nothing) is None


def test_nobody_who_listens_is_a_fault() -> None:
    panel = hand(still())
    rules = Assumptions().rules()
    venue = BacktestVenue(market_of(panel, 1, 0, 7), rules, Decimal(1_000), latency("none", 1), "adverse", 0.0, 1)
    with pytest.raises(AssertionError, match="nobody listens"):
        at_once(venue.place(Order("c1", "i", 0, 0, BTC, Decimal(1), OrderType.MARKET, 0)))


def test_an_asset_that_has_no_price_yet_is_left_alone() -> None:
    """It is listed in the middle of the run; before, nothing asks for its price."""
    opens = still(6, (60_000.0, 3_000.0, 150.0))
    panel = hand(opens)
    volume = panel.volume.copy()
    volume[:3, 2] = 0.0
    late = Panel.of(panel.ts, panel.assets, (panel.open, panel.high, panel.low, panel.close, volume), HOUR_MS)
    desk = Desk(late)
    desk.place(BTC, "5")
    desk.protect("p1", "-5", "50000")
    for _ in range(3):
        assert desk.venue.close_bar() == []
    assert desk.place(SOL, "3").state is OrderState.FILLED


def test_a_way_within_the_bar_that_is_not_known_is_refused() -> None:
    with pytest.raises(UserError, match="adverse, replay"):
        Desk(hand(still()), Assumptions(inside="kind"))
