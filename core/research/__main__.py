"""`python -m core.research audit|sweep|walk-forward STRATEGY`: questions asked of many runs, in their own process.

Progress is told on stderr as JSON lines; the result is one JSON line on stdout with `--json`, else text.
"""

import argparse
import sys
from pathlib import Path

import msgspec

from core.backtest.asked import add_options, asked
from core.backtest.prepare import bundle_of
from core.backtest.result import Result
from core.backtest.run import assumptions_of, desk_of
from core.backtest.trials import Trials, trial
from core.domain.audit import Audit
from core.domain.backtest import BASELINES
from core.domain.errors import UserError
from core.domain.market import Floats
from core.jobs import part
from core.models.kinds import loaded
from core.research.audit import Task, audit, audit_baseline
from core.research.sweep import axes_of, refuse_unknown, swept, text
from core.research.words import lines

PREPARED = 0.3
"""Share of the work that is done when data and model are at hand."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 done and passed, 1 refused or not passed with one line on stderr, 2 wrong usage."""
    given = _parser().parse_args(arguments)
    try:
        if given.command == "audit":
            return _audited(given)
        return _walked(given) if given.command == "walk-forward" or given.strategy == "cluster" else _swept(given)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("core.research", description="Questions asked of many runs.")
    commands = parser.add_subparsers(required=True, dest="command")
    audited = commands.add_parser("audit", help="can a strategy's figures be trusted, and is there an edge?")
    audited.add_argument("--model", type=Path, help="a bundle to audit, instead of one trained before the period")
    varied = commands.add_parser("sweep", help="run a strategy with many sets of parameters")
    varied.add_argument(
        "--grid", action="extend", nargs="+", default=[], metavar="KEY=V1,V2", help="values of a parameter"
    )
    varied.add_argument("--trials", type=int, help="so many random sets, drawn from the grid")
    varied.add_argument("--on", default="local", help="where it runs")
    walked = commands.add_parser("walk-forward", help="train on the past, trade what follows, slide")
    walked.add_argument("--report", type=Path, metavar="FILE", help="the report, one HTML file, here as well")
    for command in (varied, walked):
        _walk_options(command)
    for command in (audited, varied, walked):
        add_options(command)
        command.add_argument("--json", action="store_true", help="the result as one JSON line")
    return parser


def _walk_options(command: argparse.ArgumentParser) -> None:
    """How to walk forward; of a sweep, only that of the cluster model does."""
    command.add_argument("--train-days", type=int, metavar="N", help="days of the market to learn from (252)")
    command.add_argument("--test-days", type=int, metavar="N", help="days of the market to test on, and slide (63)")
    command.add_argument("--purge", type=int, default=0, metavar="BARS", help="left out between both")
    command.add_argument("--epochs", type=int, metavar="N", help="of each training")
    command.add_argument("--assets", type=int, metavar="N", help="the N with the longest history (default: all)")
    command.add_argument("--warm", action="store_true", help="begin each model with the one before")
    command.add_argument("--resume", metavar="ID", help="go on with one that was interrupted")


def _audited(given: argparse.Namespace) -> int:
    told = _audit(given)
    print(msgspec.json.encode(told).decode() if given.json else lines(told))
    if told.integrity.passed:
        return 0
    first, *others = told.integrity.findings
    more = f" (and {len(others)} more)" if others else ""
    print(f"{told.strategy}: integrity failed: {first}{more}", file=sys.stderr)
    return 1


def _audit(given: argparse.Namespace) -> Audit:
    settings, rule, prepared = asked(given)
    trials = Trials(settings.paths.home)

    def sharpes(result: Result) -> Floats:
        trials.record([trial(result)])
        return trials.sharpes(result.source)

    task = Task(settings, prepared, assumptions_of(settings), sharpes, part(PREPARED, 1.0))
    if given.strategy in BASELINES:
        return audit_baseline(task, given.strategy)
    if not rule.model:
        return audit(task, rule, None)
    if given.model:
        return audit(task, rule, loaded(rule.model, given.model))
    return audit(task, rule, bundle_of(settings, prepared, rule.model, part(0.0, PREPARED)))


def _walked(given: argparse.Namespace) -> int:
    from core.research import walk_command  # brings torch, which the others do without

    if given.train_bars is not None:
        raise UserError(f"--train-bars {given.train_bars}: a walk-forward takes --train-days", code=2)
    _on_this_machine(getattr(given, "on", "local"))
    print(walk_command.walk_forward(given) if given.command == "walk-forward" else walk_command.sweep(given))
    return 0


def _on_this_machine(place: str) -> None:
    if place != "local":
        raise UserError(f"--on {place}: no such place is configured; sweeps run here: --on local", code=2)


def _swept(given: argparse.Namespace) -> int:
    axes = axes_of(given.grid)
    _on_this_machine(given.on)
    own = ("train_days", "test_days", "epochs", "assets", "warm", "purge", "resume")
    if wrong := next((name for name in own if getattr(given, name)), ""):
        raise UserError(f"--{wrong.replace('_', '-')}: goes with a walk-forward, as of `sweep cluster`", code=2)
    if given.strategy in BASELINES:
        raise UserError(f"{given.strategy}: a baseline keeps its customary parameters; sweep a strategy", code=2)
    settings, rule, prepared = asked(given)
    refuse_unknown(axes, rule.params_of(settings))
    desk = desk_of(settings, prepared, rule, part(0.0, PREPARED))
    told = swept(desk, axes, given.trials, Trials(settings.paths.home), part(PREPARED, 1.0))
    print(msgspec.json.encode(told).decode() if given.json else text(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
