"""What the exchange does by itself within a bar: catastrophe orders, worse extreme first, and liquidation."""

from decimal import Decimal

import pytest

from core.backtest.events import Assumptions, EventRun, market_of
from core.data.panel import Panel
from core.data.synthetic import HOUR_MS, START_MS, synthetic_panel
from core.domain.account import Bill, BillKind
from core.domain.orders import Fill, Origin
from core.portfolio.events import Billed, Decided, Filled, Intended, Protected, Stepped
from tests.backtest.scenes import (
    BTC,
    ETH,
    SOL,
    Plan,
    best,
    books_of,
    enter,
    fills,
    folded,
    hand,
    leave,
    play,
    still,
)

REPLAY = Assumptions(slippage="flat", inside="replay")
HOLD: Plan = {1: [enter()]}


def fired(run: EventRun) -> list[Fill]:
    """Fills of catastrophe orders."""
    return [fill for fill in fills(run) if fill.algo_id]


def liquidated(run: EventRun) -> list[Bill]:
    """What the statement says of a liquidation."""
    bills = (event.bill for event in run.events if isinstance(event, Billed))
    return [bill for bill in bills if bill.kind is BillKind.LIQUIDATION]


def stop(entry: float, share: str, tick: str = "0.1", *, long: bool = True) -> Decimal:
    """Where the catastrophe order of a position lies that was entered when the mark was at `entry`."""
    step, away = Decimal(tick), Decimal(share) if not long else -Decimal(share)
    return ((Decimal(repr(entry)) * (1 + away)) / step).to_integral_value() * step


# -- catastrophe orders ----------------------------------------------------------------------------------------


def test_a_stop_fires_within_the_bar_at_its_own_price() -> None:
    """The bar falls through it and comes back: it has fired all the same, and not at the low."""
    run = play(hand(still(), low={(4, 0): 40_000.0}), HOLD)
    (fill,) = fired(run)
    assert START_MS + 4 * HOUR_MS < fill.ts < START_MS + 5 * HOUR_MS
    assert fill.instrument == BTC and fill.size == -5
    assert fill.price == best(float(stop(60_000.0, "0.25")), "0.1", buy=False)


def test_a_short_leg_is_stopped_above() -> None:
    run = play(hand(still(), high={(4, 1): 9_000.0}), HOLD)
    (fill,) = fired(run)
    assert fill.instrument == ETH and fill.size > 0
    assert fill.price == best(float(stop(3_000.0, "0.25", "0.01", long=False)), "0.01", buy=True)


def test_a_stop_that_is_not_reached_does_not_fire() -> None:
    assert not fired(play(hand(still(), low={(4, 0): 45_000.1}), HOLD))
    assert fired(play(hand(still(), low={(4, 0): 45_000.0}), HOLD)), "reached to the tick"


def test_the_worse_extreme_comes_first() -> None:
    """A bar with both: the long leg's stop is met on the way down, before anything is gained from the high; and a
    position that is gone gains nothing more."""
    wild = hand(still(), low={(4, 0): 30_000.0}, high={(4, 0): 90_000.0})
    calm = hand(still(), low={(4, 0): 30_000.0})
    assert fired(play(wild, HOLD))[0].price == fired(play(calm, HOLD))[0].price
    assert play(wild, HOLD).result.equity[-1] == play(calm, HOLD).result.equity[-1]


def test_a_gap_through_the_stop_fills_at_the_open() -> None:
    opens = still()
    for row in opens[5:]:
        row[0] = 38_000.0
    closes = [*opens[1:5], [60_000.0, 3_000.0], *opens[6:], opens[-1]]  # Bar 4 closes where it was: a gap to bar 5.
    run = play(hand(opens, closes), HOLD)
    (fill,) = fired(run)
    assert fill.ts == START_MS + 5 * HOUR_MS
    assert fill.price == best(38_000.0, "0.1", buy=False) < stop(60_000.0, "0.25")


def test_the_other_leg_is_closed_at_once() -> None:
    """At the next moment that the bars know: the open after. Before anything is decided, and whoever is closed so
    may not enter again before z has crossed."""
    panel = hand(still(), low={(4, 0): 40_000.0})
    run = play(panel, HOLD)
    last = fills(run, ETH)[-1]
    assert last.ts == START_MS + 5 * HOUR_MS and last.size == 10
    intended = [event for event in run.events if isinstance(event, Intended)]
    stopped, rejoined = ((e.intent.origin, e.intent.reason, e.barred) for e in intended[1:])
    assert stopped == (Origin.EXCHANGE, "catastrophe stop", True)
    assert rejoined == (Origin.RECOVERY, "the exchange closed its other leg", True)
    closed = next(at for at, e in enumerate(run.events) if isinstance(e, Filled) and e.fill == last)
    decided = next(at for at, e in enumerate(run.events) if isinstance(e, Decided) and e.ts == last.ts)
    assert closed < decided
    (trade,) = run.result.trades
    assert trade.exit == "the exchange closed its other leg" and not run.result.open_pairs
    assert [e.state for e in run.events if isinstance(e, Protected)].count("fired") == 1
    assert not books_of(panel, run.events).protections


