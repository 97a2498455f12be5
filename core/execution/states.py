"""The rules that hold the account back by themselves: what loss and margin make of its trading state.

ACTIVE --daily loss, margin--> REDUCING --the next day, the margin is back--> ACTIVE
   |                               |
   '--drawdown, kill---------------+--> HALTED --only a person--> ACTIVE
"""

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from core.domain.trading import DAILY_LOSS, DRAWDOWN, MARGIN, TradingState
from core.execution.risk import Limits, margin_breach
from core.portfolio.restrictions import Restrictions
from core.portfolio.watermarks import Watermarks, day_number

EASE = Decimal("1.1")
"""The margin counts as well again when it is better than its limit by this factor: it must not flutter there."""


class Measured(msgspec.Struct, frozen=True):
    """The account at market time `ts` (ms), in the settlement currency: equity, the gross of its net positions, and
    the maintenance margin they take."""

    ts: int
    equity: Decimal
    gross: Decimal
    maintenance: Decimal


class Breach(msgspec.Struct, frozen=True):
    """A limit is broken: its cause, what that makes of the account, and why in words."""

    cause: str
    state: TradingState
    reason: str


def breaches(now: Measured, marks: Watermarks, limits: Limits) -> Iterator[Breach]:
    """The limits that the account breaks now."""
    day, peak = marks.day_of(now.ts), marks.peak
    if day > 0 and (loss := 1 - now.equity / day) >= limits.max_daily_loss:
        reason = f"lost {loss:.1%} since 00:00 UTC, the limit is {limits.max_daily_loss:.1%}"
        yield Breach(DAILY_LOSS, TradingState.REDUCING, reason)
    if peak > 0 and (fall := 1 - now.equity / peak) >= limits.max_drawdown:
        reason = f"drawdown of {fall:.1%}, the limit is {limits.max_drawdown:.1%}"
        yield Breach(DRAWDOWN, TradingState.HALTED, reason)
    for reason in margin_breach(now.equity, now.gross, now.maintenance, limits, "is "):
        yield Breach(MARGIN, TradingState.REDUCING, reason)


def recovered(now: Measured, held: Restrictions, limits: Limits) -> Iterator[str]:
    """Causes that held the account back and are gone: the day of the loss has passed, the margin is well above its
    limit. A drawdown never is: after a halt a person decides."""
    loss = held.standing.get(DAILY_LOSS)
    if loss is not None and day_number(loss.since) != day_number(now.ts):
        yield DAILY_LOSS
    if MARGIN in held.standing and not any(
        margin_breach(now.equity, now.gross, now.maintenance, limits, "is ", EASE)
    ):
        yield MARGIN
