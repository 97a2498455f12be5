"""Real best bids and asks in the event-driven backtest: an order meets those of the moment at which it arrives."""

from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from core.backtest.events import Assumptions
from core.backtest.vectorised import costs_of
from core.config import load
from core.data.panel import Panel
from core.data.quotes import STALE_MS
from core.data.synthetic import HOUR_MS, START_MS
from core.domain.errors import UserError
from tests.backtest.scenes import BTC, ETH, Plan, best, books_of, enter, fills, hand, leave, play, still

TRIP: Plan = {1: [enter()], 3: [leave()]}
UNITS = {BTC: Decimal("0.01"), ETH: Decimal("0.1")}


class Line(NamedTuple):
    """A row of the file: `ms` after the open of bar 2."""

    ms: int
    symbol: str
    bid: float
    bid_qty: float
    ask: float
    ask_qty: float


def write(folder: Path, *lines: Line) -> str:
    columns = {name: [getattr(line, name) for line in lines] for name in Line._fields[1:]}
    stamps = [START_MS + 2 * HOUR_MS + line.ms for line in lines]
    file = folder / "top.parquet"
    pq.write_table(pa.table({"timestamp": stamps} | columns), file)
    return str(file)


def real(file: str, latency: str = "none", slippage: str = "flat") -> Assumptions:
    return Assumptions(slippage=slippage, latency=latency, book=file)


# -- which quote -----------------------------------------------------------------------------------------------


