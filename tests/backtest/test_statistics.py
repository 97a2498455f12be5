"""Statistics: the papers' own examples, and what must come out where the truth is known because it was made."""

from itertools import combinations
from math import sqrt

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import made_result

from core.backtest.metrics import DAY_MS, drawdowns, growth, sharpe
from core.backtest.result import Result
from core.backtest.statistics import (
    BLOCK,
    DRAWS,
    block_starts,
    expected_maximum,
    minimum_track,
    overfitting_probability,
    probabilistic,
    profit_interval,
    resampled_paths,
    resampled_totals,
    statistics,
)
from core.domain.market import Floats


def run(returns: Floats, bar_ms: int = DAY_MS) -> Result:
    """A run with these returns per bar."""
    shape = made_result(0, bars=len(returns), pairs=1, trades=1, bar_ms=bar_ms)
    return msgspec.structs.replace(shape, equity=1e4 * np.concatenate([[1.0], np.cumprod(1 + returns)]))


def trials(count: int, variance: float) -> Floats:
    """`count` Sharpe ratios of exactly this sample variance."""
    draws = np.random.default_rng(0).standard_normal(count)
    return np.asarray(draws / draws.std(ddof=1) * sqrt(variance))


# Bailey and Lopez de Prado 2014, "A numerical example": yearly Sharpe ratio 2.5 over five years of 250 days, the
# trials' yearly ratios of variance 1/2; kurtosis 10 is an excess of 7.
@pytest.mark.parametrize(
    ("count", "skew", "excess", "deflated"), [(100, -3, 7, 0.9004), (46, -3, 7, 0.9505), (88, 0, 0, 0.9505)]
)
def test_deflated_sharpe_ratio_of_the_paper(count: int, skew: float, excess: float, deflated: float) -> None:
    by_luck = expected_maximum(trials(count, 0.5 / 250))
    assert probabilistic(2.5 / sqrt(250), 1250, skew, excess, above=by_luck) == pytest.approx(deflated, abs=1e-4)


def test_expected_maximum_of_the_paper() -> None:
    assert expected_maximum(trials(100, 0.5 / 250)) == pytest.approx(0.1132, abs=1e-4)


# Bailey and Lopez de Prado 2012: 24 months with a monthly ratio of 0.458.
@pytest.mark.parametrize(("skew", "excess", "probability"), [(0, 0, 0.982), (-2.448, 7.164, 0.913)])
def test_probabilistic_sharpe_ratio_of_the_paper(skew: float, excess: float, probability: float) -> None:
    assert probabilistic(0.458, 24, skew, excess) == pytest.approx(probability, abs=6e-4)


# The same: a yearly ratio of 2 is above 1 after so many years of days, weeks and months.
@pytest.mark.parametrize(("yearly", "years"), [(250, 2.73), (52, 2.83), (12, 3.24)])
def test_minimum_track_record_of_the_paper(yearly: int, years: float) -> None:
    bars = minimum_track(2 / sqrt(yearly), 0, 0, above=1 / sqrt(yearly))
    assert bars is not None and bars / yearly == pytest.approx(years, abs=5e-3)


def test_no_track_record_proves_a_ratio_that_is_not_there() -> None:
    assert minimum_track(0.0, 0, 0) is None
    assert minimum_track(-0.1, 0, 0) is None


def test_a_track_record_of_the_minimum_length_is_just_enough() -> None:
    bars = minimum_track(0.05, -1.0, 4.0)
    assert bars is not None and probabilistic(0.05, round(bars), -1.0, 4.0) == pytest.approx(0.95, abs=1e-3)


def test_expected_maximum_is_that_of_normal_draws() -> None:
    draws = np.random.default_rng(1).standard_normal((4_000, 200))
    assert expected_maximum(trials(200, 1.0)) == pytest.approx(draws.max(axis=1).mean(), rel=0.02)


def test_one_trial_is_not_deflated() -> None:
    said = statistics(made_result(3, edge=0.004))
    assert said.trials == 1 and said.expected_max_sharpe == 0
    assert said.deflated_sharpe == said.probabilistic_sharpe


def test_every_trial_makes_the_same_run_less_sure() -> None:
    result, ratios = made_result(3, edge=0.003), np.random.default_rng(0).normal(0, 0.02, 500)
    sure = [statistics(result, sharpes=ratios[:count]).deflated_sharpe or 0.0 for count in (1, 10, 100, 500)]
    assert sure == sorted(sure, reverse=True) and sure[0] > sure[-1]


def test_the_best_of_many_without_an_edge_is_seen_through() -> None:
    """Of 50 coin flips the best one looks sure alone; deflated, it is called sure in fewer than 5% of worlds."""
    draw, alone, deflated = np.random.default_rng(2), 0, 0
    for _ in range(300):
        worlds = draw.normal(0, 0.01, (50, 250))
        ratios = worlds.mean(axis=1) / worlds.std(axis=1, ddof=1)
        best = float(ratios.max())
        alone += probabilistic(best, 250, 0, 0) > 0.95
        deflated += probabilistic(best, 250, 0, 0, above=expected_maximum(ratios)) > 0.95
    assert alone > 270
    assert deflated < 15


def test_a_true_edge_survives_deflation() -> None:
    draw = np.random.default_rng(3)
    worlds = draw.normal(0, 0.01, (50, 1_000))
    worlds[17] += 0.002
    ratios = worlds.mean(axis=1) / worlds.std(axis=1, ddof=1)
    said = statistics(run(worlds[17]), sharpes=ratios)
    assert said.trials == 50 and (said.deflated_sharpe or 0) > 0.95


