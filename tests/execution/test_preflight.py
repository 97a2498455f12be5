"""Before anything is traded: what is otherwise than supposed is named, with its value and the way out."""

from collections.abc import Sequence
from decimal import Decimal as D

import msgspec
import pytest

from core.domain.health import Check
from core.execution.preflight import Expected, Known, clock_check, preflight
from core.venues.port import AccountMode, Maintenance, PriceLimit, Tier, Unreachable
from tests.execution.fakes import BTC, ETH, SPECS, FakeVenue

HOUR = 3_600_000
EXPECTED = Expected(leverage=D(1), most=D(50_000), maintenance=D("0.005"), taker=D("0.0005"))
UNKNOWN = Known({}, {})


class Odd(FakeVenue):
    """A venue whose conditions a test sets: what is None is as usual."""

    mode: AccountMode | None = None
    levers: dict[str, D] | None = None
    steps: list[Tier] | None = None
    limit: PriceLimit | None = None
    outages: Sequence[Maintenance] = ()
    offset = 0
    silent = False

    async def account_mode(self) -> AccountMode:
        if self.silent:
            raise Unreachable("fake: no answer")
        return self.mode or await super().account_mode()

    async def leverage(self, instruments: Sequence[str]) -> dict[str, D]:
        return self.levers or await super().leverage(instruments)

    async def tiers(self, instrument: str) -> list[Tier]:
        return self.steps or await super().tiers(instrument)

    async def price_limit(self, instrument: str) -> PriceLimit:
        return self.limit or await super().price_limit(instrument)

    async def maintenance(self) -> list[Maintenance]:
        return list(self.outages)

    async def measure_clock(self) -> int:
        return self.offset


async def looked(venue: Odd, known: Known = UNKNOWN, expected: Expected = EXPECTED) -> dict[str, Check]:
    """The worst check of each name."""
    rank = ("good", "warn", "bad")
    checks = await preflight(venue, list(SPECS), expected, known)
    return {check.name: check for check in sorted(checks, key=lambda check: rank.index(check.level))}


async def test_all_is_well_where_all_is_as_supposed() -> None:
    found = await looked(Odd())
    assert {check.level for check in found.values()} == {"good"}
    assert list(found) == [
        "account", "key", "leverage", "tiers", "fees", "clock", "price limits", "instruments", "maintenance",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "name", "level", "told"),
    [
        (AccountMode("spot", True, ("trade",), True), "account", "bad", "spot mode trades no swaps"),
        (AccountMode("futures", False, ("trade",), True), "account", "bad", "net mode"),
        (AccountMode("futures", True, ("read_only",), True), "key", "bad", "permission to trade"),
        (AccountMode("futures", True, ("trade", "withdraw"), True), "key", "warn", "may not withdraw"),
    ],
)
async def test_account_and_key(mode: AccountMode, name: str, level: str, told: str) -> None:
    venue = Odd()
    venue.mode = mode
    found = (await looked(venue))[name]
    assert found.level == level and told in found.line


async def test_a_key_for_real_money_is_bound_to_an_address() -> None:
    venue = Odd()
    venue.mode = AccountMode("futures", True, ("trade",), False)
    assert (await looked(venue))["key"].level == "good"
    venue.capabilities = msgspec.structs.replace(venue.capabilities, real_money=True)
    assert "bind the key" in (await looked(venue))["key"].line


async def test_leverage_is_read_back() -> None:
    venue = Odd()
    venue.levers = {BTC: D(1), ETH: D(5)}
    found = (await looked(venue))["leverage"]
    assert found.level == "bad" and f"{ETH} 5 where 1 was set" in found.text


