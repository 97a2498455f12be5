"""What comes when nobody expects it any more: late fills, dust, and what stands alone for too long."""

import asyncio
from decimal import Decimal as D
from pathlib import Path

import msgspec
import pytest

from core.domain.account import Book, BookLeg
from core.domain.orders import Action, Fill, Leg
from core.execution.exposure import Policy
from core.execution.legs import halved
from core.portfolio.events import Alarmed, AnyEvent, Settled
from core.portfolio.pairbook import RESIDUE
from tests.execution.fakes import BTC, ETH, SPECS, Fault
from tests.execution.rig import Rig

ZERO = D(0)


class TestLateFills:
    """A ghost: an order that was proven absent, and is carried out 20 seconds after it was sent."""

    async def _wait(self, rig: Rig, seconds: float = 60.0) -> None:
        await asyncio.sleep(seconds)
        assert await rig.executor.idle(60.0)
        await rig.drain()

    async def test_a_fill_after_the_end_is_taken_back_at_once(self, rig: Rig) -> None:
        rig.venue.faults += [Fault.GHOST]
        await rig.open_pair()
        assert rig.held() == (10, -10)
        await self._wait(rig)
        assert rig.held() == (10, -10) and len(rig.venue.matching.fills()) == 4
        assert [e.outcome for e in rig.told(Settled)] == ["done", "done"]
        assert rig.told(Settled)[-1].detail == "what came after the end was taken back"

    async def test_while_the_protections_of_its_end_are_set_too(self, rig: Rig) -> None:
        """A request that was delivered twice: the end is written, and its task not yet over."""
        intent = await rig.intend("10", "-10")

        def ended(event: AnyEvent) -> None:
            if isinstance(event, Settled) and len(rig.told(Settled)) == 1:
                rig.venue._haunt(rig.venue.placed[0])

        rig.journal.listen(ended)
        rig.executor.start(intent)
        await self._wait(rig)
        assert rig.held() == (10, -10) and rig.books.unsettled() == []
        assert [e.outcome for e in rig.told(Settled)] == ["done", "done"]
        assert "were filled after its end" in rig.told(Alarmed)[0].what

    async def test_it_is_an_alarm(self, rig: Rig) -> None:
        rig.venue.faults += [Fault.GHOST]
        await rig.open_pair()
        await self._wait(rig)
        (alarm,) = rig.told(Alarmed)
        assert alarm.what == "BTC/ETH: 10 contracts of BTC-USDT-SWAP were filled after its end; they are taken back"
        assert rig.executor.alarms == () and rig.executor.unhedged() == ()

    async def test_while_its_intent_is_at_work_the_excess_goes_back(self, rig: Rig) -> None:
        """The hedge is lost twice; the ghost of the first leg comes meanwhile."""
        rig.venue.faults += [Fault.GHOST, None, Fault.LOST_REQUEST, Fault.LOST_REQUEST]
        intent = await rig.intend("10", "-10")
        rig.executor.start(intent)
        await rig.until(lambda: rig.books.net(BTC) == 20)
        assert rig.books.intents[intent.id].outcome is None
        await self._wait(rig)
        assert rig.held() == (10, -10) and [e.outcome for e in rig.told(Settled)] == ["done"]

    async def test_after_an_entry_that_came_to_nothing_it_goes_back_too(self, rig: Rig) -> None:
        rig.venue.faults += [Fault.GHOST, "51008", "51008", "51008"]
        intent = await rig.intend("10", "-10")
        assert await rig.run(intent) == "aborted"
        await self._wait(rig)
        assert rig.held() == (0, 0) and rig.books.open_books() == []
        assert rig.books.intents[intent.id].outcome == "unwound" and rig.books.round_trips == 1

    async def test_after_the_pair_was_closed_it_goes_back_too(self, rig: Rig) -> None:
        rig.venue.faults += [Fault.GHOST]
        await rig.open_pair()
        assert await rig.run(await rig.intend("-10", "10", Action.CLOSE)) == "done"
        assert rig.held() == (0, 0)
        await self._wait(rig)
        assert rig.held() == (0, 0) and rig.books.open_books() == []

    async def test_of_an_exit_as_well(self, rig: Rig) -> None:
        await rig.open_pair()
        rig.venue.faults += [Fault.GHOST]
        assert await rig.run(await rig.intend("-10", "10", Action.CLOSE)) == "done"
        await self._wait(rig)
        assert rig.held() == (0, 0) and rig.books.open_books() == []

    async def test_taking_back_is_never_given_up(self, rig: Rig) -> None:
        rig.venue.faults += [Fault.GHOST]
        await rig.open_pair()
        rig.venue.faults += [*["50001"] * 6, Fault.LOST_REPLY]
        await self._wait(rig, 300.0)
        assert rig.held() == (10, -10)

    async def test_a_crash_between_does_not_lose_it(self, rig: Rig) -> None:
        rig.venue.faults += [Fault.GHOST]
        intent = await rig.open_pair()
        rig.venue.faults += [*["50001"] * 100]
        await rig.until(lambda: rig.venue.net(BTC) == 20)
        await rig.drain()
        assert rig.executor.busy == 1
        rig.venue.faults.clear()
        await rig.restart()
        assert [i.id for i in rig.books.unsettled()] == [intent.id]
        await rig.reconciler.run()
        rig.executor.resume(fresh=True)
        await self._wait(rig)
        assert rig.held() == (10, -10)

    async def test_what_others_have_closed_meanwhile_is_not_taken_back_again(self, rig: Rig) -> None:
        """The late contracts are in the book that an exit closes whole."""
        rig.venue.faults += [Fault.GHOST]
        await rig.open_pair()
        rig.venue.faults += ["50001"] * 3
        await rig.until(lambda: rig.books.net(BTC) == 20)
        assert await rig.run(await rig.intend("-20", "10", Action.CLOSE)) == "done"
        await self._wait(rig)
        assert rig.held() == (0, 0) and rig.books.open_books() == []

    async def test_a_fill_between_the_last_look_and_the_end_is_not_overlooked(self, rig: Rig) -> None:
        """It comes in the very moment the end is being written."""
        intent = await rig.intend("10", "-10")
        append, told = rig.ledger.append, False

        async def slow(batch: object) -> None:
            nonlocal told
            if any(isinstance(e, Settled) for e in batch) and not told:  # type: ignore[attr-defined]
                told = True
                late = Fill("late", "", "pxI0L0A0", BTC, D(3), D(1000), ZERO, "USDT", 5)
                asyncio.get_running_loop().create_task(rig.orders.fill(late))
                await asyncio.sleep(0.01)
            await append(batch)  # type: ignore[arg-type]

        rig.ledger.append = slow  # type: ignore[method-assign]
        rig.executor.start(intent)
        await self._wait(rig)
        assert (rig.books.net(BTC), rig.books.net(ETH)) == (10, -10), "the exchange never had the three"


