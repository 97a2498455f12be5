"""The market of a rehearsal: the synthetic one, with prices that jump, assets that pause and assets that go."""

from collections.abc import Iterator, Sequence
from random import Random

import numpy as np

from core.data.panel import Panel
from core.data.synthetic import synthetic_panel
from core.domain.market import Floats
from core.engine.rehearsal.faults import Faults

GAP_BARS = 6
FEWEST = 3
"""Assets that are left to trade, however many go."""
DAY_MS = 86_400_000


def hostile_market(
    seed: int, assets: Sequence[str], bar_ms: int, warmup: int, days: int, faults: Faults
) -> tuple[Panel, dict[str, int]]:
    """`warmup` quiet bars, then `days` in which the market faults of `faults` strike; and by asset the first bar of
    those that are not traded any more. A few always are."""
    a_day = DAY_MS // bar_ms
    calm = synthetic_panel(seed, warmup + days * a_day + 2, assets, bar_ms)
    prices = [np.array(grid) for grid in (calm.open, calm.high, calm.low, calm.close)]
    volume, funding = np.array(calm.volume), np.array(calm.funding_rate)
    for bar, chance in _struck(faults, "jump", warmup, len(calm), bar_ms):
        _jump(prices, bar, chance.randrange(len(assets)), chance.uniform(-0.33, 0.33))
    for bar, chance in _struck(faults, "gap", warmup, len(calm), bar_ms):
        rows, asset = slice(bar, bar + chance.randint(1, GAP_BARS)), chance.randrange(len(assets))
        for grid in (*prices, volume):
            grid[rows, asset] = np.nan
    gone: dict[str, int] = {}
    for bar, chance in _struck(faults, "delist", warmup, len(calm), bar_ms):
        asset = chance.randrange(len(assets))
        if assets[asset] not in gone and len(assets) - len(gone) > FEWEST:
            gone[assets[asset]] = bar
            for grid in (*prices, volume, funding):
                grid[bar:, asset] = np.nan
    panel = Panel.of(calm.ts, assets, (*prices, volume), bar_ms, funding, np.array(calm.funding_period_ms))
    return panel, gone


def _struck(faults: Faults, kind: str, first: int, end: int, bar_ms: int) -> Iterator[tuple[int, Random]]:
    """(bar, the kind's stream of chance) of each time it strikes."""
    bar = float(first)
    while (bar := bar + faults.next_event(kind) * 1000 / bar_ms) < end - 1:
        faults.met(kind)
        yield int(bar), faults.of(kind)


def _jump(prices: Sequence[Floats], bar: int, asset: int, share: float) -> None:
    """The price falls or rises by `share` within the bar, and stays there."""
    _, high, low, close = prices
    factor = 1.0 + share
    for grid in prices:
        grid[bar + 1 :, asset] *= factor
    close[bar, asset] *= factor
    high[bar, asset] = max(high[bar, asset], close[bar, asset])
    low[bar, asset] = min(low[bar, asset], close[bar, asset])
