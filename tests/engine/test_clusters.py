"""Which assets move together, until a learned model says it better."""

import numpy as np

from core.engine.clusters import TOGETHER, correlation_clusters


def matrix(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float64)


def test_correlated_assets_share_a_group_numbered_by_its_first() -> None:
    high, low = TOGETHER + 0.1, 0.1
    found = correlation_clusters(
        ("A", "B", "C", "D"),
        matrix((1, low, high, low), (low, 1, low, low), (high, low, 1, low), (low, low, low, 1)),
    )
    assert found.asset == ["A", "B", "C", "D"] and found.cluster == [0, 1, 0, 2]
    assert found.similarity == [high, 0.0, high, 0.0]


def test_groups_chain() -> None:
    """A with B and B with C is one group, though A and C are strangers; similarity tells."""
    found = correlation_clusters(("A", "B", "C"), matrix((1, 0.8, 0.2), (0.8, 1, 0.8), (0.2, 0.8, 1)))
    assert found.cluster == [0, 0, 0]
    np.testing.assert_allclose(found.similarity, [0.5, 0.8, 0.5])


def test_the_threshold_itself_is_apart() -> None:
    assert correlation_clusters(("A", "B"), matrix((1, TOGETHER), (TOGETHER, 1))).cluster == [0, 1]


def test_unknown_correlations_join_nobody() -> None:
    assert correlation_clusters(("A", "B"), matrix((1, np.nan), (np.nan, 1))).cluster == [0, 1]


def test_it_says_what_it_is() -> None:
    """An honest placeholder: the screen shows these words."""
    assert "correlation clusters" in correlation_clusters(("A",), matrix((1,))).method
