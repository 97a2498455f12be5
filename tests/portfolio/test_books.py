"""What the books say after what has happened: each test is a sentence of their specification."""

import pytest
from life import BTC, ETH, SOL, D, Life
from stories import OPENED, SWAPS

from core.domain.account import Bill, BillKind, Closed
from core.domain.orders import (
    Action,
    Fill,
    Order,
    OrderReport,
    OrderState,
    OrderType,
    Origin,
    Protection,
)
from core.portfolio.books import Books, Claim, InvariantError
from core.portfolio.events import (
    AnyEvent,
    Billed,
    Decided,
    Filled,
    Loaded,
    Part,
    Planned,
    Protected,
    Reported,
    Settled,
    Share,
    Stepped,
    Switched,
)


@pytest.fixture
def life() -> Life:
    return Life()


# -- books ------------------------------------------------------------------------------------------


def test_a_book_tells_its_legs_entry_and_costs(life: Life) -> None:
    life.trade("i", (BTC, "3"), (ETH, "-2"), price="1000", fee="-0.5")
    book = life.books.book("divergence", "BTC/ETH")
    assert book is not None
    assert [(leg.asset, leg.size, leg.average) for leg in book.legs] == [
        ("BTC", D(3), D(1000)),
        ("ETH", D(-2), D(1000)),
    ]
    assert book.gross == D("30") + D("200")  # contracts x units x price, both legs
    assert (book.fees, book.realized, book.funding) == (D("-1.0"), D(0), D(0))
    assert (book.side, book.opened, book.stop, book.target, book.intent) == (1, 1000, 0.06, 0.05, "i")
    assert life.books.open_books() == [book]
    assert life.books.book("zscore", "BTC/ETH") is None


def test_closing_realises_ends_the_round_trip_and_remembers_why(life: Life) -> None:
    life.trade("i", (BTC, "3"), (ETH, "-2"), price="1000")
    life.trade("j", (BTC, "-3"), (ETH, "2"), price="1100", action=Action.CLOSE, reason="z crossed to -0.1")
    assert life.books.open_books() == []
    assert life.books.realized == D("3") - D("20")  # 3 x 0.01 x 100 gained, 2 x 0.1 x 100 lost
    assert life.books.round_trips == 1
    closed = life.books.holdings("divergence", D(0)).closed
    assert closed == {"BTC/ETH": Closed("BTC/ETH", 1000, 1, "z crossed to -0.1", False)}


def test_a_part_close_keeps_the_entry_gross_and_settles_its_profit(life: Life) -> None:
    life.trade("i", (BTC, "4"), (ETH, "-2"), price="1000")
    life.trade("j", (BTC, "-1"), (ETH, "0"), price="1100", action=Action.CLOSE)
    book = life.books.book("divergence", "BTC/ETH")
    assert book is not None
    assert (book.gross, book.realized) == (D(240), D(1))
    assert book.legs[0].size == D(3)


def test_a_failed_entry_counts_what_is_left_of_it(life: Life) -> None:
    """The second leg got half: half of the first is taken back, and does not count in the gross."""
    life.want("i", (BTC, "10"), (ETH, "-2"))
    life.fill(life.plan("i", 0, "10"), "10", "1000")
    life.fill(life.plan("i", 1, "-2"), "-1", "1000")
    life.fill(life.plan("i", 0, "-5"), "-5", "990")
    life.tell(Settled(1005, "i", "done"))
    book = life.books.book("divergence", "BTC/ETH")
    assert book is not None
    assert book.gross == D(50) + D(100)
    assert book.realized == D("-0.5")
    assert life.books.progress("i")[0].filled == D(5)


def test_an_unwound_entry_is_a_round_trip_too(life: Life) -> None:
    life.want("i", (BTC, "10"), (ETH, "-2"))
    life.fill(life.plan("i", 0, "10"), "10")
    life.fill(life.plan("i", 0, "-10"), "-10")
    assert life.books.round_trips == 0  # it is still at work
    assert life.books.holdings("divergence", D(0)).working == {"BTC/ETH": Action.OPEN}
    life.tell(Settled(1005, "i", "unwound", "51008 no margin"))
    assert life.books.round_trips == 1
    holdings = life.books.holdings("divergence", D(7))
    assert holdings.closed["BTC/ETH"].reason == "unwound: 51008 no margin"
    assert (holdings.working, holdings.books, holdings.free) == ({}, (), D(7))


