"""Pair features: each against a plain pandas definition, then causality, live against history, and restarts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_pairs import candles, plain

from core.data.panel import Panel
from core.data.synthetic import HOUR_MS, synthetic_panel
from core.domain.instrument import pairs_of
from core.features.pairs import FeatureHistory, FeatureParams, PairFeatures, feature_hash

ASSETS = ("BTC", "ETH", "SOL", "DOGE")
SETTLED = 250
"""From here on every window is full, and Wilder's start differs from pandas' by less than 1e-6."""


@pytest.fixture(scope="module")
def panel() -> Panel:
    return synthetic_panel(11, 700, ASSETS)


@pytest.fixture(scope="module")
def history(panel: Panel) -> FeatureHistory:
    return PairFeatures(ASSETS).history(panel)


@pytest.mark.parametrize("name", PairFeatures.names)
def test_each_feature_is_what_the_specification_says(panel: Panel, history: FeatureHistory, name: str) -> None:
    frames = candles(panel)
    for p, (i, j) in enumerate([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]):
        ours = history.features[SETTLED:, p, PairFeatures.names.index(name)]
        theirs = plain(frames, i, j)[name].to_numpy()[SETTLED:]
        np.testing.assert_allclose(ours, theirs, rtol=1e-5 if name == "spread_rsi" else 1e-9, atol=1e-12)


def test_rsi_starts_as_wilder_wrote_it(panel: Panel, history: FeatureHistory) -> None:
    change = np.diff(panel.close[:, 0] / panel.close[:, 1])
    gain, loss = np.maximum(change, 0), np.maximum(-change, 0)
    up, down = gain[:14].mean(), loss[:14].mean()
    for t in range(14, 40):
        if t > 14:
            up, down = (13 * up + gain[t - 1]) / 14, (13 * down + loss[t - 1]) / 14
        assert history.features[t, 0, 2] == pytest.approx(100 - 100 / (1 + up / down), rel=1e-12)
    assert history.features[13, 0, 2] == 0.0, "not before fourteen changes are known"


def test_asset_columns_and_correlation(panel: Panel, history: FeatureHistory) -> None:
    np.testing.assert_array_equal(history.close, panel.close)
    atr_pct = history.features[:, 0, PairFeatures.names.index("atr_pct_base")]
    np.testing.assert_array_equal(history.atr_pct[:, 0], atr_pct)
    a_day = history.features[:, 0, PairFeatures.names.index("realized_vol_base")] * 24**0.5
    np.testing.assert_allclose(history.volatility[:, 0], a_day, rtol=1e-15)
    returns = panel.close[1:] / panel.close[:-1] - 1
    for t in (400, 408, 431, 432):  # in force at t: computed at the last bar that opened at 00:00 UTC
        midnight = t - t % 24
        expected = np.corrcoef(returns[midnight - 168 : midnight].T)
        np.testing.assert_allclose(history.frame(t).correlation, expected, rtol=1e-9)
    np.testing.assert_array_equal(history.frame(100).correlation, np.eye(4))


def test_other_bars_renew_the_correlation_at_the_first_bar_of_a_utc_day() -> None:
    panel = synthetic_panel(2, 500, ASSETS, bar_ms=900_000, start_ms=7 * 900_000)
    history = PairFeatures(ASSETS, bar_ms=900_000).history(panel)
    renewed = np.flatnonzero(np.diff(history.day)) + 1
    assert (panel.ts[renewed] % 86_400_000 == 0).all() and len(renewed) == 5


def test_the_future_moves_no_bit_of_the_past(panel: Panel, history: FeatureHistory) -> None:
    rng = np.random.default_rng(0)
    for cut in (60, 255, 431):
        noise = np.exp(rng.normal(0, 0.2, (len(panel) - cut, 4)))
        grids = [grid.copy() for grid in (panel.open, panel.high, panel.low, panel.close, panel.volume)]
        for grid in grids:
            grid[cut:] *= noise
        rate = panel.funding_rate.copy()
        rate[cut:] *= 3
        changed = PairFeatures(ASSETS).history(Panel.of(panel.ts, ASSETS, grids, HOUR_MS, rate))
        assert changed.features[:cut].tobytes() == history.features[:cut].tobytes()
        assert changed.usable[:cut].tobytes() == history.usable[:cut].tobytes()
        assert changed.frame(cut - 1).correlation.tobytes() == history.frame(cut - 1).correlation.tobytes()
        assert changed.features[cut:].tobytes() != history.features[cut:].tobytes()


def assert_same_frames(one: FeatureHistory, other: PairFeatures, panel: Panel, start: int) -> None:
    for t in range(start, len(panel)):
        ours, theirs = other.update(panel.bar(t)), one.frame(t)
        for name in ("features", "usable", "close", "funding", "atr_pct", "volatility", "correlation"):
            assert getattr(ours, name).tobytes() == getattr(theirs, name).tobytes(), (t, name)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), split=st.integers(0, 260), gaps=st.lists(st.integers(0, 259), max_size=40))
def test_one_bar_at_a_time_gives_the_bits_of_one_call(seed: int, split: int, gaps: list[int]) -> None:
    whole = synthetic_panel(seed, 260, ASSETS)
    volume = whole.volume.copy()
    volume[gaps, np.arange(len(gaps)) % 3] = 0
    grids = (whole.open, whole.high, whole.low, whole.close, volume)
    panel = Panel.of(whole.ts, ASSETS, grids, HOUR_MS, whole.funding_rate)
    params = FeatureParams(min_bars=50)
    live = PairFeatures(ASSETS, params)
    live.history(panel.slice(0, split))  # of nothing, now and then
    assert_same_frames(PairFeatures(ASSETS, params).history(panel), live, panel, split)


def test_a_restart_from_the_last_warmup_bars_changes_nothing(panel: Panel, history: FeatureHistory) -> None:
    restarted = PairFeatures(ASSETS)
    assert restarted.warmup == 400
    again = restarted.history(panel.slice(250, 700))
    rsi = PairFeatures.names.index("spread_rsi")
    finite = [f for f in range(len(PairFeatures.names)) if f != rsi]
    for t in range(650, 700):
        ours, theirs = again.frame(t - 250), history.frame(t)
        assert ours.features[:, finite].tobytes() == theirs.features[:, finite].tobytes()
        np.testing.assert_allclose(ours.features[:, rsi], theirs.features[:, rsi], atol=1e-9)
        assert ours.usable.tobytes() == theirs.usable.tobytes()
        assert ours.correlation.tobytes() == theirs.correlation.tobytes()


def test_a_silent_asset_takes_its_pairs_and_never_the_others(panel: Panel) -> None:
    volume = panel.volume.copy()
    volume[300:, 2] = 0  # SOL is delisted
    grids = (panel.open, panel.high, panel.low, panel.close, volume)
    silent = PairFeatures(ASSETS).history(Panel.of(panel.ts, ASSETS, grids, HOUR_MS, panel.funding_rate))
    alone = PairFeatures(ASSETS).history(panel)
    for p, pair in enumerate(pairs_of(ASSETS)):
        if "SOL" in (pair.a, pair.b):
            assert silent.usable[299, p] and not silent.usable[300:, p].any()
        else:
            assert silent.usable[300:, p].all()
            assert silent.features[:, p].tobytes() == alone.features[:, p].tobytes()
    assert np.isfinite(silent.features).all()
    assert (silent.close[300:, 2] == panel.close[299, 2]).all()


def test_fewer_than_200_aligned_bars_exclude_a_pair(history: FeatureHistory) -> None:
    assert not history.usable[:199].any() and history.usable[199:].all()


def test_constant_prices_give_zero_and_no_use(panel: Panel) -> None:
    flat = np.full((len(panel), 4), 0.1)
    flat[:, 1] = 0.3
    frozen = PairFeatures(ASSETS).history(Panel.of(panel.ts, ASSETS, (flat,) * 5, HOUR_MS))
    assert np.isfinite(frozen.features).all() and not frozen.usable.any()
    assert (frozen.features[:, :, PairFeatures.names.index("z_score")] == 0).all()
    np.testing.assert_array_equal(frozen.frame(699).correlation, np.eye(4))


def test_skipped_bars_count_as_silent_and_bars_come_in_order(panel: Panel) -> None:
    gap = panel.volume.copy()
    gap[305:310] = 0
    grids = (panel.open, panel.high, panel.low, panel.close, gap)
    filled = PairFeatures(ASSETS).history(Panel.of(panel.ts, ASSETS, grids, HOUR_MS, panel.funding_rate))
    live = PairFeatures(ASSETS)
    live.history(panel.slice(0, 305))
    assert_same_frames(filled, live, panel, 310)
    for wrong in (panel.bar(699), panel.bar(5), replace(panel, ts=panel.ts + 60_000).bar(699)):
        with pytest.raises(ValueError, match="come in order"):
            live.update(wrong)


def test_only_closed_bars_of_the_right_length_are_taken(panel: Panel) -> None:
    """Known defect 6: live decisions used the bar still forming."""
    forming = replace(panel, bar_ms=HOUR_MS // 2).bar(0)
    with pytest.raises(ValueError, match="does not fit"):
        PairFeatures(ASSETS).update(forming)


def test_the_hash_moves_with_the_windows() -> None:
    assert feature_hash(FeatureParams()) == PairFeatures(ASSETS).hash
    assert feature_hash(FeatureParams(z_window=25)) != feature_hash(FeatureParams())


def test_other_windows_are_respected(panel: Panel) -> None:
    params = FeatureParams(z_window=48, atr_period=5, correlation_window=20)
    history = PairFeatures(ASSETS, params).history(panel)
    spread = pd.Series(panel.close[:, 0] / panel.close[:, 1])
    z = (spread - spread.rolling(48).mean()) / spread.rolling(48).std()
    np.testing.assert_allclose(history.features[60:, 0, 1], z[60:], rtol=1e-8)
    returns = panel.close[1:] / panel.close[:-1] - 1
    np.testing.assert_allclose(history.frame(433).correlation, np.corrcoef(returns[412:432].T), rtol=1e-9)
