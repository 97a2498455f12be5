"""Import: whatever the order and spelling, the same Panel; whatever is wrong, one line that says so."""

import gzip
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from longtable import OHLCV, Columns, candles_of, rates_of, row, wide_of, write

from core.clock import iso
from core.data.importer import load_panel, panel_of, read_candles
from core.data.panel import EIGHT_HOURS_MS, Panel
from core.data.synthetic import HOUR_MS, START_MS, synthetic_panel
from core.data.tables import asset_of
from core.domain.errors import UserError

ASSETS = ("BTC", "ETH", "SOL")


@pytest.fixture(scope="module")
def panel() -> Panel:
    return synthetic_panel(5, 60, ASSETS)


@pytest.fixture
def candles(panel: Panel) -> Columns:
    """The long table of the panel, to be spoilt."""
    return {name: column.copy() for name, column in candles_of(panel).items()}


def refusal(path: Path, *rest: Any, **named: Any) -> str:
    """The one line with which a file is refused; it names the file."""
    with pytest.raises(UserError) as caught:
        load_panel(path, *rest, **named)
    line = str(caught.value)
    assert "\n" not in line and caught.value.code == 1
    return line


def priced(panel: Panel) -> Panel:
    """The same market without its funding."""
    return Panel.of(panel.ts, panel.assets, [getattr(panel, name) for name in OHLCV], panel.bar_ms)


# -- the same Panel -------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    bars=st.integers(2, 60),
    bar=st.sampled_from([("15m", 900_000), ("1h", HOUR_MS), ("1d", 24 * HOUR_MS)]),
    assets=st.permutations(["BTC", "ETH", "SOL", "1000PEPE"]),
    gaps=st.floats(0, 0.3),
    file=st.sampled_from(["candles.parquet", "candles.csv"]),
    hours=st.booleans(),
)
def test_a_shuffled_table_of_a_panel_loads_back_to_it(
    seed: int, bars: int, bar: tuple[str, int], assets: list[str], gaps: float, file: str, hours: bool
) -> None:
    whole = synthetic_panel(seed, bars, assets, bar_ms=bar[1])
    chance = np.random.default_rng(seed)
    silent = chance.random(whole.volume.shape) < gaps
    silent[[0, -1]] = silent[:, 0] = False  # a table knows its first and last bar, and how far bars are apart
    grids = [np.where(silent, 0.0, getattr(whole, name)) for name in OHLCV]
    panel = Panel.of(whole.ts, assets, grids, bar[1], whole.funding_rate, whole.funding_period_ms)
    columns, rates = candles_of(panel), rates_of(panel, hours=hours or bar[0] == "1d")
    mixed = chance.permutation(len(columns["timestamp"]))
    with TemporaryDirectory() as folder:
        candles = write(Path(folder) / file, {name: column[mixed] for name, column in columns.items()})
        funding = write(Path(folder) / f"funding{candles.suffix}", rates)
        again = load_panel(candles, funding, assets, bar[0])
    assert again.content_hash == panel.content_hash
    assert bool(silent.any()) == any("marked invalid" in note for note in again.notes)


