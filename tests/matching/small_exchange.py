"""A small exchange with round numbers, shared by the tests of the matching core.

BTC: mark 1000.0, tick 0.1, lot and minimum 0.1 contracts of 0.01 BTC, so one contract is worth 10 USDT.
ETH: mark 100.00, tick 0.01, lot 1 of 0.1 ETH, minimum 2, so one contract is worth 10 USDT too.
The book's best prices are one basis point from the mark (or one tick, where that is more).
"""

from collections.abc import Sequence
from decimal import Decimal as D
from typing import TypeVar

from core.domain.instrument import Instrument
from core.domain.orders import OrderType
from core.matching.core import Matching
from core.matching.rules import Rules
from core.matching.types import Command, Event, Place, Quote

BTC, ETH = "BTC-USDT-SWAP", "ETH-USDT-SWAP"
INSTRUMENTS = (
    Instrument(BTC, "BTC", "USDT", "USDT", D("0.01"), D("0.1"), D("0.1"), D("0.1"), D(5000), D(100)),
    Instrument(ETH, "ETH", "USDT", "USDT", D("0.1"), D(1), D("0.01"), D(2), D(5000), D(50)),
)
DEEP = 100_000_000.0  # value traded per bar: levels of thousands of contracts
THIN = 0.0  # every level holds one minimum order


class Small:
    """The exchange under test with a clock that ticks by one at each step."""

    def __init__(self, cash: str = "10000", rules: Rules | None = None, *, keep: int = 1000) -> None:
        self.rules = rules or Rules()
        self.matching = Matching(INSTRUMENTS, D(cash), self.rules, keep=keep)
        self.now = 0
        self.move(BTC, "1000", DEEP)
        self.move(ETH, "100", DEEP)

    def step(self, commands: Sequence[Command] = (), market: Sequence[Quote] = ()) -> list[Event]:
        self.now += 1
        return self.matching.step(self.now, commands, market)

    def do(self, *commands: Command) -> list[Event]:
        return self.step(commands)

    def move(self, instrument: str, mark: str, turnover: float = DEEP) -> list[Event]:
        return self.step((), [Quote(instrument, D(mark), turnover)])

    def position(self, instrument: str) -> D:
        return {held.instrument: held.size for held in self.matching.positions()}.get(instrument, D(0))


def market(instrument: str, size: str, client_id: str = "", *, reduce_only: bool = False) -> Place:
    return Place(client_id, instrument, D(size), OrderType.MARKET, reduce_only=reduce_only)


def limit(
    instrument: str,
    size: str,
    price: str,
    client_id: str = "",
    *,
    type: OrderType = OrderType.LIMIT,
    reduce_only: bool = False,
) -> Place:
    return Place(client_id, instrument, D(size), type, D(price), reduce_only)


T = TypeVar("T")


def only(kind: type[T], events: Sequence[object]) -> list[T]:
    """The events of one kind, in order."""
    return [event for event in events if isinstance(event, kind)]
