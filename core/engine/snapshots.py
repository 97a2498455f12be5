"""What the screen gets, made from the books, the last view and the market. Floats for the eye only."""

import math
from collections import deque
from decimal import Decimal

import msgspec
import numpy as np

from core.clock import monotonic, wall_ms
from core.domain.account import Book
from core.domain.decision import View
from core.domain.market import Floats
from core.domain.snapshot import (
    Clusters,
    Equity,
    LegRow,
    LogLine,
    PairTable,
    PositionRow,
    Snapshot,
    Status,
    Stream,
)
from core.domain.trading import TradingState
from core.engine.engine import Engine

CURVE = 720
DAY_MS = 86_400_000


class Phase(msgspec.Struct):
    """Where the start has come to: the one thing that is shown before there is an engine."""

    name: str = "starting"
    detail: str = ""
    progress: float = -1.0


class Lag:
    """The event loop's lateness: the worst of the last seconds, in ms."""

    def __init__(self) -> None:
        self.samples: deque[float] = deque(maxlen=1000)

    def add(self, ms: float) -> None:
        self.samples.append(ms)

    @property
    def p99(self) -> float:
        """99th percentile of the last thousand samples, ms."""
        return float(np.percentile(self.samples, 99)) if self.samples else 0.0


EMPTY_PAIRS = PairTable([], [], [], [], [], [], [], [], [], [])
EMPTY_EQUITY = Equity("USDT", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, True, [], [])


def snapshot(base: Status, phase: Phase, lag: Lag, engine: Engine | None, log: list[LogLine]) -> Snapshot:
    """All topics as they are now; before the engine exists, the phase alone."""
    status = msgspec.structs.replace(
        base,
        phase=phase.name,
        detail=phase.detail,
        progress=phase.progress,
        wall_ms=wall_ms(),
        lag_ms=round(lag.p99, 2),
    )
    if engine is None or engine.bar is None:
        return Snapshot(status, [], EMPTY_PAIRS, [], EMPTY_EQUITY, Clusters("", [], [], []), log)
    streams = engine.market.rows()
    held = engine.journal.books.open_books()
    return Snapshot(
        status=_status(status, engine, streams),
        streams=streams,
        pairs=_pairs(engine),
        positions=[_position(engine, book) for book in held],
        equity=_equity(engine),
        clusters=engine.clusters.table(engine.views, held),
        log=log,
        health=list(engine.health.readings),
    )


def _status(status: Status, engine: Engine, streams: list[Stream]) -> Status:
    live = sum(row.state == "live" for row in streams)
    return msgspec.structs.replace(
        status,
        state=engine.restrictions.state,
        reason=engine.restrictions.reason,
        bars=engine.steps,
        market_ms=engine.venue.market_ms(),
        latency_ms=round((monotonic() - engine.market.heard) * 1000, 1),
        step_ms=round(engine.step_ms, 2),
        streams_live=live,
        streams_total=len(streams),
        warning=engine.warning,
        share=float(engine.share()),
    )


def _stray(view: View) -> Floats:
    """(P,) how far each pair stands from where it belongs: a spread from its mean, an asset from its cluster."""
    return next(view.column(name) for name in ("z_score", "residual") if name in view.names)


def _pairs(engine: Engine) -> PairTable:
    """The pairs of the first strategy that trades pairs; where none does, the single assets of the first."""
    name = next((t for t in engine.traders if any(p.b for p in t.features.pairs)), engine.traders[0]).strategy.name
    view, outcome = engine.views[name], engine.outcomes.get(name)
    held = {book.pair for book in engine.journal.books.open_books()}
    names = [pair.name for pair in view.pairs]
    index = {asset: i for i, asset in enumerate(view.assets)}
    a = [index[pair.a] for pair in view.pairs]
    b = [index[pair.b or pair.a] for pair in view.pairs]
    single = np.array([not pair.b for pair in view.pairs])
    z = _stray(view)
    halted = engine.restrictions.state is TradingState.HALTED
    idle = f"halted: {engine.restrictions.reason}" if halted else "warming up"
    why, score = [idle] * len(names), np.zeros(len(names))
    direction = np.zeros(len(names), np.int8)
    if outcome is not None:
        refused = dict(outcome.refused)
        why = [
            refused.get(name, outcome.decision.texts[reason])
            for name, reason in zip(names, outcome.decision.reasons, strict=True)
        ]
        score, direction = outcome.decision.score, outcome.decision.direction
    return PairTable(
        name=names,
        z=z.round(4).tolist(),
        probability=view.probability.round(4).tolist(),
        score=score.round(4).tolist(),
        direction=[int(d) for d in direction],
        funding=(view.funding[a] - np.where(single, 0.0, view.funding[b])).tolist(),
        correlation=np.where(single, np.nan, view.correlation[a, b]).round(4).tolist(),
        spread=(view.column("spread") if "spread" in view.names else view.close).tolist(),
        why=why,
        held=[name in held for name in names],
    )


