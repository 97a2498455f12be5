"""From candles of many instruments to closed bars of one universe, in order."""

import asyncio
from typing import NamedTuple

import numpy as np
import pytest

from core.domain.market import Bar, Candle, Funding
from core.engine.feed import Feed

HOUR = 3_600_000
A, B, C = "A-USDT-SWAP", "B-USDT-SWAP", "C-USDT-SWAP"


def candle(name: str, hour: int, close: float = 10.0, volume: float = 5.0) -> Candle:
    return Candle(name, hour * HOUR, close - 1, close + 1, close - 2, close, volume)


class Taken(NamedTuple):
    """The bars that came of the candles, the second in which each came, and the feed they came from."""

    bars: list[Bar]
    times: list[float]
    feed: Feed


async def run(*arrivals: tuple[float, Candle]) -> Taken:
    """Let candles arrive at given seconds (of virtual time); the first bar is that of hour 0."""
    loop = asyncio.get_running_loop()
    began, taken = loop.time(), Taken([], [], Feed([A, B, C], HOUR, timeout_s=20.0))
    taken.feed.begin(0)

    async def take() -> None:
        while True:
            taken.bars.append(await taken.feed.next_bar())
            taken.times.append(round(loop.time() - began, 6))

    taker = asyncio.create_task(take())
    for at, arrival in arrivals:
        loop.call_at(began + at, taken.feed.candle, arrival)
    await asyncio.sleep(100.0)
    taker.cancel()
    return taken


async def test_a_bar_closes_with_the_last_of_its_candles() -> None:
    taken = await run((1.0, candle(A, 0)), (2.0, candle(C, 0, 30.0)), (5.0, candle(B, 0, 20.0)))
    assert len(taken.bars) == 1 and taken.times == [5.0]
    assert (taken.bars[0].open_ms, taken.bars[0].close_ms) == (0, HOUR)
    assert taken.bars[0].ohlcv[:, 3].tolist() == [10.0, 20.0, 30.0], "in the order of the universe, not of arrival"
    assert taken.bars[0].ohlcv[1].tolist() == [19.0, 21.0, 18.0, 20.0, 5.0]
    assert taken.bars[0].valid.all()


async def test_a_silent_asset_is_waited_for_and_then_left_out() -> None:
    first = [(1.0, candle(n, 0)) for n in (A, B, C)]
    taken = await run(*first, (50.0, candle(A, 1, 11.0)), (51.0, candle(B, 1, 12.0)))
    assert taken.times == [1.0, 70.0], "20 s after the bar's first candle"
    assert taken.bars[1].valid.tolist() == [True, True, False]
    assert taken.bars[1].ohlcv[2].tolist() == [10.0, 10.0, 10.0, 10.0, 0.0], "the last valid close, no volume"
    assert taken.feed.missing == [(HOUR, C)]


async def test_a_late_candle_never_alters_a_bar() -> None:
    first = [(1.0, candle(A, 0)), (1.0, candle(B, 0)), (30.0, candle(C, 0, 99.0))]
    later = [(40.0 + 30.0 * (hour - 1), candle(n, hour)) for hour in (1, 2) for n in (A, B, C)]
    taken = await run(*first, *later)
    assert taken.feed.late == 1 and taken.times == [21.0, 40.0, 70.0]
    assert [bar.open_ms // HOUR for bar in taken.bars] == [0, 1, 2]
    assert np.isnan(taken.bars[0].ohlcv[2, 3]) and taken.bars[1].ohlcv[2, 3] == 10.0


async def test_a_gap_becomes_bars_in_which_nothing_is_valid() -> None:
    taken = await run(*((1.0, candle(n, 0)) for n in (A, B, C)), *((2.0, candle(n, 3)) for n in (A, B, C)))
    assert [bar.open_ms // HOUR for bar in taken.bars] == [0, 1, 2, 3]
    assert [bool(bar.valid.any()) for bar in taken.bars] == [True, False, False, True]
    assert (taken.bars[1].ohlcv[:, :4] == 10.0).all() and (taken.bars[1].ohlcv[:, 4] == 0.0).all()
    assert len(taken.feed.missing) == 6


async def test_bars_come_in_order_though_a_later_one_is_whole_first() -> None:
    arrivals = [(1.0, candle(A, 0)), (1.0, candle(B, 0)), *((2.0, candle(n, 1)) for n in (A, B, C))]
    taken = await run(*arrivals, (3.0, candle(C, 0)))
    assert [bar.open_ms // HOUR for bar in taken.bars] == [0, 1]
    assert taken.bars[0].valid.tolist() == [True, True, False] and taken.feed.late == 1


async def test_a_candle_without_volume_keeps_the_last_price_and_is_flagged() -> None:
    arrivals = [*((1.0, candle(n, 0)) for n in (A, B, C)), *((2.0, candle(n, 1, 11.0)) for n in (A, B))]
    taken = await run(*arrivals, (2.0, candle(C, 1, 77.0, volume=0.0)))
    assert taken.bars[1].valid.tolist() == [True, True, False]
    assert taken.bars[1].ohlcv[2].tolist() == [10.0, 10.0, 10.0, 10.0, 0.0]


async def test_a_candle_told_again_before_its_bar_is_closed_replaces_the_first() -> None:
    taken = await run((1.0, candle(A, 0)), (2.0, candle(A, 0, 12.0)), (3.0, candle(B, 0)), (3.0, candle(C, 0)))
    assert len(taken.bars) == 1 and taken.bars[0].ohlcv[0, 3] == 12.0


async def test_what_is_not_of_the_universe_is_not_ours() -> None:
    assert (await run((1.0, candle("Z-USDT-SWAP", 0)))).bars == []


async def test_history_is_a_grid_and_the_stream_goes_on_behind_it() -> None:
    feed = Feed([A, B], HOUR, 20.0)
    bars = feed.history([[candle(A, 1), candle(A, 2), candle(A, 4)], [candle(B, 2), candle(B, 3)]])
    assert [bar.open_ms // HOUR for bar in bars] == [1, 2, 3, 4]
    assert [bar.valid.tolist() for bar in bars] == [[True, False], [True, True], [False, True], [True, False]]
    assert np.isnan(bars[0].ohlcv[1, 3]), "before its first candle an asset has no price"
    feed.candle(candle(A, 4))
    assert feed.late == 1


def test_no_history_is_no_bars() -> None:
    assert Feed([A, B], HOUR, 20.0).history([[], []]) == []


class TestFunding:
    def rates(self, *known: Funding, at: int) -> list[float]:
        feed = Feed([A, B, C], HOUR, 20.0)
        for funding in known:
            feed.fund(funding)
        return feed.rates(at * HOUR).tolist()

    def test_unknown_is_zero(self) -> None:
        assert self.rates(at=8) == [0.0, 0.0, 0.0]

    def test_the_last_settled_before_the_close_counts(self) -> None:
        known = [Funding(A, hour * HOUR, rate, 8 * HOUR) for hour, rate in ((0, 0.1), (8, 0.2))]
        assert self.rates(*known, at=8)[0] == 0.1, "settled at the close itself: the next bar's"
        assert self.rates(*known, at=9)[0] == 0.2

    def test_periods_are_scaled_to_eight_hours(self) -> None:
        assert self.rates(Funding(B, 0, 0.01, 4 * HOUR), at=1)[1] == pytest.approx(0.02)

    def test_an_older_one_told_late_changes_nothing(self) -> None:
        known = [Funding(A, 8 * HOUR, 0.2, 8 * HOUR), Funding(A, 0, 0.1, 8 * HOUR)]
        assert self.rates(*known, at=9)[0] == 0.2
