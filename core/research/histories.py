"""Other histories: the same past with another future, the same bars in another order, a market with a known edge.

All are drawn from a seed, and none moves a bar that it says it keeps.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from core.data.panel import Panel
from core.domain.errors import UserError
from core.domain.market import Floats

GRIDS = ("open", "high", "low", "close", "volume", "funding_rate")
TEN_YEARS_MS = 520 * 7 * 86_400_000
"""By which a market is moved in time to see who looks things up by their date: hours and weekdays stay."""
_SHOCK = 0.05
"""Standard deviation of the log factor by which prices of a changed future move: far beyond any rounding."""


class Excerpt(NamedTuple):
    """Bars that are examined, and those among them, by row, at which they are: after which the future is changed,
    or before which something starts."""

    panel: Panel
    cuts: Sequence[int]


def changed_after(panel: Panel, t: int, seed: int) -> Panel:
    """`panel` with every bar after bar `t` changed: prices, volumes, which assets trade, funding. Bars up to and
    including `t` keep every bit."""
    rng = np.random.default_rng([seed, t])
    shape = (len(panel) - t - 1, len(panel.assets))
    factor = np.exp(_SHOCK * rng.standard_normal(shape))
    wider = np.exp(0.2 * _SHOCK * np.abs(rng.standard_normal(shape)))
    busy = np.exp(rng.standard_normal(shape)) * (rng.random(shape) > 0.02)
    after = {
        "open": factor,
        "high": factor * wider,
        "low": factor / wider,
        "close": factor,
        "volume": busy,
        "funding_rate": rng.normal(1.0, 3.0, shape),
    }
    grids = {name: getattr(panel, name).copy() for name in GRIDS}
    for name, change in after.items():
        grids[name][t + 1 :] *= change
    ohlcv = [grids[name] for name in GRIDS[:5]]
    return Panel.of(
        panel.ts,
        panel.assets,
        ohlcv,
        panel.bar_ms,
        grids["funding_rate"],
        panel.funding_period_ms,
        panel.funding_before,
    )


def earlier(panel: Panel) -> Panel:
    """The same bars ten years before."""
    return replace(panel, ts=panel.ts - TEN_YEARS_MS)


def touched(panel: Panel, grid: str, u: int) -> Panel:
    """`panel` with one grid changed in bar `u` alone, for all assets: 3% (funding: a rate of 0.3% settles)."""
    values = getattr(panel, grid).copy()
    sign = np.where(np.arange(len(panel.assets)) % 2 == 0, 1.0, -1.0)
    if grid == "funding_rate":
        values[u] = 0.003 * sign
    else:
        values[u] *= 1.0 + 0.03 * sign
    return replace(panel, **{grid: values})


def permuted(panel: Panel, seed: int) -> Panel:
    """A placebo: the bars of `panel` in a random order, the same for all assets, prices rebuilt from the moves.

    Whole bars change place (gap to the open, high, low and close against the open, turnover, silence), so that
    each bar keeps its shape and assets keep their correlation. The gaps are moved by as much as makes each asset's
    mean return zero: then no rule that knows only the past can earn before costs, whether it holds pairs or the
    market, but for the little that is known of sums that must come out (of the order 1 / T). Funding stays where
    it was. Bars before the last asset's first are left out.
    """
    whole = traded_by_all(panel)
    order = np.random.default_rng(seed).permutation(len(whole) - 1) + 1
    close = whole.close
    body = np.log(close / whole.open)
    gap = np.log(whole.open[1:] / close[:-1])
    gap -= np.where(whole.valid[1:], np.log(np.mean(close[1:] / close[:-1], axis=0)), 0.0)
    moves = np.vstack([np.zeros((1, close.shape[1])), gap[order - 1] + body[order]])
    path = np.log(close[0]) + np.cumsum(moves, axis=0)
    new_close = np.exp(path)
    opens = np.vstack([whole.open[:1], np.exp(path[1:] - body[order])])
    kept = np.concatenate([[0], order])
    high, low = (opens * (grid[kept] / whole.open[kept]) for grid in (whole.high, whole.low))
    volume = whole.volume[kept] * close[kept] / new_close
    ohlcv = (opens, high, low, new_close, volume)
    rate, period = whole.funding_rate, whole.funding_period_ms
    return Panel.of(whole.ts, whole.assets, ohlcv, whole.bar_ms, rate, period, whole.funding_before)


def traded_by_all(panel: Panel) -> Panel:
    """`panel` from the first bar on at which every asset has a price; a UserError where there is none."""
    known = np.asarray(np.isfinite(panel.close).all(axis=1))
    start = int(np.argmax(known))
    if not known[start] or len(panel) - start < 2:
        raise UserError("no two bars at which every asset has a price: name the assets that share a period")
    return panel.slice(start, len(panel))


class Planted(NamedTuple):
    """A market and its secret: `drift` (T, N) is the expected simple return of each asset from the close of bar t
    to the close of bar t + 1, given all that has happened by the close of bar t. Opens equal the closes before."""

    panel: Panel
    drift: Floats


def planted(
    like: Panel,
    bars: int,
    seed: int,
    pair: Sequence[str] = (),
    *,
    half_life: float = 12.0,
    deviation: float = 0.02,
    noise: float = 0.003,
) -> Planted:
    """`bars` bars of the assets of `like`, on its grid, with one edge: the spread of `pair` (the first two assets,
    if it is not given) reverts. No other asset trades: they stand still, silent, after their first bar.

    log price = market + own random walk + c * s, with c = +1/2 and -1/2 for the two, and s a stationary process of
    Ornstein and Uhlenbeck (1930) of `half_life` bars and standard deviation `deviation`, sampled exactly:
    s' = phi s + deviation sqrt(1 - phi^2) e, phi = 2^(-1 / half_life). Market and own walk step by Gaussians of
    deviation `noise`, e is standard Gaussian, so the expected simple return given s is exact:
    exp(c (phi - 1) s + v / 2) - 1, v = 2 noise^2 + c^2 deviation^2 (1 - phi^2).
    """
    rng = np.random.default_rng(seed)
    n = len(like.assets)
    phi = 0.5 ** (1.0 / half_life)
    kick = deviation * np.sqrt(1.0 - phi * phi)
    share = np.zeros(n)
    share[[like.assets.index(asset) for asset in (pair or like.assets)[:2]]] = 0.5, -0.5
    moving = share != 0.0
    s = np.empty(bars)
    s[0] = deviation * rng.standard_normal()
    shocks = kick * rng.standard_normal(bars)
    for t in range(1, bars):
        s[t] = phi * s[t - 1] + shocks[t]
    market = np.cumsum(noise * rng.standard_normal((bars, 1)), axis=0)
    walk = np.cumsum(noise * rng.standard_normal((bars, n)), axis=0)
    level = np.nan_to_num(np.nanmedian(like.close, axis=0), nan=100.0)
    close = level * np.exp(np.where(moving, market + walk + s[:, None] * share, 0.0))
    variance = 2.0 * noise**2 + (share * kick) ** 2
    drift = np.where(moving, np.expm1(s[:, None] * share * (phi - 1.0) + variance / 2.0), 0.0)
    opens = np.vstack([close[:1], close[:-1]])
    wick = np.exp(0.5 * noise * np.abs(rng.standard_normal((2, bars, n))))
    high, low = np.maximum(opens, close) * wick[0], np.minimum(opens, close) / wick[1]
    volume = 1e8 * np.exp(0.3 * rng.standard_normal((bars, n))) / close
    volume[1:, ~moving] = 0.0
    ts = like.ts[0] + like.bar_ms * np.arange(bars, dtype=np.int64)
    return Planted(Panel.of(ts, like.assets, (opens, high, low, close, volume), like.bar_ms), drift)
