"""The engine's own process on an account with keys, its address that of a local exchange (EXCHANGE_ADDRESS): for
tests that look where the keys go. CRASH=1 lets a step fail by a fault of ours, with the venue in its hands."""

import os
import sys
from typing import Any

from core.engine import supervisor
from core.engine.__main__ import main
from core.engine.engine import Engine
from core.venues.okx.venue import OkxVenue


def _crash(engine: Engine, *_: Any) -> None:
    transport = engine.venue._transport  # type: ignore[attr-defined]
    raise RuntimeError(f"a fault of ours: {engine.venue!r} {transport!r} {vars(engine.venue)!r}")


if os.environ.get("CRASH"):
    Engine._step = _crash  # type: ignore[assignment,method-assign]
okx_venue = supervisor.okx_venue


def _local(**options: Any) -> OkxVenue:
    return okx_venue(**{**options, "address": os.environ["EXCHANGE_ADDRESS"], "sandbox": False})


supervisor.okx_venue = _local  # type: ignore[assignment]
if __name__ == "__main__":
    sys.exit(main())
