"""What every venue must do: checks of the port, to be run against any implementation of it.

A venue of your own, in a package of your own, is held to this from a copy of this file (it imports `core` and
pytest alone), by one test::

    @pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
    async def test_contract(check, venue):  # `venue`: a fixture that connects it and closes it again
        await check(Bench(venue, "BTC-USDT-SWAP", step, trouble))

The account is flat, holds at least 10,000 in cash and is used by nobody else; `step()` moves the market on (a bar,
or a moment). Each check leaves the account as flat as it found it. What `venue.capabilities` says it cannot do is
skipped and the reason told; so is what needs trouble, where there is no way to make any: `trouble` lets the next
request or its answer be lost, pushes come twice, and connections break (see `Trouble`). An implementation that a
real exchange is behind runs the rest against that exchange's demo account.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import wraps
from itertools import count
from typing import NamedTuple, Protocol, TypeVar

import pytest

from core.domain.account import BillKind
from core.domain.market import Candle
from core.domain.orders import Fill, Order, OrderReport, OrderState, OrderType, Protection
from core.venues.port import Reconnected, Refused, Unknown, Venue, VenueEvent

E = TypeVar("E", bound=VenueEvent)
Step = Callable[[], Awaitable[None]]

PATIENCE = 10.0
_numbers = count(1)


class Trouble(Protocol):
    """What the exchange behind a venue can be made to do wrong."""

    def lose_answer(self) -> None:
        """The next order is carried out; its acknowledgement is lost."""

    def lose_request(self) -> None:
        """The next order never arrives."""

    def double_pushes(self) -> None:
        """From now on every message of the streams comes twice."""

    def cut(self) -> None:
        """Every open connection breaks."""


class Bench(NamedTuple):
    """A connected venue, an instrument of it, and ways to move its market and to trouble it."""

    venue: Venue
    instrument: str
    step: Step
    trouble: Trouble | None = None


Check = Callable[[Bench], Awaitable[None]]


def needs(has: Callable[[Bench], bool], why_not: str) -> Callable[[Check], Check]:
    """Skip the check, and say why, where the venue has not got what it is about."""

    def decorated(check: Check) -> Check:
        @wraps(check)
        async def asked(bench: Bench) -> None:
            if not has(bench):
                pytest.skip(f"{bench.venue.capabilities.name}: {why_not}")
            await check(bench)

        return asked

    return decorated


def streams(bench: Bench) -> bool:
    return not bench.venue.capabilities.immediate


troubled = needs(lambda bench: bench.trouble is not None, "no way to make trouble was given")


def order_of(
    venue: Venue,
    instrument: str,
    size: Decimal | int,
    kind: OrderType = OrderType.MARKET,
    price: Decimal | None = None,
    *,
    reduce_only: bool = False,
    lifetime_ms: int = 30_000,
) -> Order:
    """An order of a fresh client id for `size` lots."""
    spec = venue.instruments[instrument]
    return Order(
        client_id=f"contract{next(_numbers)}",
        intent="contract",
        leg=0,
        attempt=0,
        instrument=instrument,
        size=spec.lot * size,
        type=kind,
        expires=venue.server_ms() + lifetime_ms,
        price=None if price is None else spec.round_price(price),
        reduce_only=reduce_only,
    )


async def until(venue: Venue, kind: type[E], wanted: Callable[[E], bool]) -> E:
    """The first event of `kind` that is wanted; TimeoutError if it does not come."""
    async with asyncio.timeout(PATIENCE):
        while True:
            event = await venue.next_event()
            if isinstance(event, kind) and wanted(event):
                return event


async def ended(venue: Venue, order: Order) -> OrderReport:
    """The order's end, as it is told."""
    if venue.capabilities.immediate:
        told = await venue.order(order.instrument, order.client_id)
        assert told is not None and told.state.final
        return told
    return await until(
        venue, OrderReport, lambda report: report.client_id == order.client_id and report.state.final
    )


