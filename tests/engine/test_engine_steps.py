"""The walk of a bar, and what the engine does when the exchange does something by itself."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from core.data.synthetic import synthetic_panel
from core.domain.orders import Action, Origin
from core.execution.reconcile import Verdict
from core.portfolio.events import (
    Billed,
    Decided,
    Filled,
    Intended,
    Opened,
    Planned,
    Protected,
    Settled,
    Stepped,
)
from core.venues.port import Reconnected, StreamState, StreamStatus
from tests.engine.desk import ASSETS, HISTORY, Desk, ReplayVenue
from tests.execution.fakes import BTC, ETH


@pytest_asyncio.fixture
async def live(tmp_path: Path) -> AsyncIterator[Desk]:
    """On an exchange whose market waits for nobody."""
    venue = ReplayVenue(synthetic_panel(7, 900, ASSETS), lockstep=False)
    made = await Desk(tmp_path / "home", venue).open()
    yield made
    await made.close()


class TestStarting:
    async def test_a_new_ledger_begins_with_what_the_exchange_holds(self, desk: Desk) -> None:
        opened = desk.told(Opened)
        assert [(e.cash, e.currency, e.bill) for e in opened] == [(100_000, "USDT", "1")]
        assert desk.engine.verdict.agrees and desk.engine.trading.is_set()

    async def test_it_is_warm_and_knows_the_last_bar(self, desk: Desk) -> None:
        assert desk.engine.bar is not None
        assert desk.engine.bar.open_ms == desk.venue.panel.ts[HISTORY - 1]
        assert desk.engine.views["zscore"].usable.all()

    async def test_it_decides_nothing_on_the_past(self, desk: Desk) -> None:
        assert desk.told(Decided) == [] and desk.venue.placed == []

    async def test_a_market_in_lockstep_is_let_go(self, desk: Desk) -> None:
        assert desk.venue.acknowledged == [desk.venue.panel.ts[HISTORY - 1]]


class TestAStep:
    async def test_a_decision_a_bar_in_order(self, desk: Desk) -> None:
        await desk.bars(30)
        bars = [int(ts) for ts in desk.venue.panel.ts[HISTORY : HISTORY + 30]]
        assert [e.bar for e in desk.told(Decided)] == bars
        assert [e.bar for e in desk.told(Stepped)][1:] == bars
        assert desk.venue.acknowledged[1:] == bars

    async def test_decision_intent_order_fill_end(self, desk: Desk) -> None:
        """An entry in the ledger: each thing stands after what it comes from."""
        await desk.until_held()
        events = desk.ledger.events()
        start = max(i for i, e in enumerate(events) if isinstance(e, Decided))
        kinds = [type(e) for e in events[start:] if not isinstance(e, Billed | Protected)]
        firsts = list(dict.fromkeys(kinds))
        assert [k for k in firsts if k in (Decided, Intended, Planned, Filled, Settled, Stepped)] == [
            Decided, Intended, Planned, Filled, Settled, Stepped,
        ]  # fmt: skip

    async def test_the_step_ends_when_its_orders_have(self, desk: Desk) -> None:
        seen: list[bool] = []
        acknowledge = desk.venue.acknowledge

        async def watched(bar: int) -> None:
            seen.append(desk.books.unsettled() == [] and desk.engine.executor.busy == 0)
            await acknowledge(bar)

        desk.venue.acknowledge = watched  # type: ignore[method-assign]
        await desk.until_held()
        assert seen and all(seen)

    async def test_every_entry_has_two_legs(self, desk: Desk) -> None:
        """Known defect 3: the published version traded the base leg alone, so it held the market."""
        await desk.bars(120)
        entries = [e.intent for e in desk.told(Intended) if e.intent.action is Action.OPEN]
        assert len(entries) >= 3
        for intent in entries:
            a, b = intent.legs
            assert (a.instrument, b.instrument) == (BTC, ETH)
            assert a.size * intent.side > 0 > b.size * intent.side
        parts = [part for e in desk.told(Filled) for part in e.parts]
        for intent in entries:
            filled = {p.leg: p.size for p in parts if p.intent == intent.id}
            assert set(filled) == {0, 1}

    async def test_an_exit_by_sign_change_is_alive(self, desk: Desk) -> None:
        """Known defect 2: "exit when |z| < 0" could never be true."""
        await desk.bars(120)
        reasons = [e.intent.reason for e in desk.told(Intended) if e.intent.action is Action.CLOSE]
        assert any(reason.startswith("z crossed to") for reason in reasons)

    async def test_equity_is_the_exchanges(self, desk: Desk) -> None:
        await desk.until_held()
        await desk.bars(3)
        balance = await desk.venue.balance()
        assert desk.books.cash == balance.cash and desk.books.curve[-1][1] == balance.equity

    async def test_bars_before_the_present_are_decided_once(self, desk: Desk) -> None:
        await desk.bars(10)
        decided = desk.told(Decided)
        await desk.restart()
        assert desk.told(Decided) == decided
        await desk.bars(5)
        assert len({e.bar for e in desk.told(Decided)}) == len(desk.told(Decided)) == 15

    async def test_a_restart_decides_as_if_there_had_been_none(self, desk: Desk, tmp_path: Path) -> None:
        other = await Desk(tmp_path / "other").open()
        try:
            for _ in range(12):
                await desk.bars(5)
                await desk.restart()
                await other.bars(5)
            said = [[(e.bar, e.entries, e.exits, e.text) for e in d.told(Decided)] for d in (desk, other)]
            assert said[0] == said[1] and any(row[1] for row in said[0])
        finally:
            await other.close()


class TestDisagreement:
    async def test_new_exposure_is_refused_and_says_why(self, desk: Desk) -> None:
        desk.venue.stranger(BTC, "2")
        verdict = await desk.engine.reconcile()
        assert not verdict.agrees
        await desk.bars(40)
        assert desk.books.open_books() == [] and desk.venue.placed == []
        assert any("BTC/ETH refused: BTC-USDT-SWAP: the exchange holds" in e.text for e in desk.told(Decided))

    async def test_what_is_held_is_closed_all_the_same(self, desk: Desk) -> None:
        await desk.until_held()
        more = desk.venue.instruments[BTC].lot.copy_sign(desk.books.net(BTC))
        desk.venue.stranger(BTC, str(more))
        assert not (await desk.engine.reconcile()).agrees
        await desk.until_held(False)
        assert [desk.books.net(name) for name in (BTC, ETH)] == [0, 0]
        assert [desk.venue.net(name) for name in (BTC, ETH)] == [more, 0], "what is a stranger's stays his"

    async def test_what_only_was_on_its_way_is_asked_again_at_the_next_bar(self, desk: Desk) -> None:
        desk.engine.verdict = Verdict(("cash: a fill had not arrived yet",), ())
        await desk.bars()
        assert desk.engine.verdict.agrees
        await desk.until_held()

    async def test_it_is_told_once(self, desk: Desk) -> None:
        desk.venue.stranger(BTC, "2")
        for _ in range(3):
            await desk.engine.reconcile()
        said = [line for line in desk.lines if line.kind == "health" and line.level == "bad"]
        assert len(said) == len(desk.engine.verdict.differences)
        assert said[0].text.startswith(desk.engine.warning)


class TestAStopFires:
    async def fire(self, desk: Desk) -> None:
        await desk.until_held()
        falls = desk.books.net(BTC) > 0
        desk.venue.crash_price("BTC", 0.7 if falls else 1.3)

    async def test_the_other_leg_is_closed_before_anything_is_decided(self, desk: Desk) -> None:
        await self.fire(desk)
        decided = len(desk.told(Decided))
        await desk.bars()
        closing = [e for e in desk.told(Intended) if e.intent.origin is Origin.RECOVERY]
        assert [e.intent.reason for e in closing] == ["the exchange closed its other leg"]
        assert closing[0].barred
        events = desk.ledger.events()
        decision = next(e for e in events if isinstance(e, Decided) and e.bar == desk.told(Decided)[decided].bar)
        assert events.index(closing[0]) < events.index(decision)
        assert desk.net() == [0, 0]

    async def test_the_watch_does_it_between_bars(self, live: Desk) -> None:
        await live.until_held()
        await live.settled()
        watch = asyncio.create_task(live.engine.watch())
        falls = live.books.net(BTC) > 0
        live.venue.crash_price("BTC", 0.7 if falls else 1.3)
        await live.until(lambda: not live.books.open_books() and not live.engine.executor.busy)
        watch.cancel()
        assert live.net() == [0, 0]
        assert live.venue.matching.triggers() == []

    async def test_the_pair_is_barred_until_z_has_crossed(self, desk: Desk) -> None:
        await self.fire(desk)
        await desk.bars()
        closed = desk.books.holdings("zscore", desk.books.cash).closed["BTC/ETH"]
        assert closed.barred


class TestStreams:
    async def test_no_entries_while_a_stream_is_stale(self, live: Desk) -> None:
        live.venue.events.put_nowait(StreamStatus(f"candle:{BTC}", StreamState.STALE))
        await live.bars(40)
        assert live.venue.placed == []
        assert any("streams are not live" in e.text for e in live.told(Decided))
        live.venue.events.put_nowait(StreamStatus(f"candle:{BTC}", StreamState.LIVE))
        await live.until_held()

    async def test_lost_and_found_are_told(self, live: Desk) -> None:
        for state in (StreamState.DOWN, StreamState.DOWN, StreamState.LIVE):
            live.venue.events.put_nowait(StreamStatus(f"candle:{BTC}", state))
        await live.bars()
        said = [(line.level, line.text) for line in live.lines if line.kind == "health"]
        assert [level for level, _ in said] == ["bad", "good"]
        assert BTC in said[0][1]


class TestWithoutLockstep:
    async def test_an_entry_that_a_crash_caught_before_it_traded_is_not_made_late(self, live: Desk) -> None:
        venue = live.venue
        venue.before_place = lambda order: (_ for _ in ()).throw(asyncio.CancelledError())
        for _ in range(200):
            await live.bars()
            if live.books.unsettled():
                break
        await asyncio.sleep(0)
        venue.before_place = lambda order: None
        await live.restart()
        await live.settled()
        assert live.net() == [0, 0] and live.books.unsettled() == []
        assert live.told(Settled)[-1].outcome == "aborted"

    async def test_it_reconciles_on_a_reconnect(self, live: Desk) -> None:
        watch = asyncio.create_task(live.engine.watch())
        live.venue.stranger(BTC, "2", told=False)
        live.venue.events.put_nowait(Reconnected("private"))
        await live.until(lambda: not live.engine.verdict.agrees)
        watch.cancel()


class TestAFaultOfOurOwn:
    async def test_it_is_not_kept_quiet(self, live: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        async def full(*_: object) -> None:
            raise OSError("no space left on device")

        monkeypatch.setattr(live.engine.orders, "send", full)
        failed = asyncio.create_task(live.engine.executor.failed())
        while not failed.done():
            await live.bars()
        with pytest.raises(OSError, match="no space left"):
            await failed
        live.engine.executor.failure = None  # Told: closing the desk need not tell it again.