@pytest.mark.parametrize(
    "spell",
    [
        pytest.param(lambda ts: ts, id="ms"),
        pytest.param(lambda ts: ts // 1000, id="s"),
        pytest.param(lambda ts: ts * 1000, id="us"),
        pytest.param(lambda ts: ts * 1_000_000, id="ns"),
        pytest.param(lambda ts: ts.astype(np.float64), id="ms as decimals"),
        pytest.param(lambda ts: ts / 1000, id="s as decimals"),
        pytest.param(lambda ts: ts.astype(str), id="digits as text"),
        pytest.param(lambda ts: [iso(int(t)).replace("Z", "") for t in ts], id="ISO, naive"),
        pytest.param(lambda ts: [iso(int(t)).replace("Z", ":00Z") for t in ts], id="ISO, Z"),
        pytest.param(
            lambda ts: [f"{datetime.fromtimestamp(int(t) / 1000, UTC):%Y-%m-%d %H:%M:%S}+00:00" for t in ts],
            id="as pandas writes it",
        ),
        pytest.param(
            lambda ts: [f"{iso(int(t) + 2 * HOUR_MS)[:-1]}:00+02:00" for t in ts], id="ISO, two hours east"
        ),
        pytest.param(lambda ts: pa.array(ts, pa.timestamp("ms")), id="naive type"),
        pytest.param(lambda ts: pa.array(ts * 1_000_000, pa.timestamp("ns", "UTC")), id="ns, UTC"),
        pytest.param(lambda ts: pa.array(ts // 1000, pa.timestamp("s", "Asia/Hong_Kong")), id="s, Hong Kong"),
    ],
)
@pytest.mark.parametrize("file", ["c.parquet", "c.csv", "c.feather"])
def test_times_may_be_spelled_in_many_ways(
    tmp_path: Path, panel: Panel, candles: Columns, spell: Callable[[Any], Any], file: str
) -> None:
    candles["timestamp"] = spell(candles["timestamp"])
    again = load_panel(write(tmp_path / file, candles), None, ASSETS, "1h")
    assert again.content_hash == priced(panel).content_hash


def test_dates_are_days_that_begin_at_midnight_utc(tmp_path: Path) -> None:
    panel = priced(synthetic_panel(1, 20, ASSETS, bar_ms=24 * HOUR_MS))
    columns = candles_of(panel)
    columns["timestamp"] = [datetime.fromtimestamp(int(ts) / 1000, UTC).date() for ts in columns["timestamp"]]
    assert load_panel(write(tmp_path / "d.parquet", columns)).content_hash == panel.content_hash


def test_symbols_may_be_spelled_in_many_ways(tmp_path: Path, panel: Panel, candles: Columns) -> None:
    for spelling in ("{}-USDT-SWAP", "{}/USDT:USDT", "{}_USDT", "{}USDT.P", "{}-USDC", "{}USD", "{}"):
        candles["symbol"] = [spelling.format(s.removesuffix("USDT")) for s in candles_of(panel)["symbol"].tolist()]
        again = load_panel(write(tmp_path / "c.parquet", candles), None, ASSETS)
        assert again.content_hash == priced(panel).content_hash
    spelled = {
        "btcusdt": "BTC",
        "1000PEPEUSDT": "1000PEPE",
        "USDCUSDT": "USDC",
        "USDT": "USDT",
        " eth-usdt ": "ETH",
    }
    assert {symbol: asset_of(symbol) for symbol in spelled} == spelled


def test_headers_compression_and_other_columns_do_not_matter(
    tmp_path: Path, panel: Panel, candles: Columns
) -> None:
    loud = {f" {name.upper()}": column for name, column in candles.items()} | {"trades": candles["volume"]}
    plain = write(tmp_path / "c.csv", loud)
    packed = tmp_path / "c.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    nameless = write(tmp_path / "c.parquet", loud).rename(tmp_path / "candles")
    for file in (plain, packed, nameless):
        assert load_panel(file).content_hash == priced(panel).content_hash


def test_assets_come_in_the_order_asked_for_or_by_name(tmp_path: Path, panel: Panel, candles: Columns) -> None:
    file = write(tmp_path / "c.parquet", candles)
    two = load_panel(file, None, ("SOL", "BTC"), "1h")
    assert two.assets == ("SOL", "BTC")
    np.testing.assert_array_equal(two.close, panel.close[:, [2, 0]])
    assert load_panel(file).assets == ("BTC", "ETH", "SOL")


def test_bars_that_open_at_an_odd_hour_are_on_a_grid_too(tmp_path: Path) -> None:
    """OKX's days begin at 16:00 UTC."""
    panel = priced(synthetic_panel(1, 20, ASSETS, bar_ms=24 * HOUR_MS, start_ms=START_MS + 16 * HOUR_MS))
    again = load_panel(write(tmp_path / "c.parquet", candles_of(panel)), None, None, "1d")
    assert again.content_hash == panel.content_hash and again.ts[0] % (24 * HOUR_MS) == 16 * HOUR_MS


# -- gaps -----------------------------------------------------------------------------------------


def test_a_gap_is_filled_marked_and_told(tmp_path: Path, panel: Panel) -> None:
    kept = np.ones((60, 3), np.bool_)
    kept[10:13, 1] = kept[:20, 2] = kept[50:, 2] = kept[30, :] = False
    loaded = load_panel(write(tmp_path / "c.parquet", candles_of(panel, kept)), None, ASSETS, "1h")
    np.testing.assert_array_equal(loaded.valid, kept)
    for prices in (loaded.open, loaded.high, loaded.low, loaded.close):
        assert (prices[10:13, 1] == panel.close[9, 1]).all() and (prices[50:, 2] == panel.close[49, 2]).all()
        assert np.isnan(prices[:20, 2]).all() and (prices[30] == panel.close[29]).all()
    assert loaded.notes == (
        f"BTC lacks 1 bars, the first at {iso(int(panel.ts[30]))}: filled, and marked invalid",
        f"ETH lacks 4 bars, the first at {iso(int(panel.ts[10]))}: filled, and marked invalid",
        f"SOL lacks 1 bars, the first at {iso(int(panel.ts[30]))}: filled, and marked invalid",
        f"SOL has candles from {iso(int(panel.ts[20]))} to {iso(int(panel.ts[49]))} alone",
    )


def test_many_uneven_starts_are_told_in_few_lines(tmp_path: Path) -> None:
    assets = [f"A{i:03d}" for i in range(120)]
    panel = synthetic_panel(2, 130, assets, bar_ms=24 * HOUR_MS)
    kept = np.arange(130)[:, None] >= np.arange(120)
    loaded = load_panel(write(tmp_path / "c.parquet", candles_of(panel, kept)))
    np.testing.assert_array_equal(loaded.valid, kept)
    assert len(loaded.notes) == 6 and loaded.notes[-1] == "and so 114 more assets"


# -- funding --------------------------------------------------------------------------------------


def test_funding_stands_in_the_bar_in_which_it_was_settled(tmp_path: Path, panel: Panel, candles: Columns) -> None:
    start = int(panel.ts[0])
    stamps = [start + 8 * HOUR_MS + 3, start + 16 * HOUR_MS - 1, start - 4 * HOUR_MS, start + 600 * HOUR_MS]
    rates = {
        "timestamp": stamps,
        "symbol": ["BTCUSDT", "ETHUSDT", "BTCUSDT", "BTCUSDT"],
        "last_funding_rate": [1e-4, 2e-4, 3e-4, 4e-4],
        "interval_hours": [8, 4, 4, 8],
    }
    files = write(tmp_path / "c.parquet", candles), write(tmp_path / "f.csv", rates)
    loaded = load_panel(*files, ASSETS, "1h")
    assert np.argwhere(np.isfinite(loaded.funding_rate)).tolist() == [[8, 0], [15, 1]]
    assert loaded.funding[:9, 0] == pytest.approx([6e-4] * 8 + [1e-4]), "what was settled before is known"
    assert loaded.funding[14:16, 1] == pytest.approx([0.0, 4e-4]), "per eight hours"
    assert (loaded.funding_period_ms[:9, 0] == [4 * HOUR_MS] * 8 + [8 * HOUR_MS]).all()
    assert loaded.notes == ("SOL has no funding rate: taken as 0",)


def test_a_rate_keeps_even_the_sign_of_its_zero(tmp_path: Path, panel: Panel, candles: Columns) -> None:
    """Else a hash would depend on the way that the data came."""
    rates = rates_of(panel)
    rates["funding_rate"][:4] = [-0.0, 0.0, 1e-4, -0.0]
    loaded = load_panel(write(tmp_path / "c.csv", candles), write(tmp_path / "f.csv", rates), ASSETS, "1h")
    assert np.signbit(loaded.funding_rate[[0, 0, 0, 8], [0, 1, 2, 0]]).tolist() == [True, False, False, True]


def test_several_rates_of_one_bar_are_one_rate_of_their_whole_time(tmp_path: Path) -> None:
    daily = synthetic_panel(1, 10, ASSETS, bar_ms=24 * HOUR_MS)
    stamps = np.arange(int(daily.ts[0]), int(daily.ts[-1]) + 24 * HOUR_MS, EIGHT_HOURS_MS)
    rates = {"timestamp": stamps, "symbol": ["BTC"] * len(stamps), "rate": np.arange(1, 31) * 1e-5}
    files = write(tmp_path / "c.parquet", candles_of(daily)), write(tmp_path / "f.parquet", rates)
    loaded = load_panel(*files)
    assert loaded.funding_rate[0, 0] == pytest.approx(6e-5), "what a holder of the whole day pays"
    assert loaded.funding[:2, 0] == pytest.approx([2e-5, 5e-5]), "and per eight hours the mean"


def test_a_file_that_hides_its_periods_is_found_out(tmp_path: Path, panel: Panel, candles: Columns) -> None:
    stamps = np.arange(int(panel.ts[0]), int(panel.ts[-1]), 4 * HOUR_MS)
    rates = {"timestamp": stamps, "symbol": ["BTC"] * len(stamps), "rate": np.full(len(stamps), 1e-4)}
    files = write(tmp_path / "c.parquet", candles), write(tmp_path / "f.parquet", rates)
    (note,) = load_panel(*files, ("BTC",)).notes
    assert note == "BTC settles every 4 hours, but is read as 8: add a column funding_interval_hours"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda f: f["funding_rate"].__setitem__(4, np.nan),
            "BTC at {t3}: funding_rate is no finite number (1 such row",
        ),
        (lambda f: f["funding_rate"].__setitem__(4, -np.inf), "BTC at {t3}: funding_rate is no finite number"),
        (lambda f: f["timestamp"].__setitem__(4, f["timestamp"][1]), "BTC at {t0}: more than one row of this time"),
        (lambda f: f["timestamp"].__iadd__(10_000 * HOUR_MS), "give the rates of that time"),
        (lambda f: f.update(symbol=np.array(["XRPUSDT"] * len(f["symbol"]))), "no rates of BTC, ETH; it has XRP"),
        (
            lambda f: f.pop("funding_rate"),
            "no column funding_rate or last_funding_rate or rate; it has timestamp, sy",
        ),
        (lambda f: f.update(period_hours=np.zeros(len(f["symbol"]))), "hours of the rate are not above zero"),
    ],
)
def test_bad_funding_is_refused(
    tmp_path: Path, panel: Panel, candles: Columns, spoil: Callable[[Columns], None], said: str
) -> None:
    rates = rates_of(panel)
    rates = {name: column[rates["symbol"] != "SOLUSDT"] for name, column in rates.items()}
    first, third = (iso(int(rates["timestamp"][at])) for at in (0, 4))
    spoil(rates)
    line = refusal(write(tmp_path / "c.parquet", candles), write(tmp_path / "f.parquet", rates), ("BTC", "ETH"))
    assert str(tmp_path / "f.parquet") in line and said.format(t0=first, t3=third) in line


