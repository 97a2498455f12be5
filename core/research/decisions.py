"""Does a strategy decide by what it is shown, and by nothing else? And does a run of it know the future?"""

import inspect
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, cast

import msgspec
import numpy as np

from core.backtest.result import Result
from core.clock import iso
from core.data.panel import Panel
from core.domain.account import Book, BookLeg, Holdings
from core.domain.audit import Check, Finding
from core.domain.decision import Decision, View
from core.domain.market import Floats
from core.models.bundle import AnyBundle, Bundle
from core.models.cluster.bundle import ClusterBundle
from core.models.cluster.rule import NAMES
from core.research.histories import TEN_YEARS_MS, changed_after

Decide = Callable[[View, Holdings], Decision]
BEYOND = 12
"""Bars of another future that a run is given: those after the next open cannot matter."""
BARS_HELD = 5


def pure(name: str, decide: Decide, views: Sequence[View], where: str) -> Check:
    """`decide` on `views` in order, then backwards, then as if all were ten years earlier: the same decisions, and
    views left as they were. Each view is judged with nothing held, and with one pair held."""
    cases = [(view, books) for view in views for books in (_nothing(), _holding(view))]
    prints = [_content(view) for view, _ in cases]
    first = [_told(decide(view, books)) for view, books in cases]
    back = [_told(decide(view, books)) for view, books in reversed(cases)][::-1]
    early = [_told(decide(*_earlier(view, books))) for view, books in cases]
    faults = (
        (
            [_content(view) for view, _ in cases] == prints,
            "writes into the view it is shown, which others read too",
            "copy an array before changing it",
        ),
        (
            back == first,
            "decides otherwise when it is asked again: it remembers what it saw, so the future can reach the past",
            "keep no state in the strategy: derive it from the view and the books (cooldowns, timers, holdings)",
        ),
        (
            early == first,
            "decides otherwise for the same bars at another date: it knows something by its date",
            "bring outside series in as features, known from the time they were published",
        ),
    )
    findings = tuple(
        Finding(name, iso(views[0].ts), where, fault, mend) for kept, fault, mend in faults if not kept
    )
    text = f"{len(cases)} decisions, asked in order, backwards, and ten years earlier"
    return Check("decisions", text, findings)


def causal(run: Callable[[Panel], Result], panel: Panel, base: Result, cuts: Sequence[int], seed: int) -> Check:
    """The run again with the bars after each of `cuts` changed: all that was decided up to there stays, and so do
    the fills at the next open."""
    findings: dict[str, Finding] = {}
    for t in cuts:
        other = run(changed_after(panel.slice(0, t + BEYOND), t, seed))
        known = int(panel.ts[t]) + panel.bar_ms
        rows = int(np.searchsorted(base.ts, known, side="right"))
        same = {
            "equity": np.array_equal(base.equity[:rows], other.equity[:rows]),
            "exposure": np.array_equal(base.exposure[:rows], other.exposure[:rows]),
        }
        for name, kept in same.items():
            if not kept:
                fault = "moved before the bars that were changed"
                findings.setdefault(name, _unsteady(name, panel, t, fault))
        if (
            rows < min(len(base.ts), len(other.ts))
            and (np.sign(base.exposure[rows]) != np.sign(other.exposure[rows])).any()
        ):
            pair = base.pairs[int(np.argmax(np.sign(base.exposure[rows]) != np.sign(other.exposure[rows])))]
            fault = "is entered or left at the open of a bar by what that bar did only later"
            findings.setdefault(pair, _unsteady(pair, panel, t, fault))
    text = f"{len(cuts)} runs with the future changed, after bars whose decisions are filled at the next open"
    return Check("runs", text, tuple(findings.values()))


def deciding_bars(result: Result, panel: Panel, count: int, seed: int) -> list[int]:
    """Up to `count` bars at whose close a trade of `result` was decided, drawn from `seed`, in order of time."""
    fills = sorted({at for trade in result.trades for at in (trade.opened, trade.closed)})
    bars = sorted({int(np.searchsorted(panel.ts, at, side="right")) - 2 for at in fills})
    bars = [bar for bar in bars if 0 <= bar < len(panel) - 2]
    if not bars:  # bought once, and held: any bar will do
        bars = list(range(int(np.searchsorted(panel.ts, result.ts[0])), len(panel) - 2))
    if len(bars) <= count:
        return bars
    return sorted(np.random.default_rng(seed).choice(bars, count, replace=False).tolist())


