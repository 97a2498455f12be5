"""The exchange itself: one account, linear perpetuals, net mode, cross margin."""

from collections.abc import Iterable, Sequence
from decimal import Decimal, localcontext
from itertools import takewhile
from typing import Self

from core.domain.account import Balance, Bill, Position
from core.domain.instrument import Instrument
from core.domain.orders import Fill, OrderState
from core.matching.checks import Refusal, check_client_id, check_size, check_trigger
from core.matching.desk import Desk
from core.matching.money import EXACT, ZERO, sane
from core.matching.records import History, MarketState, Record, State
from core.matching.rules import Rules
from core.matching.types import (
    Cancel,
    CancelTrigger,
    Command,
    Event,
    Levels,
    Place,
    PlaceTrigger,
    Quote,
    Rejected,
    SetLeverage,
    SettleFunding,
    Trigger,
)


class Matching:
    """`step` moves the market and obeys commands; everything else reads and costs little.

    Deterministic: the same instruments, rules and steps give the same events; it knows no clock and no
    chance. Sizes are contracts, money is in the settlement currency of the instruments (one for all).
    """

    def __init__(
        self, instruments: Iterable[Instrument], cash: Decimal, rules: Rules, *, now: int = 0, keep: int = 100_000
    ) -> None:
        """An account that begins with a deposit of `cash` at market time `now` (ms UTC), its first bill.

        `keep` bounds what is remembered of the past: finished orders, triggers, fills and bills, each.
        """
        listed = list(instruments)
        currencies = {instrument.settle for instrument in listed}
        if len(currencies) != 1:
            raise ValueError(f"instruments must settle in one currency, not in {sorted(currencies)}")
        self.rules = rules
        self._desk = desk = Desk(listed, currencies.pop(), rules, keep)
        self._exposed: list[tuple[str, float, float]] | None = None
        desk.now = now
        with localcontext(EXACT):
            desk.account.transfer(cash, now)

    @classmethod
    def restore(
        cls,
        instruments: Iterable[Instrument],
        rules: Rules,
        state: State,
        history: History | None = None,
        *,
        keep: int = 100_000,
    ) -> Self:
        """The exchange as `state` describes it, going on as if it had never stopped.

        `history` gives the queries their past back; the future does not depend on it. Raises ValueError
        if the state knows an instrument that is not listed.
        """
        self = cls(instruments, state.deposit, rules, now=state.now, keep=keep)
        past = history or History()
        desk, account = self._desk, self._desk.account
        for kept in state.markets:
            if kept.instrument not in desk.books:
                raise ValueError(f"the stored state knows {kept.instrument}, which is not listed")
            desk.books[kept.instrument].restore(kept.mark, kept.turnover, kept.taken)
            account.restore_holding(kept.instrument, kept.size, kept.cost, kept.leverage, kept.ts)
        account.restore(state.cash, state.pnl, state.fees, state.funding, state.flow, state.bills_made, past.bills)
        desk.orders.load(state.orders, past.orders)
        desk.triggers.load(state.triggers, past.triggers)
        desk.fills.extend(past.fills)
        desk.orders_made, desk.trades_made = state.orders_made, state.trades_made
        with localcontext(EXACT):
            account.check()
        return self

    def state(self) -> State:
        """All that the future depends on; small. It survives msgspec's JSON and MessagePack unchanged."""
        desk, account = self._desk, self._desk.account
        return State(
            now=desk.now,
            deposit=account.deposit,
            cash=account.cash,
            pnl=account.pnl,
            fees=account.fees,
            funding=account.funding,
            flow=account.flow,
            orders_made=desk.orders_made,
            trades_made=desk.trades_made,
            bills_made=account.bills_made,
            markets=[
                MarketState(name, m.mark, m.turnover, m.taken, h.leverage, h.size, h.cost, h.ts)
                for (name, m), h in zip(desk.books.items(), account.holdings.values(), strict=True)
            ],
            orders=desk.orders.pending(),
            triggers=desk.triggers.pending(),
        )

    def history(self) -> History:
        """What is remembered of the past, at most `keep` of each; the events told all of it."""
        desk = self._desk
        return History(desk.orders.finished(), desk.triggers.finished(), list(desk.fills), list(desk.account.bills))

    def step(self, now: int, commands: Sequence[Command], market: Sequence[Quote]) -> list[Event]:
        """Move the market, then obey the commands, each in order, at market time `now` (ms UTC).

        With each quote its triggers fire, then its resting orders fill; liquidation is judged after the last.
        A refused command comes back as `Rejected`. Raises ValueError if time goes backwards or a quote is
        senseless (unknown instrument, mark not positive).
        """
        desk, account = self._desk, self._desk.account
        if now < desk.now:
            raise ValueError(f"market time went back from {desk.now} to {now}")
        desk.now = now
        bills = account.bills_made
        events: list[Event] = []
        desk.events = events
        with localcontext(EXACT):
            for quote in market:
                desk.quote(quote)
            if market and account.open and account.short_of_margin:
                desk.liquidate()
            for command in commands:
                try:
                    self._obey(command)
                except Refusal as refusal:
                    events.append(Rejected(command, refusal.code, refusal.message))
            if account.bills_made != bills:
                account.check()
                self._exposed = None
        return events

    # What can be asked. An instrument that is not listed raises KeyError.

    @property
    def now(self) -> int:
        """Market time of the last step, ms UTC."""
        return self._desk.now

    def orders(self) -> list[Record]:
        """Pending orders, oldest first."""
        return self._desk.orders.pending()

    def order(self, *, venue_id: str = "", client_id: str = "") -> Record | None:
        """An order by either id, pending or finished; of those with the same client id the latest."""
        return self._desk.orders.find(venue_id, client_id)

    def fills(self, since: int = 0) -> list[Fill]:
        """Fills at or after market time `since`, oldest first."""
        return list(takewhile(lambda fill: fill.ts >= since, reversed(self._desk.fills)))[::-1]

    def positions(self) -> list[Position]:
        """Open positions, in the order of the instruments."""
        with localcontext(EXACT):
            return [holding.position() for holding in self._desk.account.holdings.values() if holding.size]

    @property
    def cash(self) -> Decimal:
        return self._desk.account.cash

    def held(self) -> dict[str, tuple[Decimal, Decimal]]:
        """(signed contracts, their exact signed cost) of each open position, by instrument."""
        return {name: (holding.size, holding.cost) for name, holding in self._desk.account.open.items()}

    def exposed(self) -> list[tuple[str, float, float]]:
        """(instrument, signed units of its asset, what they cost) of each open position, in floats."""
        if self._exposed is None:
            self._exposed = [
                (name, float(holding.size * holding.contract), float(holding.cost))
                for name, holding in self._desk.account.open.items()
            ]
        return self._exposed

    def unrealised(self, instrument: str) -> Decimal:
        """Profit of the open position at the mark."""
        with localcontext(EXACT):
            return self._desk.account.holdings[instrument].unrealised

    def margins(self, instrument: str) -> tuple[Decimal, Decimal]:
        """(initial, maintenance) margin: initial of the position and its pending orders."""
        holding = self._desk.account.holdings[instrument]
        with localcontext(EXACT):
            return self._desk.margin(holding), self.rules.maintenance_rate * abs(holding.value)

    def leverage(self, instrument: str) -> Decimal:
        return self._desk.account.holdings[instrument].leverage

    def balance(self) -> Balance:
        """Cash, equity, and what of it is free for margin (never below 0)."""
        account = self._desk.account
        with localcontext(EXACT):
            free = max(self._desk.free(), ZERO)
            return Balance(account.currency, account.cash, account.equity, free, self.now)

    def bills(self, after: str = "") -> list[Bill]:
        """Bills newer than the bill id `after` ("": all that are kept), oldest first."""
        return self._desk.account.after(after)

    def triggers(self) -> list[Trigger]:
        """Live trigger orders, oldest first."""
        return self._desk.triggers.pending()

    def trigger(self, *, venue_id: str = "", client_id: str = "") -> Trigger | None:
        """A trigger order by either id, live or finished; of those with the same client id the latest."""
        return self._desk.triggers.find(venue_id, client_id)

    def mark(self, instrument: str) -> Decimal | None:
        """The mark price, None before the first quote."""
        return self._desk.books[instrument].mark or None

    def book(self, instrument: str, depth: int = 5) -> tuple[Levels, Levels]:
        """(bids, asks), each up to `depth` levels of (price, contracts), best first.

        A side is empty before the first quote, and when our own fills have taken all of it.
        """
        book = self._desk.books[instrument]
        if not book.mark:
            return [], []
        with localcontext(EXACT):
            return book.levels(False)[:depth], book.levels(True)[:depth]

    # Commands.

    def _obey(self, command: Command) -> None:
        match command:
            case Place():
                self._desk.place(command)
            case Cancel():
                self._cancel(command)
            case PlaceTrigger():
                self._place_trigger(command)
            case CancelTrigger():
                self._cancel_trigger(command)
            case SetLeverage():
                self._set_leverage(command)
            case SettleFunding():
                self._settle(command)

    def _cancel(self, command: Cancel) -> None:
        record = self._desk.orders.find_pending(command.venue_id, command.client_id)
        if record is None or record.instrument != command.instrument:
            name = command.venue_id or command.client_id
            raise Refusal("51400", f"Cancellation failed: order {name} of {command.instrument} is not pending")
        self._desk.report(record, OrderState.CANCELLED, message="canceled by user")

    def _place_trigger(self, command: PlaceTrigger) -> None:
        desk = self._desk
        book = desk.listed(command.instrument)
        check_client_id(command.client_id)
        if desk.triggers.find_pending("", command.client_id):
            raise Refusal("51065", f"algoClOrdId {command.client_id} already exists among live trigger orders")
        check_size(book.instrument, command.size, market_order=True)
        check_trigger(book, command)
        desk.arm(command)

    def _cancel_trigger(self, command: CancelTrigger) -> None:
        trigger = self._desk.triggers.find_pending(command.venue_id, command.client_id)
        if trigger is None or trigger.instrument != command.instrument:
            name = command.venue_id or command.client_id
            raise Refusal("51400", f"Cancellation failed: trigger order {name} of {command.instrument} is not live")
        self._desk.end_trigger(trigger, "canceled")

    def _set_leverage(self, command: SetLeverage) -> None:
        book, leverage = self._desk.books.get(command.instrument), command.leverage
        if book is None:
            raise Refusal("51001", f"Instrument ID {command.instrument} does not exist")
        most = book.instrument.max_leverage
        if not (sane(leverage) and 1 <= leverage <= most):
            raise Refusal("59102", f"{command.instrument}: leverage {leverage} is not within 1 and {most}")
        holding = self._desk.account.holdings[command.instrument]
        before, holding.leverage = holding.leverage, leverage
        if leverage < before and self._desk.free() < 0:
            holding.leverage = before
            raise Refusal("59103", f"{command.instrument}: not enough margin for a leverage of {leverage}")

    def _settle(self, command: SettleFunding) -> None:
        self._desk.listed(command.instrument)
        if not command.rate.is_finite():
            raise Refusal("51000", f"{command.instrument}: funding rate {command.rate}")
        bill = self._desk.account.settle(command.instrument, command.rate, self.now)
        if bill:
            self._desk.events.append(bill)