# -- what is refused ------------------------------------------------------------------------------


def at(name: str, value: float) -> Callable[[Columns, int], None]:
    return lambda columns, where: columns[name].__setitem__(where, value)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (at("close", np.nan), "close is no finite number"),
        (at("volume", np.inf), "volume is no finite number"),
        (at("low", 0.0), "low is not above zero"),
        (at("open", -3.0), "open is not above zero"),
        (at("volume", -1.0), "volume is below zero"),
        (at("high", 1e-9), "high is below low"),
        (at("close", 1e9), "high is below open or close"),
        (at("open", 1e-9), "low is above open or close"),
    ],
)
@pytest.mark.parametrize("file", ["c.parquet", "c.csv"])
def test_an_impossible_candle_is_named(
    tmp_path: Path, panel: Panel, candles: Columns, spoil: Callable[[Columns, int], None], said: str, file: str
) -> None:
    """By the first time at which there is one, wherever its row stands in the file."""
    ts = int(panel.ts[30])
    for asset, bar in (("SOL", 50), ("ETH", 30)):
        spoil(candles, row(candles, asset, int(panel.ts[bar])))
    backwards = {name: column[::-1] for name, column in candles.items()}
    path = write(tmp_path / file, backwards)
    way_out = "mend them, or keep the rest with cockpit data import --drop-bad"
    expected = f"{path}: ETH at {iso(ts)}: {said} (2 such rows): {way_out}"
    assert refusal(path) == refusal(path, None, ASSETS, "1h") == expected
    assert load_panel(path, None, ("BTC",), "1h").valid.all(), "what is not asked for does no harm"


