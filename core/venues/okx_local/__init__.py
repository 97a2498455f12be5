"""A local exchange that speaks OKX v5 (HTTP and WebSocket, loopback only) over the synchronous matching core.

It replays the closed bars of a Panel. As a process::

    OKX_LOCAL_KEY=... OKX_LOCAL_SECRET=... OKX_LOCAL_PASSPHRASE=... \\
    python -m core.venues.okx_local --home DIR --panel FILE.npz [--speed 3600|max] [--start N] [--bars N] [--resume]

prints `{"port": ..., "pid": ...}` when ready and keeps it in DIR/exchange.json while it runs. In a test::

    async with LocalExchange(panel, home, Settings(speed=LOCKSTEP, start=300)) as exchange:
        ...  # exchange.url, exchange.keys, exchange.faults

A client puts `{'rest': url, 'ws': 'ws://127.0.0.1:PORT/ws/v5'}` into ccxt's `urls.api` and `urls.test`. Beyond OKX:
GET /local/status; POST /local/acknowledge {"bar": open_ms}; POST /local/faults (see `faults`).

Under lockstep (`--speed max`) the market stands at the open of a bar until the last *closed* bar is acknowledged;
the first to acknowledge is the last bar of history (`bar` of /local/status). In timed mode it moves once somebody
has logged in and listens to candles.
"""

from core.venues.okx_local.auth import Keys
from core.venues.okx_local.server import LOCKSTEP, LocalExchange, Settings

__all__ = ["LOCKSTEP", "Keys", "LocalExchange", "Settings"]
