"""What the account is, as `cockpit account` shows it: the exchange's word, beside that of the books."""

from decimal import Decimal

import msgspec

from core.domain.account import Balance


class Held(msgspec.Struct, frozen=True):
    """A position: signed `contracts` at the exchange, of which the books hold `ours`; `average` entry price."""

    instrument: str
    contracts: Decimal
    ours: Decimal
    average: Decimal

    @property
    def foreign(self) -> Decimal:
        """Contracts that no book explains."""
        return self.contracts - self.ours


class Resting(msgspec.Struct, frozen=True):
    """An order in the book of the exchange, or (`trigger` set) a stop that waits; `owner` is a strategy and pair,
    or empty: not ours."""

    instrument: str
    id: str
    filled: Decimal
    owner: str
    trigger: Decimal | None = None


class Traded(msgspec.Struct, frozen=True):
    """A fill: signed contracts at market time `ts` (ms); `owner` as above."""

    ts: int
    instrument: str
    contracts: Decimal
    price: Decimal
    fee: Decimal
    owner: str


class Statement(msgspec.Struct, frozen=True):
    """The account at market time `ts`; fills are those of the day before. `differences` keep from new exposure."""

    venue: str
    ts: int
    balance: Balance
    ledger_cash: Decimal | None
    positions: list[Held]
    orders: list[Resting]
    fills: list[Traded]
    differences: list[str]