def test_a_candle_that_is_there_twice_is_named(tmp_path: Path, panel: Panel, candles: Columns) -> None:
    twice = np.append(np.arange(180), [row(candles, "ETH", int(panel.ts[7])), 100])
    path = write(tmp_path / "c.csv", {name: column[twice] for name, column in candles.items()})
    expected = f"{path}: ETH at {iso(int(panel.ts[7]))}: more than one row of this time (2 such rows): drop the"
    assert expected in refusal(path)


def test_a_bar_off_the_grid_is_named_even_if_it_is_the_first(
    tmp_path: Path, panel: Panel, candles: Columns
) -> None:
    for bar in (0, 20):
        spoilt = candles["timestamp"].copy()
        spoilt[row(candles, "BTC", int(panel.ts[bar]))] -= 60_000
        path = write(tmp_path / "c.parquet", candles | {"timestamp": spoilt})
        line = refusal(path, None, None, "1h")
        assert (
            f"BTC at {iso(int(panel.ts[bar]) - 60_000)}: off the grid of 60 minutes" in line
            and "(1 such row)" in line
        )
        assert refusal(path) == line


@pytest.mark.parametrize(
    ("bar", "said"),
    [
        ("15m", "its bars are 1h long, not 15m: set universe.bar, or give another file"),
        ("4h", "off the grid of 240 minutes (most bars of the file are 1h apart) (135 such rows)"),
        ("2h", "bar '2h': one of 1m, 5m, 15m, 1h, 4h, 1d"),
    ],
)
def test_bars_of_another_length_are_refused(tmp_path: Path, candles: Columns, bar: str, said: str) -> None:
    assert said in refusal(write(tmp_path / "c.parquet", candles), None, None, bar)


