"""The commands that try an idea on history."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cockpit.options import Config, Funding, Json, Seed, TrainBars

RESEARCH = "Research"


class EngineName(StrEnum):
    VECTORISED = "vectorised"
    EVENTS = "events"


StrategyName = Annotated[str, typer.Argument(metavar="STRATEGY", help="Like divergence.")]
Data = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE", help="Candles: of the lake by name, or a file (default: the demo's own)"),
]
From = Annotated[str | None, typer.Option("--from", metavar="DATE", help="First bar, UTC: 2024-01-31[T16:00].")]
To = Annotated[str | None, typer.Option("--to", metavar="DATE", help="Up to this bar, which is left out.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A parameter; may be repeated.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Engine = Annotated[
    EngineName | None, typer.Option(help="One compiled pass, or the live trader on the matching core.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    for command in (backtest,):
        app.command(rich_help_panel=RESEARCH)(command)


def backtest(
    strategy: StrategyName,
    engine: Engine = None,
    data: Data = None,
    funding: Funding = None,
    from_: From = None,
    to: To = None,
    seed: Seed = None,
    train_bars: TrainBars = None,
    report: Annotated[
        Path | None, typer.Option(dir_okay=False, metavar="FILE", help="The report, one HTML file, here as well.")
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Beside the baselines, on the same costs.")] = False,
    set_: Set = None,
    json: Json = False,
    quiet: Quiet = False,
    config: Config = None,
) -> None:
    """Run a strategy on history, and say what it would have made, at what cost, and how sure that is.

    The run is kept beside the earlier ones (key b in the terminal) with its report.

    Example:  cockpit backtest divergence --data perp-1h --compare

    Example:  cockpit backtest divergence --data candles.parquet --set z_entry=1.5 --report out.html --json
    """
    from cockpit.commands import research

    run = research.Run(engine, data, funding, from_, to, seed, train_bars, tuple(set_ or ()), config)
    research.backtest(strategy, run, report=report, compare=compare, as_json=json, quiet=quiet)