def test_a_new_position_has_a_stop_of_its_own_again() -> None:
    """After one has fired the pair is entered anew, at another price, and is stopped out from there."""
    opens = still(12)
    for row in opens[7:]:
        row[0] = 50_000.0
    run = play(hand(opens, low={(4, 0): 40_000.0, (9, 0): 37_000.0}), {1: [enter()], 6: [enter()]})
    prices = [fill.price for fill in fired(run)]
    assert prices == [best(float(stop(price, "0.25")), "0.1", buy=False) for price in (60_000.0, 50_000.0)]


def test_two_positions_in_one_asset_share_one_stop_of_their_sum() -> None:
    """Two pairs long in BTC, entered at one open: their stops lie at one price, and the second takes the place of
    the first. Both are closed by it."""
    prices = (60_000.0, 3_000.0, 150.0)
    panel = hand(still(prices=prices), low={(4, 0): 40_000.0})
    run = play(panel, {1: [enter("BTC/ETH"), enter("BTC/SOL")]})
    (fill,) = fired(run)
    assert fill.size == -10 and fill.price == best(45_000.0, "0.1", buy=False)
    assert {trade.pair for trade in run.result.trades} == {"BTC/ETH", "BTC/SOL"} and not run.result.open_pairs


def test_when_one_of_two_leaves_the_stop_of_the_other_stays() -> None:
    prices = (60_000.0, 3_000.0, 150.0)
    panel = hand(still(10, prices), low={(6, 0): 40_000.0})
    run = play(panel, {1: [enter("BTC/ETH"), enter("BTC/SOL")], 3: [leave("BTC/ETH")]})
    assert [fill.size for fill in fired(run)] == [-5]
    assert [trade.pair for trade in run.result.trades] == ["BTC/ETH", "BTC/SOL"]


def test_a_stop_that_fires_while_an_order_travels_is_not_lost() -> None:
    """A pair is held, another one with the same asset is entered: its order takes most of a minute of a bar that
    crashes, and when it arrives the stop of the first has fired. The ledger learns of it at the next step."""
    opens = still(8, (60_000.0, 3_000.0, 150.0))
    for row in opens[5:]:
        row[0] = 30_000.0
    panel = hand(opens)
    plan: Plan = {1: [enter("BTC/ETH")], 3: [enter("BTC/SOL")]}
    run = play(panel, plan, assumed=Assumptions(slippage="flat", latency="50000"), catastrophe="0.004")
    first = fired(run)[0]
    assert (first.ts, first.size) == (START_MS + 4 * HOUR_MS + 2 * 50_000, -5), "while the second order travels"
    books = books_of(panel, run.events)
    assert not books.open_books() and not any(books.net(name) for name in (BTC, ETH, SOL))
    assert {trade.pair for trade in run.result.trades} == {"BTC/ETH", "BTC/SOL"}
    assert sum(trade.pnl for trade in run.result.trades) == pytest.approx(run.result.equity[-1] - 100_000)


@pytest.mark.parametrize("share", ["0.004", "0.012"])
def test_on_the_path_of_the_demo_a_stop_fires_at_the_first_tick_beyond_it(share: str) -> None:
    """`replay`: the seeded path of the local exchange, walked here once more by hand."""
    panel = synthetic_panel(4, 60, ("BTC", "ETH", "SOL"))
    run = play(panel, {1: [enter()]}, assumed=REPLAY, catastrophe=share)
    name, ts, price = _first_beyond(panel, run, share)
    fill = fired(run)[0]
    assert (fill.instrument, fill.ts) == (name, ts)
    tick = {BTC: "0.1", ETH: "0.01", SOL: "0.01"}[name]
    assert fill.price == best(float(price), tick, buy=fill.size > 0)


def _first_beyond(panel: Panel, run: EventRun, share: str) -> tuple[str, int, Decimal]:
    market = market_of(panel, 1, 0, 7)
    sides = {fill.instrument: fill.size for fill in fills(run)[:2]}
    ticks = {BTC: "0.1", ETH: "0.01"}
    stops: dict[str, Decimal] = {}
    while not market.finished:
        market.step()
        for quote in market.quotes():
            size = sides.get(quote.instrument)
            if market.bar == 2 and market.tick == 0 and size:
                stops[quote.instrument] = stop(float(quote.mark), share, ticks[quote.instrument], long=size > 0)
            bound = stops.get(quote.instrument)
            if size and bound and (quote.mark <= bound if size > 0 else quote.mark >= bound):
                return quote.instrument, market.now, quote.mark
    raise AssertionError("no stop is ever reached")