def test_a_length_that_nobody_trades_is_refused(tmp_path: Path, candles: Columns) -> None:
    candles["timestamp"] = candles["timestamp"] // 60 * 7
    assert "its bars are 7 minutes long, not one of 1m," in refusal(write(tmp_path / "c.parquet", candles))


def test_one_wrong_year_does_not_make_a_panel_of_gaps(tmp_path: Path, panel: Panel, candles: Columns) -> None:
    candles["timestamp"][-1] += 40 * 365 * 24 * HOUR_MS
    line = refusal(write(tmp_path / "c.parquet", candles))
    assert "candles at 61 of them alone; the longest gap follows " + iso(int(panel.ts[-1])) in line


def test_an_asset_that_is_not_there_is_named(tmp_path: Path, candles: Columns) -> None:
    line = refusal(write(tmp_path / "c.parquet", candles), None, ("BTC", "XRP", "DOT"), "1h")
    assert line.endswith("no candles of XRP, DOT; it has BTC, ETH, SOL: change universe.assets")


def test_two_symbols_of_one_asset_are_not_mixed(tmp_path: Path, panel: Panel, candles: Columns) -> None:
    symbols = candles["symbol"].astype(object)
    symbols[row(candles, "ETH", int(panel.ts[9]))] = "ETHUSDC"
    path = write(tmp_path / "c.parquet", candles | {"symbol": symbols.tolist()})
    assert "ETHUSDT and ETHUSDC are both ETH: keep one of them" in refusal(path)
    assert load_panel(path, None, ("BTC", "SOL"), "1h").assets == ("BTC", "SOL")


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("timestamp", None, "row 5 has no timestamp (1 such rows)"),
        ("symbol", None, "row 5 has no symbol (1 such rows)"),
        ("timestamp", -1, "row 5 has the timestamp -1, not of the years 1970 to 2099"),
        ("timestamp", "yesterday", "column timestamp (string) is no time"),
        ("close", "n/a-ish", "column close is string, not numbers"),
        ("volume", None, "volume is no finite number (1 such row)"),
    ],
)
def test_a_value_of_another_kind_is_named(
    tmp_path: Path, candles: Columns, column: str, value: object, said: str
) -> None:
    values = candles[column].tolist()
    values[4] = value
    if isinstance(value, str):
        values = [str(v) for v in values]
    assert said in refusal(write(tmp_path / "c.parquet", candles | {column: values}))


