"""The event-driven backtest fills as an exchange would: at the next open, at the price there is then, as much as
there is, and later where an order takes its time."""

from dataclasses import replace
from decimal import Decimal

import msgspec
import numpy as np
import pytest

from core.backtest.events import Assumptions, EventRun
from core.backtest.result import Result
from core.data.panel import Panel
from core.data.synthetic import HOUR_MS, START_MS, synthetic_panel
from core.domain.errors import UserError
from core.domain.orders import OrderState
from core.execution.legs import ATTEMPTS
from core.portfolio.events import Intended, Planned, Reported, Settled, Stepped
from tests.backtest.scenes import (
    BTC,
    DEEP,
    ETH,
    Plan,
    best,
    books_of,
    enter,
    fills,
    folded,
    hand,
    leave,
    play,
    spec,
    still,
    value,
)

BTC_OPENS = (60_000.0, 60_000.0, 60_600.0, 61_000.0, 59_000.0, 60_000.0)
ETH_OPENS = (3_000.0, 3_000.0, 3_060.0, 2_950.0, 3_100.0, 3_000.0)
OPENS = [list(prices) for prices in zip(BTC_OPENS, ETH_OPENS, strict=True)]


def settled(run: EventRun) -> list[tuple[str, str]]:
    """How each intent has ended: its action, its outcome."""
    actions = {event.intent.id: event.intent.action for event in run.events if isinstance(event, Intended)}
    return [(actions[event.intent], event.outcome) for event in run.events if isinstance(event, Settled)]


def asked(run: EventRun) -> int:
    return sum(isinstance(event, Planned) for event in run.events)


# -- when, and at what price -----------------------------------------------------------------------------------


def test_nothing_fills_on_the_deciding_bar() -> None:
    run = play(hand(OPENS), {1: [enter()], 3: [leave()]})
    times = [(fill.ts - START_MS) / HOUR_MS for fill in fills(run)]
    assert times == [2, 2, 4, 4]
    assert run.result.trades[0].opened == START_MS + 2 * HOUR_MS and run.result.trades[0].bars == 2
    assert [row.any() for row in run.result.exposure] == [False, False, True, True, False, False]


@pytest.mark.parametrize("side", [1, -1])
def test_a_fill_costs_half_the_spread_from_the_next_open(side: int) -> None:
    run = play(hand(OPENS), {1: [enter(side=side)], 3: [leave()]})
    for bar, buys in ((2, side > 0), (4, side < 0)):
        at = {fill.instrument: fill for fill in fills(run) if fill.ts == START_MS + bar * HOUR_MS}
        assert at[BTC].price == best(OPENS[bar][0], "0.1", buy=buys)
        assert at[ETH].price == best(OPENS[bar][1], "0.01", buy=not buys)
        assert (at[BTC].size > 0) == buys and (at[ETH].size < 0) == buys
    sizes = {fill.instrument: sum(other.size for other in fills(run, fill.instrument)) for fill in fills(run)}
    assert set(sizes.values()) == {Decimal(0)}


@pytest.mark.parametrize("name", ["none", "flat:4", "flat"])
def test_the_spread_is_that_of_the_assumption(name: str) -> None:
    run = play(hand(OPENS), {1: [enter()]}, assumed=Assumptions(slippage=name))
    half = {"none": "0", "flat": "1", "flat:4": "2"}[name]
    assert fills(run, BTC)[0].price == best(60_600, "0.1", buy=True, half_bp=half)
    assert fills(run, ETH)[0].price == best(3_060, "0.01", buy=False, half_bp=half)


def test_fees_are_those_of_a_taker() -> None:
    for name, rate in (("okx-regular", "0.0005"), ("2/7", "0.0007"), ("none", "0")):
        run = play(hand(OPENS), {1: [enter()]}, assumed=Assumptions(slippage="flat", fees=name))
        for fill in fills(run):
            contract = Decimal("0.01") if fill.instrument == BTC else Decimal("0.1")
            assert fill.fee == -abs(fill.size) * contract * fill.price * Decimal(rate)


def test_the_bars_after_a_fill_do_not_move_it() -> None:
    """Whatever comes later, the entry is the same, and so is every row before."""
    other = [*OPENS[:3], [70_000.0, 2_000.0], [30_000.0, 4_000.0], [1_000.0, 9_000.0]]
    runs = [play(hand(opens), {1: [enter()]}) for opens in (OPENS, other)]
    assert fills(runs[0])[:2] == fills(runs[1])[:2]
    equities = [run.result.equity for run in runs]
    assert (equities[0][:2] == equities[1][:2]).all() and equities[0][2] != equities[1][2]


