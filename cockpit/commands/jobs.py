"""Training and data: this process becomes the job."""

from pathlib import Path

from cockpit.commands.processes import become, flags
from core.config import load


def train_divergence(
    data: Path | None,
    funding: Path | None,
    train_bars: int | None,
    seed: int | None,
    *,
    as_json: bool,
    config: Path | None,
) -> None:
    """`python -m core.models train divergence`."""
    load(config, options={"demo.train_bars": train_bars, "demo.seed": seed})
    options = flags(data=data, funding=funding, train_bars=train_bars, seed=seed, json=as_json, config=config)
    become("core.models", ["train", "divergence", *options])


def data_import(file: Path, name: str | None, funding: Path | None, *, as_json: bool, config: Path | None) -> None:
    """`python -m core.data import`."""
    load(config)
    become("core.data", ["import", str(file), *flags(name=name, funding=funding, json=as_json, config=config)])
