"""A training that can be taken up again: weights, the optimiser's memory and the curve so far, in one safe file."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from core.config.settings import ClusterTraining
from core.data.panel import Panel
from core.domain.errors import UserError
from core.models import stored
from core.models.cluster.bundle import TRAIN
from core.models.cluster.model import ClusterModel

FORMAT = 1
KIND = "cluster-checkpoint"
MOMENTS = ("exp_avg", "exp_avg_sq")
MAY_CHANGE = {"epochs", "patience", "train_days", "test_days"}
"""Parameters that may be others when a training is taken up again: they do not change what was learned so far."""


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """What is being trained on what, and how far it has come: `steps` of the optimiser, the curve of a bundle."""

    kind: str = KIND
    format: int = FORMAT
    assets: tuple[str, ...]
    bar_ms: int
    recipe: dict[str, Any]
    data_hash: str
    steps: int
    best_epoch: int
    curve: tuple[tuple[float, float], ...]


@dataclass
class Run:
    """A training under way. `curve`: (training, validation) loss before each step; `best`: the parameters of
    `best_epoch`, that of the lowest validation loss."""

    model: ClusterModel
    optimiser: torch.optim.Adam
    steps: int = 0
    best_epoch: int = 0
    curve: list[tuple[float, float]] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)

    def note(self, training: float, validation: float) -> None:
        """Enter an epoch's losses; keep its parameters if none was better."""
        self.curve.append((training, validation))
        if len(self.curve) == 1 or validation < self.curve[self.best_epoch][1]:
            self.best_epoch = len(self.curve) - 1
            self.best = {name: value.detach().clone() for name, value in self.model.state_dict().items()}


def write(path: Path, run: Run, panel: Panel, recipe: ClusterTraining) -> None:
    """Put `run` into `path`, whole or not at all. UserError: it cannot be written."""
    arrays = {f"now.{name}": _array(value) for name, value in run.model.state_dict().items()}
    arrays |= {f"best.{name}": _array(value) for name, value in run.best.items()}
    for name, parameter in run.model.named_parameters():
        arrays |= {f"{key}.{name}": _array(run.optimiser.state[parameter][key]) for key in _moments(run, parameter)}
    meta = Meta(
        assets=panel.assets,
        bar_ms=panel.bar_ms,
        recipe=recipe.model_dump(mode="json"),
        data_hash=panel.content_hash,
        steps=run.steps,
        best_epoch=run.best_epoch,
        curve=tuple(run.curve),
    )
    stored.put(path, stored.encoded(meta, arrays))


def resume(path: Path, run: Run, panel: Panel, recipe: ClusterTraining) -> None:
    """Bring `run`, fresh, to where the one in `path` was. UserError: missing, broken, or of another training."""
    found = stored.read(path, TRAIN)
    meta = found.meta(KIND, FORMAT, Meta)
    _check(path, meta, panel, recipe)
    shapes = {f"now.{name}": tuple(value.shape) for name, value in run.model.state_dict().items()}
    shapes |= {name.replace("now.", "best."): shape for name, shape in shapes.items()}
    found.check(shapes, dict.fromkeys(shapes, np.float32))
    state = {name: torch.from_numpy(found.arrays[f"now.{name}"]) for name in run.model.state_dict()}
    run.model.load_state_dict(state)
    run.best = {name: torch.from_numpy(found.arrays[f"best.{name}"]) for name in state}
    for name, parameter in run.model.named_parameters():
        if parameter.requires_grad and meta.steps:
            keys = [f"{key}.{name}" for key in MOMENTS]
            found.check(dict.fromkeys(keys, tuple(parameter.shape)), dict.fromkeys(keys, np.float32))
            memory = {key: torch.from_numpy(found.arrays[f"{key}.{name}"]).to(parameter.device) for key in MOMENTS}
            run.optimiser.state[parameter] = {"step": torch.tensor(float(meta.steps)), **memory}
    run.steps, run.best_epoch, run.curve = meta.steps, meta.best_epoch, list(meta.curve)


def _moments(run: Run, parameter: torch.nn.Parameter) -> Sequence[str]:
    return MOMENTS if parameter in run.optimiser.state else ()


def _array(value: torch.Tensor) -> NDArray[Any]:
    return value.detach().cpu().numpy().copy()


def _check(path: Path, meta: Meta, panel: Panel, recipe: ClusterTraining) -> None:
    """UserError unless the checkpoint is of this training: universe, shape, parameters, data."""
    way_out = "train without --resume, or as it was begun"
    if meta.assets != panel.assets or meta.bar_ms != panel.bar_ms:
        had, has = (f"{len(names)} assets ({', '.join(names[:3])} ...)" for names in (meta.assets, panel.assets))
        raise UserError(f"{path}: a checkpoint of another universe, of {had}, not of {has}: {way_out}")
    for name, value in recipe.model_dump(mode="json").items():
        if name not in MAY_CHANGE and meta.recipe.get(name) != value:
            raise UserError(f"{path}: a checkpoint of {name} {meta.recipe.get(name)}, not of {value}: {way_out}")
    if meta.data_hash != panel.content_hash:
        raise UserError(f"{path}: a checkpoint of other data, or of another period of them: {way_out}")
