"""`python -m core.engine.rehearsal`: what `cockpit rehearse` starts. Progress on stderr, what was found on stdout.

Exit code 0: nothing was found. 1: an invariant did not hold, or a refusal."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

import msgspec

from core.config import Settings, load
from core.domain.errors import UserError
from core.engine import licence, supervisor
from core.engine.rehearsal.campaign import Campaign, campaign
from core.engine.rehearsal.faults import kinds_of
from core.jobs import part, tell


def main(arguments: list[str] | None = None) -> int:
    given = _options().parse_args(arguments)
    try:
        settings, kinds = load(given.config), kinds_of(given.faults)
        if given.days < 1:
            raise UserError(f"--days {given.days}: rehearse at least one day")
        models = asyncio.run(_models(settings))
        share = 0.1 if models else 0.0
        found = campaign(settings, models, given.seed, given.days, kinds, given.workers, part(share, 1.0))
        text = found.failed.broken if found.failed else ""
        licence.record(settings, days=given.days, seed=given.seed, faults=found.faults, passed=not text, text=text)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.code
    print(msgspec.json.encode(found).decode() if given.json else "\n".join(words(found)))
    return 1 if found.failed else 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cockpit rehearse", description=__doc__)
    parser.add_argument("--config", type=Path, default=None)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--faults", default="all")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true")
    return parser


async def _models(settings: Settings) -> dict[str, Path]:
    """The bundles that the strategies of this configuration need: trained as a demo's are."""
    kinds = supervisor.kinds_of(settings)
    if not kinds:
        return {}
    settings.paths.create()
    market = await supervisor.prepare_market(settings, False, part(0.0, 0.02))
    return {kind: await supervisor.train(settings, market, kind, part(0.02, 0.1)) for kind in kinds}


def words(found: Campaign) -> list[str]:
    """What a person reads."""
    met = ", ".join(f"{count} {kind}" for kind, count in found.met.items() if count) or "none"
    lines = [
        f"rehearsed {found.finished:g} of {found.days} simulated days, seed {found.seed}, faults {found.faults}:"
        f" {found.lives} lives, {found.intents} intents, {found.orders} orders, {found.fills} fills",
        f"met: {met}",
        f"{found.finished / max(found.cpu_s, 0.1) * 3600:.0f} simulated days an hour of one core",
    ]
    if found.failed is None:
        return [*lines, "nothing was found: every invariant held, and everything settled each day"]
    return [
        *lines,
        *(f"  {line}" for line in found.failed.told[-15:]),
        f"BROKEN on day {found.failed.days:.2f} of seed {found.failed.seed}: {found.failed.broken}",
        f"see it again: {found.command}",
    ]


if __name__ == "__main__":
    tell(0.0, "setting the stage")
    sys.exit(main())