async def first_fill(venue: Venue, order: Order) -> Fill:
    """The order's first execution, as it is told."""
    if venue.capabilities.immediate:
        return next(fill for fill in await venue.fills(0) if fill.client_id == order.client_id)
    return await until(venue, Fill, lambda fill: fill.client_id == order.client_id)


async def lists_what_it_trades(bench: Bench) -> None:
    venue, instrument = bench.venue, bench.instrument
    spec = venue.instruments[instrument]
    assert spec.id == instrument
    assert min(spec.contract, spec.lot, spec.tick, spec.min_size, spec.max_market_size, spec.max_leverage) > 0
    assert spec.min_size == spec.round_size(spec.min_size)


@needs(streams, "it tells all that comes of a request in its answer, and its market from the panel")
async def candles_are_closed_whole_and_oldest_first(bench: Bench) -> None:
    venue, instrument = bench.venue, bench.instrument
    candles = await venue.candles(instrument, 0, 50)
    times = [candle.open_ms for candle in candles]
    bar = times[1] - times[0]
    assert times == list(range(times[0], times[0] + 50 * bar, bar))
    assert times[-1] + bar <= venue.market_ms()
    assert all(c.low <= min(c.open, c.close) <= max(c.open, c.close) <= c.high for c in candles)
    earlier = await venue.candles(instrument, times[-1], 7)
    assert earlier == candles[-8:-1], "a candle that closed at end_ms is known then, the next is not"


@needs(streams, "it tells all that comes of a request in its answer, and its market from the panel")
async def funding_is_settled_and_oldest_first(bench: Bench) -> None:
    venue, instrument = bench.venue, bench.instrument
    rates = await venue.funding(instrument, 5)
    assert len(rates) == 5
    assert [rate.ts for rate in rates] == sorted({rate.ts for rate in rates})
    assert rates[-1].ts <= venue.market_ms()
    assert all(0 < rate.period_ms <= 28_800_000 for rate in rates)


async def clocks_are_near(bench: Bench) -> None:
    venue = bench.venue
    first = venue.server_ms()
    assert venue.market_ms() > 0 and venue.server_ms() >= first


async def a_market_order_fills_and_all_accounts_of_it_agree(bench: Bench) -> None:
    venue, instrument = bench.venue, bench.instrument
    before, known = await venue.balance(), await venue.bills("")
    since = venue.market_ms()
    order = order_of(venue, instrument, 7)
    placed = await venue.place(order)
    assert placed.client_id == order.client_id and placed.venue_id
    assert placed.state is (OrderState.LIVE if streams(bench) else OrderState.FILLED)
    fill = await first_fill(venue, order)
    report = await ended(venue, order)
    assert (report.state, report.filled, report.venue_id) == (OrderState.FILLED, order.size, placed.venue_id)
    assert fill.size > 0 and fill.fee < 0 and fill.venue_id == placed.venue_id
    looked_up = await venue.order(instrument, order.client_id)
    assert looked_up is not None
    assert (looked_up.state, looked_up.filled, looked_up.average) == (report.state, report.filled, report.average)
    mine = [each for each in await venue.fills(since) if each.client_id == order.client_id]
    assert fill in mine and sum(each.size for each in mine) == order.size
    (position,) = [each for each in await venue.positions() if each.instrument == instrument]
    assert position.size == order.size
    bills = await venue.bills(known[-1].id if known else "")
    assert {bill.trade_id for bill in bills} == {each.trade_id for each in mine}
    assert all(bill.kind is BillKind.TRADE for bill in bills)
    after = await venue.balance()
    assert after.cash - before.cash == sum(bill.change for bill in bills) == sum(each.fee for each in mine)
    await flatten(venue, instrument)


async def a_sale_is_negative(bench: Bench) -> None:
    venue, instrument = bench.venue, bench.instrument
    order = order_of(venue, instrument, -5)
    await venue.place(order)
    fill = await first_fill(venue, order)
    await ended(venue, order)
    assert fill.size < 0
    assert [each.size for each in await venue.positions()] == [order.size]
    await flatten(venue, instrument)


