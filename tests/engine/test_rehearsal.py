"""A rehearsal finds nothing in the engine as it is, and finds it out when one of its protections is taken away."""

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest

from core.config import Settings, load
from core.domain.errors import UserError
from core.domain.orders import Action, Intent, Order
from core.domain.trading import DRAWDOWN, TradingState
from core.engine.rehearsal import campaign as campaigns
from core.engine.rehearsal import faults
from core.engine.rehearsal.faults import KINDS, RATES, Faults, kinds_of
from core.engine.rehearsal.run import Outcome, rehearse
from core.engine.rehearsal.witness import Witness
from core.execution import executor, legs
from core.execution.exposure import Unhedged
from core.execution.journal import Journal
from core.execution.legs import Finish
from core.execution.orders import Orders
from core.portfolio.books import Books
from core.portfolio.events import AnyEvent, Planned, Switched
from core.venues.okx.session import Freshness, Guard

LIVELY = """
[universe]
assets = ["BTC", "ETH", "SOL", "XRP"]
bar = "15m"
[venue]
stale_after_s = 120.0
[engine]
strategies = ["zscore"]
[strategy.divergence]
max_concurrent_positions = 2
correlation_threshold = 1.0
horizon_bars = 12
"""


@pytest.fixture(scope="module")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A configuration with an order in flight often."""
    file = tmp_path_factory.mktemp("lively") / "config.toml"
    file.write_text(LIVELY)
    return load(file)


def broken(lively: Settings, kinds: str, rates: Mapping[str, float], seed: int = 1) -> Outcome:
    """What a day of those faults, at those rates, comes to."""
    return rehearse(lively, {}, seed, 1, kinds_of(kinds), rates)


def test_a_day_of_every_fault_settles_and_repeats_from_its_seed(lively: Settings) -> None:
    rates = {kind: 4 * rate for kind, rate in RATES.items()}
    first, again = (rehearse(lively, {}, 5, 1, tuple(KINDS), rates) for _ in "ab")
    assert first.broken == "", first.told[-20:]
    assert first.days == 1.0
    assert first.lives > 1 and first.fills > 0 and sum(first.faults.values()) > 20
    assert (first.told, first.faults, first.fills) == (again.told, again.faults, again.fills)


def test_assets_that_are_delisted_leave_the_others_to_trade_also_after_a_restart(lively: Settings) -> None:
    told = rehearse(lively, {}, 1, 1, ("crash", "delist"), {"crash": 10.0, "delist": 12.0})
    assert told.broken == "" and told.faults["delist"] and told.lives > 2 and told.fills


def test_without_the_end_of_their_streams_the_others_wait_for_ever(
    lively: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Freshness, "end", lambda self, key: None)
    assert "still refused" in broken(lively, "delist", {"delist": 12.0}).broken


def test_each_morning_a_person_lifts_what_a_rule_has_halted(
    lively: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    switched: list[Switched] = []
    written = Witness.written

    def heard(self: Witness, batch: Sequence[AnyEvent]) -> None:
        switched.extend(event for event in batch if isinstance(event, Switched))
        written(self, batch)

    monkeypatch.setattr(Witness, "written", heard)
    fearful = lively.risk.model_copy(update={"max_drawdown": Decimal("0.0001")})
    assert rehearse(lively.model_copy(update={"risk": fearful}), {}, 1, 1, (), {}).broken == ""
    states = [event.state for event in switched if event.cause == DRAWDOWN]
    assert states == [TradingState.HALTED, TradingState.ACTIVE]


@pytest.mark.parametrize(
    ("seconds", "alarmed", "found"),
    [(8.0, False, ""), (60.0, False, "no alarm"), (60.0, True, ""), (301.0, True, "has stood unhedged")],
)
async def test_a_leg_may_stand_unhedged_for_a_while_and_not_without_an_alarm(
    seconds: float, alarmed: bool, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 10_000.0)
    witness = Witness(Decimal(50_000), 900_000, 15.0, max_unhedged=10.0)
    witness.bare(Unhedged("i", "BTC/ETH", "ETH-USDT-SWAP", Decimal(3), Decimal(900), 0.0), seconds, alarmed)
    assert found in witness.broken and bool(found) == bool(witness.broken)


# --- each of these protections is needed: without it a rehearsal breaks ------------------------------


def test_without_the_write_before_the_send(lively: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Journal.record

    async def forgetful(self: Any, *events: Any) -> None:
        if not any(isinstance(event, Planned) for event in events):
            await record(self, *events)
            return
        for event in events:
            self.books.apply(event)

    monkeypatch.setattr(Journal, "record", forgetful)
    assert "without intent" in broken(lively, "none", {}).broken


def test_without_the_rule_of_what_is_not_found(lively: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that is not found counts as absent at once, though it may still arrive."""

    async def rash(self: Orders, order: Order) -> bool:
        report = await self._venue.order(order.instrument, order.client_id)
        state = self._journal.books.orders[order.client_id].state
        await self.report(self._gone(order, state) if report is None else report)
        return report is None or report.state.final

    monkeypatch.setattr(Orders, "inquire", rash)
    monkeypatch.setattr(faults, "READING", 0.0)
    assert "was wanted" in broken(lively, "late", {"late": 0.5}).broken


