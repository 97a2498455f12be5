"""A random forest as arrays, walked by one compiled loop: numpy and numba are all it needs.

Every tree is a complete binary tree of depth 5: 31 questions in level order (the children of question i are
2i + 1 and 2i + 2), then 32 leaves. Shorter branches are padded with questions whose two answers lead to equal
leaves, so that a walk is five steps without a branch, for every row and every tree.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.domain.market import Floats
from core.jit import jit

DEPTH = 5
QUESTIONS = 2**DEPTH - 1
LEAVES = 2**DEPTH


@dataclass(frozen=True, eq=False)
class Forest:
    """N trees over F features, and the calibration of their mean.

    `feature` (N, 31) int32 in [0, F) and `threshold` (N, 31) float32: a row goes left where x <= threshold.
    `leaf` (N, 32) float64: the (class-weighted) share of positives. `platt` (2,) float64, slope and intercept:
    probability = sigmoid(slope * logit(mean of leaves) + intercept), Platt (1999), on the scale of logits.

    Rows are cast to float32 as scikit-learn does; its float64 thresholds are rounded down to float32 when the
    arrays are made, which leaves every comparison as it was. So `raw` equals `predict_proba`, bit for bit.
    """

    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    leaf: Floats
    platt: Floats

    def score(self, features: Floats) -> Floats:
        """(P,) calibrated probabilities of (P, F) features, in one call; NaN for a row that is not all finite."""
        return _calibrated(self.raw(features), self.platt)

    def raw(self, features: Floats) -> Floats:
        """(P,) means over the trees, before calibration; NaN for a row that is not all finite."""
        rows = np.ascontiguousarray(features, np.float64)
        return _walk(rows, self.feature, self.threshold, self.leaf)

    def warm(self) -> None:
        """Load the compiled code (most of a second, once a process): call it off the hot path."""
        self.score(np.zeros((1, int(self.feature.max()) + 1)))


@jit
def _walk(
    rows: Floats, feature: NDArray[np.int32], threshold: NDArray[np.float32], leaf: Floats
) -> Floats:  # pragma: no cover
    count, width = rows.shape
    trees = len(feature)
    cast = np.empty((count, width), np.float32)
    out = np.zeros(count)
    for r in range(count):
        for f in range(width):
            cast[r, f] = np.float32(rows[r, f])
    # Trees outside, rows inside: neighbouring walks are independent, so the processor overlaps their loads.
    for n in range(trees):
        for r in range(count):
            i = 0
            for _ in range(DEPTH):
                i = 2 * i + 1 + (cast[r, feature[n, i]] > threshold[n, i])
            out[r] += leaf[n, i - QUESTIONS]
    for r in range(count):
        out[r] /= trees
        for f in range(width):
            if not np.isfinite(rows[r, f]):
                out[r] = np.nan
    return out


@jit
def _calibrated(raw: Floats, platt: Floats) -> Floats:  # pragma: no cover
    out = np.empty(len(raw))
    for r in range(len(raw)):
        share = min(max(raw[r], 1e-6), 1.0 - 1e-6) if raw[r] == raw[r] else raw[r]
        out[r] = 1.0 / (1.0 + np.exp(-(platt[0] * np.log(share / (1.0 - share)) + platt[1])))
    return out
