"""The money side: holdings with an exact cost, cash with a bill for every change."""

from collections import deque
from collections.abc import Iterable
from decimal import Decimal
from itertools import islice

from core.domain.account import Bill, BillKind, Position
from core.matching.money import ZERO, product, ratio
from core.matching.order_book import OrderBook
from core.matching.rules import Rules


class Holding:
    """The net position in one instrument. `cost` is what its contracts were bought for (negative: sold for),
    kept exactly: what rounding an average leaves over stays in it, so that equity is conserved."""

    __slots__ = ("book", "contract", "cost", "leverage", "size", "ts")

    def __init__(self, book: OrderBook) -> None:
        self.book = book
        self.contract = book.instrument.contract
        self.size = ZERO
        self.cost = ZERO
        self.leverage = Decimal(1)
        self.ts = 0

    @property
    def value(self) -> Decimal:
        """Signed value at the mark."""
        return self.size * self.contract * self.book.mark

    @property
    def unrealised(self) -> Decimal:
        return self.value - self.cost

    def position(self) -> Position:
        average = ratio(self.cost, self.size * self.contract) if self.size else ZERO
        return Position(self.book.instrument.id, self.size, average, self.ts)

    def reducible(self, size: Decimal) -> Decimal:
        """The part of signed `size` that brings the position nearer to zero."""
        if self.size * size >= 0:
            return ZERO
        return size if abs(size) <= abs(self.size) else -self.size

    def add(self, size: Decimal, price: Decimal, now: int) -> Decimal:
        """Trade `size` signed contracts at `price`; the profit that this has realised.

        pnl = closed contracts x contract x (price - average entry), signed; through zero, what is left
        over begins a new position at `price`.
        """
        contract = self.contract
        closing = self.reducible(size)
        pnl = ZERO
        if closing:
            released = self.cost if closing == -self.size else ratio(-self.cost * closing, self.size)
            self.cost -= released
            pnl = -closing * contract * price - released
        self.cost += (size - closing) * contract * price
        self.size += size
        self.ts = now
        assert self.size or not self.cost, self.cost
        return pnl


class Account:
    """Cash, holdings and bills of one account with cross margin. All money is in `currency`."""

    def __init__(self, books: Iterable[OrderBook], rules: Rules, currency: str, keep: int) -> None:
        self.rules = rules
        self.currency = currency
        self.holdings = {book.instrument.id: Holding(book) for book in books}
        self.open: dict[str, Holding] = {}
        self.deposit = self.cash = self.pnl = self.fees = self.funding = self.flow = ZERO
        self.bills: deque[Bill] = deque(maxlen=keep)
        self.bills_made = 0

    def restore_holding(self, instrument: str, size: Decimal, cost: Decimal, leverage: Decimal, ts: int) -> None:
        holding = self.holdings[instrument]
        holding.size, holding.cost, holding.leverage, holding.ts = size, cost, leverage, ts
        if size:
            self.open[instrument] = holding

    def restore(
        self,
        cash: Decimal,
        pnl: Decimal,
        fees: Decimal,
        funding: Decimal,
        flow: Decimal,
        bills_made: int,
        bills: Iterable[Bill],
    ) -> None:
        """The sums as they were, and the bills that are still known."""
        self.cash, self.pnl, self.fees, self.funding, self.flow = cash, pnl, fees, funding, flow
        self.bills_made = bills_made
        self.bills.clear()
        self.bills.extend(bills)

    @property
    def equity(self) -> Decimal:
        equity = self.cash
        for holding in self.open.values():
            equity += holding.value - holding.cost
        return equity

    @property
    def short_of_margin(self) -> bool:
        """Whether equity has fallen below the maintenance margin: then everything is closed."""
        equity, gross = self.cash, ZERO
        for holding in self.open.values():
            value = holding.value
            equity += value - holding.cost
            gross += abs(value)
        return equity < self.rules.maintenance_rate * gross

    def transfer(self, amount: Decimal, now: int) -> Bill:
        self.deposit += amount
        return self._bill(BillKind.TRANSFER, "", now, amount)

    def trade(
        self, instrument: str, size: Decimal, price: Decimal, rate: Decimal, kind: BillKind, trade_id: str, now: int
    ) -> Bill:
        """Book a fill of signed `size` contracts at `price`, with a fee of `rate` of its value."""
        holding = self.holdings[instrument]
        signed = size * holding.contract * price
        fee = -rate * abs(signed)
        pnl = holding.add(size, price, now)
        if holding.size:
            self.open[instrument] = holding
        else:
            self.open.pop(instrument, None)
        self.flow += signed
        self.pnl += pnl
        self.fees += fee
        return self._bill(kind, instrument, now, pnl + fee, pnl, fee, trade_id)

    def settle(self, instrument: str, rate: Decimal, now: int) -> Bill | None:
        """Funding of one period: a long pays a positive rate, a short receives it."""
        change = -product(self.holdings[instrument].value, rate)
        if not change:
            return None
        self.funding += change
        return self._bill(BillKind.FUNDING, instrument, now, change)

    def after(self, bill_id: str) -> list[Bill]:
        """Bills newer than `bill_id` ("": all that are kept), oldest first."""
        wanted = min(self.bills_made - int(bill_id or 0), len(self.bills))
        if not wanted:
            return []
        return list(islice(reversed(self.bills), wanted))[::-1]

    def check(self) -> None:
        """Cash is the sum of its bills, and what was paid for contracts is either still in them or realised."""
        assert self.cash == self.deposit + self.pnl + self.fees + self.funding, self.cash
        cost = ZERO
        for holding in self.open.values():
            cost += holding.cost
        assert cost - self.pnl == self.flow, (cost, self.pnl, self.flow)

    def _bill(
        self,
        kind: BillKind,
        instrument: str,
        now: int,
        change: Decimal,
        pnl: Decimal = ZERO,
        fee: Decimal = ZERO,
        trade_id: str = "",
    ) -> Bill:
        self.cash += change
        self.bills_made += 1
        bill = Bill(
            str(self.bills_made), now, kind, instrument, self.currency, change, self.cash, pnl, fee, trade_id
        )
        self.bills.append(bill)
        return bill
