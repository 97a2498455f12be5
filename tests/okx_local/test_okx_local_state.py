"""The exchange without its doors: restarts, pages, assets without a price. Properties over many histories."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.panel import Panel
from core.domain.errors import UserError
from core.domain.orders import OrderType
from core.matching.replay import Market
from core.matching.rules import Rules
from core.matching.types import Cancel, Place, PlaceTrigger
from core.venues.okx_local.auth import Keys
from core.venues.okx_local.exchange import Exchange
from core.venues.okx_local.store import Row, Store

START, TICKS = 200, 6
SHALLOW = Rules(depth_share=2e-6)
"""Books so thin that most orders fill in parts."""
KINDS = ("order", "fill", "bill", "trigger")


def opened(panel: Panel, folder: Path, bar: int = START, tick: int = 0) -> Exchange:
    market = Market(panel, start=START, bars=0, ticks=TICKS, seed=7)
    market.seek(bar, tick)
    store = Store(folder / "account.sqlite")
    return Exchange(market, store, Keys(), Decimal(20_000), SHALLOW, lambda: None)


def obey(exchange: Exchange, wish: tuple[str, int, int]) -> None:
    """One command or tick, derived from a wish: what, of which instrument, how much."""
    what, which, size = wish
    if what == "tick":
        for _ in range(size):
            exchange.advance(loud=False)
    else:
        spec = exchange.market.instruments[which]
        mark = exchange.matching.mark(spec.id)
        assert mark is not None
        signed = spec.min_size * (10 * size if what in ("buy", "bid") else -10 * size)
        away = spec.round_price(mark * (Decimal("0.997") if signed > 0 else Decimal("1.003")))
        beyond = spec.round_price(mark * (Decimal("1.005") if signed > 0 else Decimal("0.995")))
        if what in ("buy", "sell"):
            exchange.obey([Place("", spec.id, signed, OrderType.MARKET)])
        elif what in ("bid", "ask"):
            exchange.obey([Place("", spec.id, signed, OrderType.LIMIT, away)])
        elif what == "stop":
            exchange.obey([PlaceTrigger("", spec.id, signed, beyond)])
        else:
            exchange.obey([Cancel(r.report.instrument, r.venue_id) for r in exchange.matching.orders()])
    exchange.commit()


wishes = st.tuples(
    st.sampled_from(("tick", "tick", "buy", "sell", "bid", "ask", "stop", "cancel")),
    st.integers(0, 3),
    st.integers(1, 9),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(wishes, max_size=25), st.sets(st.integers(0, 24)))
def test_an_exchange_killed_at_any_point_is_one_that_never_was(
    panel: Panel, history: list[tuple[str, int, int]], kills: set[int]
) -> None:
    with TemporaryDirectory() as one, TemporaryDirectory() as two:
        steady, killed = opened(panel, Path(one)), opened(panel, Path(two))
        for moment, wish in enumerate(history):
            obey(steady, wish)
            if moment in kills:
                position = killed.market.bar, killed.market.tick
                killed.store.close()
                killed = opened(panel, Path(two), *position)
            obey(killed, wish)
        assert killed.matching.state() == steady.matching.state()
        for kind in KINDS:
            assert killed.store.find(kind, limit=10_000) == steady.store.find(kind, limit=10_000)
        steady.store.close()
        killed.store.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(wishes, max_size=25))
def test_bills_fills_and_orders_tell_one_story(panel: Panel, history: list[tuple[str, int, int]]) -> None:
    with TemporaryDirectory() as folder:
        exchange = opened(panel, Path(folder))
        for wish in history:
            obey(exchange, wish)
        orders, fills, bills, _ = (exchange.store.find(kind, limit=10_000) for kind in KINDS)
        cash = Decimal(0)
        for bill in reversed(bills):
            cash += _number(bill, "balChg")
            assert _number(bill, "bal") == cash, "each bill leads from one balance to the next"
        assert cash == exchange.matching.balance().cash
        for order in orders:
            own = [fill for fill in fills if fill["ordId"] == order["ordId"]]
            assert sum((_number(fill, "fillSz") for fill in own), Decimal(0)) == _number(order, "accFillSz")
            assert sum((_number(fill, "fee") for fill in own), Decimal(0)) == _number(order, "fee")
        assert sum(order["state"] in ("live", "partially_filled") for order in orders) == len(
            exchange.matching.orders()
        )
        exchange.store.close()


def _number(row: dict[str, Any], name: str) -> Decimal:
    return Decimal(row[name])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(1, 12))
def test_pages_join_to_the_whole(count: int, size: int) -> None:
    with TemporaryDirectory() as folder:
        store = Store(Path(folder) / "x.sqlite")
        store.commit((Row("bill", str(i), "", "", i, "2", {"id": str(i)}) for i in range(count)), {})
        seen: list[dict[str, object]] = []
        while page := store.find("bill", limit=size, older_than=str(seen[-1]["id"]) if seen else ""):
            seen += page
        assert [row["id"] for row in seen] == [str(i) for i in reversed(range(count))]
        newer = store.find("bill", newer_than=str(count // 2), limit=1_000)
        assert [row["id"] for row in newer] == [str(i) for i in range(count - 1, count // 2, -1)]
        store.close()


def test_a_row_written_again_keeps_its_place(tmp_path: Path) -> None:
    store = Store(tmp_path / "x.sqlite")
    first, second = (Row("order", str(i), "", "", i, "live", {"ordId": str(i)}) for i in (1, 2))
    store.commit([first, second], {})
    store.commit([Row("order", "1", "", "", 9, "filled", {"ordId": "1", "state": "filled"})], {})
    assert [row["ordId"] for row in store.find("order")] == ["2", "1"]
    assert [row["ordId"] for row in store.find("order", tags=("filled",))] == ["1"]
    store.close()


def test_an_asset_is_listed_once_it_has_a_price(panel: Panel, tmp_path: Path) -> None:
    late = {name: getattr(panel, name).copy() for name in ("open", "high", "low", "close", "volume")}
    for name, grid in late.items():
        grid[: START + 1, 3] = 0.0 if name == "volume" else np.nan
    exchange = opened(replace(panel, **late), tmp_path)
    assert "XRP-USDT-SWAP" not in [spec.id for spec in exchange.feed.specs()]
    while not exchange.advance(loud=True):
        pass
    assert "XRP-USDT-SWAP" in [spec.id for spec in exchange.feed.specs()]
    assert exchange.feed.candle(exchange.market.instruments[3], START) is None


def test_market_data_that_cannot_be_replayed_is_refused_by_name(panel: Panel) -> None:
    void = replace(panel, close=np.where(np.arange(10) == 3, np.nan, panel.close))
    with pytest.raises(UserError, match="XRP"):
        Market(void, start=START, bars=0, ticks=TICKS, seed=7)
    for start in (0, len(panel)):
        with pytest.raises(UserError, match="start"):
            Market(panel, start=start, bars=0, ticks=TICKS, seed=7)


def test_the_same_seed_walks_the_same_path_and_another_does_not(panel: Panel) -> None:
    def path(seed: int) -> list[Any]:
        market = Market(panel, start=START, bars=0, ticks=TICKS, seed=seed)
        return [market.prices() for _ in range(30) if market.step() is not None]

    assert path(1) == path(1) != path(2)


def test_the_forming_candle_knows_what_has_happened_and_no_more(panel: Panel) -> None:
    market = Market(panel, start=START, bars=0, ticks=TICKS, seed=7)
    seen: list[float] = []
    while market.bar == START:
        price = float(market.prices()[0][1])
        seen.append(price)
        row = market.candle(0, START)
        assert row is not None
        assert row[1:5] == pytest.approx((seen[0], max(seen), min(seen), price), rel=1e-5)
        assert row[5] == pytest.approx(panel.volume[START, 0] * market.tick / TICKS)
        market.step()
    assert market.candle(0, START) == (panel.ts[START], *(g[START, 0] for g in _grids(panel)))


def _grids(panel: Panel) -> tuple[Any, ...]:
    return panel.open, panel.high, panel.low, panel.close, panel.volume


def test_an_order_half_filled_before_a_restart_is_told_whole_after_it(panel: Panel, tmp_path: Path) -> None:
    exchange = opened(panel, tmp_path)
    spec = exchange.market.instruments[0]
    mark = exchange.matching.mark(spec.id)
    assert mark is not None
    exchange.obey([Place("half", spec.id, Decimal(3), OrderType.LIMIT, spec.round_price(mark * Decimal("1.001")))])
    (half,) = exchange.matching.orders()
    assert 0 < half.report.filled < 3
    exchange.commit()
    exchange.store.close()
    exchange = opened(panel, tmp_path)
    while exchange.matching.orders():
        exchange.advance(loud=False)
    exchange.commit()
    (order,) = exchange.store.find("order", client_id="half")
    fills = exchange.store.find("fill", instrument=spec.id)
    assert (order["state"], order["accFillSz"]) == ("filled", "3")
    assert sum((_number(fill, "fee") for fill in fills), Decimal(0)) == _number(order, "fee")
