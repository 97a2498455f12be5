"""Orders by hand: shown first, then confirmed, then sent as the same intents a strategy makes."""

import sys
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from cockpit.commands.running import request, say, snapshot
from core.clock import monotonic
from core.config import load
from core.domain.errors import UserError
from core.domain.snapshot import Ticket


def open_pair(pair: str, side: int, size: float, *, yes: bool, as_json: bool, config: Path | None) -> None:
    """Open `pair` long (+1) or short (-1) with `size` USDT per leg (0: the configured size)."""
    settings = load(config)
    if not yes:
        _must_ask()
        ticket = request(settings, "preview", pair, side, size).ticket
        if ticket is not None and ticket.refused:
            raise UserError(f"{pair} would be refused: {ticket.refused}")
        _confirm("open", [ticket] if ticket else [])
    say(request(settings, "open", pair, side, size), as_json=as_json)


def close(pair: str, *, yes: bool, as_json: bool, config: Path | None) -> None:
    """Close `pair`, or every position where `pair` is empty."""
    settings = load(config)
    name = "close" if pair else "flatten"
    if not yes:
        _must_ask()
        held = [row.pair for row in snapshot(settings).positions if not row.working and pair in ("", row.pair)]
        tickets = [ticket for held_pair in held if (ticket := request(settings, "preview", held_pair).ticket)]
        if tickets or not pair:  # a pair that is not held needs no question: the engine says so
            _confirm(name, tickets)
    say(request(settings, name, pair), as_json=as_json)


def kill(wait: float, *, yes: bool, as_json: bool, config: Path | None) -> None:
    """Pull the kill switch and wait for its proof; by its file where no engine answers."""
    settings = load(config)
    if not yes:
        _must_ask()
        if not typer.confirm("cancel every order of ours, close every position, and halt?", err=True):
            raise UserError("nothing was done")
    end = monotonic() + wait
    try:
        reply = request(settings, "kill")
        while reply.pending and monotonic() < end:
            print(reply.message, file=sys.stderr)
            reply = request(settings, "kill")
    except UserError as error:
        settings.paths.create()
        settings.paths.kill.touch(mode=0o600)
        text = f"{error}; {settings.paths.kill} was written: an engine obeys it at once, or as it starts"
        raise UserError(text, error.code) from error
    if reply.pending:
        raise UserError(f"after {wait:g} s the kill is still at work: {reply.message}")
    say(reply, as_json=as_json)


def _must_ask() -> None:
    if not sys.stdin.isatty():
        raise UserError("this needs a confirmation and there is no terminal to ask in: add --yes")


def _confirm(action: str, tickets: Sequence[Ticket]) -> None:
    """Show what would be done on stderr, and ask. No is exit code 1."""
    console = Console(stderr=True)
    for ticket in tickets:
        console.print(_title(action, ticket), soft_wrap=True)
        console.print(_legs(ticket))
    if not tickets:
        console.print("nothing is held; the account would only reduce from then on")
    if not typer.confirm(f"{action}?", err=True):
        raise UserError("nothing was done")


def _title(action: str, ticket: Ticket) -> str:
    side = {1: " long", -1: " short", 0: ""}[ticket.side]
    margin = f", margin {ticket.margin:,.2f} USDT" if ticket.margin else ""
    gross = f"{ticket.gross:,.2f} USDT, fees about {abs(ticket.fees):,.2f} USDT"
    return f"{action} {ticket.pair}{side}: {gross}{margin}"


def _legs(ticket: Ticket) -> Table:
    table = Table("", "asset", "contracts", "units", "price", "value", box=None)
    sign = -1 if ticket.side == 0 else 1  # a closing ticket lists what is held: its orders go the other way
    for leg in ticket.legs:
        table.add_row(
            "buy" if sign * leg.units > 0 else "sell",
            leg.asset,
            f"{abs(leg.contracts):g}",
            f"{abs(leg.units):g}",
            f"{leg.mark:g}",
            f"{abs(leg.units * leg.mark):,.2f}",
        )
    return table
