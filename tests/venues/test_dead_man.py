"""The dead-man's switch at the exchange: it takes what we have left in the book, and nothing else."""

import asyncio
from decimal import Decimal

from contract import ended, flatten, order_of

from core.domain.orders import OrderState, OrderType, Protection
from core.matching.types import Place
from core.venues.okx import messages
from core.venues.okx.venue import OkxVenue
from core.venues.okx_local import LocalExchange

ETH = "ETH-USDT-SWAP"


async def test_silence_cancels_our_resting_orders_and_spares_stops_and_strangers(
    venue: OkxVenue, exchange: LocalExchange
) -> None:
    held = order_of(venue, ETH, 4)
    await venue.place(held)
    await ended(venue, held)
    mark = await venue.mark(ETH)
    low = venue.instruments[ETH].round_price(mark * Decimal("0.97"))
    resting = order_of(venue, ETH, 1, OrderType.LIMIT, low)
    await venue.place(resting)
    stop = await venue.protect(Protection("stop1", ETH, -held.size, venue.instruments[ETH].round_price(mark / 2)))
    exchange.exchange.obey([Place("stranger", ETH, venue.instruments[ETH].lot, OrderType.LIMIT, low)])
    await venue.cancel_all_after(10)
    # Ten seconds would pass without a word: the exchange's own timer is set short instead.
    exchange.exchange.cancel_all_after(0.01, messages.TAG)
    assert (await ended(venue, resting)).state is OrderState.CANCELLED
    assert [report.client_id for report in await venue.open_orders()] == ["stranger"]
    assert await venue.protections() == [stop]
    await venue.unprotect(stop)
    await flatten(venue, ETH)


async def test_what_is_called_off_cancels_nothing(venue: OkxVenue, exchange: LocalExchange) -> None:
    resting = order_of(venue, ETH, 1, OrderType.LIMIT, await venue.mark(ETH) * Decimal("0.97"))
    await venue.place(resting)
    exchange.exchange.cancel_all_after(0.05, messages.TAG)
    await venue.cancel_all_after(0)
    await asyncio.sleep(0.1)
    assert [report.client_id for report in await venue.open_orders()] == [resting.client_id]
    await venue.cancel(resting)
