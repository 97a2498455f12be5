"""A small account whose life is told by hand, for the examples of the books."""

from decimal import Decimal

from stories import OPENED, SWAPS

from core.domain.orders import (
    Action,
    Fill,
    Intent,
    Leg,
    Order,
    OrderReport,
    OrderState,
    OrderType,
    Origin,
    client_id,
)
from core.portfolio.books import Books
from core.portfolio.events import (
    AnyEvent,
    Filled,
    Intended,
    Planned,
    Reported,
    Settled,
)

D = Decimal
BTC, ETH, SOL = SWAPS  # one contract: 0.01, 0.1, 1 units


class Life:
    """Books, with short ways to say what happens to them."""

    def __init__(self) -> None:
        self.books = Books(SWAPS)
        self.trades = 0
        self.tell(OPENED)

    def tell(self, *events: AnyEvent) -> None:
        for event in events:
            self.books.apply(event)

    def want(
        self,
        name: str,
        *legs: tuple[str, str],
        action: Action = Action.OPEN,
        pair: str = "BTC/ETH",
        strategy: str = "divergence",
        barred: bool = False,
        reason: str = "z +2.1",
        origin: Origin = Origin.STRATEGY,
    ) -> Intent:
        made = tuple(Leg(instrument, D(size)) for instrument, size in legs)
        intent = Intent(name, 1000, strategy, pair, action, origin, made, reason, side=1, stop=0.06, target=0.05)
        self.tell(Intended(1000, intent, barred))
        return intent

    def plan(self, intent: str, leg: int, size: str) -> str:
        attempt = self.books.progress(intent)[leg].attempts
        instrument = self.books.intents[intent].intent.legs[leg].instrument
        name = client_id(intent, leg, attempt)
        order = Order(name, intent, leg, attempt, instrument, D(size), OrderType.MARKET, 9999)
        self.tell(Planned(1001, order))
        return name

    def report(self, order: str, state: OrderState, filled: str = "0", code: str = "") -> None:
        instrument = self.books.orders[order].order.instrument
        self.tell(Reported(1002, OrderReport(order, "v" + order, instrument, state, D(filled), None, 1002, code)))

    def make_fill(self, order: str, size: str, price: str = "100", fee: str = "0", ts: int = 1003) -> Fill:
        self.trades += 1
        instrument = self.books.orders[order].order.instrument
        return Fill(f"t{self.trades}", "v" + order, order, instrument, D(size), D(price), D(fee), "USDT", ts)

    def fill(self, order: str, size: str, price: str = "100", fee: str = "0", ts: int = 1003) -> None:
        fill = self.make_fill(order, size, price, fee, ts)
        parts = self.books.allocate(fill)
        assert parts is not None
        self.tell(Filled(ts, fill, parts))

    def trade(
        self, name: str, *legs: tuple[str, str], price: str = "100", fee: str = "0", ts: int = 1003, **what: object
    ) -> None:
        """An intent, from the wish to its settlement."""
        self.want(name, *legs, **what)  # type: ignore[arg-type]
        for leg, (_, size) in enumerate(legs):
            if D(size):
                self.fill(self.plan(name, leg, size), size, price, fee, ts)
        self.tell(Settled(1004, name, "done"))
