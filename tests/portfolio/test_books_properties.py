"""What holds for every life an account can have."""

from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import NAMES, OPENED, SWAPS, Move, Story, moves, picture

from core.domain.account import BillKind, book_pnl
from core.domain.orders import Order, OrderReport, OrderState, OrderType
from core.portfolio.books import Books, InvariantError, OrderRecord
from core.portfolio.events import AnyEvent, Billed, Filled, Intended, Opened, Planned, Settled
from core.portfolio.ledger import SyncLedger

D = Decimal
tried = settings(max_examples=80, deadline=None)


def fold(events: list[AnyEvent]) -> Books:
    books = Books(SWAPS)
    for event in events:
        books.apply(event)
    return books


@tried
@given(moves)
def test_folding_the_ledger_again_is_where_it_was(script: list[Move]) -> None:
    story = Story().play(script)
    assert picture(fold(story.events)) == picture(story.books)


@tried
@given(moves, st.integers(0, 100))
def test_looking_at_the_books_changes_nothing(script: list[Move], cut: int) -> None:
    """A fold that is read in the middle, as the engine does all the time, ends where one that is not does."""
    events = Story().play(script).events
    books = Books(SWAPS)
    for place, event in enumerate(events):
        books.apply(event)
        if place == cut % len(events):
            picture(books)
            books.check()
    assert picture(books) == picture(fold(events))


@tried
@given(moves)
def test_what_is_written_to_disk_folds_to_the_same(script: list[Move]) -> None:
    story = Story().play(script)
    with TemporaryDirectory() as folder:
        ledger = SyncLedger(Path(folder) / "ledger.db")
        half = len(story.events) // 2
        ledger.write(story.events[:half])
        ledger.write(story.events[half:])
        back = ledger.events()
        ledger._connection.close()
    assert back == story.events
    assert picture(fold(back)) == picture(story.books)


@tried
@given(moves, st.lists(st.decimals(1, 10_000, places=3), min_size=3, max_size=3))
def test_equity_is_what_was_brought_in_paid_and_is_worth_to_the_last_digit(
    script: list[Move], prices: list[Decimal]
) -> None:
    story = Story().play(script)
    marks = dict(zip(NAMES, prices, strict=True))
    worth = OPENED.cash
    for event in story.events:
        if isinstance(event, Filled):
            fill = event.fill
            worth += fill.size * SWAPS[fill.instrument].contract * (marks[fill.instrument] - fill.price) + fill.fee
        if isinstance(event, Billed) and event.bill.kind is not BillKind.TRADE:
            worth += event.bill.change
    assert story.books.equity(marks) == worth


@tried
@given(moves)
def test_cash_agrees_with_a_plain_average_cost_computation(script: list[Move]) -> None:
    story = Story().play(script)
    cash = Fraction(OPENED.cash)
    held: dict[str, Fraction] = defaultdict(Fraction)
    average: dict[str, Fraction] = defaultdict(Fraction)
    for event in story.events:
        if isinstance(event, Billed) and event.bill.kind is not BillKind.TRADE:
            cash += Fraction(event.bill.change)
        if not isinstance(event, Filled):
            continue
        name, size, price = event.fill.instrument, Fraction(event.fill.size), Fraction(event.fill.price)
        before, after = held[name], held[name] + size
        if before * size < 0:
            closed = -before if abs(size) > abs(before) else size
            cash += -closed * Fraction(SWAPS[name].contract) * (price - average[name])
            if before * after < 0:
                average[name] = price
        else:
            average[name] = (before * average[name] + size * price) / after
        held[name] = after
        cash += Fraction(event.fill.fee)
    assert abs(Fraction(story.books.cash) - cash) < Fraction(1, 10**9)
    if not any(held.values()):
        assert Fraction(story.books.cash) == cash


@tried
@given(moves)
def test_the_books_sum_to_what_the_exchange_must_hold(script: list[Move]) -> None:
    story = Story().play(script)
    fills = [event.fill for event in story.events if isinstance(event, Filled)]
    for name in NAMES:
        legs = [leg for book in story.books.open_books() for leg in book.legs if leg.instrument == name]
        assert sum(leg.size for leg in legs) == story.books.net(name)
        assert sum(fill.size for fill in fills if fill.instrument == name) == story.books.net(name)
    story.books.check()


