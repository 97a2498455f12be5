"""Execution quality: what it cost to get from a decision to a position, from the ledger's fold alone.

The implementation shortfall (Perold, "The implementation shortfall: paper versus reality", Journal of Portfolio
Management 14(3), 1988) of a leg is what its fills and fees cost beyond the same contracts at the decision price,
the close of the bar that was decided on. It falls into the delay (until the order was written: decision price to
the middle of best bid and ask then), the spread (from there to the fills) and the fee. What was not traded has no
price here: it is no part of it. Legs that nobody decided on a bar (by hand, after a stop) are not measured.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from math import sqrt
from statistics import NormalDist

import msgspec

from core.domain.instrument import Instrument
from core.domain.orders import Basis
from core.domain.quality import Cost, QualityRow
from core.matching.order_book import OrderBook
from core.matching.rules import Rules
from core.matching.types import Quote
from core.portfolio.books import Books
from core.portfolio.events import AnyEvent, Settled
from core.portfolio.intents import IntentState, OrderRecord

BPS = 10_000.0
FEWEST = 5
"""Legs below which an interval says nothing."""
_Z = NormalDist().inv_cdf(0.975)


class Execution(msgspec.Struct, frozen=True, gc=False):
    """One leg as it was carried out, decided on at `ts`: `value` at the decision price, and its costs in the quote
    currency (positive: paid). `assumed`: delay and spread as a backtest supposes them."""

    ts: int
    strategy: str
    pair: str
    instrument: str
    fills: int
    value: float
    delay: float
    spread: float
    fee: float
    assumed: float

    @property
    def shortfall(self) -> float:
        return self.delay + self.spread + self.fee

    @property
    def excess(self) -> float:
        """What it cost above the backtest's assumption; fees are no assumption."""
        return self.delay + self.spread - self.assumed


def executions(state: IntentState, instruments: Mapping[str, Instrument], rules: Rules) -> tuple[Execution, ...]:
    """The legs of an intent that have traded; none of one without a basis. `rules`: those of the backtest's
    book."""
    intent, made = state.intent, []
    for leg, basis, records in zip(intent.legs, intent.basis, state.orders, strict=False):
        traded = [record for record in records if record.traded]
        spec = instruments.get(leg.instrument)
        if not traded or spec is None:  # An asset may have left the exchange, not the ledger.
            continue
        value = sum((abs(spec.notional(record.traded, basis.price)) for record in traded), Decimal(0))
        made.append(
            Execution(
                ts=intent.ts,
                strategy=intent.strategy,
                pair=intent.pair,
                instrument=leg.instrument,
                fills=sum(record.fills for record in traded),
                value=float(value),
                delay=sum(_delay(record, basis, spec) for record in traded),
                spread=sum(_spread(record, basis, spec) for record in traded),
                fee=-float(sum((record.fee for record in traded), Decimal(0))),
                assumed=sum(assumed(record, basis, spec, rules) for record in traded),
            )
        )
    return tuple(made)


def _delay(record: OrderRecord, basis: Basis, spec: Instrument) -> float:
    mid = record.order.mid or basis.price  # Where no quote was known all of it is spread.
    return float(_signed(record) * spec.contract * (mid - basis.price))


def _spread(record: OrderRecord, basis: Basis, spec: Instrument) -> float:
    mid, sign = record.order.mid or basis.price, 1 if record.order.size > 0 else -1
    return float(sign * spec.contract * (record.paid - record.traded * mid))


def _signed(record: OrderRecord) -> Decimal:
    return record.traded if record.order.size > 0 else -record.traded


def assumed(record: OrderRecord, basis: Basis, spec: Instrument, rules: Rules) -> float:
    """What a backtest under `rules` supposes that the contracts of this order cost: they walk the book that it
    makes around the decision price. What that book does not hold costs as much as its last level."""
    book = OrderBook(spec, rules)
    book.move(Quote(spec.id, basis.price, basis.turnover))
    rest, cost, price = record.traded, Decimal(0), basis.price
    for price, size in book.levels(record.order.size > 0):
        taken = min(rest, size)
        cost += taken * abs(price - basis.price)
        rest -= taken
        if not rest:
            break
    return float((cost + rest * abs(price - basis.price)) * spec.contract)


