"""Training of the cluster model: on the past alone, stopped early by a validation segment, never stored diverged.

The training period in bars of the market: `window` bars to the first whole feature, then the bars that are learned
from, then a purge of `window` bars, so that no window and no return is in both, then the validation segment. An
epoch is one step of Adam (Kingma and Ba 2015) over all bars at once, since a Sharpe ratio is no sum over bars. The
model of the epoch with the lowest validation loss is the result; where that is the first, nothing was learned that
lasted, and the curve says so. Same panel, recipe and libraries: the same bits on the same kind of processor.
"""

from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from importlib.util import find_spec
from itertools import count
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from core.clock import iso
from core.config.settings import ClusterTraining
from core.data.panel import Panel
from core.domain.errors import UserError
from core.domain.market import Floats
from core.jobs import Progress
from core.models.cluster.bundle import FORMAT, GOLDEN, KIND, Meta
from core.models.cluster.checkpoint import Run, resume, write
from core.models.cluster.loss import Outcome, loss, outcome
from core.models.cluster.model import ClusterModel, Windows
from core.models.cluster.rule import FLAT, STALE, Clusters
from core.models.cluster.windows import Market, market

FEWEST = 20
"""Bars below which there is nothing to learn from, or to validate on."""
DIVERGED = 5.0
"""A training loss so far above the first one is no loss that will come down again."""


class Fitted(NamedTuple):
    """What `bundle.save` takes after the folder; `ClusterScorer(fitted.model, ...)` scores without a file."""

    meta: Meta
    model: Clusters
    golden: Floats


class Spans(NamedTuple):
    """Bars of the market that are learned from and validated on, of a training period: two slices."""

    training: slice
    validation: slice


def silent(done: float, text: str) -> None:
    """Progress that nobody follows."""


def fit(
    panel: Panel,
    recipe: ClusterTraining,
    source: str = "",
    progress: Progress = silent,
    *,
    manifest: str = "",
    start_from: Clusters | None = None,
    checkpoint: Path | None = None,
    resumed: bool = False,
    curves: Path | None = None,
    unlisted: bool = False,
) -> Fitted:
    """Train on all bars of `panel`, of which the last `recipe.validation_share` are only looked at.

    `start_from`: a trained model to begin with instead of drawn centroids; its numbers are taken, too, but for the
    frozen ones, which are the recipe's; the universe may be another, the shape may not. `checkpoint`: a file that
    is written after every epoch; with `resumed` the training goes on from it, and ends as if it had never stopped.
    `curves`: a folder for TensorBoard, where that is installed. `unlisted`: assets that have no price yet belong to
    the model's universe, as they will be scored once they have one. A CUDA device is used where there is one.

    UserError: bad input (see `checked`), a checkpoint of another training, a loss that diverges."""
    known, spans = checked(panel, recipe, unlisted)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = _begin(known, spans, recipe, start_from).to(device)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    run = Run(model, torch.optim.Adam(learned or [torch.zeros(1, requires_grad=True)], lr=recipe.lr))
    if resumed:
        if checkpoint is None:
            raise UserError("nothing to resume: name the checkpoint", code=2)
        resume(checkpoint, run, panel, recipe)
    windows = Windows.of(known.logs, recipe.window, recipe.n_clusters, device)
    earned = torch.from_numpy(known.earned).to(device, torch.float32)
    keep = (lambda: write(checkpoint, run, panel, recipe)) if checkpoint is not None else (lambda: None)
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(
            1
        )  # several on arrays that fit the cache are slower, and far slower on a busy machine
        tell = _curves(curves, progress, stack)
        _learn(run, windows, earned, spans, recipe, progress, tell, keep)
    model.load_state_dict(run.best)
    return Fitted(
        _meta(panel, recipe, source, manifest, run), model.clusters(), _golden(panel, known, recipe.window)
    )