@pytest.mark.parametrize("column", ["timestamp", "symbol", *OHLCV])
def test_a_column_that_is_missing_is_named(tmp_path: Path, candles: Columns, column: str) -> None:
    del candles[column]
    line = refusal(write(tmp_path / "c.csv", candles))
    assert f"no column {column}" in line and f"it has {', '.join(candles)}" in line


def test_a_column_that_is_there_twice_is_named(tmp_path: Path, candles: Columns) -> None:
    path = write(tmp_path / "c.parquet", candles | {"Close": candles["close"]})
    assert "2 columns are called close: keep one" in refusal(path)


def test_what_is_no_table_is_refused(tmp_path: Path, candles: Columns) -> None:
    text = "timestamp,symbol,open,high,low,close,volume\n"
    files = {
        "empty.csv": (b"", "cannot be read as Parquet, feather or CSV"),
        "empty.parquet": (b"", "not a Parquet file"),
        "broken.parquet": (b"PAR1 and then nothing", "cannot be read as Parquet, feather or CSV"),
        "header.csv": (text.encode(), "no rows; export it again"),
        "ragged.csv": (f"{text}1,BTC,1,1\n".encode(), "cannot be read as Parquet, feather or CSV"),
        "semicolons.csv": (text.replace(",", ";").encode() + b"1;2;3;4;5;6;7\n", "no column timestamp or time"),
        "sheet.xlsx": (b"PK\x03\x04", "save it as Parquet, as feather, or as CSV named .csv"),
    }
    for name, (content, said) in files.items():
        (tmp_path / name).write_bytes(content)
        assert said in refusal(tmp_path / name)
    for nothing in (tmp_path, tmp_path / "missing.parquet"):
        assert "no such file; give a Parquet, feather or CSV file" in refusal(nothing)


# -- wide files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["w.parquet", "w.csv", "w.feather"])
def test_a_wide_file_has_closes_alone_and_no_asset_seems_busier(tmp_path: Path, panel: Panel, file: str) -> None:
    kept = np.ones((60, 3), np.bool_)
    kept[:5, 2] = kept[20, 1] = False
    holed = Panel.of(panel.ts, ASSETS, [np.where(kept, getattr(panel, name), 0.0) for name in OHLCV], HOUR_MS)
    loaded = load_panel(write(tmp_path / file, wide_of(holed)), None, ASSETS, "1h")
    np.testing.assert_array_equal(loaded.valid, kept)
    np.testing.assert_array_equal(loaded.close, holed.close)
    for prices in (loaded.open, loaded.high, loaded.low):
        np.testing.assert_array_equal(prices, loaded.close)
    assert (loaded.volume * loaded.close)[kept] == pytest.approx(1_000_000.0)
    assert "closes alone: a fill at the next open is one at the next close" in loaded.notes[0]
    assert load_panel(tmp_path / file, None, ("SOL", "BTC")).assets == ("SOL", "BTC")


