"""Indicators of single assets, each against its plain definition; then their flags."""

import numpy as np
import pandas as pd
import pytest

from core.data.panel import Panel
from core.data.synthetic import HOUR_MS, synthetic_panel
from core.features.indicators import IndicatorParams, Indicators
from core.features.stream import Columns

ASSETS = ("BTC", "ETH", "DOGE")
SETTLED = 900
"""From here on the recursive means have forgotten how they, or pandas, began."""


@pytest.fixture(scope="module")
def panel() -> Panel:
    return synthetic_panel(4, 1500, ASSETS)


@pytest.fixture(scope="module")
def known(panel: Panel) -> Columns:
    return Indicators(ASSETS).history(panel)


def column(known: Columns, name: str, asset: int = 0) -> np.ndarray:
    return known.values[:, asset, Indicators.names.index(name)]


def flags(known: Columns, name: str, asset: int = 0) -> np.ndarray:
    return known.valid[:, asset, Indicators.names.index(name)]


def true_range(panel: Panel, i: int) -> pd.Series:
    high, low, before = panel.high[:, i], panel.low[:, i], pd.Series(panel.close[:, i]).shift()
    return pd.concat([pd.Series(high - low), (high - before).abs(), (low - before).abs()], axis=1).max(
        axis=1, skipna=False
    )


def wilder(values: pd.Series, period: int) -> np.ndarray:
    """As Wilder wrote it: the plain mean of the first `period` values, then (n - 1) parts of the old, one new."""
    values = values.to_numpy()
    out = np.full(len(values), np.nan)
    first = int(np.argmax(np.isfinite(values)))
    out[first + period - 1] = values[first : first + period].mean()
    for t in range(first + period, len(values)):
        out[t] = (out[t - 1] * (period - 1) + values[t]) / period
    return out


