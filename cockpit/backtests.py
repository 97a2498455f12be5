"""What the backtest screen knows: the form that says what to run, the run at work, and the runs that were kept."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from core import jobs
from core.clock import in_thread
from core.domain.backtest import BASELINES, ENGINES, Document
from core.domain.errors import UserError

SHOWN = 100
"""Runs that are listed; older ones stay on disk."""


class Field(NamedTuple):
    """A line of the form. `choices` are walked with the arrow keys; where `free`, anything else may be typed.
    `empty` says what holds where nothing is given."""

    key: str
    default: str = ""
    choices: tuple[str, ...] = ()
    free: bool = True
    empty: str = ""


class Form:
    """What to run. Only what differs from the defaults is kept, and handed to the process.

    `parameters` are those of each strategy, with their defaults; `own` says what runs where no data is named."""

    def __init__(self, parameters: Mapping[str, Mapping[str, object]], own: str = "the demo's own market") -> None:
        self.parameters = parameters
        self.own = own
        self.data_sets: tuple[str, ...] = ()
        self._given: dict[str, str] = {}

    def fields(self) -> list[Field]:
        """What is run, on what."""
        empty = self.own if self.data_sets else "none: cockpit data import FILE"
        return [
            Field("strategy", next(iter(self.parameters), "divergence"), (*self.parameters, *BASELINES)),
            Field("data", "", ("", *self.data_sets), empty=empty),
            Field("funding", "", empty="as the data set has it"),
            Field("from", "", empty="the first bar"),
            Field("to", "", empty="the last bar"),
            Field("engine", ENGINES[0], ENGINES, free=False),
            Field("compare", "no", ("no", "yes"), free=False),
            Field("train-bars", "", empty="as config.toml says"),
            Field("seed", "", empty="as config.toml says"),
        ]

    def settings(self) -> list[Field]:
        """The chosen strategy's own parameters."""
        known = self.parameters.get(self.value("strategy"), {})
        return [Field(key, _text(value)) for key, value in known.items()]

    def _field(self, key: str) -> Field:
        for rows in (self.fields, self.settings):  # in this order: the settings hang on the strategy
            for row in rows():
                if row.key == key:
                    return row
        raise KeyError(key)

    def value(self, key: str) -> str:
        """What holds: the given value, else the default."""
        given = self._given.get(key)
        return self._field(key).default if given is None else given

    def changed(self, key: str) -> bool:
        """Whether another value than the default was given."""
        return key in self._given

    def give(self, key: str, text: str) -> None:
        """Set a value; the default, or nothing, takes it back."""
        text = text.strip()
        if text in ("", self._field(key).default):
            self._given.pop(key, None)
        else:
            self._given[key] = text

    def turn(self, key: str, step: int) -> None:
        """Give the next of the field's choices."""
        choices = self._field(key).choices
        if choices:
            value = self.value(key)
            at = choices.index(value) + step if value in choices else 0
            self.give(key, choices[at % len(choices)])

    def arguments(self) -> list[str]:
        """The words for `python -m core.backtest`. Files are named from where the terminal was started."""
        words = [self.value("strategy"), "--engine", self.value("engine")]
        for key in ("data", "funding", "from", "to", "train-bars", "seed"):
            if value := self.value(key):
                place = Path(value).expanduser()
                is_file = key in ("data", "funding") and value not in self.data_sets and place.exists()
                words += [f"--{key}", str(place.absolute()) if is_file else value]
        if self.value("compare") == "yes":
            words.append("--compare")
        changes = [key for key, *_ in self.settings() if self.changed(key)]
        return [*words, *(word for key in changes for word in ("--set", f"{key}={self.value(key)}"))]

    def title(self) -> str:
        """What would run, in a few words."""
        data = self.value("data")
        name = data if data in self.data_sets else Path(data).name
        return f"{self.value('strategy')} on {name or self.own}, {self.value('engine')}"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Run(NamedTuple):
    """A run that was kept: the name of its folder, when it ended, and what it found."""

    name: str
    ended_ms: int
    document: Document


@dataclass
class Job:
    """The run at work, or the last one. `text` is what it does, or why it ended."""

    title: str = ""
    progress: float = 0.0
    text: str = ""
    state: Literal["", "running", "done", "failed", "cancelled"] = ""


@dataclass
class Backtests:
    """Starts the one run at a time, and lists the runs under `home`. `changed` is called whenever something has."""

    home: Path
    lake: Path = Path()
    form: Form = field(default_factory=lambda: Form({}))
    options: tuple[str, ...] = ()
    """Words that every run is given, such as the settings' file."""
    module: str = "core.backtest"
    runs: list[Run] = field(default_factory=list)
    job: Job = field(default_factory=Job)
    changed: Callable[[], None] = lambda: None

    @property
    def running(self) -> bool:
        return self.job.state == "running"

    async def run(self) -> Document | None:
        """Run what the form says; None where it fails, with the reason in `job`. Cancelling ends the process."""
        job = self.job = Job(self.form.title(), 0.0, "starting", "running")
        self.changed()
        try:
            words = [*self.form.arguments(), "--keep", *self.options]
            ended = await jobs.run(self.module, words, self._progress)
            document = msgspec.json.decode(ended.document(), type=Document)
        except UserError as error:
            job.state, job.text = "failed", str(error)
        except msgspec.MsgspecError as error:
            job.state, job.text = "failed", f"the run's result cannot be read: {error}"
        except asyncio.CancelledError:
            job.state, job.text = "cancelled", "cancelled; nothing was kept"
            raise
        else:
            job.state, job.progress, job.text = "done", 1.0, document.verdict
            await self.refresh()
            return document
        finally:
            self.changed()
        return None

    def _progress(self, done: float, text: str) -> None:
        self.job.progress, self.job.text = min(max(done, 0.0), 1.0), text
        self.changed()

    async def refresh(self) -> None:
        """Look for data sets and for runs that came or went."""
        self.runs, self.form.data_sets = await in_thread(_look, self.home / "runs", self.lake, list(self.runs))
        self.changed()


def _look(folder: Path, lake: Path, known: list[Run]) -> tuple[list[Run], tuple[str, ...]]:
    """The newest runs, newest first, those in `known` not read again; and the names of the data sets."""
    before = {(run.name, run.ended_ms): run for run in known}
    found = []
    for path in folder.glob("*/result.json"):
        try:
            found.append((path.stat().st_mtime_ns // 1_000_000, path))
        except OSError:  # deleted meanwhile
            continue
    runs = []
    for ended, path in sorted(found, reverse=True)[:SHOWN]:
        run = before.get((path.parent.name, ended)) or _read(path, ended)
        if run is not None:
            runs.append(run)
    return runs, tuple(sorted(manifest.parent.name for manifest in lake.glob("*/manifest.json")))


def _read(path: Path, ended: int) -> Run | None:
    """None where it is not (or no longer) what this version writes: it cannot be shown beside the others."""
    try:
        return Run(path.parent.name, ended, msgspec.json.decode(path.read_bytes(), type=Document))
    except (OSError, msgspec.MsgspecError):
        return None
