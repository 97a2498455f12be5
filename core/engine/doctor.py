"""`cockpit doctor`: is all in order before money hangs on it? It looks, and changes nothing.

`python -m core.engine.doctor [--venue NAME] [--json]`: exit code 0 where nothing is bad, else 1; prints no secret.
"""

import argparse
import asyncio
import fcntl
import os
import stat
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import msgspec

from core.backtest.fees import fees
from core.clock import in_thread, wall_ms
from core.config import Secrets, Settings, load
from core.config.secrets import SECRET_NAMES
from core.domain.errors import UserError
from core.domain.health import Check, Level, Report
from core.domain.instrument import Instrument
from core.engine import supervisor
from core.engine.health import free_mb, level_of
from core.engine.reach import reader
from core.execution.preflight import Expected, Known, preflight
from core.models.bundle import check_universe
from core.models.kinds import loaded
from core.portfolio.books import Books, InvariantError
from core.portfolio.events import AnyEvent, Listed
from core.portfolio.ledger import peek
from core.strategies.registry import strategy
from core.venues.port import Venue, VenueError

IN_USE = "another engine has it open"
WORDS = {"good": "ok", "warn": "warn", "bad": "fail"}


async def examine(settings: Settings) -> Report:
    """Everything that can be looked at without trading. Never raises: what cannot be looked at is a bad check."""
    checks = [*_asked("configuration", lambda: configuration(settings)), *_asked("keys", lambda: keys(settings))]
    checks += [*folders(settings), disk(settings), lock(settings)]
    events, told = await in_thread(ledger, settings)
    checks += [told, *await in_thread(lambda: list(_asked("models", lambda: models(settings))))]
    checks += await exchange(settings, events)
    return Report(wall_ms(), tuple(checks))


