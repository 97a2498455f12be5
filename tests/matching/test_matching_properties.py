"""What holds for any sequence of quotes and commands whatsoever."""

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal as D
from decimal import localcontext

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_exchange import BTC, DEEP, ETH, INSTRUMENTS, THIN, only

from core.domain.account import Bill, BillKind
from core.domain.orders import Fill, OrderState, OrderType
from core.matching.core import Matching
from core.matching.records import History, State
from core.matching.rules import Rules
from core.matching.types import (
    Cancel,
    CancelTrigger,
    Command,
    Event,
    Place,
    PlaceTrigger,
    Quote,
    Rejected,
    SetLeverage,
    SettleFunding,
    Trigger,
)

DEPOSIT = D(1000)
RULES = Rules(price_band=D("0.1"), levels=4)
CENTRE = {BTC: (1000, D("0.1"), D("0.1")), ETH: (100, D("0.01"), D(1))}  # mark, tick, lot

Step = tuple[list[Command], list[Quote]]

names = st.sampled_from([BTC, ETH])
ids = st.sampled_from(["", "a", "b", "c"])


@st.composite
def prices(draw: st.DrawFn, instrument: str) -> D:
    """On tick, mostly within a percent of the usual price, now and then far away."""
    centre, tick, _ = CENTRE[instrument]
    share = draw(st.one_of(st.integers(-100, 100), st.integers(-100, 100), st.integers(-9000, 20000)))
    return (centre * (10000 + share) / D(10000) // tick) * tick


@st.composite
def sizes(draw: st.DrawFn, instrument: str) -> D:
    """Signed whole lots, from less than the minimum to more than the account can carry."""
    return (
        draw(st.one_of(st.integers(-50, 50), st.integers(-3000, 3000), st.integers(-40000, 40000)))
        * CENTRE[instrument][2]
    )


@st.composite
def commands(draw: st.DrawFn) -> Command:
    instrument = draw(names)
    match draw(
        st.sampled_from(["place"] * 6 + ["cancel", "trigger", "trigger", "untrigger", "leverage", "funding"])
    ):
        case "place":
            kind = draw(st.sampled_from(OrderType))
            price = None if kind is OrderType.MARKET else draw(prices(instrument))
            return Place(draw(ids), instrument, draw(sizes(instrument)), kind, price, draw(st.booleans()))
        case "cancel":
            return Cancel(instrument, client_id=draw(ids))
        case "trigger":
            stop, size = draw(prices(instrument)), draw(sizes(instrument))
            return PlaceTrigger(draw(ids), instrument, size, stop, draw(st.booleans()))
        case "untrigger":
            return CancelTrigger(instrument, client_id=draw(ids))
        case "leverage":
            return SetLeverage(instrument, D(draw(st.integers(0, 120))))
        case _:
            return SettleFunding(instrument, D(draw(st.integers(-50, 50))) / D(7000))


@st.composite
def quotes(draw: st.DrawFn) -> Quote:
    instrument = draw(names)
    return Quote(instrument, draw(prices(instrument)) + D("0.003"), draw(st.sampled_from([THIN, 1e5, DEEP])))


BEGIN: Step = (
    [SetLeverage(BTC, D(100)), SetLeverage(ETH, D(50))],
    [Quote(BTC, D(1000), DEEP), Quote(ETH, D(100), 1e5)],
)
histories = st.lists(
    st.tuples(st.lists(commands(), max_size=4), st.lists(quotes(), max_size=2)), min_size=1, max_size=12
).map(lambda steps: [BEGIN, *steps])

examples = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(autouse=True)
def _wide_arithmetic() -> Iterator[None]:
    """The tests' own sums must not round where the exchange's do not."""
    with localcontext() as context:
        context.prec = 100
        yield


def run(matching: Matching, steps: list[Step], start: int = 0) -> list[list[Event]]:
    return [matching.step(start + i, orders, market) for i, (orders, market) in enumerate(steps)]


def fresh() -> Matching:
    return Matching(INSTRUMENTS, DEPOSIT, RULES)


@examples
@given(histories)
def test_money_is_conserved_to_the_last_digit(steps: list[Step]) -> None:
    matching = fresh()
    contract = {instrument.id: instrument.contract for instrument in INSTRUMENTS}
    told: list[Event] = []
    for i, (orders, market) in enumerate(steps):
        told += matching.step(i, orders, market)
        bills, fills, balance = only(Bill, told), only(Fill, told), matching.balance()
        assert balance.cash == DEPOSIT + sum(bill.change for bill in bills)
        paid = sum(fill.size * contract[fill.instrument] * fill.price for fill in fills)
        fees = sum(fill.fee for fill in fills)
        funding = sum(bill.change for bill in bills if bill.kind is BillKind.FUNDING)
        worth = D(0)
        for held in matching.positions():
            mark = matching.mark(held.instrument)
            assert mark is not None
            worth += held.size * contract[held.instrument] * mark
        assert balance.equity == DEPOSIT - paid + worth + fees + funding
        assert 0 <= balance.free <= max(balance.equity, D(0))
    assert matching.bills()[1:] == only(Bill, told)
    assert matching.fills() == only(Fill, told)


@examples
@given(histories)
def test_orders_keep_their_limits(steps: list[Step]) -> None:
    """No fill outside the limit, none beyond the size, none that reduce-only forbids; positions are the sum
    of fills, and what an order reports is the sum of its own."""
    matching = fresh()
    position: dict[str, D] = defaultdict(D)
    filled: dict[str, D] = defaultdict(D)
    for i, (orders, market) in enumerate(steps):
        for fill in only(Fill, matching.step(i, orders, market)):
            record = matching.order(venue_id=fill.venue_id)
            assert record is not None
            place, before = record.place, position[fill.instrument]
            position[fill.instrument] += fill.size
            filled[fill.venue_id] += abs(fill.size)
            assert fill.size * place.size > 0
            assert filled[fill.venue_id] <= abs(record.size) <= abs(place.size)
            if place.price is not None:
                assert fill.price <= place.price if fill.size > 0 else fill.price >= place.price
            if place.reduce_only:
                assert abs(position[fill.instrument]) < abs(before)
                assert position[fill.instrument] * before >= 0
        for venue_id, total in filled.items():
            record = matching.order(venue_id=venue_id)
            assert record is not None and record.report.filled == total
        assert {held.instrument: held.size for held in matching.positions()} == {
            name: size for name, size in position.items() if size
        }
    for record in matching.orders():
        assert record.report.state is OrderState.LIVE and record.open > 0
        assert record.place.type in (OrderType.LIMIT, OrderType.POST_ONLY)


@examples
@given(histories)
def test_the_book_is_always_in_order(steps: list[Step]) -> None:
    matching = fresh()
    for i, (orders, market) in enumerate(steps):
        matching.step(i, orders, market)
        for instrument in INSTRUMENTS:
            bids, asks = matching.book(instrument.id, RULES.levels)
            path = [price for price, _ in reversed(bids)] + [price for price, _ in asks]
            assert path == sorted(set(path))
            assert all(price > 0 and price % instrument.tick == 0 for price in path)
            assert all(size > 0 and size % instrument.lot == 0 for _, size in bids + asks)


@examples
@given(histories)
def test_every_command_is_answered(steps: list[Step]) -> None:
    """A refusal names its command; an order, cancel or trigger that is not refused is told of."""
    matching = fresh()
    for i, (_, market) in enumerate(steps):
        matching.step(i, [], market)
        for command in steps[i][0]:
            before = matching.state()
            events = matching.step(i, [command], [])
            refused = only(Rejected, events)
            if refused:
                assert [event.command for event in refused] == [command]
                assert matching.state() == before
            elif isinstance(command, Place | Cancel | PlaceTrigger | CancelTrigger):
                assert events


@examples
@given(histories)
def test_the_same_steps_give_the_same_events(steps: list[Step]) -> None:
    assert run(fresh(), steps) == run(fresh(), steps)


@examples
@given(histories, st.integers(0, 12))
def test_a_restored_exchange_goes_on_as_if_it_had_never_stopped(steps: list[Step], cut: int) -> None:
    matching = fresh()
    run(matching, steps[:cut])
    stored = msgspec.json.encode(matching.state()), msgspec.json.encode(matching.history())
    state = msgspec.json.decode(stored[0], type=State)
    history = msgspec.json.decode(stored[1], type=History)
    restored = Matching.restore(INSTRUMENTS, RULES, state, history)
    bare = Matching.restore(INSTRUMENTS, RULES, state)
    assert restored.state() == matching.state()
    assert restored.history() == matching.history()
    expected = run(matching, steps[cut:], cut)
    assert run(restored, steps[cut:], cut) == expected
    assert run(bare, steps[cut:], cut) == expected
    assert restored.state() == bare.state() == matching.state()
    assert restored.history() == matching.history()
    assert restored.balance() == matching.balance()
    for name in (BTC, ETH):
        assert restored.book(name) == matching.book(name)
        assert restored.margins(name) == matching.margins(name)
    for record in matching.history().orders:
        assert restored.order(venue_id=record.venue_id) == record
        assert restored.order(client_id=record.client_id) == matching.order(client_id=record.client_id)
    live = [event for events in expected for event in events if isinstance(event, Trigger)]
    assert all(restored.trigger(venue_id=event.venue_id) is not None for event in live)


def test_a_state_with_an_unlisted_instrument_is_refused() -> None:
    state = fresh().state()
    with pytest.raises(ValueError, match=ETH):
        Matching.restore(INSTRUMENTS[:1], RULES, state)
