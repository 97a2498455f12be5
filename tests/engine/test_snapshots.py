"""What the screen gets is what the books, the last view and the market say."""

import msgspec
import numpy as np
import pytest

from core.domain.account import book_pnl
from core.domain.snapshot import Snapshot, Status
from core.engine.snapshots import Lag, Phase, snapshot
from tests.engine.desk import HISTORY, Desk


async def test_it_travels_unchanged(desk: Desk) -> None:
    await desk.until_held()
    shown = desk.view()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(shown), type=Snapshot) == shown


async def test_before_there_is_an_engine_the_phase_is_all(desk: Desk) -> None:
    base: Status = desk.view().status
    shown = snapshot(base, Phase("training", "300 trees", 0.4), Lag(), None, [])
    assert (shown.status.phase, shown.status.detail, shown.status.progress) == ("training", "300 trees", 0.4)
    assert (shown.streams, shown.positions, shown.pairs.name) == ([], [], [])


async def test_every_column_has_a_row_for_every_pair(desk: Desk) -> None:
    await desk.bars(3)
    pairs = desk.view().pairs
    for name in pairs.__struct_fields__:
        assert len(getattr(pairs, name)) == 1, name
    view = desk.engine.views["zscore"]
    assert pairs.name == ["BTC/ETH"] and pairs.z == pytest.approx([float(view.column("z_score")[0])], abs=1e-3)
    assert pairs.correlation == pytest.approx([float(view.correlation[0, 1])], abs=1e-3)


async def test_there_is_a_reason_for_every_pair(desk: Desk) -> None:
    seen: set[str] = set()
    for _ in range(60):
        await desk.bars()
        shown = desk.view().pairs
        decision = desk.engine.outcomes["zscore"].decision
        assert shown.why == [decision.texts[reason] for reason in decision.reasons]
        seen.update(shown.why)
    assert len(seen) >= 3 and all(seen)


async def test_a_refusal_is_the_reason_where_there_is_one(desk: Desk) -> None:
    await desk.ask("pause")
    for _ in range(60):
        await desk.bars()
        if desk.engine.outcomes["zscore"].refused:
            assert "reducing: paused by test" in desk.view().pairs.why[0]
            return
    raise AssertionError("nothing was refused in 60 bars")


async def test_a_held_pair_shows_both_legs_and_what_it_earns(desk: Desk) -> None:
    await desk.until_held()
    await desk.bars(2)
    if not desk.books.open_books():
        await desk.until_held()
    shown, book = desk.view(), desk.books.open_books()[0]
    row = shown.positions[0]
    marks = {leg.asset: leg.mark for leg in row.legs}
    assert [leg.asset for leg in row.legs] == ["BTC", "ETH"] and row.side == book.side
    assert row.pnl == pytest.approx(book_pnl(book, marks))
    assert row.pnl_share == pytest.approx(row.pnl / float(book.gross))
    assert row.stop == -book.stop < 0 < row.target == book.target
    assert (row.z_entry, row.origin, row.working, row.protected) == (book.z, "strategy", "", True)
    assert row.gross == pytest.approx(float(book.gross)) and shown.pairs.held == [True]


async def test_equity_is_the_ledgers(desk: Desk) -> None:
    await desk.bars(80)
    shown, books = desk.view().equity, desk.books
    assert shown.cash == float(books.cash) and shown.start == 100_000.0
    assert shown.equity == pytest.approx(shown.cash + shown.unrealized)
    assert shown.drawdown == pytest.approx(min(0.0, shown.equity / shown.peak - 1))
    assert (shown.orders, shown.fills, shown.round_trips) == (len(books.orders), books.fills, books.round_trips)
    assert shown.curve == [float(value) for _, value in books.curve] and shown.curve_ms[-1] == books.curve[-1][0]
    assert shown.agrees and shown.fees <= 0


async def test_todays_gain_counts_from_midnight_of_the_market(desk: Desk) -> None:
    await desk.bars(50)
    shown = desk.view().equity
    midnight = desk.venue.market_ms() // 86_400_000 * 86_400_000
    before = [value for ts, value in zip(shown.curve_ms, shown.curve, strict=True) if ts <= midnight][-1]
    assert shown.today == pytest.approx(shown.equity - before)


async def test_streams_show_price_and_change_of_a_day(desk: Desk) -> None:
    await desk.bars(5)
    rows, panel = desk.view().streams, desk.venue.panel
    now = HISTORY + 4
    assert [row.asset for row in rows] == ["BTC", "ETH"]
    for i, row in enumerate(rows):
        assert row.last == panel.close[now, i]
        assert row.change == pytest.approx(panel.close[now, i] / panel.open[now - 23, i] - 1)
        assert row.funding == pytest.approx(float(panel.funding[now, i]))


async def test_status_counts_bars_and_tells_what_is_wrong(desk: Desk) -> None:
    await desk.bars(4)
    status = desk.view().status
    assert (status.bars, status.state, status.warning) == (4, "active", "")
    assert status.market_ms == desk.venue.market_ms()
    desk.venue.stranger("BTC-USDT-SWAP", "2")
    await desk.engine.reconcile()
    assert "the exchange holds 2" in desk.view().status.warning


async def test_clusters_are_an_honest_placeholder(desk: Desk) -> None:
    shown = desk.view().clusters
    assert shown.asset == ["BTC", "ETH"] and "correlation clusters" in shown.method


def test_lag_is_a_high_percentile_and_nothing_when_unknown() -> None:
    lag = Lag()
    assert lag.p99 == 0.0
    for ms in [1.0] * 95 + [50.0] * 5:
        lag.add(ms)
    assert lag.p99 == 50.0
    assert np.isfinite(lag.p99)