class TestDust:
    """ETH with a least order of 4 contracts in lots of 1, of which 3 are left."""

    async def _opened(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
        """A pair, most of whose ETH the exchange has closed by itself."""
        rig = await Rig(path / "ledger.sqlite").open()
        await rig.open_pair()
        monkeypatch.setitem(SPECS, ETH, msgspec.structs.replace(SPECS[ETH], min_size=D(4)))
        rig.venue.stranger(ETH, "7")
        await rig.drain()
        assert (await rig.reconciler.run()).agrees and rig.held() == (10, -3)
        return rig

    async def test_it_is_closed_where_the_exchange_takes_an_odd_size_that_closes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The matching core of these tests has the fine least order still: it does take it."""
        rig = await self._opened(tmp_path, monkeypatch)
        assert await rig.run(await rig.intend("-10", "3", Action.CLOSE)) == "done"
        assert rig.held() == (0, 0) and rig.venue.placed[-1].reduce_only
        await rig.stop()

    async def test_else_it_is_named_and_leaves_the_strategys_book(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig = await self._opened(tmp_path, monkeypatch)
        placed = len(rig.venue.placed)
        rig.venue.faults += [None, "51020"]
        assert await rig.run(await rig.intend("-10", "3", Action.CLOSE)) == "done"
        assert len(rig.venue.placed) == placed + 2, "asked once"
        assert rig.told(Settled)[-1].detail == "3 contracts of ETH-USDT-SWAP stay, less than the least order"
        assert rig.held() == (0, -3)
        (book,) = rig.books.open_books()
        assert (book.strategy, book.pair) == (RESIDUE, "BTC/ETH")
        assert rig.books.holdings("zscore", ZERO).books == () and rig.books.round_trips == 1
        rig.books.check()
        assert (await rig.reconciler.run()).agrees
        await rig.stop()

    async def test_a_restart_finds_it_in_the_same_place(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig = await self._opened(tmp_path, monkeypatch)
        rig.venue.faults += [None, "51020"]
        await rig.run(await rig.intend("-10", "3", Action.CLOSE))
        await rig.restart()
        assert [(book.strategy, book.legs[-1].size) for book in rig.books.open_books()] == [(RESIDUE, -3)]
        await rig.stop()

    async def test_the_pair_may_be_opened_anew(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        rig = await self._opened(tmp_path, monkeypatch)
        rig.venue.faults += [None, "51020"]
        await rig.run(await rig.intend("-10", "3", Action.CLOSE))
        await rig.open_pair()
        sizes = {book.strategy: [leg.size for leg in book.legs] for book in rig.books.open_books()}
        assert sizes == {RESIDUE: [0, -3], "zscore": [10, -10]} and rig.held() == (10, -13)
        await rig.stop()


def book(btc: str, eth: str, strategy: str = "zscore") -> Book:
    legs = (BookLeg("BTC", BTC, D(btc), D(1000), D("0.01")), BookLeg("ETH", ETH, D(eth), D(100), D("0.1")))
    return Book(strategy, "BTC/ETH", 1, 0, legs, 0.0, 0.0, 0.0, 0.1, 0.1, D(20), ZERO, ZERO, ZERO, "pxI0")


@pytest.mark.parametrize(
    ("btc", "eth", "strategy", "trade"),
    [
        ("10", "-10", "zscore", None),
        ("10", "0", "zscore", ("-10", "0")),
        ("0", "-10", "zscore", ("0", "10")),
        ("10", "-4", "zscore", ("-6", "0")),
        ("3", "-10", "zscore", ("0", "7")),
        ("10.9", "-10", "zscore", None),
        ("0.05", "-10", "zscore", ("-0.05", "10")),
        ("0.05", "0", "zscore", None),
        ("0", "-3", RESIDUE, ("0", "3")),
        ("0.05", "0", RESIDUE, None),
    ],
)
def test_half_a_pair_is_what_one_leg_holds_beyond_the_other(
    btc: str, eth: str, strategy: str, trade: tuple[str, str] | None
) -> None:
    """A stop that has fired, and one that the book was too thin for; dust is no half, and no dust is no residue."""
    wished = (Leg(BTC, D(20)), Leg(ETH, D(-20)))
    expected = () if trade is None else (Leg(BTC, D(trade[0])), Leg(ETH, D(trade[1])))
    assert halved(book(btc, eth, strategy), wished, SPECS) == expected


class TestAlone:
    async def test_what_stands_unhedged_is_told_with_its_age(self, rig: Rig) -> None:
        rig.venue.faults += [None, Fault.LOST_REQUEST]
        rig.executor.start(await rig.intend("10", "-10"))
        await rig.until(lambda: rig.books.net(BTC) == 10)
        (alone,) = rig.executor.unhedged()
        assert (alone.pair, alone.instrument, alone.contracts) == ("BTC/ETH", BTC, 10)
        assert alone.notional == pytest.approx(D(100), rel=D("0.001")) and alone.since < 0.1
        assert await rig.executor.idle(60.0)
        assert rig.executor.unhedged() == () and rig.held() == (10, -10)

    async def test_too_long_is_an_alarm_once_and_hedging_goes_on(self, tmp_path: Path) -> None:
        rig = await Rig(tmp_path / "ledger.sqlite", policy=Policy(max_unhedged_s=3.0)).open()
        rig.venue.faults += [None, Fault.LOST_REQUEST]
        rig.executor.start(await rig.intend("10", "-10"))
        assert not await rig.executor.idle(2.9) and rig.told(Alarmed) == []
        assert not await rig.executor.idle(1.0)
        said = "BTC/ETH: long 10 contracts of BTC-USDT-SWAP, 100 USDT, unhedged for 3 s"
        assert [e.what for e in rig.told(Alarmed)] == [said] and rig.executor.alarms == (said,)
        assert await rig.executor.idle(60.0)
        assert rig.executor.alarms == () and rig.held() == (10, -10)
        await rig.stop()

    async def test_in_time_is_none(self, tmp_path: Path) -> None:
        rig = await Rig(tmp_path / "ledger.sqlite", policy=Policy(max_unhedged_s=3.0)).open()
        await rig.open_pair()
        await asyncio.sleep(10.0)
        assert rig.told(Alarmed) == []
        await rig.stop()

    async def test_too_much_is_an_alarm(self, tmp_path: Path) -> None:
        rig = await Rig(tmp_path / "ledger.sqlite", policy=Policy(max_unhedged=D(80))).open()
        await rig.open_pair()
        said = "BTC/ETH: long 10 contracts of BTC-USDT-SWAP, 100 USDT, unhedged, more than the bound of 80 USDT"
        assert [e.what for e in rig.told(Alarmed)] == [said]
        await rig.stop()

    async def test_it_counts_on_after_a_restart(self, tmp_path: Path) -> None:
        rig = await Rig(tmp_path / "ledger.sqlite", policy=Policy(max_unhedged_s=3.0)).open()
        intent = await rig.intend("10", "-10")
        await rig.orders.send(intent, 0, D(10), False)
        await rig.restart()
        await rig.reconciler.run()
        rig.venue.faults += [Fault.LOST_REQUEST]
        rig.executor.resume(fresh=False)
        assert [alone.contracts for alone in rig.executor.unhedged()] == [10]
        assert not await rig.executor.idle(4.0) and len(rig.told(Alarmed)) == 1
        await rig.executor.idle(60.0)
        await rig.stop()

    async def test_an_exit_whose_other_leg_hangs_is_alone_too(self, tmp_path: Path) -> None:
        rig = await Rig(tmp_path / "ledger.sqlite", policy=Policy(max_unhedged_s=3.0)).open()
        await rig.open_pair()
        rig.venue.faults += [None, Fault.LOST_REQUEST]
        rig.executor.start(await rig.intend("-10", "10", Action.CLOSE))
        assert not await rig.executor.idle(4.0)
        assert [e.what for e in rig.told(Alarmed)] == [
            "BTC/ETH: short 10 contracts of ETH-USDT-SWAP, 100 USDT, unhedged for 3 s"
        ]
        assert await rig.executor.idle(60.0) and rig.held() == (0, 0)
        await rig.stop()
