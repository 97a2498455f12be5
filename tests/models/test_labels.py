"""Labels: what the compiled loops say is what a patient reader of the specification would have worked out."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.panel import Panel
from core.models.labels import LabelRule, Labels, label, uniqueness

HOUR = 3_600_000
ASSETS = ("AAA", "BBB", "CCC")
LEGS = np.array([(0, 1), (0, 2), (1, 2)])
BARS = 40

rules = st.builds(
    LabelRule,
    z_entry=st.sampled_from([0.5, 1.0]),
    z_exit=st.sampled_from([0.0, 0.3]),
    min_hold=st.sampled_from([0, 2]),
    horizon=st.integers(1, 12),
    stop_mode=st.sampled_from(["atr", "volatility"]),
    stop_atr=st.sampled_from([1.0, 4.0]),
    target_atr=st.sampled_from([1.0, 4.0]),
    stop_min=st.just(0.01),
    target_min=st.just(0.01),
    fee=st.sampled_from([0.0, 0.0005, 0.01]),
    move=st.sampled_from([0.005, 0.05]),
)


class Market:
    """A small random market with its z-scores, ATR and flags, as features would have delivered them."""

    def __init__(self, seed: int) -> None:
        chance = np.random.default_rng(seed)
        close = 100.0 * np.exp(np.cumsum(chance.normal(0.0, 0.02, (BARS, 3)), axis=0))
        opens = close * np.exp(chance.normal(0.0, 0.005, (BARS, 3)))
        high, low = np.maximum(opens, close), np.minimum(opens, close)
        rate = np.where(chance.random((BARS, 3)) < 0.3, chance.normal(0.0, 0.002, (BARS, 3)), np.nan)
        ts = np.arange(BARS, dtype=np.int64) * HOUR
        self.panel = Panel.of(ts, ASSETS, (opens, high, low, close, np.ones((BARS, 3))), HOUR, rate)
        self.z = chance.normal(0.0, 1.2, (BARS, 3))
        self.usable = chance.random((BARS, 3)) > 0.1
        self.atr = np.where(chance.random((BARS, 3)) < 0.1, np.nan, chance.uniform(0.0, 0.04, (BARS, 3)))
        self.volatility = np.where(chance.random((BARS, 3)) < 0.1, 0.0, chance.uniform(0.01, 0.1, (BARS, 3)))

    def label(self, rule: LabelRule, panel: Panel | None = None) -> Labels:
        return label(panel or self.panel, LEGS, self.z, self.usable, self.atr, self.volatility, rule)


def bounds_by_hand(market: Market, rule: LabelRule, t: int, a: int) -> tuple[float, float]:
    """(stop, target); without a BTC the first asset's volatility is the measure."""
    atr, volatility, usual = market.atr[t, a], market.volatility[t, a], market.volatility[t, 0]
    if rule.stop_mode == "volatility":
        ratio = min(max(volatility / usual, 0.5), 2.0) if volatility > 0 and usual > 0 else 1.0
        return rule.stop_default * ratio, rule.target_default * ratio
    if not (np.isfinite(atr) and atr > 0):
        return rule.stop_default, rule.target_default
    return (
        min(max(rule.stop_atr * atr, rule.stop_min), rule.stop_max),
        min(max(rule.target_atr * atr, rule.target_min), rule.target_max),
    )


def profit_by_hand(market: Market, rule: LabelRule, t: int, p: int) -> tuple[float, int]:
    """(profit of a gross of 1, last bar seen) of the trade that bar t opens: an account of two positions."""
    panel, (a, b) = market.panel, LEGS[p]
    stop, target = bounds_by_hand(market, rule, t, a)
    short = market.z[t, p] > 0
    quantity = {a: 0.5 / panel.open[t + 1, a], b: 0.5 / panel.open[t + 1, b]}
    quantity[a if short else b] *= -1
    cash = sum(-q * panel.open[t + 1, i] - rule.fee * abs(q) * panel.open[t + 1, i] for i, q in quantity.items())
    for u in range(t + 1, t + rule.horizon + 1):
        gain = cash + sum(q * panel.close[u, i] for i, q in quantity.items())
        z = market.z[u, p] if short else -market.z[u, p]
        crossed = market.usable[u, p] and z <= rule.z_exit and u - t >= rule.min_hold
        for i, q in quantity.items():  # what is still held at the next open settles its funding
            rate = panel.funding_rate[u + 1, i]
            cash -= q * panel.open[u + 1, i] * (0.0 if np.isnan(rate) else rate)
        if crossed or gain <= -stop or gain >= target or u == t + rule.horizon:
            sold = sum(
                q * panel.open[u + 1, i] - rule.fee * abs(q) * panel.open[u + 1, i] for i, q in quantity.items()
            )
            return cash + sold, u + 1
    raise AssertionError("the horizon ends every trade")


def published_by_hand(market: Market, rule: LabelRule, t: int, p: int) -> tuple[int, int]:
    spread = market.panel.close[:, LEGS[p][0]] / market.panel.close[:, LEGS[p][1]]
    ahead = range(t + 1, t + rule.horizon + 1)
    z = market.z[t, p]
    if z > rule.z_entry:
        hits = [u for u in ahead if spread[u] < spread[t] * (1 - rule.move)]
    elif z < -rule.z_entry:
        hits = [u for u in ahead if spread[u] > spread[t] * (1 + rule.move)]
    else:
        hits = []
    return (1, hits[0]) if hits else (0, t + rule.horizon)


