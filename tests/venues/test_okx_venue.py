"""The streams of OkxVenue: complete, in order, watched, and back after trouble."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from conftest import FIRST_MS, HOUR, START, SWAPS, Serve
from contract import PATIENCE, ended, order_of, until

from core.domain.market import Candle, Funding, Mark, Ticker
from core.domain.orders import Fill, OrderReport, Protection
from core.venues.okx import transport
from core.venues.okx.venue import OkxVenue
from core.venues.okx_local import LocalExchange
from core.venues.okx_local.faults import Fault
from core.venues.port import Reconnected, StreamState, StreamStatus, VenueEvent

BTC = SWAPS[0]
TIMED = 36_000.0
"""Market seconds a second: a bar every tenth of a second."""


async def gather_until(venue: OkxVenue, done: Callable[[list[VenueEvent]], bool]) -> list[VenueEvent]:
    events: list[VenueEvent] = []
    async with asyncio.timeout(PATIENCE):
        while not done(events):
            events.append(await venue.next_event())
    return events


def bar_of(exchange: LocalExchange) -> int:
    return int(str(exchange.status()["bar"]))


async def step(venue: OkxVenue, exchange: LocalExchange) -> None:
    await venue.acknowledge(bar_of(exchange))


async def test_ten_streams_of_each_kind_all_arrive(venue: OkxVenue, exchange: LocalExchange) -> None:
    await step(venue, exchange)
    kinds = (Ticker, Mark, Candle, Funding)
    events = await gather_until(
        venue, lambda seen: all(len({e.instrument for e in seen if isinstance(e, k)}) == 10 for k in kinds)
    )
    tickers = [event for event in events if isinstance(event, Ticker)]
    assert all(0 < each.bid <= each.ask for each in tickers)
    assert {event.key for event in events if isinstance(event, StreamStatus)} >= {"orders", "positions", "account"}


async def test_every_closed_candle_comes_once_and_in_order_across_dropped_sockets(
    venue: OkxVenue, exchange: LocalExchange
) -> None:
    bars = 15
    for number in range(bars):
        if number in (4, 5, 11):
            exchange.faults.add(Fault(do="drop", socket="business"))
        await step(venue, exchange)
    events = await gather_until(
        venue, lambda seen: sum(isinstance(event, Candle) for event in seen) == bars * len(SWAPS)
    )
    assert any(event == Reconnected("business") for event in events)
    expected = [FIRST_MS + (START + number) * HOUR for number in range(bars)]
    for swap in SWAPS:
        assert [e.open_ms for e in events if isinstance(e, Candle) and e.instrument == swap] == expected
    await step(venue, exchange)
    assert (await until(venue, Candle, lambda candle: True)).open_ms == expected[-1] + HOUR


async def test_candles_are_those_of_the_replayed_market(
    venue: OkxVenue, exchange: LocalExchange, market: Any
) -> None:
    candles = await venue.candles(SWAPS[3], 0, 350)
    assert len(candles) == 350, "more than one page, of both kinds of history"
    assert [c.close for c in candles] == pytest.approx(list(market.close[START - 350 : START, 3]))
    assert [c.volume for c in candles] == pytest.approx(list(market.volume[START - 350 : START, 3]))
    assert len(await venue.candles(SWAPS[3], FIRST_MS + 10 * HOUR, 100)) == 10, "no more than there are"


async def test_under_lockstep_the_market_waits_for_the_acknowledgement(
    venue: OkxVenue, exchange: LocalExchange
) -> None:
    done = exchange.status()["done"]
    await venue.acknowledge(bar_of(exchange))
    assert exchange.status()["done"] == int(str(done)) + 1
    await venue.acknowledge(bar_of(exchange) - HOUR)
    assert exchange.status()["done"] == int(str(done)) + 1, "a bar acknowledged before"


async def test_a_venue_without_lockstep_acknowledges_nothing(exchange: LocalExchange, connect: Any) -> None:
    venue = await connect(exchange, lockstep=False)
    await venue.acknowledge(bar_of(exchange))
    assert exchange.status()["done"] == 0


async def test_market_time_is_the_replays_and_server_time_the_machines(
    venue: OkxVenue, exchange: LocalExchange
) -> None:
    assert venue.market_ms() == FIRST_MS + START * HOUR
    assert venue.server_ms() - venue.market_ms() > 30 * 24 * HOUR
    await step(venue, exchange)
    await until(venue, Candle, lambda candle: True)
    assert venue.market_ms() == FIRST_MS + (START + 1) * HOUR


async def test_a_fill_during_a_lost_connection_is_told_by_the_reconnect_and_found_by_asking(
    venue: OkxVenue, exchange: LocalExchange
) -> None:
    order = order_of(venue, BTC, 3)
    exchange.faults.add(Fault(do="drop", socket="private"))
    await venue.place(order)
    await until(venue, Reconnected, lambda event: event.socket == "private")
    (fill,) = [fill for fill in await venue.fills(0) if fill.client_id == order.client_id]
    assert fill.size == order.size
    another = order_of(venue, BTC, 3)
    await venue.place(another)
    assert (await until(venue, Fill, lambda fill: True)).client_id == another.client_id


async def test_fills_are_unique_and_add_up_to_the_order(venue: OkxVenue) -> None:
    await venue.set_leverage(BTC, Decimal(50))
    order = order_of(venue, BTC, 600_000)
    await venue.place(order)
    events = await gather_until(venue, lambda seen: any(isinstance(e, OrderReport) and e.state.final for e in seen))
    fills = [event for event in events if isinstance(event, Fill)]
    assert len({fill.trade_id for fill in fills}) == len(fills) > 1, "a large order fills in parts"
    report = next(e for e in reversed(events) if isinstance(e, OrderReport))
    assert report.filled == sum(fill.size for fill in fills)


async def test_a_stream_that_falls_silent_is_noticed_by_itself_and_renewed(serve: Serve, connect: Any) -> None:
    exchange = await serve(speed=TIMED, bars=0, ticks=8)
    venue = await connect(exchange, stale_after=0.4)
    await until(venue, StreamStatus, lambda status: status == StreamStatus("ticker:" + BTC, StreamState.LIVE))
    client = venue._transport.clients[venue._transport.socket_url("public")]
    await client.send({"op": "unsubscribe", "args": [{"channel": "tickers", "instId": BTC}]})
    events = await gather_until(
        venue, lambda seen: any(isinstance(e, StreamStatus) and e.state is StreamState.STALE for e in seen)
    )
    assert [e.key for e in events if isinstance(e, StreamStatus) and e.state is not StreamState.LIVE] == [
        "ticker:" + BTC
    ]
    await until(venue, StreamStatus, lambda status: status == StreamStatus("ticker:" + BTC, StreamState.LIVE))


async def test_a_half_open_socket_is_noticed_by_its_missing_pongs(
    serve: Serve, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "KEEP_ALIVE_MS", 100)
    exchange = await serve()
    venue = await connect(exchange)
    exchange.faults.add(Fault(do="silence", socket="public"))
    await until(venue, StreamStatus, lambda status: status.state is StreamState.DOWN)
    assert await until(venue, Reconnected, lambda event: True) == Reconnected("public")


async def test_a_broken_message_is_told_and_ends_nothing(venue: OkxVenue, exchange: LocalExchange) -> None:
    hub = exchange.exchange.hub
    await until(venue, Ticker, lambda ticker: ticker.instrument == BTC)
    for connection in hub.connections:
        connection.send(b'{"arg":{"channel":"tickers","inst')
        connection.send(b'["not", "an", "object"]')
    hub.publish("tickers", BTC, [{"instId": BTC, "ts": "1"}])
    hub.publish("candle1H", BTC, [["1", "x", "x", "x", "x", "x", "x", "x", "1"]])
    hub.publish("orders", "", [{"instId": "NEW-USDT-SWAP", "ordId": "1", "state": "never heard of"}])
    keys = {"public", "private", "business", "ticker:" + BTC, "candle:" + BTC, "orders"}
    await gather_until(
        venue, lambda seen: {e.key for e in seen if isinstance(e, StreamStatus) and e.detail} == keys
    )
    await step(venue, exchange)
    candle = await until(venue, Candle, lambda candle: candle.instrument == BTC)
    assert candle.open_ms == FIRST_MS + START * HOUR
    order = order_of(venue, BTC, 1)
    await venue.place(order)
    await ended(venue, order)


async def test_orders_of_instruments_we_do_not_watch_are_told_too(exchange: LocalExchange, connect: Any) -> None:
    venue = await connect(exchange, (BTC,))
    order = order_of(venue, "DOT-USDT-SWAP", 1)
    await venue.place(order)
    assert (await ended(venue, order)).instrument == "DOT-USDT-SWAP"


async def test_an_exchange_that_restarts_is_found_again_and_nothing_is_missed(serve: Serve, connect: Any) -> None:
    first = await serve()
    venue = await connect(first)
    await step(venue, first)
    await serve.stop(first)
    keys = {"ticker:" + BTC, "candle:" + BTC, "orders"}
    await gather_until(
        venue,
        lambda seen: keys <= {e.key for e in seen if isinstance(e, StreamStatus) and e.state is StreamState.DOWN},
    )
    second = await serve(port=first.port, resume=True)
    sockets = await gather_until(venue, lambda seen: sum(isinstance(e, Reconnected) for e in seen) == 3)
    assert {e.socket for e in sockets if isinstance(e, Reconnected)} == {"public", "private", "business"}
    await step(venue, second)
    candle = await until(venue, Candle, lambda candle: candle.instrument == BTC)
    assert candle.open_ms == FIRST_MS + (START + 1) * HOUR
    order = order_of(venue, BTC, 1)
    await venue.place(order)
    assert (await ended(venue, order)).filled == order.size


async def test_a_protection_that_fires_tells_whose_it_was(venue: OkxVenue, exchange: LocalExchange) -> None:
    order = order_of(venue, BTC, 2)
    await venue.place(order)
    await ended(venue, order)
    trigger = venue.instruments[BTC].round_price(await venue.mark(BTC) * Decimal("0.999"))
    await venue.protect(Protection("stopx", BTC, -order.size, trigger))
    for _ in range(40):
        await step(venue, exchange)
    fill = await until(venue, Fill, lambda fill: fill.client_id != order.client_id)
    assert (fill.algo_id, fill.size) == ("stopx", -order.size)
    assert await venue.positions() == [] and await venue.protections() == []
