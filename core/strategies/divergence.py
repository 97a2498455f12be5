"""Multi-pair divergence: trade the spread that has strayed most and is most likely to come back.

`decide` is the whole rule. It is pure: the same view, holdings and parameters give the same decision, in a
backtest as in the demo and live. All conditions are judged on the bar that has just closed.
"""

import math
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from core.domain.account import Book, Holdings, book_pnl
from core.domain.decision import Decision, Entry, Exit, View
from core.domain.market import Floats
from core.features.pairs import atr_bound
from core.strategies.params import DivergenceParams


class Why(IntEnum):
    """Why a pair is, or is not, traded on this bar. The first that applies, from the top, is told."""

    HELD = 0
    WORKING = 1
    UNUSABLE = 2
    SMALL = 3
    UNLIKELY = 4
    BARRED = 5
    COOLING = 6
    FUNDING = 7
    FULL = 8
    SHARED = 9
    CORRELATED = 10
    OUTSCORED = 11
    ENTERED = 12


TEXTS = (
    "held",
    "an order is at work",
    "fewer than {p.min_bars} aligned bars, or a silent leg",
    "|z| is not above {p.z_entry:g}",
    "probability is not above {p.prob_threshold:g}",
    "barred after a stop until z crosses zero",
    "cooling down for {p.cooldown_bars} bars after its last trade",
    "funding against a leg",
    "no more than {p.max_concurrent_positions} at a time",
    "one of its assets is held",
    "correlates above {p.correlation_threshold:g} with a held asset",
    "another pair scores higher",
    "entered",
)
"""`Why` in plain words, by number; `p` are the parameters."""


@lru_cache(maxsize=8)
def texts(params: DivergenceParams) -> tuple[str, ...]:
    """`TEXTS` with the numbers of these parameters."""
    return tuple(text.format(p=params) for text in TEXTS)


def decide(view: View, holdings: Holdings, params: DivergenceParams, name: str = "divergence") -> Decision:
    """The answer to one closed bar: exits, entries, and a reason for every pair.

    A position that is closed on this bar still counts as held: its place, and its assets, are free from the
    next bar on, when it is known to be gone.
    """
    z = view.column("z_score")
    score = np.where(view.usable, np.abs(z) * view.probability, 0.0)
    side = np.where(np.abs(z) > params.z_entry, -np.sign(z), 0.0).astype(np.int8)
    exits = tuple(exit for book in holdings.books if (exit := _exit(view, holdings, book, z, params)) is not None)
    released = tuple(_released(view, holdings, z))
    why = _filters(view, holdings, params, z, side, released)
    chosen = _choose(view, holdings, params, score, why)
    entries = tuple(_entry(view, row, int(side[row]), z, score, params) for row in chosen)
    text = "" if entries or exits else _best(view, score, why, params)
    return Decision(
        view.ts,
        name,
        entries,
        exits,
        released,
        why,
        texts(params),
        score,
        np.where(view.usable, side, 0).astype(np.int8),
        text,
    )


def bounds(view: View, row: int, params: DivergenceParams) -> tuple[float, float]:
    """(stop, target) of pair `row` as shares of its gross: multiples of the base leg's ATR, clamped."""
    atr = view.atr_pct[view.assets.index(view.pairs[row].a)]
    stop = atr_bound(atr, params.stop_atr, params.stop_min, params.stop_max, params.stop_default)
    target = atr_bound(atr, params.target_atr, params.target_min, params.target_max, params.target_default)
    return float(stop), float(target)


def _exit(view: View, holdings: Holdings, book: Book, z: Floats, params: DivergenceParams) -> Exit | None:
    """Whether a held pair is closed now. Price stops and the time limit hold even where z is not usable; a pair
    that is no longer watched cannot be judged."""
    row = _row(view, book.pair)
    if row is None or book.pair in holdings.working:
        return None
    if not book.gross:
        return Exit(book.pair, "contracts left over from a pair that is gone")
    share = book_pnl(book, dict(zip(view.assets, view.close, strict=True))) / float(book.gross)
    age = (view.ts - book.opened) // view.bar_ms
    if share <= -book.stop:
        return Exit(book.pair, f"stop at {share:+.2%}", barred=True)
    if share >= book.target:
        return Exit(book.pair, f"target at {share:+.2%}")
    if view.usable[row] and age >= params.min_hold_bars and _crossed(z[row], book.z, params.z_exit):
        return Exit(book.pair, f"z crossed to {z[row]:+.2f}")
    if age >= params.horizon_bars:
        return Exit(book.pair, f"time stop after {age} bars")
    return None