@given(seed=st.integers(0, 10_000), rule=rules)
@settings(max_examples=60, deadline=None)
def test_the_default_label_is_the_sign_of_the_two_leg_profit_after_costs_and_funding(seed, rule):
    market = Market(seed)
    y, end = market.label(rule)
    for t in range(BARS):
        for p in range(3):
            wanted = t + rule.reach < BARS and market.usable[t, p] and abs(market.z[t, p]) > rule.z_entry
            assert (y[t, p] >= 0) == wanted == (end[t, p] >= 0)
            if wanted:
                profit, last = profit_by_hand(market, rule, t, p)
                assert end[t, p] == last
                assert abs(profit) < 1e-12 or y[t, p] == (profit > 0)


@given(seed=st.integers(0, 10_000), rule=rules)
@settings(max_examples=40, deadline=None)
def test_the_published_label_asks_whether_the_spread_ever_moved_back(seed, rule):
    market = Market(seed)
    rule = LabelRule(kind="published", z_entry=rule.z_entry, horizon=rule.horizon, move=rule.move)
    y, end = market.label(rule)
    for t in range(BARS - rule.reach):
        for p in range(3):
            if market.usable[t, p]:
                assert (y[t, p], end[t, p]) == published_by_hand(market, rule, t, p)
            else:
                assert y[t, p] == end[t, p] == -1
    assert (y[BARS - rule.reach :] == -1).all()


@pytest.mark.parametrize("kind", ["profit", "published"])
def test_a_label_sees_nothing_after_its_end_and_nothing_before_its_signal(kind):
    market = Market(3)
    rule = LabelRule(kind=kind, horizon=8)
    y, end = market.label(rule)
    chance = np.random.default_rng(0)
    for t, p in zip(*np.nonzero(y >= 0), strict=True):
        noise = np.exp(chance.normal(0.0, 0.5, (BARS, 3)))
        noise[t : end[t, p] + 1] = 1.0
        ohlc = [getattr(market.panel, name) * noise for name in ("open", "high", "low", "close")]
        rate = np.where(noise == 1.0, market.panel.funding_rate, 0.1)
        other = Market(3)
        other.panel = Panel.of(market.panel.ts, ASSETS, (*ohlc, market.panel.volume), HOUR, rate)
        other.z = np.where(noise == 1.0, market.z, -market.z)
        other.volatility = np.where(noise == 1.0, market.volatility, 1.0)
        other.atr = np.where(noise == 1.0, market.atr, 1.0)
        again = other.label(rule)
        assert (again.y[t, p], again.end[t, p]) == (y[t, p], end[t, p])


def test_a_profit_that_costs_eat_is_a_loss():
    market = Market(5)
    free = market.label(LabelRule(horizon=8, fee=0.0)).y
    dear = market.label(LabelRule(horizon=8, fee=0.2, stop_max=0.99, stop_min=0.9)).y
    assert (free == 1).any() and (dear[dear >= 0] == 0).all()


def test_funding_alone_decides_a_trade_of_flat_prices():
    market = Market(6)
    flat = np.full((BARS, 3), 100.0)
    received = np.where(np.arange(3) == 0, 0.01, np.nan) * np.ones((BARS, 1))  # longs of AAA pay, shorts receive
    market.panel = Panel.of(market.panel.ts, ASSETS, (flat, flat, flat, flat, flat), HOUR, received)
    y = market.label(LabelRule(horizon=8, fee=0.0)).y
    of_a = y[:, :2]
    assert set(of_a[market.z[:, :2] > 1]) <= {1, -1} and set(of_a[market.z[:, :2] < -1]) <= {0, -1}
    assert (of_a == 1).any() and (of_a == 0).any()


def test_quick_trades_at_the_end_of_the_data_are_left_out_with_the_slow_ones():
    market = Market(7)
    rule = LabelRule(horizon=10)
    y, end = market.label(rule)
    assert (y[BARS - 11 :] == -1).all() and end.max() <= BARS - 1
    assert (y[: BARS - 11][(np.abs(market.z) > 1)[: BARS - 11] & market.usable[: BARS - 11]] >= 0).all()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_uniqueness_is_the_mean_over_a_label_s_life_of_one_over_the_labels_alive(seed):
    chance = np.random.default_rng(seed)
    end = np.where(chance.random((30, 2)) < 0.5, np.arange(30)[:, None] + chance.integers(1, 6, (30, 2)), -1)
    end[end > 29] = -1
    weight = uniqueness(end)
    for p in range(2):
        lives = {t: range(t + 1, end[t, p] + 1) for t in range(30) if end[t, p] >= 0}
        alive = Counter(u for life in lives.values() for u in life)
        for t in range(30):
            wanted = np.mean([1 / alive[u] for u in lives[t]]) if t in lives else 0.0
            assert weight[t, p] == pytest.approx(wanted, abs=1e-12)


def test_labels_that_do_not_overlap_have_full_weight():
    end = np.full((10, 1), -1)
    end[0], end[3], end[6] = 3, 6, 9
    assert uniqueness(end)[[0, 3, 6], 0] == pytest.approx([1.0, 1.0, 1.0])
