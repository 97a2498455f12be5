"""The capital ramp: real money begins with a share of all sizes, and gets more of it while execution holds.

Where it stands follows from the ledger alone: from the first live step, the days since, and the legs executed
meanwhile. Each rung lasts `ramp_days`; when execution has drifted it goes back by one, and the days count anew.
"""

from collections import deque
from collections.abc import Iterable
from decimal import Decimal

from core.clock import iso
from core.config.live import Live
from core.execution.quality import Execution, drift, drifted

DAY_MS = 86_400_000


class Ramp:
    """Where the ramp stands. `take` legs in the order in which they were executed, `move` with time."""

    def __init__(self, live: Live, started_ms: int, legs: Iterable[Execution] = ()) -> None:
        """`started_ms`: market time of the first live step."""
        self._live = live
        self._step = 0
        self._since = started_ms
        self._recent: deque[Execution] = deque(maxlen=live.drift_orders)
        self.reason = f"real money since {iso(started_ms)}"
        for leg in legs:
            self.take(leg)

    @property
    def share(self) -> Decimal:
        """The share of all sizes, budgets and limits that may be used."""
        return self._live.ramp[self._step]

    def take(self, leg: Execution) -> None:
        """Learn how one more leg was executed."""
        self.move(leg.ts)
        self._recent.append(leg)
        if len(self._recent) < self._live.drift_orders:
            return
        cost = drift(self._recent)
        if drifted(cost, self._live.drift_bps):
            self._step, self._since = max(self._step - 1, 0), max(leg.ts, self._since)
            self._recent.clear()
            self.reason = (
                f"the last {self._live.drift_orders} legs cost {cost.bps:.1f} bps more than a backtest supposes"
                f" (95% {cost.low:.1f} to {cost.high:.1f}), the bound is {self._live.drift_bps:g}"
            )

    def move(self, now_ms: int) -> None:
        """Let time pass: every `ramp_days` without drift is a rung."""
        days = self._live.ramp_days * DAY_MS
        while now_ms - self._since >= days and self._step < len(self._live.ramp) - 1:
            self._step += 1
            self._since += days
            self.reason = f"{self._live.ramp_days} days without drift"