def checked(panel: Panel, recipe: ClusterTraining, unlisted: bool = False) -> tuple[Market, Spans]:
    """The market in `panel`, and what of it is learned from and validated on.

    UserError, one clear line each: fewer assets than clusters, an asset without any price (but for `unlisted`) or
    whose price never changes, a window longer than the data, too few bars, no whole window to learn from."""
    found = market(panel)
    there = np.isfinite(found.logs)
    assets = int(there.any(axis=0).sum()) if unlisted else len(panel.assets)
    if assets < recipe.n_clusters:
        raise UserError(
            f"{assets} assets are fewer than n_clusters {recipe.n_clusters}: give more assets, or --n-clusters"
            f" {assets} or less"
        )
    period = f"from {iso(int(panel.ts[0]))} to {iso(int(panel.ts[-1]))}" if len(panel) else "of no bar at all"
    if not unlisted:
        _refuse(panel, np.logical_not(there.any(axis=0)), f"without a single price {period}")
    low, high = np.where(there, found.logs, np.inf).min(axis=0), np.where(there, found.logs, -np.inf).max(axis=0)
    flat = np.logical_and(high - low <= FLAT, there.sum(axis=0) > 1)
    _refuse(panel, flat, f"with one constant price {period}")
    bars, window = len(found), recipe.window
    if window > bars:
        raise UserError(
            f"window {window} is longer than the data, {bars} bars: give more bars, or a shorter --window"
        )
    spans = _spans(bars, recipe)
    if not _enough(spans):
        raise UserError(
            f"{bars} bars are too few to train with window {window}: at least {fewest_bars(recipe)} are needed"
            f" (twice the window, and {FEWEST} bars each to learn from and to validate on)"
        )
    return found, spans


def fewest_bars(recipe: ClusterTraining) -> int:
    """Bars of the market from which on `fit` takes a training period."""
    return next(bars for bars in count(recipe.window) if _enough(_spans(bars, recipe)))


def _spans(bars: int, recipe: ClusterTraining) -> Spans:
    held = round(bars * recipe.validation_share)
    return Spans(slice(recipe.window - 1, bars - held - recipe.window), slice(bars - held, bars - 2))


def _enough(spans: Spans) -> bool:
    return all(span.stop - span.start >= FEWEST for span in spans)


def usable(panel: Panel, recipe: ClusterTraining) -> tuple[str, ...]:
    """The assets of `panel` that have at least one whole window in it whose price changes: the universe that a
    training period knows of itself."""
    found = market(panel)
    windows = Windows.of(found.logs, recipe.window, 1)
    there = windows.by_bar(windows.known).sum(0) > 0
    return tuple(asset for asset, good in zip(panel.assets, there.tolist(), strict=True) if good)


def _refuse(panel: Panel, wrong: NDArray[Any], what: str) -> None:
    names = [asset for asset, bad in zip(panel.assets, wrong.tolist(), strict=True) if bad]
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise UserError(f"{', '.join(names[:3])}{more}: {what}; leave such assets out, or take another period")


def _begin(known: Market, spans: Spans, recipe: ClusterTraining, start_from: Clusters | None) -> ClusterModel:
    """The model before the first step: as given, or with centroids drawn among the features learned from."""
    shape = (recipe.n_clusters, recipe.window)
    if start_from is not None:
        if start_from.centroids.shape != shape:
            had = "{} clusters over {} bars".format(*start_from.centroids.shape)
            raise UserError(
                f"the model to start from has {had}, wanted are {shape[0]} over {shape[1]}: train afresh"
            )
        return ClusterModel.like(start_from, recipe)
    views = np.lib.stride_tricks.sliding_window_view(known.logs[: spans.training.stop], recipe.window, axis=0)
    t, i = np.nonzero(np.isfinite(views).all(axis=2) & (np.ptp(np.nan_to_num(views), axis=2) > FLAT))
    if len(t) < recipe.n_clusters:
        raise UserError(
            f"{len(t)} whole windows of {recipe.window} bars to learn from, but {recipe.n_clusters} clusters: give"
            " more bars, or a shorter --window"
        )
    drawn = np.random.default_rng(recipe.seed).choice(len(t), recipe.n_clusters, replace=False)
    shapes = views[t[drawn], i[drawn]]
    centred = shapes - shapes.mean(axis=1, keepdims=True)
    return ClusterModel(recipe, centred / np.linalg.norm(centred, axis=1, keepdims=True))


