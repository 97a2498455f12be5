"""The local exchange as a process of its own: `python -m core.venues.okx_local --home DIR --panel FILE`."""

import argparse
import asyncio
import json
import os
import signal
import sys
from decimal import Decimal
from pathlib import Path

from core.data.panel import Panel
from core.domain.errors import UserError
from core.venues.okx_local.auth import Keys
from core.venues.okx_local.server import LOCKSTEP, LocalExchange, Settings


def _speed(text: str) -> float:
    speed = LOCKSTEP if text == "max" else float(text)
    if text != "max" and not speed > 0:
        raise argparse.ArgumentTypeError(f"{text!r}: market seconds a second (more than 0), or max")
    return speed


def _arguments() -> argparse.Namespace:
    usual = Settings()
    parser = argparse.ArgumentParser("core.venues.okx_local", description="A local exchange that speaks OKX v5.")
    add = parser.add_argument
    add("--home", type=Path, required=True, help="folder of the account and of exchange.json (port, pid)")
    add("--panel", type=Path, required=True, help="market data, as Panel.save writes it")
    add("--speed", type=_speed, default=usual.speed, help="market seconds a second, or max: lockstep")
    add("--start", type=int, default=usual.start, help="first bar to stream; those before are history")
    add("--bars", type=int, default=usual.bars, help="bars to stream (0: all)")
    add("--ticks", type=int, default=usual.ticks, help="prices within a bar (0: as the speed suggests)")
    add("--seed", type=int, default=usual.seed, help="of the prices within bars")
    add("--cash", type=Decimal, default=usual.cash, help="USDT of a fresh account")
    add("--port", type=int, default=usual.port, help="on 127.0.0.1; 0: a free one")
    add("--idle-exit", type=float, default=usual.idle_exit, help="end after so many seconds without client")
    add("--no-wait", dest="wait", action="store_false", help="move the market before anybody listens")
    add("--resume", action="store_true", help="go on with the account and market found in the folder")
    return parser.parse_args()


def _keys() -> Keys:
    usual, env = Keys(), os.environ
    return Keys(
        env.get("OKX_LOCAL_KEY", usual.key),
        env.get("OKX_LOCAL_SECRET", usual.secret),
        env.get("OKX_LOCAL_PASSPHRASE", usual.passphrase),
    )


async def _serve(arguments: argparse.Namespace) -> None:
    options = {name: value for name, value in vars(arguments).items() if name not in ("home", "panel")}
    panel = Panel.load(arguments.panel)
    async with LocalExchange(panel, arguments.home, Settings(**options), _keys()) as exchange:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, exchange.ended.set)
        ready = json.dumps({"port": exchange.port, "pid": os.getpid()})
        target = arguments.home / "exchange.json"
        draft = target.with_suffix(".tmp")
        draft.write_text(ready)
        draft.replace(target)
        print(ready, flush=True)
        await exchange.ended.wait()
        target.unlink(missing_ok=True)


def main() -> int:
    try:
        asyncio.run(_serve(_arguments()))
    except UserError as error:
        print(error, file=sys.stderr)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
