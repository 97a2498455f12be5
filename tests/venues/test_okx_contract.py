"""OkxVenue keeps the venue's contract, against the local exchange."""

import pytest
from contract import CONTRACT

from core.venues.okx.venue import OkxVenue
from core.venues.okx_local import LocalExchange


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
async def test_contract(check, venue: OkxVenue, exchange: LocalExchange) -> None:  # type: ignore[no-untyped-def]
    async def step() -> None:
        await venue.acknowledge(exchange.status()["bar"])  # type: ignore[arg-type]

    await check(venue, "ETH-USDT-SWAP", step)
