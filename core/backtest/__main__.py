"""`python -m core.backtest STRATEGY`: one run over history in a process of its own.

Progress is told on stderr as JSON lines, the result is the run's `Document` as one JSON line on stdout.
"""

import argparse
import sys
from pathlib import Path

import msgspec

from core.backtest.asked import add_options, asked
from core.backtest.document import Analysis, analyse, document
from core.backtest.report import write_report
from core.backtest.run import compare, desk_of, index_of, run
from core.backtest.trials import Trials, trial
from core.clock import random_name, stamp, wall_ms
from core.config import Settings
from core.data.files import write_whole
from core.domain.backtest import BASELINES, ENGINES, Document
from core.domain.errors import UserError
from core.domain.market import Floats
from core.jobs import part, tell


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 done, 1 refused with one line on stderr, 2 wrong usage."""
    given = _parser().parse_args(arguments)
    try:
        told = _run(given)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.code
    print(msgspec.json.encode(told).decode())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("core.backtest", description="Run a strategy over history.")
    add_options(parser)
    parser.add_argument("--engine", choices=ENGINES, default="events")
    parser.add_argument("--compare", action="store_true", help="the baselines beside it")
    parser.add_argument("--report", type=Path, help="write the report to this HTML file")
    parser.add_argument("--keep", action="store_true", help="keep the run, with its report, under this home")
    return parser


def _run(given: argparse.Namespace) -> Document:
    settings, rule, prepared = asked(given)
    desk = desk_of(settings, prepared, rule, part(0.0, 0.3))
    alone = given.strategy in BASELINES
    others = compare(desk) if given.compare or alone else []
    if alone:
        result = next(other for other in others if other.strategy == given.strategy)
        others = [other for other in others if given.compare and other is not result]
    else:
        result = run(desk, given.engine, part(0.3, 0.9))
        others = [other for other in others if other.strategy != given.strategy]
    tell(0.9, "counting")
    trials = Trials(settings.paths.home)
    trials.record([trial(result)])
    told = analyse(result, trials.sharpes(result.source), seed=prepared.seed)
    beside = [analyse(other, seed=prepared.seed) for other in others]
    return _kept(told, beside, index_of(prepared.panel, prepared.start), settings, given)


def _kept(
    told: Analysis, beside: list[Analysis], market: Floats, settings: Settings, given: argparse.Namespace
) -> Document:
    """The document; with it the report and, in a folder of its own under this home, both, where asked for."""
    said, report = document(told, beside), given.report
    folder = settings.paths.home / "runs" / f"{stamp(wall_ms())}-{given.strategy}-{random_name()[:4]}"
    if given.keep:
        folder.mkdir(mode=0o700, parents=True)
        report = report or folder / "report.html"
    if report:
        tell(0.95, "drawing the report")
        write_report(report, told, beside, market)
        said = msgspec.structs.replace(said, report=str(report))
    if given.keep:
        said = msgspec.structs.replace(said, run=folder.name)
        write_whole(folder / "result.json", msgspec.json.encode(said))
    return said


if __name__ == "__main__":
    sys.exit(main())
