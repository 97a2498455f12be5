"""The capital ramp: how much of the sizes real money gets, from the ledger alone."""

from collections.abc import AsyncIterator
from decimal import Decimal as D
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config.live import Live
from core.data.synthetic import synthetic_panel
from core.domain.orders import Action
from core.engine.ramp import DAY_MS, Ramp
from core.execution.quality import Execution
from core.portfolio.events import Intended, Planned, Ramped
from core.strategies.params import ClusterParams, DivergenceParams
from tests.engine.desk import ASSETS, HOUR, Desk, ReplayVenue
from tests.execution.fakes import BTC

LIVE = Live(drift_orders=5)
WEEK = 7 * DAY_MS


def leg(ts: int, excess_bps: float) -> Execution:
    return Execution(ts, "zscore", "BTC/ETH", BTC, 1, 1000.0, 0.0, excess_bps / 10, 0.0, 0.0)


def test_it_rises_by_a_rung_every_ramp_days_and_stays_at_the_top() -> None:
    ramp, seen = Ramp(LIVE, 1000), []
    for day in range(35):
        ramp.move(1000 + day * DAY_MS)
        seen.append(float(ramp.share))
    assert seen == [0.1] * 7 + [0.25] * 7 + [0.5] * 7 + [1.0] * 14


def test_drift_takes_it_back_by_one_and_the_days_begin_anew() -> None:
    ramp = Ramp(LIVE, 0)
    ramp.move(2 * WEEK)
    assert ramp.share == D("0.5")
    for n in range(5):
        ramp.take(leg(2 * WEEK + DAY_MS, 9.0 + n % 2))
    assert ramp.share == D("0.25") and "more than a backtest supposes" in ramp.reason
    ramp.take(leg(2 * WEEK + DAY_MS, 9.0))
    assert ramp.share == D("0.25"), "the next judgement rests on new legs"
    ramp.move(3 * WEEK)
    assert ramp.share == D("0.25")
    ramp.move(3 * WEEK + DAY_MS)
    assert ramp.share == D("0.5") and "without drift" in ramp.reason


def test_it_never_falls_off() -> None:
    ramp = Ramp(LIVE, 0, [leg(n, 50.0) for n in range(40)])
    assert ramp.share == D("0.1")


def test_dear_by_chance_and_cheap_are_no_drift() -> None:
    wild = (60.0, -40.0, 70.0, -50.0, 20.0)
    ramp = Ramp(LIVE, 0, [leg(n, excess) for n, excess in enumerate((*wild, *wild, -9.0, -9.0, -9.0, -9.0, -9.0))])
    ramp.move(WEEK)
    assert ramp.share == D("0.25")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.floats(-20, 20)), max_size=40), st.integers(0, 60))
def test_a_restart_finds_it_where_it_stood(told: list[tuple[int, float]], day: int) -> None:
    legs = [leg(ts * DAY_MS, excess) for ts, excess in sorted(told)]
    one = Ramp(LIVE, 0)
    for each in legs:
        one.move(each.ts)
        one.take(each)
    again = Ramp(LIVE, 0, legs)
    for ramp in (one, again):
        ramp.move(legs[-1].ts + day * DAY_MS if legs else day * DAY_MS)
    assert (one.share, one._since) == (again.share, again._since)


def test_all_sizes_of_a_strategy_follow_it() -> None:
    pairs = DivergenceParams(base_size_usdt=1000.0, budget_usdt=5000.0).scaled(0.1)
    assert (pairs.base_size_usdt, pairs.budget_usdt, pairs.z_entry) == (100.0, 500.0, 1.0)
    assert ClusterParams(capital_usdt=20_000.0).scaled(0.25).capital_usdt == 5000.0
    assert DivergenceParams().scaled(0.5).budget_usdt == float("inf")
    whole = DivergenceParams()
    assert whole.scaled(1.0) is whole


class RealMoney(ReplayVenue):
    """The fake exchange as if its money were real."""

    def __init__(self) -> None:
        super().__init__(synthetic_panel(7, 900, ASSETS))
        self.capabilities = msgspec.structs.replace(self.capabilities, real_money=True)


@pytest_asyncio.fixture
async def real(tmp_path: Path) -> AsyncIterator[Desk]:
    made = await Desk(tmp_path / "real", RealMoney(), live__ramp_days=1).open()
    yield made
    await made.close()


def entry_value(desk: Desk) -> float:
    """USDT of the first leg of the last entry."""
    intent = [e.intent for e in desk.told(Intended) if e.intent.action is Action.OPEN][-1]
    size, basis = intent.legs[0], intent.basis[0]
    return float(abs(desk.venue.instruments[size.instrument].notional(size.size, basis.price)))


async def test_real_money_begins_with_a_tenth_and_says_so(tmp_path: Path) -> None:
    sizes: dict[str, object] = {"strategy__divergence__base_size_usdt": 20_000.0, "risk__max_order_usdt": 50_000}
    sizes |= {"risk__max_gross_usdt": 100_000, "live__ramp_days": 30}
    real = await Desk(tmp_path / "real", RealMoney(), **sizes).open()
    paper = await Desk(tmp_path / "paper", **sizes).open()
    for one in (real, paper):
        await one.until_held()
    a_lot = 350.0
    assert entry_value(paper) > 20_000
    assert entry_value(real) == pytest.approx(entry_value(paper) / 10, abs=a_lot)
    first = real.told(Ramped)[0]
    assert first.share == D("0.1") and "real money since" in first.reason
    assert any("10% of all sizes" in line.text for line in real.lines)
    assert paper.told(Ramped) == [] and paper.engine.share() == 1
    for one in (real, paper):
        await one.close()


async def test_its_limits_are_smaller_too(real: Desk) -> None:
    await real.bars(1)
    reply = await real.ask("open", "BTC/ETH", 1, 4000.0)
    assert not reply.ok and "gross would be" in reply.message and "5000" in reply.message, reply.message


async def test_days_without_drift_lift_it_and_a_restart_goes_on(real: Desk) -> None:
    await real.bars(30)
    assert [event.share for event in real.told(Ramped)] == [D("0.1"), D("0.25")]
    await real.restart()
    await real.bars(1)
    assert real.engine.share() == D("0.25") and real.told(Ramped)[-1].share == D("0.25")


async def test_what_is_measured_can_be_asked_for(desk: Desk) -> None:
    await desk.until_held()
    await desk.until_held(False)
    told = (await desk.ask("quality")).quality
    assert told is not None
    assert told.total.legs == 4 == sum(row.legs for row in told.rows)
    assert told.total.fills >= 4 and told.total.fee > 0 and told.total.value > 0
    assert told.share == 1.0 and not told.drifted and told.from_ms + HOUR <= told.to_ms


async def test_an_order_remembers_the_middle_of_the_book_as_it_was_written(desk: Desk) -> None:
    from core.domain.market import Ticker

    for name in desk.venue.instruments:
        desk.venue.events.put_nowait(Ticker(name, 1, D(99), D(101), D(100)))
    await desk.until_held()
    assert {event.order.mid for event in desk.told(Planned)} == {D(100)}