def test_a_round_trip_does_not_end_while_an_intent_is_at_work_on_it(life: Life) -> None:
    life.trade("i", (BTC, "3"), (ETH, "0"))
    life.want("x", (BTC, "-3"), action=Action.CLOSE, origin=Origin.EXCHANGE)
    life.want("j", (BTC, "-3"), (ETH, "0"), action=Action.CLOSE, reason="stop", barred=True)
    life.tell(Filled(7, exchange_fill(BTC, "-3"), (Part("x", 0, D(-3), D("-0.1")),)), Settled(7, "x", "done"))
    assert (life.books.open_books(), life.books.round_trips) == ([], 0)
    life.tell(Settled(8, "j", "done"))
    assert life.books.round_trips == 1
    assert life.books.holdings("divergence", D(0)).closed["BTC/ETH"] == Closed("BTC/ETH", 1000, 1, "stop", True)


def test_an_aborted_entry_leaves_no_trace(life: Life) -> None:
    life.want("i", (BTC, "10"), (ETH, "-2"))
    assert [intent.id for intent in life.books.unsettled()] == ["i"]
    life.tell(Settled(1005, "i", "aborted"))
    assert life.books.unsettled() == []
    assert (life.books.round_trips, life.books.holdings("divergence", D(0)).closed) == (0, {})
    assert life.books.intents["i"].outcome == "aborted"


def test_a_stopped_pair_is_barred_until_released(life: Life) -> None:
    life.trade("i", (BTC, "3"), (ETH, "-2"))
    life.trade("j", (BTC, "-3"), (ETH, "2"), action=Action.CLOSE, barred=True, reason="stop at -6.1%")
    assert life.books.holdings("divergence", D(0)).closed["BTC/ETH"].barred
    assert life.books.holdings("zscore", D(0)).closed == {}
    life.tell(Decided(2000, 1990, "zscore", (), (), ("BTC/ETH",), ""))
    assert life.books.holdings("divergence", D(0)).closed["BTC/ETH"].barred  # not its own word
    life.tell(Decided(2000, 1990, "divergence", (), (), ("BTC/ETH",), ""))
    assert not life.books.holdings("divergence", D(0)).closed["BTC/ETH"].barred


def test_the_next_round_trip_begins_without_the_bar_of_the_last(life: Life) -> None:
    life.trade("i", (BTC, "3"), (ETH, "-2"))
    life.trade("j", (BTC, "-3"), (ETH, "2"), action=Action.CLOSE, barred=True)
    life.trade("k", (BTC, "3"), (ETH, "-2"))
    life.trade("l", (BTC, "-3"), (ETH, "2"), action=Action.CLOSE, reason="z crossed")
    assert life.books.holdings("divergence", D(0)).closed["BTC/ETH"] == Closed(
        "BTC/ETH", 1000, 1, "z crossed", False
    )


def test_books_of_two_strategies_are_apart_and_net_at_the_exchange(life: Life) -> None:
    life.trade("i", (BTC, "3"), (ETH, "-2"), price="1000")
    life.trade("j", (BTC, "-1"), (SOL, "5"), price="1200", pair="BTC/SOL", strategy="zscore")
    assert life.books.net(BTC) == D(2)
    assert life.books.realized == D(2)  # the account closed one contract at 1200 that had cost 1000
    other = life.books.book("zscore", "BTC/SOL")
    assert other is not None
    assert (other.legs[0].size, other.legs[0].average, other.realized) == (D(-1), D(1200), D(0))
    assert [book.pair for book in life.books.holdings("zscore", D(0)).books] == ["BTC/SOL"]
    assert life.books.equity({BTC: D(1300), ETH: D(1000), SOL: D(1200)}) == OPENED.cash + 9 - 1
    life.books.check()


# -- account ----------------------------------------------------------------------------------------


def test_a_third_that_cannot_be_written_down_is_not_lost(life: Life) -> None:
    life.trade("i", (SOL, "1"), (ETH, "0"), price="0.1")
    life.trade("j", (SOL, "2"), (ETH, "0"), price="0.2")
    for n in range(3):
        life.trade(f"k{n}", (SOL, "-1"), (ETH, "0"), price="0", action=Action.CLOSE)
        life.books.check()
    assert life.books.cash == OPENED.cash - D("0.5")


