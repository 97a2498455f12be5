"""Clusters drawn once from correlations: they find planted groups, and trade by the model's own rule."""

import numpy as np
from sklearn.metrics import adjusted_rand_score

from core.config.settings import ClusterTraining
from core.data.synthetic import OUTLIER, planted_market
from core.research.fixed_clusters import by_kmeans, by_threshold, correlations, fixed_wishes

RECIPE = ClusterTraining(window=20, threshold=0.8, stop_threshold=3.0, scaling_factor=4.0)


def test_correlations_are_those_of_returns() -> None:
    panel, _ = planted_market(1, 400, (4, 4))
    steps = np.diff(np.log(panel.close), axis=0)
    np.testing.assert_allclose(correlations(panel), np.corrcoef(steps.T), atol=1e-9)


def test_both_find_the_groups_of_a_planted_market() -> None:
    panel, groups = planted_market(2, 1500, (5, 5, 5), outliers=1)
    inside = groups != OUTLIER
    for labels in (by_kmeans(panel, 4, 1), by_threshold(panel, 0.3)):
        assert adjusted_rand_score(groups[inside], labels[inside]) > 0.9


def test_the_rule_is_that_of_the_spec() -> None:
    """consensus: the mean z of the others of one's cluster; then the band-pass of the residual."""
    panel, groups = planted_market(3, 120, (3, 4))
    told = fixed_wishes(panel, groups.astype(np.int64), RECIPE)
    logs, w = np.log(panel.close), RECIPE.window
    for t in (w - 1, 60, 119):
        view = logs[t - w + 1 : t + 1]
        z = (view[-1] - view.mean(axis=0)) / view.std(axis=0, ddof=1)
        for i in range(len(groups)):
            others = (groups == groups[i]) & (np.arange(len(groups)) != i)
            residual = (z[i] - z[others].mean()) * others.sum() / (others.sum() + 0.01)
            far, s = abs(residual), RECIPE.scaling_factor
            rise, fall = (1 / (1 + np.exp(-s * x)) for x in (far - RECIPE.threshold, RECIPE.stop_threshold - far))
            assert abs(told.residual[t, i] - residual) < 1e-6
            assert abs(told.weight[t, i] + 0.1 * np.sign(residual) * rise * fall) < 1e-6
    assert told.usable[w:].all() and not told.usable[: w - 1].any()


def test_an_asset_alone_in_its_cluster_is_not_traded() -> None:
    panel, groups = planted_market(4, 100, (4,), outliers=1)
    told = fixed_wishes(panel, np.where(groups == OUTLIER, 1, 0).astype(np.int64), RECIPE)
    assert np.abs(told.weight[:, groups == OUTLIER]).max() < 1e-8
    assert np.abs(told.weight[:, groups != OUTLIER]).max() > 0.01