# -- liquidation -----------------------------------------------------------------------------------------------


def ruin(leverage: int) -> EventRun:
    """As much as the margin gives at that leverage, up to ten times the cash, in a market that within one bar goes
    against both legs by a ninth."""
    opens = still(10)
    panel = hand(opens, low={(5, 0): 53_000.0}, high={(5, 1): 3_350.0})
    plan: Plan = {1: [enter(notional=95_000.0)], 7: [enter(notional=1_000.0)]}
    return play(panel, plan, cash=20_000, leverage=leverage, catastrophe="0.9")


def test_without_margin_all_is_closed_and_the_run_goes_on_flat() -> None:
    """There is more than the cash to lose: closed, at a debt, and what is wished for later is refused."""
    run = ruin(20)
    forced = liquidated(run)
    assert {bill.instrument for bill in forced} == {BTC, ETH}
    assert all(START_MS + 5 * HOUR_MS < bill.ts < START_MS + 6 * HOUR_MS for bill in forced)
    panel = hand(still(10))
    assert not books_of(panel, run.events).open_books() and not run.result.open_pairs
    (trade,) = run.result.trades
    assert trade.exit == "liquidation or deleveraging"
    assert run.result.equity[0] + trade.pnl == pytest.approx(run.result.equity[-1])
    assert run.result.equity[-1] < 0
    assert len(set(run.result.equity[6:].tolist())) == 1 and len(run.result.equity) == 10
    assert [e.bar for e in run.events if isinstance(e, Stepped)][-1] == START_MS + 9 * HOUR_MS
    refused = [e.text for e in run.events if isinstance(e, Decided) and "refused" in e.text]
    assert refused and "BTC/ETH refused" in refused[0]


def test_with_margin_enough_nothing_is_closed() -> None:
    """The same market, twice the cash for the same legs."""
    run = ruin(5)
    assert not liquidated(run)
    assert run.result.open_pairs == ("BTC/ETH",)


def test_a_gap_at_the_open_liquidates_there() -> None:
    opens = still(8)
    for row in opens[5:]:
        row[0] = 52_000.0
    closes = [*opens[1:5], [60_000.0, 3_000.0], *opens[6:], opens[-1]]
    run = play(hand(opens, closes), {1: [enter(notional=95_000.0)]}, cash=10_000, leverage=20, catastrophe="0.9")
    forced = liquidated(run)
    assert {bill.ts for bill in forced} == {START_MS + 5 * HOUR_MS}
    assert run.result.equity[-1] < 0, "what the gap took beyond the margin stays a debt"


def test_stops_of_what_was_liquidated_are_taken_away() -> None:
    for event, books in folded(hand(still(10)), ruin(20).events):
        if isinstance(event, Stepped) and event.bar >= START_MS + 6 * HOUR_MS:
            assert not books.protections


@pytest.mark.parametrize("latency", ["none", "50000"])
def test_a_leg_that_its_stop_has_closed_is_not_closed_again(latency: str) -> None:
    """The pair is left in a bar that crashes: by the time the order arrives the stop has done its work. What the
    order would have closed is gone, and it must not open the other side."""
    opens = still(9)
    for row in opens[5:]:
        row[0] = 30_000.0
    panel = hand(opens)
    run = play(panel, {1: [enter()], 3: [leave()]}, assumed=Assumptions(latency=latency), catastrophe="0.004")
    assert sum(fill.size for fill in fills(run, BTC)) == sum(fill.size for fill in fills(run, ETH)) == 0
    for event, books in folded(panel, run.events):
        if isinstance(event, Stepped):
            assert books.net(BTC) >= 0 >= books.net(ETH), "the other side was opened"
    assert len(fills(run, BTC)) == len(fills(run, ETH)) == 2
    assert len(run.result.trades) == 1 and bool(fired(run)) == (latency != "none")


def test_a_leg_lost_to_a_stop_while_the_other_is_still_bought_is_not_left_naked() -> None:
    """One pair is held, another with the same asset is half way in: a stop of the sum takes from both. When the
    second has its other leg it has nothing to hedge any more, and goes."""
    opens = still(10, (60_000.0, 3_000.0, 150.0))
    for row in opens[5:]:
        row[0] = 30_000.0
    turnover = (1e8, 1e9, 1.1e9)  # BTC is the less liquid: its leg is sent first.
    panel = hand(opens, turnover=turnover)
    plan: Plan = {1: [enter("BTC/ETH")], 3: [enter("BTC/SOL", 1, 6_000.0)]}
    run = play(panel, plan, assumed=Assumptions(slippage="flat", latency="15000"), catastrophe="0.004")
    for event, books in folded(panel, run.events):
        if isinstance(event, Stepped) and event.bar >= START_MS + 5 * HOUR_MS:
            assert not books.open_books()
    assert fired(run)