async def a_limit_order_rests_until_it_is_cancelled(bench: Bench) -> None:
    venue, instrument = bench.venue, bench.instrument
    price = await venue.mark(instrument) * Decimal("0.97")
    order = order_of(venue, instrument, 1, OrderType.LIMIT, price)
    await venue.place(order)
    assert order.client_id in [report.client_id for report in await venue.open_orders()]
    found = await venue.order(instrument, order.client_id)
    assert found is not None and found.state is OrderState.LIVE
    await venue.cancel(order)
    report = await ended(venue, order)
    assert report.state is OrderState.CANCELLED and report.filled == 0
    assert order.client_id not in [report.client_id for report in await venue.open_orders()]
    with pytest.raises(Refused):
        await venue.cancel(order)


async def a_post_only_that_would_take_is_cancelled(bench: Bench) -> None:
    venue, instrument = bench.venue, bench.instrument
    price = await venue.mark(instrument) * Decimal("1.01")
    order = order_of(venue, instrument, 1, OrderType.POST_ONLY, price)
    assert (await venue.place(order)).state is (OrderState.LIVE if streams(bench) else OrderState.CANCELLED)
    report = await ended(venue, order)
    assert report.state is OrderState.CANCELLED and report.filled == 0


async def reduce_only_never_opens(bench: Bench) -> None:
    venue, instrument = bench.venue, bench.instrument
    order = order_of(venue, instrument, 1, reduce_only=True)
    try:
        await venue.place(order)
    except Refused:
        pass
    else:
        assert (await ended(venue, order)).filled == 0
    assert await venue.positions() == []


@needs(lambda bench: bench.venue.capabilities.expiry, "its orders do not expire")
async def an_expired_order_is_refused_and_leaves_nothing(bench: Bench) -> None:
    venue, instrument = bench.venue, bench.instrument
    order = order_of(venue, instrument, 1, lifetime_ms=-60_000)
    with pytest.raises(Refused):
        await venue.place(order)
    assert await venue.order(instrument, order.client_id) is None


async def an_order_that_never_was_is_none(bench: Bench) -> None:
    venue, instrument = bench.venue, bench.instrument
    assert await venue.order(instrument, order_of(venue, instrument, 1).client_id) is None


async def a_resting_order_sent_twice_exists_once(bench: Bench) -> None:
    venue, instrument = bench.venue, bench.instrument
    order = order_of(venue, instrument, 1, OrderType.LIMIT, await venue.mark(instrument) * Decimal("0.97"))
    first = await venue.place(order)
    assert (await venue.place(order)).venue_id == first.venue_id
    assert [each.client_id for each in await venue.open_orders()].count(order.client_id) == 1
    await venue.cancel(order)
    await ended(venue, order)


@needs(lambda bench: bench.venue.capabilities.dead_man, "it does not cancel what rests by itself")
async def the_dead_mans_switch_spares_what_is_heard_in_time(bench: Bench) -> None:
    venue, instrument = bench.venue, bench.instrument
    order = order_of(venue, instrument, 1, OrderType.LIMIT, await venue.mark(instrument) * Decimal("0.97"))
    await venue.place(order)
    for seconds in (10, 120, 0):
        await venue.cancel_all_after(seconds)
    for seconds in (9, 121, -1):
        with pytest.raises(Refused):
            await venue.cancel_all_after(seconds)
    assert order.client_id in [report.client_id for report in await venue.open_orders()]
    await venue.cancel(order)
    await ended(venue, order)


