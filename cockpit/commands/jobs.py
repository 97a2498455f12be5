"""Training is another process: this one becomes it, or shows how far it is."""

from collections.abc import Sequence
from pathlib import Path

from cockpit.commands.processes import become, flags
from cockpit.commands.research import pass_on
from core.config import load

MODELS = "core.models"
"""The module that trains."""


def train_divergence(
    data: str, funding: Path | None, train_bars: int | None, seed: int | None, *, as_json: bool, config: Path | None
) -> None:
    """`python -m core.models train divergence`."""
    load(config, options={"demo.train_bars": train_bars, "demo.seed": seed})
    words = flags(data=data, funding=funding, train_bars=train_bars, seed=seed, json=as_json, config=config)
    become(MODELS, ["train", "divergence", *words])


def train_cluster(words: Sequence[str], *, quiet: bool) -> None:
    """`python -m core.models train cluster`, which checks the `words` of its options."""
    pass_on(MODELS, ["train", "cluster", *words], quiet)
