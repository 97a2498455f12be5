"""Starting an engine, and opening the terminal on one."""

import sys
from pathlib import Path
from typing import NamedTuple, NoReturn

import typer

from cockpit.backtests import Backtests, Form
from cockpit.commands.processes import Background, become, flags
from cockpit.commands.running import found, snapshot
from core.config import SEEDS, Settings, load
from core.config.settings import STRATEGIES
from core.domain.errors import UserError
from core.domain.snapshot import Snapshot


class DemoOptions(NamedTuple):
    """What `cockpit demo` may change of the settings; None leaves a setting as it is."""

    replay: Path | None = None
    funding: Path | None = None
    train_bars: int | None = None
    bars: int | None = None
    speed: str | None = None
    seed: int | None = None
    strategy: tuple[str, ...] = ()
    config: Path | None = None

    def load(self) -> Settings:
        """The settings with these options: what is wrong with them is said before anything starts."""
        named = {f"demo.{name}": getattr(self, name) for name in ("train_bars", "bars", "speed")}
        named |= dict.fromkeys(SEEDS, self.seed)
        files = {f"demo.{name}": str(file) for name in ("replay", "funding") if (file := getattr(self, name))}
        strategies = {"engine.strategies": list(self.strategy)} if self.strategy else {}
        return load(self.config, options={**named, **files, **strategies, "venue.name": "demo"})


def bare(config: Path | None) -> None:
    """The terminal on the running engine, or on one that is started as config.toml says."""
    settings = load(config)
    _needs_terminal(
        "cockpit", "start an engine with cockpit demo --headless or cockpit run, and ask cockpit status"
    )
    if found(settings) is not None:
        _open(settings)
    elif settings.venue.name == "demo":
        _start(settings, ["demo", *flags(config=config)])
    else:
        settings.venue.refuse_real_money()
        _start(settings, ["run", *flags(config=config)])


def demo(options: DemoOptions, *, resume: bool, headless: bool, as_json: bool) -> None:
    """The local exchange and the engine; with the terminal, where there is one."""
    settings = options.load()
    _refuse_second(settings)
    words = ["demo", *flags(**options._asdict(), resume=resume)]
    if headless or as_json or not _terminal():
        become("core.engine", [*words, *flags(headless=True, json=as_json)])
    _start(settings, words)


class RealMoney(NamedTuple):
    """What was said of real money: `live` asks for it, `account` names whose, `shadow` wants none of it."""

    live: bool = False
    account: str = ""
    shadow: bool = False


def run(
    venue: str | None, real: RealMoney, strategy: tuple[str, ...], *, as_json: bool, config: Path | None
) -> NoReturn:
    """This process becomes the engine."""
    if real.shadow:
        if real.live or venue not in (None, "shadow"):
            raise UserError("--shadow sends nothing anywhere: leave --live and --venue away", code=2)
        venue = "shadow"
    options = {"venue.name": venue, "engine.strategies": list(strategy) or None}
    settings = load(config, options=options)
    settings.venue.refuse_real_money(real.live)
    _refuse_second(settings)
    account = real.account
    if real.live and not account and _terminal():
        account = typer.prompt("Real money. Type the name of the account (its label or uid at OKX)")
    words = flags(
        venue=venue, live=real.live, account=account or None, strategy=strategy, json=as_json, config=config
    )
    become("core.engine", ["run", *words])


def attach(config: Path | None, *, read_only: bool) -> None:
    """The terminal on the running engine."""
    settings = load(config)
    _needs_terminal("cockpit attach", "ask cockpit status instead")
    snapshot(settings)
    _open(settings, read_only=read_only)


def _terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _needs_terminal(what: str, instead: str) -> None:
    if not _terminal():
        raise UserError(f"{what} draws on a terminal, and there is none here: {instead}")


def _refuse_second(settings: Settings) -> None:
    running = found(settings)
    if running is not None:
        raise UserError(f"{_who(running)} already runs: cockpit attach, or cockpit stop first")


def _who(running: Snapshot) -> str:
    status = running.status
    return f"an engine (pid {status.pid}, session {status.session}, {status.mode})"


def _start(settings: Settings, words: list[str]) -> None:
    """The engine in the background, and the terminal on it at once: it shows how the start goes."""
    settings.paths.create()
    engine = Background("core.engine", words, settings.paths.logs / "engine.log")
    _open(settings, engine)


def _backtests(settings: Settings) -> Backtests:
    """What the backtest screen needs of the settings: the terminal itself reads none."""
    demo, own = settings.demo, settings.strategy
    ours = {name: (own.cluster if name == "cluster" else own.divergence).model_dump() for name in STRATEGIES}
    others = {name: {key: row[key] for key in row if key != "path"} for name, row in own.outside.items()}
    form = Form(
        {**ours, **others},
        own=Path(demo.replay).name if demo.replay else f"the synthetic market, seed {demo.seed}",
    )
    options = tuple(flags(config=settings.file.absolute() if settings.file else None))
    return Backtests(settings.paths.home, settings.paths.lake, form, options)


def _open(settings: Settings, engine: Background | None = None, *, read_only: bool = False) -> None:
    from cockpit.app import CockpitApp  # the screen's own imports wait until the engine's have begun

    app = CockpitApp(
        settings.paths.socket,
        read_only=read_only,
        starting=engine.progress if engine else None,
        rate=settings.engine.snapshot_hz,
        backtests=_backtests(settings),
    )
    line = app.run()
    if line:
        typer.echo(line, err=bool(app.return_code))
    if app.return_code:
        raise typer.Exit(app.return_code)
