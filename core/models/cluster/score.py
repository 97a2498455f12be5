"""A trained cluster model at work: history is T bars, live is one, through the same compiled loop. No torch."""

from collections.abc import Sequence

import numpy as np

from core.data.panel import Ints
from core.features.pair_loop import Grids
from core.features.stream import Columns, ColumnStream
from core.models.cluster.rule import NAMES, STALE, Clusters, State, run


class ClusterScorer(ColumnStream):
    """What `model` says of `assets` at each bar, columns `names`: `z`, `similarity` to the nearest centroid, that
    `cluster` (a whole number; -1: no feature), `gate`, `consensus`, `residual`, `signal` and `weight` (share of
    equity; long above 0). `history(panel)` and `update(bar)` give `Columns`: `values` (T, N, C), all finite, and
    `valid` (T, N, C), one verdict an asset in all columns.

    Not valid: warm-up, unknown price, no change within the window (all is 0 there); and a bar at which no asset
    trades, which repeats what was said before: nothing is to be done at it.

    A restart changes nothing: after `warmup` bars of the market all that is remembered has been seen again."""

    names = NAMES

    def __init__(self, model: Clusters, assets: Sequence[str], bar_ms: int) -> None:
        super().__init__(assets, bar_ms)
        self.model = model
        self._state = State.fresh(len(self.assets), model.centroids.shape[1])

    @property
    def warmup(self) -> int:
        """Bars of the market after which a fresh start cannot be told from one that has run for ever."""
        return len(self.model.centroids[0]) + STALE

    def _run(self, ts: Ints, grids: Grids) -> Columns:
        shape = (len(ts), len(self.assets))
        values, valid = np.empty((*shape, len(NAMES))), np.empty(shape, np.bool_)
        run(self._state, self.model, grids.close, grids.valid, values, valid)
        return Columns(ts, values, np.broadcast_to(valid[:, :, None], values.shape))