async def nonsense_is_refused(bench: Bench) -> None:
    venue, instrument = bench.venue, bench.instrument
    for size in (Decimal(10) ** 12, Decimal("0.0001")):
        order = order_of(venue, instrument, 1)
        with pytest.raises(Refused) as refused:
            await venue.place(
                Order(
                    order.client_id, "contract", 0, 0, instrument, venue.instruments[instrument].lot * size,
                    OrderType.MARKET, order.expires,
                )
            )  # fmt: skip
        assert refused.value.code and "\n" not in str(refused.value)
        assert await venue.order(instrument, order.client_id) is None


async def fees_paid_are_positive(bench: Bench) -> None:
    venue = bench.venue
    maker, taker = await venue.fee_rates()
    assert maker <= taker and 0 < taker < Decimal("0.01")


async def leverage_can_be_set(bench: Bench) -> None:
    venue, instrument = bench.venue, bench.instrument
    await venue.set_leverage(instrument, Decimal(2))
    with pytest.raises(Refused):
        await venue.set_leverage(instrument, venue.instruments[instrument].max_leverage + 1000)
    await venue.set_leverage(instrument, Decimal(1))


@needs(lambda bench: bench.venue.capabilities.triggers, "it holds no stops")
async def a_protection_stands_until_it_is_taken_back(bench: Bench) -> None:
    venue, instrument = bench.venue, bench.instrument
    order = order_of(venue, instrument, 4)
    await venue.place(order)
    await ended(venue, order)
    trigger = venue.instruments[instrument].round_price(await venue.mark(instrument) * Decimal("0.6"))
    wanted = Protection(f"stop{next(_numbers)}", instrument, -order.size, trigger)
    standing = await venue.protect(wanted)
    assert standing.venue_id and standing.client_id == wanted.client_id
    assert await venue.protections() == [standing]
    await venue.unprotect(standing)
    assert await venue.protections() == []
    await venue.unprotect(standing)
    await flatten(venue, instrument)


@needs(streams, "it tells all that comes of a request in its answer, and its market from the panel")
async def the_market_moves_on_and_each_closed_candle_comes_once(bench: Bench) -> None:
    venue, instrument = bench.venue, bench.instrument
    (latest,) = await venue.candles(instrument, 0, 1)
    bar = latest.open_ms - (await venue.candles(instrument, latest.open_ms, 1))[0].open_ms
    for number in range(1, 4):
        await bench.step()
        candle = await until(venue, Candle, lambda candle: candle.instrument == instrument)
        assert candle.open_ms == latest.open_ms + number * bar
        assert (await venue.candles(instrument, 0, 1))[0] == candle


async def fills_are_told_from_a_time_on(bench: Bench) -> None:
    venue, instrument = bench.venue, bench.instrument
    names = []
    for _ in range(2):
        since = venue.market_ms()
        order = order_of(venue, instrument, 2)
        await venue.place(order)
        await ended(venue, order)
        names.append(order.client_id)
        await bench.step()
        if streams(bench):
            await until(venue, Candle, lambda candle: candle.instrument == instrument)
    later = [each.client_id for each in await venue.fills(since)]
    assert set(names) <= {each.client_id for each in await venue.fills(0)} and names[1] in later
    assert names[0] not in later, "it was filled a bar before"
    await flatten(venue, instrument)


@troubled
@needs(streams, "its answers cannot be lost")
async def a_lost_answer_is_unknown_until_it_is_asked_for(bench: Bench) -> None:
    venue, order = bench.venue, order_of(bench.venue, bench.instrument, 3)
    assert bench.trouble is not None
    bench.trouble.lose_answer()
    with pytest.raises(Unknown):
        await venue.place(order)
    found = await venue.order(bench.instrument, order.client_id)
    assert found is not None and found.filled == order.size
    await ended(venue, order)
    assert [p.size for p in await venue.positions()] == [order.size], "once"
    await flatten(venue, bench.instrument)


@troubled
@needs(streams, "its requests cannot be lost")
async def a_lost_request_is_unknown_and_is_nowhere(bench: Bench) -> None:
    venue, order = bench.venue, order_of(bench.venue, bench.instrument, 3)
    assert bench.trouble is not None
    bench.trouble.lose_request()
    with pytest.raises(Unknown):
        await venue.place(order)
    assert await venue.order(bench.instrument, order.client_id) is None
    assert await venue.positions() == []


