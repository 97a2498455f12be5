"""What a venue that stands on the matching core tells of its account and of its conditions."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from core.domain.account import Balance, Bill, Position
from core.domain.instrument import Instrument
from core.domain.orders import Fill, OrderReport
from core.matching.core import Matching
from core.venues.port import AccountMode, Load, Maintenance, PriceLimit, Tier

LARGEST = Decimal(10**8)
"""Contracts: one tier holds them all."""


class _Paper(Protocol):
    instruments: dict[str, Instrument]
    matching: Matching

    async def mark(self, instrument: str) -> Decimal: ...


class PaperAccount:
    """The part of the venue port that only reads, for a venue with `instruments` and a `matching` core: the account
    as the core holds it; the conditions of its rules, with nothing announced."""

    async def order(self: _Paper, instrument: str, client_id: str) -> OrderReport | None:
        record = self.matching.order(client_id=client_id)
        return record.report if record else None

    async def open_orders(self: _Paper) -> list[OrderReport]:
        return [record.report for record in self.matching.orders()]

    async def fills(self: _Paper, since_ms: int) -> list[Fill]:
        return self.matching.fills(since_ms)

    async def positions(self: _Paper) -> list[Position]:
        return self.matching.positions()

    async def balance(self: _Paper) -> Balance:
        return self.matching.balance()

    async def bills(self: _Paper, after: str) -> list[Bill]:
        return self.matching.bills(after)

    async def fee_rates(self: _Paper) -> tuple[Decimal, Decimal]:
        return self.matching.rules.maker, self.matching.rules.taker

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
