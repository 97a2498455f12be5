"""The compiled walk: scikit-learn's own probabilities, bit for bit, and their calibration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier

from core.models.forest import DEPTH, Forest
from core.models.train import complete, platt


def fitted(
    seed: int, rows: int = 800, min_leaf: int = 5, trees: int = 25
) -> tuple[RandomForestClassifier, np.ndarray]:
    chance = np.random.default_rng(seed)
    x = chance.normal(size=(rows, 7)) * 10.0 ** chance.integers(-6, 6, 7)
    x[:, 6] = chance.integers(0, 4, rows)  # a column of few values, as the pair's identity is
    y = (x[:, 0] * x[:, 6] + chance.normal(size=rows) * x[:, 0].std() > 0).astype(int)
    model = RandomForestClassifier(
        trees, max_depth=DEPTH, min_samples_leaf=min_leaf, class_weight={0: 1, 1: 3}, random_state=seed
    )
    return model.fit(x, y), x


@pytest.mark.parametrize("min_leaf", [1, 30, 200, 500])
def test_raw_probabilities_equal_scikit_learn_exactly(min_leaf):
    model, x = fitted(1, min_leaf=min_leaf)
    forest = complete(model)
    assert (forest.raw(x) == model.predict_proba(x)[:, 1]).all()


def test_values_at_and_around_every_threshold_go_the_same_way():
    model, x = fitted(2)
    edges = [
        (f, v) for e in model.estimators_ for f, v in zip(e.tree_.feature, e.tree_.threshold, strict=True) if f >= 0
    ]
    rows = np.repeat(x[:1], 3 * len(edges), axis=0)
    for n, (feature, value) in enumerate(edges):
        near = np.float32(value)
        rows[3 * n : 3 * n + 3, feature] = (
            value,
            np.nextafter(near, np.float32(-9e9)),
            np.nextafter(near, np.float32(9e9)),
        )
    assert (complete(model).raw(rows) == model.predict_proba(rows)[:, 1]).all()


def test_a_row_that_is_not_finite_has_no_score_and_harms_no_other():
    model, x = fitted(3)
    forest = complete(model)
    holed = x[:6].copy()
    holed[1, 2], holed[4, 0] = np.nan, np.inf
    score = forest.score(holed)
    assert np.isnan(score[[1, 4]]).all()
    whole = [0, 2, 3, 5]
    assert (score[whole] == forest.score(x[:6])[whole]).all()


def test_one_call_scores_all_pairs_whatever_the_layout_of_the_rows():
    model, x = fitted(4)
    forest = complete(model)
    rows = x[:45]
    once = forest.score(rows)
    assert once.shape == (45,) and once.dtype == np.float64
    assert (once == forest.score(np.asfortranarray(rows))).all()
    assert (once == np.concatenate([forest.score(row[None]) for row in rows])).all()


def test_calibration_keeps_the_order_and_stays_within_zero_and_one():
    leaf = np.repeat(np.array([[0.0, 0.25, 0.5, 0.75]]), 8, axis=1).reshape(1, 32)
    leaf[0, -1] = 1.0
    walks = np.zeros((1, 31), np.int32)
    for platt_of in ([1.0, 0.0], [0.3, -2.0], [4.0, 1.0]):
        forest = Forest(walks, np.full((1, 31), 0.0, np.float32), leaf, np.array(platt_of))
        low, high = forest.score(np.array([[-1.0], [1.0]]))
        assert 0.0 <= low < high <= 1.0 and np.isfinite([low, high]).all()


@given(seed=st.integers(0, 1000), slope=st.floats(0.3, 2.0), shift=st.floats(-1.5, 1.5))
@settings(max_examples=25, deadline=None)
def test_platt_finds_the_scale_that_made_the_labels_and_their_frequency(seed, slope, shift):
    chance = np.random.default_rng(seed)
    logit = chance.normal(0.0, 1.0, 20_000)
    y = (chance.random(20_000) < 1 / (1 + np.exp(-(slope * logit + shift)))).astype(np.int8)
    raw = 1 / (1 + np.exp(-logit))
    found = platt(raw, y)
    assert found == pytest.approx([slope, shift], abs=0.15)
    calibrated = 1 / (1 + np.exp(-(found[0] * logit + found[1])))
    assert calibrated.mean() == pytest.approx(y.mean(), abs=1e-3)


def test_platt_takes_back_the_class_weights():
    """Weights {0: 1, 1: 3} multiply the odds by three; the calibration must divide them again."""
    chance = np.random.default_rng(1)
    logit = chance.normal(0.0, 1.0, 50_000)
    y = (chance.random(50_000) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    weighted = 1 / (1 + np.exp(-(logit + np.log(3))))
    assert platt(weighted, y) == pytest.approx([1.0, -np.log(3)], abs=0.05)


def test_a_ranking_the_wrong_way_round_is_replaced_by_the_base_rate():
    y = np.repeat(np.array([1, 0], np.int8), [300, 700])
    slope, intercept = platt(np.where(y == 1, 0.2, 0.8) + np.linspace(0, 0.01, 1000), y)
    assert slope == 0.0 and 1 / (1 + np.exp(-intercept)) == pytest.approx(0.3, abs=0.01)