@troubled
@needs(streams, "it has no streams")
async def what_is_told_twice_is_heard_once(bench: Bench) -> None:
    venue, order = bench.venue, order_of(bench.venue, bench.instrument, 9)
    assert bench.trouble is not None
    bench.trouble.double_pushes()
    await venue.place(order)
    await bench.step()
    heard: list[VenueEvent] = []
    while not (heard and isinstance(heard[-1], Candle) and heard[-1].instrument == bench.instrument):
        async with asyncio.timeout(PATIENCE):
            heard.append(await venue.next_event())
    trades = Counter(event.trade_id for event in heard if isinstance(event, Fill))
    assert trades and set(trades.values()) == {1}
    told = [event for event in heard if isinstance(event, OrderReport) and event.client_id == order.client_id]
    assert [each.filled for each in told] == sorted(each.filled for each in told)
    assert [each.state.final for each in told].count(True) == 1
    await flatten(venue, bench.instrument)


@troubled
@needs(streams, "it has no connections")
async def a_broken_connection_comes_back_and_says_so(bench: Bench) -> None:
    venue, instrument = bench.venue, bench.instrument
    assert bench.trouble is not None
    bench.trouble.cut()
    await until(venue, Reconnected, lambda event: event.socket == "private")
    order = order_of(venue, instrument, 2)
    await venue.place(order)
    assert (await ended(venue, order)).filled == order.size
    await flatten(venue, instrument)


async def closed_and_connected_again_nothing_is_lost(bench: Bench) -> None:
    venue, instrument = bench.venue, bench.instrument
    order = order_of(venue, instrument, 1, OrderType.LIMIT, await venue.mark(instrument) * Decimal("0.97"))
    await venue.place(order)
    await venue.close()
    await venue.connect([instrument])
    assert order.client_id in [report.client_id for report in await venue.open_orders()]
    await venue.cancel(order)
    assert (await ended(venue, order)).state is OrderState.CANCELLED
    market = order_of(venue, instrument, 2)
    await venue.place(market)
    assert (await ended(venue, market)).filled == market.size
    await flatten(venue, instrument)


async def flatten(venue: Venue, instrument: str) -> None:
    """Close what a check has opened."""
    for position in await venue.positions():
        lots = -position.size / venue.instruments[position.instrument].lot
        order = order_of(venue, position.instrument, lots, reduce_only=True)
        await venue.place(order)
        await ended(venue, order)
    assert await venue.positions() == []


CONTRACT: tuple[Check, ...] = (
    lists_what_it_trades,
    candles_are_closed_whole_and_oldest_first,
    funding_is_settled_and_oldest_first,
    clocks_are_near,
    a_market_order_fills_and_all_accounts_of_it_agree,
    a_sale_is_negative,
    a_limit_order_rests_until_it_is_cancelled,
    a_post_only_that_would_take_is_cancelled,
    reduce_only_never_opens,
    an_expired_order_is_refused_and_leaves_nothing,
    an_order_that_never_was_is_none,
    a_resting_order_sent_twice_exists_once,
    the_dead_mans_switch_spares_what_is_heard_in_time,
    nonsense_is_refused,
    fees_paid_are_positive,
    leverage_can_be_set,
    a_protection_stands_until_it_is_taken_back,
    the_market_moves_on_and_each_closed_candle_comes_once,
    fills_are_told_from_a_time_on,
    a_lost_answer_is_unknown_until_it_is_asked_for,
    a_lost_request_is_unknown_and_is_nowhere,
    what_is_told_twice_is_heard_once,
    a_broken_connection_comes_back_and_says_so,
    closed_and_connected_again_nothing_is_lost,
)
"""Every check of the port. Each leaves the account as flat as it found it."""
