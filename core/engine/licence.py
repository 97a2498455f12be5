"""What stands between a configuration and real money: keys, the account's name, a model, a rehearsal of this very
configuration by this very code, and a doctor who finds nothing.

A rehearsal is remembered in the home folder under the hash of what matters for trading and of the code: change
either, and it has to be rehearsed again. One that has failed is not forgotten for one that passes: the same seed on
the same code fails again.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

import core
from core.clock import iso, wall_ms
from core.config import Secrets, Settings
from core.data.files import write_whole
from core.domain.errors import UserError
from core.domain.health import Report
from core.engine import supervisor
from core.venues.okx.factory import Permit

APART = ("demo", "backtest", "train", "paths", "log", "notify")
"""Sections that no order of a live engine depends on. What is not named here matters: new ones too."""
EVERY_FAULT = "all"


class Rehearsal(msgspec.Struct, frozen=True):
    """A rehearsal as it ended: of which configuration and code (hashes), how many simulated days, from which seed,
    with which faults (`all`, `none` or a list), when (ms UTC), and what was found (`text`, where it failed)."""

    configuration: str
    code: str
    days: int
    seed: int
    faults: str
    at_ms: int
    passed: bool
    text: str = ""


def configuration(settings: Settings) -> str:
    """The hash of all that decides what is traded and how: every section that is not `APART`, the bundles that
    would go into service, and the sources of strategies that are not ours."""
    said = settings.model_dump(mode="json", exclude=set(APART))
    del said["venue"]["name"], said["engine"]["snapshot_hz"]
    paths = [settings.strategy.path(name) for name in settings.engine.strategies]
    own = [_sources(settings.beside(path)) for path in paths if path]
    return _hash(msgspec.json.encode([said, _bundles(settings), own], order="deterministic"))


def code() -> str:
    """The hash of every source of the engine."""
    return _sources(Path(core.__file__).parent)


def record(settings: Settings, *, days: int, seed: int, faults: str, passed: bool, text: str = "") -> Rehearsal:
    """Remember how a rehearsal of `settings` has ended. UserError where it cannot be written."""
    made = Rehearsal(configuration(settings), code(), days, seed, faults, wall_ms(), passed, text)
    place = _place(settings, made.configuration, made.code)
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(place, msgspec.json.encode([*_read(place), made]))
    except OSError as error:
        raise UserError(f"{place}: the rehearsal cannot be recorded: {error.strerror}") from None
    return made


def rehearsals(settings: Settings) -> list[Rehearsal]:
    """Those of this very configuration by this very code, oldest first."""
    return _read(_place(settings, configuration(settings), code()))


def missing(settings: Settings, account: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """What is still lacking before an engine may ask the exchange for real money, a line each; see `examined` for
    what only the exchange can tell."""
    lacking = []
    try:
        Secrets.load(environ=environ)
    except UserError as error:
        lacking.append(f"keys: {str(error).partition(', or use')[0]}")
    if not account:
        lacking.append("account: type its name when asked, or give it: --account NAME (its label or uid at OKX)")
    try:
        _bundles(settings)
    except UserError as error:
        return [*lacking, f"model: {error}"]
    try:
        return [*lacking, *_unrehearsed(settings, rehearsals(settings))]
    except UserError as error:
        return [*lacking, f"rehearsal: {error}"]


def permit(settings: Settings, account: str, environ: Mapping[str, str] | None = None) -> Permit:
    """Leave to connect to the account of that name. UserError: every line of what is missing."""
    if lacking := missing(settings, account, environ):
        raise UserError(_refused(lacking))
    return Permit(account)


def examined(report: Report) -> None:
    """The last door: UserError with every failure that the doctor has found."""
    if report.failures:
        raise UserError(_refused(f"doctor: {check.line}" for check in report.failures))


def _refused(lines: Iterable[str]) -> str:
    return "\n  ".join(("real money is refused; what is missing:", *lines))


def _unrehearsed(settings: Settings, done: list[Rehearsal]) -> list[str]:
    """Why the rehearsals of this configuration are not enough."""
    days = settings.live.rehearsal_days
    command = f"cockpit rehearse{f' --config {settings.file}' if settings.file else ''} --days {days} --faults all"
    if failed := [each for each in done if not each.passed]:
        last = failed[-1]
        return [f"rehearsal: the one of {iso(last.at_ms)} failed (seed {last.seed}: {last.text}): mend that first"]
    if not done:
        return [f"rehearsal: none of this configuration by this version of cockpit: {command}"]
    whole = [each for each in done if each.faults == EVERY_FAULT]
    if not whole:
        return [f"rehearsal: only with faults {done[-1].faults}, not with all of them: {command}"]
    longest = max(each.days for each in whole)
    return [] if longest >= days else [f"rehearsal: of {longest} days, at least {days} are needed: {command}"]


def _bundles(settings: Settings) -> list[str]:
    """The names of the bundles that would go into service; UserError where there is none."""
    return [supervisor.latest_bundle(settings, kind).stem for kind in supervisor.kinds_of(settings)]


def _place(settings: Settings, configuration: str, code: str) -> Path:
    return settings.paths.home / "rehearsals" / f"{configuration[:16]}-{code[:16]}.json"


def _read(place: Path) -> list[Rehearsal]:
    try:
        return msgspec.json.decode(place.read_bytes(), type=list[Rehearsal])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError) as error:
        raise UserError(f"{place}: cannot be read as rehearsals: remove it and rehearse again ({error})") from None


def _sources(place: Path) -> str:
    """The hash of a Python file, or of all in a folder."""
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    said = hashlib.sha256()
    try:
        for file in files:
            name = file.relative_to(place) if place.is_dir() else file.name
            said.update(os.fsencode(name) + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    except OSError as error:
        raise UserError(f"{place}: cannot be read: {error.strerror}") from None
    return said.hexdigest()


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