def _asked(name: str, look: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """The checks of one look; a refusal, which names the way out, is a bad one."""
    try:
        yield from look()
    except UserError as error:
        yield Check(name, "bad", str(error))


def configuration(settings: Settings) -> Iterator[Check]:
    """The file was read; what runs can be made: strategies, fees."""
    for name in settings.engine.strategies:
        strategy(name, settings)
    fees(settings.backtest.fees)
    where = str(settings.file) if settings.file else "the defaults (no config.toml here)"
    yield Check(
        "configuration", "good", f"{where}; {', '.join(settings.engine.strategies)} on {settings.venue.name}"
    )


def keys(settings: Settings, folder: Path | None = None) -> Iterator[Check]:
    """Keys are there where they are needed, and nobody else may read them."""
    if settings.venue.name in ("demo", "shadow"):
        yield Check("keys", "good", f"venue {settings.venue.name} needs none")
        return
    Secrets.load(folder)
    file = (folder or Path.cwd()) / ".env"
    if file.exists() and stat.S_IMODE(file.stat().st_mode) & 0o077:
        yield Check("keys", "warn", f"{file} may be read by others", f"chmod 600 {file}")
    else:
        yield Check("keys", "good", f"{', '.join(SECRET_NAMES)} are set")


def folders(settings: Settings) -> Iterator[Check]:
    """State and socket are the owner's alone."""
    for name, folder in (("home", settings.paths.home), ("socket", settings.paths.socket.parent)):
        if not folder.exists():
            yield Check(name, "good", f"{folder} is made at the first start")
        elif not os.access(folder, os.W_OK | os.X_OK):
            yield Check(
                name, "bad", f"{folder} cannot be written", "give it back to this user, or set COCKPIT_HOME"
            )
        elif stat.S_IMODE(folder.stat().st_mode) & 0o077:
            yield Check(name, "bad", f"{folder} may be entered by others", f"chmod 700 {folder}")
        else:
            yield Check(name, "good", f"{folder} is this user's alone")


def disk(settings: Settings) -> Check:
    """Room for the ledger, by the thresholds of [health]."""
    home = settings.paths.home
    free = free_mb(next(folder for folder in (home, *home.parents) if folder.exists()))
    level = level_of(free, settings.health.disk_mb, falling=True)
    way = "" if level == "good" else "free some space: a ledger that cannot be written ends the engine"
    return Check("disk", level, f"{free / 1000:.1f} GB free", way)


def lock(settings: Settings) -> Check:
    """Whether an engine runs in this home: a lock does not outlive its process, however that ended."""
    try:
        with Path(f"{settings.paths.socket}.lock").open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return Check("lock", "warn", "an engine runs in this home", "another one is refused: cockpit stop")
    except OSError:
        pass
    return Check("lock", "good", "no engine runs in this home")


def ledger(settings: Settings) -> tuple[list[AnyEvent], Check]:
    """The ledger opens, every event can be read, and all of them fold into books that add up."""
    path = settings.paths.ledger(settings.venue.name)
    if not path.exists():
        return [], Check("ledger", "good", "none yet: it begins with the first run")
    try:
        events = peek(path)
        if events and not _remembered(events):
            return [], Check("ledger", "good", f"{len(events):,} events can be read; the next start folds them")
        books = _folded(events)
        books.check()
    except UserError as error:
        if IN_USE in str(error) and lock(settings).level == "warn":
            return [], Check("ledger", "good", "in use by the running engine, which folded it at its start")
        return [], Check("ledger", "bad", str(error))
    except InvariantError as error:
        why = f"{path}: its events contradict each other: {str(error).partition(': ')[0]}"
        return [], Check(
            "ledger", "bad", why, "restore it from a backup, or begin a new one and accept the positions"
        )
    held = ", ".join(f"{holding.size} {name}" for name, holding in books.account.open.items()) or "flat"
    return events, Check(
        "ledger", "good", f"{len(events):,} events fold: cash {books.cash:.2f} {books.currency}, {held}"
    )


def _folded(events: list[AnyEvent]) -> Books:
    """The books that the events make, with instruments as the ledger remembers them."""
    books = Books(_remembered(events))
    for event in events:
        books.apply(event)
    return books


def _remembered(events: list[AnyEvent]) -> dict[str, Instrument]:
    """Instruments as the ledger tells them."""
    return {spec.id: spec for event in events if isinstance(event, Listed) for spec in event.instruments}


def models(settings: Settings) -> Iterator[Check]:
    """Each strategy's model is there, whole, and made for this universe."""
    kinds = supervisor.kinds_of(settings)
    if settings.venue.name == "demo" or not kinds:
        yield Check("models", "good", "trained at the start of a demo" if kinds else "no strategy needs one")
        return
    for kind in kinds:
        path = supervisor.latest_bundle(settings, kind)
        bundle = loaded(kind, path)
        check_universe(bundle, settings.universe.assets, settings.universe.bar_ms)
        yield Check("models", "good", f"{kind}: {path.name}")


async def exchange(settings: Settings, events: list[AnyEvent]) -> list[Check]:
    """The exchange answers, and its conditions are what the settings take for granted."""
    if settings.venue.name == "shadow":
        return [Check("exchange", "good", "its public half alone is used, and it is asked at the start")]
    try:
        venue = reader(settings)
    except UserError as error:
        level: Level = "good" if settings.venue.name == "demo" else "bad"
        return [Check("exchange", level, str(error))]
    try:
        await venue.look()
        return await conditions(settings, venue, events)
    except VenueError as error:
        return [Check("exchange", "bad", str(error))]
    finally:
        await venue.close()


async def conditions(settings: Settings, venue: Venue, events: list[AnyEvent]) -> list[Check]:
    """What a preflight would find. The leverage is set at the start: what it is now is only told."""
    names = [f"{asset}-{settings.universe.quote}-SWAP" for asset in settings.universe.assets]
    missing = [name for name in names if name not in venue.instruments]
    checks = [
        Check("exchange", "good", f"{venue.capabilities.name} answers, {len(venue.instruments)} swaps listed")
    ]
    if missing:
        way = "take them out of universe.assets"
        checks.append(Check("universe", "bad", f"not listed: {', '.join(missing)}", way))
    held = {name: holding.size for name, holding in _folded(events).account.open.items()}
    known = Known(_remembered(events), held)
    risk = settings.risk
    expected = Expected(
        Decimal(settings.venue.leverage),
        risk.max_gross_usdt,
        risk.maintenance_rate,
        fees(settings.backtest.fees)[1],
    )
    found = await preflight(venue, [name for name in names if name not in missing], expected, known)
    return checks + [_later(check) for check in found]


def _later(check: Check) -> Check:
    if check.name == "leverage" and check.level == "bad":
        return Check("leverage", "warn", check.text, "the engine sets it when it starts")
    return check


def render(report: Report) -> str:
    """A line a check, the worst word at the end."""
    lines = [f"{WORDS[check.level]:<5}{check.line}" for check in report.checks]
    bad, warned = len(report.failures), sum(check.level == "warn" for check in report.checks)
    end = f"{bad} of {len(report.checks)} checks failed" if bad else f"all is well, {warned} warnings"
    return "\n".join([*lines, "", end])


def main() -> int:
    """Examine, print, and say by the exit code whether anything is bad."""
    parser = argparse.ArgumentParser("core.engine.doctor", description="Is all in order? Nothing is changed.")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--venue")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        options = {"venue.name": arguments.venue} if arguments.venue else {}
        report = asyncio.run(examine(load(arguments.config, options=options)))
    except UserError as error:  # The configuration cannot be read: there is nothing else to look by.
        report = Report(wall_ms(), (Check("configuration", "bad", str(error)),))
    if arguments.json:
        document = {"passed": report.passed, **msgspec.to_builtins(report)}
        print(msgspec.json.format(msgspec.json.encode(document)).decode())
    else:
        print(render(report))
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
