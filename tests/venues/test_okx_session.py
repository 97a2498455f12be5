"""What an engine may rely on, whatever the streams do."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.account import Position
from core.domain.market import Candle, Mark, Ticker
from core.domain.orders import Fill, OrderReport, OrderState
from core.venues.okx import session
from core.venues.okx.session import CandleFlow, Freshness, Guard, Mailbox, Session
from core.venues.port import StreamState, StreamStatus, Unreachable, VenueEvent

BAR = 3_600_000


def ticker(instrument: str, ts: int) -> Ticker:
    return Ticker(instrument, ts, Decimal(1), Decimal(2), Decimal(1))


def candle(number: int, instrument: str = "A") -> Candle:
    return Candle(instrument, number * BAR, 1.0, 1.0, 1.0, 1.0, 1.0)


def report(filled: int, ts: int, state: OrderState = OrderState.LIVE) -> OrderReport:
    return OrderReport("c", "v", "A", state, Decimal(filled), None, ts)


def fill(number: int) -> Fill:
    return Fill(f"A:{number}", "v", "c", "A", Decimal(1), Decimal(1), Decimal(0), "USDT", number)


async def drain(mailbox: Mailbox) -> list[VenueEvent]:
    return [await mailbox.get() for _ in range(len(mailbox))]


# --- a slow consumer ---------------------------------------------------------------------------------


async def test_only_the_latest_quotes_wait_and_nothing_else_is_dropped() -> None:
    mailbox = Mailbox()
    first = candle(1)
    arriving: list[VenueEvent] = [
        ticker("A", 1),
        Mark("A", 1, Decimal(1)),
        first,
        ticker("B", 2),
        ticker("A", 3),
        fill(1),
        fill(1),
    ]
    for event in arriving:
        mailbox.put(event)
    assert await drain(mailbox) == [
        Mark("A", 1, Decimal(1)),
        first,
        ticker("B", 2),
        ticker("A", 3),
        fill(1),
        fill(1),
    ]


async def test_a_thousand_ticks_cost_a_slow_consumer_one_event() -> None:
    mailbox = Mailbox()
    for ts in range(1000):
        mailbox.put(ticker("A", ts))
    assert len(mailbox) == 1 and await mailbox.get() == ticker("A", 999)


async def test_a_consumer_that_waits_is_woken_and_a_cancelled_one_loses_nothing() -> None:
    mailbox = Mailbox()
    impatient = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    patient = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    mailbox.put(fill(1))
    assert await patient == fill(1)


# --- duplicates and late messages --------------------------------------------------------------------


def test_a_fill_is_seen_once() -> None:
    guard = Guard()
    assert [guard.admits(fill(n)) for n in (1, 2, 1, 2, 3)] == [True, True, False, False, True]


def test_memory_of_fills_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "REMEMBERED", 3)
    guard = Guard()
    assert all(guard.admits(fill(n)) for n in range(100))
    assert not guard.admits(fill(99)) and guard.admits(fill(0))


@pytest.mark.parametrize(
    ("late", "why"),
    [
        (report(5, 11), "it fills less than was told"),
        (report(6, 12), "it tells nothing new"),
        (report(6, 11), "it is older"),
    ],
)
def test_a_report_never_goes_back(late: OrderReport, why: str) -> None:
    guard = Guard()
    assert guard.admits(report(6, 12))
    assert not guard.admits(late), why


def test_a_late_live_does_not_open_a_closed_order_again() -> None:
    guard = Guard()
    assert guard.admits(report(6, 12, OrderState.CANCELLED))
    assert not guard.admits(report(6, 13))
    assert not guard.admits(report(6, 12, OrderState.CANCELLED))


def test_the_end_of_an_order_is_news_at_the_same_time_and_size() -> None:
    guard = Guard()
    assert guard.admits(report(6, 12))
    assert guard.admits(report(6, 12, OrderState.FILLED))


def test_an_old_position_is_not_shown_after_a_newer_one() -> None:
    guard = Guard()
    assert guard.admits(Position("A", Decimal(2), Decimal(1), 5))
    assert not guard.admits(Position("A", Decimal(1), Decimal(1), 4))
    assert guard.admits(Position("B", Decimal(1), Decimal(1), 4))


@given(st.permutations(range(12)), st.lists(st.integers(0, 11), max_size=8))
def test_in_any_order_reports_only_move_forward(order: list[int], again: list[int]) -> None:
    told = [report(n // 2, n, OrderState.FILLED if n == 11 else OrderState.LIVE) for n in range(12)]
    guard = Guard()
    seen = [told[n] for n in (*order, *again) if guard.admits(told[n])]
    assert [each.filled for each in seen] == sorted(each.filled for each in seen)
    assert seen[-1].state is OrderState.FILLED
    assert sum(each.state.final for each in seen) == 1


# --- candles -----------------------------------------------------------------------------------------


def flow_of(
    fetch: Callable[[int], Awaitable[list[Candle]]],
) -> tuple[CandleFlow, list[int], list[str]]:
    given_, told = list[int](), list[str]()
    flow = CandleFlow(BAR, fetch, lambda each: given_.append(each.open_ms // BAR), told.append)
    return flow, given_, told


async def settled(flow: CandleFlow) -> None:
    while flow.filling is not None:
        await asyncio.wait([flow.filling])


async def test_a_gap_is_filled_before_the_candle_that_shows_it() -> None:
    async def fetch(after: int) -> list[Candle]:
        return [candle(n) for n in range(after // BAR + 1, 5)]

    flow, seen, told = flow_of(fetch)
    flow.seed(BAR)
    flow.push(candle(5))
    flow.push(candle(6))
    await settled(flow)
    assert seen == [2, 3, 4, 5, 6] and not told


async def test_after_a_reconnect_what_closed_meanwhile_is_fetched_without_waiting_for_the_next() -> None:
    async def fetch(after: int) -> list[Candle]:
        return [candle(n) for n in range(after // BAR + 1, 4)]

    flow, seen, _ = flow_of(fetch)
    flow.push(candle(1))
    flow.catch_up()
    await settled(flow)
    assert seen == [1, 2, 3]


async def test_a_venue_that_cannot_be_reached_is_asked_again_and_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FETCH_DELAYS", (0.0, 0.0))
    calls = 0

    async def fetch(after: int) -> list[Candle]:
        nonlocal calls
        calls += 1
        if calls < 6:
            raise Unreachable("the exchange cannot be reached")
        return [candle(2)]

    flow, seen, told = flow_of(fetch)
    flow.push(candle(1))
    flow.push(candle(3))
    await settled(flow)
    assert seen == [1, 2, 3] and len(told) == 1 and "cannot be reached" in told[0]


async def test_a_candle_that_was_never_made_is_passed_over_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FETCH_DELAYS", (0.0, 0.0))

    async def fetch(after: int) -> list[Candle]:
        return [candle(4)]

    flow, seen, told = flow_of(fetch)
    flow.push(candle(1))
    flow.push(candle(4))
    await settled(flow)
    assert seen == [1, 4] and len(told) == 1


@settings(max_examples=60)
@given(st.sets(st.integers(2, 30)), st.integers(0, 1 << 30))
def test_whatever_is_lost_doubled_or_cut_each_candle_comes_once_in_order(lost: set[int], seed: int) -> None:
    chance = random.Random(seed)

    async def play() -> list[int]:
        now = 1

        async def fetch(after: int) -> list[Candle]:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            return [candle(n) for n in range(after // BAR + 1, now + 1)]

        flow, seen, _ = flow_of(fetch)
        flow.seed(BAR)
        for now in range(2, 31):
            if now not in lost:
                flow.push(candle(now))
            if chance.random() < 0.2:
                flow.push(candle(chance.randrange(1, now + 1)))
            if chance.random() < 0.2:
                flow.catch_up()
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
        await settled(flow)
        flow.catch_up()
        await settled(flow)
        return seen

    assert asyncio.run(play()) == list(range(2, 31))


# --- silence -----------------------------------------------------------------------------------------


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The loop's time, to be set by hand."""
    now = [100.0]
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])
    return now


