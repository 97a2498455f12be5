"""The engine's process: `python -m core.engine demo|run [options]`. The commands of `cockpit` start it."""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from core.config import SEEDS, Settings, load
from core.domain.errors import UserError
from core.engine import licence
from core.engine.session import Session


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("core.engine", description="The engine, in the foreground.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    demo, run = kinds.add_parser("demo"), kinds.add_parser("run")
    for sub in (demo, run):
        sub.add_argument("--config", type=Path)
        sub.add_argument("--json", action="store_true", help="one JSON document on stdout at the end")
        sub.add_argument("--quiet", action="store_true")
        sub.add_argument("--strategy", action="append", dest="strategies")
        sub.add_argument("--headless", action="store_true", help="end after the last bar; a line a bar")
    for name, kind in (
        ("train-bars", int),
        ("bars", int),
        ("seed", int),
        ("speed", str),
        ("replay", str),
        ("funding", str),
    ):
        demo.add_argument(f"--{name}", type=kind)
    demo.add_argument("--resume", action="store_true", help="go on with the last session's account and ledger")
    run.add_argument("--venue", default=None)
    run.add_argument("--live", action="store_true", help="real money, on venue okx")
    run.add_argument("--account", default="", metavar="NAME", help="label or uid of the account: with --live")
    return parser.parse_args()


def _settings(arguments: argparse.Namespace) -> Settings:
    options: dict[str, object] = {}
    if arguments.strategies:
        options["engine.strategies"] = arguments.strategies
    if arguments.kind == "demo":
        options |= {"venue.name": "demo", **dict.fromkeys(SEEDS, arguments.seed)}
        for name in ("train_bars", "bars", "speed", "replay", "funding"):
            value = getattr(arguments, name)
            if name == "speed" and value not in (None, "max"):
                value = _number(value)
            options[f"demo.{name}"] = value
    elif arguments.venue is not None:
        options["venue.name"] = arguments.venue
    return load(arguments.config, options=options)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"--speed {text}: a number of market seconds per second, or max", code=2) from None


def main() -> int:
    """Run until the last bar, a signal or a stop command. Exit codes as `cockpit --help` tells."""
    arguments = _arguments()
    try:
        settings = _settings(arguments)
        live = arguments.kind == "run" and arguments.live
        settings.venue.refuse_real_money(live)
        permit = licence.permit(settings, arguments.account) if live else None
        resume = arguments.kind == "run" or arguments.resume
        session = Session(
            settings,
            resume=resume,
            headless=arguments.headless,
            quiet=arguments.quiet or arguments.json,
            permit=permit,
        )
        result = asyncio.run(session.run())
    except UserError as error:
        print(error, file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return 130
    if arguments.json and result is not None:
        print(json.dumps(result, indent=2))
    return session.code


if __name__ == "__main__":
    sys.exit(main())
