"""Sees both sides, which no engine can: what was written, and what the exchange did. Names the first wrong."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

from core.domain.account import Bill
from core.domain.instrument import Instrument
from core.domain.orders import Action, Fill, Intent, Order, Origin
from core.execution.exposure import Unhedged
from core.execution.reconcile import Verdict
from core.execution.slices import smallest
from core.matching.core import Matching
from core.matching.types import Command, Event, Place, PlaceTrigger
from core.portfolio.books import Books
from core.portfolio.events import AnyEvent, Decided, Filled, Intended, Part, Planned, Protected, Settled
from core.portfolio.invariant import InvariantError
from core.venues.okx.venue import PATIENCE

CENT = Decimal("1e-8")
GROSS_SLACK = Decimal("1.5")
"""New exposure is judged at the last close; until it is filled, prices may jump by a third."""
UNHEDGED_S = 300.0
"""Longest that a leg may wait for its other half while the exchange takes orders: answers may be lost."""
ALARM_S = 5.0
BLIND = 2.0
"""An entry may be made on a stream that has been silent for so many times its patience, not longer."""


class Witness:
    """`broken` is the first invariant that did not hold, in words; `failed` is set with it."""

    def __init__(self, max_gross: Decimal, bar_ms: int, stale_after: float, max_unhedged: float) -> None:
        """`max_gross` in the quote currency; `stale_after` and `max_unhedged` in seconds."""
        self.broken = ""
        self.failed = asyncio.Event()
        self.market_ms: Callable[[], int] = lambda: 0
        self.silence: Callable[[], Mapping[str, float]] = dict
        self.gross: Callable[[], Decimal] = Decimal
        self.audit: Callable[[], None] = lambda: None
        """Raises InvariantError where the engine's books contradict themselves."""
        self._max_gross, self._bar_ms, self._stale_after = max_gross, bar_ms, stale_after
        self._max_unhedged = max_unhedged
        self._orders: dict[str, Order] = {}
        self._intents: dict[str, Intent] = {}
        self._protections: set[str] = set()
        self.fills: dict[str, Fill] = {}
        """The exchange's, by trade id."""
        self._written: dict[str, Fill] = {}
        self._done: dict[tuple[str, int], list[Decimal]] = {}
        self._parts: dict[tuple[str, int], Decimal] = {}
        self._bills = Decimal(0)
        self._last_fill: dict[str, float] = {}
        self.intents = self.orders = 0

    def begin(self, cash: Decimal, instruments: Iterable[Instrument]) -> None:
        """The account as it is found, and what is listed."""
        self._bills = cash
        self._least = {spec.id: smallest(spec) for spec in instruments}

    def fail(self, text: str) -> None:
        if not self.broken:
            self.broken = text
            self.failed.set()

    def expect(self, holds: bool, text: str) -> None:
        if not holds:
            self.fail(text)

    # --- the ledger ----------------------------------------------------------------------------------

    def written(self, batch: Sequence[AnyEvent]) -> None:
        """A batch has become durable. The books, which do not know it yet, are audited."""
        now = self.market_ms()
        try:
            self.audit()
        except InvariantError as error:
            self.fail(f"the books contradict themselves: {error}")
        for event in batch:
            self.expect(event.ts <= now, f"an event is dated {event.ts}, and it is {now}: {event}")
            match event:
                case Intended(intent=intent):
                    self.intents += 1
                    self.expect(intent.id not in self._intents, f"intent {intent.id} was written twice")
                    self._intents[intent.id] = intent
                    if intent.action is Action.OPEN and intent.origin is Origin.STRATEGY:
                        self._not_blind(intent)
                case Planned(order=order):
                    self.orders += 1
                    self.expect(order.client_id not in self._orders, f"order {order.client_id} was planned twice")
                    self.expect(order.intent in self._intents, f"order {order.client_id} has no intent")
                    self._orders[order.client_id] = order
                case Protected(protection=protection, state="planned"):
                    self._protections.add(protection.client_id)
                case Filled(fill=fill, parts=parts):
                    self._fill_written(fill, parts)
                case Settled(intent=name, outcome=outcome):
                    self._matched(self._intents[name], outcome)
                case Decided(bar=bar):
                    self.expect(bar + self._bar_ms <= now, f"the bar of {bar} was decided on before it closed")
                case _:
                    pass

    def _fill_written(self, fill: Fill, parts: Sequence[Part]) -> None:
        given = sum((part.size for part in parts), Decimal(0))
        self.expect(fill.trade_id not in self._written, f"trade {fill.trade_id} was written twice")
        self.expect(given == fill.size, f"trade {fill.trade_id}: {fill.size} was attributed as {given}")
        for part in parts:
            key = part.intent, part.leg
            self._parts[key] = self._parts.get(key, Decimal(0)) + part.size
        self._written[fill.trade_id] = fill
        if fill.size:
            true = self.fills.get(fill.trade_id)
            same = true is not None and (true.size, true.price, true.fee) == (fill.size, fill.price, fill.fee)
            self.expect(same, f"trade {fill.trade_id}: written as {fill}, the exchange made {true}")

    def _matched(self, intent: Intent, outcome: str) -> None:
        """An opening comes to its end with two legs that match within a lot, or with none."""
        if intent.action is not Action.OPEN or len(intent.legs) != 2:
            return
        shares = [self._parts.get((intent.id, i), Decimal(0)) / leg.size for i, leg in enumerate(intent.legs)]
        lots = [max(self._least[leg.instrument] / abs(leg.size), Decimal("1e-9")) for leg in intent.legs]
        self.expect(
            abs(shares[0] - shares[1]) <= sum(lots),
            f"intent {intent.id} was settled as {outcome} with {shares[0]:.1%} and {shares[1]:.1%} of its legs",
        )

    def _not_blind(self, intent: Intent) -> None:
        """New exposure only while every stream it rests on is heard."""
        for stream, seconds in self.silence().items():
            patience = PATIENCE.get(stream.partition(":")[0])
            if patience is not None and seconds > BLIND * patience * self._stale_after:
                self.fail(
                    f"intent {intent.id} opens {intent.pair} while {stream} has been silent for {seconds:.0f} s"
                )

    # --- the exchange --------------------------------------------------------------------------------

    def exchanged(self, now: int, commands: Sequence[Command], events: Sequence[Event]) -> None:
        """One step of the exchange: what it was told, and what came of it."""
        for command in commands:
            if isinstance(command, Place) and command.client_id:
                planned = self._orders.get(command.client_id)
                same = planned is not None and (planned.instrument, planned.size) == (
                    command.instrument,
                    command.size,
                )
                self.expect(same, f"an order without intent reached the exchange: {command}, planned: {planned}")
            elif isinstance(command, PlaceTrigger):
                known = command.client_id in self._protections
                self.expect(known, f"a trigger that was never written reached the exchange: {command}")
        for event in events:
            if isinstance(event, Fill):
                self._filled(event)
            elif isinstance(event, Bill):
                self._bills += event.change

    def _filled(self, fill: Fill) -> None:
        name = f"{fill.instrument}:{fill.trade_id}"  # As the engine names it: OKX counts trades per instrument.
        self.expect(name not in self.fills, f"the exchange made trade {name} twice")
        self.fills[name] = fill
        self._last_fill[fill.instrument] = asyncio.get_running_loop().time()
        order = self._orders.get(fill.client_id)
        if order is None:
            return
        intent = self._intents[order.intent]
        wanted = intent.legs[order.leg].size
        done = self._done.setdefault((intent.id, order.leg), [Decimal(0), Decimal(0)])
        done[0 if fill.size * wanted > 0 else 1] += abs(fill.size)
        if intent.action is Action.OPEN and fill.size * wanted > 0:
            gross = self.gross()
            self.expect(
                gross <= self._max_gross * GROSS_SLACK,
                f"intent {intent.id} lifts the gross to {gross:.0f}, the limit is {self._max_gross}",
            )
        self.expect(
            done[0] <= abs(wanted) and done[1] <= done[0],
            f"intent {intent.id}, leg {order.leg}: {wanted} was wanted, {done[0]} filled and {done[1]} taken back",
        )

    def bare(self, found: Unhedged, seconds: float, alarmed: bool) -> None:
        """What stands unhedged, for `seconds` in which the exchange took orders; `alarmed`: an alarm rings. Where
        the book is thin it takes its time, and is fair as long as something is filled."""
        said = f"intent {found.intent} has stood unhedged in {found.instrument} for {seconds:.0f} s"
        still = asyncio.get_running_loop().time() - self._last_fill.get(found.instrument, 0.0)
        self.expect(min(seconds, still) <= UNHEDGED_S, f"{said}, with nothing filled for {still:.0f} s")
        self.expect(alarmed or seconds <= self._max_unhedged + ALARM_S, f"{said}, and no alarm rings")

    # --- once faults have stopped --------------------------------------------------------------------

    def judge(self, books: Books, matching: Matching, verdict: Verdict, halved: Sequence[object]) -> None:
        """Everything must have settled: books, exchange and ledger tell the same, and nothing is left half done."""
        self.expect(verdict.agrees, f"reconciliation still finds: {'; '.join(verdict.differences)}")
        held = {p.instrument: p.size for p in matching.positions() if p.size}
        ours = {p.instrument: books.net(p.instrument) for p in matching.positions() if books.net(p.instrument)}
        self.expect(held == ours, f"the exchange holds {held}, the books {ours}")
        missing = [name for name in self.fills if name not in self._written]
        self.expect(not missing, f"trades {missing} of the exchange are not in the ledger")
        cash = matching.balance().cash
        # Fills written in another order than they were made leave another average cost, until all is flat.
        later = sum((cost for _, cost in matching.held().values()), Decimal(0))
        later -= sum((holding.cost for holding in books.account.open.values()), Decimal(0))
        same = abs(cash - later - books.cash) <= CENT
        self.expect(same, f"the exchange's cash is {cash}, the ledger's {books.cash}, {later} of it for costs")
        self.expect(
            abs(cash - self._bills) <= CENT, f"the exchange's cash is {cash}, its bills sum to {self._bills}"
        )
        self.expect(not halved, f"pairs are left with one leg: {halved}")
        pending = [r.report.client_id for r in matching.orders()]
        working = {order.order.client_id for order in books.orders.values() if not order.state.final}
        self.expect(
            set(pending) <= working, f"orders {pending} are open at the exchange, the ledger knows {working}"
        )
        triggers = {t.client_id: t.size for t in matching.triggers()}
        guards = {p.client_id: p.size for p in books.protections.values()}
        self.expect(triggers == guards, f"the exchange holds triggers {triggers}, the ledger {guards}")
        bare = [name for name, size in held.items() if -size not in [p.size for p in books.protections.values()]]
        self.expect(not bare, f"positions in {bare} have no catastrophe order of their size: {guards}")
        stuck = [intent.id for intent in books.unsettled()]
        self.expect(not stuck, f"intents {stuck} have not come to their end")