def test_through_zero_a_new_position_begins_at_the_new_price(life: Life) -> None:
    life.trade("i", (SOL, "2"), (ETH, "0"), price="10")
    life.trade("j", (SOL, "-5"), (ETH, "0"), price="13")
    assert (life.books.net(SOL), life.books.realized) == (D(-3), D(6))
    assert life.books.unrealized({SOL: D(12)}) == D(3)
    assert life.books.unrealized({}) == D(0)  # without a mark it counts at its cost


def bill(
    name: str, kind: BillKind, change: str, instrument: str = "", trade: str = "", currency: str = "USDT",
    ts: int = 5,
) -> Bill:  # fmt: skip
    return Bill(name, ts, kind, instrument, currency, D(change), D(0), trade_id=trade)


def test_the_statement_moves_cash_except_where_the_fills_have(life: Life) -> None:
    life.tell(
        Billed(5, bill("1", BillKind.TRANSFER, "100")),
        Billed(5, bill("2", BillKind.TRADE, "-7", BTC, "t1")),
        Billed(5, bill("3", BillKind.LIQUIDATION, "-8", BTC, "t2")),
        Billed(5, bill("4", BillKind.LIQUIDATION, "-0.5")),
        Billed(5, bill("5", BillKind.FUNDING, "-0.25", BTC)),
        Billed(5, bill("6", BillKind.TRANSFER, "3", currency="BTC")),
    )
    books = life.books
    assert (books.deposit, books.funding, books.fees) == (OPENED.cash + 100, D("-0.25"), D(0))
    assert books.cash == OPENED.cash + 100 - D("0.75")
    assert (books.last_bill, books.has_bill("2"), books.has_bill("9")) == ("6", True, False)


def test_funding_falls_on_the_books_by_signed_size_to_the_last_digit(life: Life) -> None:
    life.trade("i", (BTC, "6"), (ETH, "-2"))
    life.trade("j", (BTC, "3"), (SOL, "-1"), pair="BTC/SOL")
    life.trade("k", (BTC, "-2"), (SOL, "1"), pair="BTC/SOL", strategy="zscore")
    paid = bill("1", BillKind.FUNDING, "-0.1", BTC, ts=2000)
    shares = life.books.share_funding(paid)
    assert shares == (
        Share("divergence", "BTC/ETH", D("-0.085714285714")),
        Share("divergence", "BTC/SOL", D("-0.042857142857")),
        Share("zscore", "BTC/SOL", D("0.028571428571")),
    )
    assert sum(share.amount for share in shares) == paid.change
    life.tell(Billed(6, paid, shares))
    book = life.books.book("zscore", "BTC/SOL")
    assert book is not None and book.funding == D("0.028571428571")
    assert life.books.funding == D("-0.1")


def test_funding_falls_on_who_held_when_it_was_due_however_late_the_bill_comes(life: Life) -> None:
    """One opens before the settlement, one closes after it, one opens after it: the second and third do not share
    alike because the bill is read when all of that has happened."""
    life.trade("i", (BTC, "6"), (ETH, "-2"))
    life.trade("j", (BTC, "2"), (SOL, "-1"), pair="BTC/SOL")
    due = bill("1", BillKind.FUNDING, "-8", BTC, ts=1003)
    assert life.books.share_funding(due) == ()  # Those fills are of its very moment: it had been settled before.
    late = bill("2", BillKind.FUNDING, "-8", BTC, ts=1004)
    life.trade("x", (BTC, "-2"), (SOL, "1"), pair="BTC/SOL", action=Action.CLOSE, ts=1004)
    life.trade("y", (BTC, "4"), (SOL, "-1"), pair="BTC/SOL", ts=1005)
    shares = life.books.share_funding(late)
    assert shares == (Share("divergence", "BTC/ETH", D("-6")), Share("divergence", "BTC/SOL", D("-2")))
    life.tell(Billed(1004, late, shares))
    paid = {book.pair: book.funding for book in life.books.open_books()}
    assert paid == {"BTC/ETH": D(-6), "BTC/SOL": D(0)}  # The BTC/SOL of now was opened after it.
    assert life.books.funding == D(-8)


