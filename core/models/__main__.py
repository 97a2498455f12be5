"""`python -m core.models train divergence`: train in a process of its own, store a bundle, say how good it is.

Progress is told on stderr as JSON lines; the result is one JSON line on stdout with `--json`, else a table.
"""

import argparse
import json
import sys
from pathlib import Path

from core.clock import iso
from core.config import Settings, load
from core.data.panel import Panel
from core.domain.errors import UserError
from core.features.pairs import FeatureParams, PairFeatures
from core.models import bundle
from core.models.labels import LabelRule
from core.models.train import Recipe, train


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 done, 1 refused with one line on stderr, 2 wrong usage."""
    given = _parser().parse_args(arguments)
    try:
        stored = _train(given)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.code
    print(json.dumps(_document(stored)) if given.json else _table(stored))
    return 0


def recipe_of(settings: Settings, given: argparse.Namespace) -> Recipe:
    """How to train under these settings: the labels trade as the strategy does."""
    params = settings.strategy.divergence
    rule = LabelRule(
        kind=given.label,
        z_entry=params.z_entry,
        z_exit=params.z_exit,
        min_hold=params.min_hold_bars,
        horizon=params.horizon_bars,
        stop_mode=params.stop_mode,
        stop_atr=params.stop_atr,
        stop_min=params.stop_min,
        stop_max=params.stop_max,
        stop_default=params.stop_default,
        target_atr=params.target_atr,
        target_min=params.target_min,
        target_max=params.target_max,
        target_default=params.target_default,
    )
    return Recipe(label=rule, trees=given.trees, threshold=params.prob_threshold, seed=settings.demo.seed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("core.models", description="Train models.")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train", help="train a model and store it as a bundle")
    command.add_argument("model", choices=["divergence"])
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("--panel", type=Path, help="a saved panel (.npz)")
    source.add_argument("--data", type=Path, help="candles (.parquet or .csv), or a data set of the lake")
    command.add_argument("--funding", type=Path, help="funding rates, beside --data")
    command.add_argument("--train-bars", type=int, help="train on the first N bars alone (default: on all)")
    command.add_argument("--seed", type=int, help="of the forest's random draws")
    command.add_argument("--label", choices=["profit", "published"], default="profit")
    command.add_argument("--trees", type=int, default=300)
    command.add_argument("--out", type=Path, help="folder of the bundle (default: the models of this home)")
    command.add_argument("--json", action="store_true", help="the result as one JSON line")
    command.add_argument("--config", type=Path)
    return parser


def _train(given: argparse.Namespace) -> bundle.Bundle:
    settings = load(given.config, options={"demo.seed": given.seed})
    source: Path = given.panel or given.data
    panel = _panel(given, settings)
    for note in panel.notes:
        _tell(0.0, note)
    features = PairFeatures(panel.assets, _windows(settings), panel.bar_ms)
    trained = train(panel, features, recipe_of(settings, given), source.name, _tell)
    stored = bundle.save(given.out or settings.paths.models, *trained)
    _tell(1.0, f"stored {stored.path.name}")
    return stored


def _document(stored: bundle.Bundle) -> dict[str, object]:
    meta = stored.meta
    return {
        "bundle": str(stored.path),
        "hash": stored.hash,
        "label": meta.label["kind"],
        "seed": meta.seed,
        "trained_from_ms": meta.trained_from_ms,
        "trained_until_ms": meta.trained_until_ms,
        "labels_until_ms": meta.labels_until_ms,
        **meta.metrics,
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


def _windows(settings: Settings) -> FeatureParams:
    params = settings.strategy.divergence
    return FeatureParams(params.z_window, params.atr_period, params.correlation_window, params.min_bars)


def _tell(done: float, text: str) -> None:
    print(json.dumps({"progress": round(done, 3), "text": text}), file=sys.stderr, flush=True)


def _table(stored: bundle.Bundle) -> str:
    """What a person wants to know, with the base rate beside every score."""
    meta, found = stored.meta, {name: value or 0 for name, value in stored.meta.metrics.items()}
    period, test = (
        f"{iso(a)} .. {iso(b)}"
        for a, b in (
            (meta.trained_from_ms, meta.trained_until_ms),
            (int(found["test_from_ms"]), int(found["test_until_ms"])),
        )
    )
    precision = f"{found['precision']:.1%}" if found["predicted"] else "undefined: none predicted"
    return "\n".join(
        (
            f"trained on  {period}  ({found['rows']:,} labelled rows)",
            f"tested on   {test}, out of sample",
            f"rows        {found['test_rows']:,} with |z| > {meta.label['z_entry']}",
            f"base rate   {found['base_rate']:.1%} of them positive ({meta.label['kind']} label)",
            f"predicted   {found['predicted']:,} with a probability above {found['threshold']}",
            f"precision   {precision}",
            f"recall      {found['recall']:.1%}",
            f"AUC         {found['auc']:.3f}",
            f"bundle      {stored.path}",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
