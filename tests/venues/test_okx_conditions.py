"""What OKX says of its conditions, read; and how many requests it would take."""

import asyncio
from decimal import Decimal as D

import pytest

from core.venues.okx import conditions, messages
from core.venues.okx.budget import RATES, WINDOW_S, Budget
from core.venues.okx.venue import OkxVenue
from core.venues.port import AccountMode, Maintenance, PriceLimit, Tier

HOUR = 3_600_000


def test_account_mode_and_what_the_key_may() -> None:
    raw = {"acctLv": "3", "posMode": "long_short_mode", "perm": "read_only,withdraw,trade", "ip": "1.2.3.4"}
    mode = AccountMode("multi-currency", False, ("read_only", "withdraw", "trade"), True)
    assert conditions.account_mode(raw) == mode
    assert conditions.account_mode({"acctLv": "2", "posMode": "net_mode", "perm": "", "ip": ""}).permissions == ()


def test_a_tier() -> None:
    raw = {"tier": "2", "maxSz": "1500", "mmr": "0.01", "imr": "0.02", "maxLever": "50"}
    assert conditions.tier(raw) == Tier(2, D(1500), D("0.01"), D("0.02"), D(50))


def test_price_limits_may_be_missing() -> None:
    raw = {"buyLmt": "102", "sellLmt": "98", "enabled": True}
    assert conditions.price_limit(raw) == PriceLimit(D(102), D(98), True)
    assert not conditions.price_limit({"buyLmt": "", "sellLmt": "", "enabled": False}).enabled


@pytest.mark.parametrize(
    ("service", "state", "concerns"),
    [("5", "scheduled", True), ("0", "ongoing", True), ("11", "scheduled", False), ("5", "completed", False)],
)
def test_of_outages_only_those_that_concern_us(service: str, state: str, concerns: bool) -> None:
    raw = {"title": "upgrade", "begin": "7", "end": "9", "state": state, "serviceType": service}
    assert conditions._concerns_us(raw) is concerns
    assert conditions.maintenance(raw) == Maintenance("upgrade", 7, 9, state == "ongoing")


def test_funding_is_dated_by_the_hour_at_which_it_was_settled() -> None:
    raw = {
        "billId": "1",
        "type": "8",
        "instId": "BTC-USDT-SWAP",
        "ccy": "USDT",
        "balChg": "-1",
        "bal": "9",
        "tradeId": "",
    }
    assert messages.bill({**raw, "ts": str(8 * HOUR + 4_321)}).ts == 8 * HOUR
    assert messages.bill({**raw, "ts": str(8 * HOUR + 900_000)}).ts == 8 * HOUR + 900_000
    assert messages.bill({**raw, "type": "1", "ts": str(8 * HOUR + 4_321)}).ts == 8 * HOUR + 4_321


def test_the_maintenance_margin_is_told_or_not_known() -> None:
    row = {"ccy": "USDT", "eq": "10", "cashBal": "10", "availEq": "9", "mmr": "0.5"}
    assert messages.balance({"uTime": "1", "details": [row]}).maintenance == D("0.5")
    assert messages.balance({"uTime": "1", "details": [{**row, "mmr": ""}]}).maintenance is None


async def test_the_budget_counts_the_last_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    budget = Budget()
    assert budget.load().share == 0.0
    for _ in range(30):
        budget.spend("trade/order")
    budget.spend("account/config")
    assert (budget.load().share, budget.load().name) == (30 / RATES["trade/order"], "trade/order")
    now += WINDOW_S + 0.1
    assert budget.load().share == 0.0


async def test_all_of_it_is_answered_by_the_local_exchange(venue: OkxVenue) -> None:
    names = list(venue.instruments)
    assert (await venue.account_mode()).net
    await venue.set_leverage(names[0], D(2))
    assert (await venue.leverage(names))[names[0]] == 2 and len(await venue.leverage(names)) == len(names)
    assert [tier.number for tier in await venue.tiers(names[0])] == [1]
    limit = await venue.price_limit(names[0])
    assert limit.sell < await venue.mark(names[0]) < limit.buy
    assert await venue.maintenance() == [] and abs(await venue.measure_clock()) < 1_000
    assert venue.load().share > 0 and not venue.capabilities.limited