def mean(costs: Sequence[float], values: Sequence[float]) -> Cost:
    """Mean of `costs` in basis points of `values`, weighted by value, with its 95% interval.

    A ratio of sums, whose variance is that of the linearised ratio (Cochran, Sampling Techniques, 1977, chapter
    6), by Student's t. None where there are fewer than five: an interval of so few says nothing."""
    total, n = sum(values), len(values)
    if not total:
        return Cost(0.0)
    ratio = sum(costs) / total
    if n < FEWEST:
        return Cost(ratio * BPS)
    rest = sum((cost - ratio * value) ** 2 for cost, value in zip(costs, values, strict=True))
    half = student(n - 1) * sqrt(n / (n - 1) * rest) / total
    return Cost(ratio * BPS, (ratio - half) * BPS, (ratio + half) * BPS)


def student(freedom: int) -> float:
    """The 97.5% quantile of Student's t with `freedom` >= 4 degrees, to 0.01 (Abramowitz and Stegun 26.7.5)."""
    z, v = _Z, float(freedom)
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )


def drift(recent: Sequence[Execution]) -> Cost:
    """What these legs cost above the backtest's assumption."""
    return mean([each.excess for each in recent], [each.value for each in recent])


def drifted(cost: Cost, bound_bps: float) -> bool:
    """Whether that is beyond the bound, and beyond chance: the whole interval lies above zero."""
    return cost.bps > bound_bps and cost.low is not None and cost.low > 0


def row(legs: Sequence[Execution], strategy: str = "", instrument: str = "") -> QualityRow:
    """These legs together."""
    values = [leg.value for leg in legs]
    total = sum(values)

    def bps(costs: Iterable[float]) -> float:
        return sum(costs) / total * BPS if total else 0.0

    return QualityRow(
        strategy=strategy,
        instrument=instrument,
        legs=len(legs),
        fills=sum(leg.fills for leg in legs),
        value=total,
        usdt=sum(leg.shortfall for leg in legs),
        delay=bps(leg.delay for leg in legs),
        spread=bps(leg.spread for leg in legs),
        fee=bps(leg.fee for leg in legs),
        assumed=bps(leg.assumed for leg in legs),
        shortfall=mean([leg.shortfall for leg in legs], values),
    )


class Executions:
    """All measured legs of a ledger, in the order in which their intents have ended. `heard` keeps them up to date:
    an intent that a late fill reopens is measured anew when it ends again."""

    def __init__(self, books: Books, instruments: Mapping[str, Instrument], rules: Rules) -> None:
        self._books = books
        self._instruments = instruments
        self._rules = rules
        self._legs: dict[str, tuple[Execution, ...]] = {}
        for name, state in books.intents.items():
            if state.outcome is not None:
                self._take(name, state)

    def heard(self, event: AnyEvent) -> tuple[Execution, ...]:
        """Take in an event that has just been folded; the legs that it has completed."""
        if not isinstance(event, Settled):
            return ()
        return self._take(event.intent, self._books.intents[event.intent])

    def _take(self, name: str, state: IntentState) -> tuple[Execution, ...]:
        legs = executions(state, self._instruments, self._rules) if state.intent.basis else ()
        if legs:
            self._legs[name] = legs
        return legs

    def legs(self) -> list[Execution]:
        """All of them, oldest first."""
        return [leg for legs in self._legs.values() for leg in legs]

    def latest(self, count: int) -> list[Execution]:
        """The last `count`, oldest first."""
        newest = (leg for legs in reversed(self._legs.values()) for leg in reversed(legs))
        return list(islice(newest, count))[::-1]

    def rows(self) -> list[QualityRow]:
        """By strategy and instrument, the most costly first."""
        grouped: dict[tuple[str, str], list[Execution]] = defaultdict(list)
        for leg in self.legs():
            grouped[leg.strategy, leg.instrument].append(leg)
        rows = [row(legs, *names) for names, legs in grouped.items()]
        return sorted(rows, key=lambda each: -each.usdt)
