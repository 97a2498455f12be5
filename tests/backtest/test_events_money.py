"""Where the money of a run goes: funding, the sum of its trades, its rows, and two strategies on one account."""

from collections.abc import Mapping
from decimal import Decimal

import numpy as np
import pytest

from core.backtest.events import Assumptions, EventRun
from core.data.panel import Panel
from core.data.synthetic import HOUR_MS, START_MS, synthetic_panel
from core.domain.account import BillKind, book_pnl
from core.domain.orders import Origin
from core.portfolio.events import Billed, Decided, Intended, Reported, Stepped
from tests.backtest.scenes import (
    BTC,
    ETH,
    SOL,
    Plan,
    books_of,
    enter,
    fills,
    folded,
    hand,
    leave,
    play,
    still,
    value,
)


def funded(run: EventRun) -> list[tuple[str, int, Decimal]]:
    """(instrument, bar at whose open it settled, amount) of each funding bill."""
    bills = (event.bill for event in run.events if isinstance(event, Billed))
    return [(b.instrument, (b.ts - START_MS) // HOUR_MS, b.change) for b in bills if b.kind is BillKind.FUNDING]


# -- funding ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "rate"), [(1, 0.0004), (-1, 0.0004), (1, -0.0004), (-1, -0.0004)])
def test_a_long_pays_a_positive_rate_and_a_short_receives_it(side: int, rate: float) -> None:
    """On the contracts held, at the last price before the settlement."""
    opens = still()
    opens[4] = [66_000.0, 3_000.0]  # Bar 3 closes there; bar 4 opens there, and settles at its open.
    run = play(hand(opens, funding={(4, 0): rate}), {1: [enter(side=side)]})
    assert funded(run) == [(BTC, 4, -side * Decimal("0.05") * 66_000 * Decimal(repr(rate)))]
    assert run.result.costs[-1][2] == pytest.approx(-side * 0.05 * 66_000 * rate)


def test_funding_falls_to_what_is_held_at_the_instant() -> None:
    """Who decides to leave at that close still pays, for the order comes after; who enters then does not."""
    rates = {(bar, 0): 0.001 for bar in range(8)}
    run = play(hand(still(), funding=rates), {1: [enter()], 4: [leave()]})
    assert [bar for _, bar, _ in funded(run)] == [3, 4, 5]
    (trade,) = run.result.trades
    assert (trade.opened, trade.closed) == (START_MS + 2 * HOUR_MS, START_MS + 5 * HOUR_MS)
    assert trade.funding == pytest.approx(-3 * 0.001 * 3_000)
    assert trade.pnl == pytest.approx(run.result.equity[-1] - 100_000)


def test_both_legs_are_settled_and_shared_by_what_each_pair_holds() -> None:
    """BTC is held by two pairs, in one of them twice as much: one bill of the exchange, two shares."""
    panel = hand(still(prices=(60_000.0, 3_000.0, 150.0)), funding={(4, 0): 0.001, (4, 1): 0.002})
    entries = [enter("BTC/ETH", 1, 6_000.0), enter("BTC/SOL", 1, 3_000.0)]
    run = play(panel, {1: entries, 5: [leave("BTC/ETH"), leave("BTC/SOL")]})
    assert {(name, amount) for name, _, amount in funded(run)} == {(BTC, Decimal(-9)), (ETH, Decimal(12))}
    paid = {trade.pair: trade.funding for trade in run.result.trades}
    assert paid == {"BTC/ETH": pytest.approx(-6 + 12), "BTC/SOL": pytest.approx(-3)}


def test_nothing_is_paid_while_nothing_is_held() -> None:
    rates = {(bar, asset): 0.001 for bar in range(8) for asset in range(2)}
    run = play(hand(still(), funding=rates), {})
    assert not funded(run) and (run.result.equity == 100_000).all()


# -- sums ------------------------------------------------------------------------------------------------------

BUSY = Assumptions(latency="700~0.5", rejects=0.1)
WEEK: Plan = {0: [enter("BTC/ETH"), enter("XRP/SOL", -1)], 4: [leave("BTC/ETH")], 5: [leave("XRP/SOL")]}
ALTERNATING: Plan = {t: WEEK.get(t % 7, ()) for t in range(119)}
RUNS = [Assumptions(), Assumptions(slippage="flat"), BUSY, Assumptions(inside="replay")]


def busy(assumed: Assumptions = BUSY, catastrophe: str = "0.02") -> tuple[Panel, EventRun]:
    panel = synthetic_panel(21, 120, ("BTC", "ETH", "XRP", "SOL"))
    return panel, play(panel, ALTERNATING, assumed=assumed, catastrophe=catastrophe)


@pytest.mark.parametrize("assumed", RUNS)
def test_trades_and_open_books_make_the_change_of_equity(assumed: Assumptions) -> None:
    panel, run = busy(assumed)
    result = run.result
    assert len(result.trades) > 25
    prices = dict(zip(panel.assets, panel.close[-1].tolist(), strict=True))
    still_open = [book_pnl(book, prices) for book in books_of(panel, run.events).open_books()]
    made = sum(trade.pnl for trade in result.trades) + sum(still_open)
    assert made == pytest.approx(result.equity[-1] - result.equity[0], abs=1e-6)


def test_costs_end_where_the_books_do() -> None:
    panel, run = busy()
    books = books_of(panel, run.events)
    slippage, fees, funding = run.result.costs[-1]
    assert (fees, funding) == (pytest.approx(float(books.fees)), pytest.approx(float(books.funding)))
    assert slippage < 0 and fees < 0 and funding != 0
    assert (np.diff(run.result.costs[:, :2], axis=0) <= 0).all(), "slippage and fees are only ever paid"
    for column, field in enumerate(("slippage", "fees", "funding")):
        told = sum(getattr(trade, field) for trade in run.result.trades)
        assert told == pytest.approx(run.result.costs[-1][column]), field


def test_slippage_is_what_fills_cost_against_the_mark_of_their_moment() -> None:
    """Half a spread at each fill and no more, where the book is deep; nothing else is called slippage."""
    opens = still()
    opens[4] = [66_000.0, 2_700.0]
    run = play(hand(opens), {1: [enter()], 3: [leave()]})
    marks = {2: {BTC: 60_000, ETH: 3_000}, 4: {BTC: 66_000, ETH: 2_700}}
    units = {BTC: Decimal("0.01"), ETH: Decimal("0.1")}
    cost = Decimal(0)
    for fill in fills(run):
        mark = marks[(fill.ts - START_MS) // HOUR_MS][fill.instrument]
        cost += (mark - fill.price) * fill.size * units[fill.instrument]
    (trade,) = run.result.trades
    assert trade.slippage == pytest.approx(float(cost)) == run.result.costs[-1][0]
    assert trade.price == pytest.approx(0.05 * 6_000 + 1.0 * 300), "at the marks themselves"


def test_rows_stand_at_the_closes() -> None:
    """Row t: the account at the close of the t-th traded bar, before the orders of that close."""
    panel, run = busy(Assumptions(slippage="flat"))
    result, steps = run.result, 0
    assert len(result.ts) == len(result.equity) == len(result.exposure) == len(result.costs) == 120
    assert (np.diff(result.ts) == panel.bar_ms).all() and result.ts[0] == panel.ts[1]
    assert result.equity[0] == 100_000 and not result.exposure[0].any() and not result.costs[0].any()
    columns = {pair: i for i, pair in enumerate(result.pairs)}
    for event, books in folded(panel, run.events):
        if isinstance(event, Decided):
            steps += 1
            close = panel.close[steps]
            prices = dict(zip(panel.assets, close.tolist(), strict=True))
            marks = {name: Decimal(repr(prices[name.split("-")[0]])) for name in books.account.holdings}
            wanted = np.zeros(len(result.pairs))
            for book in books.open_books():
                wanted[columns[book.pair]] = book.side * sum(abs(leg) for leg in value(book, prices))
            assert result.ts[steps] == event.ts
            assert result.exposure[steps] == pytest.approx(wanted)
            if steps < 119:
                assert result.equity[steps] == pytest.approx(float(books.equity(marks)), abs=1e-9)
    assert steps == 119 and (np.abs(result.exposure).sum(axis=1) > 0).mean() > 0.4


def test_the_last_row_holds_the_orders_of_the_last_close() -> None:
    run = play(hand(still()), {7: [enter()]})
    paid = -(run.result.equity[-1] - 100_000)
    assert paid == pytest.approx(-run.result.costs[-1].sum()) and paid > 0
    last = [event for event in run.events if isinstance(event, Stepped)][-1]
    assert float(last.equity) == run.result.equity[-1]


# -- two on one account ----------------------------------------------------------------------------------------


def by_strategy(run: EventRun) -> Mapping[str, list[str]]:
    trades = run.result.trades
    return {name: [t.pair for t in trades if t.strategy == name] for name in sorted({t.strategy for t in trades})}


def test_two_strategies_each_have_books_of_their_own() -> None:
    panel = hand(still(prices=(60_000.0, 3_000.0, 150.0)))
    run = play(panel, {1: [enter()], 4: [leave()]}, {2: [enter()], 5: [leave()]})
    assert run.result.strategy == "told+other"
    assert by_strategy(run) == {"told": ["BTC/ETH"], "other": ["BTC/ETH"]}
    times = [(trade.opened - START_MS, trade.closed - START_MS) for trade in run.result.trades]
    assert times == [(2 * HOUR_MS, 5 * HOUR_MS), (3 * HOUR_MS, 6 * HOUR_MS)]
    assert [decided.strategy for decided in run.events if isinstance(decided, Decided)][:2] == ["told", "other"]


def test_opposite_wishes_cancel_out_at_the_exchange() -> None:
    """One long and one short of the same: two books, nothing held, no funding, both pay their costs."""
    panel = hand(still(), funding={(4, 0): 0.001, (4, 1): 0.001}, low={(4, 0): 40_000.0})
    run = play(panel, {1: [enter(side=1)], 5: [leave()]}, {1: [enter(side=-1)], 5: [leave()]})
    assert not funded(run) and not [fill for fill in fills(run) if fill.algo_id]
    for event, books in folded(panel, run.events):
        if isinstance(event, Stepped) and START_MS + 2 * HOUR_MS <= event.bar < START_MS + 5 * HOUR_MS:
            assert len(books.open_books()) == 2 and not books.net(BTC) and not books.net(ETH)
            assert not books.protections
    assert [trade.side for trade in run.result.trades] == [1, -1]
    made = sum(trade.pnl for trade in run.result.trades)
    assert made == pytest.approx(run.result.equity[-1] - 100_000) and made < 0
    assert run.result.exposure[3].tolist() == [0.0], "long and short of one pair are nothing to hold"


def test_a_stop_of_the_sum_is_shared_by_those_who_held_it() -> None:
    """Two strategies long of BTC against different legs; its stop closes both, each pays its own fee."""
    panel = hand(still(prices=(60_000.0, 3_000.0, 150.0)), low={(4, 0): 40_000.0})
    run = play(panel, {1: [enter("BTC/ETH", 1, 6_000.0)]}, {1: [enter("BTC/SOL", 1, 3_000.0)]})
    stopped = [e.intent for e in run.events if isinstance(e, Intended) and e.intent.origin is Origin.EXCHANGE]
    assert {(i.strategy, i.legs[0].size) for i in stopped} == {("told", Decimal(-10)), ("other", Decimal(-5))}
    assert by_strategy(run) == {"other": ["BTC/SOL"], "told": ["BTC/ETH"]}
    first, second = sorted(run.result.trades, key=lambda trade: trade.gross)
    assert first.pnl * 2 == pytest.approx(second.pnl, rel=0.01)
    assert sum(t.pnl for t in run.result.trades) == pytest.approx(run.result.equity[-1] - 100_000)


def test_together_they_cannot_use_more_than_the_margin() -> None:
    """Each asks for nearly all of it on the same bar: the second is cut to what the first, though not yet filled,
    leaves, and the exchange has nothing to refuse."""
    panel = hand(still(prices=(60_000.0, 3_000.0, 150.0, 0.5)), assets=("BTC", "ETH", "SOL", "XRP"))
    run = play(panel, {1: [enter("BTC/ETH", 1, 45_000.0)]}, {1: [enter("SOL/XRP", 1, 45_000.0)]}, cash=100_000)
    first, second = (sum(abs(float(fill.size)) for fill in fills(run, name)) for name in (BTC, SOL))
    assert first * 0.01 * 60_000 == pytest.approx(45_000, rel=0.01)
    assert 0 < second * 150 < 45_000 / 5
    assert np.abs(run.result.exposure).sum(axis=1).max() <= 100_000
    assert [event.report.code for event in run.events if isinstance(event, Reported) and event.report.code] == []


def test_funding_falls_to_a_pair_whose_stop_fires_at_that_very_open() -> None:
    """The exchange settles first, then trades the open, a gap through the stop: who held until then pays."""
    opens = still(8)
    for row in opens[4:]:
        row[0] = 40_000.0
    closes = [*opens[1:4], opens[0], *opens[5:], opens[-1]]
    run = play(hand(opens, closes, funding={(4, 0): 0.001}), {1: [enter()]})
    (trade,) = run.result.trades
    assert [bar for _, bar, _ in funded(run)] == [4] and trade.funding == pytest.approx(-0.001 * 3_000)
    assert trade.pnl == pytest.approx(run.result.equity[-1] - 100_000)


def test_funding_falls_to_a_leg_that_could_not_be_closed_before() -> None:
    """A book so thin that closing takes bars: what is left pays at each settlement, also at that before it goes."""
    rates = {(bar, asset): 0.001 for bar in range(8) for asset in range(2)}
    volume = [1e9] * 3 + [2e4] * 2 + [1e9] * 3
    panel = hand(still(), funding=rates, turnover=[[1e9, each] for each in volume])
    run = play(panel, {1: [enter()], 3: [leave()]}, assumed=Assumptions())
    assert len({fill.ts for fill in fills(run, ETH) if fill.size > 0}) > 1, "closed at once"
    books = books_of(panel, run.events)
    shared = sum(trade.funding for trade in run.result.trades) + sum(float(b.funding) for b in books.open_books())
    assert shared == pytest.approx(float(books.funding)) and len(funded(run)) > 4
    assert len(run.result.trades) == 1