def _learn(
    run: Run,
    windows: Windows,
    earned: torch.Tensor,
    spans: Spans,
    recipe: ClusterTraining,
    progress: Progress,
    tell: Callable[[int, float, float, Outcome], None],
    keep: Callable[[], None],
) -> None:
    """Epoch after epoch: losses of the parameters as they are, then a step; until patience or epochs end."""
    model, optimiser = run.model, run.optimiser
    while True:
        optimiser.zero_grad()
        weight = model.weights(windows)
        made = outcome(weight[spans.training], earned[spans.training], recipe.cost_bps)
        training = loss(made, recipe)
        with torch.no_grad():
            held = outcome(weight[spans.validation], earned[spans.validation], recipe.cost_bps)
            validation = float(loss(held, recipe))
        run.note(_sound(run, float(training.detach()), validation, recipe), validation)
        tell(run.steps, *run.curve[-1], held)
        if run.steps >= recipe.epochs or run.steps - run.best_epoch >= recipe.patience:
            break
        now, best = run.curve[-1][1], run.curve[run.best_epoch][1]
        progress(run.steps / recipe.epochs, f"epoch {run.steps}: loss {now:.4f} in validation, best {best:.4f}")
        if training.requires_grad:
            training.backward()  # type: ignore[no-untyped-call]
            if not all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None):
                raise _diverged(run, "a gradient is not finite", recipe)
            optimiser.step()
        run.steps += 1
        keep()
    if run.steps < recipe.epochs:
        than = f"since {run.best_epoch}" if run.best_epoch else "than the start"
        progress(1.0, f"stopped early: no better epoch {than}")


def _sound(run: Run, training: float, validation: float, recipe: ClusterTraining) -> float:
    """The training loss, unless it has diverged."""
    first = run.curve[0][0] if run.curve else training
    if not (isfinite(training) and isfinite(validation)):
        raise _diverged(run, f"the loss is {training if not isfinite(training) else validation}", recipe)
    if training > first + DIVERGED * max(1.0, abs(first)):
        raise _diverged(run, f"the loss has risen from {first:.3g} to {training:.3g}", recipe)
    return training


def _diverged(run: Run, why: str, recipe: ClusterTraining) -> UserError:
    return UserError(
        f"training diverged in epoch {run.steps}: {why}; nothing is stored: train with an lr below {recipe.lr:g}"
    )


def _curves(
    folder: Path | None, progress: Progress, stack: ExitStack
) -> Callable[[int, float, float, Outcome], None]:
    """Who writes the scalars of each epoch for TensorBoard."""
    if folder is None:
        return lambda epoch, training, validation, held: None
    if find_spec("tensorboard") is None:
        progress(0.0, "tensorboard is not installed: no curves are written (pip install 'cockpit[curves]')")
        return lambda epoch, training, validation, held: None
    from torch.utils.tensorboard import SummaryWriter  # only where curves are wanted: it brings protobuf

    writer = stack.enter_context(SummaryWriter(str(folder)))

    def tell(epoch: int, training: float, validation: float, held: Outcome) -> None:
        figures = {
            "loss/training": training,
            "loss/validation": validation,
            "validation/sharpe per bar": float(held.sharpe()),
            "validation/turnover per bar": float(held.turnover.mean()),
            "validation/gross exposure": float(held.gross.mean()),
        }
        for name, value in figures.items():
            writer.add_scalar(name, value, epoch)

    return tell


def _golden(panel: Panel, known: Market, window: int) -> Floats:
    """Closes of the last bars of the market, NaN where an asset did not trade."""
    rows = known.rows[-(window + STALE + GOLDEN) :]
    return np.where(panel.valid[rows], panel.close[rows], np.nan)


def _meta(panel: Panel, recipe: ClusterTraining, source: str, manifest: str, run: Run) -> Meta:
    return Meta(
        kind=KIND,
        format=FORMAT,
        assets=panel.assets,
        bar_ms=panel.bar_ms,
        recipe=recipe.model_dump(mode="json"),
        data_hash=panel.content_hash,
        manifest=manifest,
        source=source,
        trained_from_ms=int(panel.ts[0]),
        trained_until_ms=int(panel.ts[-1]),
        labels_until_ms=int(panel.ts[-1]),
        seed=recipe.seed,
        curve=tuple(run.curve),
        best_epoch=run.best_epoch,
        metrics={},
        libraries={name: version(name) for name in ("numpy", "numba", "safetensors", "torch")},
    )
