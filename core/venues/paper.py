"""The conditions of a venue that stands on the matching core: those of its rules, with nothing announced."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from core.domain.instrument import Instrument
from core.matching.core import Matching
from core.venues.port import AccountMode, Load, Maintenance, PriceLimit, Tier

LARGEST = Decimal(10**8)
"""Contracts: one tier holds them all."""


class _Paper(Protocol):
    instruments: dict[str, Instrument]
    matching: Matching

    async def mark(self, instrument: str) -> Decimal: ...


class PaperConditions:
    """The part of the venue port that a preflight asks, for a venue with `instruments` and a `matching` core."""

    async def account_mode(self) -> AccountMode:
        return AccountMode("futures", True, ("read_only", "trade"), True)

    async def leverage(self: _Paper, instruments: Sequence[str]) -> dict[str, Decimal]:
        return {name: self.matching.leverage(name) for name in instruments}

    async def tiers(self: _Paper, instrument: str) -> list[Tier]:
        most = self.instruments[instrument].max_leverage
        return [Tier(1, LARGEST, self.matching.rules.maintenance_rate, 1 / most, most)]

    async def price_limit(self: _Paper, instrument: str) -> PriceLimit:
        spec, band, mark = self.instruments[instrument], self.matching.rules.price_band, await self.mark(instrument)
        return PriceLimit(spec.round_price(mark * (1 + band)), spec.round_price(mark * (1 - band)), True)

    async def maintenance(self) -> list[Maintenance]:
        return []

    async def measure_clock(self) -> int:
        return 0

    def load(self) -> Load:
        return Load(0.0, "")