def test_funding_of_what_nobody_holds_falls_on_nobody(life: Life) -> None:
    assert life.books.share_funding(bill("1", BillKind.FUNDING, "-0.1", BTC)) == ()


# -- what the exchange does by itself -----------------------------------------------------------------


def exchange_fill(instrument: str, size: str, fee: str = "-0.1") -> Fill:
    return Fill("x1", "v?", "", instrument, D(size), D(90), D(fee), "USDT", 7, algo_id="pxP0")


def test_a_fired_stop_is_divided_among_the_books_it_reduces(life: Life) -> None:
    life.trade("i", (BTC, "0.06"), (ETH, "-2"))
    life.trade("j", (BTC, "0.03"), (SOL, "-1"), pair="BTC/SOL")
    life.trade("k", (BTC, "-0.02"), (SOL, "1"), pair="BTC/SOL", strategy="zscore")
    claims, rest = life.books.split_exchange_fill(exchange_fill(BTC, "-0.07"))
    # 0.07 x 6/9 = 0.0466.. and x 3/9 = 0.0233.., in lots of 0.01; the lot left over goes to the largest
    assert [(c.strategy, c.pair, c.size) for c in claims] == [
        ("divergence", "BTC/ETH", D("-0.05")),
        ("divergence", "BTC/SOL", D("-0.02")),
    ]
    assert rest == 0
    assert sum(claim.fee for claim in claims) == D("-0.1")


def test_no_book_gives_more_than_it_holds(life: Life) -> None:
    for n, (pair, strategy) in enumerate((p, s) for p in ("BTC/ETH", "BTC/SOL") for s in ("divergence", "zscore")):
        second = ETH if pair == "BTC/ETH" else SOL
        life.trade(f"i{n}", (BTC, "0.02"), (second, "-1"), pair=pair, strategy=strategy)
    claims, rest = life.books.split_exchange_fill(exchange_fill(BTC, "-0.07"))
    assert ([claim.size for claim in claims], rest) == ([D("-0.02")] * 3 + [D("-0.01")], D(0))


def test_what_no_book_can_have_caused_is_left_over(life: Life) -> None:
    life.trade("i", (BTC, "6"), (ETH, "-2"))
    claims, rest = life.books.split_exchange_fill(exchange_fill(BTC, "-8", "-0.4"))
    assert claims == (Claim("divergence", "BTC/ETH", D(-6), D("-0.3")),)
    assert rest == D(-2)
    assert life.books.split_exchange_fill(exchange_fill(BTC, "8")) == ((), D(8))
    assert life.books.split_exchange_fill(exchange_fill("DOGE-USDT-SWAP", "8")) == ((), D(8))


def test_a_liquidated_leg_leaves_a_book_of_one_leg_and_a_name_of_its_own(life: Life) -> None:
    life.trade("i", (BTC, "6"), (ETH, "-2"))
    life.want("x", (BTC, "-6"), action=Action.CLOSE, origin=Origin.EXCHANGE, barred=True, reason="liquidated")
    fill = exchange_fill(BTC, "-6")
    life.tell(Filled(7, fill, (Part("x", 0, D(-6), D("-0.1")),)), Settled(7, "x", "done"))
    (book,) = life.books.open_books()
    assert [leg.size for leg in book.legs] == [D(0), D(-2)]
    assert (life.books.intents_made, life.books.exchange_intents) == (1, 1)
    life.trade("j", (BTC, "0"), (ETH, "2"), action=Action.CLOSE, reason="rejoined")
    assert life.books.holdings("divergence", D(0)).closed["BTC/ETH"].barred  # the exchange's stop bars it too


def protected(name: str, state: str) -> Protected:
    return Protected(8, Protection(name, BTC, D(-1), D(50), "v" if state == "live" else ""), state)


@pytest.mark.parametrize(
    ("story", "held"),
    [
        ("a planned", "a"),
        ("a planned, a live", "a"),
        ("a planned, a failed", None),
        ("a planned, a live, a cancelled", None),
        ("a planned, a live, a fired", None),
        ("a planned, a live, b planned", "b"),
        ("a planned, a live, b planned, b failed", "a"),
        ("a planned, a live, b planned, b live, a cancelled", "b"),
        ("a planned, a live, b planned, b live, b cancelled", None),
        ("a planned, a live, b planned, b cancelled", None),
    ],
)
def test_the_protection_that_counts(life: Life, story: str, held: str | None) -> None:
    for step in story.split(", "):
        name, state = step.split()
        life.tell(protected(name, state))
    assert {p.client_id for p in life.books.protections.values()} == ({held} if held else set())
    assert life.books.protections.made == story.count("planned")


