"""Health while it runs: each measure has its thresholds, and what is bad is acted upon. On virtual time."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal as D
from pathlib import Path

import pytest
import pytest_asyncio

from core.config.health import Range
from core.data.synthetic import synthetic_panel
from core.domain.account import Balance
from core.domain.health import Reading
from core.domain.orders import Order, OrderReport, OrderState, OrderType
from core.domain.snapshot import Command
from core.domain.trading import TradingState
from core.engine import health
from core.engine.health import level_of
from core.execution.exposure import Unhedged
from core.portfolio.events import Listed, Planned, Reported, Switched
from core.venues.port import AccountMode, Load, StreamState, StreamStatus
from tests.engine.desk import ASSETS, Desk, ReplayVenue


class Sick(ReplayVenue):
    """The exchange of a desk whose market does not wait, with what a test says of clock, load and account."""

    offset = 0
    used = Load(0.0, "")
    mode = AccountMode("futures", True, ("trade",), True)

    async def measure_clock(self) -> int:
        return self.offset

    def load(self) -> Load:
        return self.used

    async def account_mode(self) -> AccountMode:
        return self.mode


def sick() -> Sick:
    venue = Sick(synthetic_panel(7, 900, ASSETS), lockstep=False)
    venue.capabilities = type(venue.capabilities)("fake", False, False, True, True, limited=True)
    return venue


@pytest_asyncio.fixture
async def live(tmp_path: Path) -> AsyncIterator[Desk]:
    made = await Desk(tmp_path / "home", sick()).open()
    watching = asyncio.create_task(made.engine.health.watch())
    await asyncio.sleep(0.5)
    yield made
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await made.close()


def reading(desk: Desk, name: str) -> Reading:
    return next(found for found in desk.engine.health.readings if found.name == name)


async def after(desk: Desk, seconds: float = 1.0) -> None:
    await asyncio.sleep(seconds)


@pytest.mark.parametrize(
    ("value", "levels", "falling", "level"),
    [
        (1.0, Range(2, 3), False, "good"), (2.0, Range(2, 3), False, "warn"), (3.0, Range(2, 3), False, "bad"),
        (9.0, Range(6, 3), True, "good"), (6.0, Range(6, 3), True, "warn"), (3.0, Range(6, 3), True, "bad"),
    ],
)  # fmt: skip
def test_thresholds(value: float, levels: Range, falling: bool, level: str) -> None:
    assert level_of(value, levels, falling) == level


async def test_a_well_engine_says_so_of_each_measure(live: Desk) -> None:
    assert {found.level for found in live.engine.health.readings} == {"good"}
    assert [found.name for found in live.engine.health.readings] == list(health.RULES)
    assert live.engine.health.trouble == "" and live.view().health == list(live.engine.health.readings)


async def test_a_silent_subscription_is_named_and_holds_entries(live: Desk) -> None:
    live.engine.market.status(StreamStatus("ticker:BTC-USDT-SWAP", StreamState.LIVE))
    live.engine.market.status(StreamStatus("mark:BTC-USDT-SWAP", StreamState.STALE, "silent for 16.0 s"))
    await after(live)
    found = reading(live, "streams")
    assert found.line == "streams 1/2 live (mark:BTC-USDT-SWAP is stale: silent for 16.0 s)"
    assert found.level == "bad" and live.engine.trouble()


async def test_a_clock_that_is_off_holds_entries_until_it_is_right(live: Desk) -> None:
    live.venue.offset = -6_000  # type: ignore[attr-defined]
    await after(live, 61.0)
    assert reading(live, "clock").text == "-6000 ms" and live.engine.trouble() == "clock -6000 ms"
    assert "clock -6000 ms" in [line.text for line in live.lines if line.level == "bad"]
    live.venue.offset = 10  # type: ignore[attr-defined]
    await after(live, 61.0)
    assert live.engine.trouble() == ""


async def test_a_spent_budget_of_requests_holds_entries(live: Desk) -> None:
    live.venue.used = Load(0.95, "trade/order")  # type: ignore[attr-defined]
    await after(live)
    assert live.engine.trouble() == "requests 95% (trade/order)"


async def orders(desk: Desk, sent: int, refused: int) -> None:
    intent_of = (await desk.ask("open", "BTC/ETH", 1)) and next(iter(desk.books.intents))
    now = desk.venue.market_ms()
    listen = desk.engine.health._heard
    for n in range(sent):
        order = Order(f"o{n}", intent_of, 0, n, "BTC-USDT-SWAP", D(1), OrderType.MARKET, 0)
        listen(Planned(now, order))
        if n < refused:
            listen(Reported(now, OrderReport(f"o{n}", "", "BTC-USDT-SWAP", OrderState.REJECTED, D(0), None, now)))


async def test_many_refusals_reduce_the_account_and_well_again_it_is_released(live: Desk) -> None:
    await orders(live, sent=10, refused=8)
    await after(live)
    assert reading(live, "rejects").level == "bad"
    assert live.engine.restrictions.state is TradingState.REDUCING
    assert live.told(Switched)[-1].cause == "health: rejects"
    live.engine.health._orders.clear()
    await after(live)
    assert live.engine.restrictions.state is TradingState.ACTIVE


async def test_two_refusals_of_two_orders_say_nothing_yet(live: Desk) -> None:
    live.engine.health._orders.extend([(live.venue.market_ms(), False), (live.venue.market_ms(), True)])
    await after(live)
    assert reading(live, "rejects").level == "good"


async def test_a_full_disk_reduces_the_account(live: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "free_mb", lambda folder: 150.0)
    await after(live)
    assert reading(live, "disk").text == "0.1 GB free" or reading(live, "disk").text == "0.2 GB free"
    assert live.engine.restrictions.reason.startswith("disk ")


async def test_a_late_loop_holds_entries(live: Desk) -> None:
    live.engine.health._late.append(0.75)
    await after(live)
    assert live.engine.trouble() == "lag 750.0 ms"


async def test_the_margin_ratio_is_the_exchanges_own(live: Desk) -> None:
    live.engine.money = Balance("USDT", D(1000), D(1000), D(0), maintenance=D(400))
    await after(live)
    assert (reading(live, "margin").text, reading(live, "margin").level) == ("2.5x", "bad")


async def test_an_old_reconciliation_holds_entries(live: Desk) -> None:
    live.engine.health.agreed -= 301
    await after(live)
    assert live.engine.trouble().startswith("truth 30")
    await live.engine.reconcile()
    await after(live)
    assert live.engine.trouble() == ""


async def test_a_leg_that_stands_alone_too_long_holds_entries(live: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    since = asyncio.get_running_loop().time() - 31.0
    alone = Unhedged("i", "BTC/ETH", "BTC-USDT-SWAP", D(3), D(300), since)
    monkeypatch.setattr(live.engine.executor, "unhedged", lambda: (alone,))
    await after(live)
    assert live.engine.trouble().startswith("hedge 300 USDT open for 31")


async def test_a_market_that_waits_for_us_is_never_held_up(desk: Desk) -> None:
    desk.engine.health._late.append(9.0)
    await desk.engine.health.step()
    assert reading(desk, "lag").level == "bad" and desk.engine.trouble() == ""
    assert desk.engine.restrictions.state is TradingState.ACTIVE


class TestPreflight:
    async def test_the_ledger_remembers_what_instruments_are_like(self, live: Desk) -> None:
        (told,) = live.told(Listed)
        assert {spec.id for spec in told.instruments} == set(live.venue.instruments)

    async def test_what_is_bad_keeps_an_empty_account_from_starting(self, tmp_path: Path) -> None:
        venue = sick()
        venue.mode = AccountMode("spot", True, ("trade",), True)
        with pytest.raises(Exception, match="preflight: account: spot mode"):
            await Desk(tmp_path / "home", venue).open()

    async def test_with_something_held_it_starts_and_only_reduces(self, live: Desk) -> None:
        await live.ask("open", "BTC/ETH", 1)
        live.venue.mode = AccountMode("spot", True, ("trade",), True)  # type: ignore[attr-defined]
        await live.restart()
        assert live.engine.restrictions.state is TradingState.REDUCING
        assert live.engine.restrictions.reason.startswith("preflight: account: spot mode")
        assert (await live.ask("close", "BTC/ETH")).ok and not live.books.open_books()


class TestWhatIsNotOurs:
    async def test_a_difference_is_told_when_it_stands_and_accepted_with_its_reason(self, live: Desk) -> None:
        live.venue.stranger("BTC-USDT-SWAP", "3")
        await live.until(lambda: bool(live.engine.orders.foreign))
        await live.engine.reconcile()
        assert not [line for line in live.lines if "no new entries" in line.text]
        await live.engine.reconcile()
        assert len([line for line in live.lines if "no new entries until they agree" in line.text]) == 2
        refused = await live.ask("accept")
        assert not refused.ok and "--why" in refused.message
        reply = await live.commands.handle(_command("accept", "mine"))
        assert reply.ok and reply.message.endswith("ledger and exchange agree")
        assert live.lines[-1].text != "" and live.engine.verdict.agrees
        assert "contracts accepted as not ours" in live.engine.warning

    async def test_adopted_it_is_a_position_like_any_other(self, live: Desk) -> None:
        live.venue.stranger("BTC-USDT-SWAP", "3")
        await live.until(lambda: bool(live.engine.orders.foreign))
        reply = await live.commands.handle(_command("adopt", "by phone"))
        assert reply.ok, reply.message
        assert [row.strategy for row in live.view().positions] == ["manual"]
        assert (await live.ask("close", "BTC")).ok and live.net() == [0, 0]

    async def test_the_statement_marks_what_is_not_ours(self, live: Desk) -> None:
        await live.ask("open", "BTC/ETH", 1)
        live.venue.stranger("BTC-USDT-SWAP", "3")
        found = (await live.ask("account")).statement
        assert found is not None
        assert [row.foreign for row in found.positions] == [D(3), D(0)]
        assert [fill.owner for fill in found.fills][-1] == "" and found.fills[0].owner == "zscore BTC/ETH"
        assert all(order.owner == "catastrophe stop" for order in found.orders)
        assert found.differences[0].startswith("BTC-USDT-SWAP: the exchange holds")


def _command(name: str, why: str) -> Command:
    return Command("1", name, who="me", text=why)
