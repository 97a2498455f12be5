"""The account as the gate meets it, from the books: what is held, and what is at work as if it were filled."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import takewhile

from core.domain.orders import Action
from core.execution.risk import ZERO, Limits, Standing, Values
from core.execution.states import Measured
from core.portfolio.books import Books

MINUTE_MS = 60_000


def measured(
    books: Books, prices: Values, limits: Limits, now_ms: int, maintenance: Decimal | None = None
) -> Measured:
    """Equity, gross and maintenance margin at `prices` (by instrument). Where the exchange has not told the
    maintenance margin (a backtest, a replay) it is reckoned at the limits' rate."""
    gross = books.account.gross(prices)
    told = gross * limits.maintenance_rate if maintenance is None else maintenance
    return Measured(now_ms, books.equity(prices), gross, told)


def standing_of(
    now: Measured,
    books: Books,
    prices: Values,
    limits: Limits,
    strategy: str,
    bar_ms: int,
    *,
    trouble: str = "",
    marks: Mapping[str, Decimal] | None = None,
    share: Decimal = Decimal(1),
) -> Standing:
    """The account as `strategy` meets it: `now` it stands so; `bar_ms` is when the bar it decides on closed;
    `share` of all sizes is allowed."""
    pairs: dict[str, Decimal] = defaultdict(Decimal)
    nets: dict[str, Decimal] = defaultdict(Decimal)
    grosses: dict[str, Decimal] = defaultdict(Decimal)
    own = work = ZERO
    for owner, pair, instrument, value, held in _values(books, prices):
        size = abs(value)
        pairs[pair] += size
        nets[instrument] += value
        grosses[instrument] += size
        own += size if owner == strategy else ZERO
        work += ZERO if held else size
    gross = now.gross + work
    return Standing(
        free=now.equity - gross / limits.leverage,
        gross=gross,
        equity=now.equity,
        state=books.restrictions.state,
        reason=books.restrictions.reason,
        trouble=trouble,
        own=own,
        maintenance=now.maintenance + work * limits.maintenance_rate,
        pairs=pairs,
        nets=nets,
        grosses=grosses,
        orders=_orders_since(books, now.ts - MINUTE_MS),
        intents=_intents_since(books, bar_ms),
        marks=marks or {},
        share=share,
    )


def _values(books: Books, prices: Values) -> Iterator[tuple[str, str, str, Decimal, bool]]:
    """(strategy, pair, instrument, signed value, held already) of each leg of what is held and what is at work."""
    for book in books.open_books():
        for held in book.legs:
            value = held.size * held.contract * prices.get(held.instrument, ZERO)
            yield book.strategy, book.pair, held.instrument, value, True
    for intent in books.unsettled():
        if intent.action is Action.OPEN:
            for leg, done in zip(intent.legs, books.progress(intent.id), strict=True):
                contract = books.account.holdings[leg.instrument].contract
                rest = (done.wanted - done.filled) * contract * prices.get(leg.instrument, ZERO)
                yield intent.strategy, intent.pair, leg.instrument, rest, False


def _orders_since(books: Books, ts: int) -> int:
    """How many orders were planned after market time `ts`; they stand in the order in which they were."""
    return sum(1 for _ in takewhile(lambda record: record.planned > ts, reversed(books.orders.values())))


def _intents_since(books: Books, bar_ms: int) -> int:
    """How many opening intents were made since the bar closed."""
    since = takewhile(lambda state: state.intent.ts >= bar_ms, reversed(books.intents.values()))
    return sum(state.intent.action is Action.OPEN for state in since)