def _released(view: View, holdings: Holdings, z: Floats) -> list[str]:
    """Pairs barred after a stop whose z has meanwhile crossed zero."""
    barred = ((_row(view, last.pair), last) for last in holdings.closed.values() if last.barred)
    return [
        last.pair for row, last in barred if row is not None and view.usable[row] and _crossed(z[row], last.z, 0.0)
    ]


def _crossed(now: float, entry: float, level: float) -> bool:
    """Whether z has come from its entry's side down to `level` (0: has changed its sign). Judged against the z
    at entry, not against the side taken: a pair opened by hand may bet the other way."""
    return now * math.copysign(1.0, entry) <= level


def _filters(
    view: View,
    holdings: Holdings,
    params: DivergenceParams,
    z: Floats,
    side: NDArray[np.int8],
    released: tuple[str, ...],
) -> NDArray[np.uint8]:
    """(P,) the first reason that stands against each pair by itself; ENTERED where none does."""
    index = {asset: i for i, asset in enumerate(view.assets)}
    a = np.array([index[pair.a] for pair in view.pairs])
    b = np.array([index[pair.b] for pair in view.pairs])
    # Short the spread: short a, long b. The short pays a negative rate, the long a positive one.
    paid_a, paid_b = side * view.funding[a], -side * view.funding[b]
    names = [pair.name for pair in view.pairs]
    closed = holdings.closed
    cooling = params.cooldown_bars * view.bar_ms
    barred = [n in closed and closed[n].barred and n not in released for n in names]
    cooled = [n in closed and view.ts - closed[n].ts < cooling for n in names]
    held = {book.pair for book in holdings.books}
    conditions = (
        (Why.HELD, np.array([n in held for n in names])),
        (Why.WORKING, np.array([n in holdings.working for n in names])),
        (Why.UNUSABLE, ~view.usable),
        (Why.SMALL, side == 0),
        (Why.UNLIKELY, ~(view.probability > params.prob_threshold)),
        (Why.BARRED, np.array(barred)),
        (Why.COOLING, np.array(cooled)),
        (Why.FUNDING, (paid_a > params.funding_threshold) | (paid_b > params.funding_threshold)),
    )
    why = np.full(len(names), Why.ENTERED, np.uint8)
    for reason, applies in reversed(conditions):
        why[applies] = reason
    return why


def _choose(
    view: View, holdings: Holdings, params: DivergenceParams, score: Floats, why: NDArray[np.uint8]
) -> list[int]:
    """Rows to enter, best score first; writes into `why` what stands against the other candidates."""
    working = {name for name, _ in holdings.working.items()}
    taken = {asset for pair in view.pairs if pair.name in working for asset in (pair.a, pair.b)}
    taken |= {leg.asset for book in holdings.books for leg in book.legs}
    places = params.max_concurrent_positions - len({book.pair for book in holdings.books} | working)
    full = places <= 0
    chosen: list[int] = []
    for row in sorted(np.flatnonzero(why == Why.ENTERED), key=lambda r: -score[r]):
        pair = view.pairs[row]
        if full:
            why[row] = Why.FULL
        elif {pair.a, pair.b} & taken:
            why[row] = Why.SHARED
        elif _correlates(view, (pair.a, pair.b), taken, params.correlation_threshold):
            why[row] = Why.CORRELATED
        elif len(chosen) == places:
            why[row] = Why.OUTSCORED
        else:
            chosen.append(int(row))
            taken |= {pair.a, pair.b}
    return chosen


def _correlates(view: View, assets: tuple[str, str], taken: set[str], threshold: float) -> bool:
    rows = [view.assets.index(asset) for asset in assets]
    columns = [i for i, asset in enumerate(view.assets) if asset in taken]
    return bool((np.abs(view.correlation[np.ix_(rows, columns)]) > threshold).any())


def _entry(view: View, row: int, side: int, z: Floats, score: Floats, params: DivergenceParams) -> Entry:
    multiplier = min(max(1.0 + (score[row] - 0.5) / 0.5, 1.0), 2.0)
    stop, target = bounds(view, row, params)
    return Entry(
        pair=view.pairs[row].name,
        side=side,
        notional=float(params.base_size_usdt * multiplier),
        stop=stop,
        target=target,
        z=float(z[row]),
        score=float(score[row]),
        probability=float(view.probability[row]),
        reason=f"z {z[row]:+.2f}, probability {view.probability[row]:.2f}",
    )


def _best(view: View, score: Floats, why: NDArray[np.uint8], params: DivergenceParams) -> str:
    """Why even the best pair that is not held is not entered."""
    free = np.flatnonzero(why != Why.HELD)
    if not len(free):
        return ""
    row = int(free[np.argmax(score[free])])
    return f"{view.pairs[row].name}: {texts(params)[why[row]]}"


def _row(view: View, name: str) -> int | None:
    return next((i for i, pair in enumerate(view.pairs) if pair.name == name), None)
