"""Hedge ratios, spreads and regimes: against plain recomputation, against published values, and against what was
planted. What is traded at t uses what was known at t-1."""

import numpy as np
import pytest

from core.data.panel import Panel
from core.data.synthetic import HOUR_MS, START_MS, synthetic_panel
from core.features.hedge import HedgeFeatures, HedgeParams
from core.features.mackinnon import Level, critical_value
from core.features.stream import Columns

ASSETS = ("BTC", "ETH", "SOL", "DOGE")
LEGS = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
WINDOW, HALF_LIFE = 168, 72.0
LEVELS: tuple[Level, ...] = ("1%", "5%", "10%")
METHODS = ("ols", "kalman")


@pytest.fixture(scope="module")
def panel() -> Panel:
    return synthetic_panel(8, 900, ASSETS)


@pytest.fixture(scope="module")
def known(panel: Panel) -> Columns:
    return HedgeFeatures(ASSETS).history(panel)


def column(known: Columns, name: str) -> np.ndarray:
    return known.values[..., HedgeFeatures.names.index(name)]


def flags(known: Columns, name: str) -> np.ndarray:
    return known.valid[..., HedgeFeatures.names.index(name)]


def market_of(logs: np.ndarray) -> Panel:
    """A panel of these log closes, (T, N); volume 1."""
    close = np.exp(logs)
    ts = START_MS + HOUR_MS * np.arange(len(logs), dtype=np.int64)
    names = [f"A{i}" for i in range(logs.shape[1])]
    return Panel.of(ts, names, (close, close, close, close, np.ones_like(close)), HOUR_MS)


def hedge(panel: Panel, params: HedgeParams | None = None) -> Columns:
    return HedgeFeatures(panel.assets, panel.bar_ms, params).history(panel)


def dickey_fuller(series: np.ndarray, constant: bool) -> float:
    """The t statistic of the lagged level, one lagged difference, by numpy's least squares."""
    change = np.diff(series)
    regressors = [series[1:-1], change[:-1]] + ([np.ones(len(change) - 1)] if constant else [])
    x, y = np.column_stack(regressors), change[1:]
    fit = np.linalg.lstsq(x, y, rcond=None)[0]
    left = y - x @ fit
    covariance = np.linalg.inv(x.T @ x) * (left @ left) / (len(y) - x.shape[1])
    return float(fit[0] / np.sqrt(covariance[0, 0]))


def test_regression_and_tests_are_those_of_a_plain_least_squares(panel: Panel, known: Columns) -> None:
    logs = np.log(panel.close)
    for t in range(WINDOW - 1, 900, 53):
        rows = slice(t - WINDOW + 1, t + 1)
        for p, (a, b) in enumerate(LEGS):
            y, x = logs[rows, a], logs[rows, b]
            design = np.column_stack([np.ones(WINDOW), x])
            alpha, beta = np.linalg.lstsq(design, y, rcond=None)[0]
            assert column(known, "ols_alpha")[t, p] == pytest.approx(alpha, rel=1e-9)
            assert column(known, "ols_beta")[t, p] == pytest.approx(beta, rel=1e-9)
            residual = y - alpha - beta * x
            assert column(known, "adf")[t, p] == pytest.approx(dickey_fuller(residual, False), rel=1e-9)
            assert column(known, "adf_ratio")[t, p] == pytest.approx(dickey_fuller(y - x, True), rel=1e-9)


