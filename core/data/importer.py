"""Candles and funding rates from tables to a Panel: checked, aligned, every mended gap told.

Long candles: timestamp (bar OPEN time), symbol, open, high, low, close, volume (base units). Wide ones: timestamp,
and a column of closes an asset; then every price of a bar is its close (a fill at the next open is one at the next
close), and as nobody knows the volume, every bar has the same turnover, `WIDE_TURNOVER`. Funding: timestamp (of the
settlement), symbol, the rate and, if the file has it, the hours that it is for. How files may spell these:
`core.data.tables`. Rows in any order; a bar that is missing becomes an invalid one that repeats the last close.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from core.clock import iso
from core.data.panel import EIGHT_HOURS_MS, Ints, Panel, last_where
from core.data.tables import Flags, Rows, is_wide, read_rows, read_table, read_wide
from core.domain.errors import UserError
from core.domain.market import Floats

HOUR_MS = 3_600_000
BARS_MS = {
    "1m": 60_000,
    "5m": 300_000,
    "15m": 900_000,
    "1h": HOUR_MS,
    "4h": 4 * HOUR_MS,
    "1d": 24 * HOUR_MS,
}
PRICES = ("open", "high", "low", "close")
OHLCV = (*PRICES, "volume")
RATES = ("funding_rate", "last_funding_rate", "rate")
PERIODS = ("funding_interval_hours", "interval_hours", "period_hours")
WIDE_TURNOVER = 1_000_000.0
"""What a bar of unknown volume is taken to have traded, in the quote currency: no asset seems busier."""
DROP = "mend them, or keep the rest with cockpit data import --drop-bad"
NOTES = 5
"""Assets named in full, of all those of which the same is to be told."""


def load_panel(
    path: Path, funding_path: Path | None = None, assets: Sequence[str] | None = None, bar: str | None = None
) -> Panel:
    """A Panel of the candles in `path`, of `assets` in that order (default: all, by name), of bars `bar` long
    (default: as the times are apart). Raises UserError for whatever makes a file unfit; gaps are noted."""
    candles, bar_ms = read_candles(path, assets, bar)
    rates = read_rates(funding_path, candles) if funding_path else None
    return panel_of(candles, bar_ms, rates)


def read_candles(
    path: Path, assets: Sequence[str] | None = None, bar: str | None = None, *, drop: bool = False
) -> tuple[Rows, int]:
    """Rows of candles that make sense, each on the grid and there once; and the length of their bar in ms.

    Impossible rows, and rows of one time that contradict each other, are a UserError; with `drop` they are left out
    instead, and told in the notes."""
    rows = table_of(path, assets)
    missing = [asset for asset in rows.assets if asset not in rows.found]
    if missing:
        there = ", ".join(rows.found[:20])
        raise UserError(f"{path}: no candles of {', '.join(missing)}; it has {there}: change universe.assets")
    if drop:
        rows = sound(rows)
    for wrong, what in impossible(rows):
        rows.refuse(wrong, what, DROP)
    bar_ms = _bar_ms(rows, bar)
    rows.refuse_doubles()
    return rows, bar_ms


def table_of(path: Path, assets: Sequence[str] | None = None, extra: Sequence[str] = ()) -> Rows:
    """The candles of a long or wide file as they are, good or bad; of the columns `extra` those that it has."""
    table = read_table(path)
    if not is_wide(table):
        needed, optional = ({name: (name,) for name in names} for names in (OHLCV, extra))
        return read_rows(path, table, needed, optional, assets, finite=False)
    wide = read_wide(path, table, assets)
    close = wide.columns["close"]
    with np.errstate(divide="ignore"):
        volume = np.where(close > 0, WIDE_TURNOVER / close, 0.0)
    note = (
        "closes alone: a fill at the next open is one at the next close; the volume is unknown, so every bar has"
        f" the same turnover of {WIDE_TURNOVER:,.0f}, and features of volume say nothing"
    )
    return wide._replace(columns={**dict.fromkeys(PRICES, close), "volume": volume}, notes=(note,))


def impossible(rows: Rows) -> Iterator[tuple[Flags, str]]:
    """What no candle can be: rows that are (R,), and in words why."""
    for name in OHLCV:
        yield ~np.isfinite(rows.columns[name]), f"{name} is no finite number"
    for name in PRICES:
        yield rows.columns[name] <= 0, f"{name} is not above zero"
    o, high, low, c, volume = (rows.columns[name] for name in OHLCV)
    yield volume < 0, "volume is below zero"
    yield high < low, "high is below low"
    yield high < np.maximum(o, c), "high is below open or close"
    yield low > np.minimum(o, c), "low is above open or close"


def sound(rows: Rows) -> Rows:
    """Without the rows that no candle can be, and without those of one asset and time that contradict each other:
    which of them is true, nobody knows. Equal ones are kept once."""
    wrong = np.logical_or.reduce([flags for flags, _ in impossible(rows)])
    rows, bad = rows.keep(~wrong), int(wrong.sum())
    again = rows.doubles()
    differs = np.zeros(len(again), np.bool_)
    for column in rows.columns.values():
        differs[1:] |= again[1:] & (column[1:] != column[:-1])
    group = np.cumsum(~again)
    contradicted = np.isin(group, group[differs])
    kept = ~again & ~contradicted
    equal = int((again & ~contradicted).sum())
    said = {"impossible": bad, "contradicting another of its time": int(contradicted.sum()), "there twice": equal}
    notes = tuple(
        f"left out: {count} {'row' if count == 1 else 'rows'} {why}" for why, count in said.items() if count
    )
    return rows.keep(kept)._replace(notes=rows.notes + notes)


def read_rates(path: Path, candles: Rows) -> Rows:
    """Funding rates of the candles' assets, each there once; columns `rate` and, if the file has it, `hours`."""
    rows = rates_of(path, candles, finite=True)
    if not len(rows.ts):
        raise UserError(f"{path}: no rates of {', '.join(rows.assets)}; it has {', '.join(rows.found[:20])}")
    if "hours" in rows.columns:
        rows.refuse(rows.columns["hours"] <= 0, "the hours of the rate are not above zero")
    rows.refuse_doubles()
    if rows.ts[-1] < candles.ts[0] or rows.ts[0] > candles.ts[-1] + max(BARS_MS.values()):
        raise UserError(
            f"{path}: rates from {iso(int(rows.ts[0]))} to {iso(int(rows.ts[-1]))}, but the candles are from"
            f" {iso(int(candles.ts[0]))} to {iso(int(candles.ts[-1]))}: give the rates of that time"
        )
    return rows


