"""The whole line from the exchange's sockets to the decision: it sees closed bars, whole and in order."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from core.config import load
from core.domain.market import Bar
from core.engine.narrator import Narrator
from core.engine.supervisor import composed, make_venue
from core.portfolio.events import Decided
from core.trader import Trader
from core.venues.okx_local.server import LocalExchange
from core.venues.okx_local.server import Settings as Local
from tests.engine.small import ASSETS, panel

START, BARS = 450, 15


class Address:
    """Stands where the exchange's process would."""

    def __init__(self, url: str) -> None:
        self.url = url


@pytest.mark.parametrize("speed", ["max", 40_000.0])
async def test_what_is_decided_on_is_the_closed_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speed: str | float
) -> None:
    """Known defect 6: live decisions used the bar still forming. Forming candles stream all the while."""
    market = panel(500)
    options = {
        "universe.assets": list(ASSETS),
        "engine.strategies": ["zscore"],
        "demo.speed": speed,
        "demo.train_bars": START,
    }
    settings = load(None, options=options, environ={"COCKPIT_HOME": str(tmp_path / "home")})
    settings.paths.create()
    decided: list[tuple[Bar, int]] = []
    on_bar = Trader.on_bar

    local = Local(speed=0.0 if speed == "max" else float(speed), start=START, bars=BARS)
    async with LocalExchange(market, tmp_path / "exchange", local) as exchange:
        venue = make_venue(settings, Address(exchange.url))  # type: ignore[arg-type]

        def watched(self: Trader, bar: Bar, *rest: object) -> object:
            decided.append((bar, venue.market_ms()))
            return on_bar(self, bar, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(Trader, "on_bar", watched)
        async with composed(settings, venue, {}, None, Narrator()) as run:
            async with asyncio.timeout(60.0):
                await run.engine.trade(int(market.ts[START + BARS - 1]))
            assert await run.engine.executor.idle(10.0)
            events = await run.ledger.read()

    assert [bar.open_ms for bar, _ in decided] == market.ts[START : START + BARS].tolist()
    assert [event.bar for event in events if isinstance(event, Decided)] == [bar.open_ms for bar, _ in decided]
    for t, (bar, now) in enumerate(decided, START):
        whole = market.bar(t)
        np.testing.assert_array_equal(bar.ohlcv, whole.ohlcv)
        np.testing.assert_allclose(bar.funding, whole.funding, rtol=1e-12)
        assert bar.valid.all() and bar.close_ms <= now, "decided before its bar had closed"
