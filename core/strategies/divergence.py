"""Multi-pair divergence: trade the spread that has strayed most and is most likely to come back.

`decide` is pure: the same view, holdings and parameters give the same decision, in a backtest as in the demo and
live. The rule itself is compiled, in `core.strategies.rule`; here stands what it is fed with, and its words.
"""

from functools import lru_cache

import msgspec
import numpy as np

from core.domain.account import Holdings, book_pnl
from core.domain.decision import Decision, Entry, Exit, View
from core.domain.instrument import Pair
from core.features.bounds import bounds as bounds_of_leg
from core.features.bounds import reference
from core.strategies.params import DivergenceParams
from core.strategies.rule import (
    HELD,
    Answer,
    Ints,
    Leave,
    Market,
    Rule,
    Table,
    Why,
    blank,
    compiled,
    judge,
    notional,
)

TEXTS = (
    "held",
    "an order is at work",
    "not a pair of this strategy",
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


class Places(msgspec.Struct, frozen=True):
    """Where everything stands in the arrays of one universe: `legs` (2, P) assets of each pair, the row of each
    pair by name, the number of each asset, and the asset whose volatility all others are measured by."""

    names: tuple[str, ...]
    legs: Ints
    rows: dict[str, int]
    assets: dict[str, int]
    reference: int


@lru_cache(maxsize=8)
def texts(params: DivergenceParams) -> tuple[str, ...]:
    """`TEXTS` with the numbers of these parameters."""
    return tuple(text.format(p=params) for text in TEXTS)


@lru_cache(maxsize=8)
def places(assets: tuple[str, ...], pairs: tuple[Pair, ...]) -> Places:
    """The places of a universe."""
    order = {asset: i for i, asset in enumerate(assets)}
    legs = np.array([(order[pair.a], order[pair.b]) for pair in pairs], np.int64).reshape(-1, 2)
    names = tuple(pair.name for pair in pairs)
    rows = {name: row for row, name in enumerate(names)}
    return Places(names, np.ascontiguousarray(legs.T), rows, order, reference(assets))


@lru_cache(maxsize=8)
def _rule(params: DivergenceParams, bar_ms: int) -> Rule:
    rule = compiled(params, bar_ms)
    # What only an entry calls is loaded with the first bar, not with the first entry.
    notional(rule, 1.0)
    bounds_of_leg(rule.bounds, 0.0, 0.0, 0.0)
    return rule


def decide(
    view: View,
    holdings: Holdings,
    params: DivergenceParams,
    name: str = "divergence",
    only: tuple[str, ...] = (),
) -> Decision:
    """The answer to one closed bar: exits, entries, and a reason for every pair. `only`: the pairs that may be
    entered (all of them, if it is empty).

    A position that is closed on this bar still counts as held: its place, and its assets, are free from the
    next bar on, when it is known to be gone. Only a switch leaves and enters on one bar: its exit names the pair
    that it is for, and its entry comes last."""
    at, rule = places(view.assets, view.pairs), _rule(params, view.bar_ms)
    contiguous = np.ascontiguousarray
    z = contiguous(view.column("z_score"))
    market = Market(
        view.ts,
        at.legs,
        z,
        contiguous(view.probability),
        contiguous(view.usable),
        contiguous(view.funding),
        contiguous(view.correlation),
    )
    past, taken, occupied = _past(holdings, at)
    if only:
        past["other"] = [pair not in only for pair in at.names]
    held = _held(view, holdings, at)
    answer = Answer.empty(len(held), len(z), rule.places)
    judge(rule, market, held, past, taken, rule.places - occupied, answer)
    rows = [row for row in answer.chosen.tolist() if row >= 0]
    exits = _exits(view, holdings, held, answer, at, at.names[rows[-1]] if rows else "") if len(held) else ()
    entries = tuple(_entry(view, row, answer, rule, at) for row in rows)
    return Decision(
        view.ts,
        name,
        entries,
        exits,
        tuple(at.names[row] for row in answer.released.nonzero()[0]),
        answer.why,
        texts(params),
        answer.score,
        answer.side,
        "" if entries or exits else _best(answer, at, params),
    )


def bounds(view: View, row: int, params: DivergenceParams) -> tuple[float, float]:
    """(stop, target) of pair `row` as shares of its gross, by the range or the volatility of its base leg."""
    return _bounds(view, row, _rule(params, view.bar_ms), places(view.assets, view.pairs))


def _bounds(view: View, row: int, rule: Rule, at: Places) -> tuple[float, float]:
    base, volatility = at.legs[0, row], view.volatility
    stop, target = bounds_of_leg(rule.bounds, view.atr_pct[base], volatility[base], volatility[at.reference])
    return float(stop), float(target)


def _past(holdings: Holdings, at: Places) -> tuple[Table, Ints, int]:
    """What the ledger remembers of each pair, (N,) how many positions each asset is in, and how many there are.
    A pair that is no longer watched still takes its place, and its assets."""
    past, taken = blank(len(at.names)), np.zeros(len(at.assets), np.int64)
    names = set()
    for book in holdings.books:
        names.add(book.pair)
        for leg in book.legs:
            if leg.asset in at.assets:
                taken[at.assets[leg.asset]] += 1
        if book.pair in at.rows:
            past["held"][at.rows[book.pair]] = True
    for pair in holdings.working:
        row = at.rows.get(pair)
        if row is not None:
            past["working"][row] = True
            if pair not in names:
                taken[at.legs[:, row]] += 1
        names.add(pair)
    barred, z, closed = past["barred"], past["z"], past["closed"]
    for last in holdings.closed.values():
        row = at.rows.get(last.pair)
        if row is not None:
            closed[row] = last.ts
            if last.barred:
                barred[row], z[row] = True, last.z
    return past, taken, len(names)


def _held(view: View, holdings: Holdings, at: Places) -> Table:
    """The books as the rule judges them. One without a gross is not judged: it is closed."""
    held = np.zeros(len(holdings.books), HELD)
    if not holdings.books:
        return held
    prices = dict(zip(view.assets, view.close.tolist(), strict=True))
    for m, book in enumerate(holdings.books):
        row = at.rows.get(book.pair, -1) if book.gross else -1
        share = book_pnl(book, prices) / float(book.gross) if row >= 0 else 0.0
        held[m] = (row, book.opened, book.z, share, book.stop, book.target)
    return held


def _exits(view: View, holdings: Holdings, held: Table, answer: Answer, at: Places, into: str) -> tuple[Exit, ...]:
    """What leaves, in words; `into`: the pair that a switch is for. A pair that is no longer watched, or is at
    work, is left alone."""
    exits = []
    for m, book in enumerate(holdings.books):
        share, left = float(held["share"][m]), int(answer.left[m])
        if left == Leave.STOP:
            exits.append(Exit(book.pair, f"stop at {share:+.2%}", barred=True))
        elif left == Leave.TARGET:
            exits.append(Exit(book.pair, f"target at {share:+.2%}"))
        elif left == Leave.CROSSED:
            exits.append(Exit(book.pair, f"z crossed to {view.column('z_score')[at.rows[book.pair]]:+.2f}"))
        elif left == Leave.TIME:
            exits.append(Exit(book.pair, f"time stop after {(view.ts - book.opened) // view.bar_ms} bars"))
        elif left == Leave.SWITCHED:
            exits.append(Exit(book.pair, f"switched to {into}", into=into))
        elif not book.gross and book.pair in at.rows and book.pair not in holdings.working:
            exits.append(Exit(book.pair, "contracts left over from a pair that is gone"))
    return tuple(exits)


def _entry(view: View, row: int, answer: Answer, rule: Rule, at: Places) -> Entry:
    z, probability, score = view.column("z_score")[row], float(view.probability[row]), float(answer.score[row])
    stop, target = _bounds(view, row, rule, at)
    return Entry(
        pair=at.names[row],
        side=int(answer.side[row]),
        notional=notional(rule, score),
        stop=stop,
        target=target,
        z=float(z),
        score=score,
        probability=probability,
        reason=f"z {z:+.2f}, probability {probability:.2f}",
    )


def _best(answer: Answer, at: Places, params: DivergenceParams) -> str:
    """Why even the best pair of this strategy that is not held is not entered."""
    out = (answer.why == Why.HELD) | (answer.why == Why.OTHER)
    row = int(np.where(out, -1.0, answer.score).argmax())
    return "" if out[row] else f"{at.names[row]}: {texts(params)[answer.why[row]]}"
