"""Training and data: this process becomes the job."""

from pathlib import Path

from cockpit.commands.processes import become, flags
from core.config import load


def train_divergence(
    data: str, funding: Path | None, train_bars: int | None, seed: int | None, *, as_json: bool, config: Path | None
) -> None:
    """`python -m core.models train divergence`."""
    load(config, options={"demo.train_bars": train_bars, "demo.seed": seed})
    words = flags(data=data, funding=funding, train_bars=train_bars, seed=seed, json=as_json, config=config)
    become("core.models", ["train", "divergence", *words])


def data_import(
    file: Path, name: str | None, funding: Path | None, *, replace: bool, as_json: bool, config: Path | None
) -> None:
    """`python -m core.data import`."""
    load(config)
    words = flags(name=name, funding=funding, replace=replace, json=as_json, config=config)
    become("core.data", ["import", str(file), *words])
