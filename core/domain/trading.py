"""What the account may do now, and what holds it back."""

from enum import StrEnum

import msgspec


class TradingState(StrEnum):
    """`ACTIVE`: everything. `REDUCING`: no new exposure, whoever asks; exits and hedges go on. `HALTED`: strategies
    decide nothing; what hedges, unwinds or is closed by a person still goes."""

    rank: int

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"

    def __init__(self, name: str) -> None:
        self.rank = ("active", "reducing", "halted").index(name)


class Restriction(msgspec.Struct, frozen=True):
    """One cause that holds the account back since market time `since` (ms): to which state, why, and who said so
    (empty: a rule)."""

    cause: str
    state: TradingState
    reason: str
    who: str
    since: int


BY_HAND, KILL = "hand", "kill"
"""Causes that only a person makes."""
DAILY_LOSS, DRAWDOWN = "daily loss", "drawdown"
LOSSES = frozenset({DAILY_LOSS, DRAWDOWN})
"""Causes that are measured anew once a person has let the account go on."""
MARGIN = "margin"
