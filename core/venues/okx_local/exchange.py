"""One account on one replayed market: what the REST paths and the sockets are windows on.

Every rule of trading lives in `core.matching`. Here its events become OKX's rows, kept on disk and pushed. All
methods are synchronous; what they push leaves only when the loop runs again, and by then it is on disk.
"""

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec
from msgspec.structs import replace

from core.clock import wall_ms
from core.domain.account import Bill, BillKind, Position
from core.domain.orders import Fill, OrderReport, OrderState
from core.matching.core import Matching
from core.matching.records import State
from core.matching.replay import Market
from core.matching.rules import Rules
from core.matching.types import Cancel, Command, Event, Quote, SettleFunding, Trigger
from core.venues.okx_local import wire
from core.venues.okx_local.auth import Keys
from core.venues.okx_local.feed import Feed
from core.venues.okx_local.store import Row, Store
from core.venues.okx_local.stream import Hub
from core.venues.okx_local.wire import ZERO, Body

_REMEMBERED = 1_000
"""Finished orders the matching core keeps in memory; the store keeps all."""


class Progress(msgspec.Struct):
    """What has been told of a pending order's fills."""

    filled: Decimal = ZERO
    traded: Decimal = ZERO
    fee: Decimal = ZERO


class Replay(msgspec.Struct, frozen=True):
    """Where the market stood when the account was last written, and what it was made from."""

    content: str
    start: int
    bars: int
    ticks: int
    seed: int
    bar: int
    tick: int


