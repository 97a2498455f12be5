"""The commands that try an idea on history."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cockpit.options import PASSED_ON, Config, Funding, Json, Seed, TrainBars

RESEARCH = "Research"
WALK = "Of sweep cluster, whose every set walks forward"


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
TrainDays = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", rich_help_panel=WALK, help="Days of the market to learn from (default: 252)"),
]
TestDays = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", rich_help_panel=WALK, help="Days to test on, and to slide by (default: 63)"),
]
Purge = Annotated[
    int | None, typer.Option(min=0, metavar="BARS", rich_help_panel=WALK, help="Left out between both (default: 0)")
]
Epochs = Annotated[int | None, typer.Option(min=1, metavar="N", rich_help_panel=WALK, help="Of each training.")]
Assets = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", rich_help_panel=WALK, help="The N with the longest history (default: all)"),
]
Warm = Annotated[
    bool, typer.Option("--warm", rich_help_panel=WALK, help="Begin each model with the one of the segment before.")
]
Resume = Annotated[
    str | None, typer.Option(metavar="ID", rich_help_panel=WALK, help="Go on with a sweep that was interrupted.")
]
Engine = Annotated[
    EngineName | None, typer.Option(help="One compiled pass, or the live trader on the matching core.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    for command in (backtest, sweep, audit):
        app.command(rich_help_panel=RESEARCH)(command)
    app.command("walk-forward", rich_help_panel=RESEARCH, context_settings=PASSED_ON)(walk_forward)


def backtest(
    strategy: StrategyName,
    engine: Engine = None,
    data: Data = None,
    funding: Funding = None,
    from_: From = None,
    to: To = None,
    seed: Seed = None,
    train_bars: TrainBars = None,
    book: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE[#usdm]", help="Real best bids and asks, which orders meet (default: a made book)."
        ),
    ] = None,
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
    research.backtest(strategy, run, book=book, report=report, compare=compare, as_json=json, quiet=quiet)


def sweep(
    strategy: StrategyName,
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=V1,V2", help="Values of a parameter; repeated: every combination."),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="N random sets drawn from the grid.")
    ] = None,
    on: Annotated[str | None, typer.Option(metavar="WHERE", help="Where it runs (default: local)")] = None,
    train_days: TrainDays = None,
    test_days: TestDays = None,
    purge: Purge = None,
    epochs: Epochs = None,
    assets: Assets = None,
    warm: Warm = False,
    resume: Resume = None,
    data: Data = None,
    funding: Funding = None,
    from_: From = None,
    to: To = None,
    seed: Seed = None,
    train_bars: TrainBars = None,
    set_: Set = None,
    json: Json = False,
    quiet: Quiet = False,
    config: Config = None,
) -> None:
    """Run a strategy with many sets of parameters; every one counts as a trial on its data.

    Sets of cluster are ways to train: each is walked forward. What was interrupted goes on with --resume.

    Example:  cockpit sweep divergence --grid z_entry=1,1.5,2 --grid z_exit=0,0.5 --data perp-1h

    Example:  cockpit sweep cluster --grid n_clusters=5,10 --train-days 252 --test-days 63 --data perp-1h
    """
    from cockpit.commands import research

    run = research.Run(None, data, funding, from_, to, seed, train_bars, tuple(set_ or ()), config)
    walk = research.Walk(train_days, test_days, purge, epochs, assets, warm, resume)
    research.sweep(strategy, run, walk, grid=grid or (), trials=trials, on=on, as_json=json, quiet=quiet)


def audit(
    strategy: StrategyName,
    data: Data = None,
    funding: Funding = None,
    from_: From = None,
    to: To = None,
    seed: Seed = None,
    train_bars: TrainBars = None,
    model: Annotated[
        Path | None, typer.Option(exists=True, metavar="BUNDLE", help="Audit this model, not one trained for it.")
    ] = None,
    set_: Set = None,
    json: Json = False,
    quiet: Quiet = False,
    config: Config = None,
) -> None:
    """Ask whether a strategy's figures can be trusted, and whether there is an edge in them.

    Integrity (look-ahead, warm-up, live against history, accounting) must pass, else the exit code is 1 and the
    cause is named with its mend. The edge (delay, costs, placebo, a planted one) is reported as it is.

    Example:  cockpit audit divergence --data perp-1h
    """
    from cockpit.commands import research

    run = research.Run(None, data, funding, from_, to, seed, train_bars, tuple(set_ or ()), config)
    research.audit(strategy, run, model=model, as_json=json, quiet=quiet)


def walk_forward(ctx: typer.Context, strategy: StrategyName, quiet: Quiet = False) -> None:
    """Learn from the past, trade the days after, slide on: how a strategy does where its model has never been.

    Each segment's model, thresholds and universe come from the bars before it alone. What all segments decided is
    stitched to one run out of sample, with costs, beside equal weights and fixed clusters. A walk that was
    interrupted goes on with --resume; --report FILE puts its report there. All options: python -m core.research
    walk-forward --help.

    Example:  cockpit walk-forward cluster --data perp-1h --train-days 252 --test-days 63
    """
    from cockpit.commands import research

    research.walk_forward(strategy, ctx.args, quiet=quiet)
