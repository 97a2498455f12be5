"""`train cluster`: train on the days before the last ones, judge on those, store a bundle, say how good it is."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import get_origin

import msgspec
import numpy as np

from core.clock import iso
from core.config import Settings, load
from core.config.settings import ClusterTraining
from core.data.panel import Panel
from core.data.synthetic import HOUR_MS, planted_market
from core.domain.errors import UserError
from core.jobs import part, tell
from core.models.cluster import bundle
from core.models.cluster.bundle import ClusterBundle
from core.models.cluster.windows import bars_of

VIRTUAL = "virtual"
GROUPS, OUTLIERS = (7, 7, 7, 6), 3
"""Assets of the virtual market."""


def add_options(command: argparse.ArgumentParser) -> None:
    """Every parameter of `[train.cluster]`, and where data come from and results go."""
    command.set_defaults(run=run)
    source = command.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", help=f"{VIRTUAL} (a made-up market), candles (a file), or a data set of the lake")
    source.add_argument("--panel", type=Path, help="a saved panel (.npz)")
    command.add_argument("--funding", type=Path, help="funding rates, beside a file")
    command.add_argument("--assets", help="these alone, as BTC,ETH,SOL (default: all of the data)")
    for name, field in ClusterTraining.model_fields.items():
        many = get_origin(field.annotation) is tuple
        shown = ",".join(field.default) if many else field.default
        command.add_argument(_option(name), metavar="NAMES" if many else "N", help=f"default: {shown or 'none'}")
    command.add_argument("--checkpoint", type=Path, help="written after every epoch (.safetensors)")
    command.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    command.add_argument("--start-from", type=Path, help="a bundle to begin with")
    command.add_argument("--curves", type=Path, help="a folder for TensorBoard, where that is installed")
    command.add_argument("--out", type=Path, help="folder of the bundle (default: the models of this home)")
    command.add_argument("--json", action="store_true", help="the result as one JSON line")
    command.add_argument("--config", type=Path)


def run(given: argparse.Namespace) -> str:
    """Train, judge and store; the result as text. UserError: bad input, a training that diverges."""
    options = {f"train.cluster.{name}": getattr(given, name) for name in ClusterTraining.model_fields}
    settings = load(given.config, options=options)
    recipe = settings.train.cluster
    panel, source, manifest = _data(given, settings)
    for note in panel.notes:
        tell(0.0, note)
    training, whole, first_ms = split(_listed(panel, recipe), recipe)
    start_from = bundle.load(given.start_from).model if given.start_from else None
    tell(0.0, "loading torch")
    from core.models.cluster.fit import fit  # torch: 200 MB and two seconds, which a wrong option need not wait for
    from core.models.cluster.judge import judge

    fitted = fit(
        training,
        recipe,
        source,
        part(0.0, 0.95),
        manifest=manifest,
        start_from=start_from,
        checkpoint=given.checkpoint,
        resumed=given.resume,
        curves=given.curves,
    )
    tell(0.95, "judging on the days after")
    metrics = judge(whole, fitted.model, first_ms, recipe.cost_bps)
    meta = msgspec.structs.replace(fitted.meta, metrics=metrics)
    made = bundle.save(given.out or settings.paths.models, meta, fitted.model, fitted.golden)
    tell(1.0, f"stored {made.path.name}")
    return json.dumps(_document(made)) if given.json else _table(made)


def split(panel: Panel, recipe: ClusterTraining) -> tuple[Panel, Panel, int]:
    """The training period (`train_days` of the market, before the last `test_days`), the same with the test days
    after it, and the open time of the first bar of those. UserError: the data are shorter."""
    rows = np.flatnonzero(panel.valid.any(axis=1))
    to_train, to_test = (bars_of(days, panel.bar_ms) for days in (recipe.train_days, recipe.test_days))
    if len(rows) < to_train + to_test:
        per_day = bars_of(1, panel.bar_ms)
        raise UserError(
            f"the data hold {len(rows) // per_day} days of the market, not {recipe.train_days} to train on and"
            f" {recipe.test_days} to judge on: give more data, or lower --train-days or --test-days"
        )
    first, test = (int(row) for row in rows[[-to_train - to_test, -to_test]])
    return panel.slice(first, test), panel.slice(first, len(panel)), int(panel.ts[test])


def _listed(panel: Panel, recipe: ClusterTraining) -> Panel:
    """`panel` without the assets that are listed only after the training period, which cannot know of them."""
    training, whole, _ = split(panel, recipe)
    trades = np.stack([training.valid.any(axis=0), whole.valid.any(axis=0)], axis=1).tolist()
    names = [asset for asset, (before, ever) in zip(panel.assets, trades, strict=True) if ever and not before]
    if not names:
        return panel
    tell(0.0, f"left out, not listed until after the training period: {', '.join(names)}")
    return panel.only([asset for asset in panel.assets if asset not in set(names)])


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _data(given: argparse.Namespace, settings: Settings) -> tuple[Panel, str, str]:
    """The panel, its source in words, and the hash of its manifest."""
    if given.panel:
        if not given.panel.is_file():
            raise UserError(f"{given.panel}: no such file; make one with `cockpit data import`")
        if given.funding or given.assets:
            raise UserError("--funding and --assets go with --data: a saved panel has its own", code=2)
        return Panel.load(given.panel), given.panel.name, ""
    if given.data == VIRTUAL:
        if given.funding or given.assets:
            raise UserError(f"--funding and --assets go with a file, not with --data {VIRTUAL}", code=2)
        recipe = settings.train.cluster
        bars = bars_of(recipe.train_days + recipe.test_days, HOUR_MS)
        panel, _ = planted_market(recipe.seed, bars, GROUPS, OUTLIERS)
        return panel, f"{VIRTUAL}, seed {recipe.seed}", ""
    from core.data.source import open_source  # brings pyarrow, which --panel does without

    asked = tuple(given.assets.split(",")) if given.assets else None
    panel, known = open_source(given.data, settings.paths.lake, given.funding, asked)
    universe = settings.universe.assets
    if asked is None and panel.assets != universe and set(panel.assets) == set(universe):
        # In the order of the configuration, in which the engine will ask for scores.
        panel, known = open_source(given.data, settings.paths.lake, given.funding, universe)
    return panel, known.name, known.manifest


def _document(made: ClusterBundle) -> dict[str, object]:
    meta = made.meta
    training, validation = meta.curve[meta.best_epoch]
    return {
        "bundle": str(made.path),
        "hash": made.hash,
        "seed": meta.seed,
        "assets": len(meta.assets),
        "trained_from_ms": meta.trained_from_ms,
        "trained_until_ms": meta.trained_until_ms,
        "epochs": len(meta.curve) - 1,
        "best_epoch": meta.best_epoch,
        "training_loss": training,
        "validation_loss": validation,
        "learned": {name: value for name, value in made.model._asdict().items() if name != "centroids"},
        **meta.metrics,
    }


def _table(made: ClusterBundle) -> str:
    """What a person wants to know: what was trained on what, and what it earned where it had not been."""
    meta, test = made.meta, made.meta.metrics
    (first_loss, first_held), (loss, held) = meta.curve[0], meta.curve[meta.best_epoch]
    learned = ", ".join(f"{name} {value:.3g}" for name, value in list(made.model._asdict().items())[1:])
    first, last = (iso(int(test[name] or 0)) for name in ("test_from_ms", "test_until_ms"))
    lines = [
        f"trained on  {iso(meta.trained_from_ms)} .. {iso(meta.trained_until_ms)}, {len(meta.assets)} assets",
        f"epochs      {len(meta.curve) - 1}, the best of them {meta.best_epoch}",
        f"loss        {first_loss:.4f} -> {loss:.4f}, in validation {first_held:.4f} -> {held:.4f}",
        f"learned     {learned}",
        "",
        f"tested on   {first} .. {last}, out of sample: {test['test_bars']:,} bars,"
        f" {test['positions']:,} positions, costs of {test['cost_bps']:g} basis points",
        f"net         {_interval(test, 'net', '+.1%')}, by the formula of the loss: no slippage, no lots",
        f"Sharpe      {_interval(test, 'sharpe', '+.2f')}, annualised",
        f"turnover    {test['turnover']:.3f} per bar, gross exposure {test['gross']:.2f}",
    ]
    return "\n".join([*lines, "", f"stored      {made.path}"])


def _interval(figures: Mapping[str, float | None], name: str, form: str) -> str:
    """A figure and its 95% interval; in words where nothing was traded."""
    middle, low, high = (figures[key] for key in (name, f"{name}_low", f"{name}_high"))
    if middle is None or low is None or high is None:
        return "undefined: it did not trade"
    return f"{middle:{form}} (95%: {low:{form}} to {high:{form}})"