@tried
@given(moves)
def test_a_book_earns_what_its_parts_of_the_fills_and_bills_earn(script: list[Move]) -> None:
    story = Story().play(script)
    books, mark = story.books, D("123.4")
    for book in books.open_books():
        if book.pair in books.holdings(book.strategy, D(0)).closed:
            continue  # An earlier round trip of the pair has taken its earnings with it.
        earned = D(0)
        for event in story.events:
            if isinstance(event, Filled):
                unit = SWAPS[event.fill.instrument].contract * (mark - event.fill.price)
                for part in event.parts:
                    intent = books.intents[part.intent].intent
                    if (intent.strategy, intent.pair) == (book.strategy, book.pair):
                        earned += part.size * unit + part.fee
            if isinstance(event, Billed):
                earned += sum(s.amount for s in event.shares if (s.strategy, s.pair) == (book.strategy, book.pair))
        prices = {leg.asset: float(mark) for leg in book.legs}
        assert book_pnl(book, prices) == pytest.approx(float(earned), abs=1e-6)


@tried
@given(moves)
def test_orders_never_go_back(script: list[Move]) -> None:
    story = Story().play(script)
    books = Books(SWAPS)
    final: dict[str, OrderState] = {}
    filled: dict[str, Decimal] = {}
    for event in story.events:
        books.apply(event)
        for name, record in books.orders.items():
            assert record.filled >= filled.get(name, D(0))
            assert final.get(name, record.state) is record.state
            filled[name] = record.filled
            if record.state.final:
                final[name] = record.state


REPORTS = st.lists(
    st.tuples(st.sampled_from([OrderState.LIVE, OrderState.FILLED, OrderState.CANCELLED]), st.integers(0, 5)),
    min_size=1,
    max_size=6,
)


@tried
@given(REPORTS, st.permutations(range(12)))
def test_reports_in_any_order_and_number_tell_the_same_amount(
    told: list[tuple[OrderState, int]], order_of: list[int]
) -> None:
    order = Order("pxI0L0A0", "pxI0", 0, 0, NAMES[0], D("0.05"), OrderType.MARKET, 9)

    def heard(reports: list[tuple[OrderState, int]]) -> OrderRecord:
        record = OrderRecord(order, 0)
        for state, filled in reports:
            amount = min(SWAPS[order.instrument].lot * filled, abs(order.size))
            record.report(OrderReport(order.client_id, "", order.instrument, state, amount, None, 0))
        return record

    shuffled = [(told * 2)[place] for place in order_of if place < 2 * len(told)]
    one, other = heard(told), heard(shuffled)
    assert one.filled == other.filled
    assert one.state.final == other.state.final


@tried
@given(moves)
def test_funding_and_exchange_fills_are_divided_without_a_rest(script: list[Move]) -> None:
    story = Story().play(script)
    for event in story.events:
        if isinstance(event, Billed) and event.shares:
            assert sum(share.amount for share in event.shares) == event.bill.change
        if isinstance(event, Filled):
            assert sum(part.size for part in event.parts) == event.fill.size
            assert all(part.size * event.fill.size > 0 for part in event.parts)
            lot = SWAPS[event.fill.instrument].lot
            assert all(part.size % lot == 0 for part in event.parts)


@tried
@given(moves)
def test_an_event_that_cannot_be_changes_nothing(script: list[Move]) -> None:
    story = Story().play(script)
    before = picture(story.books)
    once = [e for e in story.events if isinstance(e, Opened | Intended | Planned | Filled | Billed | Settled)]
    # What a late fill has reopened may be settled again.
    once = [e for e in once if not (isinstance(e, Settled) and story.books.intents[e.intent].reopened)]
    for event in once:
        with pytest.raises(InvariantError):
            story.books.apply(event)
    assert picture(story.books) == before
