"""What a screen shows: one frozen struct per topic, made by the engine, drawn by the cockpit.

Floats here are for the eye only; the ledger's Decimals never pass through them back into an order.
Column tables (`PairTable`) carry one list per column, all of the same length.
"""

from typing import Literal

import msgspec

from core.domain.health import Reading
from core.domain.quality import Quality
from core.domain.statement import Statement

CORE, DRIFTING = 0.8, 0.2
"""A gate above the first makes an asset one of its cluster's core, above the second it drifts; else it is out."""
Standing = Literal["core", "drifting", "out"]


def standing(gate: float) -> Standing:
    """What a gate in [0, 1] says of an asset's place in its cluster."""
    return "core" if gate > CORE else "drifting" if gate > DRIFTING else "out"


class Status(msgspec.Struct, frozen=True):
    """Who is at work and how. `phase`: starting, preparing, training, connecting, trading,
    finished, stopping, failed.

    `mode`: DEMO, OKX-DEMO, SHADOW or LIVE. `state`: active, reducing (no new exposure) or halted, and its
    `reason`. Lag and latency in ms; `wall_ms` is when the snapshot was made. `progress` is in 0..1 while starting
    or training, else -1. `share` of all sizes may be used."""

    session: str
    venue: str
    mode: str
    phase: str
    detail: str
    progress: float
    state: str
    pid: int
    strategies: list[str]
    model: str
    base_rate: float
    bar_ms: int
    bars: int
    bars_total: int
    market_ms: int
    wall_ms: int
    latency_ms: float
    lag_ms: float
    step_ms: float
    streams_live: int
    streams_total: int
    warning: str
    read_only: bool = False
    reason: str = ""
    share: float = 1.0


class Stream(msgspec.Struct, frozen=True):
    """One asset's stream: last price, change over 24 h (share), funding per 8 h, age of the last message
    in seconds, and its state (live, stale, down)."""

    asset: str
    instrument: str
    last: float
    change: float
    funding: float
    age: float
    state: str


class PairTable(msgspec.Struct, frozen=True):
    """One row a pair, P rows. `direction`: -1 short the spread, 0 none, +1 long. `why` is the reason in
    plain words why it is or is not traded. `funding` is base minus quote funding per 8 h."""

    name: list[str]
    z: list[float]
    probability: list[float]
    score: list[float]
    direction: list[int]
    funding: list[float]
    correlation: list[float]
    spread: list[float]
    why: list[str]
    held: list[bool]


class LegRow(msgspec.Struct, frozen=True):
    """A leg as held: signed contracts, signed base units, average entry and current mark price, P&L in USDT."""

    asset: str
    contracts: float
    units: float
    entry: float
    mark: float
    pnl: float


class PositionRow(msgspec.Struct, frozen=True):
    """A held pair. `pnl` is unrealised plus realised plus fees plus funding in USDT; `pnl_share`, `stop` and
    `target` are shares of the pair's gross (stop negative). `opened_ms` market time, `bars` its age.
    `working`: empty, or what is being done to it now (opening, closing)."""

    pair: str
    strategy: str
    side: int
    legs: list[LegRow]
    gross: float
    z_entry: float
    z_now: float
    pnl: float
    pnl_share: float
    stop: float
    target: float
    fees: float
    funding: float
    opened_ms: int
    bars: int
    origin: str
    working: str
    protected: bool


class Equity(msgspec.Struct, frozen=True):
    """The account, in `currency`: `curve` is equity at each closed bar (the last some hundred),
    `curve_ms` their close times. `today` is P&L since 00:00 UTC of the market's day. `agrees` says whether
    the ledger and the exchange tell the same. `shortfall`: what execution has cost beyond the decision prices, in
    basis points, over so many `legs`."""

    currency: str
    cash: float
    equity: float
    start: float
    peak: float
    drawdown: float
    today: float
    realized: float
    unrealized: float
    fees: float
    funding: float
    gross: float
    free: float
    round_trips: int
    orders: int
    fills: int
    agrees: bool
    curve: list[float]
    curve_ms: list[int]
    shortfall: float = 0.0
    legs: int = 0


class Clusters(msgspec.Struct, frozen=True):
    """Groups of assets that move together, one row an asset; `method` names how they were found.

    Without a trained model: single-linkage groups (0-based) and the mean correlation within each. With one, and
    only then, the other columns have rows: cluster of the nearest centroid (-1: no feature), similarity to it,
    `gate`, `residual` (z less its clusters' consensus), `signal`, `weight` and `held` (wanted and held, shares
    of the strategy's capital, short below 0), and cluster and gate at the bar before."""

    method: str
    asset: list[str]
    cluster: list[int]
    similarity: list[float]
    gate: list[float] = []
    residual: list[float] = []
    signal: list[float] = []
    weight: list[float] = []
    held: list[float] = []
    cluster_before: list[int] = []
    gate_before: list[float] = []

    @property
    def learned(self) -> bool:
        """Whether a trained model says it."""
        return bool(self.gate)


class ClusterTrail(msgspec.Struct, frozen=True):
    """One asset against its clusters, by the last bars' close times `ts`, the latest last: z, what its clusters
    agree on, cluster, gate and wanted weight. `threshold` and `stop_threshold` of |z - consensus| are the model's
    (0: not known); `why` is the strategy's reason in plain words."""

    asset: str
    ts: list[int]
    z: list[float]
    consensus: list[float]
    cluster: list[int]
    gate: list[float]
    weight: list[float]
    threshold: float
    stop_threshold: float
    why: str


class LogLine(msgspec.Struct, frozen=True):
    """One line of what happened. `kind`: decision, order, fill, exit, funding, repair, command, health, engine.

    `level`: info, good, warn, bad. `ts` market time. `seq` rises by one: a gap is a loss."""

    seq: int
    ts: int
    kind: str
    level: str
    text: str


class Snapshot(msgspec.Struct, frozen=True):
    """All topics at once. The link sends each only when it has changed; log lines are never dropped."""

    status: Status
    streams: list[Stream]
    pairs: PairTable
    positions: list[PositionRow]
    equity: Equity
    clusters: Clusters
    log: list[LogLine]
    health: list[Reading] = []


class Command(msgspec.Struct, frozen=True):
    """Something a person asked the engine: `name` is one of pause, resume, kill, preview, open, close, flatten,
    stop, status, trail, quality, account, accept, adopt. `pair` (of a trail: the asset) and `side` where they
    apply; `notional` USDT per leg (0: the configured size); `text`: why, of what is accepted or adopted."""

    id: str
    name: str
    pair: str = ""
    side: int = 0
    notional: float = 0.0
    who: str = ""
    text: str = ""


class Ticket(msgspec.Struct, frozen=True):
    """What an order by hand would do: both legs, their sizes and values, the fees at the taker rate, what
    the risk gate says (empty: allowed)."""

    pair: str
    side: int
    legs: list[LegRow]
    gross: float
    fees: float
    margin: float
    refused: str


class Reply(msgspec.Struct, frozen=True):
    """The engine's answer to a command: `ok` False comes with the reason in `message`; `pending`: it is at work
    still, and tells more when it is asked again."""

    id: str
    ok: bool
    message: str
    ticket: Ticket | None = None
    snapshot: Snapshot | None = None
    trail: ClusterTrail | None = None
    pending: bool = False
    quality: Quality | None = None
    statement: Statement | None = None
