"""An outside strategy with a planted look-ahead: its history, as training reads it, knows the z-score to come."""

from functools import partial

import msgspec
import numpy as np

from core.data.panel import Panel
from core.features.pairs import FeatureHistory, PairFeatures
from core.strategies import divergence
from core.strategies.params import DivergenceParams
from core.strategies.registry import Strategy


class Foresight(PairFeatures):
    """Pair features, the z-score three bars early."""

    def history(self, panel: Panel) -> FeatureHistory:
        told = super().history(panel)
        features = told.features.copy()
        z = self.names.index("z_score")
        features[:, :, z] = np.roll(features[:, :, z], -3, axis=0)
        return msgspec.structs.replace(told, features=features)


def features(assets: tuple[str, ...], params: DivergenceParams, bar_ms: int) -> Foresight:
    return Foresight(assets, bar_ms=bar_ms)


STRATEGY = Strategy(
    name="foresight",
    decide=partial(divergence.decide, name="foresight"),
    features=features,
    bounds=divergence.bounds,
    table="divergence",
)
