"""Trying an idea on history: the work is another process; this one shows how far it is and what it found."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cockpit.commands.found import backtest_tables
from cockpit.commands.processes import flags
from core import jobs
from core.config import load
from core.domain.backtest import Document
from core.domain.errors import UserError
from core.jobs import Ended

BACKTEST = "core.backtest"
"""The module that runs one strategy."""
RESEARCH = "core.research"
"""The module that asks questions of many runs."""


class Run(NamedTuple):
    """What a run is told; None leaves a setting, or the data, as it is. Names are those of the options."""

    engine: str | None = None
    data: str | None = None
    funding: Path | None = None
    from_: str | None = None
    to: str | None = None
    seed: int | None = None
    train_bars: int | None = None
    set: tuple[str, ...] = ()
    config: Path | None = None

    def words(self) -> list[str]:
        """The words of a command line: files by whole paths, for the process may stand elsewhere."""
        load(self.config)  # a mistake in the settings is told before anything starts
        named = self._asdict()
        data = Path(self.data).expanduser() if self.data else None
        if data is not None and data.exists():
            named["data"] = data.absolute()
        for name in ("funding", "config"):
            if named[name] is not None:
                named[name] = named[name].absolute()
        return flags(**{name.rstrip("_"): value for name, value in named.items()})


class Walk(NamedTuple):
    """How the sets of a sweep walk forward; None leaves a setting as it is. Names are those of the options."""

    train_days: int | None = None
    test_days: int | None = None
    purge: int | None = None
    epochs: int | None = None
    assets: int | None = None
    warm: bool = False
    resume: str | None = None


def backtest(
    strategy: str,
    run: Run,
    *,
    book: Path | None,
    report: Path | None,
    compare: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """One run, kept beside the earlier runs. A `book` may name what it takes of its file: FILE#usdm."""
    whole = {name: path.absolute() if path else None for name, path in (("book", book), ("report", report))}
    own = flags(**whole, compare=compare, keep=True)
    line = follow(BACKTEST, [strategy, *run.words(), *own], quiet=quiet).document()
    if as_json:
        typer.echo(line)
        return
    try:
        document = msgspec.json.decode(line, type=Document)
    except msgspec.MsgspecError as error:
        raise UserError(f"the result cannot be read: {error}; ask for it with --json") from None
    console = Console(highlight=False)
    for part in backtest_tables(document):
        console.print(part)


def audit(strategy: str, run: Run, *, model: Path | None, as_json: bool, quiet: bool) -> None:
    """Both verdicts, as the audit itself words them; code 1 where integrity did not pass."""
    own = flags(model=model.absolute() if model else None, json=as_json)
    pass_on(RESEARCH, ["audit", strategy, *run.words(), *own], quiet)


def sweep(
    strategy: str,
    run: Run,
    walk: Walk,
    *,
    grid: Sequence[str],
    trials: int | None,
    on: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Many parameter sets, ranked as the sweep itself words it, which also says whose sets walk forward."""
    own = flags(grid=tuple(grid), trials=trials, on=on, **walk._asdict(), json=as_json)
    pass_on(RESEARCH, ["sweep", strategy, *run.words(), *own], quiet)


def walk_forward(strategy: str, words: Sequence[str], *, quiet: bool) -> None:
    """Segment after segment, as research itself words it; it checks the `words` of its options."""
    pass_on(RESEARCH, ["walk-forward", strategy, *words], quiet)


def pass_on(module: str, words: Sequence[str], quiet: bool) -> None:
    """Print what a job says: it may have found something, and fail for it."""
    ended = follow(module, words, quiet=quiet)
    typer.echo(ended.out, nl=False)
    ended.refuse()


def follow(module: str, arguments: Sequence[str], *, quiet: bool) -> Ended:
    """Run a job with its progress on stderr: a bar where somebody looks, else a line a step. Ctrl-C and SIGTERM
    end it, with exit code 130."""
    console = Console(stderr=True, highlight=False)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        auto_refresh=False,
        disable=quiet or not console.is_terminal,
    )
    task = bar.add_task("starting", total=1.0)
    said = ""

    def progress(done: float, text: str) -> None:
        nonlocal said
        bar.update(task, completed=done, description=text, refresh=True)
        if bar.disable and not quiet and text != said:
            typer.echo(text, err=True)
        said = text

    async def work() -> Ended:
        here = asyncio.current_task()
        assert here is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, here.cancel)
        return await jobs.run(module, arguments, progress)

    try:
        with bar:
            return asyncio.run(work())
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise UserError(f"interrupted at {said or 'its start'}", 130) from None
