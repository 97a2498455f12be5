"""OkxVenue keeps the venue's contract, against the local exchange and every trouble that it can make."""

from typing import Any

import pytest
from contract import CONTRACT, Bench

from core.venues.okx.venue import OkxVenue
from core.venues.okx_local import LocalExchange
from core.venues.okx_local.faults import Fault


class Faults:
    """The contract's troubles as the local exchange makes them."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._faults = exchange.faults

    def lose_answer(self) -> None:
        self._faults.add(Fault("drop_reply", match="POST trade/order"))

    def lose_request(self) -> None:
        self._faults.add(Fault("drop_before", match="POST trade/order"))

    def double_pushes(self) -> None:
        self._faults.add(Fault("push_double", times=10**6))

    def cut(self) -> None:
        self._faults.add(Fault("drop", socket="all"))


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
async def test_contract(check: Any, venue: OkxVenue, exchange: LocalExchange) -> None:
    async def step() -> None:
        await venue.acknowledge(exchange.status()["bar"])  # type: ignore[arg-type]

    await check(Bench(venue, "ETH-USDT-SWAP", step, Faults(exchange)))