# -- the rest ---------------------------------------------------------------------------------------


def test_steps_make_the_curve_its_peak_and_the_drawdown(life: Life) -> None:
    assert (life.books.last_step, life.books.peak, life.books.watermarks.drawdown) == (-1, OPENED.cash, 0.0)
    life.tell(Stepped(20, 10, D(2000)), Stepped(30, 20, D(1500)))
    assert life.books.curve == [(20, D(2000)), (30, D(1500))]
    assert (life.books.last_step, life.books.peak, life.books.bars) == (20, D(2000), 2)
    assert life.books.watermarks.drawdown == 0.25


def test_modes_are_the_last_told(life: Life) -> None:
    books = life.books
    assert (books.restrictions.state, books.model, books.last_decision("divergence")) == ("active", "", -1)
    life.tell(
        Switched(1, "paused", "by hand"),
        Loaded(1, "divergence", "b2", 0),
        Decided(9, 8, "divergence", (), (), (), ""),
    )
    assert (books.restrictions.state, books.model, books.last_decision("divergence")) == ("reducing", "b2", 8)
    assert (life.books.prefix, life.books.currency, life.books.last_bill) == ("px", "USDT", "b0")


def test_a_ledger_begins_with_its_opening() -> None:
    with pytest.raises(InvariantError, match="must begin with one Opened"):
        Books(SWAPS).apply(Switched(1, "paused", "by hand"))


def impossible() -> list[tuple[str, AnyEvent]]:
    order = Order("iL0A1", "i", 0, 1, BTC, D(3), OrderType.MARKET, 9)
    fill = Fill("z1", "v", "iL0A0", BTC, D(2), D(100), D("-0.2"), "USDT", 5)
    part = Part("i", 0, D(2), D("-0.2"))
    report = OrderReport("nobody", "", BTC, OrderState.LIVE, D(0), None, 5)

    def change(thing: Order, **fields: object) -> Order:
        return type(thing)(**{**{f: getattr(thing, f) for f in thing.__struct_fields__}, **fields})

    return [
        ("an intent must stand before", Planned(5, change(order, intent="nobody"))),
        ("an order must be of its leg", Planned(5, change(order, instrument=ETH))),
        ("of a leg of its intent", Planned(5, change(order, leg=2))),
        ("attempts must be counted", Planned(5, change(order, attempt=4))),
        ("a report must be of a planned order", Reported(5, report)),
        ("parts of a fill must sum to its size", Filled(5, fill, (Part("i", 0, D(1), D("-0.2")),))),
        ("parts of a fill must sum to its fee", Filled(5, fill, (Part("i", 0, D(2), D("-0.1")),))),
        ("an intent must stand before", Filled(5, fill, (Part("nobody", 0, D(2), D("-0.2")),))),
        ("a part must be of its leg's instrument", Filled(5, fill, (Part("i", 1, D(2), D("-0.2")),))),
        (
            "fees must be in USDT",
            Filled(5, Fill("z1", "v", "", BTC, D(2), D(100), D("-0.2"), "BTC", 5), (part,)),
        ),
        ("an intent must stand before", Settled(5, "nobody", "done")),
        (
            "shares of a bill must sum",
            Billed(5, bill("7", BillKind.FUNDING, "-1", BTC), (Share("divergence", "BTC/ETH", D(-2)),)),
        ),
    ]


@pytest.mark.parametrize(("rule", "event"), impossible(), ids=lambda value: value if isinstance(value, str) else "")
def test_what_cannot_be_is_refused_and_named(life: Life, rule: str, event: AnyEvent) -> None:
    life.want("i", (BTC, "3"), (ETH, "-1"))
    life.plan("i", 0, "3")
    with pytest.raises(InvariantError, match=rule):
        life.books.apply(event)
    assert (life.books.fills, life.books.net(BTC), life.books.cash) == (0, D(0), OPENED.cash)
