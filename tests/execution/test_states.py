"""What loss and margin make of the account by themselves, and who brings it back."""

from decimal import Decimal as D

import msgspec
import pytest

from core.domain.trading import DAILY_LOSS, DRAWDOWN, MARGIN, TradingState
from core.execution.risk import Limits
from core.execution.states import Breach, Measured, breaches, recovered
from core.portfolio.events import Switched
from core.portfolio.restrictions import Restrictions
from core.portfolio.watermarks import DAY_MS, Watermarks

HOUR = 3_600_000
LIMITS = Limits(
    D("0.95"), D(1000), D(400), D(10), D(1), ZERO := D(0),
    max_daily_loss=D("0.1"), max_drawdown=D("0.3"), min_margin_ratio=D(3), min_liquidation_distance=D("0.05"),
)  # fmt: skip


def marks(*equities: int, start: int = 0) -> Watermarks:
    """An hourly curve: the first step at `start` + 1 h."""
    found = Watermarks()
    found.transfer(D(equities[0]))
    for hour, equity in enumerate(equities, 1):
        found.step(start + hour * HOUR, D(equity))
    return found


def found(equity: int, curve: Watermarks, ts: int = 5 * HOUR, gross: int = 0, maintenance: int = 0) -> list[Breach]:
    now = Measured(ts, D(equity), D(gross), D(maintenance))
    return list(breaches(now, curve, LIMITS))


def test_a_days_loss_reduces_and_names_both_numbers() -> None:
    curve = marks(1000, 1000, 990)
    assert found(901, curve) == []
    (breach,) = found(900, curve)
    assert (breach.cause, breach.state) == (DAILY_LOSS, TradingState.REDUCING)
    assert breach.reason == "lost 10.0% since 00:00 UTC, the limit is 10.0%"


def test_the_day_begins_at_midnight_and_its_first_moment_ends_the_day_before() -> None:
    curve = marks(*[1000] * 23, 950)
    assert curve.day_of(DAY_MS) == 1000, "the bar that closes at midnight is the last of its day"
    assert curve.day_of(DAY_MS + 1) == 950
    assert found(880, curve, DAY_MS) and not found(880, curve, DAY_MS + HOUR)


def test_a_fall_from_the_peak_halts() -> None:
    curve = marks(800, 1000, 900, start=DAY_MS)
    causes = {breach.cause: breach for breach in found(700, curve, DAY_MS + 9 * HOUR)}
    assert causes[DRAWDOWN].state is TradingState.HALTED
    assert causes[DRAWDOWN].reason == "drawdown of 30.0%, the limit is 30.0%"


def test_what_is_paid_out_is_no_loss() -> None:
    curve = marks(1000, 1000)
    curve.transfer(D(-500))
    assert found(500, curve) == [] and [b.cause for b in found(440, curve)] == [DAILY_LOSS]


def test_a_person_who_goes_on_begins_a_new_count() -> None:
    curve = marks(1000, 700)
    assert len(found(700, curve)) == 2
    curve.rebase()
    assert found(700, curve) == [] and found(631, curve) == []
    assert [b.cause for b in found(630, curve)] == [DAILY_LOSS]


@pytest.mark.parametrize(
    ("gross", "maintenance", "words"),
    [
        (0, 334, "margin ratio is 2.99, the least is 3"),
        (16_000, 250, "liquidation is 4.7% away, the least is 5.0%"),
    ],
)
def test_thin_margin_reduces(gross: int, maintenance: int, words: str) -> None:
    assert found(1000, marks(1000), gross=gross, maintenance=maintenance) == [
        Breach(MARGIN, TradingState.REDUCING, words)
    ]


def held(*events: Switched) -> tuple[Restrictions, list[str]]:
    rebased: list[str] = []
    folded = Restrictions(lambda: rebased.append("rebased"))
    for event in events:
        folded.switch(event)
    return folded, rebased


def test_the_margin_is_well_again_when_it_is_a_tenth_better() -> None:
    folded, _ = held(Switched(1, "reducing", "thin", MARGIN))
    ratio = {ratio: Measured(2, D(ratio), D(0), D(100)) for ratio in (300, 329, 330)}
    assert [list(recovered(now, folded, LIMITS)) for now in ratio.values()] == [[], [], [MARGIN]]


def test_a_days_loss_is_over_with_the_day_however_well_it_recovers() -> None:
    folded, _ = held(Switched(5 * HOUR, "reducing", "lost", DAILY_LOSS))
    for ts, over in ((6 * HOUR, False), (DAY_MS, False), (DAY_MS + HOUR, True)):
        assert list(recovered(Measured(ts, D(1000), D(0), D(0)), folded, LIMITS)) == [DAILY_LOSS] * over


def test_a_drawdown_never_recovers_by_itself() -> None:
    folded, _ = held(Switched(1, "halted", "deep", DRAWDOWN))
    assert list(recovered(Measured(9 * DAY_MS, D(10**6), D(0), D(0)), folded, LIMITS)) == []


def test_the_state_is_the_worst_of_its_causes_with_its_reason() -> None:
    folded, _ = held(Switched(1, "reducing", "paused by me", "hand", "me"), Switched(2, "halted", "deep", DRAWDOWN))
    assert (folded.state, folded.reason) == ("halted", "deep")
    folded.switch(Switched(3, "active", "resumed by me", DRAWDOWN, "me"))
    assert (folded.state, folded.reason) == ("reducing", "paused by me")
    folded.switch(Switched(4, "active", "resumed by me", "hand", "me"))
    assert (folded.state, folded.reason, folded.standing) == ("active", "", {})


def test_only_a_person_who_goes_on_after_a_loss_begins_a_new_count() -> None:
    _, by_rule = held(Switched(1, "reducing", "lost", DAILY_LOSS), Switched(2, "active", "well", DAILY_LOSS))
    _, by_hand = held(Switched(1, "reducing", "lost", DAILY_LOSS), Switched(2, "active", "on", DAILY_LOSS, "me"))
    _, pause = held(Switched(1, "reducing", "paused", "hand", "me"), Switched(2, "active", "on", "hand", "me"))
    assert (by_rule, by_hand, pause) == ([], ["rebased"], [])


def test_a_ledger_of_old_says_paused_and_means_reducing() -> None:
    old = msgspec.json.decode(b'{"event":"switched","ts":1,"state":"paused","reason":"by hand"}', type=Switched)
    folded, _ = held(old)
    assert (folded.state, folded.standing["hand"].reason) == ("reducing", "by hand")
    folded.switch(Switched(2, "active", "by hand"))
    assert folded.state == "active"
