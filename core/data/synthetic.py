"""A seeded market to test and demonstrate on: it has what pair trading meets, the good and the bad.

log price of asset i = beta_i * market + cluster(i) + temporary_i + permanent_i, where

- the market and cluster factors are random walks whose volatility clusters (log-variance is AR(1), shared),
  with Student t innovations: fat tails;
- `temporary` is an Ornstein-Uhlenbeck process, one per asset: what lets the spread of a pair revert;
- `permanent` is a random walk with rare jumps (news): spreads that have broken and do not come back.

Volume is lognormal and rises with volatility; funding settles every eight hours (or at every bar, if bars are
longer) around 0.01% and follows the premium of the temporary part. No sum over the whole sample is taken, so
a longer market begins exactly like a shorter one of the same seed.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.data.panel import EIGHT_HOURS_MS, Panel
from core.domain.market import Floats

HOUR_MS = 3_600_000
START_MS = 1_704_067_200_000  # 2024-01-01T00:00Z
ASSETS = ("BTC", "ETH", "SOL", "XRP", "BNB", "DOGE", "ADA", "AVAX", "LINK", "DOT")

# asset: price level, decimals of a tick, hourly turnover in USDT, beta to the market, cluster
_KNOWN: dict[str, tuple[float, int, float, float, int]] = {
    "BTC": (60_000.0, 1, 4e8, 0.90, 0),
    "ETH": (3_000.0, 2, 2.5e8, 1.05, 0),
    "SOL": (150.0, 2, 1e8, 1.20, 1),
    "XRP": (0.55, 4, 6e7, 0.95, 2),
    "BNB": (550.0, 1, 4e7, 0.85, 0),
    "DOGE": (0.10, 5, 5e7, 1.25, 2),
    "ADA": (0.45, 4, 3e7, 1.10, 1),
    "AVAX": (30.0, 3, 2.5e7, 1.20, 1),
    "LINK": (14.0, 3, 2.5e7, 1.10, 2),
    "DOT": (6.5, 3, 2e7, 1.10, 1),
}
_MARKET_VOL, _CLUSTER_VOL, _PERMANENT_VOL = 0.0042, 0.0016, 0.0022  # per hour
_TEMPORARY_VOL, _TEMPORARY_HALF_LIFE = 0.0080, 12.0  # stationary standard deviation; hours
_JUMP_VOL, _JUMPS_PER_HOUR = 0.035, 1 / 600
_VOL_OF_LOG_VOL, _LOG_VOL_HALF_LIFE = 0.35, 36.0
_TAIL = 4.0  # degrees of freedom of the innovations
_CLUSTERS = 3


def synthetic_panel(
    seed: int,
    bars: int,
    assets: Sequence[str] = ASSETS,
    bar_ms: int = HOUR_MS,
    start_ms: int = START_MS,
) -> Panel:
    """`bars` bars of `assets` from `start_ms`: the same for the same arguments on every run."""
    streams = iter([np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(16)])
    hours = bar_ms / HOUR_MS
    shape = (bars, len(assets))
    level, decimals, turnover, beta, cluster = _character(assets, next(streams))

    log_vol = _VOL_OF_LOG_VOL * _ar1(next(streams).standard_normal((bars, 1)), _LOG_VOL_HALF_LIFE / hours)
    vol = np.exp(log_vol) * np.sqrt(hours)
    market = np.cumsum(_MARKET_VOL * vol * _fat(next(streams), (bars, 1)), axis=0)
    clusters = np.cumsum(_CLUSTER_VOL * vol * _fat(next(streams), (bars, _CLUSTERS)), axis=0)
    temporary = _TEMPORARY_VOL * _ar1(_fat(next(streams), shape), _TEMPORARY_HALF_LIFE / hours)
    news = next(streams).random(shape) < _JUMPS_PER_HOUR * hours
    jumps = np.where(news, _JUMP_VOL * next(streams).standard_normal(shape), 0.0)
    permanent = np.cumsum(_PERMANENT_VOL * vol * _fat(next(streams), shape) + jumps, axis=0)

    path = level * np.exp(beta * market + clusters[:, cluster] + temporary + permanent)
    before = np.vstack([level, path[:-1]])
    move = np.abs(np.log(path / before))
    up, down = (0.35 * (0.006 * vol + move) * next(streams).gamma(1.5, 0.5, shape) for _ in "hl")
    close = _to_ticks(path, decimals)
    opens = _to_ticks(before * (1 + 2e-5 * next(streams).standard_normal(shape)), decimals)
    top, bottom = np.maximum(opens, close), np.minimum(opens, close)
    high = np.maximum(_to_ticks(top * np.exp(up), decimals), top)
    low = np.minimum(_to_ticks(bottom * np.exp(-down), decimals), bottom)
    busy = np.exp(0.45 * next(streams).standard_normal(shape) + 0.8 * log_vol + 25 * np.minimum(move, 0.1))
    volume = np.round(turnover * hours * busy / close, 3)

    ts = start_ms + np.arange(bars, dtype=np.int64) * bar_ms
    period = max(EIGHT_HOURS_MS, bar_ms)
    premium = 1e-4 + 0.008 * temporary + 6e-5 * next(streams).standard_normal(shape)
    rate = np.asarray(np.clip(premium * period / EIGHT_HOURS_MS, -0.0075, 0.0075), np.float64).round(8)
    rate[ts % period >= bar_ms] = np.nan
    grids = (opens, high, low, close, volume)
    return Panel.of(ts, assets, grids, bar_ms, rate, np.full(shape, period, np.int64))


def _character(assets: Sequence[str], rng: np.random.Generator) -> tuple[Floats, ...]:
    """Level, tick decimals, turnover, beta and cluster of each asset; drawn for one that is not known."""
    rows = []
    for i, asset in enumerate(assets):
        level = float(np.round(np.exp(rng.normal(1.0, 2.0)), 2)) + 0.01
        drawn = (level, max(0, 4 - int(np.floor(np.log10(level)))), 1e7, rng.uniform(0.9, 1.2), i % _CLUSTERS)
        rows.append(_KNOWN.get(asset, drawn))
    level, decimals, turnover, beta, cluster = np.array(rows, np.float64).T
    return level, decimals, turnover, beta, cluster.astype(np.intp)


def _fat(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Student t innovations of unit variance."""
    scaled: Floats = rng.standard_t(_TAIL, shape) * np.sqrt((_TAIL - 2) / _TAIL)
    return scaled