def _leg(engine: Engine, leg: LegRow) -> LegRow:
    mark = engine.market.price(engine.asset_ids[leg.asset])
    return msgspec.structs.replace(leg, mark=mark, pnl=leg.units * (mark - leg.entry))


def legs_of(engine: Engine, book: Book) -> list[LegRow]:
    """The legs of a book at the marks of now."""
    rows = [
        LegRow(leg.asset, float(leg.size), float(leg.size * leg.contract), float(leg.average), 0.0, 0.0)
        for leg in book.legs
    ]
    return [_leg(engine, row) for row in rows]


def _position(engine: Engine, book: Book) -> PositionRow:
    books = engine.journal.books
    legs = legs_of(engine, book)
    pnl = sum(leg.pnl for leg in legs) + float(book.realized + book.fees + book.funding)
    working = {(i.strategy, i.pair): i.action for i in books.unsettled()}.get((book.strategy, book.pair))
    bar = engine.bar
    assert bar is not None
    return PositionRow(
        pair=book.pair,
        strategy=book.strategy,
        side=book.side,
        legs=legs,
        gross=float(book.gross),
        z_entry=book.z,
        z_now=_z_now(engine.views.get(book.strategy), book.pair),
        pnl=pnl,
        pnl_share=pnl / float(book.gross) if book.gross else 0.0,
        stop=-book.stop,
        target=book.target,
        fees=float(book.fees),
        funding=float(book.funding),
        opened_ms=book.opened,
        bars=(bar.close_ms - book.opened) // engine.settings.universe.bar_ms,
        origin=books.intents[book.intent].intent.origin,
        working="" if working is None else {"open": "opening", "close": "closing"}[working],
        protected=all(leg.instrument in books.protections for leg in book.legs),
    )


def _z_now(view: View | None, pair: str) -> float:
    """NaN where its strategy does not run any more, or does not know the pair."""
    place = next((i for i, known in enumerate(view.pairs) if known.name == pair), None) if view else None
    return float(_stray(view)[place]) if view is not None and place is not None else math.nan


def _equity(engine: Engine) -> Equity:
    books, bar = engine.journal.books, engine.bar
    assert bar is not None
    marks = {name: Decimal(repr(engine.market.price(name))) for name in engine.instruments}
    equity = books.equity(marks)
    values = (abs(spec.notional(books.net(name), marks[name])) for name, spec in engine.instruments.items())
    gross = sum(values, Decimal(0))
    curve = books.curve[-CURVE:]
    midnight = engine.venue.market_ms() // DAY_MS * DAY_MS
    before = [value for ts, value in curve if ts <= midnight]
    peak = max(books.peak, equity)
    return Equity(
        currency=books.currency,
        cash=float(books.cash),
        equity=float(equity),
        start=float(books.deposit),
        peak=float(peak),
        drawdown=float(equity / peak - 1) if peak > 0 else 0.0,
        today=float(equity - (before[-1] if before else books.deposit)),
        realized=float(books.realized),
        unrealized=float(books.unrealized(marks)),
        fees=float(books.fees),
        funding=float(books.funding),
        gross=float(gross),
        free=float(equity - gross / engine.settings.venue.leverage),
        round_trips=books.round_trips,
        orders=len(books.orders),
        fills=books.fills,
        agrees=engine.verdict.agrees,
        curve=[float(value) for _, value in curve],
        curve_ms=[ts for ts, _ in curve],
        shortfall=engine.quality.total.shortfall.bps,
        legs=engine.quality.total.legs,
    )
