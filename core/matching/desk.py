"""Where orders meet the book: admission, execution, triggers, margin, liquidation."""

from collections import deque
from collections.abc import Sequence
from decimal import Decimal

from msgspec.structs import replace

from core.domain.account import BillKind
from core.domain.instrument import Instrument
from core.domain.orders import Fill, OrderReport, OrderState, OrderType
from core.matching.account import Account, Holding
from core.matching.checks import Refusal, check_client_id, check_price, check_size
from core.matching.money import ZERO, ratio
from core.matching.order_book import OrderBook
from core.matching.records import Record, Register
from core.matching.rules import Rules
from core.matching.types import Event, Place, PlaceTrigger, Quote, Trigger


class Desk:
    """All that changes when the market moves or an order comes; `events` collects what the current step at
    market time `now` has changed. Runs within the exact decimal context."""

    def __init__(self, instruments: Sequence[Instrument], currency: str, rules: Rules, keep: int) -> None:
        self.rules = rules
        self.books = {instrument.id: OrderBook(instrument, rules) for instrument in instruments}
        self.account = Account(self.books.values(), rules, currency, keep)
        self.orders: Register[Record] = Register(keep)
        self.triggers: Register[Trigger] = Register(keep)
        self.fills: deque[Fill] = deque(maxlen=keep)
        self.orders_made = 0
        self.trades_made = 0
        self.now = 0
        self.events: list[Event] = []

    def quote(self, quote: Quote) -> None:
        """The market moves: triggers that the mark has reached fire, orders that it has crossed fill."""
        book = self.books.get(quote.instrument)
        if book is None:
            raise ValueError(f"quote of {quote.instrument}, which is not listed")
        book.move(quote)
        for trigger in self.triggers.at(quote.instrument) if self.triggers.any_at(quote.instrument) else ():
            if book.mark <= trigger.trigger if trigger.size < 0 else book.mark >= trigger.trigger:
                self._fire(trigger)
        if self.orders.any_at(quote.instrument):
            resting = self.orders.at(quote.instrument)
            # A better price comes first, then the older order.
            resting.sort(key=lambda record: -_price(record) if record.buy else _price(record))
            for record in resting:
                self._fill_resting(book, record)

    def listed(self, instrument: str) -> OrderBook:
        book = self.books.get(instrument)
        if book is None:
            raise Refusal("51001", f"Instrument ID {instrument} does not exist")
        if not book.mark:
            raise Refusal("51001", f"Instrument ID {instrument} has no price yet")
        return book

    def admit(self, place: Place) -> Decimal:
        """The signed size that is accepted of an order, or a Refusal."""
        book = self.listed(place.instrument)
        check_client_id(place.client_id)
        if self.orders.find_pending("", place.client_id):
            raise Refusal("51016", f"Client order ID {place.client_id} already exists among pending orders")
        check_size(book.instrument, place.size, place.type is OrderType.MARKET)
        check_price(book, place)
        holding = self.account.holdings[place.instrument]
        if place.reduce_only:
            size = holding.reducible(place.size)
            if not size:
                raise Refusal("51169", f"{place.instrument}: no position to reduce by an order of {place.size}")
            return size
        more = self.margin(holding, place.size) - self.margin(holding)
        if more > 0:
            # What frees or leaves the margin as it is always passes: hedging and closing are never refused.
            value = abs(place.size) * book.instrument.contract * book.mark
            need, free = more + self.rules.taker * value, self.free()
            if need > free:
                raise Refusal(
                    "51008", f"{place.instrument}: insufficient margin: {need:.2f} needed, {free:.2f} free"
                )
        return place.size

    def place(self, place: Place) -> None:
        """Admit an order and execute it; raises Refusal."""
        self._execute(place, self.admit(place), self.next_id(), "")

    def liquidate(self) -> None:
        """Cancel every order, close every position at the mark. What then lacks in cash stays a debt."""
        for record in self.orders.pending():
            self.report(record, OrderState.CANCELLED, message="canceled by liquidation")
        for instrument, holding in self.account.holdings.items():
            if holding.size:
                place = Place("", instrument, -holding.size, OrderType.MARKET, reduce_only=True, tag="liquidation")
                record = self._accept(place, place.size, self.next_id(), "")
                size, mark = abs(holding.size), holding.book.mark
                self._fill(record, size, mark, self.rules.taker, kind=BillKind.LIQUIDATION)
                self._moved(instrument)

    def margin(self, holding: Holding, extra: Decimal = ZERO) -> Decimal:
        """Initial margin of a position and its pending orders (and `extra` signed contracts): the larger of
        what it would be if all that buys were filled, and if all that sells were."""
        buys, sells = (extra, ZERO) if extra > 0 else (ZERO, extra)
        for record in self.orders.at(holding.book.instrument.id):
            if not record.place.reduce_only:
                if record.buy:
                    buys += record.open
                else:
                    sells -= record.open
        most = max(abs(holding.size + buys), abs(holding.size + sells))
        return ratio(most * holding.contract * holding.book.mark, holding.leverage) if most else ZERO

    def free(self) -> Decimal:
        """Equity not bound as initial margin; negative when losses have eaten into it."""
        free = self.account.equity
        for name, holding in self.account.holdings.items():
            if holding.size or self.orders.any_at(name):
                free -= self.margin(holding)
        return free

    def next_id(self) -> str:
        self.orders_made += 1
        return str(self.orders_made)

    def report(self, record: Record, state: OrderState, filled: Decimal | None = None, message: str = "") -> Record:
        """Tell an order's new state and file it where it belongs."""
        filled = record.report.filled if filled is None else filled
        average = ratio(record.traded, filled) if filled else None
        report = replace(record.report, state=state, filled=filled, average=average, ts=self.now, message=message)
        record = replace(record, report=report)
        if state.final:
            self.orders.finish(record)
        else:
            self.orders.put(record)
        self.events.append(report)
        return record

    def arm(self, order: PlaceTrigger) -> None:
        """Add a checked trigger order."""
        trigger = Trigger(
            self.next_id(),
            order.client_id,
            order.instrument,
            order.size,
            order.trigger,
            "live",
            self.now,
            reduce_only=order.reduce_only,
        )
        self.triggers.put(trigger)
        self.events.append(trigger)

    def end_trigger(self, trigger: Trigger, state: str, order_id: str = "") -> None:
        trigger = replace(trigger, state=state, ts=self.now, order_id=order_id)
        self.triggers.finish(trigger)
        self.events.append(trigger)

    def _fire(self, trigger: Trigger) -> None:
        """Send the trigger's market order, or fail if it may not be sent any more."""
        place = Place("", trigger.instrument, trigger.size, OrderType.MARKET, reduce_only=trigger.reduce_only)
        try:
            size = self.admit(place)
        except Refusal:
            self.end_trigger(trigger, "order_failed")
            return
        order_id = self.next_id()
        self.end_trigger(trigger, "effective", order_id)
        self._execute(place, size, order_id, trigger.client_id)

    def _fill_resting(self, book: OrderBook, record: Record) -> None:
        """A resting order trades as maker, at its own price, with what has come to it or beyond."""
        if self.orders.find_pending(record.venue_id, "") is None:
            return  # reduce-only, and an earlier fill of this quote has closed the position
        price = _price(record)
        arrived = sum((size for _, size in book.reachable(record.buy, price)), ZERO)
        want = record.open
        if record.place.reduce_only:
            want = min(want, abs(self.account.holdings[record.instrument].size))
        size = min(want, arrived)
        if size:
            book.take(record.buy, size)
            self._fill(record, size, price, self.rules.maker, maker=True)
            self._moved(record.instrument)

    def _accept(self, place: Place, size: Decimal, venue_id: str, algo_id: str) -> Record:
        report = OrderReport(
            place.client_id, venue_id, place.instrument, OrderState.LIVE, ZERO, None, self.now, algo_id=algo_id
        )
        record = Record(place, size, report, self.now)
        self.orders.put(record)
        self.events.append(report)
        return record

    def _execute(self, place: Place, size: Decimal, venue_id: str, algo_id: str) -> None:
        """Take what the book offers within the order's limit; the rest waits or is cancelled."""
        record = self._accept(place, size, venue_id, algo_id)
        book, buy = self.books[place.instrument], size > 0
        limit = book.limit(buy) if place.price is None or place.type is OrderType.MARKET else place.price
        offers = book.reachable(buy, limit)
        if place.type is OrderType.POST_ONLY:
            if offers:
                self.report(record, OrderState.CANCELLED, message="post-only order would have traded at once")
            return
        for price, there in offers:
            part = min(record.open, there)
            book.take(buy, part)
            record = self._fill(record, part, price, self.rules.taker)
            if not record.open:
                break
        if record.report.filled:
            self._moved(place.instrument)
        if record.open and place.type is not OrderType.LIMIT:
            self.report(record, OrderState.CANCELLED, message="the book holds no more within the limit")

    def _fill(
        self,
        record: Record,
        size: Decimal,
        price: Decimal,
        rate: Decimal,
        *,
        maker: bool = False,
        kind: BillKind = BillKind.TRADE,
    ) -> Record:
        """Trade unsigned `size` contracts of an order: its fill, its report and its bill."""
        assert 0 < size <= record.open, (size, record)
        self.trades_made += 1
        trade_id, signed = str(self.trades_made), size if record.buy else -size
        bill = self.account.trade(record.instrument, signed, price, rate, kind, trade_id, self.now)
        fill = Fill(
            trade_id,
            record.venue_id,
            record.client_id,
            record.instrument,
            signed,
            price,
            bill.fee,
            bill.currency,
            self.now,
            maker,
            record.report.algo_id,
        )
        self.fills.append(fill)
        self.events.append(fill)
        filled = record.report.filled + size
        state = OrderState.LIVE if filled < abs(record.size) else OrderState.FILLED
        record = replace(record, traded=record.traded + size * price, fee=record.fee + bill.fee)
        record = self.report(record, state, filled)
        self.events.append(bill)
        return record

    def _moved(self, instrument: str) -> None:
        """The position has changed: tell it, and cancel reduce-only orders that it leaves nothing to reduce."""
        holding = self.account.holdings[instrument]
        self.events.append(holding.position())
        for record in self.orders.at(instrument):
            if record.place.reduce_only and not holding.reducible(record.size):
                self.report(record, OrderState.CANCELLED, message="no position left to reduce")


def _price(record: Record) -> Decimal:
    assert record.place.price is not None, record
    return record.place.price