def test_an_order_takes_the_real_ask_or_bid(tmp_path: Path) -> None:
    """Bar 2 opens with quotes of both, bar 4 of ETH alone: BTC then meets the book that is made."""
    file = write(
        tmp_path,
        Line(-5, "BTCUSDT", 60_011.1, 9.0, 60_013.7, 9.0),
        Line(-900, "ETHUSDT", 2_998.77, 90.0, 2_999.01, 90.0),
        Line(2 * HOUR_MS - 400, "ETHUSDT", 3_001.5, 90.0, 3_002.25, 90.0),
    )
    run = play(hand(still()), TRIP, assumed=real(file))
    prices = {(fill.instrument, (fill.ts - START_MS) // HOUR_MS): fill.price for fill in fills(run)}
    assert prices == {
        (BTC, 2): Decimal("60013.7"),
        (ETH, 2): Decimal("2998.77"),
        (ETH, 4): Decimal("3002.25"),
        (BTC, 4): best(60_000.0, "0.1", buy=False),
    }
    assert run.result.notes == ("3 of 4 orders met a quote of top.parquet",)


def test_it_is_that_of_the_orders_arrival_and_never_a_later_one(tmp_path: Path) -> None:
    lines = [Line(ms, "BTCUSDT", 60_000 + ms / 10, 9.0, 60_001 + ms / 10, 9.0) for ms in range(-500, 3_000, 100)]
    file = write(tmp_path, *lines)
    panel = hand(still(), turnover=(1e8, 1e9))  # BTC is the less liquid: its leg is sent first.
    for latency, ms in (("none", 0), ("99", 0), ("100", 100), ("250", 200), ("2000", 2_000)):
        (fill,) = fills(play(panel, {1: [enter()]}, assumed=real(file, latency)), BTC)
        assert fill.price == 60_001 + Decimal(ms) / 10, latency


def test_a_stale_quote_gives_way_to_the_book_that_is_made(tmp_path: Path) -> None:
    for ms, price in ((-STALE_MS, Decimal("60013.7")), (-STALE_MS - 1, best(60_000.0, "0.1", buy=True))):
        file = write(tmp_path, Line(ms, "BTCUSDT", 60_011.1, 9.0, 60_013.7, 9.0))
        assert fills(play(hand(still()), {1: [enter()]}, assumed=real(file)), BTC)[0].price == price


def test_slippage_is_counted_from_the_middle_of_the_quote(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        Line(-5, "BTCUSDT", 60_010.0, 9.0, 60_014.0, 9.0),
        Line(-5, "ETHUSDT", 2_998.0, 90.0, 3_000.0, 90.0),
    )
    run = play(hand(still()), {1: [enter()]}, assumed=real(file))
    cost = sum(
        abs(fill.size) * UNITS[fill.instrument] * (2 if fill.instrument == BTC else 1) for fill in fills(run)
    )
    assert run.result.costs[-1][0] == pytest.approx(-float(cost))


# -- how much there is -----------------------------------------------------------------------------------------


def test_no_more_trades_than_the_quote_holds(tmp_path: Path) -> None:
    """A hundredth of a BTC is offered: one contract, of which there are five to be bought."""
    file = write(tmp_path, Line(-5, "BTCUSDT", 60_010.0, 9.0, 60_014.0, 0.0159))
    panel = hand(still(), turnover=(1e8, 1e9))
    run = play(panel, {1: [enter()]}, assumed=real(file))
    assert [fill.size for fill in fills(run, BTC)] == [Decimal("1.59")]
    (book,) = books_of(panel, run.events).open_books()
    assert abs(book.legs[1].size) == pytest.approx(Decimal("1.59") / 5 * 10, abs=Decimal("0.01"))


def test_what_was_taken_of_a_quote_comes_back_with_a_newer_one(tmp_path: Path) -> None:
    """Three attempts at a closing leg: two of them meet one quote, the third the next."""
    file = write(
        tmp_path,
        Line(2 * HOUR_MS, "BTCUSDT", 60_010.0, 0.02, 60_014.0, 9.0),
        Line(2 * HOUR_MS + 1_500, "BTCUSDT", 60_000.0, 9.0, 60_004.0, 9.0),
    )
    run = play(hand(still()), TRIP, assumed=real(file, "400"))
    sold = [(fill.size, fill.price) for fill in fills(run, BTC) if fill.size < 0]
    assert sold == [(Decimal(-2), Decimal("60010.0")), (Decimal(-3), Decimal("60000.0"))]


def test_less_than_a_lot_is_nothing(tmp_path: Path) -> None:
    file = write(tmp_path, Line(-5, "BTCUSDT", 60_010.0, 9.0, 60_014.0, 0.00009))
    panel = hand(still(), turnover=(1e8, 1e9))
    run = play(panel, {1: [enter()]}, assumed=real(file))
    assert not fills(run) and not run.result.trades


def test_quotes_are_as_good_as_a_book_to_the_ledger(tmp_path: Path) -> None:
    """A hundred bars of them, orders that take time and are refused: the sum of trades is the change of equity."""
    chance = np.random.default_rng(5)
    lines = [
        Line(int(ms), symbol, price * (1 - 1e-5), float(size), price * (1 + 2e-5), float(size))
        for symbol, price in (("BTCUSDT", 60_000.0), ("ETHUSDT", 3_000.0))
        for ms, size in zip(chance.integers(0, 100 * HOUR_MS, 9_000), chance.uniform(0.001, 3, 9_000), strict=True)
    ]
    panel = hand(still(110))
    plan: Plan = {t: [enter()] if t % 4 == 1 else [leave()] for t in range(108)}
    assumed = Assumptions(latency="900~1", rejects=0.1, book=write(tmp_path, *lines))
    run = play(panel, plan, assumed=assumed)
    assert len(run.result.trades) > 20 and not run.result.open_pairs
    assert sum(t.pnl for t in run.result.trades) == pytest.approx(run.result.equity[-1] - 100_000, abs=1e-6)
    books_of(panel, run.events)
    again = play(panel, plan, assumed=assumed)
    assert again.result.digest == run.result.digest
    assert run.result.digest != play(panel, plan, assumed=Assumptions(latency="900~1", rejects=0.1)).result.digest


# -- how it is asked for, and told -----------------------------------------------------------------------------


def test_the_assumption_is_told_in_words(tmp_path: Path) -> None:
    words = real("/somewhere/top.parquet").words()["slippage"]
    assert words.startswith(
        "the best bid and ask of top.parquet as an order arrives; where there is none of the last"
    )
    assert words.endswith("flat: spread 2 bp around the mark, at any size")


def test_quotes_of_another_time_or_market_are_refused(tmp_path: Path) -> None:
    later = write(tmp_path, Line(2_000 * HOUR_MS, "BTCUSDT", 60_010.0, 9.0, 60_014.0, 9.0))
    with pytest.raises(UserError, match="give the quotes of that time"):
        play(hand(still()), TRIP, assumed=real(later))
    other = write(tmp_path, Line(0, "BTCUSDT", 50_010.0, 9.0, 50_014.0, 9.0))
    with pytest.raises(UserError, match="of another market"):
        play(hand(still()), TRIP, assumed=real(other))


def test_the_vectorised_backtest_knows_no_quotes() -> None:
    with pytest.raises(UserError, match=r"book /top\.parquet.*event-driven"):
        costs_of(Assumptions(book="/top.parquet"))


def test_the_configuration_names_the_file() -> None:
    assert load(environ={}).backtest.book == ""
    assert load(environ={}, options={"backtest.book": "top.parquet#usdm"}).backtest.book == "top.parquet#usdm"


# -- real ones -------------------------------------------------------------------------------------------------

SPAN = 15_000


def bars_of(trades: Path, first: int, bars: int) -> Panel:
    """Bars of a quarter of a minute of BTC and ETH perpetuals, made of single trades."""
    grids = [np.full((bars, 2), np.nan) for _ in range(5)]
    table = pq.read_table(trades)
    for i, asset in enumerate(("BTC", "ETH")):
        mine = table.filter(pc.equal(table["symbol"], f"{asset}USDT.usdm"))
        bar = (mine["timestamp"].cast(pa.int64()).to_numpy() // 1_000_000 - first) // SPAN
        price, amount = mine["price"].to_numpy(), mine["amount"].to_numpy()
        for t in range(bars):
            there = price[bar == t]
            for grid, cell in zip(grids, (there[0], there.max(), there.min(), there[-1]), strict=False):
                grid[t, i] = cell
            grids[4][t, i] = amount[bar == t].sum()
    return Panel.of(first + SPAN * np.arange(bars, dtype=np.int64), ("BTC", "ETH"), grids, SPAN)


def test_fills_are_at_the_real_prices_before_a_midnight(shared_data: Path) -> None:
    """Five minutes of BTC and ETH: every fill is at the best price that was quoted when its order arrived."""
    source = shared_data / "l2_20240808_bookticker.parquet"
    panel = bars_of(shared_data / "l2_20240808_trades.parquet", 1_723_161_270_000, 21)  # 2024-08-08T23:54:30Z
    wishes = {t: [enter(side=1 if t % 8 == 1 else -1)] if t % 4 == 1 else [leave()] for t in range(19)}
    start = (int(panel.ts[0]) - START_MS) // SPAN  # Where `told` counts bars from.
    plan: Plan = {start + t: wish for t, wish in wishes.items()}
    run = play(panel, plan, assumed=real(f"{source}#usdm", "120~0.4"))
    made = fills(run)
    assert len(run.result.trades) == 5 and len(made) >= 20 and not run.result.open_pairs
    assert run.result.notes == (f"{run.result.orders} of {run.result.orders} orders met a quote of {source.name}",)
    table = pq.read_table(source)
    for name in ("BTC", "ETH"):
        mine = table.filter(pc.equal(table["symbol"], f"{name}USDT.usdm"))
        stamps = mine["timestamp"].cast(pa.int64()).to_numpy()
        for fill in (fill for fill in made if fill.instrument.startswith(name)):
            known = int(np.flatnonzero(stamps <= fill.ts * 1_000_000)[-1])
            assert fill.price == Decimal(repr(mine["ask" if fill.size > 0 else "bid"][known].as_py())), fill
    traded = sum(abs(float(fill.size * UNITS[fill.instrument] * fill.price)) for fill in made)
    assert 0 < -run.result.costs[-1][0] / traded < 0.2e-4, "half of a spread far narrower than two basis points"
