"""Intents and their orders as the ledger tells them, and how far each leg has come."""

from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from itertools import takewhile

import msgspec

from core.domain.orders import Action, Fill, Intent, Order, OrderReport, OrderState, OrderType
from core.portfolio.account import Holding
from core.portfolio.money import EXACT, ZERO, share

_RANK = {OrderState.PLANNED: 0, OrderState.LIVE: 1}


def _rank(state: OrderState) -> int:
    return _RANK.get(state, 2)


class OrderRecord:
    """One order: what was asked, and the best that is known of it. For readers; the books alone write it.

    `state` never goes back and the first final one stays. `filled` (unsigned contracts) never falls: it is the
    larger of what the exchange has reported and what its fills sum to, for either may arrive first.
    """

    __slots__ = (
        "_average",
        "code",
        "fee",
        "fills",
        "message",
        "order",
        "paid",
        "planned",
        "reported",
        "state",
        "traded",
        "venue_id",
    )

    def __init__(self, order: Order, planned: int) -> None:
        self.order = order
        self.planned = planned
        """Market time at which it was written: none of its fills is older."""
        self.state = OrderState.PLANNED
        self.reported = ZERO
        self.traded = ZERO
        self.paid = ZERO
        """Unsigned contracts times price, over its fills."""
        self.fee = ZERO
        """Signed as in its fills: negative is paid."""
        self.fills = 0
        self.venue_id = self.code = self.message = ""
        self._average: Decimal | None = None

    @property
    def filled(self) -> Decimal:
        return max(self.reported, self.traded)

    @property
    def average(self) -> Decimal | None:
        """Average price: the exchange's word, else that of the fills; None before either."""
        if self._average is not None or not self.traded:
            return self._average
        return share(self.paid, Decimal(1), self.traded)

    @property
    def open(self) -> bool:
        """Something may still come of it: its end is not known, or the exchange has reported more than its
        fills sum to. Whoever acted on the legs' sizes before the rest has arrived would act on half-known
        sizes (send a leg again that is filled, unwind one that is hedged)."""
        return not self.state.final or self.traded < self.reported

    @property
    def short(self) -> bool:
        """It has traded less than its size."""
        return self.filled < abs(self.order.size)

    @property
    def resting(self) -> bool:
        """It waits in the book for somebody to take it, and nothing tells yet that it has come to its end."""
        return self.order.type is OrderType.POST_ONLY and not self.state.final

    def report(self, report: OrderReport) -> None:
        # A venue that says "filled" and leaves out how much means all of it.
        filled = report.filled or (abs(self.order.size) if report.state is OrderState.FILLED else ZERO)
        if filled >= self.reported:
            self.reported = filled
            self._average = report.average if report.average is not None else self._average
        self.venue_id = self.venue_id or report.venue_id
        if _rank(report.state) > _rank(self.state):
            self.state, self.code, self.message = report.state, report.code, report.message

    def fill(self, fill: Fill) -> None:
        self.traded += abs(fill.size)
        self.paid += abs(fill.size) * fill.price
        self.fee += fill.fee
        self.fills += 1
        self.venue_id = self.venue_id or fill.venue_id
        # Fills of the whole size are proof enough, should the report be lost.
        if self.traded >= abs(self.order.size) and not self.state.final:
            self.state = OrderState.FILLED


class LegProgress(msgspec.Struct, frozen=True):
    """How far one leg of an intent has come: `wanted` and `filled` in signed contracts (the sum of its parts of
    fills), `open` while one of its orders is, `attempts` orders so far, `last` the latest that has ended.

    `failures`: its latest orders that crossed the book and fell short of their size, since the last that did not.
    `resting`: what is open is a post-only order that waits in the book. `traded`: some order of it has.
    `reopened`: the intent had come to its end and a fill came after it; `wanted` is what the leg had then."""

    wanted: Decimal
    filled: Decimal
    open: bool
    attempts: int
    last: OrderRecord | None
    failures: int = 0
    resting: bool = False
    traded: bool = False
    reopened: bool = False

    def within(self, held: Decimal) -> "LegProgress":
        """The same of a leg that closes, where `held` signed contracts are left to be closed: the exchange may have
        closed a part of it by itself, and closing that again would open the other side."""
        rest = self.wanted - self.filled
        left = max(min(rest, ZERO), -held) if held > 0 else min(max(rest, ZERO), -held)
        return self if left == rest else msgspec.structs.replace(self, wanted=self.filled + left)


class IntentState:
    """An intent, its orders by leg, what of each leg has traded, and how it ended (`outcome` None: not yet).

    A fill that comes after its end reopens it: `kept` is what each leg had when it ended, and what it goes back to.
    """

    __slots__ = ("barred", "detail", "filled", "intent", "kept", "orders", "outcome")

    def __init__(self, intent: Intent, barred: bool) -> None:
        self.intent = intent
        self.barred = barred
        self.outcome: str | None = None
        self.detail = ""
        self.orders: tuple[list[OrderRecord], ...] = tuple([] for _ in intent.legs)
        self.filled = [ZERO for _ in intent.legs]
        self.kept: tuple[Decimal, ...] | None = None

    def settle(self, outcome: str, detail: str) -> None:
        """It has come to its end; what it has is what it keeps."""
        self.outcome, self.detail, self.kept = outcome, detail, tuple(self.filled)

    def reopen(self) -> Intent:
        """A fill has come after its end."""
        self.outcome = None
        return self.intent

    @property
    def reopened(self) -> bool:
        """A fill has come after its end, and it has not come to another."""
        return self.kept is not None and self.outcome is None

    def progress(self, held: Mapping[str, Holding]) -> tuple[LegProgress, ...]:
        """One row a leg; `held`: the legs of the book that the intent is for, by instrument."""
        rows = []
        goals = self.kept or tuple(leg.size for leg in self.intent.legs)
        for wanted, filled, records in zip(goals, self.filled, self.orders, strict=True):
            at_work = [record for record in records if record.open]
            ended = [record for record in records if not record.open]
            row = LegProgress(wanted, filled, bool(at_work), len(records), ended[-1] if ended else None)
            if records:
                row = msgspec.structs.replace(
                    row,
                    failures=_failures(ended),
                    resting=bool(at_work) and all(record.resting for record in at_work),
                    traded=any(record.filled for record in records),
                )
            rows.append(row if self.kept is None else msgspec.structs.replace(row, reopened=True))
        if self.intent.action is Action.OPEN and self.kept is None:
            return tuple(rows)
        sizes = [held[leg.instrument].size if leg.instrument in held else ZERO for leg in self.intent.legs]
        with localcontext(EXACT):
            return tuple(row.within(size) for row, size in zip(rows, sizes, strict=True))

    def open_orders(self) -> list[Order]:
        """Orders that something may still come of."""
        return [record.order for records in self.orders for record in records if record.open]


def _failures(ended: Sequence[OrderRecord]) -> int:
    """How many of the latest orders that crossed the book fell short, since the last that did not."""
    crossing = (record for record in reversed(ended) if record.order.type is not OrderType.POST_ONLY)
    return sum(1 for _ in takewhile(lambda record: record.short, crossing))
