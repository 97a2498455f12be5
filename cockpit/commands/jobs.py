"""Training and data: this process becomes the job."""

from pathlib import Path

from cockpit.commands.processes import become, flags
from core.config import load
from core.domain.errors import UserError


def train_divergence(
    data: str, funding: Path | None, train_bars: int | None, seed: int | None, *, as_json: bool, config: Path | None
) -> None:
    """`python -m core.models train divergence`."""
    settings = load(config, options={"demo.train_bars": train_bars, "demo.seed": seed})
    candles, rates = dataset(settings.paths.lake, data)
    words = flags(
        data=candles, funding=funding or rates, train_bars=train_bars, seed=seed, json=as_json, config=config
    )
    become("core.models", ["train", "divergence", *words])


def data_import(
    file: Path, name: str | None, funding: Path | None, *, replace: bool, as_json: bool, config: Path | None
) -> None:
    """`python -m core.data import`."""
    load(config)
    words = flags(name=name, funding=funding, replace=replace, json=as_json, config=config)
    become("core.data", ["import", str(file), *words])


def dataset(lake: Path, given: str) -> tuple[Path, Path | None]:
    """The candles and the funding rates (if any) of a file, or of a data set of the lake."""
    if Path(given).is_file():
        return Path(given), None
    candles, rates = lake / given / "candles.parquet", lake / given / "funding.parquet"
    if candles.is_file():
        return candles, rates if rates.is_file() else None
    names = sorted(place.parent.name for place in lake.glob("*/candles.parquet"))
    holds = f"the lake holds {', '.join(names)}" if names else "the lake is empty: fill it with cockpit data import"
    raise UserError(f"--data {given}: no such file, and no such data set; {holds}")
