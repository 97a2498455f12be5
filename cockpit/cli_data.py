"""The commands for the market data on this machine."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cockpit.options import Commands, Config, Funding, Json

data = typer.Typer(cls=Commands, no_args_is_help=True, help="The market data on this machine.")


class Source(StrEnum):
    OKX = "okx"
    DEMO = "demo"


Lake = Annotated[str | None, typer.Option(metavar="PATH|URL", help="Another lake: a folder, or an fsspec URL.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A data set.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]


@data.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, metavar="FILE", help="Parquet, CSV or feather; long or wide."),
    ],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Its name here (default: the file's)")] = None,
    funding: Funding = None,
    venue: Annotated[str | None, typer.Option(metavar="NAME", help="Whose prices: binance, okx, ...")] = None,
    append: Annotated[bool, typer.Option("--append", help="Add to the data set of that name.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of a data set of that name.")] = False,
    drop_bad: Annotated[bool, typer.Option("--drop-bad", help="Leave impossible rows out, and say so.")] = False,
    lake: Lake = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Check a file of candles for gaps, duplicates and broken rows, and keep it in the lake.

    A wide file has a column of closes for each asset; then a fill at the next open is one at the next close.

    Example:  cockpit data import candles.parquet --name perp-1h --venue binance
    """
    from cockpit.commands import data as commands

    given = {"name": name, "funding": funding, "venue": venue, "append": append, "replace": replace}
    commands.run("import", str(file), config=config, **given, drop_bad=drop_bad, lake=lake, json=json)


@data.command()
def download(
    venue: Annotated[Source, typer.Option(help="OKX, or the local exchange that runs.")] = Source.OKX,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Continued, if it is there (default: VENUE-BAR)")
    ] = None,
    assets: Annotated[str | None, typer.Option(metavar="BTC,ETH,...", help="Default: universe.assets")] = None,
    bar: Annotated[str | None, typer.Option(metavar="BAR", help="Default: universe.bar")] = None,
    from_: Annotated[str | None, typer.Option("--from", metavar="DATE", help="Default: all there is")] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="DATE", help="Default: now")] = None,
    no_funding: Annotated[bool, typer.Option("--no-funding", help="Candles alone.")] = False,
    address: Annotated[str | None, typer.Option(metavar="URL", help="Of a local exchange.")] = None,
    lake: Lake = None,
    quiet: Quiet = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Download candles and funding rates; no key is needed. Interrupted, it goes on where it stood.

    OKX keeps three months of funding rates: download often, or import what others have kept.

    Example:  cockpit data download --assets BTC,ETH --bar 1h --from 2024-01-01
    """
    from cockpit.commands import data as commands

    given = {"venue": venue.value, "name": name, "assets": assets, "bar": bar, "from": from_, "to": to}
    options = {"no_funding": no_funding, "address": address, "lake": lake, "quiet": quiet, "json": json}
    commands.download(config=config, **given, **options)


@data.command("list")
def list_(lake: Lake = None, json: Json = False, config: Config = None) -> None:
    """What there is: data sets, their venue, bars and period, and their snapshots.

    Example:  cockpit data list
    """
    from cockpit.commands import data as commands

    commands.run("list", config=config, lake=lake, json=json)


@data.command()
def check(
    source: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A data set, or a file of candles.")],
    funding: Funding = None,
    lake: Lake = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Look for gaps, duplicates, impossible bars, silence and stale tails; say what to do about each.

    Exit code 1 if there is something to act on.

    Example:  cockpit data check candles.parquet
    """
    from cockpit.commands import data as commands

    commands.run("check", source, config=config, funding=funding, lake=lake, json=json)


@data.command()
def snapshot(
    name: Name,
    label: Annotated[str, typer.Argument(metavar="LABEL", help="What to call it.")],
    lake: Lake = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Freeze a data set as it stands: NAME@LABEL stays what it is now, whatever is added to NAME.

    Example:  cockpit data snapshot perp-1h 2025-08
    """
    from cockpit.commands import data as commands

    commands.run("snapshot", name, label, config=config, lake=lake, json=json)


@data.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME[@LABEL]]...", help="Default: all.")] = None,
    lake: Lake = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Compare every file with the hash its manifest has of it.

    Example:  cockpit data verify perp-1h perp-1h@2025-08
    """
    from cockpit.commands import data as commands

    commands.run("verify", *(names or ()), config=config, lake=lake, json=json)
