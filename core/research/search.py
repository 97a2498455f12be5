"""Many parameter sets of the cluster model, each through the same walk-forward: ranked, with luck told beside.

All sets are tested on the same bars. A finished set is a file, its walk a folder: what was interrupted goes on with
the segment that was not finished, and no set is run twice. The table is written anew after each set, whole.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from core.backtest.document import document
from core.backtest.metrics import growth, kurtosis, sharpe, skew
from core.backtest.result import Result
from core.backtest.statistics import expected_maximum, overfitting_probability, probabilistic
from core.backtest.sweep import Params, Value, draws, grid
from core.backtest.trials import Trials
from core.config.settings import ClusterTraining
from core.domain.errors import UserError
from core.domain.market import Floats
from core.domain.walk import Searched, SetWalk
from core.jobs import Progress
from core.models import stored
from core.models.cluster.windows import bars_of
from core.research.cluster_walk import CLUSTER, ClusterWalk
from core.research.segments import market_rows
from core.research.walk_forward import identity
from core.research.walked import interval, judged

GRID: dict[str, tuple[Value, ...]] = {
    "n_clusters": (5, 10, 20),
    "window": (30, 60, 120),
    "similarity_threshold": (0.3, 0.5, 0.7),
}
"""What is searched where nothing is named."""
BLOCKS = 16
PATIENCE = 1000
"""Draws in a row that bring nothing new, after which there is nothing new."""
KIND, FORMAT = "search-set", 1


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a set, beside its returns: the search that it belongs to (a hash), and its figures."""

    kind: str = KIND
    format: int = FORMAT
    search: str
    figures: SetWalk


def sets_of(axes: Mapping[str, Sequence[Value]], count: int | None, seed: int) -> tuple[Params, ...]:
    """Every combination of `axes` (empty: the customary grid), or `count` random ones, no two alike.

    UserError: there are not so many."""
    axes = axes or GRID
    if count is None:
        return tuple({msgspec.json.encode(given): given for given in grid(axes)}.values())
    if count < 1:
        raise UserError(f"--trials {count}: at least 1 is needed", code=2)
    found: dict[bytes, Params] = {}
    for given in draws(axes, count + PATIENCE * count, seed):
        found.setdefault(msgspec.json.encode(given), given)
        if len(found) == count:
            return tuple(found.values())
    raise UserError(
        f"--trials {count}: the grid has {len(found)} sets that differ: ask for so many at most", code=2
    )


def recipes(base: ClusterTraining, sets: Sequence[Params]) -> list[ClusterTraining]:
    """The recipe of each set. UserError: a parameter that is not known or not possible."""
    made = []
    for given in sets:
        unknown = given.keys() - ClusterTraining.model_fields.keys()
        if unknown:
            known = ", ".join(ClusterTraining.model_fields)
            raise UserError(f"--grid {min(unknown)}: no parameter of the cluster model; known are {known}", code=2)
        try:
            made.append(ClusterTraining.model_validate(base.model_dump() | given))
        except ValidationError as error:
            wrong = error.errors()[0]
            name = ".".join(str(part) for part in wrong["loc"]) or "parameters"
            raise UserError(f"--grid: {name}: {wrong['msg']}, in {given}", code=2) from None
    return made


class Tried(NamedTuple):
    """A set that was walked: its figures, and (T,) returns per bar (none of a set that failed)."""

    figures: SetWalk
    returns: Floats


def search(
    base: ClusterWalk, sets: Sequence[Params], folder: Path, name: str, trials: Trials, progress: Progress
) -> Searched:
    """Walk each of `sets` in place of the parameters of `base`, in `folder`, on from where that stands.

    UserError: parameters, too few data, a folder of another search, or not one set that could be walked."""
    walks = _aligned(base, recipes(base.recipe, sets))
    account = base.account.params.model_dump(), base.account.gate, base.account.cash
    made_of = identity(base.panel, (), base.recipe.model_dump(), sets, base.first, base.most, base.warm, account)
    tried: list[Tried] = []
    for number, (given, walk) in enumerate(zip(sets, walks, strict=True)):

        def tell(share: float, text: str, number: int = number) -> None:
            progress((number + share) / len(sets), f"set {number + 1} of {len(sets)}, {text}")

        file = folder / "sets" / f"{number:04d}.safetensors"
        if file.exists():
            tried.append(_read(file, made_of))
            continue
        tried.append(_tried(number, given, walk, folder, trials, tell))
        kept = Done(search=made_of, figures=tried[-1].figures)
        stored.put(file, stored.encoded(kept, {"returns": tried[-1].returns}))
        write_tables(folder, [one.figures for one in tried])
    good = [one for one in tried if not one.figures.failed]
    if not good:
        raise UserError(f"not one of {len(sets)} sets could be walked; the first: {tried[0].figures.failed}")
    best = max(good, key=lambda one: one.figures.sharpe or 0.0).figures.number
    result = _walked(walks[best], _walk_folder(folder, best), lambda share, text: None)
    sharpes = trials.sharpes(result.source)
    luck = expected_maximum(sharpes)
    bars = len(result.equity) - 1
    many = len(good) > 1 and bars >= BLOCKS
    overfitting = overfitting_probability(np.stack([one.returns for one in good]), BLOCKS) if many else None
    ranked = sorted((_deflated(one, luck) for one in tried), key=_order)
    tables = write_tables(folder, ranked)
    told = document(judged([result], trials, overfitting)[0])
    return Searched(name, CLUSTER, tuple(ranked), len(sharpes), overfitting, told, tables)


