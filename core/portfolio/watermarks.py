"""What a loss is measured against: equity at midnight, and its highest so far."""

from decimal import Decimal

from core.portfolio.money import ZERO

DAY_MS = 86_400_000


def day_number(ts: int) -> int:
    """The UTC day of market time `ts` (ms): what ends at 00:00 still belongs to the day before."""
    return (ts - 1) // DAY_MS


class Watermarks:
    """Folded from the completed steps. What is paid in or out moves the marks along: it is no profit or loss."""

    def __init__(self) -> None:
        self.day = self.peak = self._last = ZERO
        """`day`: equity at 00:00 UTC of market time, by the last step until then. `peak`: the highest of a step."""
        self._today = -1

    def step(self, ts: int, equity: Decimal) -> None:
        """A step ended at market time `ts` (ms) with this equity."""
        self.day, self._today = self.day_of(ts), day_number(ts)
        self.peak = max(self.peak, equity)
        self._last = equity

    def transfer(self, change: Decimal) -> None:
        """Cash was paid in (or out)."""
        self.day += change
        self.peak += change
        self._last += change

    def rebase(self) -> None:
        """A person has seen the loss and goes on: it is measured from here."""
        self.day = self.peak = self._last

    def day_of(self, ts: int) -> Decimal:
        """`day` as it is at market time `ts`, which may lie in a day that has had no step yet."""
        return self.day if day_number(ts) == self._today else self._last

    @property
    def drawdown(self) -> float:
        """How far the last step's equity lies below the highest, as a share of it (0: at the peak)."""
        return float(1 - self._last / self.peak) if self.peak > 0 else 0.0
