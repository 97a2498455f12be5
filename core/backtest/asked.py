"""What a command line asks for that runs a strategy over history: its options, and what they lead to."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from core.backtest.prepare import Prepared, Request, prepare
from core.backtest.run import rule_of
from core.config import SEEDS, Settings, load
from core.data.source import moment
from core.domain.backtest import BASELINES
from core.domain.errors import UserError
from core.jobs import tell
from core.strategies.registry import Strategy


def add_options(parser: ArgumentParser) -> None:
    """The strategy, the data, the period, and what to change of the configuration."""
    parser.add_argument("strategy")
    parser.add_argument("--data", default="", help="a data set of the lake, or a file of candles")
    parser.add_argument("--funding", type=Path, help="funding rates, beside a file")
    parser.add_argument("--manifest", default="", help="the hash that the data set's manifest must have")
    parser.add_argument("--from", dest="start", help="first traded bar")
    parser.add_argument("--to", dest="end", help="first bar that is not traded any more")
    parser.add_argument("--train-bars", type=int, help="bars of history that a model learns from")
    parser.add_argument("--seed", type=int, help="of all that is drawn: the market, and how models are trained")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a strategy's parameter")
    parser.add_argument("--book", type=Path, help="real best bids and asks, which orders meet: FILE, or FILE#usdm")
    parser.add_argument("--config", type=Path)


def asked(given: Namespace) -> tuple[Settings, Strategy, Prepared]:
    """The configuration with the parameters of `--set`, the strategy, and the data. UserError for what is wrong."""
    rule = rule_of(given.strategy, load(given.config))
    settings = load(given.config, options=_changes(given, rule))
    rule.params_of(settings)  # A mistake in them is told before the data are read.
    tell(0.0, "reading the data")
    request = Request(
        data=given.data,
        funding=given.funding,
        start_ms=moment(given.start, "--from") if given.start else None,
        end_ms=moment(given.end, "--to") if given.end else None,
        train_bars=given.train_bars,
        manifest=given.manifest,
    )
    return settings, rule, prepare(settings, request)


def _changes(given: Namespace, rule: Strategy) -> dict[str, str]:
    """The words of `--set`, the seed and the book, as options of the configuration."""
    options = {"backtest.book": str(given.book.absolute())} if given.book else {}
    options |= dict.fromkeys(SEEDS, str(given.seed)) if given.seed is not None else {}
    for word in given.set:
        key, equals, value = word.partition("=")
        if not (key.strip() and equals and value.strip()):
            raise UserError(f"--set {word}: write it like --set KEY=VALUE", code=2)
        if given.strategy in BASELINES:
            raise UserError(f"--set {word}: {given.strategy} is a baseline, which has nothing to set", code=2)
        options[f"strategy.{rule.table or rule.name}.{key.strip()}"] = value.strip()
    return options
