"""A week of trading derived from candles alone: decisions, sizes, fills, fees, funding, cash, equity, bar by bar.

Straight down, one pass, no shared code: what the specification says, with the account kept in exact decimals. A bar
t closes; pairs held are judged; the best that may be entered are chosen; funding settles; all orders are filled at
the open of bar t + 1; the equity is taken at the closes of bar t.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any, NamedTuple

import numpy as np

from tests.acceptance.plain_exchange import LISTING, Beyond, Spec, down, fills, on_tick
from tests.acceptance.plain_market import Candles, Floats, Signals

D = Decimal
ZERO = D(0)
QUANTUM = D("1e-12")
PARAMS: dict[str, Any] = {
    "z_window": 24, "z_entry": 1.0, "z_exit": 0.0, "prob_threshold": 0.5, "correlation_threshold": 0.85,
    "correlation_window": 168, "funding_threshold": 0.0005, "atr_period": 14, "base_size_usdt": 1000.0,
    "stop_atr": 10.0, "stop_min": 0.02, "stop_max": 0.10, "stop_default": 0.06,
    "target_atr": 8.0, "target_min": 0.02, "target_max": 0.15, "target_default": 0.05,
    "horizon_bars": 102, "min_hold_bars": 0, "cooldown_bars": 0, "max_concurrent_positions": 1, "min_bars": 200,
}  # fmt: skip
"""The parameters of the specification, at its defaults."""


class Terms(NamedTuple):
    """What the account trades under: its cash, its fee (positive: paid), and the limits on new exposure."""

    cash: Decimal = D(100_000)
    taker: Decimal = D("0.0005")
    free_share: Decimal = D("0.95")
    max_gross: Decimal = D(50_000)
    max_order: Decimal = D(10_000)
    catastrophe: Decimal = D("0.25")
    listing: Mapping[str, Spec] = LISTING


@dataclass(frozen=True)
class Entry:
    """An entry as decided: signed contracts of both legs, and what it was decided on."""

    side: int
    sizes: tuple[Decimal, Decimal]
    z: float
    score: float
    probability: float
    stop: float
    target: float


Trade = tuple[Decimal, Decimal, Decimal]
"""Signed contracts, price, fee (negative: paid)."""


@dataclass
class Step:
    """All that came of the bar that opened at `bar`. `entries` by pair in order of score, `refused` those the
    limits did not let pass, `exits` pair to cause (z, stop, target, time), `hold` the best free pair and why it is
    not entered, `trades` and `funding` by asset, `shares` of the funding by (asset, pair). Where it was derived:
    `z` of every pair, and `reasons`, what stood against it (empty: nothing)."""

    bar: int
    entries: dict[str, Entry] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    exits: dict[str, str] = field(default_factory=dict)
    released: tuple[str, ...] = ()
    hold: tuple[str, str] | None = None
    trades: dict[str, list[Trade]] = field(default_factory=dict)
    funding: dict[str, Decimal] = field(default_factory=dict)
    shares: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    cash: Decimal = ZERO
    equity: Decimal = ZERO
    z: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass
class Held:
    """A pair that is held: contracts and what they cost by asset, and what its book has paid."""

    entry: Entry
    at: int
    row: int
    assets: tuple[str, str]
    size: dict[str, Decimal]
    cost: dict[str, Decimal]
    paid: Decimal = ZERO

    def gross(self) -> Decimal:
        return sum((abs(cost) for cost in self.cost.values()), ZERO)


@dataclass
class Last:
    """The last round trip of a pair."""

    at: int
    z: float
    barred: bool


class Week:
    """The whole account. `run` gives a Step a bar, of bars start .. start + bars - 1 of the candles."""

    def __init__(self, candles: Candles, signals: Signals, params: dict[str, Any], terms: Terms) -> None:
        self.c, self.s, self.p, self.terms = candles, signals, PARAMS | params, terms
        assert set(params) <= set(PARAMS), f"not computed here: {set(params) - set(PARAMS)}"
        self.names = [f"{candles.assets[i]}/{candles.assets[j]}" for i, j in signals.pairs]
        self.held: dict[str, Held] = {}
        self.last: dict[str, Last] = {}
        self.cash = terms.cash
        self.net = dict.fromkeys(candles.assets, ZERO)

    def run(self, start: int, bars: int) -> list[Step]:
        with localcontext() as context:
            context.prec = 60
            return [self.step(t) for t in range(start, start + bars)]

    def step(self, t: int) -> Step:
        step = Step(int(self.c.ts[t]), z=dict(zip(self.names, self.s.z[t].tolist(), strict=True)))
        for pair, held in self.held.items():
            cause = self.exit(t, held)
            if cause:
                step.exits[pair] = cause
        step.released = self.released(t)
        chosen, step.reasons = self.choose(t)
        wanted = self.enter(t, chosen, step)
        if not (step.entries or step.exits or step.refused):
            step.hold = self.best(t, step.reasons)
        self.settle(t, step)
        for pair, cause in step.exits.items():
            held = self.held.pop(pair)
            self.trade(t, held, {asset: -size for asset, size in held.size.items()}, step)
            self.last[pair] = Last(t, held.entry.z, cause == "stop")
        for pair, (entry, row) in wanted.items():
            i, j = self.s.pairs[row]
            assets = self.c.assets[i], self.c.assets[j]
            held = Held(entry, t, row, assets, dict.fromkeys(assets, ZERO), dict.fromkeys(assets, ZERO))
            self.trade(t, held, dict(zip(assets, entry.sizes, strict=True)), step)
            self.held[pair] = held
        self.watch(t)
        step.cash, step.equity = self.cash, self.equity(t)
        return step

    # -- deciding -------------------------------------------------------------------------------------------

    def exit(self, t: int, held: Held) -> str:
        """Why a held pair is closed at the close of bar t; empty: it is kept."""
        value = sum((self.value(t, asset, size) for asset, size in held.size.items()), ZERO)
        pnl = value - sum(held.cost.values(), ZERO) + held.paid
        share, age = float(pnl / held.gross()), t - held.at
        if share <= -held.entry.stop:
            return "stop"
        if share >= held.entry.target:
            return "target"
        usable = bool(self.s.usable[t, held.row])
        crossed = float(self.s.z[t, held.row]) * math.copysign(1, held.entry.z) <= self.p["z_exit"]
        if usable and age >= self.p["min_hold_bars"] and crossed:
            return "z"
        return "time" if age >= self.p["horizon_bars"] else ""

    def released(self, t: int) -> tuple[str, ...]:
        """Pairs barred by a stop whose z has crossed zero since."""
        free = []
        for pair, last in self.last.items():
            row = self.names.index(pair)
            if last.barred and self.s.usable[t, row] and self.s.z[t, row] * math.copysign(1, last.z) <= 0:
                last.barred = False
                free.append(pair)
        return tuple(free)

    def choose(self, t: int) -> tuple[list[int], dict[str, str]]:
        """Rows to enter, best score first; and of every pair what stands against it (empty: nothing)."""
        score = self.score(t)
        reasons = [self.filter(t, row) for row in range(len(self.names))]
        taken = {asset for held in self.held.values() for asset in held.assets}
        places = self.p["max_concurrent_positions"] - len(self.held)
        chosen: list[int] = []
        full = places <= 0
        for row in sorted((row for row, reason in enumerate(reasons) if not reason), key=lambda row: -score[row]):
            assets = {self.c.assets[i] for i in self.s.pairs[row]}
            if full:
                reasons[row] = "full"
            elif assets & taken:
                reasons[row] = "shared"
            elif self.correlates(t, row, taken):
                reasons[row] = "correlated"
            elif len(chosen) == places:
                reasons[row] = "outscored"
            else:
                chosen.append(row)
                taken |= assets
        return chosen, dict(zip(self.names, reasons, strict=True))

    def best(self, t: int, reasons: dict[str, str]) -> tuple[str, str] | None:
        """The pair of the highest score that is not held, and why it is not entered."""
        score = dict(zip(self.names, self.score(t), strict=True))
        free = [pair for pair in self.names if reasons[pair] != "held"]
        return max(((pair, reasons[pair]) for pair in free), key=lambda row: score[row[0]], default=None)

    def score(self, t: int) -> Floats:
        return np.where(self.s.usable[t], np.abs(self.s.z[t]) * self.s.probability[t], 0.0)

    def filter(self, t: int, row: int) -> str:
        """What stands against a pair by itself; empty: nothing."""
        pair, z, last = self.names[row], float(self.s.z[t, row]), self.last.get(self.names[row])
        i, j = self.s.pairs[row]
        long, short = (j, i) if z > 0 else (i, j)  # z above zero: the spread is sold, a is short and b is long
        limit = self.p["funding_threshold"]
        if pair in self.held:
            return "held"
        if not self.s.usable[t, row]:
            return "unusable"
        if not abs(z) > self.p["z_entry"]:
            return "small"
        if not self.s.probability[t, row] > self.p["prob_threshold"]:
            return "unlikely"
        if last is not None and last.barred:
            return "barred"
        if last is not None and t - last.at < self.p["cooldown_bars"]:
            return "cooling"
        if self.s.funding[t, short] < -limit or self.s.funding[t, long] > limit:
            return "funding"
        return ""

    def correlates(self, t: int, row: int, taken: set[str]) -> bool:
        held = [i for i, asset in enumerate(self.c.assets) if asset in taken]
        limit = self.p["correlation_threshold"]
        return any(abs(self.s.correlation[t, i, j]) > limit for i in self.s.pairs[row] for j in held)

    # -- sizing -----------------------------------------------------------------------------------------------

    def enter(self, t: int, chosen: list[int], step: Step) -> dict[str, tuple[Entry, int]]:
        """Size the chosen pairs, each within what the one before has left of the account."""
        gross = sum((abs(self.value(t, asset, size)) for asset, size in self.net.items()), ZERO)
        free = self.equity(t) - gross
        wanted, refused = {}, []
        for row in chosen:
            entry = self.sized(t, row, free)
            values = [abs(v) for v in self.leg_values(t, row, entry.sizes)] if entry else []
            if entry is None or max(values) > self.terms.max_order or gross + sum(values) > self.terms.max_gross:
                refused.append(self.names[row])
                continue
            step.entries[self.names[row]] = entry
            wanted[self.names[row]] = entry, row
            gross += sum(values)
            free -= sum(values) * (1 + self.terms.taker)
        step.refused = tuple(refused)
        return wanted

    def leg_values(self, t: int, row: int, sizes: tuple[Decimal, Decimal]) -> list[Decimal]:
        assets = [self.c.assets[i] for i in self.s.pairs[row]]
        return [self.value(t, asset, size) for asset, size in zip(assets, sizes, strict=True)]

    def sized(self, t: int, row: int, free: Decimal) -> Entry | None:
        """Both legs in whole lots, matched within one of the coarser; None where a leg is below the least order."""
        z, probability = float(self.s.z[t, row]), float(self.s.probability[t, row])
        score = abs(z) * probability
        notional = self.p["base_size_usdt"] * min(max(1 + (score - 0.5) / 0.5, 1.0), 2.0)
        # Margin of both legs (leverage 1) and the fees of going in.
        most = float(free * self.terms.free_share / (2 + 2 * self.terms.taker))
        budget = D(repr(min(notional, max(most, 0.0))))
        i, j = self.s.pairs[row]
        specs = [self.terms.listing[self.c.assets[k]] for k in (i, j)]
        unit = [specs[n].contract * D(repr(float(self.c.close[t, k]))) for n, k in enumerate((i, j))]
        coarse = 0 if specs[0].lot * unit[0] >= specs[1].lot * unit[1] else 1
        sizes = [ZERO, ZERO]
        sizes[coarse] = down(budget / unit[coarse], specs[coarse].lot)
        sizes[1 - coarse] = down(sizes[coarse] * unit[coarse] / unit[1 - coarse], specs[1 - coarse].lot)
        if any(size < spec.least or size * u < 10 for size, spec, u in zip(sizes, specs, unit, strict=True)):
            return None
        side, atr = -1 if z > 0 else 1, float(self.s.atr_pct[t, i])
        stop, target = self.bound("stop", atr), self.bound("target", atr)
        return Entry(side, (side * sizes[0], -side * sizes[1]), z, score, probability, stop, target)

    def bound(self, name: str, atr: float) -> float:
        """A stop or target as a share of the pair's gross: multiples of the base leg's ATR, within bounds."""
        times, low, high, default = (float(self.p[f"{name}_{part}"]) for part in ("atr", "min", "max", "default"))
        return min(max(times * atr, low), high) if atr > 0 else default

    # -- the account ------------------------------------------------------------------------------------------

    def settle(self, t: int, step: Step) -> None:
        """Funding at the opening instant of bar t + 1, on what is held then, at the last price before it: a long
        pays a positive rate, a short receives it."""
        for i, asset in enumerate(self.c.assets):
            rate = float(self.c.rate[t + 1, i])
            if math.isnan(rate) or not self.net[asset]:
                continue
            spec = self.terms.listing[asset]
            mark = on_tick(float(self.c.close[t, i]), spec.tick)
            for pair, held in self.held.items():
                if asset in held.size:
                    owed = held.size[asset] * spec.contract * mark * D(repr(rate))
                    change = (-owed).quantize(QUANTUM, ROUND_HALF_EVEN)
                    if change:
                        held.paid += change
                        self.cash += change
                        step.funding[asset] = step.shares[asset, pair] = change

    def trade(self, t: int, held: Held, sizes: dict[str, Decimal], step: Step) -> None:
        """Market orders at the open of bar t + 1, on the book that bar t's turnover makes around it."""
        for asset, size in sizes.items():
            i, spec = self.c.assets.index(asset), self.terms.listing[asset]
            mark = on_tick(float(self.c.open[t + 1, i]), spec.tick)
            turnover = float(self.c.volume[t, i] * self.c.close[t, i])
            closing = bool(held.size[asset])
            for part, price in fills(asset, spec, size, mark, turnover):
                value = part * spec.contract * price
                fee = -abs(value) * self.terms.taker
                held.paid += fee
                held.size[asset] += part
                self.net[asset] += part
                held.cost[asset] += value
                self.cash += fee
                step.trades.setdefault(asset, []).append((part, price, fee))
            if closing:  # what it brought beyond what it cost is cash now
                self.cash -= held.cost[asset]

    def value(self, t: int, asset: str, size: Decimal) -> Decimal:
        """Signed value at the close of bar t."""
        price = D(repr(float(self.c.close[t, self.c.assets.index(asset)])))
        return size * self.terms.listing[asset].contract * price

    def equity(self, t: int) -> Decimal:
        """Cash and what the open positions have gained, at the closes of bar t."""
        gained = [
            self.value(t, asset, size) - held.cost[asset]
            for held in self.held.values()
            for asset, size in held.size.items()
        ]
        return self.cash + sum(gained, ZERO)

    def watch(self, t: int) -> None:
        """A catastrophe order fires only far from the entry: a week in which one might is not computed here."""
        for pair, held in self.held.items():
            for asset, size in held.size.items():
                i = self.c.assets.index(asset)
                opened, low, high = (float(grid[t + 1, i]) for grid in (self.c.open, self.c.low, self.c.high))
                entered = float(self.c.open[held.at + 1, i])
                fall = (entered - low) / entered if size > 0 else (high - entered) / entered
                if fall > float(self.terms.catastrophe) - 0.01:
                    raise Beyond(f"{pair}: {asset} moved from {entered} to {low} .. {high} after {opened}")
