"""A model for a run over history or a demo: trained on the days before its first traded bar, and on nothing else."""

import torch

from core.config.settings import ClusterTraining
from core.data.panel import Panel
from core.models.cluster.fit import Fitted, Progress, fit
from core.models.cluster.windows import bars_of


def fit_before(panel: Panel, recipe: ClusterTraining, source: str, progress: Progress, manifest: str = "") -> Fitted:
    """Train on the last `train_days` of `panel`, all of which is past (fewer days: on all of them).

    Nothing is held back to judge it: what it trades afterwards does. UserError: as `fit`."""
    torch.set_num_threads(1)  # two threads on small matrices are slower than one
    first = max(0, len(panel) - bars_of(recipe.train_days, panel.bar_ms))
    return fit(panel.slice(first, len(panel)), recipe, source, progress, manifest=manifest)
