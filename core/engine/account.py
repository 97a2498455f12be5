"""The account's statement, by the running engine or, where none runs: `python -m core.engine.account [--json]`."""

import argparse
import asyncio
import sys
from pathlib import Path

import msgspec

from core.config import load
from core.domain.errors import UserError
from core.domain.orders import Fill, OrderReport, Protection
from core.domain.statement import Held, Resting, Statement, Traded
from core.engine.reach import folded, reader
from core.execution.reconcile import CASH_TOLERANCE
from core.portfolio.books import Books
from core.portfolio.money import ZERO
from core.venues.port import Venue, VenueError

DAY_MS = 86_400_000


async def statement(venue: Venue, books: Books) -> Statement:
    """What the exchange says now, each line with the book of `books` that it belongs to. Raises VenueError."""
    now = venue.market_ms()
    balance, positions, orders, stops, fills = await asyncio.gather(
        venue.balance(), venue.positions(), venue.open_orders(), venue.protections(), venue.fills(now - DAY_MS)
    )
    theirs = {position.instrument: position for position in positions}
    held = []
    for name in sorted({*theirs, *books.account.open}):
        position = theirs.get(name)
        size, average = (position.size, position.average) if position is not None else (ZERO, ZERO)
        held.append(Held(name, size, books.net(name), average))
    differences = [
        f"{row.instrument}: the exchange holds {row.contracts} contracts, the books {row.ours}"
        for row in held
        if row.foreign != books.foreign.get(row.instrument, ZERO)
    ]
    if books.prefix and abs(balance.cash - books.cash) > CASH_TOLERANCE:
        differences.append(f"cash: the exchange says {balance.cash} {balance.currency}, the ledger {books.cash}")
    return Statement(
        venue=venue.capabilities.name,
        ts=now,
        balance=balance,
        ledger_cash=books.cash if books.prefix else None,
        positions=held,
        orders=[*(_order(books, each) for each in orders), *(_stop(books, each) for each in stops)],
        fills=[_fill(books, each) for each in fills],
        differences=differences,
    )


def _owner(books: Books, client_id: str) -> str:
    """The book that an order works for; empty where it is not ours."""
    record = books.orders.get(client_id)
    if record is None:
        return ""
    intent = books.intents[record.order.intent].intent
    return f"{intent.strategy} {intent.pair}"


def _order(books: Books, report: OrderReport) -> Resting:
    owner = _owner(books, report.client_id)
    return Resting(report.instrument, report.client_id or report.venue_id, report.filled, owner)


def _stop(books: Books, stop: Protection) -> Resting:
    ours = bool(books.prefix) and stop.client_id.startswith(f"{books.prefix}P")
    return Resting(
        stop.instrument, stop.client_id or stop.venue_id, ZERO, "catastrophe stop" if ours else "", stop.trigger
    )


def _fill(books: Books, fill: Fill) -> Traded:
    owner = _owner(books, fill.client_id)
    if not owner and books.has_trade(fill.trade_id):
        owner = "taken in"  # a fired stop, a liquidation, what was adopted or accepted
    return Traded(fill.ts, fill.instrument, fill.size, fill.price, fill.fee, owner)


async def _look(config: Path | None) -> Statement:
    settings = load(config)
    venue = reader(settings)
    try:
        await venue.look()
        return await statement(venue, folded(settings, venue.instruments))
    except VenueError as error:
        raise UserError(f"account: {error}") from error
    finally:
        await venue.close()


def main() -> int:
    """Print the statement as JSON: the terminal's command draws it."""
    parser = argparse.ArgumentParser("core.engine.account", description="The account, looked at.")
    parser.add_argument("--config", type=Path)
    arguments = parser.parse_args()
    try:
        found = asyncio.run(_look(arguments.config))
    except UserError as error:
        print(error, file=sys.stderr)
        return error.code
    print(msgspec.json.encode(found).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
