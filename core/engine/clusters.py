"""Which assets move together: single-linkage groups of the correlation matrix, until the learned model exists."""

import numpy as np

from core.domain.market import Floats
from core.domain.snapshot import Clusters

TOGETHER = 0.7
"""Assets whose returns correlate above this belong to one group, directly or through others."""


def correlation_clusters(assets: tuple[str, ...], correlation: Floats) -> Clusters:
    """Group N assets by an (N, N) correlation matrix; groups are numbered in the order of their first asset.

    An asset's similarity is its mean correlation with the others of its group, 0 where it is alone."""
    count = len(assets)
    group = list(range(count))
    for i in range(count):
        for j in range(i + 1, count):
            if correlation[i, j] > TOGETHER and group[i] != group[j]:
                old, new = max(group[i], group[j]), min(group[i], group[j])
                group = [new if g == old else g for g in group]
    order = {g: k for k, g in enumerate(dict.fromkeys(group))}
    numbers = [order[g] for g in group]
    similarity = []
    for i in range(count):
        others = [j for j in range(count) if j != i and numbers[j] == numbers[i]]
        similarity.append(float(np.mean(correlation[i, others])) if others else 0.0)
    return Clusters(f"correlation clusters (above {TOGETHER})", list(assets), numbers, similarity)
