"""The commands that look at the account and at the machine, and say what is not ours."""

from enum import StrEnum
from typing import Annotated

import typer

from cockpit.options import Config, Json, Yes

WELL = "Is all well?"
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="Why: it is written into the ledger.")]


class VenueName(StrEnum):
    DEMO = "demo"
    OKX_DEMO = "okx-demo"
    SHADOW = "shadow"
    OKX = "okx"


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    for command in (doctor, account, accept, adopt):
        app.command(rich_help_panel=WELL)(command)


def doctor(
    venue: Annotated[VenueName | None, typer.Option(help="Where orders would go (default: venue.name)")] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Look at everything that must be in order before money hangs on it. It changes nothing, and prints no secret.

    Settings, keys and what they may, folders, disk, ledger, models, and what the exchange says: account, leverage,
    margin tiers, fees, clock, price limits, instruments, maintenance. Exit code 0 where nothing is bad.

    Example:  cockpit doctor --venue okx-demo
    """
    from cockpit.commands.processes import become, flags

    become("core.engine.doctor", flags(venue=venue.value if venue else None, json=json, config=config))


def account(json: Json = False, config: Config = None) -> None:
    """Show balances, positions, orders, stops and the fills of the last day; what is not ours is marked.

    Asks the running engine; where none runs, the exchange itself.

    Example:  cockpit account
    """
    from cockpit.commands import account as commands

    commands.show(config, as_json=json)


def accept(why: Why, yes: Yes = False, json: Json = False, config: Config = None) -> None:
    """Take what the exchange tells beyond the ledger as known and not ours: cash and contracts.

    Nothing is traded. From then on ledger and exchange agree, and new positions are allowed again.

    Example:  cockpit accept --why "closed my old position by hand"
    """
    from cockpit.commands import account as commands

    commands.decide("accept", why, config, yes=yes, as_json=json)


def adopt(why: Why, yes: Yes = False, json: Json = False, config: Config = None) -> None:
    """Take trades that are not ours into the ledger, as made by hand: protected, shown and closed like any other.

    Example:  cockpit adopt --why "bought on the phone"
    """
    from cockpit.commands import account as commands

    commands.decide("adopt", why, config, yes=yes, as_json=json)
