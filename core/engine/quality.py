"""How well the engine's orders are executed, and what share of all sizes it may use for that."""

from collections.abc import Mapping
from decimal import Decimal

from core.backtest.slippage import book_rules
from core.config import Settings
from core.domain.instrument import Instrument
from core.domain.quality import Quality, QualityRow
from core.engine.ramp import Ramp
from core.execution.journal import Journal
from core.execution.quality import Executions, drift, drifted, row
from core.portfolio.events import AnyEvent, Ramped


class QualityWatch:
    """Listens to the ledger. With real money (`ramps`) the sizes follow the capital ramp, else all may be used."""

    def __init__(
        self, settings: Settings, journal: Journal, instruments: Mapping[str, Instrument], *, ramps: bool
    ) -> None:
        self._live = settings.live
        self._journal = journal
        self._ramps = ramps
        self._ramp: Ramp | None = None
        self._told: Decimal | None = None
        self._total: QualityRow | None = None
        self.executions = Executions(journal.books, instruments, book_rules(settings.backtest.slippage))
        if ramps and (curve := journal.books.curve):
            self._ramp = Ramp(settings.live, curve[0][0], self.executions.legs())
        journal.listen(self._heard)

    def _heard(self, event: AnyEvent) -> None:
        legs = self.executions.heard(event)
        for leg in legs:
            if self._ramp is not None:
                self._ramp.take(leg)
        if legs:
            self._total = None

    @property
    def total(self) -> QualityRow:
        """All legs together."""
        if self._total is None:
            self._total = row(self.executions.legs())
        return self._total

    @property
    def share(self) -> Decimal:
        """The share of all sizes, budgets and limits that may be used."""
        if not self._ramps:
            return Decimal(1)
        return self._ramp.share if self._ramp is not None else self._live.ramp[0]

    async def step(self, now_ms: int) -> None:
        """A bar has closed at `now_ms`: let the ramp move on. Every start and every change is told in the
        ledger."""
        if not self._ramps:
            return
        if self._ramp is None:
            self._ramp = Ramp(self._live, now_ms)
        self._ramp.move(now_ms)
        if self._ramp.share != self._told:
            self._told = self._ramp.share
            await self._journal.record(Ramped(now_ms, self._told, self._ramp.reason))

    def report(self) -> Quality:
        """What is known of all executions so far."""
        legs, live = self.executions.legs(), self._live
        recent = self.executions.latest(live.drift_orders)
        cost = drift(recent)
        return Quality(
            from_ms=min((leg.ts for leg in legs), default=0),
            to_ms=max((leg.ts for leg in legs), default=0),
            rows=self.executions.rows(),
            total=self.total,
            drift=cost,
            judged=len(recent),
            bound=live.drift_bps,
            drifted=len(recent) == live.drift_orders and drifted(cost, live.drift_bps),
            share=float(self.share),
            ramp=self._ramp.reason if self._ramp is not None else "",
        )
