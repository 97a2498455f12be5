"""What holds the account back, folded from the ledger: the trading state is the worst of it."""

from collections.abc import Callable

from core.domain.trading import KILL, LOSSES, Restriction, TradingState
from core.portfolio.events import Killed, Switched


class Restrictions:
    """The restrictions that stand now, by their cause."""

    def __init__(self, rebase: Callable[[], None]) -> None:
        """`rebase` is called when a person goes on after a loss."""
        self._rebase = rebase
        self.standing: dict[str, Restriction] = {}
        self._worst: Restriction | None = None
        self.unproven = False
        """Whether the kill switch was pulled and has not yet been proven to have done its work."""

    @property
    def state(self) -> TradingState:
        return TradingState.ACTIVE if self._worst is None else self._worst.state

    @property
    def reason(self) -> str:
        """Why the state is what it is; empty when active. Of several causes of one state: the first."""
        return "" if self._worst is None else self._worst.reason

    def of(self, cause: str) -> TradingState:
        """What one cause asks for."""
        found = self.standing.get(cause)
        return TradingState.ACTIVE if found is None else found.state

    def switch(self, event: Switched) -> None:
        """Take in a change. Ledgers of old say `paused`, which kept strategies from new exposure."""
        state = TradingState.REDUCING if event.state == "paused" else TradingState(event.state)
        if event.cause == KILL:
            self.unproven = state is TradingState.HALTED
        if self.standing.pop(event.cause, None) and event.who and event.cause in LOSSES:
            self._rebase()
        if state is not TradingState.ACTIVE:
            self.standing[event.cause] = Restriction(event.cause, state, event.reason, event.who, event.ts)
        self._worst = max(self.standing.values(), key=lambda found: found.state.rank, default=None)

    def prove(self, event: Killed) -> None:
        """The kill has done its work; the halt stays."""
        self.unproven = False