class Exchange:
    """`thinned`: the share of its book that an instrument is left; `clock_shift`: ms; both for `faults`.

    `obey` trades and `advance` moves the market; `feed` reads. `commit` before anything leaves."""

    def __init__(
        self, market: Market, store: Store, keys: Keys, cash: Decimal, rules: Rules, changed: Callable[[], None]
    ) -> None:
        """The account found in `store`, or a fresh one with `cash` USDT. `changed`: see `Hub`."""
        self.market, self.store, self.rules = market, store, rules
        saved = store.meta("account")
        if saved is None:
            self.matching = Matching(market.instruments, cash, rules, now=market.now, keep=_REMEMBERED)
        else:
            state = msgspec.json.decode(saved, type=State)
            self.matching = Matching.restore(market.instruments, rules, state, keep=_REMEMBERED)
        self.feed = Feed(market, self.matching)
        self.thinned: dict[str, float] = {}
        self.clock_shift = 0
        self.hub = Hub(keys, market.index, self.feed.candle_channel, self.feed.snapshot, changed, self.server_ms)
        self._rows: dict[tuple[str, str], Row] = {}
        self._told = {r.venue_id: Progress(r.report.filled, r.traded, r.fee) for r in self.matching.orders()}
        self._created: dict[str, int] = {}
        self._deadlines: dict[str, asyncio.TimerHandle] = {}
        if saved is None:
            for bill in self.matching.bills():
                self._bill(bill, None)
            self.obey((), market.quotes())
        self.commit()

    def server_ms(self) -> int:
        """The server's clock, by which requests expire: the machine's, unless a fault has set it."""
        return wall_ms() + self.clock_shift

    def obey(self, commands: Sequence[Command], quotes: Sequence[Quote] = ()) -> list[Event]:
        """One step of the matching core; its events become rows and pushes."""
        if self.thinned:
            quotes = [replace(q, turnover=q.turnover * self.thinned.get(q.instrument, 1.0)) for q in quotes]
        events = self.matching.step(self.market.now, commands, quotes)
        if not events:
            return events
        bills = {e.trade_id: e for e in events if isinstance(e, Bill) and e.trade_id}
        fills = {e.trade_id: e for e in events if isinstance(e, Fill)}
        moved: dict[str, Position] = {}
        for event in events:
            if isinstance(event, Fill):
                self._fill(event, bills.get(event.trade_id))
            elif isinstance(event, OrderReport):
                self._report(event)
            elif isinstance(event, Trigger):
                self._trigger(event)
            elif isinstance(event, Bill):
                self._bill(event, fills.get(event.trade_id))
            elif isinstance(event, Position):
                moved[event.instrument] = event
        self._tell_account(moved, any(isinstance(e, Bill) for e in events), bool(fills))
        return events

    def advance(self, loud: bool) -> bool:
        """One tick of the market. True where it closed a bar: that is always told, else if `loud`."""
        if not self.market.step():
            self.obey((), self.market.quotes())
            if loud:
                self._tell_market()
            return False
        ids = [spec.id for spec in self.market.instruments]
        for spec in self.feed.specs():
            if row := self.feed.candle(spec, self.market.bar - 1):
                self.hub.publish(self.feed.candle_channel, spec.id, [row])
        due = self.market.funding_due()
        self.obey([SettleFunding(ids[i], Decimal(repr(rate))) for i, rate in due if self.matching.mark(ids[i])])
        self.obey((), self.market.quotes())
        self._tell_market()
        for i, _ in due:
            self.hub.publish("funding-rate", ids[i], [self.feed.funding(self.market.instruments[i])])
        held = {p.instrument: p for p in self.matching.positions() if p.size}
        self._tell_account(held, bool(held), False)
        return True

    def commit(self) -> None:
        """Write what has changed, with the state it belongs to."""
        market = self.market
        replay = Replay(
            market.panel.content_hash, market.first, market.end - market.first, market.ticks, market.seed,
            market.bar, market.tick,
        )  # fmt: skip
        meta = {"replay": msgspec.json.encode(replay), "account": msgspec.json.encode(self.matching.state())}
        self.store.commit(self._rows.values(), meta)
        self._rows.clear()

    def order_body(self, venue_id: str) -> Body:
        """An order as it stands in the matching core."""
        record = self.matching.order(venue_id=venue_id)
        assert record is not None, venue_id
        fired = self.matching.trigger(client_id=record.report.algo_id) if record.report.algo_id else None
        return wire.order(record, fired.venue_id if fired else "")

    def cancel_all_after(self, seconds: float, tag: str) -> None:
        """Cancel pending orders (of `tag`, or all) after that time, unless asked anew before; 0 calls it off.
        Trigger orders stay: OKX does not say that it touches them."""
        waiting = self._deadlines.pop(tag, None)
        if waiting is not None:
            waiting.cancel()
        if seconds:
            loop = asyncio.get_running_loop()
            self._deadlines[tag] = loop.call_later(seconds, self._cancel_all, tag)

    def stop(self) -> None:
        """Call off what waits for a time, and write the rest."""
        for waiting in self._deadlines.values():
            waiting.cancel()
        self.commit()

    def _cancel_all(self, tag: str) -> None:
        del self._deadlines[tag]
        records = [r for r in self.matching.orders() if tag in ("", r.place.tag)]
        self.obey([Cancel(r.report.instrument, venue_id=r.venue_id) for r in records])
        self.commit()

    def _fill(self, fill: Fill, bill: Bill | None) -> None:
        """One execution: the order's row and push tell it, with the sums up to it."""
        record = self.matching.order(venue_id=fill.venue_id)
        assert record is not None, fill
        told = self._told.setdefault(fill.venue_id, Progress())
        told.filled += abs(fill.size)
        told.traded += abs(fill.size) * fill.price
        told.fee += fill.fee
        whole = told.filled == abs(record.size)
        spec = self.market.instruments[self.market.index[fill.instrument]]
        body = self.order_body(fill.venue_id) | wire.fill_fields(fill, spec)
        body |= {
            "accFillSz": wire.number(told.filled),
            "avgPx": wire.number(told.traded / told.filled),
            "fee": wire.number(told.fee),
            "state": wire.state(OrderState.FILLED if whole else OrderState.LIVE, told.filled),
            "cancelSource": "",
            "cancelSourceReason": "",
            "uTime": str(fill.ts),
        }
        if bill is not None and bill.kind is BillKind.LIQUIDATION:
            body["category"] = "full_liquidation"
        if whole:
            del self._told[fill.venue_id]
        self._keep_order(body)
        row = wire.fill(fill, body, bill.id if bill else "")
        self._keep("fill", str(row["billId"]), fill.client_id, fill.instrument, fill.ts, fill.venue_id, row)

    def _report(self, report: OrderReport) -> None:
        """A word on an order that no fill has told: that it is live, or was cancelled."""
        if report.state is OrderState.FILLED or (report.state is OrderState.LIVE and report.filled):
            return
        body = self.order_body(report.venue_id)
        if report.state is OrderState.LIVE:
            self._told[report.venue_id] = Progress()
            body |= {"state": "live", "accFillSz": "0", "avgPx": "", "fee": "0", "uTime": str(report.ts)}
        else:
            self._told.pop(report.venue_id, None)
        self._keep_order(body)

    def _keep_order(self, body: Body) -> None:
        words = [str(body[key]) for key in ("ordId", "clOrdId", "instId", "state")]
        ordered, client, instrument, state = words
        self._keep("order", ordered, client, instrument, int(str(body["uTime"])), state, body)
        self.hub.publish("orders", instrument, [body])

    def _trigger(self, trigger: Trigger) -> None:
        body = self.trigger_body(trigger)
        if trigger.state != "live":
            self._created.pop(trigger.venue_id, None)
        self._keep(
            "trigger", trigger.venue_id, trigger.client_id, trigger.instrument, trigger.ts, trigger.state, body
        )
        self.hub.publish("orders-algo", trigger.instrument, [body])

    def trigger_body(self, trigger: Trigger) -> Body:
        return wire.trigger(trigger, self._created_at(trigger))

    def _created_at(self, trigger: Trigger) -> int:
        """When a trigger order was placed: its first word's time."""
        if trigger.venue_id not in self._created:
            kept = self.store.find("trigger", id=trigger.venue_id)
            self._created[trigger.venue_id] = int(str(kept[0]["cTime"])) if kept else trigger.ts
        return self._created[trigger.venue_id]

    def _bill(self, bill: Bill, fill: Fill | None) -> None:
        body = wire.bill(bill, fill)
        self._keep("bill", bill.id, "", bill.instrument, bill.ts, str(body["type"]), body)

    def _keep(self, kind: str, name: str, client: str, instrument: str, ts: int, tag: str, body: Body) -> None:
        self._rows[kind, name] = Row(kind, name, client, instrument, ts, tag, body)

    def _tell_account(self, moved: dict[str, Position], money: bool, traded: bool) -> None:
        for instrument, position in moved.items():
            self.hub.publish("positions", instrument, [self.feed.position(position)])
        if money:
            self.hub.publish("account", "", [self.feed.balance()])
        if moved or money:
            word = "filled" if traded else "funding_fee"
            self.hub.publish("balance_and_position", "", [self.feed.balance_and_position(word)])

    def _tell_market(self) -> None:
        """Push the present state of every public channel that somebody listens to."""
        for spec in self.feed.specs():
            for channel in ("tickers", "mark-price", "trades", "books5", "bbo-tbt"):
                if self.hub.listened(channel, spec.id):
                    self.hub.publish(channel, spec.id, self.feed.rows(channel, spec))
            if self.hub.listened("books", spec.id):
                self.hub.publish("books", spec.id, [self.feed.book_update(spec)], "update")
            forming = None if self.market.finished else self.feed.candle(spec, self.market.bar)
            if forming is not None:
                self.hub.publish(self.feed.candle_channel, spec.id, [forming])