def write_tables(folder: Path, rows: Sequence[SetWalk]) -> tuple[str, str]:
    """`table.parquet` and `table.csv` in `folder`, each whole or not at all; a column for each parameter."""
    names = [name for name in SetWalk.__struct_fields__ if name not in ("number", "params")]
    flat = [{"set": row.number, **row.params, **{name: getattr(row, name) for name in names}} for row in rows]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(flat), sink)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    files = folder / "table.parquet", folder / "table.csv"
    for file, content in zip(files, (sink.getvalue().to_pybytes(), text.getvalue().encode()), strict=True):
        stored.put(file, content)
    return str(files[0]), str(files[1])


def text(told: Searched) -> str:
    """The ten best sets, and what the best is worth among so many."""
    keys = tuple(told.sets[0].params)
    wide = [max(12, len(key) + 2) for key in keys]
    head = "".join(f"{key:>{width}}" for key, width in zip(keys, wide, strict=True))
    rows = [
        "".join(f"{row.params[key]!s:>{width}}" for key, width in zip(keys, wide, strict=True)) + _line(row)
        for row in told.sets[:10]
    ]
    luck = "too few to tell" if told.overfitting is None else f"{told.overfitting:.0%}"
    return "\n".join(
        [
            f"{told.strategy} on {told.best.source.name}, search {told.id}: {len(told.sets)} sets, each walked"
            f" forward; trials on these data: {told.trials}",
            f"{head}  {'Sharpe (95% interval)':<26}{'deflated':>9}{'drawdown':>10}{'exposure':>10}",
            *rows,
            f"overfitting   {luck}: probability that the best of one half is below the median of the other",
            f"best          {told.best.verdict}",
            *(f"table         {file}" for file in told.tables),
        ]
    )


def _line(row: SetWalk) -> str:
    if row.failed:
        return f"  {row.failed}"
    deflated = "-" if row.deflated is None else f"{row.deflated:.1%}"
    return (
        f"  {interval(row.sharpe, row.low, row.high):<26}{deflated:>9}"
        f"{row.max_drawdown or 0.0:>10.1%}{row.exposure or 0.0:>10.2f}"
    )


def _aligned(base: ClusterWalk, given: Sequence[ClusterTraining]) -> list[ClusterWalk]:
    """A walk for each recipe; all are tested from the same bar on, that of the longest training."""
    rows = market_rows(base.panel)
    longest = max(bars_of(recipe.train_days, base.panel.bar_ms) for recipe in given) + base.purge
    first = max(base.first, int(rows[min(longest, len(rows) - 1)]))
    walks = [replace(base, recipe=recipe, first=first) for recipe in given]
    for walk in walks:
        walk.segments()
    return walks


def _tried(
    number: int, given: Params, walk: ClusterWalk, folder: Path, trials: Trials, progress: Progress
) -> Tried:
    """The set, walked and counted; one whose training is refused or diverges has figures that say so."""
    try:
        result = _walked(walk, _walk_folder(folder, number), progress)
    except UserError as error:
        return Tried(SetWalk(number, given, failed=str(error)), np.zeros(0))
    told = judged([result], trials)[0]
    ratio, metrics = told.statistics.sharpe, told.metrics
    figures = SetWalk(
        number,
        given,
        metrics.sharpe,
        ratio.low if ratio else None,
        ratio.high if ratio else None,
        None,
        metrics.max_drawdown.depth,
        metrics.exposure,
        metrics.trades.count,
    )
    return Tried(figures, growth(result.equity))


def _read(file: Path, made_of: str) -> Tried:
    found = stored.read(file, "search again, without --resume")
    done = found.meta(KIND, FORMAT, Done)
    if done.search != made_of:
        raise UserError(f"{file}: a set of another search, of other data or parameters: leave --resume away")
    return Tried(done.figures, found.arrays["returns"])


def _deflated(one: Tried, luck: float) -> SetWalk:
    """With the confidence that the set is better than the best of all trials would be by luck."""
    ratio = sharpe(one.returns, 1.0) if len(one.returns) else None
    if ratio is None:
        return one.figures
    shape = len(one.returns), skew(one.returns) or 0.0, kurtosis(one.returns) or 0.0
    return msgspec.structs.replace(one.figures, deflated=probabilistic(ratio, *shape, above=luck))


def _order(row: SetWalk) -> tuple[bool, float]:
    return bool(row.failed), -(row.sharpe or 0.0)


def _walked(walk: ClusterWalk, folder: Path, progress: Progress) -> Result:
    return walk.played(folder, walk.train(folder, progress)).result()


def _walk_folder(folder: Path, number: int) -> Path:
    return folder / "walks" / f"{number:04d}"
