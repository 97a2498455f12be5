"""What the exchange keeps: orders as placed and as they stand, its state, its history."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Generic, Protocol, TypeVar

import msgspec

from core.domain.account import Bill
from core.domain.orders import Fill, OrderReport
from core.matching.money import ZERO
from core.matching.types import Place, Trigger


class Record(msgspec.Struct, frozen=True, gc=False):
    """An order: what was asked, `size` signed contracts accepted (reduce-only may have cut it), and the last
    report. `created` ms UTC; `fee` signed (negative: paid); `traded` is the sum of contracts x price."""

    place: Place
    size: Decimal
    report: OrderReport
    created: int
    fee: Decimal = ZERO
    traded: Decimal = ZERO

    @property
    def venue_id(self) -> str:
        return self.report.venue_id

    @property
    def client_id(self) -> str:
        return self.report.client_id

    @property
    def instrument(self) -> str:
        return self.report.instrument

    @property
    def buy(self) -> bool:
        return self.size > 0

    @property
    def open(self) -> Decimal:
        """Unsigned contracts not filled yet."""
        return abs(self.size) - self.report.filled


class MarketState(msgspec.Struct, frozen=True):
    """One instrument: its market, our leverage and holding. `taken` contracts have been bought from the asks
    (first) and sold to the bids (second) since the last quote. `cost` is the exact signed cost of `size`."""

    instrument: str
    mark: Decimal
    turnover: float
    taken: tuple[Decimal, Decimal]
    leverage: Decimal
    size: Decimal
    cost: Decimal
    ts: int


class State(msgspec.Struct, frozen=True):
    """All that the future depends on. `cash` = `deposit` + `pnl` + `fees` + `funding`; `flow` is the sum of
    signed contracts x contract x price over all fills."""

    now: int
    deposit: Decimal
    cash: Decimal
    pnl: Decimal
    fees: Decimal
    funding: Decimal
    flow: Decimal
    orders_made: int
    trades_made: int
    bills_made: int
    markets: list[MarketState]
    orders: list[Record]
    triggers: list[Trigger]


class History(msgspec.Struct, frozen=True):
    """What is over, oldest first: finished orders and triggers, fills, bills."""

    orders: list[Record] = []
    triggers: list[Trigger] = []
    fills: list[Fill] = []
    bills: list[Bill] = []


class _Named(Protocol):
    @property
    def venue_id(self) -> str: ...
    @property
    def client_id(self) -> str: ...
    @property
    def instrument(self) -> str: ...


T = TypeVar("T", bound=_Named)


class Register(Generic[T]):
    """Pending things and the last `keep` finished ones, by venue id and by client id.

    A client id is unique among pending things alone; of finished ones that share it the latest is found."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._pending: dict[str, T] = {}
        self._at: dict[str, dict[str, T]] = {}
        self._clients: dict[str, str] = {}
        self._finished: dict[str, T] = {}
        self._last: dict[str, str] = {}

    def put(self, item: T) -> None:
        """Add a pending thing, or replace it by its newer state."""
        self._pending[item.venue_id] = item
        self._at.setdefault(item.instrument, {})[item.venue_id] = item
        if item.client_id:
            self._clients[item.client_id] = item.venue_id

    def finish(self, item: T) -> None:
        """Move a thing to the finished ones, in its last state; the oldest of them may be forgotten."""
        if self._pending.pop(item.venue_id, None) is not None:
            del self._at[item.instrument][item.venue_id]
            self._clients.pop(item.client_id, None)
        self._finished[item.venue_id] = item
        if item.client_id:
            self._last[item.client_id] = item.venue_id
        if len(self._finished) > self._keep:
            oldest = self._finished.pop(next(iter(self._finished)))
            if self._last.get(oldest.client_id) == oldest.venue_id:
                del self._last[oldest.client_id]

    def at(self, instrument: str) -> list[T]:
        """The pending ones of an instrument, oldest first."""
        here = self._at.get(instrument)
        return list(here.values()) if here else []

    def any_at(self, instrument: str) -> bool:
        """Whether anything is pending there."""
        return bool(self._at.get(instrument))

    def pending(self) -> list[T]:
        return list(self._pending.values())

    def finished(self) -> list[T]:
        return list(self._finished.values())

    def find_pending(self, venue_id: str, client_id: str) -> T | None:
        return self._pending.get(venue_id or self._clients.get(client_id, ""))

    def find(self, venue_id: str, client_id: str) -> T | None:
        """By either id: the pending one, else the latest finished one."""
        pending = self.find_pending(venue_id, client_id)
        return pending or self._finished.get(venue_id or self._last.get(client_id, ""))

    def load(self, pending: Iterable[T], finished: Iterable[T]) -> None:
        for item in finished:
            self.finish(item)
        for item in pending:
            self.put(item)
