"""What is wrong with market data, asset by asset: a report to act on.

When is a bar missing? A market that trades round the clock should have them all. Others close at night, at weekends
and on holidays: so a bar is expected where the asset has had one in at least half of the weeks at that time of the
week (with less than three weeks of data: of the days, at that time of the day), and what all assets lack at once in
such a market is told as a holiday, not as so many gaps.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from core.clock import iso
from core.data.importer import BARS_MS, HOUR_MS, bar_length, impossible, off_grid, rates_of, table_of
from core.data.panel import EIGHT_HOURS_MS, Ints, last_where
from core.data.source import locate
from core.data.tables import Flags, Rows

DAY_MS, WEEK_MS = 24 * HOUR_MS, 168 * HOUR_MS
SETTLEMENTS = ("settle", "settlement")
FEW = 3
"""So often a time of the week (or day) must have come round before an asset's own habit counts, not that of all."""


class Finding(msgspec.Struct, frozen=True):
    """Something about `asset` ("": about all): `count` rows or bars, the first at `first_ms`; `what` it is and what
    is to be done about it, in words. `act`: until then a run on these data is wrong, or poorer than it need be."""

    asset: str
    kind: str
    act: bool
    count: int
    first_ms: int
    what: str
    todo: str


def check(source: str | Path, lake: str | Path, funding: Path | None = None) -> list[Finding]:
    """All that is wrong with a file (and its `funding`) or a data set: what is to be acted on first, by kind.

    UserError: it cannot be read as candles at all, or a file of the data set is not what its manifest says."""
    place = locate(source, lake)
    if isinstance(place, Path):
        candles = table_of(place, extra=SETTLEMENTS)
        bar_ms = bar_length(candles)[0]
        rates = rates_of(funding, candles) if funding else None
    else:
        home, name = place
        manifest, candles, rates, _ = home.read(name)
        bar_ms = BARS_MS[manifest.bar]
    found = [*check_candles(candles, bar_ms), *(check_rates(rates, candles) if rates else ())]
    return sorted(found, key=lambda finding: (not finding.act, finding.kind))


def check_candles(rows: Rows, bar_ms: int) -> Iterator[Finding]:
    """What is wrong with candles: rows that cannot be, then what the others lack."""
    mend = "mend them, or import with --drop-bad"
    wrong = np.zeros(len(rows.ts), np.bool_)
    for flags, what in impossible(rows):
        yield from _each(rows, flags & ~wrong, "impossible bar", what, mend)
        wrong |= flags
    stray = off_grid(rows.ts, bar_ms)
    yield from _each(
        rows, stray, "off the grid", f"not a whole number of {bar_ms // 60_000} minutes", "mend the times"
    )
    yield from _each(rows, rows.doubles(), "duplicate", "there more than once", mend)
    for name in SETTLEMENTS:
        if name in rows.columns:
            unknown = rows.columns[name] == 0
            yield from _each(rows, unknown, f"zero {name}", "is no price", "do not use it on these days", act=False)
    placed = ~(stray | rows.doubles())
    yield from _check_times(rows.keep(placed), bar_ms)
    yield from _check_prices(rows.keep(placed & ~wrong), bar_ms)


def check_rates(rates: Rows, candles: Rows) -> Iterator[Finding]:
    """What is wrong with funding rates, the candles of which they are for."""
    again = "download or import them again"
    yield from _each(rates, ~np.isfinite(rates.columns["rate"]), "impossible rate", "no finite number", again)
    yield from _each(rates, rates.doubles(), "duplicate rate", "there more than once", again)
    for i, asset in enumerate(rates.assets):
        mine, bars = rates.asset == i, candles.ts[candles.asset == i]
        ts = rates.ts[mine]
        if not len(ts):
            yield Finding(asset, "no funding", False, 0, int(candles.ts[0]), "no rate at all", "it is taken as 0")
            continue
        hours = rates.columns.get("hours")
        period = np.full(len(ts), EIGHT_HOURS_MS) if hours is None else hours[mine] * HOUR_MS
        late = np.flatnonzero(np.diff(ts) > 1.5 * period[1:])
        if len(late):
            first = int(ts[late[0]])
            yield Finding(asset, "funding gap", True, len(late), first, f"no rate after {iso(first)}", again)
        if len(bars) and bars[-1] - ts[-1] > 1.5 * period[-1]:
            last = int(ts[-1])
            yield Finding(asset, "stale funding", True, 1, last, f"the last rate is of {iso(last)}", again)


def _each(rows: Rows, flags: Flags, kind: str, what: str, todo: str, *, act: bool = True) -> Iterator[Finding]:
    """A finding for each asset of which rows are flagged."""
    for i in np.unique(rows.asset[flags]):
        ts = rows.ts[flags & (rows.asset == i)]
        where = f"{what}, {_times(len(ts), 'row', 'rows')}, the first at {iso(int(ts[0]))}"
        yield Finding(rows.assets[i], kind, act, len(ts), int(ts[0]), where, todo)


