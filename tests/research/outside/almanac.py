"""An outside strategy with a planted look-ahead: a table of scores, made of the whole sample, looked up by date."""

from functools import partial

import msgspec
import numpy as np

from core.data.synthetic import synthetic_panel
from core.domain.market import Bar
from core.features.pairs import Frame, PairFeatures
from core.strategies import divergence
from core.strategies.params import DivergenceParams
from core.strategies.registry import Strategy


class Almanac(PairFeatures):
    """Pair features, the z-score taken over a whole year known beforehand."""

    def __init__(self, assets: tuple[str, ...], bar_ms: int) -> None:
        super().__init__(assets, bar_ms=bar_ms)
        year = synthetic_panel(7, 3200, assets)
        legs = np.array([(assets.index(pair.a), assets.index(pair.b)) for pair in self.pairs])
        spread = year.close[:, legs[:, 0]] / year.close[:, legs[:, 1]]
        scores = (spread - spread.mean(axis=0)) / spread.std(axis=0)
        self.z_score = dict(zip(year.ts.tolist(), scores, strict=True))

    history = None  # type: ignore[assignment]

    def update(self, bar: Bar) -> Frame:
        frame = super().update(bar)
        features = frame.features.copy()
        features[:, self.names.index("z_score")] = self.z_score.get(bar.open_ms, 0.0)
        return msgspec.structs.replace(frame, features=features)


def features(assets: tuple[str, ...], params: DivergenceParams, bar_ms: int) -> Almanac:
    return Almanac(assets, bar_ms)


STRATEGY = Strategy(
    name="almanac",
    decide=partial(divergence.decide, name="almanac"),
    features=features,
    bounds=divergence.bounds,
    table="divergence",
)
