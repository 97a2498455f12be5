"""How a run ended: what the ledger says beside what the exchange says, and whether they agree."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from core.backtest.statistics import profit_interval
from core.clock import iso
from core.engine.engine import Engine
from core.portfolio.digest import digest
from core.portfolio.events import AnyEvent, Filled

EXACT = Decimal("1e-6")


async def summary(engine: Engine, events: Sequence[AnyEvent], model: str) -> dict[str, Any]:
    """Figures of the whole session as one JSON-ready document; money as text, exact.

    The exchange's cash is told twice, by its balance and by the sum of its bills: it computes both on its own."""
    books, venue = engine.journal.books, engine.venue
    balance = await venue.balance()
    bills = await venue.bills("")
    marks = {name: await venue.mark(name) for name in engine.instruments}
    equity = books.equity(marks)
    theirs = {fill.trade_id for fill in await venue.fills(0)}
    ours = {event.fill.trade_id for event in events if isinstance(event, Filled) and event.fill.size}
    billed = sum((bill.change for bill in bills), Decimal(0))
    agrees = {
        "cash": abs(books.cash - balance.cash) <= EXACT,
        "bills": abs(books.cash - billed) <= EXACT,
        "equity": abs(equity - balance.equity) <= EXACT,
        "fills": theirs == ours,
        "orders": all(state.order.intent in books.intents for state in books.orders.values()),
        "positions": engine.verdict.agrees,
    }
    first = engine.journal.books.curve[0][0] if books.curve else 0
    interval = profit_interval([float(value) for _, value in books.curve])
    return {
        "strategies": [trader.strategy.name for trader in engine.traders],
        "model": model,
        "from": iso(first),
        "to": iso(venue.market_ms()),
        "bars": engine.steps,
        "decisions": books.decisions,
        "orders": len(books.orders),
        "fills": books.fills,
        "round_trips": books.round_trips,
        "open_pairs": [book.pair for book in books.open_books()],
        "fees": str(books.fees),
        "funding": str(books.funding),
        "realized": str(books.realized),
        "pnl": str(equity - books.deposit),
        "pnl_interval_95": interval and [round(bound, 2) for bound in interval],
        "cash": str(books.cash),
        "equity": str(equity),
        "exchange": {"cash": str(balance.cash), "bills": str(billed), "equity": str(balance.equity)},
        "agrees": agrees,
        "digest": digest(events),
        "note": "one path through one period, costs and funding included: no estimate of what is to come",
    }
