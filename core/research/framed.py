"""A strategy's own features, by columns: what look-ahead, warm-up and service are asked of."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np

from core.data.panel import Panel
from core.domain.market import Bar
from core.features.catalog import Arrays, Feature
from core.features.pairs import Frame
from core.models.cluster import score
from core.strategies.registry import Features, Strategy


class Framed:
    """Frames as columns: each feature (T, P), and whatever else a frame carries, as it was at each bar.

    Features that have a `history(panel)` beside their `update`, as training reads it, are asked for that."""

    def __init__(self, features: Features) -> None:
        self._features = features

    @property
    def warmup(self) -> int:
        """Of the features themselves."""
        return self._features.warmup

    def history(self, panel: Panel) -> Arrays:
        """All bars, from where the features stand."""
        whole = getattr(self._features, "history", None)
        bars = range(len(panel))
        if whole is None:
            return self._arrays([self._features.update(panel.bar(t)) for t in bars])
        told = whole(panel)
        return self._arrays([told.frame(t) for t in bars])

    def update(self, bar: Bar) -> Arrays:
        """One bar: T = 1."""
        return self._arrays([self._features.update(bar)])

    def _arrays(self, frames: list[Frame]) -> Arrays:
        names = [name for name in Frame.__struct_fields__ if name not in ("ts", "features")]
        rest: dict[str, Any] = {name: np.stack([getattr(frame, name) for frame in frames]) for name in names}
        columns = np.stack([frame.features for frame in frames])
        return {name: columns[..., c] for c, name in enumerate(self._features.names)} | rest


def feature_of(rule: Strategy, params: Any, tolerances: dict[str, float]) -> Feature:
    """The features of a strategy under `params`, as an entry of the catalog."""
    return Feature(rule.name, lambda assets, bar_ms: Framed(rule.features(assets, params, bar_ms)), tolerances)


def code_of(rule: Strategy) -> Path:
    """The folder of the code that makes a strategy's features; of a cluster model's, where those are computed."""
    made = score if rule.model == "cluster" else inspect.unwrap(rule.features)
    return Path(inspect.getsourcefile(made) or __file__).parent
