"""The report of a walk-forward: that of the stitched run, with what each segment learned and made.

It is the page of any backtest (`core.backtest.report`), the baselines beside it, and three sections of its own:
the segments, what was learned from one to the next, and the last model's clusters.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from core.backtest import charts
from core.backtest.document import Analysis
from core.backtest.report import Own, write_report
from core.backtest.words import NONE, cell, money, number, percent, section, signed, table, two
from core.domain.walk import SegmentFigures, Walked
from core.research.cluster_walk import Groups
from core.research.walked import days

Params = Mapping[str, float | int | str]

DRAWN = {
    "threshold": "Entry threshold",
    "similarity_threshold": "Least similarity",
    "held": "Assets held in training, on average",
    "inside": "Share of assets near a cluster",
    "auc": "Area under the curve, in validation",
    "base_rate": "Base rate",
}
"""Which numbers of a training are drawn from segment to segment, and their titles."""
TABLED: dict[str, tuple[str, int]] = {
    "threshold": ("entry", 2),
    "stop_threshold": ("stop", 2),
    "similarity_threshold": ("similarity", 2),
    "temp": ("temp", 2),
    "scaling_factor": ("sharpness", 2),
    "inside": ("near a cluster", 2),
    "clusters": ("clusters in use", 0),
    "held": ("held", 1),
    "rows": ("rows", 0),
}
"""Numbers of a training in the table, with their head and decimals; other numbers follow by name."""
TOLD = ("epochs", "best_epoch", "warm", "first_training_loss", "training_loss", "first_validation_loss",
        "validation_loss")  # fmt: skip
"""What the columns before them tell."""
NAMED = 40
"""Members of a cluster that are named."""


def write_walk(path: Path, told: Walked, analyses: Sequence[Analysis], groups: Groups | None = None) -> None:
    """The report of `analyses`, the walk's and those beside it, into `path`; `groups`: `Played.groups`.

    UserError: it cannot be written."""
    analysis, *others = analyses
    sections = [_segments(told.segments), _learned(told.segments, analysis.result.params)]
    if groups:
        sections.append(_clusters(groups))
    write_report(path, analysis, others, own=Own(", walked forward", sections))


def _segments(rows: Sequence[SegmentFigures]) -> str:
    """What each segment learned from, traded and made."""
    made = np.array([row.total_return for row in rows])
    y = charts.values(min(0.0, float(made.min())), max(0.0, float(made.max())), share=True)
    names = [str(row.number + 1) for row in rows]
    titles = [
        f"segment {row.number + 1}, {days(row.test_from_ms, row.test_until_ms)}: "
        f"{percent(row.total_return, 2, plus=True)}, {row.trades} trades"
        for row in rows
    ]
    chart = charts.columns(names, made, titles, y, "Return of each segment", 1 if len(rows) <= 24 else 5)
    heads = (
        "segment",
        "learned from",
        "tested",
        "bars",
        "assets",
        "trades",
        "return",
        "Sharpe",
        "costs and funding",
    )
    idle = sum(row.sharpe is None for row in rows)
    return section(
        "Segments",
        f"{len(rows)} models, each of its own past; what they decided is one run, the account goes through every "
        "border as it is. One segment alone is too short to judge by: the intervals above are of all together."
        + (f" Nothing was held in {idle} of them." if idle else ""),
        f'<div class="wide"><h3>Return of each segment</h3>{chart}</div>',
        f'<div class="wide">{table(heads, map(_segment, rows))}</div>',
    )


def _segment(row: SegmentFigures) -> str:
    return "".join(
        (
            cell(str(row.number + 1)),
            cell(days(row.train_from_ms, row.train_until_ms)),
            cell(days(row.test_from_ms, row.test_until_ms)),
            cell(f"{row.bars:,}"),
            cell(f"{row.assets:,}"),
            cell(f"{row.trades:,}"),
            signed(row.total_return, percent(row.total_return, 2, plus=True)),
            cell(number(row.sharpe)),
            cell(money(row.costs)),
        )
    )


def _learned(rows: Sequence[SegmentFigures], params: Params) -> str:
    """The numbers of every training, those that tell most drawn from segment to segment."""
    names = [name for name in TABLED if name in rows[0].training]
    names += [name for name in rows[0].training if name not in TABLED and name not in TOLD]
    if not names:
        return ""
    plots = [
        (title, _course([row.training.get(name) for row in rows], title))
        for name, title in DRAWN.items()
        if name in rows[0].training
    ]
    counted = "epochs" in rows[0].training
    heads = [
        "segment",
        *(("begun", "epoch", "ended by", "training loss", "validation loss") if counted else ()),
        *map(_head, names),
    ]
    body = (
        cell(str(row.number + 1))
        + (_ended(row.training, params) if counted else "")
        + "".join(cell(number(row.training.get(name), TABLED.get(name, ("", 3))[1])) for name in names)
        for row in rows
    )
    about = "What each training says of itself; nothing here has seen the tested bars."
    if counted:
        about += (
            " Of all epochs the one with the lowest loss in validation is kept, which may be that before the first"
            f" step. Patience ends a training after {params.get('train.patience', 'so many')} epochs without a"
            " better one. Losses, at the start and of the model kept, are per bar: minus the Sharpe ratio, plus the"
            " price of turnover and leverage."
        )
    return section("What was learned", about, two(*plots), f'<div class="wide">{table(heads, body)}</div>')


def _head(name: str) -> str:
    return TABLED[name][0] if name in TABLED else name.replace("_", " ")


def _course(values: Sequence[float | None], label: str) -> str:
    """One number from segment to segment."""
    known = np.array([np.nan if value is None else value for value in values], np.float64)
    at = np.flatnonzero(np.isfinite(known))
    if not len(at):
        return f"<p>{NONE}</p>"
    x = charts.Axis(1, max(len(known), 2), _numbers(len(known)))
    y = charts.values(float(known[at].min()), float(known[at].max()))
    mark = charts.line if len(at) > 1 else charts.dots
    return charts.plot(x, y, [mark(x, y, (at + 1).astype(np.float64), known[at], "s0")], label, 130)


def _numbers(count: int) -> tuple[tuple[float, str], ...]:
    """Ticks of about ten segments."""
    step = max(1, round(count / 10))
    return tuple((float(place), str(place)) for place in range(1, count + 1, step))


def _ended(training: Mapping[str, float | None], params: Params) -> str:
    """How a training began, which epoch was kept, why there were no more, and the losses from start to end."""
    best, last = (int(training.get(name) or 0) for name in ("best_epoch", "epochs"))
    asked = params.get("train.epochs", last)
    why = "patience" if isinstance(asked, int) and last < asked else "epochs"
    begun = "warm" if training.get("warm") else "afresh"
    losses = (
        f"{number(training.get(f'first_{name}_loss'))} → {number(training.get(f'{name}_loss'))}"
        for name in ("training", "validation")
    )
    return "".join(map(cell, (begun, f"{best} of {last}", why, *losses)))


def _clusters(groups: Groups) -> str:
    """The members of each cluster."""
    rows = []
    for number_, members in sorted(groups.items(), key=lambda entry: (entry[0] < 0, -len(entry[1]), entry[0])):
        names = ", ".join(name for name, _ in members[:NAMED])
        more = f" and {len(members) - NAMED} more" if len(members) > NAMED else ""
        mean = float(np.mean([similarity for _, similarity in members]))
        rows.append(
            cell("none" if number_ < 0 else str(number_))
            + cell(f"{len(members):,}")
            + cell(number(mean))
            + cell(names + more, "words")
        )
    return section(
        "Clusters of the last model",
        "At the last bar it learned from, by the shape of prices over its window; the nearest first. Similarity is "
        "a cosine. An asset near none of them is not traded.",
        table(("cluster", "assets", "mean similarity", "which"), rows, css="words"),
    )
