"""A forest of few trees on four assets: enough to go the whole way in a second."""

from collections.abc import Callable

from core.data.panel import Panel
from core.features.pairs import PairFeatures
from core.models.labels import LabelRule
from core.models.train import Recipe, Trained, train

SMALL = Recipe(label=LabelRule(horizon=24), trees=12, seed=7, jobs=1)


def silent(done: float, text: str) -> None:
    """Progress that nobody follows."""


def trained_on(panel: Panel, recipe: Recipe = SMALL, progress: Callable[[float, str], None] = silent) -> Trained:
    return train(panel, PairFeatures(panel.assets), recipe, "synthetic", progress)
