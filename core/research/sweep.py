"""A sweep, told as what it is: many trials, of which the best one is judged with regard to all."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from math import sqrt

import msgspec
from pydantic import ValidationError

from core.backtest.document import analyse, document
from core.backtest.metrics import YEAR_MS
from core.backtest.run import Desk
from core.backtest.statistics import overfitting_probability
from core.backtest.sweep import GRID, Sweep, Value, draws, grid, sweep
from core.backtest.sweep import Params as Given
from core.backtest.trials import Trials, trial
from core.backtest.vectorised import run_vectorised
from core.domain.errors import UserError
from core.domain.sweep import SetFigures, Swept
from core.jobs import Progress
from core.strategies.params import DivergenceParams, Params
from core.trader import Trader

BLOCK = 24
"""Bars of one return that the probability of overfitting is reckoned from."""
BLOCKS = 16


def swept(
    desk: Desk, axes: Mapping[str, Sequence[Value]], count: int | None, trials: Trials, tell: Progress
) -> Swept:
    """Run the desk's strategy with every combination of `axes` (empty: the customary grid), or with `count` random
    different draws of them; record each as a trial. UserError for a parameter that is not known or not possible."""
    if count is not None and count < 1:
        raise UserError(f"--trials {count}: at least 1", code=2)
    axes = axes or GRID
    seed = desk.prepared.seed
    sets = grid(axes) if count is None else draws(axes, count, seed)
    cash, source = float(desk.settings.demo.cash), desk.prepared.source
    found = sweep(desk.trader, sets, desk.market, cash, desk.assumed, source, block=BLOCK, seed=seed, progress=tell)
    trials.record(found.trials())
    order = found.ranked()
    result = run_vectorised(_with(desk, sets[order[0]]), desk.market, cash, desk.assumed, source, seed=seed)
    trials.record([trial(result)])
    sharpes = trials.sharpes(source)
    many = len(sets) > 1 and found.returns.shape[1] >= BLOCKS
    overfitting = overfitting_probability(found.returns.astype(float), BLOCKS) if many else None
    told = document(analyse(result, sharpes, overfitting, seed))
    return Swept(
        found.strategy,
        tuple(_figures(found, number, sets[number]) for number in order),
        len(sharpes),
        overfitting,
        told,
        (f"{count} were asked for, but there are no more than {len(sets)} sets",)
        if len(sets) < (count or 0)
        else (),
    )


def axes_of(words: Sequence[str]) -> dict[str, tuple[Value, ...]]:
    """`KEY=V1,V2` each, as axes; numbers are numbers. UserError: not of that form."""
    axes: dict[str, tuple[Value, ...]] = {}
    for word in words:
        key, equals, values = word.partition("=")
        if not (key.strip() and equals and values.strip()):
            raise UserError(f"--grid {word}: write it like --grid z_entry=1,1.5,2", code=2)
        axes[key.strip()] = tuple(_value(text.strip()) for text in values.split(","))
    return axes


def refuse_unknown(axes: Mapping[str, Sequence[Value]], params: Params) -> None:
    """UserError for an axis that is none of `params`, or that holds a value which that parameter cannot have: told
    before a model is trained for the sweep."""
    kind, known = type(params), type(params).model_fields
    for key, values in axes.items():
        if key not in known:
            close = get_close_matches(key, known, 3)
            way = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known)}"
            raise UserError(f"--grid {key}: no parameter of this strategy; {way}", code=2)
        for value in values:
            try:
                kind.model_validate(params.model_dump() | {key: value})
            except ValidationError as error:
                # What two parameters must be to each other is asked of whole sets alone.
                for wrong in error.errors():
                    if wrong["loc"]:
                        raise UserError(f"--grid {key}={value}: {wrong['msg']}", code=2) from None


def text(told: Swept) -> str:
    """The ten best sets, and what the best is worth among so many."""
    best = told.best
    keys = tuple(told.sets[0].params)
    head = "".join(f"{key:>24}" for key in keys) + f"{'Sharpe':>9}{'drawdown':>10}{'trades':>8}{'winners':>9}"
    rows = [
        "".join(f"{row.params[key]!s:>24}" for key in keys)
        + f"{row.sharpe:>9.2f}{row.max_drawdown:>10.1%}{row.trades:>8}"
        + (f"{row.hit_rate:>9.1%}" if row.hit_rate is not None else f"{'-':>9}")
        for row in told.sets[:10]
    ]
    luck = "too few to tell" if told.overfitting is None else f"{told.overfitting:.0%}"
    deflated = told.best.statistics.deflated_sharpe
    sharpe = "undefined" if deflated is None else f"{deflated:.1%} likely"
    return "\n".join(
        [
            f"{told.strategy} on {best.source.name}: {len(told.sets)} sets; trials on these data: {told.trials}",
            head,
            *rows,
            *(f"note          {note}" for note in told.notes),
            f"overfitting   {luck}: probability that the best of one half is below the median of the other",
            f"best          {best.verdict}",
            f"              {sharpe} that its Sharpe ratio is above zero, deflated by all trials",
        ]
    )


def _with(desk: Desk, given: Given) -> Trader:
    """The desk's trader with the parameters of a set, and the windows they ask for."""
    trader, panel = desk.trader, desk.prepared.panel
    params = DivergenceParams.model_validate(trader.params.model_dump() | given)
    features = trader.strategy.features(panel.assets, params, panel.bar_ms)
    instruments = {spec.id: spec for spec in desk.market.instruments}
    return Trader(trader.strategy, params, features, trader.model, instruments, trader.limits)


def _figures(found: Sweep, number: int, params: Given) -> SetFigures:
    row = {name: float(found.column(name)[number]) for name in ("sharpe", "drawdown", "trades", "wins", "turnover")}
    costs = sum(float(found.column(name)[number]) for name in ("slippage", "fees", "funding"))
    return SetFigures(
        params,
        row["sharpe"] * sqrt(YEAR_MS / found.source.bar_ms),
        row["drawdown"],
        int(row["trades"]),
        row["wins"] / row["trades"] if row["trades"] else None,
        costs / row["turnover"] if row["turnover"] else None,
    )


def _value(word: str) -> Value:
    try:
        return msgspec.convert(word, int | float, strict=False)
    except msgspec.ValidationError:
        return word