def test_without_the_dedupe_of_fills(lively: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guard, "_new_trade", lambda self, fill: True)
    monkeypatch.setattr(Books, "has_trade", lambda self, trade_id: False)
    assert "twice" in broken(lively, "push-doubled", {"push-doubled": 0.5}).broken


def test_without_the_unwinding_of_half_a_pair(lively: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second leg that fails leaves the first as it is."""
    step = legs.next_step

    def careless(intent: Intent, progress: Any, *rest: Any, **named: Any) -> Any:
        wanted = step(intent, progress, *rest, **named)
        taken_back = isinstance(wanted, tuple) and any(send.reducing for send in wanted)
        return Finish("done") if intent.action is Action.OPEN and taken_back else wanted

    monkeypatch.setattr(executor, "next_step", careless)
    assert "of its legs" in broken(lively, "reject", {"reject": 0.6}).broken


def test_without_the_staleness_of_each_subscription(lively: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Freshness, "check", lambda self: [])
    assert "silent" in broken(lively, "mute", {"mute": 200.0}).broken


# --- what is found is made small ---------------------------------------------------------------------


def outcome(days: float, kinds: tuple[str, ...], broken: str) -> Outcome:
    return Outcome(3, days, kinds, broken, (), dict.fromkeys(kinds, 1), 1, 1, 1, 1)


def test_a_failure_is_told_by_the_fewest_faults_and_days() -> None:
    def again(days: int, kinds: Any) -> Outcome:
        return outcome(0.4, tuple(kinds), "late fill" if "late" in kinds and days >= 1 else "")

    least = campaigns.smaller(outcome(6.2, ("crash", "drop", "late"), "late fill"), again)
    assert (least.kinds, least.days) == (("late",), 0.4)


def test_days_are_spread_over_seeds() -> None:
    assert sum(days for _, days in campaigns.plan(7, 42)) == 42
    seeds = [seed for seed, _ in campaigns.plan(7, 42)]
    assert seeds == list(range(7, 7 + len(seeds)))


def test_a_fault_that_is_not_known_is_named() -> None:
    with pytest.raises(UserError, match=r"'typo'.*lost"):
        kinds_of("lost,typo")


def test_leaving_a_kind_out_leaves_the_draws_of_the_others() -> None:
    def draws(kinds: tuple[str, ...]) -> list[float]:
        drawn = Faults(7, kinds)
        return [drawn.next_event("crash") for _ in range(5)]

    assert draws(("crash", "drop")) == draws(("crash",))
