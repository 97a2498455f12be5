"""An outside strategy, whole: the z-score rule on a few fixed pairs, held for a fixed time at most."""

from core.features.pairs import FeatureParams, PairFeatures
from core.strategies.registry import Strategy

from .rule import FixedPairs, decide


def features(assets: tuple[str, ...], params: FixedPairs, bar_ms: int) -> PairFeatures:
    return PairFeatures(assets, FeatureParams(z_window=params.window), bar_ms)


STRATEGY = Strategy(name="fixed-pairs", decide=decide, params=FixedPairs, features=features)
