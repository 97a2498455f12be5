"""What a user types. Here stand names, options and help; `cockpit.commands` does the work.

Each command imports its own module when it runs, so that `cockpit --help` loads none of them.
"""

from enum import StrEnum
from typing import Annotated

import typer

from cockpit import cli_account, cli_data, cli_research
from cockpit.options import (
    PASSED_ON,
    Candles,
    Commands,
    Config,
    Funding,
    Json,
    PairName,
    Seed,
    Strategies,
    TrainBars,
    Yes,
)

app = typer.Typer(
    cls=Commands,
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 refused or failed with a reason, 2 wrong usage,"
    " 3 the engine cannot be reached, 130 interrupted.",
)
train = typer.Typer(cls=Commands, no_args_is_help=True, help="Train the models that strategies score with.")
config = typer.Typer(cls=Commands, no_args_is_help=True, help="The settings, and where each one came from.")
app.add_typer(train, name="train", rich_help_panel="Data and models")
app.add_typer(cli_data.data, name="data", rich_help_panel="Data and models")
app.add_typer(config, name="config", rich_help_panel="Settings")
cli_research.register(app)
cli_account.register(app)


class Side(StrEnum):
    LONG = "long"
    SHORT = "short"


class VenueName(StrEnum):
    DEMO = "demo"
    OKX_DEMO = "okx-demo"
    SHADOW = "shadow"
    OKX = "okx"


RUNNING = "The running engine"
BY_HAND = "Trading by hand"
START = "Start"


@app.callback()
def cockpit(
    ctx: typer.Context,
    config: Config = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """A trading terminal for statistical arbitrage on perpetual swaps.

    Without a command: opens the terminal on the running engine, and starts one, as config.toml says, if none runs.
    Begin with:  cockpit demo
    """
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"cockpit {installed('cockpit')}")
    elif ctx.invoked_subcommand is None:
        from cockpit.commands import start

        start.bare(config)