def _check_times(rows: Rows, bar_ms: int) -> Iterator[Finding]:
    """Gaps, holidays, late starts and stale tails."""
    first = int(rows.ts[0])
    places = (rows.ts - first) // bar_ms
    present = np.zeros((int(places[-1]) + 1, len(rows.assets)), np.bool_)
    present[places, rows.asset] = True
    ts = first + bar_ms * np.arange(len(present), dtype=np.int64)
    usual, closes = _usual(present, ts, bar_ms)
    missing = usual & _alive(present) & ~present
    shut = np.asarray(missing.any(1) & ~present.any(1) & closes)
    if shut.any():
        at, count = int(ts[shut.argmax()]), int(shut.sum())
        what = f"{_times(count, 'bar', 'bars')} without any asset, the first at {iso(at)}"
        yield Finding("", "closed", False, count, at, what, "holidays, if the market was closed")
        missing &= ~shut[:, None]
    for i, asset in enumerate(rows.assets):
        if lost := int(missing[:, i].sum()):
            at, longest = int(ts[missing[:, i].argmax()]), _longest(missing[:, i])[0]
            what = f"{_times(lost, 'bar', 'bars')} missing, the first at {iso(at)}, {longest} in a row at most"
            yield Finding(
                asset, "gap", True, lost, at, what, "download or import them again; they count as invalid"
            )
        begin, end = int(present[:, i].argmax()), len(ts) - 1 - int(present[::-1, i].argmax())
        if begin > 0:
            what = f"its first bar is at {iso(int(ts[begin]))}, {begin} after the first of all"
            yield Finding(asset, "late start", False, begin, int(ts[begin]), what, "its pairs begin there")
        tail = int((usual[end + 1 :, i] & present[end + 1 :].any(1)).sum())
        if tail >= _run(bar_ms):
            what = f"its last bar is at {iso(int(ts[end]))}; the others have {_times(tail, 'bar', 'bars')} more"
            todo = "if it was delisted, leave it out; else download or import it again"
            yield Finding(asset, "stale tail", True, tail, int(ts[end]), what, todo)


def _check_prices(rows: Rows, bar_ms: int) -> Iterator[Finding]:
    """Bars without volume, and prices that stand still though there is some."""
    most = _run(bar_ms)
    for i, asset in enumerate(rows.assets):
        mine = rows.asset == i
        ts, (high, low, close, volume) = (
            rows.ts[mine],
            (rows.columns[n][mine] for n in ("high", "low", "close", "volume")),
        )
        silent = volume == 0
        longest, start = _longest(silent)
        if longest:
            count, act = int(silent.sum()), longest >= most
            what = f"{_times(count, 'bar', 'bars')} without volume, {longest} in a row from {iso(int(ts[start]))}"
            todo = "leave the asset out where it does not trade" if act else "they count as invalid"
            yield Finding(asset, "zero volume", act, count, int(ts[silent.argmax()]), what, todo)
        still = ~silent & (high == low)
        still[1:] &= close[1:] == close[:-1]
        longest, start = _longest(still)
        if longest >= most:
            what = f"the price stands still for {longest} bars from {iso(int(ts[start]))}"
            yield Finding(asset, "frozen price", True, longest, int(ts[start]), what, "compare with another source")


def _alive(present: Flags) -> Flags:
    """(T, N): from each asset's first bar to its last."""
    return np.maximum.accumulate(present) & np.maximum.accumulate(present[::-1])[::-1]


def _usual(present: Flags, ts: Ints, bar_ms: int) -> tuple[Flags, bool]:
    """(T, N): bars at times of the week (day) at which an asset usually has one; and whether the market closes."""
    span = int(ts[-1] - ts[0]) + bar_ms
    round_ms = next((length for length in (WEEK_MS, DAY_MS) if span >= FEW * length), 0)
    if not round_ms:
        return np.ones_like(present), False
    slot = ts % round_ms // bar_ms
    times, seen = (np.zeros((round_ms // bar_ms, present.shape[1]), np.int64) for _ in "ab")
    np.add.at(times, slot, _alive(present))
    np.add.at(seen, slot, present)
    everyone = 2 * seen.sum(1, keepdims=True) >= times.sum(1, keepdims=True)
    usual = np.where(times >= FEW, 2 * seen >= times, everyone)
    return usual[slot], not usual[np.unique(slot)].all()


def _run(bar_ms: int) -> int:
    """So many bars in a row are too many: a day of them, but from 5 to 48."""
    return int(min(max(DAY_MS // bar_ms, 5), 48))


def _longest(flags: Flags) -> tuple[int, int]:
    """The length of the longest run of True, and where it begins."""
    run = np.arange(len(flags)) - last_where(~flags[:, None])[:, 0]
    end = int(run.argmax()) if len(run) else 0
    longest = int(run[end]) if len(run) else 0
    return longest, end - longest + 1


def _times(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
