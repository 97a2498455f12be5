"""`cockpit account`, `accept` and `adopt`: what the exchange says, and what a person says to what is not ours."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import msgspec
import typer
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from cockpit.commands.output import tell
from cockpit.commands.running import reached, request, say
from core.clock import iso
from core.config import load
from core.domain.errors import UserError
from core.domain.statement import Statement

FOREIGN = "not ours"


def show(config: Path | None, *, as_json: bool) -> None:
    """The statement of the running engine; where none runs, the exchange is asked by a process of its own."""
    settings = load(config)
    reply = reached(settings, "account")
    found = reply.statement if reply is not None else _looked(config)
    if found is None:
        raise UserError("the engine gave no statement: it may be of another version; restart it with cockpit stop")
    if as_json:
        tell("", msgspec.to_builtins(found), as_json=True)
    else:
        Console().print(render(found))


def _looked(config: Path | None) -> Statement:
    words = ["--config", str(config)] if config is not None else []
    done = subprocess.run([sys.executable, "-m", "core.engine.account", *words], capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise UserError(said[-1] if said else "account: nothing was told", done.returncode)
    return msgspec.json.decode(done.stdout, type=Statement)


def decide(name: str, why: str, config: Path | None, *, yes: bool, as_json: bool) -> None:
    """`accept` or `adopt`, after showing what it is about."""
    settings = load(config)
    if not yes:
        if not sys.stdin.isatty():
            raise UserError("this needs a confirmation and there is no terminal to ask in: add --yes")
        found = request(settings, "account").statement
        if found is not None:
            Console(stderr=True).print(render(found))
        if not typer.confirm(f"{name} what is not ours?", err=True):
            raise UserError("nothing was done")
    say(request(settings, name, text=why), as_json=as_json)


def render(found: Statement) -> Group:
    """Balances, positions, orders and fills; what is not ours says so, and is bold."""
    balance = found.balance
    head = Text(f"{found.venue}, {iso(found.ts)}\n", style="bold")
    head.append(
        f"cash {balance.cash:,.2f} {balance.currency}, equity {balance.equity:,.2f}, free {balance.free:,.2f}",
        style="",
    )
    if balance.maintenance:
        head.append(f", maintenance margin {balance.maintenance:,.2f}")
    if found.ledger_cash is not None:
        head.append(f"; the ledger's cash {found.ledger_cash:,.2f}")
    wrong = [Text(f"! {line}", style="bold red") for line in found.differences]
    end = Text("ledger and exchange agree" if not wrong else "no new entries until they agree", style="dim")
    return Group(head, "", _positions(found), "", _orders(found), "", _fills(found), "", *wrong, end)


def _table(title: str, *names: str) -> Table:
    table = Table(title, *names, box=None, pad_edge=False)
    for column in table.columns[1:-1]:
        column.justify = "right"
    return table


def _owner(owner: str) -> Text:
    return Text(owner) if owner else Text(FOREIGN, style="bold yellow")


def _number(value: Decimal) -> str:
    return f"{value.normalize():f}" if value else "0"


def _positions(found: Statement) -> Table | Text:
    if not found.positions:
        return Text("no positions")
    table = _table("position", "contracts", "ours", "average", "")
    for row in found.positions:
        owner = "ours" if not row.foreign else ""
        table.add_row(
            row.instrument, _number(row.contracts), _number(row.ours), _number(row.average), _owner(owner)
        )
    return table


def _orders(found: Statement) -> Table | Text:
    if not found.orders:
        return Text("no orders, no stops")
    table = _table("order", "instrument", "filled", "trigger", "")
    for row in found.orders:
        trigger = _number(row.trigger) if row.trigger is not None else ""
        table.add_row(row.id, row.instrument, _number(row.filled), trigger, _owner(row.owner))
    return table


def _fills(found: Statement) -> Table | Text:
    if not found.fills:
        return Text("no fills in the last day")
    table = _table("fill", "instrument", "contracts", "price", "fee", "")
    for row in found.fills:
        fee = f"{row.fee:+.4f}"
        owner = _owner(row.owner)
        table.add_row(iso(row.ts), row.instrument, _number(row.contracts), _number(row.price), fee, owner)
    return table
