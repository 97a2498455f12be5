"""Random but possible lives of an account, told as ledger events: what the properties of the books are tried on."""

from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import strategies as st

from core.domain.account import Bill, BillKind
from core.domain.instrument import Instrument
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
    Protection,
    base36,
    client_id,
)
from core.portfolio.books import Books
from core.portfolio.events import (
    AnyEvent,
    Billed,
    Decided,
    Filled,
    Intended,
    Loaded,
    Opened,
    Part,
    Planned,
    Protected,
    Reported,
    Settled,
    Stepped,
    Switched,
)

D = Decimal


def swap(asset: str, contract: str, lot: str) -> Instrument:
    return Instrument(
        f"{asset}-USDT-SWAP", asset, "USDT", "USDT", D(contract), D(lot), D("0.1"), D(lot), D(10_000), D(100)
    )


SWAPS = {s.id: s for s in (swap("BTC", "0.01", "0.01"), swap("ETH", "0.1", "0.01"), swap("SOL", "1", "1"))}
NAMES = tuple(SWAPS)
PAIRS = {"BTC/ETH": (0, 1), "BTC/SOL": (0, 2), "ETH/SOL": (1, 2)}
STRATEGIES = ("divergence", "zscore")
OPENED = Opened(100, "px", "test", "USDT", D("1000.5"), "b0")

Move = tuple[int, int, int]
"""(what to do, with which one, how much): three numbers that a story makes something possible of."""


def script(seed: int, length: int) -> list[Move]:
    """Drawn from a seed: lists made by hypothesis itself stay so short that hardly anything ever fills."""
    random = Random(seed)
    return [(random.randrange(1000), random.randrange(1000), random.randrange(10**6)) for _ in range(length)]


moves = st.builds(script, st.integers(0, 2**32 - 1), st.integers(20, 200))


