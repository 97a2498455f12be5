"""`check`: each thing that can be wrong with data is found, named, and told apart from what is as it should be."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lakes import keep
from longtable import Columns, candles_of, rates_of, row, wide_of, write

from core.clock import iso
from core.data.check import Finding, check
from core.data.lake import Lake
from core.data.panel import Panel
from core.data.synthetic import HOUR_MS, START_MS, synthetic_panel

ASSETS = ("BTC", "ETH", "SOL")
DAY_MS = 24 * HOUR_MS


@pytest.fixture(scope="module")
def panel() -> Panel:
    return synthetic_panel(3, 24 * 28, ASSETS)


@pytest.fixture
def candles(panel: Panel) -> Columns:
    return {name: column.copy() for name, column in candles_of(panel).items()}


def found(path: Path, columns: Columns, funding: Columns | None = None) -> list[Finding]:
    rates = write(path / "f.parquet", funding) if funding else None
    return check(write(path / "c.parquet", columns), path / "lake", rates)


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def without(columns: Columns, gone: np.ndarray) -> Columns:
    return {name: column[~gone] for name, column in columns.items()}


def test_sound_data_have_nothing_to_tell(tmp_path: Path, panel: Panel, candles: Columns) -> None:
    assert found(tmp_path, candles, rates_of(panel)) == []
    lake = Lake(tmp_path / "lake")
    keep(lake, panel)
    assert check("perp", lake.root) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda c, i: c["close"].__setitem__(i, np.nan), "close is no finite number"),
        (lambda c, i: c["open"].__setitem__(i, -1.0), "open is not above zero"),
        (lambda c, i: c["volume"].__setitem__(i, -1.0), "volume is below zero"),
        (lambda c, i: c["high"].__setitem__(i, c["low"][i] / 2), "high is below low"),
        (lambda c, i: c["close"].__setitem__(i, c["high"][i] * 2), "high is below open or close"),
        (lambda c, i: c["open"].__setitem__(i, c["low"][i] / 2), "low is above open or close"),
    ],
)
def test_an_impossible_bar_is_told_once_and_is_no_gap(
    tmp_path: Path, panel: Panel, candles: Columns, spoil: Callable[[Columns, int], None], said: str
) -> None:
    at = int(panel.ts[100])
    for bar in (100, 300):
        spoil(candles, row(candles, "ETH", int(panel.ts[bar])))
    finding = only(found(tmp_path, candles))
    assert (finding.asset, finding.kind, finding.act) == ("ETH", "impossible bar", True)
    assert (finding.count, finding.first_ms) == (2, at)
    assert finding.what == f"{said}, 2 rows, the first at {iso(at)}" and "--drop-bad" in finding.todo


def test_duplicates_and_stray_times_are_told(tmp_path: Path, panel: Panel, candles: Columns) -> None:
    where = row(candles, "SOL", int(panel.ts[50]))
    twice = {name: np.append(column, column[[where, where]]) for name, column in candles.items()}
    twice["timestamp"][-1] += 60_000
    stray, double = sorted(found(tmp_path, twice), key=lambda finding: finding.kind, reverse=True)
    assert (double.kind, double.count, double.first_ms) == ("duplicate", 1, int(panel.ts[50]))
    assert (stray.kind, stray.count, stray.first_ms) == ("off the grid", 1, int(panel.ts[50]) + 60_000)
    assert double.asset == stray.asset == "SOL" and double.act and stray.act


def test_a_gap_is_told_with_its_longest_run(tmp_path: Path, panel: Panel, candles: Columns) -> None:
    gone = (candles["symbol"] == "BTCUSDT") & np.isin(candles["timestamp"], panel.ts[[200, 300, 301, 302]])
    finding = only(found(tmp_path, without(candles, gone)))
    assert (finding.asset, finding.kind, finding.count, finding.act) == ("BTC", "gap", 4, True)
    assert finding.what == f"4 bars missing, the first at {iso(int(panel.ts[200]))}, 3 in a row at most"


def test_a_market_that_never_sleeps_lacks_what_all_assets_lack(
    tmp_path: Path, panel: Panel, candles: Columns
) -> None:
    findings = found(tmp_path, without(candles, np.isin(candles["timestamp"], panel.ts[400:409])))
    assert [(f.asset, f.kind, f.count, f.act) for f in findings] == [(asset, "gap", 9, True) for asset in ASSETS]


def days(weeks: int) -> tuple[Panel, Columns]:
    """A stock exchange: daily bars without weekends."""
    daily = synthetic_panel(4, weeks * 7, ASSETS, bar_ms=DAY_MS, start_ms=START_MS)  # a Monday
    columns = candles_of(daily)
    return daily, without(columns, (columns["timestamp"] - START_MS) // DAY_MS % 7 >= 5)


def test_weekends_are_no_gaps_and_holidays_are_told_once(tmp_path: Path) -> None:
    daily, columns = days(20)
    assert found(tmp_path, columns) == []
    holiday, lost = int(daily.ts[29]), int(daily.ts[45])
    gone = (columns["timestamp"] == holiday) | ((columns["timestamp"] == lost) & (columns["symbol"] == "ETHUSDT"))
    gap, closed = found(tmp_path, without(columns, gone))
    assert (gap.asset, gap.kind, gap.count, gap.first_ms, gap.act) == ("ETH", "gap", 1, lost, True)
    assert (closed.asset, closed.kind, closed.count, closed.first_ms, closed.act) == (
        "",
        "closed",
        1,
        holiday,
        False,
    )


def test_nights_are_no_gaps_even_in_a_few_days(tmp_path: Path) -> None:
    week = synthetic_panel(4, 24 * 5, ASSETS)
    columns = candles_of(week)
    hour = columns["timestamp"] // HOUR_MS % 24
    open_ = (hour >= 9) & (hour < 16) | (hour >= 21) & (columns["symbol"] == "BTCUSDT")
    assert found(tmp_path, without(columns, ~open_)) == [], "each asset by its own hours: BTC trades at night too"


def test_uneven_starts_are_known_and_stale_tails_acted_on(tmp_path: Path, panel: Panel, candles: Columns) -> None:
    ts, symbol = candles["timestamp"], candles["symbol"]
    gone = (symbol == "ETHUSDT") & (ts < panel.ts[99]) | (symbol == "SOLUSDT") & (ts > panel.ts[-60])
    tail, start = found(tmp_path, without(candles, gone))
    assert (start.asset, start.kind, start.count, start.act) == ("ETH", "late start", 99, False)
    assert (tail.asset, tail.kind, tail.count, tail.act) == ("SOL", "stale tail", 59, True)
    assert tail.first_ms == panel.ts[-60] and "delisted" in tail.todo
    fresh = (symbol == "SOLUSDT") & (ts > panel.ts[-10])
    assert found(tmp_path, without(candles, fresh)) == [], "a few bars late is nothing"


@pytest.mark.parametrize(("bars", "act"), [(5, False), (24, True)])
def test_silence_is_told_and_a_long_one_acted_on(
    tmp_path: Path, panel: Panel, candles: Columns, bars: int, act: bool
) -> None:
    for at in range(100, 100 + bars):
        candles["volume"][row(candles, "ETH", int(panel.ts[at]))] = 0.0
    finding = only(found(tmp_path, candles))
    assert (finding.asset, finding.kind, finding.count, finding.act) == ("ETH", "zero volume", bars, act)
    assert f"{bars} in a row from {iso(int(panel.ts[100]))}" in finding.what


def test_a_price_that_stands_still_is_told(tmp_path: Path, panel: Panel, candles: Columns) -> None:
    for at in range(100, 130):
        for name in ("open", "high", "low", "close"):
            candles[name][row(candles, "ETH", int(panel.ts[at]))] = 3000.0
    finding = only(found(tmp_path, candles))
    assert (finding.asset, finding.kind, finding.act) == ("ETH", "frozen price", True)
    assert "29 bars" in finding.what


def test_settlements_of_zero_are_told(tmp_path: Path, panel: Panel, candles: Columns) -> None:
    candles["settle"] = candles["close"].copy()
    candles["settle"][[row(candles, "BTC", int(panel.ts[at])) for at in (7, 9)]] = 0.0
    finding = only(found(tmp_path, candles))
    assert (finding.asset, finding.kind, finding.count, finding.act) == ("BTC", "zero settle", 2, False)


def test_funding_that_is_late_missing_or_broken_is_told(tmp_path: Path, panel: Panel, candles: Columns) -> None:
    rates = rates_of(panel, hours=True)
    btc = np.flatnonzero(rates["symbol"] == "BTCUSDT")
    eth = np.flatnonzero(rates["symbol"] == "ETHUSDT")
    rates["funding_rate"][eth[3]] = np.nan
    gone = np.zeros(len(rates["timestamp"]), np.bool_)
    gone[[btc[10], *eth[-5:]]] = gone[rates["symbol"] == "SOLUSDT"] = True
    said = {(f.asset, f.kind): f for f in found(tmp_path, candles, without(rates, gone))}
    assert set(said) == {
        ("BTC", "funding gap"), ("ETH", "impossible rate"), ("ETH", "stale funding"), ("SOL", "no funding"),
    }  # fmt: skip
    assert said["BTC", "funding gap"].first_ms == rates["timestamp"][btc[9]]
    assert said["ETH", "stale funding"].first_ms == rates["timestamp"][eth[-6]]
    assert not said["SOL", "no funding"].act


def test_wide_files_and_single_candles_are_checked_too(tmp_path: Path, panel: Panel, candles: Columns) -> None:
    wide = wide_of(panel)
    wide["ETHUSDT"][40:42] = np.nan
    gap = only(check(write(tmp_path / "w.csv", wide), tmp_path))
    assert (gap.asset, gap.kind, gap.count) == ("ETH", "gap", 2)
    assert found(tmp_path, {name: column[:1] for name, column in candles.items()}) == []


# -- real data ------------------------------------------------------------------------------------


def test_real_futures_have_a_bad_bar_and_zero_settlements(shared_data: Path) -> None:
    findings = check(shared_data / "cn_futures_1d_2023_2026.parquet", "lake")
    bad = only([f for f in findings if f.kind == "impossible bar"])
    assert (bad.asset, bad.count, iso(bad.first_ms)) == ("RU", 1, "2023-08-28T00:00Z")
    settle = [f for f in findings if f.kind == "zero settle"]
    assert sum(f.count for f in settle) == 18 and not any(f.act for f in settle)
    assert sum(f.count for f in findings if f.kind == "closed") == 58, "the year's holidays, told once"


def test_real_daily_perpetuals_start_unevenly_and_real_spot_has_gaps(shared_data: Path) -> None:
    starts = check(shared_data / "perp_1d_538.parquet", "lake")
    assert {f.kind for f in starts} == {"late start"} and len(starts) > 200
    gaps = [f for f in check(shared_data / "spot_1h_10.parquet", "lake") if f.act]
    assert [(f.kind, f.count) for f in gaps] == [("gap", 20)] * 10
    assert check(shared_data / "perp_1h_10.parquet", "lake", shared_data / "perp_funding_10.parquet") == []
