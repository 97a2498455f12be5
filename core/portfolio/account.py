"""The account as the fills make it: net positions at average cost, and the cash they leave."""

from collections.abc import Mapping
from decimal import Decimal, localcontext

from core.domain.account import Bill, BillKind
from core.domain.instrument import Instrument
from core.portfolio.money import EXACT, ZERO, share


class Holding:
    """Contracts held and what they cost (signed alike), by the average-cost method.

    Used for the net position of an instrument and for the leg of a book. The cost is kept, not the average:
    what rounding a released share leaves over stays in it, so that cost - realised is exactly what was paid.
    """

    __slots__ = ("contract", "cost", "size")

    def __init__(self, contract: Decimal) -> None:
        self.contract = contract
        self.size = ZERO
        self.cost = ZERO

    @property
    def average(self) -> Decimal:
        """Average entry price to the quantum; 0 when flat."""
        return share(self.cost, Decimal(1), self.size * self.contract) if self.size else ZERO

    def trade(self, size: Decimal, price: Decimal) -> Decimal:
        """Trade `size` signed contracts; the profit realised on those that were closed.

        Through zero, what is left over begins a new position at `price`.
        """
        closing = ZERO
        if self.size * size < 0:
            closing = size if abs(size) <= abs(self.size) else -self.size
        released = self.cost if closing == -self.size else share(self.cost, -closing, self.size)
        realized = -closing * self.contract * price - released if closing else ZERO
        if closing:
            self.cost -= released
        self.cost += (size - closing) * self.contract * price
        self.size += size
        return realized


class Account:
    """Cash and net positions. cash = deposit + realised + fees + funding + other, always and exactly."""

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        self.currency = ""
        self.deposit = self.realized = self.fees = self.funding = self.other = ZERO
        self.flow = ZERO
        """What was paid for contracts, net of what was received: sum of size x contract x price over fills."""
        self.holdings = {name: Holding(spec.contract) for name, spec in instruments.items()}
        self.open: dict[str, Holding] = {}
        """Those of the holdings that are not flat."""

    @property
    def cash(self) -> Decimal:
        """Settled cash: what the exchange calls cash balance."""
        with localcontext(EXACT):
            return self._cash()

    def _cash(self) -> Decimal:
        return self.deposit + self.realized + self.fees + self.funding + self.other

    def unrealized(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Profit of the open positions at `marks` (by instrument); 0 for one that has no mark."""
        with localcontext(EXACT):
            return self._unrealized(marks)

    def _unrealized(self, marks: Mapping[str, Decimal]) -> Decimal:
        total = ZERO
        for name, holding in self.open.items():
            if name in marks:
                total += holding.size * holding.contract * marks[name] - holding.cost
        return total

    def gross(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Value of the open positions at `marks`, longs and shorts alike; 0 for one that has no mark."""
        total = ZERO
        with localcontext(EXACT):
            for name, holding in self.open.items():
                if name in marks:
                    total += abs(holding.size) * holding.contract * marks[name]
        return total

    def equity(self, marks: Mapping[str, Decimal]) -> Decimal:
        """Cash plus unrealised profit at `marks`."""
        with localcontext(EXACT):
            return self._cash() + self._unrealized(marks)

    def trade(self, instrument: str, size: Decimal, price: Decimal, fee: Decimal) -> None:
        """Book a fill of `size` signed contracts."""
        holding = self.holdings[instrument]
        self.flow += size * holding.contract * price
        self.realized += holding.trade(size, price)
        self.fees += fee
        if holding.size:
            self.open[instrument] = holding
        else:
            self.open.pop(instrument, None)

    def bill(self, bill: Bill) -> Decimal:
        """Book a line of the statement; what of it was paid in (or out). Those of trades move nothing: their fills
        have done so; nor do those in another currency, which is not what this account settles in."""
        if bill.kind is BillKind.TRADE or bill.trade_id or bill.currency != self.currency:
            return ZERO
        match bill.kind:
            case BillKind.TRANSFER:
                self.deposit += bill.change
                return bill.change
            case BillKind.FUNDING:
                self.funding += bill.change
            case _:
                self.other += bill.change
        return ZERO
