"""What happens between two steps of a walk: a price that is missing, a stop that fires, a request that hangs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal as D
from pathlib import Path

import msgspec
import numpy as np
import pytest_asyncio

from core.data.synthetic import synthetic_panel
from core.domain.account import Bill
from core.domain.decision import Exit, Target
from core.domain.orders import Intent, Origin, Protection
from core.execution.sizing import exit_intent, target_intent
from core.portfolio.events import Filled, Intended
from core.walk import STATEMENT_S
from tests.engine.desk import ASSETS, Desk, ReplayVenue
from tests.execution.fakes import BTC, ETH

HANGING_S = 20.0


@pytest_asyncio.fixture
async def live(tmp_path: Path) -> AsyncIterator[Desk]:
    """On an exchange whose market waits for nobody."""
    venue = ReplayVenue(synthetic_panel(7, 900, ASSETS), lockstep=False)
    made = await Desk(tmp_path / "home", venue).open()
    yield made
    await made.close()


def against(desk: Desk) -> float:
    """The share to which BTC's price must go for its stop to fire."""
    return 0.7 if desk.books.net(BTC) > 0 else 1.3


class TestAPriceThatIsNotThere:
    async def test_a_leg_without_a_price_counts_for_nothing_and_stops_nobody(self, desk: Desk) -> None:
        """The bar may know no price of what is held: an asset that has left the universe, or is not listed yet."""
        await desk.until_held()
        bar = desk.engine.bar
        assert bar is not None
        whole = desk.engine.standing(bar, "zscore")
        blank = bar.ohlcv.copy()
        blank[ASSETS.index("BTC")] = np.nan
        part = desk.engine.standing(msgspec.structs.replace(bar, ohlcv=blank), "zscore")
        eth = abs(desk.books.net(ETH)) * desk.venue.instruments[ETH].contract * D(repr(float(bar.ohlcv[1, 3])))
        assert part.own == part.gross == eth < whole.own == whole.gross


class TestACrossing:
    """One strategy leaves BTC in the bar in which another enters it: they give it to each other at the mark."""

    async def wishes(self, desk: Desk) -> tuple[Intent, Intent]:
        await desk.until_held()
        engine, now, (book,) = desk.engine, desk.venue.market_ms(), desk.books.open_books()
        leaving = exit_intent(engine.names.take(), now, book, Exit(book.pair, "over"))
        spec, price = desk.venue.instruments[BTC], await desk.venue.mark(BTC)
        aim = Target("BTC", float(spec.notional(desk.books.net(BTC), price)) * 1.0001, "mine")
        entering = target_intent(engine.names.take(), now, "other", aim, None, spec, price)
        assert entering is not None and entering.legs[0].size == -leaving.legs[0].size
        for intent in (leaving, entering):
            await engine.journal.record(Intended(now, intent))
        return leaving, entering

    def inside(self, desk: Desk) -> list[Filled]:
        return [event for event in desk.told(Filled) if not event.fill.size]

    async def test_it_is_made_inside(self, desk: Desk) -> None:
        leaving, entering = await self.wishes(desk)
        held, placed = desk.books.net(BTC), len(desk.venue.placed)
        await desk.engine._cross([leaving, entering])
        (crossing,) = self.inside(desk)
        assert [(part.intent, part.size) for part in crossing.parts if part.size * held > 0] == [
            (entering.id, held)
        ]
        for intent in (leaving, entering):
            desk.engine.executor.start(intent)
        await desk.settled()
        assert [order.instrument for order in desk.venue.placed[placed:]] == [ETH], "BTC went from book to book"
        assert desk.net() == [held, 0]

    async def test_what_a_stop_took_while_the_mark_was_asked_for_is_not_given_away(self, desk: Desk) -> None:
        leaving, entering = await self.wishes(desk)
        held, asked = desk.books.net(BTC), desk.venue.mark

        async def mark(instrument: str) -> D:
            price = await asked(instrument)
            desk.venue.mark = asked  # type: ignore[method-assign]
            desk.venue.crash_price("BTC", against(desk))
            await desk.until(lambda: bool(desk.engine.orders.foreign))
            await desk.engine.reconcile()
            return price

        desk.venue.mark = mark  # type: ignore[method-assign]
        await desk.engine._cross([leaving, entering])
        assert self.inside(desk) == []
        for intent in (leaving, entering):
            desk.engine.executor.start(intent)
        await desk.settled()
        assert desk.net() == [held, 0], "the pair is flat, the other has bought its own"
        desk.books.check()


class TestAStatementThatHangs:
    async def test_orders_leave_after_a_second_at_most(self, live: Desk) -> None:
        bills, loop = live.venue.bills, asyncio.get_running_loop()
        waited: list[float] = []
        began = loop.time()

        async def hanging(after: str) -> list[Bill]:
            await asyncio.sleep(HANGING_S)
            return await bills(after)

        live.venue.bills = hanging  # type: ignore[method-assign]
        live.venue.before_place = lambda order: waited.append(loop.time() - began)
        for _ in range(200):
            began = loop.time()
            await live.bars()
            await live.settled()
            if waited:
                break
        assert waited and waited[0] <= STATEMENT_S + 0.01
        assert loop.time() - began >= HANGING_S, "the statement is waited for all the same, behind the orders"
        live.net()

    async def test_a_statement_that_comes_is_taken_in_first(self, live: Desk) -> None:
        """Funding falls to what was held until the bar ended: its bill is in the ledger before anything leaves."""
        bills = live.venue.bills
        seen: list[str] = []

        async def told(after: str) -> list[Bill]:
            seen.append("statement")
            return await bills(after)

        live.venue.bills = told  # type: ignore[method-assign]
        live.venue.before_place = lambda order: seen.append("order")
        await live.until_held()
        assert seen[seen.index("order") - 1] == "statement"


class TestAPairThatLosesALegWithinTheStep:
    async def test_under_lockstep_the_other_leg_is_closed_before_the_market_goes_on(self, desk: Desk) -> None:
        """The stops of a new pair are placed, and one of them fires before the step has ended."""
        protect, acknowledge = desk.venue.protect, desk.venue.acknowledge
        placed: list[str] = []
        flat: list[bool] = []

        async def fires(protection: Protection) -> Protection:
            made = await protect(protection)
            placed.append(protection.instrument)
            if len(placed) == 2:
                desk.venue.crash_price("BTC", against(desk))
            return made

        async def acknowledged(bar_open_ms: int) -> None:
            if len(placed) >= 2:
                flat.append(desk.net() == [0, 0] and not desk.books.open_books())
            await acknowledge(bar_open_ms)

        desk.venue.protect, desk.venue.acknowledge = fires, acknowledged  # type: ignore[method-assign]
        await self.until(desk, lambda: bool(flat))
        assert flat[0], "the step that opened the pair ended with one leg"
        (closing,) = (e for e in desk.told(Intended) if e.intent.origin is Origin.RECOVERY)
        assert closing.barred and closing.intent.reason == "the exchange closed its other leg"
        assert desk.engine.halved() == [] and desk.venue.matching.triggers() == []

    async def until(self, desk: Desk, holds: Callable[[], bool]) -> None:
        for _ in range(200):
            if holds():
                return
            await desk.bars()
        raise AssertionError("the market gave no occasion in 200 bars")
