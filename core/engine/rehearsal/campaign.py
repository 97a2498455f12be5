"""Many rehearsals side by side, the first failure made small, and told as one command."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import msgspec

from core.config import Settings
from core.engine.rehearsal.faults import KINDS
from core.engine.rehearsal.run import Outcome, rehearse
from core.jobs import QUIET, Progress

RUN_DAYS = 5
"""Simulated days of one rehearsal; more of them are other seeds: the seed, the one after it, and so on."""


class Campaign(msgspec.Struct, frozen=True):
    """What came of `days` simulated days; `failed` is the first that broke, made as small as it would go."""

    days: int
    seed: int
    faults: str
    finished: float
    cpu_s: float
    lives: int
    intents: int
    orders: int
    fills: int
    met: dict[str, int]
    failed: Outcome | None = None
    command: str = ""


def plan(seed: int, days: int) -> list[tuple[int, int]]:
    """(seed, days) of each rehearsal."""
    whole, rest = divmod(days, RUN_DAYS)
    return [(seed + i, RUN_DAYS) for i in range(whole)] + ([(seed + whole, rest)] if rest else [])


def campaign(
    settings: Settings,
    models: Mapping[str, Path],
    seed: int,
    days: int,
    kinds: Sequence[str],
    workers: int,
    progress: Progress,
) -> Campaign:
    """Rehearse, in `workers` processes; at the first that breaks the rest are given up and it is made smaller."""
    done: list[Outcome] = []
    broken: Outcome | None = None
    for outcome in _outcomes(settings, models, plan(seed, days), kinds, workers):
        done.append(outcome)
        lived = sum(each.days for each in done)
        progress(min(lived / days, 1.0), f"{lived:.0f} of {days} days, {sum(o.lives for o in done)} lives")
        if outcome.broken:
            progress(
                min(lived / days, 1.0), f"seed {outcome.seed} broke on day {outcome.days:.1f}: making it smaller"
            )
            broken = smaller(outcome, partial(rehearse, settings, models, outcome.seed))
            break
    told = "all" if set(kinds) == set(KINDS) else ",".join(kinds) or "none"
    met: dict[str, int] = {}
    for each in done:
        for kind, count in each.faults.items():
            met[kind] = met.get(kind, 0) + count
    return Campaign(
        days, seed, told, round(sum(o.days for o in done), 2), round(sum(o.cpu_s for o in done), 1),
        sum(o.lives for o in done), sum(o.intents for o in done), sum(o.orders for o in done),
        sum(o.fills for o in done), met, broken, _command(settings, broken) if broken else "",
    )  # fmt: skip


def _outcomes(
    settings: Settings,
    models: Mapping[str, Path],
    runs: Sequence[tuple[int, int]],
    kinds: Sequence[str],
    workers: int,
) -> Iterator[Outcome]:
    """Each as it ends. One alone runs in this process, where a debugger sees it."""
    one = partial(_one, settings, models, tuple(kinds))
    if workers <= 1 or len(runs) == 1:
        yield from map(one, runs)
        return
    os.environ.update(QUIET)
    with get_context("spawn").Pool(workers) as pool:  # Left early, it ends what still runs.
        yield from pool.imap_unordered(one, runs)


def _one(settings: Settings, models: Mapping[str, Path], kinds: Sequence[str], run: tuple[int, int]) -> Outcome:
    seed, days = run
    return rehearse(settings, models, seed, days, kinds)


def smaller(broken: Outcome, again: Callable[[int, Sequence[str]], Outcome]) -> Outcome:
    """The same failure from fewer days and fewer kinds of faults, as far as leaving out one after another goes."""
    least, kinds = int(broken.days) + 1, list(broken.kinds)
    for kind in sorted(broken.kinds, key=lambda kind: broken.faults.get(kind, 0)):
        few = [each for each in kinds if each != kind]
        tried = again(least, few)
        if tried.broken:
            broken, kinds, least = tried, few, int(tried.days) + 1
    return broken


def _command(settings: Settings, broken: Outcome) -> str:
    config = f"--config {settings.file} " if settings.file else ""
    faults = ",".join(broken.kinds) or "none"
    return f"cockpit rehearse {config}--days {int(broken.days) + 1} --seed {broken.seed} --faults {faults}"
