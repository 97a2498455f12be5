"""The backtest's exchange keeps the same contract, where its capabilities allow."""

from decimal import Decimal
from typing import Any

import pytest
from contract import CONTRACT, Bench

from core.backtest.events import Assumptions, market_of
from core.backtest.latency import latency
from core.backtest.venue import BacktestVenue
from core.data.panel import Panel
from core.domain.orders import Fill


async def _heard(fill: Fill) -> None:
    """Its fills are told here; the checks ask for them."""


@pytest.fixture
def venue(market: Panel) -> BacktestVenue:
    given = Assumptions(slippage="flat")
    made = BacktestVenue(
        market_of(market, 20, 0, 7), given.rules(), Decimal(100_000), latency("none", 1), given.inside, 0.0, 1
    )
    made.told = _heard
    return made


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
async def test_contract(check: Any, venue: BacktestVenue) -> None:
    async def step() -> None:
        venue.close_bar()

    await check(Bench(venue, "ETH-USDT-SWAP", step))