def plain(panel: Panel, i: int) -> dict[str, np.ndarray]:
    close = pd.Series(panel.close[:, i])
    logs, first = np.log(close).diff(), np.log(pd.Series(panel.close[:, 0])).diff()
    gain, loss = close.diff().clip(lower=0), (-close.diff()).clip(lower=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        rsi = 100 - 100 / (1 + wilder(gain, 14) / wilder(loss, 14))
    return {
        "simple_return": close.pct_change().to_numpy(),
        "log_return": logs.to_numpy(),
        "volatility": logs.rolling(24).std().to_numpy(),
        "atr": wilder(true_range(panel, i), 14),
        "rsi": rsi,
        "sma_fast": close.rolling(24).mean().to_numpy(),
        "sma_slow": close.rolling(96).mean().to_numpy(),
        "z_score": ((close - close.rolling(24).mean()) / close.rolling(24).std()).to_numpy(),
        "correlation": logs.rolling(168).corr(first).to_numpy(),
    }


@pytest.mark.parametrize("asset", range(3))
def test_each_indicator_is_its_plain_definition_from_the_first_bar(
    panel: Panel, known: Columns, asset: int
) -> None:
    for name, theirs in plain(panel, asset).items():
        ours = column(known, name, asset)
        np.testing.assert_array_equal(flags(known, name, asset), np.isfinite(theirs), err_msg=name)
        np.testing.assert_allclose(ours, np.nan_to_num(theirs), rtol=1e-9, atol=1e-11, err_msg=name)


def test_exponential_means_begin_with_the_plain_one(panel: Panel, known: Columns) -> None:
    close = pd.Series(panel.close[:, 1])
    for name, span in (("ema_fast", 24), ("ema_slow", 96)):
        ours = column(known, name, 1)
        assert not flags(known, name, 1)[: span - 1].any() and flags(known, name, 1)[span - 1 :].all()
        assert ours[span - 1] == pytest.approx(close[:span].mean(), rel=1e-12)
        assert ours[span] == pytest.approx(ours[span - 1] + 2 / (span + 1) * (close[span] - ours[span - 1]))
        theirs = close.ewm(span=span, adjust=False).mean()
        np.testing.assert_allclose(ours[SETTLED:], theirs[SETTLED:], rtol=1e-7)


def test_supertrend_is_the_recursion_of_its_bands(panel: Panel, known: Columns) -> None:
    """The usual recursion from the first bar, without our limit to the last 400."""
    high, low, close = panel.high[:, 2], panel.low[:, 2], panel.close[:, 2]
    atr = wilder(true_range(panel, 2), 14)
    upper, lower, side = np.inf, -np.inf, 0
    line, sides = np.full(len(close), np.nan), np.zeros(len(close))
    for t in range(14, len(close)):
        basic_upper, basic_lower = (high[t] + low[t]) / 2 + 3 * atr[t], (high[t] + low[t]) / 2 - 3 * atr[t]
        upper = basic_upper if basic_upper < upper or close[t - 1] > upper else upper
        lower = basic_lower if basic_lower > lower or close[t - 1] < lower else lower
        side = 1 if close[t] > upper else -1 if close[t] < lower else side
        line[t], sides[t] = (lower if side > 0 else upper), side
    told = sides != 0
    np.testing.assert_array_equal(flags(known, "supertrend_side", 2), told)
    np.testing.assert_array_equal(column(known, "supertrend_side", 2), sides)
    np.testing.assert_allclose(column(known, "supertrend", 2)[told], line[told], rtol=1e-9)
    assert {-1, 1} <= set(sides) and (np.abs(np.diff(sides)) > 1).sum() > 10


def test_a_silent_bar_repeats_the_last_close_and_is_not_valid(panel: Panel) -> None:
    volume = panel.volume.copy()
    volume[1200:1203, 1] = 0
    grids = (panel.open, panel.high, panel.low, panel.close, volume)
    known = Indicators(ASSETS).history(Panel.of(panel.ts, ASSETS, grids, HOUR_MS))
    assert not known.valid[1200:1203, 1].any() and known.valid[1203:, 1].all()
    assert (column(known, "simple_return", 1)[1200:1203] == 0).all()
    jump = panel.close[1203, 1] / panel.close[1199, 1] - 1
    assert column(known, "simple_return", 1)[1203] == pytest.approx(jump, rel=1e-12)
    alone = Indicators(ASSETS).history(panel)
    assert known.values[:, [0, 2]].tobytes() == alone.values[:, [0, 2]].tobytes(), "never the others"


def test_what_never_moves_has_no_deviation_no_rsi_and_no_correlation(panel: Panel) -> None:
    flat = panel.close.copy()
    flat[:, 1] = 0.3
    known = Indicators(ASSETS).history(Panel.of(panel.ts, ASSETS, (flat,) * 4 + (panel.volume,), HOUR_MS))
    for name in ("z_score", "rsi", "volatility", "correlation", "supertrend"):
        assert not flags(known, name, 1).any() and (column(known, name, 1) == 0).all(), name
    assert (column(known, "sma_fast", 1)[24:] == pytest.approx(0.3)) and flags(known, "sma_fast", 1)[24:].all()
    assert np.isfinite(known.values).all()


def test_other_windows_are_respected(panel: Panel) -> None:
    params = IndicatorParams(fast=5, slow=500, z_window=7, rsi_period=3, supertrend_multiplier=1.5)
    known = Indicators(ASSETS, HOUR_MS, params).history(panel)
    close = pd.Series(panel.close[:, 0])
    np.testing.assert_allclose(column(known, "sma_slow")[499:], close.rolling(500).mean()[499:], rtol=1e-12)
    z = (close - close.rolling(7).mean()) / close.rolling(7).std()
    np.testing.assert_allclose(column(known, "z_score")[6:], z[6:], rtol=1e-7, atol=1e-9)
    turns = [(np.diff(column(k, "supertrend_side")) != 0).sum() for k in (known, Indicators(ASSETS).history(panel))]
    assert turns[0] > 1.5 * turns[1], "nearer bands break more often"