def _ar1(innovations: Floats, half_life: float) -> Floats:
    """AR(1) along time with unit stationary variance; the first row is drawn from it."""
    phi = 0.5 ** (1 / half_life)
    out = np.empty_like(innovations)
    out[:1] = innovations[:1]
    step = np.sqrt(1 - phi * phi) * innovations
    for t in range(1, len(out)):
        out[t] = phi * out[t - 1] + step[t]
    return out


def _to_ticks(prices: Floats, decimals: Floats) -> Floats:
    """Prices on the grid of their asset's tick, at least one tick: what an exchange could quote."""
    scale = 10.0**decimals
    rounded: Floats = np.maximum(np.round(prices * scale), 1.0) / scale
    return rounded


OUTLIER = -1
_GROUP_VOL, _GROUP_SHARE = 0.0080, 0.15  # of a group's factor, per hour; what of it is the whole market's
_OWN_VOL, _NOISE_VOL = 0.0010, 0.0040  # own walk, per hour; deviation of what comes and goes
_STRAY, _STRAYS_PER_HOUR, _STRAY_HALF_LIFE = 0.06, 1 / 150, 8.0  # of log price; hours
_PEG_VOL = 0.0040


def planted_market(
    seed: int, bars: int, groups: Sequence[int], outliers: int = 0, bar_ms: int = HOUR_MS, start_ms: int = START_MS
) -> tuple[Panel, NDArray[np.intp]]:
    """A market of groups that are known: `groups` assets each, and `outliers`; with the group of each asset (N,),
    for whoever is to judge what a clustering has found. Assets are in no order that tells of their groups.

    log price of a member = its group's factor, a random walk with a little of the whole market's + a small walk of
    its own + noise that comes and goes + now and then a shock that dies out, which is what there is to earn. An
    outlier is its level and noise: pegged, with nothing of any factor, it has the shape of no group."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 4]))
    hours = bar_ms / HOUR_MS
    label = np.concatenate([*(np.full(count, g) for g, count in enumerate(groups)), np.full(outliers, OUTLIER)])
    label = rng.permutation(label.astype(np.intp))
    shape = (bars, len(label))
    common = rng.standard_normal((bars, 1)) * np.sqrt(_GROUP_SHARE)
    factor = common + rng.standard_normal((bars, len(groups))) * np.sqrt(1 - _GROUP_SHARE)
    walk = np.cumsum(_GROUP_VOL * np.sqrt(hours) * factor, axis=0)
    own = np.cumsum(_OWN_VOL * np.sqrt(hours) * _fat(rng, shape), axis=0)
    half_life = _STRAY_HALF_LIFE / hours
    noise = _NOISE_VOL * _ar1(_fat(rng, shape), half_life)
    shocks = np.where(rng.random(shape) < _STRAYS_PER_HOUR * hours, rng.standard_normal(shape), 0.0)
    stray = noise + _STRAY / np.sqrt(1 - 0.25 ** (1 / half_life)) * _ar1(shocks, half_life)
    peg = _PEG_VOL * rng.standard_normal(shape)
    path = np.where(label == OUTLIER, peg, walk[:, np.maximum(label, 0)] + own + stray)
    close = np.exp(rng.normal(2.0, 1.5, len(label)) + path)
    opens = np.vstack([close[:1], close[:-1]])
    wick = np.exp(0.001 * np.abs(rng.standard_normal((2, *shape))))
    high, low = np.maximum(opens, close) * wick[0], np.minimum(opens, close) / wick[1]
    volume = 1e7 * hours / close * np.exp(0.3 * rng.standard_normal(shape))
    ts = start_ms + np.arange(bars, dtype=np.int64) * bar_ms
    names = [f"S{i:03d}" for i in range(len(label))]
    return Panel.of(ts, names, (opens, high, low, close, volume), bar_ms), label
