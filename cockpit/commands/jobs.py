"""Training: this process becomes the job."""

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