@pytest.mark.parametrize("inside", ["adverse", "replay"])
def test_a_longer_history_begins_as_a_shorter_one(inside: str) -> None:
    panel = synthetic_panel(3, 60, ("BTC", "ETH", "SOL"))
    plan: Plan = {
        t: [enter("BTC/ETH"), leave("ETH/SOL")] if t % 4 else [enter("ETH/SOL"), leave()] for t in range(60)
    }
    assumed = Assumptions(inside=inside, latency="800~0.5", rejects=0.1)
    whole, part = (play(bars, plan, assumed=assumed, catastrophe="0.01") for bars in (panel, panel.slice(0, 40)))
    rows = len(part.result.equity) - 1  # The last row of each holds the orders made after its last bar.
    assert rows == 39 and len(fills(part)) > 20
    assert (whole.result.equity[:rows] == part.result.equity[:rows]).all()
    assert (whole.result.exposure[:rows] == part.result.exposure[:rows]).all()
    assert (whole.result.costs[:rows] == part.result.costs[:rows]).all()


def test_what_is_wished_for_at_the_last_close_trades_at_that_price() -> None:
    """There is no later one; its costs belong to the run."""
    run = play(hand(OPENS), {5: [enter()]})
    assert [fill.ts for fill in fills(run)] == [START_MS + 6 * HOUR_MS] * 2
    assert fills(run, BTC)[0].price == best(60_000, "0.1", buy=True)
    assert run.result.open_pairs == ("BTC/ETH",) and not run.result.trades
    assert run.result.equity[-1] == pytest.approx(100_000 - 2 * 3_000 * (0.0005 + 0.0001), abs=0.02)


# -- latency ---------------------------------------------------------------------------------------------------


def test_an_order_that_travels_meets_a_later_price() -> None:
    """Thirty seconds of an hour along the way from open to close; the second leg is sent when the first is back."""
    panel = hand(OPENS)
    run = play(panel, {1: [enter()]}, assumed=Assumptions(slippage="none", latency="30000"))
    first, second = fills(run)
    opened = START_MS + 2 * HOUR_MS
    assert (first.ts - opened, second.ts - opened) == (30_000, 60_000)
    assert {first.instrument, second.instrument} == {BTC, ETH}
    for fill, part in ((first, 30 / 3600), (second, 60 / 3600)):
        asset, tick = (0, "0.1") if fill.instrument == BTC else (1, "0.01")
        price = OPENS[2][asset] + (OPENS[3][asset] - OPENS[2][asset]) * part
        mark = spec(panel, fill.instrument).round_price(Decimal(repr(price)))
        assert fill.price == best(float(mark), tick, buy=fill.size > 0, half_bp="0")


def test_a_later_order_meets_a_later_price() -> None:
    opens = still(6)
    opens[3] = [66_000, 3_000]  # BTC rises all through bar 2, and falls through bar 3.
    prices = [
        float(fills(play(hand(opens), {1: [enter()]}, assumed=Assumptions(latency=name)), BTC)[0].price)
        for name in ("none", "1000", "10000", "50000")
    ]
    assert prices == sorted(prices) and len(set(prices)) == 4
    orders = fills(play(hand(opens), {1: [enter()], 2: [leave()]}, assumed=Assumptions(latency="20000")))
    assert [fill.ts for fill in orders] == sorted({fill.ts for fill in orders}), "two orders met the same moment"


def test_latency_is_drawn_from_the_seed() -> None:
    def times(seed: int) -> list[int]:
        run = play(hand(OPENS), {1: [enter()], 3: [leave()]}, assumed=Assumptions(latency="900~0.8"), seed=seed)
        return [fill.ts for fill in fills(run)]

    assert times(1) == times(1) != times(2)


def test_an_order_does_not_travel_past_its_bar() -> None:
    """Bars of a minute: the second leg would arrive in the next one, of which nothing is known yet."""
    panel = hand(OPENS)
    short = replace(panel, ts=START_MS + 60_000 * np.arange(len(panel), dtype=np.int64), bar_ms=60_000)
    run = play(short, {1: [enter()]}, assumed=Assumptions(slippage="none", latency="45000"))
    first, second = fills(run)
    assert first.ts - START_MS == 2 * 60_000 + 45_000 and second.ts - START_MS == 3 * 60_000 - 1


# -- as much as there is ---------------------------------------------------------------------------------------


def thin(first: float, second: float) -> Panel:
    """A market that stands still, with so much turnover in its two assets; a hundredth lies on each side."""
    return hand(still(), turnover=[first, second])


def matched(run: EventRun, panel: Panel) -> tuple[float, float]:
    """The values of both legs of the one open book, each within one lot of the other."""
    (book,) = books_of(panel, run.events).open_books()
    one, two = value(book, {"BTC": 60_000.0, "ETH": 3_000.0})
    assert one * two < 0 and abs(one + two) <= 6.0 + 1e-9, (one, two)  # A lot of BTC is worth 6 USDT, of ETH 3.
    return one, two


def test_a_thin_book_makes_the_entry_a_smaller_pair() -> None:
    """The first leg is the less liquid one; what it gets is what is hedged, and the rest is forgone."""
    panel = thin(DEEP, 100_000)
    run = play(panel, {1: [enter(notional=9_000.0)]}, assumed=Assumptions(slippage="book"))
    assert fills(run)[0].instrument == ETH
    one, _ = matched(run, panel)
    assert 500 < one < 2_500, "about a hundredth of the turnover lies on that side"
    assert settled(run) == [("open", "done")]


