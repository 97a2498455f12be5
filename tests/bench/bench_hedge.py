"""Hedge ratios and cointegration tests: our compiled loop against pandas and numpy, and live."""

from time import perf_counter

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from core.data.panel import Panel
from core.data.synthetic import synthetic_panel
from core.domain.instrument import pairs_of
from core.domain.market import Floats
from core.features.hedge import HedgeFeatures, HedgeParams
from core.features.stream import Columns
from tests.bench.bench_models import median_ms
from tests.bench.row import Row

BARS, LIVE, MANY = 8760, 100, 1000
FASTER, LIVE_MS = 4.0, 10.0
COLUMNS = ("ols_beta", "kalman_beta", "adf", "adf_ratio")


def run() -> list[Row]:
    """A year of hours of ten assets, and one live bar of many, on one thread; every figure is a median."""
    panel = synthetic_panel(7, BARS)
    params = HedgeParams()
    ours = history(panel)
    # Fast is worth nothing unless it is the same.
    theirs, spent = plain(panel, params)
    start = params.window
    for name in COLUMNS:
        column = ours.values[..., HedgeFeatures.names.index(name)]
        np.testing.assert_allclose(column[start:], theirs[name][start:], rtol=1e-5, atol=1e-5, err_msg=name)
    loop = median_ms(lambda: history(panel), 5)
    live = live_ms()
    pairs, width = ours.values.shape[1:]
    what = f"{pairs} pairs x {BARS:,} bars: OLS, Kalman, two ADF ({width} columns) / pandas and numpy (those 4)"
    one = f"hedge features of one live bar, {MANY:,} pairs, after warm-up"
    return [
        Row(what, f"{loop:.0f} ms", f"{spent:.0f} ms", spent / loop, f">= {FASTER:g}x", spent >= FASTER * loop),
        Row(one, f"{live:.2f} ms", "-", LIVE_MS / live, f"< {LIVE_MS:g} ms", live < LIVE_MS),
    ]


def history(panel: Panel) -> Columns:
    return HedgeFeatures(panel.assets).history(panel)


def live_ms() -> float:
    """The median `update` of a universe of 46 assets, of which a thousand pairs are watched."""
    panel = synthetic_panel(7, 300 + LIVE, [f"A{i}" for i in range(46)])
    features = HedgeFeatures(panel.assets, pairs=pairs_of(panel.assets)[:MANY])
    features.history(panel.slice(0, 300))
    spent = []
    for t in range(300, 300 + LIVE):
        bar = panel.bar(t)
        start = perf_counter()
        features.update(bar)
        spent.append(perf_counter() - start)
    return float(np.median(spent)) * 1e3


def plain(panel: Panel, params: HedgeParams) -> tuple[dict[str, Floats], float]:
    """The four that matter, as one writes them well without a compiler, and the milliseconds they took: pandas'
    rolling moments, a filter stepping through time with all pairs side by side, a pair's tests in all windows at
    once."""
    began = perf_counter()
    logs = np.log(panel.close)
    order = {asset: i for i, asset in enumerate(panel.assets)}
    legs = [(order[pair.a], order[pair.b]) for pair in pairs_of(panel.assets)]
    out = {name: np.zeros((len(panel), len(legs))) for name in COLUMNS}
    for p, (a, b) in enumerate(legs):
        y, x = pd.Series(logs[:, a]), pd.Series(logs[:, b])
        rolling = x.rolling(params.window)
        beta = (rolling.cov(y) / rolling.var()).to_numpy()
        out["ols_beta"][:, p] = beta
        one, other = (sliding_window_view(logs[:, i], params.window) for i in (a, b))
        slopes = beta[params.window - 1 :, None]
        out["adf"][params.window - 1 :, p] = dickey_fuller(one - slopes * other, 2)
        out["adf_ratio"][params.window - 1 :, p] = dickey_fuller(one - other, 3)
    out["kalman_beta"] = filtered(logs, np.array(legs), params)
    return out, (perf_counter() - began) * 1e3


def dickey_fuller(series: Floats, regressors: int) -> Floats:
    """The t statistic of each window (rows), one lagged difference; with three regressors, a constant too."""
    series = series - series.mean(axis=1, keepdims=True)
    change = np.diff(series, axis=1)
    level, before, now = series[:, 1:-1], change[:, :-1], change[:, 1:]
    if regressors == 3:
        level, before, now = (part - part.mean(axis=1, keepdims=True) for part in (level, before, now))
    ll, lb, bb = (level * level).sum(1), (level * before).sum(1), (before * before).sum(1)
    ln, bn, nn = (level * now).sum(1), (before * now).sum(1), (now * now).sum(1)
    determinant = ll * bb - lb * lb
    g, d = (ln * bb - bn * lb) / determinant, (bn * ll - ln * lb) / determinant
    left = (nn - g * ln - d * bn) / (now.shape[1] - regressors)
    result: Floats = g / np.sqrt(left * bb / determinant)
    return result


def filtered(logs: Floats, legs: np.ndarray, params: HedgeParams) -> Floats:
    """Slopes (T, P) of the discounted filter, all pairs at once, a bar at a time."""
    keep, window = 0.5 ** (1 / params.half_life), params.window
    y, x = logs[:, legs[:, 0]], logs[:, legs[:, 1]]
    anchor = x[:window].mean(0)  # the filter is the same for any; near the prices it rounds less
    x = x - anchor
    bb = (x[:window] ** 2).sum(0)
    slope, level = (x[:window] * (y[:window] - y[:window].mean(0))).sum(0) / bb, y[:window].mean(0)
    c00, c01, c11 = np.full(len(legs), 1 / window), np.zeros(len(legs)), 1 / bb
    out = np.zeros_like(y)
    for t in range(window, len(y)):
        c00, c01, c11 = c00 / keep, c01 / keep, c11 / keep
        to_level, to_slope = c00 + x[t] * c01, c01 + x[t] * c11
        total = 1 + to_level + x[t] * to_slope
        surprise = y[t] - level - slope * x[t]
        level, slope = level + to_level / total * surprise, slope + to_slope / total * surprise
        c00, c01 = c00 - to_level * to_level / total, c01 - to_level * to_slope / total
        c11 = c11 - to_slope * to_slope / total
        out[t] = slope
    return out