@pytest.mark.parametrize(
    ("tier", "level", "told"),
    [
        (Tier(1, D(4999), D("0.004"), D("0.01"), D(100)), "warn", "no tier holds 50000 USDT"),
        (Tier(1, D(10**6), D("0.02"), D("0.05"), D(20)), "warn", "maintenance margin is 2.00%"),
        (Tier(1, D(10**6), D("0.004"), D("0.5"), D(2)), "bad", "bear a leverage of 2 at most"),
    ],
)
async def test_the_tier_of_the_largest_position(tier: Tier, level: str, told: str) -> None:
    venue = Odd()
    venue.steps = [tier]
    expected = msgspec.structs.replace(EXPECTED, leverage=D(3) if level == "bad" else D(1))
    venue.levers = dict.fromkeys(SPECS, expected.leverage)
    found = (await looked(venue, expected=expected))["tiers"]
    assert found.level == level and told in found.text


async def test_fees_above_those_of_the_backtests_are_told() -> None:
    found = (await looked(Odd(), expected=msgspec.structs.replace(EXPECTED, taker=D("0.0002"))))["fees"]
    assert found.level == "warn" and "taker 0.0500%; backtests suppose 0.0200%" in found.text


@pytest.mark.parametrize(("offset", "level"), [(1, "good"), (-999, "good"), (1_000, "warn"), (-30_000, "bad")])
def test_the_clock(offset: int, level: str) -> None:
    found = clock_check(offset)
    assert found.level == level and ("ahead of" if offset < 0 else "behind") in found.text


async def test_a_mark_outside_its_price_limits_is_told() -> None:
    venue = Odd()
    venue.limit = PriceLimit(D(900), D(50), True)
    found = (await looked(venue))["price limits"]
    assert found.level == "warn" and f"{BTC}: the mark 1000 is not between 50 and 900" in found.text
    venue.limit = PriceLimit(D(0), D(0), False)
    assert (await looked(venue))["price limits"].level == "good"


class TestInstruments:
    async def test_a_lot_or_tick_that_has_changed_is_named_with_what_cannot_be_closed(self) -> None:
        old = msgspec.structs.replace(SPECS[ETH], lot=D("0.5"), tick=D("0.1"))
        found = (await looked(Odd(), Known({ETH: old}, {ETH: D("2.5")})))["instruments"]
        assert found.level == "warn"
        assert found.text == f"{ETH}: lot 0.5 is now 1, tick 0.1 is now 0.01"
        assert found.way_out == "of 2.5 contracts held, 0.5 cannot be closed alone"

    @pytest.mark.parametrize(("held", "level"), [({}, "warn"), ({ETH: D(3)}, "bad")])
    async def test_a_contract_of_another_size_is_bad_where_it_is_held(self, held: dict[str, D], level: str) -> None:
        old = msgspec.structs.replace(SPECS[ETH], contract=D(1))
        found = (await looked(Odd(), Known({ETH: old}, held)))["instruments"]
        assert found.level == level and f"{ETH}: a contract was 1 ETH and is 0.1" in found.text

    async def test_what_is_held_and_no_longer_listed_is_bad(self) -> None:
        found = (await looked(Odd(), Known({}, {"LUNA-USDT-SWAP": D(7)})))["instruments"]
        assert found.level == "bad" and found.text == "LUNA-USDT-SWAP is not listed, 7 contracts are held"


async def test_announced_maintenance() -> None:
    venue = Odd()
    now = venue.server_ms()
    venue.outages = [Maintenance("upgrade", now + 30 * HOUR, 0, False)]
    assert (await looked(venue))["maintenance"].level == "good"
    venue.outages = [Maintenance("upgrade", now + 2 * HOUR, 0, False)]
    assert (await looked(venue))["maintenance"].text == "in 2.0 hours: upgrade"
    venue.outages = [Maintenance("upgrade", now - HOUR, 0, True)]
    assert (await looked(venue))["maintenance"].level == "bad"


async def test_what_cannot_be_asked_is_bad_and_the_rest_is_asked_all_the_same() -> None:
    venue = Odd()
    venue.silent = True
    found = await looked(venue)
    assert found["account"].level == "bad" and "no answer" in found["account"].text
    assert found["fees"].level == "good"
