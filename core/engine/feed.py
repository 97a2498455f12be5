"""From candles of many instruments to bars of one universe, closed, aligned, in order."""

import asyncio
from collections.abc import Sequence

import numpy as np

from core.domain.market import Bar, Candle, Floats, Funding


class Feed:
    """Collects closed candles until every asset's has come, or a timeout passes, and makes bars of them.

    Late candles never alter a decision: they are counted and dropped. A gap in time becomes bars in which
    nothing is valid, so that windows stay windows of time.
    """

    def __init__(self, instruments: Sequence[str], bar_ms: int, timeout_s: float) -> None:
        self._index = {name: i for i, name in enumerate(instruments)}
        self._bar_ms = bar_ms
        self._timeout_s = timeout_s
        self._open: dict[int, dict[int, Candle]] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._next: int | None = None
        self._last = np.full(len(instruments), np.nan)
        self._funding: list[list[Funding]] = [[] for _ in instruments]
        self._bars: asyncio.Queue[Bar] = asyncio.Queue()
        self.late = 0
        """Candles that came after their bar had been closed without them."""
        self.missing: list[tuple[int, str]] = []
        """(open time, instrument) of the candles that a bar was closed without: newest last, at most 1,000."""

    def begin(self, next_open_ms: int) -> None:
        """The next bar is the one that opens at `next_open_ms`; older candles are late."""
        self._next = next_open_ms

    def fund(self, funding: Funding) -> None:
        """Remember a settled rate; a bar knows those settled before its close (see `core.data.panel`)."""
        rates = self._funding[self._index[funding.instrument]]
        if not rates or funding.ts > rates[-1].ts:
            rates.append(funding)
            del rates[:-8]

    def candle(self, candle: Candle) -> None:
        """Take one closed candle; the last one of its bar closes the bar."""
        index = self._index.get(candle.instrument)
        if index is None:
            return
        if self._next is not None and candle.open_ms < self._next:
            self.late += 1
            return
        waiting = self._open.setdefault(candle.open_ms, {})
        waiting[index] = candle
        if len(waiting) == len(self._index):
            self._close(candle.open_ms)
        elif candle.open_ms not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[candle.open_ms] = loop.call_later(self._timeout_s, self._close, candle.open_ms)

    async def next_bar(self) -> Bar:
        """The next closed bar, in order of time."""
        return await self._bars.get()

    def history(self, candles: Sequence[Sequence[Candle]]) -> list[Bar]:
        """Bars of the past from each instrument's candles (in the order of the universe), oldest first, on the
        grid from the first to the last candle of any of them. The feed then goes on behind the last."""
        times = [candle.open_ms for series in candles for candle in series]
        if not times:
            return []
        by_time = [{candle.open_ms: candle for candle in series} for series in candles]
        bars = []
        for open_ms in range(min(times), max(times) + 1, self._bar_ms):
            got = {i: series[open_ms] for i, series in enumerate(by_time) if open_ms in series}
            bars.append(self._bar(open_ms, got))
        self.begin(max(times) + self._bar_ms)
        return bars

    def _close(self, open_ms: int) -> None:
        """Emit the bar of `open_ms`, and before it what is older and incomplete or wholly missing."""
        first = self._next if self._next is not None else min(self._open)
        for moment in range(first, open_ms + 1, self._bar_ms):
            got = self._open.pop(moment, {})
            timer = self._timers.pop(moment, None)
            if timer is not None:
                timer.cancel()
            self.missing += [(moment, name) for name, i in self._index.items() if i not in got]
            self._bars.put_nowait(self._bar(moment, got))
        del self.missing[:-1000]
        self._next = open_ms + self._bar_ms

    def _bar(self, open_ms: int, got: dict[int, Candle]) -> Bar:
        close_ms = open_ms + self._bar_ms
        ohlcv = np.repeat(self._last[:, None], 5, axis=1)
        ohlcv[:, 4] = 0.0
        valid = np.zeros(len(self._index), np.bool_)
        for index, candle in got.items():
            # A silent candle repeats its price and trades nothing: the last valid close stands.
            if candle.volume > 0:
                ohlcv[index] = (candle.open, candle.high, candle.low, candle.close, candle.volume)
                valid[index] = True
                self._last[index] = candle.close
        return Bar(open_ms, close_ms, ohlcv, self.rates(close_ms), valid)

    def rates(self, close_ms: int) -> Floats:
        """(N,) last rate settled before `close_ms`, per 8 hours; 0 where none is known."""
        rates = np.zeros(len(self._index))
        for index, known in enumerate(self._funding):
            for funding in known:
                if funding.ts < close_ms:
                    rates[index] = funding.rate_8h
        return rates