async def test_a_silent_stream_turns_stale_once_and_lives_again_with_its_next_message(clock: list[float]) -> None:
    told: list[StreamStatus] = []
    fresh = Freshness(told.append)
    fresh.watch("ticker:A", 10.0)
    fresh.acknowledged("ticker:A")
    fresh.heard("ticker:A")
    clock[0] = 109.0
    assert fresh.check() == []
    clock[0] = 110.0
    assert fresh.check() == ["ticker:A"]
    assert fresh.check() == []
    fresh.heard("ticker:A")
    assert [each.state for each in told] == [StreamState.LIVE, StreamState.STALE, StreamState.LIVE]


async def test_an_acknowledged_stream_that_never_speaks_is_stale(clock: list[float]) -> None:
    told: list[StreamStatus] = []
    fresh = Freshness(told.append)
    fresh.watch("mark:A", 10.0)
    fresh.acknowledged("mark:A")
    clock[0] = 110.0
    fresh.check()
    assert told == [StreamStatus("mark:A", StreamState.STALE, "silent for 10.0 s")]


async def test_the_longer_the_silence_the_rarer_the_renewal(clock: list[float]) -> None:
    fresh = Freshness(lambda status: None)
    fresh.watch("mark:A", 10.0)
    fresh.acknowledged("mark:A")
    renewed = []
    for second in range(110, 260):
        clock[0] = float(second)
        if fresh.check():
            renewed.append(second - 100)
    assert renewed == [10, 20, 40, 80]