@app.command(rich_help_panel=START)
def demo(
    replay: Candles = None,
    funding: Funding = None,
    train_bars: TrainBars = None,
    bars: Annotated[int | None, typer.Option(min=0, metavar="N", help="Bars to trade; 0: to the end.")] = None,
    speed: Annotated[
        str | None, typer.Option(metavar="X|max", help="Market seconds per second, or as fast as it goes.")
    ] = None,
    seed: Seed = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the account of the last session.")] = False,
    headless: Annotated[bool, typer.Option("--headless", help="No terminal: one line a bar.")] = False,
    strategy: Strategies = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Trade on the local exchange: no key, no network, no money.

    Starts the local exchange and the engine, and opens the terminal on them. Leaving the terminal leaves them
    running: `cockpit attach` comes back, `cockpit stop` ends them. Headless where there is no terminal.

    Example:  cockpit demo --speed 3600

    Example:  cockpit demo --headless --replay candles.parquet --train-bars 2000 --bars 500 --speed max --json
    """
    from cockpit.commands import start

    options = start.DemoOptions(replay, funding, train_bars, bars, speed, seed, tuple(strategy or ()), config)
    start.demo(options, resume=resume, headless=headless, as_json=json)


@app.command(rich_help_panel=START)
def run(
    venue: Annotated[VenueName | None, typer.Option(help="Where orders go (default: venue.name)")] = None,
    live: Annotated[bool, typer.Option("--live", help="Real money, on venue okx.")] = False,
    account: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --live: the account's label or uid at OKX.")
    ] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Decide on OKX's live market, on paper: no order leaves.")
    ] = False,
    strategy: Strategies = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Run the engine alone, in the foreground: for services.

    SIGTERM and Ctrl-C stop it cleanly; positions and their protection at the exchange stay.

    Real money needs --live, the keys, the account's name typed in, a doctor who finds nothing, and a passed
    rehearsal of this very configuration (cockpit rehearse). Begin with --shadow: it needs no keys.

    Example:  cockpit run --venue okx-demo

    Example:  cockpit run --shadow
    """
    from cockpit.commands import start

    real = start.RealMoney(live, account or "", shadow)
    start.run(venue, real, tuple(strategy or ()), as_json=json, config=config)


@app.command(rich_help_panel=RUNNING)
def attach(
    read_only: Annotated[bool, typer.Option("--read-only", help="Look, but send no command.")] = False,
    config: Config = None,
) -> None:
    """Open the terminal on the running engine. Several may look at once.

    Example:  cockpit attach --read-only
    """
    from cockpit.commands import start

    start.attach(config, read_only=read_only)


@app.command(rich_help_panel=RUNNING)
def status(json: Json = False, config: Config = None) -> None:
    """Say how the engine is: market time, equity, positions, streams.

    Example:  cockpit status --json
    """
    from cockpit.commands import running

    running.status(config, as_json=json)


@app.command(rich_help_panel=RUNNING)
def quality(json: Json = False, config: Config = None) -> None:
    """What execution has cost beyond the decision prices: delay, spread and fee, beside what a backtest supposes.

    Example:  cockpit quality
    """
    from cockpit.commands import quality as of

    of.quality(config, as_json=json)


@app.command(rich_help_panel=RUNNING)
def pause(json: Json = False, config: Config = None) -> None:
    """Reduce only: open no new positions; exits, stops and hedges go on.

    Example:  cockpit pause
    """
    from cockpit.commands import running

    running.send("pause", config, as_json=json)


@app.command(rich_help_panel=RUNNING)
def resume(json: Json = False, config: Config = None) -> None:
    """Let the account go on after a pause, a halt or a day's loss. Losses count from then on.

    Example:  cockpit resume
    """
    from cockpit.commands import running

    running.send("resume", config, as_json=json)


@app.command(rich_help_panel=RUNNING)
def stop(json: Json = False, config: Config = None) -> None:
    """Stop the engine, and the local exchange with it. Positions and their protection stay.

    Example:  cockpit stop
    """
    from cockpit.commands import running

    running.stop(config, as_json=json)


@app.command("open", rich_help_panel=BY_HAND)
def open_(
    pair: PairName,
    side: Annotated[Side, typer.Option(help="long: buy the first asset, sell the second; short: the reverse.")],
    size: Annotated[
        float | None, typer.Option(min=0.01, metavar="USDT", help="Per leg (default: base_size_usdt)")
    ] = None,
    yes: Yes = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Open a pair by hand, after showing both legs, their sizes and the fees.

    Example:  cockpit open BTC/ETH --side long --size 500
    """
    from cockpit.commands import trade

    direction = 1 if side is Side.LONG else -1
    trade.open_pair(pair.upper(), direction, size or 0.0, yes=yes, as_json=json, config=config)


@app.command(rich_help_panel=BY_HAND)
def close(pair: PairName, yes: Yes = False, json: Json = False, config: Config = None) -> None:
    """Close both legs of a held pair.

    Example:  cockpit close BTC/ETH --yes
    """
    from cockpit.commands import trade

    trade.close(pair.upper(), yes=yes, as_json=json, config=config)


@app.command(rich_help_panel=BY_HAND)
def flatten(yes: Yes = False, json: Json = False, config: Config = None) -> None:
    """Close every position and pause.

    Example:  cockpit flatten
    """
    from cockpit.commands import trade

    trade.close("", yes=yes, as_json=json, config=config)


@app.command(rich_help_panel=BY_HAND)
def kill(
    yes: Yes = False,
    wait: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How long to wait for the proof.")] = 120.0,
    json: Json = False,
    config: Config = None,
) -> None:
    """Cancel every order of ours, close every position, halt, and print the proof of the exchange.

    The account stays halted, over restarts too, until `cockpit resume`. Where no engine answers, a file KILL is put
    into the home folder: an engine obeys it at once, or as it starts. A signal does the same: kill -USR1 PID.

    Example:  cockpit kill --yes
    """
    from cockpit.commands import trade

    trade.kill(wait, yes=yes, as_json=json, config=config)


@train.command("divergence")
def train_divergence(
    data: Annotated[str, typer.Option(metavar="NAME|FILE", help="Candles: of the lake by name, or a file.")],
    funding: Funding = None,
    train_bars: TrainBars = None,
    seed: Seed = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Train the universal forest of all pairs, and print how it does out of sample beside the base rate.

    Example:  cockpit train divergence --data candles.parquet --train-bars 2000
    """
    from cockpit.commands import jobs

    jobs.train_divergence(data, funding, train_bars, seed, as_json=json, config=config)


@train.command("cluster", context_settings=PASSED_ON)
def train_cluster(ctx: typer.Context, quiet: cli_research.Quiet = False) -> None:
    """Learn which assets belong together, and when one that strays is worth trading.

    Trains on --data virtual (a made-up market with planted groups), a file of candles, or a data set of the lake;
    judges on the days after; stores a bundle. Every parameter of the table train.cluster of config.toml is an
    option, as --n-clusters, --window, --epochs or --seed; --checkpoint FILE with --resume goes on after a stop,
    --curves FOLDER is for TensorBoard. All of them: python -m core.models train cluster --help.

    Example:  cockpit train cluster --data virtual --epochs 20
    """
    from cockpit.commands import jobs

    jobs.train_cluster(ctx.args, quiet=quiet)


@config.command("check")
def config_check(json: Json = False, config: Config = None) -> None:
    """Read the settings as the engine would, and say what is wrong with them.

    Example:  cockpit config check --config my.toml
    """
    from cockpit.commands import settings

    settings.check(config, as_json=json)


@config.command("show")
def config_show(json: Json = False, config: Config = None) -> None:
    """Print every setting with its value and where the value came from.

    Example:  COCKPIT_VENUE__LEVERAGE=3 cockpit config show
    """
    from cockpit.commands import settings

    settings.show(config, as_json=json)


@config.command("path")
def config_path(json: Json = False, config: Config = None) -> None:
    """Print the file that is read, and where state lives.

    Example:  cockpit config path
    """
    from cockpit.commands import settings

    settings.path(config, as_json=json)


def main() -> None:
    """The console script."""
    app(prog_name="cockpit")
