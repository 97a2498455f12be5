"""A model for a run over history or a demo: trained on the days before its first traded bar, and on nothing else.

`python -m core.models.cluster.before --panel FILE --bars N` is the demo's job: progress on stderr as JSON lines,
the bundle's path on stdout.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

from core.config import load
from core.config.settings import ClusterTraining
from core.data.panel import Panel
from core.domain.errors import UserError
from core.jobs import Progress, tell
from core.models.cluster.bundle import save
from core.models.cluster.fit import Fitted, fit
from core.models.cluster.windows import bars_of


def fit_before(
    panel: Panel, recipe: ClusterTraining, source: str, progress: Progress, manifest: str = ""
) -> Fitted:
    """Train on the last `train_days` of `panel`, all of which is past (where it is shorter: on all of it).

    Nothing is held back to judge the model: what it trades afterwards does. The universe is the run's, those not
    listed yet among it. UserError: as `fit`."""
    torch.set_num_threads(1)  # two threads on small matrices are slower than one
    first = max(0, len(panel) - bars_of(recipe.train_days, panel.bar_ms))
    return fit(panel.slice(first, len(panel)), recipe, source, progress, manifest=manifest, unlisted=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 done, 1 refused with one line on stderr."""
    parser = argparse.ArgumentParser("core.models.cluster.before", description="Train before a first traded bar.")
    parser.add_argument("--panel", type=Path, required=True, help="a saved panel (.npz)")
    parser.add_argument("--bars", type=int, required=True, help="bars of it that are past")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--seed", type=int, help="of the first centroids (default: as configured)")
    parser.add_argument("--config", type=Path)
    given = parser.parse_args(arguments)
    try:
        panel = Panel.load(given.panel).slice(0, given.bars)
        recipe = load(given.config, options={"train.cluster.seed": given.seed}).train.cluster
        fitted = fit_before(panel, recipe, given.panel.name, tell)
        print(json.dumps({"bundle": str(save(given.out, *fitted).path)}))
    except UserError as error:
        print(error, file=sys.stderr)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
