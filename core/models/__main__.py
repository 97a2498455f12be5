"""`python -m core.models train MODEL`: train in a process of its own, store a bundle, say how good it is.

Progress is told on stderr as JSON lines; the result is one JSON line on stdout with `--json`, else a table.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import NamedTuple, get_args

import msgspec

from core.clock import iso
from core.config import Settings, load
from core.data.panel import Panel
from core.domain.errors import UserError
from core.features.pairs import FeatureParams, PairFeatures
from core.jobs import part, tell
from core.models import bundle
from core.models.cluster import command as cluster
from core.models.labels import Kind
from core.models.train import TREES, Figures, judge, recipe_of, train


class Trained(NamedTuple):
    """What a run has made: the bundle that is served, and the figures of each label that was judged."""

    stored: bundle.Bundle
    labels: dict[str, Figures]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 done, 1 refused with one line on stderr, 2 wrong usage."""
    given = _parser().parse_args(arguments)
    try:
        print(given.run(given))
    except UserError as error:
        print(error, file=sys.stderr)
        return error.code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("core.models", description="Train models.")
    commands = parser.add_subparsers(required=True)
    train = commands.add_parser("train", help="train a model and store it as a bundle")
    models = train.add_subparsers(required=True)
    cluster.add_options(models.add_parser("cluster", help="clusters of assets, and who strays from them"))
    command = models.add_parser("divergence", help="the forest that scores pairs")
    command.set_defaults(run=_train_divergence)
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("--panel", type=Path, help="a saved panel (.npz)")
    source.add_argument("--data", type=Path, help="candles (.parquet or .csv), or a data set of the lake")
    command.add_argument("--funding", type=Path, help="funding rates, beside --data")
    command.add_argument("--train-bars", type=int, help="train on the first N bars alone (default: on all)")
    command.add_argument("--seed", type=int, help="of the forest's random draws")
    command.add_argument("--label", choices=get_args(Kind), help="the one served (default: as configured)")
    command.add_argument("--served-only", action="store_true", help="do not judge the other label beside it")
    command.add_argument("--trees", type=int, default=TREES)
    command.add_argument("--out", type=Path, help="folder of the bundle (default: the models of this home)")
    command.add_argument("--json", action="store_true", help="the result as one JSON line")
    command.add_argument("--config", type=Path)
    return parser


def _train_divergence(given: argparse.Namespace) -> str:
    trained = _train(given)
    return json.dumps(_document(trained)) if given.json else _table(trained)


def _train(given: argparse.Namespace) -> Trained:
    """Train the label that is served; judge the other one on the same bars beside it."""
    settings = load(given.config, options={"demo.seed": given.seed})
    source: Path = given.panel or given.data
    panel = _panel(given, settings)
    for note in panel.notes:
        tell(0.0, note)
    recipe = recipe_of(settings, given.label, given.trees)
    share = 1.0 if given.served_only else 0.7
    trained = train(panel, _features(panel, settings), recipe, source.name, part(0.0, share))
    labels: dict[str, Figures] = {recipe.label.kind: trained.meta.metrics}
    for kind in get_args(Kind):
        if kind not in labels and not given.served_only:
            rule = msgspec.structs.replace(recipe.label, kind=kind)
            other = msgspec.structs.replace(recipe, label=rule)
            labels[kind] = judge(panel, _features(panel, settings), other, part(share, 1.0))
    stored = bundle.save(given.out or settings.paths.models, *trained)
    tell(1.0, f"stored {stored.path.name}")
    return Trained(stored, labels)


def _document(trained: Trained) -> dict[str, object]:
    stored, meta = trained.stored, trained.stored.meta
    return {
        "bundle": str(stored.path),
        "hash": stored.hash,
        "label": meta.label["kind"],
        "seed": meta.seed,
        "trained_from_ms": meta.trained_from_ms,
        "trained_until_ms": meta.trained_until_ms,
        "labels_until_ms": meta.labels_until_ms,
        **meta.metrics,
        "labels": trained.labels,
    }


def _panel(given: argparse.Namespace, settings: Settings) -> Panel:
    """The bars to train on: the first `--train-bars` of the file."""
    if given.trees < 1:
        raise UserError(f"--trees {given.trees}: at least 1 is needed", code=2)
    if given.panel:
        if given.funding:
            raise UserError("--funding goes with --data: a saved panel has its own", code=2)
        if not given.panel.is_file():
            raise UserError(f"{given.panel}: no such file; make one with `cockpit data import`")
        panel = Panel.load(given.panel)
    else:
        from core.data.source import open_panel  # brings pyarrow, which the demo's --panel does without

        universe = settings.universe
        panel = open_panel(given.data, settings.paths.lake, given.funding, universe.assets, universe.bar)
    bars = given.train_bars
    if bars is None:
        return panel
    if not 0 < bars <= len(panel):
        raise UserError(f"--train-bars {bars}: the data holds {len(panel)} bars; give a number from 1 to that")
    return panel.slice(0, bars)


def _features(panel: Panel, settings: Settings) -> PairFeatures:
    params = settings.strategy.divergence
    windows = FeatureParams(params.z_window, params.atr_period, params.correlation_window, params.min_bars)
    return PairFeatures(panel.assets, windows, panel.bar_ms)


def _table(trained: Trained) -> str:
    """What a person wants to know: the labels side by side, with the base rate beside every score."""
    meta, served = trained.stored.meta, trained.labels[str(trained.stored.meta.label["kind"])]
    first, last = (iso(int(served[name] or 0)) for name in ("test_from_ms", "test_until_ms"))
    lines = [
        f"trained on  {iso(meta.trained_from_ms)} .. {iso(meta.trained_until_ms)}",
        f"tested on   {first} .. {last}, out of sample",
        f"rows        {served['test_rows']:,} with |z| > {meta.label['z_entry']} in the test",
        "",
        f"{'label':<26}" + "".join(f"{kind:>12}" for kind in trained.labels),
    ]
    for name, cell in _CELLS.items():
        row = "".join(f"{_cell(figures, cell):>12}" for figures in trained.labels.values())
        lines.append(f"{name.format(threshold=served['threshold']):<26}{row}")
    return "\n".join([*lines, "", f"served      {meta.label['kind']}, {trained.stored.path}"])


_CELLS = {
    "labelled rows": "{rows:,}",
    "base rate": "{base_rate:.1%}",
    "predicted above {threshold:g}": "{predicted:,}",
    "precision": "{precision:.1%}",
    "recall": "{recall:.1%}",
    "AUC": "{auc:.3f}",
    "Brier score": "{brier:.4f}",
    "Brier of the base rate": "{flat:.4f}",
}
"""Rows of the table. Of a forest that knows nothing, the AUC is 0.5 and the Brier score that of its base rate."""


def _cell(figures: Figures, form: str) -> str:
    """One figure as text; a dash where it is not defined (the precision of no prediction)."""
    rate = figures["base_rate"] or 0.0
    try:
        return form.format(**figures, flat=rate * (1.0 - rate))
    except TypeError:
        return "-"


if __name__ == "__main__":
    sys.exit(main())
