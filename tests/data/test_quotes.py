"""Best bids and asks from a file: what was known at a moment, never later; and what makes a file unfit."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.quotes import STALE_MS, Quotes, read_quotes
from core.data.synthetic import HOUR_MS, START_MS, synthetic_panel
from core.domain.errors import UserError


def write(folder: Path, rows: list[tuple[Any, ...]], **changed: str) -> Path:
    """A file of (timestamp, symbol, bid, bid_qty, ask, ask_qty); columns may be renamed."""
    names = ("timestamp", "symbol", "bid", "bid_qty", "ask", "ask_qty")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    file = folder / "quotes.parquet"
    pq.write_table(pa.table({changed.get(name, name): values for name, values in columns.items()}), file)
    return file


def row(
    ms: int, bid: float = 100.0, ask: float = 101.0, symbol: str = "BTCUSDT", size: float = 2.0
) -> tuple[Any, ...]:
    return START_MS + ms, symbol, bid, size, ask, size + 1


def refusal(source: str | Path, *assets: str) -> str:
    with pytest.raises(UserError) as caught:
        read_quotes(source, assets or ("BTC",))
    assert "\n" not in str(caught.value) and "quotes.parquet" in str(caught.value)
    return str(caught.value)


# -- as of a moment --------------------------------------------------------------------------------------------


def test_the_last_quote_at_or_before_a_moment(tmp_path: Path) -> None:
    quotes = read_quotes(write(tmp_path, [row(0), row(1_000, 102, 103), row(2_000, 104, 105)]), ("BTC",))
    bids = [
        top.bid if (top := quotes.at("BTC", START_MS + ms)) else None for ms in (-1, 0, 999, 1_000, 1_999, 2_000)
    ]
    assert bids == [None, 100.0, 100.0, 102.0, 102.0, 104.0]
    assert quotes.at("BTC", START_MS) == (START_MS, 100.0, 2.0, 101.0, 3.0)
    assert quotes.at("ETH", START_MS) is None


def test_a_stale_quote_says_nothing(tmp_path: Path) -> None:
    quotes = read_quotes(write(tmp_path, [row(0)]), ("BTC",))
    assert quotes.at("BTC", START_MS + STALE_MS) is not None
    assert quotes.at("BTC", START_MS + STALE_MS + 1) is None


def test_of_several_at_one_moment_the_last_of_the_file_stands(tmp_path: Path) -> None:
    quotes = read_quotes(write(tmp_path, [row(0, 100), row(0, 99), row(0, 98)]), ("BTC",))
    top = quotes.at("BTC", START_MS)
    assert top is not None and top.bid == 98.0 and not quotes.notes


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=40), st.integers(-10, 6_000))
def test_never_a_later_one(times: list[int], moment: int) -> None:
    known = np.sort(np.array(times)) + START_MS
    tops = np.column_stack([np.arange(len(times), dtype=np.float64) + k for k in range(4)])
    top = Quotes("q", {"BTC": known}, {"BTC": tops}).at("BTC", START_MS + moment)
    past = [number for number, ts in enumerate(known) if ts <= START_MS + moment]
    assert (top is None) == (not past)
    if top is not None:
        assert top.ts == known[past[-1]] and top.bid == past[-1]


@pytest.mark.parametrize("kind", ["ns", "us", "number", "text"])
def test_a_part_of_a_millisecond_is_known_at_its_end(tmp_path: Path, kind: str) -> None:
    """A quote stamped 0.3 ms after a moment was not known at that moment."""
    ns = START_MS * 1_000_000 + 300_000
    stamps: dict[str, Any] = {
        "ns": pa.array([ns], pa.timestamp("ns", "UTC")),
        "us": pa.array([ns // 1_000], pa.timestamp("us")),
        "number": pa.array([ns]),
        "text": pa.array(["2024-01-01T00:00:00.000300"]),
    }
    file = tmp_path / "quotes.parquet"
    sizes = {name: [1.0] for name in ("bid_qty", "ask_qty")}
    pq.write_table(
        pa.table({"timestamp": stamps[kind], "symbol": ["BTCUSDT"], "bid": [1.0], "ask": [2.0]} | sizes), file
    )
    quotes = read_quotes(file, ("BTC",))
    assert quotes.at("BTC", START_MS) is None and quotes.at("BTC", START_MS + 1) is not None


# -- what files hold -------------------------------------------------------------------------------------------


def test_other_spellings_are_known(tmp_path: Path) -> None:
    file = write(tmp_path, [row(0)], bid="bid_price", ask="ask_price", bid_qty="bid_size", ask_qty="ask_size")
    assert read_quotes(file, ("BTC",)).at("BTC", START_MS) == (START_MS, 100.0, 2.0, 101.0, 3.0)


def test_one_market_of_several_is_named_by_the_end_of_its_symbols(tmp_path: Path) -> None:
    file = write(tmp_path, [row(0, 100, 101, "BTCUSDT.spot"), row(0, 200, 201, "BTCUSDT.usdm")])
    for ending, bid in (("spot", 100.0), ("usdm", 200.0)):
        top = read_quotes(f"{file}#{ending}", ("BTC",)).at("BTC", START_MS)
        assert top is not None and top.bid == bid
    assert "BTCUSDT.spot" in refusal(f"{file}#coin") and "are both BTC" in refusal(file)


def test_an_asset_without_quotes_is_noted_and_none_at_all_refused(tmp_path: Path) -> None:
    file = write(tmp_path, [row(0)])
    (note,) = read_quotes(file, ("BTC", "SOL", "XRP")).notes
    assert note == "quotes.parquet has no quotes of SOL, XRP: their books are made"
    assert "no quotes of SOL; it has BTC" in refusal(file, "SOL")


def test_quotes_out_of_order_are_sorted_and_told(tmp_path: Path) -> None:
    quotes = read_quotes(
        write(tmp_path, [row(0), row(2_000, 104, 105), row(1_000, 102, 103), row(3_000)]), ("BTC",)
    )
    assert quotes.notes == ("quotes.parquet: 1 quotes came out of order: sorted by time",)
    top = quotes.at("BTC", START_MS + 1_500)
    assert top is not None and top.bid == 102.0


@pytest.mark.parametrize(
    ("wrong", "what"),
    [(row(500, 101, 101), "whose bid is not below"), (row(500, 103, 101), "whose bid is not below"),
     (row(500, 0, 101), "not above zero"), (row(500, -3, 101), "not above zero"),
     (row(500, size=0.0), "not above zero")],
)  # fmt: skip
def test_a_few_impossible_quotes_are_left_out_and_told(tmp_path: Path, wrong: tuple[Any, ...], what: str) -> None:
    rows = [row(1_000 * number) for number in range(30)]
    quotes = read_quotes(write(tmp_path, [rows[0], wrong, *rows[1:]]), ("BTC",))
    (note,) = quotes.notes
    assert "left out: 1 quotes" in note and what in note and len(quotes.ts["BTC"]) == 30
    assert quotes.at("BTC", START_MS + 600) == quotes.at("BTC", START_MS)


def test_a_file_of_impossible_quotes_is_refused(tmp_path: Path) -> None:
    assert "a bid not below its ask (10 such rows)" in refusal(
        write(tmp_path, [row(n, 102, 101) for n in range(10)])
    )
    assert "not above zero" in refusal(write(tmp_path, [row(n, 0, 101) for n in range(10)]))
    assert "no finite number" in refusal(write(tmp_path, [row(0), row(1, float("nan"))]))


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    assert "no column ask_qty" in refusal(write(tmp_path, [row(0)], ask_qty="price"))
    with pytest.raises(UserError, match="no such file"):
        read_quotes(tmp_path / "nowhere.parquet", ("BTC",))


# -- of the same market ----------------------------------------------------------------------------------------


def test_quotes_must_be_of_the_candles_time_and_prices(tmp_path: Path) -> None:
    panel = synthetic_panel(1, 20, ("BTC", "ETH"))
    price = float(panel.close[5, 0])

    def quotes(ms: int, at: float) -> Quotes:
        return read_quotes(write(tmp_path, [row(ms, at - 1, at + 1)]), ("BTC",))

    quotes(5 * HOUR_MS, price).check(panel)
    quotes(5 * HOUR_MS, price * 1.015).check(panel)
    with pytest.raises(UserError, match=r"lie 5\.0% from its candles"):
        quotes(5 * HOUR_MS, price * 1.05).check(panel)
    for ms in (-1_000, 20 * HOUR_MS):
        with pytest.raises(UserError, match="but the candles are from 2024-01-01T00:00Z to 2024-01-01T20:00Z"):
            quotes(ms, price).check(panel)


def test_real_quotes_are_read_whole(shared_data: Path) -> None:
    quotes = read_quotes(f"{shared_data / 'l2_20240808_bookticker.parquet'}#usdm", ("BTC", "ETH"))
    assert {asset: len(ts) for asset, ts in quotes.ts.items()} == {
        "BTC": 66_089,
        "ETH": 53_992,
    } and not quotes.notes
    assert all((np.diff(ts) >= 0).all() for ts in quotes.ts.values())
    assert all((tops[:, 0] < tops[:, 2]).all() for tops in quotes.tops.values())