class Story:
    """Turns moves into events that could have happened. `books` lives along, as the engine's would."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []
        self.books = Books(SWAPS)
        self.now = 100
        self.tell(OPENED)

    def tell(self, *events: AnyEvent) -> None:
        for event in events:
            self.events.append(event)
            self.books.apply(event)

    def play(self, script: Sequence[Move]) -> "Story":
        for what, which, much in script:
            self.now += 1 + much % 7
            verbs = (
                [self.open] * 3 + [self.close] * 6 + [self.plan] * 8 + [self.fill] * 10 + [self.report] * 6
                + [self.settle] * 6 + [self.exchange_fill, self.funding, self.statement, self.protect, self.others]
            )  # fmt: skip
            verbs[what % len(verbs)](which, much)
        return self

    def _size(self, name: str, much: int) -> Decimal:
        return SWAPS[name].lot * (1 + much % 500)

    def _intent(self, action: Action, strategy: str, pair: str, legs: tuple[Leg, ...], origin: Origin) -> Intent:
        made = self.books.exchange_intents if origin is Origin.EXCHANGE else self.books.intents_made
        letter = "X" if origin is Origin.EXCHANGE else "I"
        side = 1 if legs[0].size > 0 else -1
        return Intent(f"px{letter}{base36(made)}", self.now, strategy, pair, action, origin, legs, "z", side=side)

    def open(self, which: int, much: int) -> None:
        strategy = STRATEGIES[which % 2]
        pair = list(PAIRS)[which // 2 % 3]
        sign = 1 if much % 2 else -1
        a, b = (NAMES[i] for i in PAIRS[pair])
        legs = (Leg(a, sign * self._size(a, much)), Leg(b, -sign * self._size(b, much // 3)))
        self.tell(Intended(self.now, self._intent(Action.OPEN, strategy, pair, legs, Origin.STRATEGY)))

    def close(self, which: int, much: int) -> None:
        if held := self.books.open_books():
            book = held[which % len(held)]
            legs = tuple(Leg(leg.instrument, -leg.size) for leg in book.legs)
            intent = self._intent(Action.CLOSE, book.strategy, book.pair, legs, Origin.STRATEGY)
            self.tell(Intended(self.now, intent, barred=much % 3 == 0))

    def plan(self, which: int, much: int) -> None:
        if at_work := self.books.unsettled():
            intent = at_work[which % len(at_work)]
            leg = much % len(intent.legs)
            done = self.books.progress(intent.id)[leg]
            size = done.wanted - done.filled
            if size and not done.open:
                name = client_id(intent.id, leg, done.attempts)
                wanted = intent.legs[leg].instrument
                self.tell(
                    Planned(
                        self.now,
                        Order(name, intent.id, leg, done.attempts, wanted, size, OrderType.MARKET, self.now + 5),
                    )
                )

    def fill(self, which: int, much: int) -> None:
        room = [r for r in self.books.orders.values() if r.traded < abs(r.order.size)]
        if room:
            order = room[which % len(room)].order
            left = abs(order.size) - room[which % len(room)].traded
            size = min(left, self._size(order.instrument, much)).copy_sign(order.size)
            fill = Fill(
                f"t{len(self.events)}", f"v{order.client_id}", order.client_id, order.instrument, size,
                D(10_000 + much) / 10, D(-(much % 1000)) / 10**5, "USDT", self.now,
            )  # fmt: skip
            parts = self.books.allocate(fill)
            assert parts is not None
            self.tell(Filled(self.now, fill, parts))

    def report(self, which: int, much: int) -> None:
        """What the exchange says may be late, repeated, or ahead of the fills; never more than was asked."""
        if self.books.orders:
            record = list(self.books.orders.values())[which % len(self.books.orders)]
            state = list(OrderState)[1 + much % 5]
            filled = min(abs(record.order.size), self._size(record.order.instrument, much))
            if state in (OrderState.REJECTED, OrderState.ABSENT):
                filled = D(0)
            report = OrderReport(
                record.order.client_id, "", record.order.instrument, state, filled, D("7.5"), self.now
            )
            self.tell(Reported(self.now, report))

    def settle(self, which: int, much: int) -> None:
        if at_work := self.books.unsettled():
            outcome = ("done", "aborted", "unwound")[much % 3]
            self.tell(Settled(self.now, at_work[which % len(at_work)].id, outcome))

    def exchange_fill(self, which: int, much: int) -> None:
        """A stop has fired or a position was liquidated: its fills become the exchange's own intents."""
        name = NAMES[which % 3]
        size = self._size(name, much) * (1 if which % 2 else -1)
        fill = Fill(f"t{len(self.events)}", "vx", "", name, size, D(1234) / 10, D("-0.0101"), "USDT", self.now)
        claims, rest = self.books.split_exchange_fill(fill)
        if rest or not claims:
            return
        parts = []
        for claim in claims:
            legs = (Leg(name, claim.size),)
            intent = self._intent(Action.CLOSE, claim.strategy, claim.pair, legs, Origin.EXCHANGE)
            self.tell(Intended(self.now, intent, barred=True))
            parts.append(Part(intent.id, 0, claim.size, claim.fee))
        self.tell(Filled(self.now, fill, tuple(parts)))
        self.tell(*(Settled(self.now, part.intent, "done") for part in parts))

    def _bill(self, kind: BillKind, name: str, change: Decimal) -> Bill:
        return Bill(f"b{len(self.events)}", self.now, kind, name, "USDT", change, D(0))

    def funding(self, which: int, much: int) -> None:
        bill = self._bill(BillKind.FUNDING, NAMES[which % 3], D(much - 500_000) / 10**6)
        self.tell(Billed(self.now, bill, self.books.share_funding(bill)))

    def statement(self, which: int, much: int) -> None:
        kind = (BillKind.TRANSFER, BillKind.TRADE, BillKind.OTHER, BillKind.LIQUIDATION)[which % 4]
        self.tell(Billed(self.now, self._bill(kind, "", D(much) / 100)))

    def protect(self, which: int, much: int) -> None:
        name = NAMES[which % 3]
        held = self.books.protections.get(name)
        if held is None or much % 2:
            made = self.books.protections.made
            self.tell(Protected(self.now, Protection(f"pxP{base36(made)}", name, D(1), D(5)), "planned"))
        else:
            self.tell(Protected(self.now, held, ("live", "cancelled", "fired", "failed")[which % 4]))

    def others(self, which: int, much: int) -> None:
        closed = tuple(self.books.holdings("divergence", D(0)).closed)
        options: Sequence[AnyEvent] = (
            Decided(self.now, self.now, "divergence", (), (), closed[:1], ""),
            Stepped(self.now, self.now, D(much)),
            Switched(self.now, "reducing" if much % 2 else "active", "by hand", "hand", "me"),
            Loaded(self.now, "divergence", f"bundle{much}", self.now),
        )
        self.tell(options[which % 4])


def picture(books: Books) -> dict[str, Any]:
    """Everything that a reader of the books can see, as comparable values."""
    marks = {name: D(100 + i) for i, name in enumerate(NAMES)}
    return {
        "orders": [
            (n, r.order, r.state, r.reported, r.traded, r.average, r.venue_id, r.open)
            for n, r in books.orders.items()
        ],
        "intents": [
            (n, s.intent, s.outcome, s.barred, [(leg.wanted, leg.filled, leg.open, leg.attempts) for leg in legs])
            for n, s in books.intents.items()
            for legs in [books.progress(n)]
        ],
        "unsettled": books.unsettled(),
        "books": books.open_books(),
        "holdings": [books.holdings(name, D(5)) for name in STRATEGIES],
        "net": [books.net(name) for name in NAMES],
        "money": (books.deposit, books.cash, books.realized, books.fees, books.funding, books.equity(marks)),
        "protections": (dict(books.protections), books.protections.made),
        "curve": (list(books.curve), books.peak, books.watermarks.drawdown, books.bars),
        "counts": (books.decisions, books.fills, books.round_trips, books.intents_made, books.exchange_intents),
        "last": (books.last_step, books.last_bill, books.last_fill_ms, books.last_decision("divergence")),
        "modes": (books.prefix, books.currency, books.restrictions.standing, books.model),
    }