def test_a_larger_order_walks_the_levels() -> None:
    panel = thin(DEEP, 2_000_000)
    prices = [
        [fill.price for fill in fills(play(panel, {1: [enter(notional=size)]}, assumed=Assumptions()), ETH)]
        for size in (300.0, 9_000.0)
    ]
    assert len(prices[0]) == 1 < len(prices[1]) and prices[1] == sorted(prices[1], reverse=True)
    assert prices[0][0] == prices[1][0] == best(3_000, "0.01", buy=False)


def test_what_the_second_leg_cannot_match_is_taken_back() -> None:
    """Both books are about as thin; where the second holds less than the first has got, the first gives back."""
    undone = 0
    for seed in range(12):
        panel = thin(300_000 + seed, 300_000)
        run = play(panel, {1: [enter(notional=6_000.0)]}, assumed=Assumptions(slippage="book"))
        matched(run, panel)
        signs = {fill.size > 0 for fill in fills(run, ETH)}, {fill.size > 0 for fill in fills(run, BTC)}
        undone += any(len(sign) == 2 for sign in signs)
    assert undone, "nothing ever was taken back"


def test_an_entry_that_cannot_be_hedged_is_unwound() -> None:
    """The second leg is refused three times in a row."""
    for seed in range(400):
        run = play(hand(OPENS), {1: [enter()]}, assumed=Assumptions(rejects=0.5), seed=seed)
        if ("open", "unwound") in settled(run):
            break
    else:
        raise AssertionError("no seed refuses the second leg three times")
    assert not books_of(hand(OPENS), run.events).open_books()
    (trade,) = run.result.trades
    assert trade.exit == "taken back" and trade.pnl < 0 and trade.gross == pytest.approx(3_000, rel=0.02)
    assert run.result.equity[-1] == pytest.approx(100_000 + trade.pnl)


# -- refusals --------------------------------------------------------------------------------------------------


def test_refused_orders_are_asked_for_again_and_no_leg_stays_naked() -> None:
    """Through refusals of every fifth order: at the end of each bar's step both legs are there, or none is."""
    panel = synthetic_panel(5, 160, ("BTC", "ETH", "SOL"))
    plan = {t: [enter()] if t % 4 == 1 else [leave()] for t in range(160)}
    run = play(panel, plan, assumed=Assumptions(rejects=0.2))
    refused = [e for e in run.events if isinstance(e, Reported) and e.report.state is OrderState.REJECTED]
    assert 0.1 < len(refused) / asked(run) < 0.3
    assert {event.report.code for event in refused} == {"50026"}
    assert asked(run) == run.result.orders == len(fills(run)) + len(refused)
    for event, books in folded(panel, run.events):
        if isinstance(event, Stepped):
            assert all(leg.size for book in books.open_books() for leg in book.legs), event
    assert len(run.result.trades) >= 36 and sum(outcome == "aborted" for _, outcome in settled(run)) < 4


def test_a_leg_that_is_refused_all_bar_long_is_closed_on_the_next() -> None:
    """A venue that refuses every other order: with enough tries each bar nothing is left at the end."""
    panel = synthetic_panel(5, 120, ("BTC", "ETH", "SOL"))
    plan = {t: [enter()] if t % 6 == 1 else [leave()] for t in range(109)}
    for seed in range(6):
        run = play(panel, plan, assumed=Assumptions(rejects=0.5), seed=seed)
        assert not run.result.open_pairs, seed
        books_of(panel, run.events)


def test_an_entry_is_given_up_after_a_few_refusals() -> None:
    for seed in range(60):
        run = play(hand(OPENS), {1: [enter()]}, assumed=Assumptions(rejects=0.5), seed=seed)
        if ("open", "aborted") in settled(run):
            assert asked(run) == ATTEMPTS and not fills(run) and not run.result.trades
            assert run.result.equity[-1] == 100_000
            return
    raise AssertionError("no seed refuses the first leg three times")


# -- the same again --------------------------------------------------------------------------------------------


def shown(result: Result) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(result, ts=[], equity=[], exposure=[], costs=[]))


def test_the_same_seed_gives_the_same_run_to_the_last_bit() -> None:
    panel = synthetic_panel(9, 80, ("BTC", "ETH", "SOL"))
    plan = {t: [enter()] if t % 3 else [leave()] for t in range(80)}
    assumed = Assumptions(latency="2000~0.6", rejects=0.2, inside="replay")
    runs = [play(panel, plan, assumed=assumed, catastrophe="0.01", seed=seed) for seed in (1, 1, 2)]
    same, again, other = (run.result for run in runs)
    assert shown(same) == shown(again) and (same.equity == again.equity).all()
    assert same.digest == again.digest != other.digest
    assert runs[0].events == runs[1].events


@pytest.mark.parametrize(
    ("field", "value"),
    [("fees", "cheap"), ("slippage", "deep"), ("latency", "fast"), ("inside", "kind")],
)
def test_an_assumption_that_is_not_known_is_refused_before_anything_runs(field: str, value: str) -> None:
    with pytest.raises(UserError) as caught:
        play(hand(OPENS), {}, assumed=msgspec.structs.replace(Assumptions(), **{field: value}))
    assert field in str(caught.value) and repr(value) in str(caught.value)
