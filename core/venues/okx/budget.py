"""How many requests OKX takes, and how many of them we have sent."""

import asyncio
from collections import deque

from core.venues.port import Load

WINDOW_S = 2.0
RATES = {
    "trade/order": 60,
    "trade/cancel-order": 60,
    "trade/fills": 60,
    "trade/orders-pending": 60,
    "trade/orders-history": 40,
    "trade/order-algo": 20,
    "trade/cancel-algos": 20,
    "market/candles": 40,
    "market/history-candles": 20,
    "public/instruments": 20,
    "public/price-limit": 20,
    "account/bills": 10,
    "account/config": 5,
    "account/trade-fee": 5,
    "trade/cancel-all-after": 2,
    "system/status": 1,
}
"""Requests that OKX takes in two seconds, by path; of the status one in five."""
RATE = 10
"""The same of a path that is not named."""


class Budget:
    """Counts the requests of the last two seconds by path. Times are the loop's."""

    def __init__(self) -> None:
        self._sent: deque[tuple[float, str]] = deque()

    def spend(self, path: str) -> None:
        self._sent.append((asyncio.get_running_loop().time(), path))
        self._forget()

    def load(self) -> Load:
        """The path whose limit is nearest."""
        self._forget()
        counts: dict[str, int] = {}
        for _, path in self._sent:
            counts[path] = counts.get(path, 0) + 1
        shares = {path: count / RATES.get(path, RATE) for path, count in counts.items()}
        nearest = max(shares, key=lambda path: shares[path], default="")
        return Load(shares.get(nearest, 0.0), nearest)

    def _forget(self) -> None:
        since = asyncio.get_running_loop().time() - WINDOW_S
        while self._sent and self._sent[0][0] < since:
            self._sent.popleft()