def rates_of(path: Path, candles: Rows, *, finite: bool = False) -> Rows:
    """The funding rates of the candles' assets in a file as they are, good or bad; `finite` as in `read_rows`."""
    return read_rows(path, read_table(path), {"rate": RATES}, {"hours": PERIODS}, candles.assets, finite=finite)


def panel_of(candles: Rows, bar_ms: int, rates: Rows | None = None, last_ms: int = 0) -> Panel:
    """The Panel of checked rows: `candles` on the grid from the first to the last of them, or to `last_ms` if that
    is later; `rates` where they settled."""
    first, last = int(candles.ts[0]), max(int(candles.ts[-1]), last_ms)
    places = (candles.ts - first) // bar_ms
    shape = ((last - first) // bar_ms + 1, len(candles.assets))
    ts = first + bar_ms * np.arange(shape[0], dtype=np.int64)
    there = np.zeros(shape, np.bool_)
    there[places, candles.asset] = True
    grids = []
    for name in OHLCV:
        grid = np.full(shape, 0.0 if name == "volume" else np.nan)
        grid[places, candles.asset] = candles.columns[name]
        grids.append(grid)
    notes = candles.notes + _gaps(candles.assets, ts, there)
    if rates is None:
        return Panel.of(ts, candles.assets, grids, bar_ms, notes=notes)
    rate, period, before = _funding(rates, ts, bar_ms)
    notes += _funding_notes(rates)
    return Panel.of(ts, candles.assets, grids, bar_ms, rate, period, before, notes)


def _bar_ms(rows: Rows, bar: str | None) -> int:
    """The length of a bar, after a look at how far the times are apart and whether they keep to one grid."""
    bar_ms, named = bar_length(rows, bar)
    grid = f"off the grid of {bar_ms // 60_000} minutes (most bars of the file are {named} apart)"
    rows.refuse(off_grid(rows.ts, bar_ms), grid, "mend the times, or set universe.bar")
    return bar_ms


def bar_length(rows: Rows, bar: str | None = None) -> tuple[int, str]:
    """The length of `bar` (default: how far the times are usually apart) in ms, and in words what they usually are.
    UserError if that is no bar of ours, or if most of the time between first and last there is no candle."""
    if bar is not None and bar not in BARS_MS:
        raise UserError(f"bar {bar!r}: one of {', '.join(BARS_MS)}")
    times = np.unique(rows.ts)
    apart = np.diff(times)
    lengths, counts = np.unique(apart, return_counts=True)
    usual = int(lengths[np.argmax(counts)]) if len(lengths) else BARS_MS[bar or "1h"]
    named = {length: name for name, length in BARS_MS.items()}.get(usual, f"{usual // 60_000} minutes")
    bar_ms = BARS_MS[bar] if bar else usual
    if bar_ms not in BARS_MS.values():
        raise UserError(f"{rows.path}: its bars are {named} long, not one of {', '.join(BARS_MS)}: resample it")
    if bar and len(apart) and apart.min() > bar_ms:
        raise UserError(
            f"{rows.path}: its bars are {named} long, not {bar}: set universe.bar, or give another file"
        )
    bars = int(times[-1] - times[0]) // bar_ms + 1
    if bars > 10 * len(times) + 1000:
        after = int(times[np.argmax(apart)])
        raise UserError(
            f"{rows.path}: {bars} bars from {iso(int(times[0]))} to {iso(int(times[-1]))}, but candles at"
            f" {len(times)} of them alone; the longest gap follows {iso(after)}: mend the times or split the file"
        )
    return bar_ms, named


def off_grid(ts: Ints, bar_ms: int) -> Flags:
    """(R,) times that are no whole number of bars away from most others."""
    phases, counts = np.unique(ts % bar_ms, return_counts=True)
    return np.asarray(ts % bar_ms != phases[np.argmax(counts)])


def _gaps(assets: tuple[str, ...], ts: Ints, there: Flags) -> tuple[str, ...]:
    """What is missing, a line an asset: bars between its first and its last, and time before and after them."""
    first, last = there.argmax(0), len(ts) - 1 - there[::-1].argmax(0)
    lost = last - first + 1 - there.sum(0)
    holes, parts = [], []
    for i, asset in enumerate(assets):
        if lost[i]:
            at = first[i] + int(there[first[i] :, i].argmin())
            holes.append(
                f"{asset} lacks {lost[i]} bars, the first at {iso(int(ts[at]))}: filled, and marked invalid"
            )
        if first[i] or last[i] < len(ts) - 1:
            parts.append(f"{asset} has candles from {iso(int(ts[first[i]]))} to {iso(int(ts[last[i]]))} alone")
    return _short(holes) + _short(parts)


def _short(notes: list[str]) -> tuple[str, ...]:
    more = len(notes) - NOTES
    return (*notes[:NOTES], f"and so {more} more assets") if more > 0 else tuple(notes)


def _funding_notes(rates: Rows) -> tuple[str, ...]:
    """Assets without rates; and those that seem to settle otherwise than every eight hours, if nothing is said."""
    counts = np.bincount(rates.asset, minlength=len(rates.assets))
    without = [
        f"{asset} has no funding rate: taken as 0" for asset, n in zip(rates.assets, counts, strict=True) if not n
    ]
    if "hours" in rates.columns:
        return _short(without)
    odd = []
    for i in np.flatnonzero(counts > 1):
        hours = round(float(np.median(np.diff(rates.ts[rates.asset == i]))) / HOUR_MS)
        if hours != 8:
            odd.append(
                f"{rates.assets[i]} settles every {hours} hours, but is read as 8: add a column {PERIODS[0]}"
            )
    return _short(without) + _short(odd)


def _funding(rates: Rows, ts: Ints, bar_ms: int) -> tuple[Floats, Ints, Floats]:
    """Rates (T, N) in the bars within which they were settled, their periods in ms (T, N), and the rate per 8
    hours known before the first bar (N,). Of several in one bar both rates and periods are summed."""
    shape = (len(ts), len(rates.assets))
    hours = rates.columns.get("hours")
    period = np.full(len(rates.ts), EIGHT_HOURS_MS) if hours is None else np.rint(hours * HOUR_MS).astype(np.int64)
    places = (rates.ts - ts[0]) // bar_ms
    inside, early = (places >= 0) & (places < len(ts)), places < 0
    before, known = np.zeros(shape[1]), np.full(shape[1], EIGHT_HOURS_MS)
    # Rows are in order of time, and of several assignments to one place the last one stays.
    before[rates.asset[early]] = (rates.columns["rate"] * EIGHT_HOURS_MS / period)[early]
    known[rates.asset[early]] = period[early]

    at = places[inside], rates.asset[inside]
    total, spans = np.full(shape, -0.0), np.zeros(shape, np.int64)  # -0.0 + x is x, for x = -0.0 too
    np.add.at(total, at, rates.columns["rate"][inside])
    np.add.at(spans, at, period[inside])
    settled = spans > 0
    last = last_where(settled)
    spans = np.where(last >= 0, np.take_along_axis(spans, np.maximum(last, 0), 0), known)
    return np.where(settled, total, np.nan), spans, before
