"""`python -m core.research audit STRATEGY`: questions asked of many runs, in a process of their own.

Progress is told on stderr as JSON lines; the result is one JSON line on stdout with `--json`, else text.
"""

import argparse
import json
import sys
from pathlib import Path

import msgspec

from core.backtest.prepare import Request, bundle_of, moment, prepare
from core.backtest.result import Result
from core.backtest.run import assumptions_of
from core.backtest.trials import Trials, trial
from core.config import Settings, load
from core.domain.audit import Audit
from core.domain.errors import UserError
from core.domain.market import Floats
from core.models.bundle import load as load_bundle
from core.research.audit import BASELINES, Progress, Task, audit, audit_baseline
from core.research.text import lines
from core.strategies.registry import strategy

FOUND = 1
"""Exit code of an audit that integrity did not pass; the cause is the last line on stderr."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 done and passed, 1 refused or not passed with one line on stderr, 2 wrong usage."""
    given = _parser().parse_args(arguments)
    try:
        told = _audit(given)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.code
    print(msgspec.json.encode(told).decode() if given.json else lines(told))
    if told.integrity.passed:
        return 0
    first, *others = told.integrity.findings
    more = f" (and {len(others)} more)" if others else ""
    print(f"{told.strategy}: integrity failed: {first}{more}", file=sys.stderr)
    return FOUND


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("core.research", description="Questions asked of many runs.")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("audit", help="can a strategy's figures be trusted, and is there an edge?")
    command.add_argument("strategy", help=f"a strategy, or a baseline: {', '.join(BASELINES)}")
    command.add_argument("--data", default="", help="a data set of the lake, or a file of candles")
    command.add_argument("--funding", type=Path, help="funding rates, beside a file")
    command.add_argument("--manifest", default="", help="the hash that the data set's manifest must have")
    command.add_argument("--from", dest="start", help="first traded bar")
    command.add_argument("--to", dest="end", help="first bar that is not traded any more")
    command.add_argument("--train-bars", type=int, help="bars of history that a model learns from")
    command.add_argument("--model", type=Path, help="a bundle to audit, instead of one trained before the period")
    command.add_argument("--seed", type=int)
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a strategy's parameter")
    command.add_argument("--json", action="store_true", help="the result as one JSON line")
    command.add_argument("--config", type=Path)
    return parser


def _audit(given: argparse.Namespace) -> Audit:
    settings = _settings(given)
    _tell(0.0, "reading the data")
    request = Request(
        data=given.data,
        funding=given.funding,
        start_ms=moment(given.start, "--from") if given.start else None,
        end_ms=moment(given.end, "--to") if given.end else None,
        train_bars=given.train_bars,
        seed=given.seed,
        manifest=given.manifest,
    )
    prepared = prepare(settings, request)
    trials = Trials(settings.paths.home)

    def sharpes(result: Result) -> Floats:
        trials.record([trial(result)])
        return trials.sharpes(result.source)

    task = Task(settings, prepared, assumptions_of(settings), sharpes, _part(0.3, 1.0))
    if given.strategy in BASELINES:
        return audit_baseline(task, given.strategy)
    rule = strategy(given.strategy, settings)
    if not rule.needs_model:
        return audit(task, rule, None)
    return audit(
        task, rule, load_bundle(given.model) if given.model else bundle_of(settings, prepared, _part(0.0, 0.3))
    )


def _settings(given: argparse.Namespace) -> Settings:
    """The configuration, with the parameters given by `--set` in the strategy's own table."""
    settings = load(given.config)
    table = "divergence" if given.strategy in BASELINES else strategy(given.strategy, settings).table
    changes = {}
    for text in given.set:
        key, _, value = text.partition("=")
        changes[f"strategy.{table or given.strategy}.{key.strip()}"] = value.strip()
    return load(given.config, options=changes) if changes else settings


def _part(low: float, high: float) -> Progress:
    """Progress within a share of the whole."""
    return lambda share, text: _tell(low + share * (high - low), text)


def _tell(done: float, text: str) -> None:
    print(json.dumps({"progress": round(done, 3), "text": text}), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