def test_noise_is_overfitted_half_of_the_time() -> None:
    found = [
        overfitting_probability(np.random.default_rng(seed).normal(0, 1, (20, 400)), blocks=10)
        for seed in range(60)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=0.07)


def test_a_set_with_a_true_edge_is_not_overfitted() -> None:
    returns = np.random.default_rng(4).normal(0, 1, (20, 1_600))
    returns[7] += 0.3
    assert overfitting_probability(returns) < 0.01


def test_a_winner_that_only_ever_wins_one_half_is_overfitted() -> None:
    """Each set is good in its own stretch and bad in all others: the best in sample is the worst out of it."""
    returns = np.random.default_rng(5).normal(-0.2, 1, (16, 1_600))
    for own in range(16):
        returns[own, own * 100 : own * 100 + 100] += 3.2
    assert overfitting_probability(returns) > 0.95


def test_sets_that_are_all_alike_say_nothing() -> None:
    one = np.random.default_rng(6).normal(0, 1, 320)
    assert overfitting_probability(np.tile(one, (5, 1))) == 0.5


@pytest.mark.parametrize("sets", [5, 8])
def test_overfitting_is_what_plain_python_says(sets: int) -> None:
    """Every choice of 3 of 6 stretches; the logit of the winner's rank out of sample below zero."""
    returns = np.random.default_rng(sets).normal(0, 1, (sets, 121))
    blocks = [returns[:, 121 * place // 6 : 121 * (place + 1) // 6] for place in range(6)]
    found = []
    for chosen in combinations(range(6), 3):
        inside = np.hstack([blocks[place] for place in chosen])
        outside = np.hstack([blocks[place] for place in range(6) if place not in chosen])
        scores = [row.mean() / row.std() for row in outside]
        winner = scores[int(np.argmax([row.mean() / row.std() for row in inside]))]
        share = sum(score <= winner for score in scores) / (sets + 1)
        found.append(1.0 if share < 0.5 else 0.5 if share == 0.5 else 0.0)
    assert overfitting_probability(returns, blocks=6) == pytest.approx(np.mean(found))


def test_overfitting_needs_sets_and_bars() -> None:
    with pytest.raises(ValueError, match="1 parameter sets over 100 bars"):
        overfitting_probability(np.zeros((1, 100)))
    with pytest.raises(ValueError, match="2 parameter sets over 15 bars"):
        overfitting_probability(np.zeros((2, 15)))


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Independent returns: the true P&L of such a path lies in about 95% of the intervals."""
    draw, held, worlds = np.random.default_rng(7), 0, 150
    for _ in range(worlds):
        interval = profit_interval(np.cumsum(np.append(0.0, draw.normal(0.5, 3, 24 * 60))))
        assert interval is not None
        held += interval[0] <= 0.5 * 24 * 60 <= interval[1]
    assert 0.88 <= held / worlds <= 0.99


def test_blocks_keep_what_hangs_together() -> None:
    """Returns in runs are less sure than their number says: wider than the interval of the same ones shuffled."""
    draw = np.random.default_rng(8)
    together = np.repeat(draw.normal(0, 1, 200), 12)
    wide = profit_interval(np.append(0.0, np.cumsum(together)))
    narrow = profit_interval(np.append(0.0, np.cumsum(draw.permutation(together))))
    assert wide is not None and narrow is not None
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])


def test_too_short_a_path_has_no_interval() -> None:
    assert profit_interval(np.zeros(3 * BLOCK)) is None
    assert profit_interval(np.zeros(3 * BLOCK + 1)) == (0, 0)
    short = statistics(made_result(1, bars=60, trades=2))
    assert (short.total_return, short.sharpe, short.max_drawdown, short.trade_profit) == (None,) * 4


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1_000), length=st.integers(80, 300), block=st.integers(1, 26))
def test_resampled_paths_are_what_plain_python_says(seed: int, length: int, block: int) -> None:
    returns = np.random.default_rng(seed).normal(0, 0.02, length)
    starts = block_starts(length, block, seed)
    assert starts.shape[0] == DRAWS and starts.min() >= 0 and starts.max() + block <= length
    out = np.empty((2, 3))
    resampled_paths(returns, starts[:2], block, out)
    for draw in range(2):
        path = np.concatenate([returns[first : first + block] for first in starts[draw]])[:length]
        wealth = np.concatenate([[1.0], np.cumprod(1 + path)])
        deepest = min((down.depth for down in drawdowns(np.arange(length + 1), wealth)), default=0.0)
        assert out[draw] == pytest.approx([wealth[-1] - 1, sharpe(path, 1.0), deepest])


def test_totals_are_scaled_to_the_length_of_the_path() -> None:
    assert resampled_totals(np.ones(100), 24, 0) == pytest.approx(np.full(DRAWS, 100.0))


def test_estimates_stand_beside_their_intervals_and_repeat() -> None:
    result = made_result(11, bars=3_000)
    said = statistics(result)
    estimates = (said.total_return, said.sharpe, said.max_drawdown, said.trade_profit)
    for estimate in estimates:
        assert estimate is not None and estimate.low < estimate.value < estimate.high
    assert statistics(result) == said
    assert statistics(result, seed=1) != said
    assert said.block == 24  # a day of hours


def test_a_day_of_bars_is_the_least_block() -> None:
    assert statistics(run(np.random.default_rng(0).normal(0, 0.01, 1_000))).block == 10  # the cube root of the bars


def test_a_run_that_did_nothing_proves_nothing() -> None:
    said = statistics(run(np.zeros(500)))
    assert (said.sharpe, said.probabilistic_sharpe, said.deflated_sharpe, said.min_bars) == (None,) * 4
    assert growth(run(np.zeros(5)).equity).tolist() == [0.0] * 5
