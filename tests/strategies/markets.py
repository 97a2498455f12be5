"""Views and books made by hand, for the tests of the rules."""

from collections.abc import Mapping
from decimal import Decimal

import numpy as np

from core.domain.account import Book, BookLeg, Closed, Holdings
from core.domain.decision import Decision, View
from core.domain.instrument import pairs_of
from core.domain.orders import Action
from core.strategies.divergence import TEXTS

HOUR = 3_600_000
NOW = 1_000 * HOUR
ASSETS = ("BTC", "ETH", "SOL", "XRP")
PAIRS = pairs_of(ASSETS)
NAMES = tuple(pair.name for pair in PAIRS)


def view(
    z: Mapping[str, float] | None = None,
    *,
    probability: Mapping[str, float] | None = None,
    unusable: tuple[str, ...] = (),
    close: Mapping[str, float] | None = None,
    funding: Mapping[str, float] | None = None,
    atr: Mapping[str, float] | None = None,
    correlation: Mapping[tuple[str, str], float] | None = None,
    volatility: Mapping[str, float] | None = None,
    now: int = NOW,
) -> View:
    """Four assets at 100, six pairs at z 0 with probability 0.8, nothing correlated; and what a test says."""
    corr = np.eye(len(ASSETS))
    for (one, other), value in (correlation or {}).items():
        i, j = ASSETS.index(one), ASSETS.index(other)
        corr[i, j] = corr[j, i] = value

    def each(told: Mapping[str, float] | None, names: tuple[str, ...], usual: float) -> np.ndarray:
        assert set(told or {}) <= set(names)
        return np.array([(told or {}).get(name, usual) for name in names])

    return View(
        ts=now,
        assets=ASSETS,
        pairs=PAIRS,
        names=("spread", "z_score"),
        features=np.column_stack([np.ones(len(NAMES)), each(z, NAMES, 0.0)]),
        probability=each(probability, NAMES, 0.8),
        usable=np.array([name not in unusable for name in NAMES]),
        close=each(close, ASSETS, 100.0),
        funding=each(funding, ASSETS, 0.0),
        atr_pct=each(atr, ASSETS, 0.005),
        correlation=corr,
        bar_ms=HOUR,
        volatility=each(volatility, ASSETS, 0.03),
    )


def book(
    pair: str = "BTC/ETH",
    side: int = -1,
    *,
    bars: int = 5,
    z: float | None = None,
    stop: float = 0.06,
    target: float = 0.05,
    fees: str = "0",
    funding: str = "0",
    realized: str = "0",
) -> Book:
    """A pair opened `bars` ago at 100 for 1000 USDT a leg; -1 is short the spread, entered at z +2."""
    a, b = pair.split("/")
    legs = tuple(
        BookLeg(asset, f"{asset}-USDT-SWAP", Decimal(sign * 1000), Decimal(100), Decimal("0.01"))
        for asset, sign in ((a, side), (b, -side))
    )
    return Book(
        strategy="divergence",
        pair=pair,
        side=side,
        opened=NOW - bars * HOUR,
        legs=legs,
        z=-2.0 * side if z is None else z,
        score=1.6,
        probability=0.8,
        stop=stop,
        target=target,
        gross=Decimal(2000),
        realized=Decimal(realized),
        fees=Decimal(fees),
        funding=Decimal(funding),
        intent="i",
    )


def holdings(
    *books: Book, closed: tuple[Closed, ...] = (), working: Mapping[str, Action] | None = None
) -> Holdings:
    return Holdings(books, {last.pair: last for last in closed}, dict(working or {}), Decimal(100_000))


def told(decision: Decision) -> dict[str, str]:
    """The reason of each pair, in words."""
    return {name: TEXTS[reason] for name, reason in zip(NAMES, decision.reasons, strict=True)}