def test_the_filter_is_the_textbook_recursion(panel: Panel, known: Columns) -> None:
    """In matrices, with alpha where it is defined, at log price 0: less exact, but plain to read."""
    logs, keep = np.log(panel.close), 0.5 ** (1 / HALF_LIFE)
    for p, (a, b) in enumerate(LEGS):
        x, y = logs[:WINDOW, b], logs[:WINDOW, a]
        design = np.column_stack([np.ones(WINDOW), x])
        state = np.linalg.lstsq(design, y, rcond=None)[0]
        r = ((y - design @ state) ** 2).sum() / (WINDOW - 2)
        covariance = np.linalg.inv(design.T @ design) * r
        for t in range(WINDOW, 900):
            prior = covariance / keep
            h = np.array([1.0, logs[t, b]])
            foreseen = h @ prior @ h + r
            surprise = logs[t, a] - h @ state
            assert column(known, "kalman_spread")[t, p] == pytest.approx(surprise, abs=1e-8)
            assert column(known, "kalman_deviation")[t, p] == pytest.approx(np.sqrt(foreseen), rel=1e-5)
            gain = prior @ h / foreseen
            state = state + gain * surprise
            learned = keep * r + (1 - keep) * surprise**2 * r / foreseen
            covariance = (prior - np.outer(gain, h @ prior)) * learned / r
            r = learned
            assert column(known, "kalman_beta")[t, p] == pytest.approx(state[1], abs=1e-6)
            assert column(known, "kalman_alpha")[t, p] == pytest.approx(state[0], abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_traded_uses_the_slope_of_the_bar_before(panel: Panel, known: Columns, method: str) -> None:
    logs = np.log(panel.close)
    alpha, beta = column(known, f"{method}_alpha"), column(known, f"{method}_beta")
    assert (column(known, f"{method}_beta_lag")[WINDOW:] == beta[WINDOW - 1 : -1]).all()
    jump = np.abs(beta[WINDOW:-1] - beta[WINDOW - 1 : -2])
    np.testing.assert_array_equal(column(known, f"{method}_beta_jump")[WINDOW + 1 :], jump)
    for t in range(WINDOW + 1, 900, 71):
        for p, (a, b) in enumerate(LEGS):
            lag = beta[t - 1, p]
            spread = logs[:, a] - lag * logs[:, b]
            z = (spread[t] - spread[t - 23 : t + 1].mean()) / spread[t - 23 : t + 1].std(ddof=1)
            volatility = np.diff(spread[t - 24 : t + 1]).std(ddof=1)
            told = spread[t] - alpha[t - 1, p]
            assert column(known, f"{method}_spread")[t, p] == pytest.approx(told, abs=1e-12)
            assert column(known, f"{method}_z_score")[t, p] == pytest.approx(z, rel=1e-7, abs=1e-9)
            assert column(known, f"{method}_volatility")[t, p] == pytest.approx(volatility, rel=1e-9)


def test_a_bar_cannot_choose_the_slope_that_it_is_judged_by(panel: Panel, known: Columns) -> None:
    logs = np.log(panel.close[:501])
    logs[500, 0] += 0.3
    shocked = hedge(market_of(logs))
    for method in METHODS:
        for name in ("beta_lag", "beta_jump"):
            before = column(known, f"{method}_{name}")[500]
            assert (column(shocked, f"{method}_{name}")[500] == before).all(), name
        moved = column(shocked, f"{method}_spread")[500] - column(known, f"{method}_spread")[500]
        np.testing.assert_allclose(moved[:3], 0.3, atol=1e-9)
        assert (column(shocked, f"{method}_beta")[500, :3] != column(known, f"{method}_beta")[500, :3]).all()


def test_warmup_and_silence_are_not_valid(panel: Panel) -> None:
    volume = panel.volume.copy()
    volume[400:402, 1] = 0
    volume[600:640, 3] = 0
    grids = (panel.open, panel.high, panel.low, panel.close, volume)
    known = HedgeFeatures(ASSETS).history(Panel.of(panel.ts, ASSETS, grids, HOUR_MS))
    first = {"ols_beta": 167, "ols_beta_lag": 168, "ols_spread": 169, "kalman_z_score": 169, "adf": 167}
    for name, bar in first.items():
        assert not flags(known, name)[:bar].any() and flags(known, name)[bar : bar + 50].all(), name
    assert not known.valid[400:402, [0, 3, 4]].any() and known.valid[400:402, [1, 2, 5]].all()
    assert known.valid[402, [0, 3, 4]].all(), "two silent bars are forgiven"
    of_doge = [2, 4, 5]
    assert not known.valid[600:789, of_doge].any(), "forty are not, until few are left in the window"
    assert known.valid[790:, of_doge, HedgeFeatures.names.index("ols_beta")].all()
    held = column(known, "kalman_beta")[600:640, 2]
    assert (held == held[0]).all(), "the filter does not learn from silence"


def test_a_slope_that_has_jumped_blocks_its_spread_alone(panel: Panel) -> None:
    logs = np.log(panel.close)
    logs[500:, 0] += 0.5 * np.sign(np.arange(400) % 7 - 3)  # a market that has gone mad
    known = hedge(market_of(logs))
    jumped = column(known, "ols_beta_jump") > 0.1
    assert jumped[500:, :3].any()
    for name in ("spread", "z_score", "volatility"):
        np.testing.assert_array_equal(flags(known, f"ols_{name}")[200:], ~jumped[200:])
    for name in ("ols_beta", "ols_beta_lag", "ols_beta_jump", "adf"):
        assert flags(known, name)[200:].all(), name
    lenient = hedge(market_of(logs), HedgeParams(max_beta_jump=1e9))
    assert flags(lenient, "ols_spread")[200:].all()


@pytest.mark.parametrize("quote", ["flat", "same"])
def test_without_movement_there_is_no_slope_and_no_test(panel: Panel, quote: str) -> None:
    logs = np.log(panel.close)
    logs[:, 1] = 1.1 if quote == "flat" else logs[:, 0] + np.log(3.0)
    known = hedge(market_of(logs))
    assert np.isfinite(known.values).all()
    blocked = (
        ("ols_beta", "ols_z_score", "kalman_z_score") if quote == "flat" else ("ols_z_score", "ols_volatility")
    )
    for name in (*blocked, "adf", "cointegrated"):
        assert not flags(known, name)[:, 0].any() and (column(known, name)[:, 0] == 0).all(), name
    if quote == "same":
        np.testing.assert_allclose(column(known, "ols_beta")[WINDOW:, 0], 1.0, rtol=1e-12)
        assert not flags(known, "adf_ratio")[:, 0].any()
    assert flags(known, "ols_z_score")[200:, -1].all(), "never the others"


def test_the_unit_of_a_price_does_not_matter(panel: Panel, known: Columns) -> None:
    other = hedge(market_of(np.log(panel.close) + np.array([0.0, 9.0, -7.0, 3.0])))
    for name in set(HedgeFeatures.names) - {"ols_alpha", "kalman_alpha"}:
        np.testing.assert_allclose(column(other, name), column(known, name), rtol=1e-6, atol=1e-8, err_msg=name)


def cointegrated(bars: int, beta: np.ndarray, seed: int) -> Panel:
    """A pair whose residual is white noise of 0.4% about a line of slope `beta`, and a walk apart from it."""
    rng = np.random.default_rng(seed)
    walks = np.cumsum(rng.normal(0, 0.01, (bars, 2)), axis=0)
    base = 4.0 + np.cumsum(beta * np.diff(walks[:, 0], prepend=0)) + rng.normal(0, 0.004, bars)
    return market_of(np.column_stack([base, walks[:, 0], walks[:, 1]]))


def test_a_planted_hedge_ratio_is_found_and_its_residual_is_stationary() -> None:
    known = hedge(cointegrated(3000, np.full(3000, 0.7), 1))
    for method, most in (("ols", 0.05), ("kalman", 0.05)):
        error = column(known, f"{method}_beta")[300:, 0] - 0.7
        assert np.abs(error).mean() < most, method
    assert column(known, "cointegrated")[300:, 0].mean() > 0.98
    assert column(known, "cointegrated")[300:, 1].mean() < 0.3, "a walk apart is not"
    sure = column(known, "kalman_spread")[300:, 0] / column(known, "kalman_deviation")[300:, 0]
    assert sure.std() == pytest.approx(1.0, abs=0.05), "the foreseen deviation is the true one"


def test_the_filter_follows_a_hedge_ratio_that_moves() -> None:
    beta = np.where(np.arange(3000) < 1500, 0.7, 1.3)
    found = column(hedge(cointegrated(3000, beta, 2)), "kalman_beta")[:, 0]
    assert found[1400:1500].mean() == pytest.approx(0.7, abs=0.1)
    assert found[2100:2500].mean() == pytest.approx(1.3, abs=0.1)


def test_critical_values_are_the_published_ones() -> None:
    # Asymptotic: MacKinnon (2010), table 2. Finite: Fuller (1976), table 8.5.2, by another simulation.
    asymptotic: tuple[tuple[Level, float, float], ...] = (
        ("1%", -3.43035, -3.89644),
        ("5%", -2.86154, -3.33613),
        ("10%", -2.56677, -3.04445),
    )
    for level, one, two in asymptotic:
        assert critical_value(level, 1, 10**9) == pytest.approx(one, abs=1e-6)
        assert critical_value(level, 2, 10**9) == pytest.approx(two, abs=1e-6)
    for bars, of_fuller in (
        (50, (-3.58, -2.93, -2.60)),
        (100, (-3.51, -2.89, -2.58)),
        (500, (-3.44, -2.87, -2.57)),
    ):
        ours = [critical_value(level, 1, bars) for level in LEVELS]
        assert ours == pytest.approx(of_fuller, abs=0.02)
    assert critical_value("5%", 2, 100) == pytest.approx(-3.33613 - 0.061101 - 0.0006823)


def test_walks_that_have_nothing_in_common_are_told_to_at_the_level_promised() -> None:
    """With the plain test's values, which take the slope as given, it would be a fifth, not a twentieth."""
    rng = np.random.default_rng(5)
    found, naive, plain = [], [], []
    for _ in range(150):
        last = hedge(market_of(np.cumsum(rng.normal(0, 0.01, (WINDOW, 8)), axis=0)))
        found.append(column(last, "cointegrated")[-1])
        naive.append(column(last, "adf")[-1] < critical_value("5%", 1, WINDOW - 2))
        plain.append(column(last, "ratio_reverting")[-1])
    assert np.mean(found) == pytest.approx(0.05, abs=0.012)
    assert np.mean(plain) == pytest.approx(0.05, abs=0.012)
    assert np.mean(naive) > 0.1
