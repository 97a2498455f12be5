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
    for command in (doctor, rehearse, account, accept, adopt):
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


def rehearse(
    days: Annotated[int, typer.Option(min=1, metavar="N", help="Simulated days.")] = 30,
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="Of the market, and of everything that goes wrong.")
    ] = 7,
    faults: Annotated[str, typer.Option(metavar="all|none|LIST", help="What may go wrong, by name.")] = "all",
    workers: Annotated[int | None, typer.Option(min=1, metavar="N", help="Processes (default: one a core)")] = None,
    json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    config: Config = None,
) -> None:
    """Run the engine of this configuration on virtual time against an exchange that does everything wrong.

    Lost, late and doubled messages, refusals, part fills, maintenance, jumps, a full disk, clock steps, crashes at
    any point: each day ends in quiet, in which everything must settle. Exit code 1 where an invariant did not hold,
    with the one command that shows it again. Going live asks for a rehearsal of the very configuration.

    Example:  cockpit rehearse --days 30 --seed 7 --faults all
    """
    from cockpit.commands.processes import flags
    from cockpit.commands.research import pass_on

    whole = config.absolute() if config else None
    words = flags(days=days, seed=seed, faults=faults, workers=workers, json=json, config=whole)
    pass_on("core.engine.rehearsal", words, quiet)


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
