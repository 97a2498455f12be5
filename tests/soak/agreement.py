"""What a ledger and the exchange's own account, both read from their files, say differently of the same trading."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import msgspec

from core.domain.account import Bill, BillKind
from core.domain.instrument import Instrument
from core.domain.orders import Fill
from core.matching.records import State
from core.portfolio.books import Books
from core.portfolio.events import AnyEvent, Filled, Intended, Planned
from core.venues.okx import messages
from core.venues.okx_local.store import Store

ALL = 10**9
ZERO = Decimal(0)


class Account(NamedTuple):
    """The exchange's side: every execution it ever made, its statement, and how it stands."""

    fills: list[Fill]
    bills: list[Bill]
    state: State

    def cash(self, bill: str) -> Decimal:
        """What it held when the ledger's last `bill` was written: between the engine's end and its own the market
        went on, and funding may have settled. Nothing else can have."""
        after = [each for each in self.bills if int(each.id) > int(bill or 0)]
        assert all(each.kind is BillKind.FUNDING for each in after), after
        return self.state.cash - sum((each.change for each in after), ZERO)

    @property
    def positions(self) -> dict[str, Decimal]:
        return {market.instrument: market.size for market in self.state.markets}


def account(folder: Path) -> Account:
    """The account in the exchange's folder; only while no exchange runs there."""
    store = Store(folder / "account.sqlite")
    try:
        fills = [messages.listed_fill(row) for row in store.find("fill", limit=ALL)]
        bills = [messages.bill(row) for row in store.find("bill", limit=ALL)]
        return Account(fills, bills, msgspec.json.decode(store.meta("account") or b"", type=State))
    finally:
        store.close()


def disagreements(events: Sequence[AnyEvent], account: Account, instruments: Mapping[str, Instrument]) -> list[str]:
    """One line for each thing that is lost, doubled, orphaned or unmatched; empty: all agree."""
    books = Books(instruments)
    for event in events:
        books.apply(event)
    books.check()
    return [
        *_fills(events, account),
        *_sizes(events, account),
        *_standing(books, account),
        *_legs(books, events, instruments),
    ]


def _fills(events: Sequence[AnyEvent], account: Account) -> list[str]:
    """Every execution of the exchange once in the ledger, and nothing else."""
    ours = Counter(event.fill.trade_id for event in events if isinstance(event, Filled) and event.fill.size)
    theirs = Counter(fill.trade_id for fill in account.fills)
    return [
        *(f"fill {name}: lost" for name in theirs - ours),
        *(
            f"fill {name}: in the ledger {ours[name]} times, at the exchange {theirs[name]}"
            for name in ours - theirs
        ),
    ]


def _sizes(events: Sequence[AnyEvent], account: Account) -> list[str]:
    """No order has traded more than it asked for, no leg of an intent more than it wanted."""
    asked = {event.order.client_id: abs(event.order.size) for event in events if isinstance(event, Planned)}
    traded: dict[str, Decimal] = defaultdict(Decimal)
    for fill in account.fills:
        traded[fill.client_id] += abs(fill.size) if fill.client_id in asked else ZERO
    wanted = {
        (event.intent.id, number): leg.size
        for event in events
        if isinstance(event, Intended)
        for number, leg in enumerate(event.intent.legs)
    }
    got: dict[tuple[str, int], Decimal] = defaultdict(Decimal)
    for event in events:
        for part in event.parts if isinstance(event, Filled) else ():
            got[part.intent, part.leg] += part.size
    return [
        *(
            f"order {name}: traded {size} of {asked[name]}"
            for name, size in traded.items()
            if size > asked.get(name, 0)
        ),
        *(
            f"intent {name} leg {leg}: got {size}, wanted {wanted[name, leg]}"
            for (name, leg), size in got.items()
            if size * wanted[name, leg] < 0 or abs(size) > abs(wanted[name, leg])
        ),
    ]


def _standing(books: Books, account: Account) -> list[str]:
    """Positions, cash, orders and catastrophe orders, as they stand."""
    positions, triggers = account.positions, defaultdict(list)
    for trigger in account.state.triggers:
        triggers[trigger.instrument].append(trigger.size)
    lines = [
        f"{name}: the exchange holds {size}, the books {books.net(name)}"
        for name, size in positions.items()
        if size != books.net(name)
    ]
    lines += [
        f"{name}: holds {size}, its catastrophe orders are {[str(each) for each in triggers[name]]}"
        for name, size in positions.items()
        if triggers[name] != ([-size] if size else [])
    ]
    lines += [f"order {record.report.client_id} is still at the exchange" for record in account.state.orders]
    # One that was written a moment before the end, and never sent, is given up at the next start.
    lines += [
        f"intent {intent.id} has traded and is not settled"
        for intent in books.unsettled()
        if any(leg.filled for leg in books.progress(intent.id))
    ]
    if account.cash(books.last_bill) != books.cash:
        lines.append(f"cash: the exchange has {account.cash(books.last_bill)}, the ledger {books.cash}")
    return lines


def _legs(books: Books, events: Sequence[AnyEvent], instruments: Mapping[str, Instrument]) -> list[str]:
    """Each pair held is matched as it was opened, within the least order of either leg."""
    opened = {event.intent.id: event.intent for event in events if isinstance(event, Intended)}
    lines = []
    for book in books.open_books():
        wanted = {leg.instrument: leg.size for leg in opened[book.intent].legs}
        held = {leg.instrument: leg.size for leg in book.legs}
        if len(wanted) != 2:
            continue
        (one, want_one), (two, want_two) = wanted.items()
        off = abs(held.get(one, ZERO) / want_one - held.get(two, ZERO) / want_two)
        least = max(_least(instruments[name]) / abs(size) for name, size in wanted.items())
        if off > least:
            lines.append(f"{book.pair}: {held} held, {wanted} wanted: the legs do not match")
    return lines


def _least(spec: Instrument) -> Decimal:
    """The smallest order, in contracts."""
    return max(spec.lot, spec.min_size)
