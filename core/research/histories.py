"""Other histories: the same past with another future, the same bars in another order, a market with a known edge.

All are drawn from a seed, and none moves a bar that it says it keeps.
"""

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
    each bar keeps its shape and assets keep their correlation; what the past says of the next bar is gone, and no
    causal rule can earn before costs, but for the little that is known of a sum that must come out (of the order
    1 / T). Funding stays where it was. Bars before the last asset's first are left out.
    """
    whole = traded_by_all(panel)
    order = np.random.default_rng(seed).permutation(len(whole) - 1) + 1
    close = whole.close
    gap = np.log(whole.open[1:] / close[:-1])
    body = np.log(close / whole.open)
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
    like: Panel, seed: int, bars: int, *, half_life: float = 12.0, deviation: float = 0.02, noise: float = 0.003
) -> Planted:
    """`bars` bars of the assets of `like`, on its grid, with one edge: the first two assets' spread reverts.

    log price of asset i = market + own random walk + c_i * s, with c = (+1/2, -1/2, 0, ...) and s a stationary
    Ornstein-Uhlenbeck process of `half_life` bars and standard deviation `deviation` (Uhlenbeck and Ornstein
    1930), sampled exactly: s' = phi s + deviation sqrt(1 - phi^2) e, phi = 2^(-1 / half_life). Market and own
    walks step by Gaussians of deviation `noise`, e is standard Gaussian, so the expected return is exact:
    exp(c_i (phi - 1) s + v_i / 2) - 1, with v_i the variance of the asset's one-bar log return given s.
    All other pairs of assets without the first two have none: that their trades earn nothing is part of the test.
    """
    rng = np.random.default_rng(seed)
    n = len(like.assets)
    phi = 0.5 ** (1.0 / half_life)
    kick = deviation * np.sqrt(1.0 - phi * phi)
    share = np.zeros(n)
    share[:2] = 0.5, -0.5
    s = np.empty(bars)
    s[0] = deviation * rng.standard_normal()
    shocks = kick * rng.standard_normal(bars)
    for t in range(1, bars):
        s[t] = phi * s[t - 1] + shocks[t]
    market = np.cumsum(noise * rng.standard_normal((bars, 1)), axis=0)
    walk = np.cumsum(noise * rng.standard_normal((bars, n)), axis=0)
    first = np.where(np.isfinite(like.close), like.close, np.nan)
    level = np.nan_to_num(np.nanmedian(first, axis=0), nan=100.0)
    close = level * np.exp(market + walk + s[:, None] * share)
    variance = 2.0 * noise**2 + (share * kick) ** 2
    drift = np.expm1(s[:, None] * share * (phi - 1.0) + variance / 2.0)
    opens = np.vstack([close[:1], close[:-1]])
    wick = np.exp(0.5 * noise * np.abs(rng.standard_normal((2, bars, n))))
    high, low = np.maximum(opens, close) * wick[0], np.minimum(opens, close) / wick[1]
    volume = 1e8 * np.exp(0.3 * rng.standard_normal((bars, n))) / close
    ts = like.ts[0] + like.bar_ms * np.arange(bars, dtype=np.int64)
    return Planted(Panel.of(ts, like.assets, (opens, high, low, close, volume), like.bar_ms), drift)
