"""The market: closed bars of a panel, replayed, with seeded prices between open and close.

Two clocks meet here. *Market time* is the replay's: candles, tickers, fills, bills and funding carry it. *Server
time* (requests, expiries) is the machine's and does not appear in this module.
"""

from decimal import Decimal

import numpy as np

from core.data.panel import Panel
from core.domain.errors import UserError
from core.domain.market import Floats
from core.matching.listing import swap
from core.matching.types import Quote

HOUR = 3_600_000
_EIGHT_HOURS = 8 * HOUR


class Market:
    """Where the replay stands: in bar `bar`, `tick` ticks after its open (0: at the open).

    A bar is walked open -> (low, high in seeded order) -> close in `ticks` steps; its last tick lies one
    millisecond before the next bar's open. Bars before `start` are history; after `bars` bars the market stands
    still. The path of a bar depends on the seed and on its open time alone, so that a resumed replay repeats it.
    """

    def __init__(self, panel: Panel, *, start: int, bars: int, ticks: int, seed: int) -> None:
        last = len(panel.ts)
        if not 0 < start < last:
            raise UserError(f"start {start}: the market data has {last} bars, so it must lie in 1..{last - 1}")
        if ticks < 3:
            raise UserError(f"ticks {ticks}: a bar needs at least 3 (low, high and close)")
        self.panel = panel
        self.first, self.end = start, min(start + bars, last) if bars else last
        self.ticks, self.seed = ticks, seed
        self.instruments = tuple(swap(a, _first_price(panel, i)) for i, a in enumerate(panel.assets))
        self.index = {instrument.id: i for i, instrument in enumerate(self.instruments)}
        self.bar, self.tick = start, 0
        self._tick_size = np.array([float(i.tick) for i in self.instruments])
        self._ticks: list[float] = self._tick_size.tolist()
        self._walked: Floats | None = None
        self._opened: Floats | None = None

    def seek(self, bar: int, tick: int) -> None:
        """Stand at a saved position again."""
        if not self.first <= bar <= self.end or not 0 <= tick <= self.ticks:
            raise UserError(f"the saved position (bar {bar}, tick {tick}) does not lie in this market data")
        self.bar, self.tick = bar, tick
        self._walked = self._opened = None

    @property
    def now(self) -> int:
        """Market time, ms UTC."""
        bar_ms = self.panel.bar_ms
        if self.bar == len(self.panel.ts):
            return int(self.panel.ts[-1]) + bar_ms
        offset = self.tick * bar_ms // self.ticks if self.tick < self.ticks else bar_ms - 1
        return int(self.panel.ts[self.bar]) + offset

    @property
    def finished(self) -> bool:
        return self.bar >= self.end

    @property
    def closed(self) -> int:
        """Open time of the last closed bar."""
        return int(self.panel.ts[self.bar - 1])

    def step(self) -> bool:
        """One tick on. True where that entered a new bar: its open is then the price, and what was closed is
        `candle(i, bar - 1)`."""
        assert not self.finished
        if self.tick < self.ticks:
            self.tick += 1
            return False
        self.bar, self.tick = self.bar + 1, 0
        self._walked = self._opened = None
        return True

    def next_bar(self) -> None:
        """Go to the next bar's open, past whatever is left of the present one."""
        self.tick = self.ticks
        self.step()

    def prices(self) -> list[tuple[int, Decimal]]:
        """(asset index, price) of every asset that trades now, rounded to its tick."""
        now = self._path[self.tick] if self.tick else self.opens()
        row = np.rint(now / self._tick_size)
        steps = self.instruments
        return [(i, int(n) * steps[i].tick) for i, n in enumerate(row.tolist()) if n == n and n > 0]

    def quotes(self) -> list[Quote]:
        """The prices now, with the value traded in the last closed bar."""
        turnover = self.turnover
        return [Quote(self.instruments[i].id, price, turnover[i]) for i, price in self.prices()]

    @property
    def closing(self) -> int:
        """Market time of the present bar's last tick."""
        return int(self.panel.ts[self.bar]) + self.panel.bar_ms - 1 if self.bar < len(self.panel) else self.now

    def opening(self, asset: int) -> Quote:
        """What `quotes` say of an asset at the open of the present bar."""
        return self.quote(asset, float(self.opens()[asset]))

    def quote(self, asset: int, price: float) -> Quote:
        """A price of an asset, rounded to its tick, with the value traded in the last closed bar."""
        spec, panel, last = self.instruments[asset], self.panel, self.bar - 1
        turnover = panel.volume.item(last, asset) * panel.close.item(last, asset)
        ticks = round(price / self._ticks[asset])
        return Quote(spec.id, ticks * spec.tick, turnover if turnover == turnover else 0.0)

    @property
    def turnover(self) -> list[float]:
        """(N,) value traded in the last closed bar, in the quote currency (0 where unknown)."""
        value = self.panel.volume[self.bar - 1] * self.panel.close[self.bar - 1]
        return [float(v) for v in np.nan_to_num(value)]

    def candle(self, asset: int, bar: int) -> tuple[int, float, float, float, float, float] | None:
        """(open time, open, high, low, close, base volume) of bar `bar`, as known now; None where it did not trade.

        The bar being walked holds what its path has shown so far, and volume in proportion."""
        panel = self.panel
        if bar >= len(panel.ts) or not np.isfinite(panel.close[bar, asset]):
            return None
        ts, volume = int(panel.ts[bar]), float(panel.volume[bar, asset])
        if bar < self.bar:
            o, h, low, c = (float(x[bar, asset]) for x in (panel.open, panel.high, panel.low, panel.close))
            return ts, o, h, low, c, volume
        seen = self._path[: self.tick + 1, asset]
        return (
            ts,
            float(seen[0]),
            float(seen.max()),
            float(seen.min()),
            float(seen[-1]),
            volume * self.tick / self.ticks,
        )

    def bars_between(self, before: int, after: int, newest: int) -> range:
        """Positions of the bars up to `newest` with before < open time < after (ms), newest first."""
        ts = self.panel.ts
        low = int(np.searchsorted(ts, before, side="right"))
        high = min(int(np.searchsorted(ts, after, side="left")), newest + 1)
        return range(high - 1, low - 1, -1)

    def funding_due(self, ahead: int = 0) -> list[tuple[int, float]]:
        """(asset index, rate of one period) of what settles at the open of the present bar, or of one `ahead`."""
        bar = self.bar + ahead
        if bar >= len(self.panel.ts):
            return []
        row = self.panel.funding_rate[bar].tolist()
        return [(i, rate) for i, rate in enumerate(row) if rate == rate]

    def settled(self, asset: int, before: int, after: int, limit: int) -> list[tuple[int, float]]:
        """Settled rates with before < time < after (ms), newest first."""
        ts, rate = self.panel.ts, self.panel.funding_rate[:, asset]
        low = int(np.searchsorted(ts, before, side="right"))
        high = min(int(np.searchsorted(ts, after, side="left")), self.bar + 1)
        rows = low + np.flatnonzero(np.isfinite(rate[low:high]))[::-1][:limit]
        return [(int(ts[row]), float(rate[row])) for row in rows]

    def funding(self, asset: int) -> tuple[float, int, int]:
        """(last settled rate, next settlement, the one after). The rate that will settle is not known before it
        does: the last one stands for the estimate."""
        ts = self.panel.ts
        row = min(self.bar, len(ts) - 1)
        period = int(self.panel.funding_period_ms[row, asset]) or _EIGHT_HOURS
        last = self.settled(asset, -1, self.now + 1, 1)
        when, rate = last[0] if last else (self.now // period * period, 0.0)
        following = when + period * ((self.now - when) // period + 1)
        return rate, following, following + period

    def day(self, asset: int) -> tuple[float, float, float, float]:
        """(open, high, low, base volume) of the 24 hours before now."""
        panel = self.panel
        rows = slice(max(0, self.bar - max(1, 24 * HOUR // panel.bar_ms)), self.bar)
        opens = panel.open[rows, asset]
        known = opens[np.isfinite(opens)]
        if not len(known):
            return 0.0, 0.0, 0.0, 0.0
        high, low = np.nanmax(panel.high[rows, asset]), np.nanmin(panel.low[rows, asset])
        return float(known[0]), float(high), float(low), float(np.nansum(panel.volume[rows, asset]))

    @property
    def _path(self) -> Floats:
        """Made when it is first asked for: who passes over a bar without looking into it need not pay for it."""
        if self._walked is None:
            self._walked = self._walk()
        return self._walked

    def opens(self) -> Floats:
        """(N,) where the path of the present bar begins."""
        if self._opened is None:
            panel, bar = self.panel, self.bar
            beyond = bar == len(panel.ts)
            self._opened = (
                panel.close[bar - 1] if beyond else np.clip(panel.open[bar], panel.low[bar], panel.high[bar])
            )
        return self._opened

    def _walk(self) -> Floats:
        """(ticks + 1, N) prices of the present bar: linear between open, the two extremes and close, with noise
        that never leaves [low, high]. Past the last bar the last close stands."""
        panel, count = self.panel, self.ticks
        if self.bar == len(panel.ts):
            return np.repeat(panel.close[self.bar - 1 : self.bar], count + 1, axis=0)
        chance = np.random.default_rng((self.seed, int(panel.ts[self.bar])))
        assets = len(panel.assets)
        low, high = panel.low[self.bar], panel.high[self.bar]
        path = np.empty((count + 1, assets))
        low_first = chance.random(assets) < 0.5
        noise = chance.normal(0.0, 0.1, (count + 1, assets)) * (high - low)
        steps = np.arange(count + 1)
        for i in range(assets):
            early, late = np.sort(chance.choice(np.arange(1, count), 2, replace=False))
            turns = (low[i], high[i]) if low_first[i] else (high[i], low[i])
            anchors = (panel.open[self.bar, i], *turns, panel.close[self.bar, i])
            path[:, i] = np.interp(steps, (0, early, late, count), anchors)
            noise[[0, early, late, count], i] = 0.0
        walked: Floats = np.clip(path + noise, low, high)
        return walked


def _first_price(panel: Panel, asset: int) -> float:
    """The first price of an asset, from which contract sizes of assets outside the listing are derived."""
    known = panel.close[:, asset]
    known = known[np.isfinite(known) & (known > 0)]
    if not len(known):
        raise UserError(f"{panel.assets[asset]}: the market data holds no price of it; leave the asset out")
    return float(known[0])