def test_a_wide_file_is_refused_for_what_a_long_one_is(tmp_path: Path, panel: Panel) -> None:
    columns = wide_of(panel)
    columns["ETHUSDT"][7] = -1.0
    line = refusal(write(tmp_path / "w.parquet", columns))
    assert f"ETH at {iso(int(panel.ts[7]))}: open is not above zero (1 such row)" in line
    twice = write(tmp_path / "t.parquet", wide_of(panel) | {"ETH-USDC": columns["BTCUSDT"]})
    assert "ETHUSDT" in (line := refusal(twice).upper()) and "ARE BOTH ETH" in line
    assert "no candles of XRP; it has BTC" in refusal(write(tmp_path / "x.csv", wide_of(panel)), None, ("XRP",))
    assert "no prices" in refusal(write(tmp_path / "n.csv", {"date": panel.ts}))


# -- bad rows left out ------------------------------------------------------------------------------


def test_bad_rows_are_left_out_on_demand_and_counted(tmp_path: Path, panel: Panel, candles: Columns) -> None:
    candles["low"][row(candles, "ETH", int(panel.ts[7]))] = 1e9
    candles["close"][row(candles, "SOL", int(panel.ts[9]))] = np.nan
    equal, other = (row(candles, "BTC", int(panel.ts[bar])) for bar in (3, 4))
    again = {name: np.append(column, column[[equal, other, other]]) for name, column in candles.items()}
    again["volume"][-1] += 1.0
    rows, _ = read_candles(write(tmp_path / "c.parquet", again), drop=True)
    assert rows.notes == (
        "left out: 2 rows impossible",
        "left out: 3 rows contradicting another of its time",
        "left out: 1 row there twice",
    )
    loaded = panel_of(rows, HOUR_MS)
    gone = np.argwhere(~loaded.valid).tolist()
    assert gone == [[4, 0], [7, 1], [9, 2]], "of three at one time, none can be trusted"
    assert "ETH lacks 1 bars" in " ".join(loaded.notes)


# -- real data ------------------------------------------------------------------------------------


def test_ten_real_perpetuals_have_no_gap_and_funding_every_eight_hours(shared_data: Path) -> None:
    panel = load_panel(shared_data / "perp_1h_10.parquet", shared_data / "perp_funding_10.parquet", None, "1h")
    assert panel.close.shape == (13_872, 10) and panel.valid.all() and panel.notes == ()
    assert (iso(int(panel.ts[0])), iso(int(panel.ts[-1]))) == ("2024-01-01T00:00Z", "2025-07-31T23:00Z")
    settled = np.isfinite(panel.funding_rate)
    assert settled[::8].all() and settled.sum() == 17_340 and np.abs(panel.funding).max() < 0.03


def test_real_spot_candles_lack_twenty_hours_each(shared_data: Path) -> None:
    panel = load_panel(shared_data / "spot_1h_10.parquet")
    assert ((~panel.valid).sum(0) == 22).all(), "and two more hours were silent: volume 0"
    assert panel.notes[0] == "ADA lacks 20 bars, the first at 2020-11-30T06:00Z: filled, and marked invalid"


def test_hundreds_of_real_perpetuals_with_uneven_starts(shared_data: Path) -> None:
    panel = load_panel(shared_data / "perp_1d_538.parquet", bar="1d")
    assert len(panel.assets) > 400 and {"BTC", "1000PEPE"} <= set(panel.assets) and len(panel) == 569
    assert panel.valid.sum() == 155_454, "every row has found its place"
    late = np.flatnonzero(~panel.valid[0])
    assert 100 < len(late) < 400 and np.isnan(panel.close[0, late]).all() and 1 <= len(panel.notes) <= 12