def model(bundle: AnyBundle, names: Sequence[str], features_hash: str, rows: Floats, first_ms: int) -> Check:
    """The bundle reads the features that are served, scores a row alike whatever stands beside it, and knows
    nothing of the period that is tested from `first_ms` on. `rows` (T, P, F).

    A cluster bundle makes its features itself, and each asset's from those beside it: of it, the file that is
    served and the period are asked."""
    meta, found = bundle.meta, []
    columns: tuple[str, ...]
    name, when = bundle.path.name, iso(first_ms)
    if isinstance(bundle, ClusterBundle):
        had, columns = bundle.hash, NAMES
    else:
        forest = cast(Bundle, bundle)
        had, columns = forest.meta.features_hash, forest.meta.features
    if (tuple(names), features_hash) != (columns, had):
        off = next((was for was, now in zip(columns, names, strict=False) if was != now), "their definition")
        fault = f"was trained on other features than are served: {off} ({had} is not {features_hash})"
        found.append(Finding(name, when, "", fault, "train again: cockpit train"))
    if meta.labels_until_ms >= first_ms:
        seen = f"bars from {iso(meta.trained_from_ms)} to {iso(meta.labels_until_ms)}"
        fault = f"has seen the test: it was trained on {seen}, and the test begins at {when}"
        mend = f"test from {iso(meta.labels_until_ms + meta.bar_ms)} on, or train on bars before {when} alone"
        found.append(Finding(name, when, "", fault, mend))
    if not found and not isinstance(bundle, ClusterBundle):
        together = forest.score(rows.reshape(-1, rows.shape[-1]))
        alone = np.concatenate([forest.score(bar) for bar in rows])
        if not np.array_equal(together, alone, equal_nan=True):
            fault = "scores a row otherwise in other company: something is computed over the batch"
            found.append(
                Finding(name, when, "", fault, "use what was fitted in training, never the batch's own mean")
            )
    text = f"{name}: the features served, trained until {iso(meta.labels_until_ms)}, {len(rows)} bars scored"
    return Check("model", text, tuple(found))


def source_of(function: Callable[..., Any]) -> str:
    """`file:line: def` of a function, a method or a partial of one; "" where it has no source."""
    while isinstance(function, partial):
        function = function.func
    try:
        lines, number = inspect.getsourcelines(inspect.unwrap(function))
        file = inspect.getsourcefile(inspect.unwrap(function)) or ""
    except (OSError, TypeError):
        return ""
    return f"{file.rsplit('/', 1)[-1]}:{number}: {lines[0].strip()}"


def _unsteady(name: str, panel: Panel, t: int, fault: str) -> Finding:
    mend = "decide by bars up to t, fill from the open of t + 1 on, and let nothing else of bar t + 1 in"
    return Finding(name, iso(int(panel.ts[t])), "", fault, mend)


def _nothing() -> Holdings:
    return Holdings((), {}, {}, Decimal(100_000))


def _holding(view: View) -> Holdings:
    """One pair held since five bars, at prices of today: the first of the view."""
    pair = view.pairs[0]
    legs = []
    for asset, sign in zip(pair.assets, (1, -1), strict=False):
        price = float(view.close[view.assets.index(asset)])
        price = price if np.isfinite(price) else 1.0
        size = Decimal(sign) * round(Decimal(1000 / price), 6)
        legs.append(BookLeg(asset, f"{asset}-SWAP", size, Decimal(repr(price)), Decimal(1)))
    opened = view.ts - BARS_HELD * view.bar_ms
    zero = Decimal(0)
    book = Book(
        "", pair.name, 1, opened, tuple(legs), -1.5, 1.0, 0.7, 0.06, 0.05, Decimal(2000), zero, zero, zero, "audit"
    )
    return Holdings((book,), {}, {}, Decimal(100_000))


def _earlier(view: View, books: Holdings) -> tuple[View, Holdings]:
    held = tuple(msgspec.structs.replace(book, opened=book.opened - TEN_YEARS_MS) for book in books.books)
    return msgspec.structs.replace(view, ts=view.ts - TEN_YEARS_MS), msgspec.structs.replace(books, books=held)


def _told(decision: Decision) -> tuple[Any, ...]:
    """All that a decision says, but when and the arrays' identity."""
    arrays = (decision.reasons.tobytes(), np.asarray(decision.score).tobytes(), decision.direction.tobytes())
    return decision.entries, decision.exits, decision.targets, decision.released, decision.text, *arrays


def _content(view: View) -> bytes:
    arrays = (getattr(view, name) for name in View.__struct_fields__)
    return b"".join(array.tobytes() for array in arrays if isinstance(array, np.ndarray))
