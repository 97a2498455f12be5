"""The audit of a strategy: can its figures be trusted, and is there an edge in them?"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

import core.backtest.baselines
from core.backtest.baselines import asset_signals
from core.backtest.events import Assumptions, market_of
from core.backtest.prepare import Prepared
from core.backtest.result import Result
from core.backtest.statistics import statistics
from core.config import Settings
from core.data.panel import Ints, Panel
from core.domain.account import Holdings
from core.domain.audit import Audit, Check, Edge, Integrity
from core.domain.decision import Decision, View
from core.domain.errors import UserError
from core.domain.market import Bar, Floats
from core.features.catalog import FEATURES, Arrays, Feature
from core.jobs import Progress
from core.models.bundle import AnyBundle
from core.models.cluster.bundle import ClusterBundle
from core.research.accounting import accounting
from core.research.decisions import causal, deciding_bars, model, pure, source_of
from core.research.edge import VARIANTS, break_even, edges, placebo, planted_edge, verdict
from core.research.framed import code_of, feature_of
from core.research.histories import Excerpt, planted, traded_by_all
from core.research.lookahead import lookahead
from core.research.runs import BaselineRuns, Runs, runs_of
from core.research.served import service, warmup
from core.strategies.registry import OURS, Strategy, served

AROUND = 300
"""Bars before (beyond the longest warm-up) and after each cut in which features are examined."""
CUTS = 4
VIEWS = 40
SHORT = 900
"""Traded bars of the event-driven run beside a compiled one."""


class Scope(NamedTuple):
    """How much is asked of the edge."""

    placebos: int
    placebo_bars: int
    planted_bars: int


COMPILED, BY_EVENTS = Scope(20, 3000, 4000), Scope(8, 1500, 2000)
"""Of runs that take a second a year, and of those that take ten."""


class Task(NamedTuple):
    """What every audit is told. `sharpes` counts a run as a trial, and gives the Sharpe ratios of all trials on its
    data."""

    settings: Settings
    prepared: Prepared
    assumed: Assumptions
    sharpes: Callable[[Result], Floats]
    tell: Progress


def audit(task: Task, rule: Strategy, bundle: AnyBundle | None) -> Audit:
    """Both verdicts on `rule` over the prepared period. `bundle`: its model, where it needs one.

    UserError where the bars do not suffice."""
    settings, prepared, assumed, _, tell = task
    if isinstance(bundle, ClusterBundle):
        rule = served(rule, bundle)
    ours = rule in OURS
    own = feature_of(rule, rule.params_of(settings), dict(FEATURES[0].recursive) if ours else {})
    features = [own, *(feature for feature in FEATURES if ours and feature.name != "pairs")]
    excerpts = excerpts_of(prepared, max(feature.warmup(prepared.panel) for feature in features))
    tell(0.0, "the first run")
    panel, start = _traded(prepared, own.warmup(prepared.panel))
    runs, base = runs_of(settings, rule, bundle, prepared.source, panel, start, prepared.seed, assumed)
    tell(0.05, f"look-ahead: the future cut off and changed after {CUTS} bars")
    checks = [lookahead([(feature, code_of(rule)) for feature in features], excerpts, prepared.seed)]
    tell(0.25, "warm-up, and live against history")
    checks += [warmup(features, excerpts), service(features, [excerpts[0], excerpts[-1]], bars=50)]
    tell(0.35, "decisions")
    checks += _decisions(runs, panel)
    results = _variants(runs, base, panel, checks, tell)
    if runs.compiled:
        tell(0.6, "an event-driven run")
        few = panel.slice(0, start + SHORT)
        ledger = accounting(runs.by_events(few), few)
        checks.append(msgspec.structs.replace(ledger, name="ledger"))
    return _verdicts(task, rule.name, runs, results, panel, checks, rule.assets)


def audit_baseline(task: Task, name: str) -> Audit:
    """Both verdicts on one of the baselines of single assets."""
    settings, prepared, assumed, _, tell = task
    excerpts = excerpts_of(prepared, 2 * AROUND)
    tell(0.0, "the first run")
    panel, start = _traded(prepared, prepared.start)
    size, cash = settings.strategy.divergence.base_size_usdt, float(settings.demo.cash)
    runs = BaselineRuns(name, size, cash, prepared.source, start, prepared.seed, assumed)
    base = runs(panel)
    tell(0.1, f"look-ahead: the future cut off and changed after {CUTS} bars")
    code = Path(core.backtest.baselines.__file__).parent
    checks = [lookahead([(Feature(name, lambda *of: Sides(name)), code)], excerpts, prepared.seed)]
    results = _variants(runs, base, panel, checks, tell)
    return _verdicts(task, name, runs, results, panel, checks, ())


class Sides:
    """The target sides of a baseline as columns."""

    warmup = 0

    def __init__(self, name: str) -> None:
        self._name = name

    def history(self, panel: Panel) -> Arrays:
        """One column, (T, N)."""
        return {self._name: asset_signals(panel)[self._name][0]}

    def update(self, bar: Bar) -> Arrays:
        """Baselines do not trade live."""
        raise NotImplementedError(self._name)


def excerpts_of(prepared: Prepared, need: int) -> list[Excerpt]:
    """Bars with a warm-up of `need` about one bar drawn from each of `CUTS` equal parts of the traded period: what
    looks ahead in a part of it only is met, too. The last cut stands before a settlement of funding."""
    panel, least = prepared.panel, need + 2 * AROUND
    if len(panel) < least:
        raise UserError(f"{len(panel)} bars are too few for an audit: at least {least} are needed")
    first, last = min(max(prepared.start, need), len(panel) - 2 * AROUND), len(panel) - AROUND // 3
    ends = np.linspace(first, last, CUTS + 1).astype(np.int64)
    cuts = np.random.default_rng(prepared.seed).integers(ends[:-1], ends[1:])
    settled: Ints = np.flatnonzero(np.isfinite(panel.funding_rate).any(axis=1))
    next_one = settled[(settled > cuts[-1]) & (settled <= last)][:1]
    cuts[-1] = next_one[0] - 1 if len(next_one) else cuts[-1]
    begins = np.maximum(cuts - need - AROUND, 0)
    return [
        Excerpt(panel.slice(begin, min(cut + AROUND, len(panel))), (cut - begin,))
        for begin, cut in zip(begins.tolist(), cuts.tolist(), strict=True)
    ]


def _traded(prepared: Prepared, warm: int) -> tuple[Panel, int]:
    """The bars that are traded, after no more history than a warm-up; and where trading starts in them."""
    warm = min(prepared.start, warm)
    return prepared.panel.slice(prepared.start - warm, len(prepared.panel)), warm


def _decisions(runs: Runs, panel: Panel) -> list[Check]:
    """The rule and its model, on views as they come live."""
    market = market_of(panel, runs.start, 0, runs.seed)
    trader = runs.trader(market, runs.assumed)
    views = [trader.warm(panel.bar(t)) for t in range(min(len(panel), runs.start + VIEWS))][-VIEWS:]

    def decide(view: View, books: Holdings) -> Decision:
        return runs.rule.decide(view, books, trader.params)

    checks = [pure(runs.rule.name, decide, views, source_of(runs.rule.decide))]
    if runs.bundle is not None:
        rows, features = np.stack([view.features for view in views]), trader.features
        checks.append(model(runs.bundle, features.names, features.hash, rows, runs.source.first_ms))
    return checks


def _variants(
    runs: Runs | BaselineRuns, base: Result, panel: Panel, checks: list[Check], tell: Progress
) -> list[Result]:
    """The runs of `VARIANTS`. Adds to `checks` that no future moves them, and that the books of each add up."""
    tell(0.4, "runs with another future")
    checks.append(causal(runs, panel, base, deciding_bars(base, panel, CUTS, runs.seed), runs.seed))
    tell(0.5, "other delays and costs")
    results = [base, *(runs(panel, delay=way.delay, costs=way.costs) for way in VARIANTS[1:])]
    books = [accounting(result, panel) for result in results]
    found = {finding.name: finding for check in reversed(books) for finding in check.findings}
    text = f"{books[0].text}; and of {len(books) - 1} other runs"
    checks.append(Check("accounting", text, tuple(found.values())))
    return results


def _verdicts(
    task: Task,
    name: str,
    runs: Runs | BaselineRuns,
    results: Sequence[Result],
    panel: Panel,
    checks: Sequence[Check],
    pair: tuple[str, ...],
) -> Audit:
    base, seed, tell = results[0], runs.seed, task.tell
    told = tuple(edges(result, way.label, seed) for way, result in zip(VARIANTS, results, strict=True))
    whole = traded_by_all(panel)
    scope = COMPILED if runs.engine == "vectorised" else BY_EVENTS
    few = whole.slice(max(0, len(whole) - scope.placebo_bars - runs.start), len(whole))
    seeds = [seed + 1 + k for k in range(scope.placebos)]
    doing = f"placebo: the bars in {scope.placebos} random orders"
    noise = placebo(runs, few, seeds, lambda done: tell(0.65 + 0.25 * done, doing))
    tell(0.95, "a planted edge")
    known = planted_edge(runs, planted(few, runs.start + scope.planted_bars, seed, pair), seed)
    figures = statistics(base, sharpes=task.sharpes(base), seed=seed)
    word, why = verdict(told, noise, figures.deflated_sharpe)
    edge = Edge(word, why, told, break_even(base), noise, known, figures.trials, figures.deflated_sharpe)
    tell(1.0, "done")
    # JSON knows no infinity.
    params = {key: "inf" if value == math.inf else value for key, value in base.params.items()}
    fed, engine = task.prepared.source, runs.engine
    return Audit(name, engine, params, fed, seed, base.assumptions, Integrity.of(checks), edge)