async def test_streams_that_may_be_silent_live_by_their_acknowledgement(clock: list[float]) -> None:
    told: list[StreamStatus] = []
    fresh = Freshness(told.append)
    fresh.watch("orders", None)
    fresh.acknowledged("orders")
    clock[0] = 1e6
    assert fresh.check() == [] and told == [StreamStatus("orders", StreamState.LIVE)]


async def test_a_lost_socket_is_down_and_not_stale(clock: list[float]) -> None:
    told: list[StreamStatus] = []
    fresh = Freshness(told.append)
    fresh.watch("ticker:A", 10.0)
    fresh.acknowledged("ticker:A")
    fresh.down("ticker:A", "connection lost")
    fresh.down("ticker:A", "connection lost")
    clock[0] = 500.0
    assert fresh.check() == [] and told == [StreamStatus("ticker:A", StreamState.DOWN, "connection lost")]


async def test_a_stream_of_what_is_traded_no_more_is_ended_until_it_speaks_again(clock: list[float]) -> None:
    told: list[StreamStatus] = []
    fresh = Freshness(told.append)
    fresh.watch("mark:A", 10.0)
    fresh.acknowledged("mark:A")
    clock[0] = 110.0
    assert fresh.check() == ["mark:A"]
    fresh.end("mark:A")
    clock[0] = 10_000.0
    assert fresh.check() == []
    fresh.down("mark:A", "connection lost")
    fresh.acknowledged("mark:A")
    fresh.heard("mark:A")
    clock[0] = 10_010.0
    assert fresh.check() == ["mark:A"]
    states = [StreamState.STALE, StreamState.ENDED, StreamState.DOWN, StreamState.ENDED, StreamState.LIVE]
    assert [each.state for each in told] == [*states, StreamState.STALE]


async def test_unreadable_messages_are_told_once_until_a_good_one_comes(clock: list[float]) -> None:
    told: list[StreamStatus] = []
    fresh = Freshness(told.append)
    fresh.watch("ticker:A", 10.0)
    fresh.heard("ticker:A")
    for _ in range(100):
        fresh.fault("ticker:A", "KeyError: 'last'")
    fresh.heard("ticker:A")
    fresh.fault("ticker:A", "KeyError: 'last'")
    assert [each.detail for each in told] == ["", "KeyError: 'last'", "KeyError: 'last'"]


# --- together ----------------------------------------------------------------------------------------


async def test_market_time_is_the_latest_that_any_stream_has_told() -> None:
    async def fetch(instrument: str, after: int) -> list[Candle]:
        return []

    whole = Session(("A",), BAR, fetch)
    whole.deliver("ticker:A", [ticker("A", 5_000)])
    assert whole.market_ms == 5_000
    whole.deliver("candle:A", [candle(1)])
    assert whole.market_ms == 2 * BAR
    whole.deliver("ticker:A", [ticker("A", 6_000)])
    assert whole.market_ms == 2 * BAR


async def test_the_fill_of_a_late_report_still_counts() -> None:
    async def fetch(instrument: str, after: int) -> list[Candle]:
        return []

    whole = Session(("A",), BAR, fetch)
    whole.deliver("orders", [fill(2), report(2, 2, OrderState.FILLED)])
    whole.deliver("orders", [fill(1), report(1, 1)])
    assert await drain(whole.mailbox) == [fill(2), report(2, 2, OrderState.FILLED), fill(1)]
