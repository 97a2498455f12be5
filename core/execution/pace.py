"""How calmly what is refused is asked for again."""

from collections.abc import Sequence

from core.execution.legs import Send
from core.portfolio.intents import LegProgress

LEAST_S, MOST_S = 0.25, 15.0


class Pace:
    """Of one intent: each order that nothing has come of doubles the pause before the next."""

    def __init__(self) -> None:
        self._before: list[object] = []
        self._waited = False
        self._fruitless = 0

    def pause(self, progress: Sequence[LegProgress], sends: Sequence[Send]) -> float:
        """Seconds to wait before `sends`, where `progress` is what has come of the ones before. Reducing is never
        given up, but an exchange that says no is not asked a thousand times a second."""
        now: list[object] = [leg.filled for leg in progress]
        # That nothing came of waiting in the book is no refusal.
        self._fruitless = self._fruitless + 1 if now == self._before and not self._waited else 0
        self._before, self._waited = now, any(send.passive for send in sends)
        return min(LEAST_S * 2.0 ** (self._fruitless - 1), MOST_S) if self._fruitless else 0.0
