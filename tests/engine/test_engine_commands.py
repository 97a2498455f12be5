"""What a person may ask of the engine, on a real one: the same intents, orders and ledger as the strategy's."""

import asyncio
from typing import Any

import pytest

from core.domain.orders import Action, Origin
from core.domain.snapshot import Command, Reply
from core.engine.commands import Commands
from core.portfolio.events import Commanded, Decided, Intended, Switched
from core.trader import Outcome
from tests.engine.desk import Desk
from tests.execution.fakes import BTC, ETH

PAIR = "BTC/ETH"


class TestPreview:
    async def test_it_shows_both_legs_fees_and_margin(self, desk: Desk) -> None:
        ticket = (await desk.ask("preview", PAIR, -1)).ticket
        assert ticket is not None and ticket.refused == ""
        a, b = ticket.legs
        assert (a.asset, b.asset) == ("BTC", "ETH") and a.contracts < 0 < b.contracts
        gross = sum(abs(leg.units * leg.mark) for leg in ticket.legs)
        assert ticket.gross == pytest.approx(gross)
        assert ticket.fees == pytest.approx(gross * 0.0005) and ticket.margin == pytest.approx(gross)

    async def test_it_changes_nothing(self, desk: Desk) -> None:
        before = len(desk.ledger.events())
        for _ in range(3):
            await desk.ask("preview", PAIR, 1)
        assert len(desk.ledger.events()) == before and desk.venue.placed == []
        await desk.ask("open", PAIR, 1)
        names = [e.intent.id for e in desk.told(Intended)]
        assert names == [f"{desk.books.prefix}I0"], "a preview uses no name up"

    async def test_it_says_what_the_gate_would_say(self, desk: Desk) -> None:
        ticket = (await desk.ask("preview", PAIR, 1, 20_000.0)).ticket
        assert ticket is not None and "exceeds the largest order" in ticket.refused

    async def test_of_a_held_pair_it_is_the_closing(self, desk: Desk) -> None:
        await desk.ask("open", PAIR, 1)
        ticket = (await desk.ask("preview", PAIR)).ticket
        assert ticket is not None and ticket.side == 0 and len(ticket.legs) == 2 and ticket.fees > 0


class TestOpen:
    async def test_two_legs_of_the_size_asked_for(self, desk: Desk) -> None:
        reply = await desk.ask("open", PAIR, -1, 3000.0)
        assert reply.ok and reply.message == "opening BTC/ETH short"
        btc, eth = desk.net()
        assert btc < 0 < eth
        prices = desk.trader.prices(desk.engine.bar)  # type: ignore[arg-type]
        for name, size in ((BTC, btc), (ETH, eth)):
            assert 2400 < abs(desk.venue.instruments[name].notional(size, prices[name])) <= 3000

    async def test_it_is_the_same_intent_marked_manual(self, desk: Desk) -> None:
        await desk.ask("open", PAIR, 1)
        asked, intended = desk.told(Commanded)[-1], desk.told(Intended)[-1].intent
        assert (asked.name, asked.who) == ("open", "test")
        assert (intended.action, intended.origin, intended.reason) == (Action.OPEN, Origin.MANUAL, "by hand")
        assert intended.stop > 0 and intended.target > 0, "a pair opened by hand has its stop and target"

    async def test_it_stands_in_the_ledger_before_its_order_leaves(self, desk: Desk) -> None:
        seen: list[int] = []
        desk.venue.before_place = lambda order: seen.append(len(desk.told(Intended)))
        await desk.ask("open", PAIR, 1)
        assert seen == [1, 1]

    async def test_a_held_pair_is_not_opened_twice(self, desk: Desk) -> None:
        await desk.ask("open", PAIR, 1)
        reply = await desk.ask("open", PAIR, 1)
        assert not reply.ok and "held already" in reply.message

    async def test_two_at_the_same_moment_open_one(self, desk: Desk) -> None:
        replies = await asyncio.gather(*(desk.commands.handle(Command(str(i), "open", PAIR, 1)) for i in range(3)))
        await desk.settled()
        assert [reply.ok for reply in replies] == [True, False, False]
        assert len(desk.told(Intended)) == 1

    async def test_the_hand_and_the_strategy_never_see_the_same_books(self, desk: Desk) -> None:
        """A command that comes between the strategy's decision and its writing waits for that."""
        replies: list[asyncio.Task[Reply]] = []
        on_bar = desk.trader.on_bar

        def watched(*arguments: Any) -> Outcome:
            outcome = on_bar(*arguments)
            if outcome.intents:
                replies.append(asyncio.create_task(desk.commands.handle(Command("1", "open", PAIR, 1))))
            return outcome

        desk.trader.on_bar = watched  # type: ignore[method-assign]
        await desk.until_held()
        await desk.settled()
        assert not (await replies[0]).ok
        assert [e.intent.origin for e in desk.told(Intended)] == [Origin.STRATEGY]

    async def test_the_strategy_closes_it_like_its_own(self, desk: Desk) -> None:
        await desk.ask("open", PAIR, 1)
        await desk.until_held(False)
        assert desk.told(Intended)[-1].intent.origin is Origin.STRATEGY

    @pytest.mark.parametrize(
        ("pair", "side", "notional", "word"),
        [
            ("BTC/LTC", 1, 0.0, "not a pair of this universe, like BTC/ETH"),
            ("", 1, 0.0, "no pair: not a pair"),
            (PAIR, 0, 0.0, "--side long or --side short"),
            (PAIR, 1, 5.0, "less than the least order"),
            (PAIR, 1, 15_000.0, "exceeds the largest order, 10000"),
        ],
    )
    async def test_refusals_name_the_thing_and_the_way_out(
        self, desk: Desk, pair: str, side: int, notional: float, word: str
    ) -> None:
        before = len(desk.ledger.events())
        reply = await desk.ask("open", pair, side, notional)
        assert not reply.ok and word in reply.message and "\n" not in reply.message
        assert len(desk.ledger.events()) == before

    async def test_while_ledger_and_exchange_disagree_it_is_refused(self, desk: Desk) -> None:
        desk.venue.stranger(BTC, "2")
        await desk.engine.reconcile()
        reply = await desk.ask("open", PAIR, 1)
        assert not reply.ok and "the exchange holds" in reply.message


class TestClose:
    async def test_it_ends_flat(self, desk: Desk) -> None:
        await desk.ask("open", PAIR, 1)
        reply = await desk.ask("close", PAIR)
        assert reply.ok and reply.message == "closing BTC/ETH"
        assert desk.net() == [0, 0] and desk.venue.matching.triggers() == []

    async def test_what_is_not_held_is_named(self, desk: Desk) -> None:
        reply = await desk.ask("close", PAIR)
        assert not reply.ok and reply.message == "BTC/ETH: no position to close; nothing is held"
        await desk.ask("open", PAIR, 1)
        reply = await desk.ask("close", "SOL/XRP")
        assert reply.message == "SOL/XRP: no position to close; held are BTC/ETH"

    async def test_twice_at_once_closes_once(self, desk: Desk) -> None:
        await desk.ask("open", PAIR, 1)
        replies = await asyncio.gather(*(desk.commands.handle(Command(str(i), "close", PAIR)) for i in range(3)))
        await desk.settled()
        assert sorted(reply.ok for reply in replies) == [False, False, True]
        assert desk.net() == [0, 0]

    async def test_it_is_allowed_while_paused_and_in_disagreement(self, desk: Desk) -> None:
        await desk.ask("open", PAIR, 1)
        await desk.ask("pause")
        desk.venue.stranger(BTC, str(desk.venue.instruments[BTC].lot))
        await desk.engine.reconcile()
        assert (await desk.ask("close", PAIR)).ok
        assert [desk.books.net(name) for name in (BTC, ETH)] == [0, 0]


class TestFlattenPauseResume:
    async def test_flatten_closes_all_and_pauses(self, desk: Desk) -> None:
        await desk.ask("open", PAIR, 1)
        reply = await desk.ask("flatten")
        assert reply.ok and "closing BTC/ETH; paused: reducing" in reply.message
        assert desk.net() == [0, 0] and desk.books.restrictions.state == "reducing"

    async def test_flatten_of_nothing_says_so_and_pauses_too(self, desk: Desk) -> None:
        reply = await desk.ask("flatten")
        assert reply.ok and "nothing is held" in reply.message and desk.books.restrictions.state == "reducing"

    async def test_paused_makes_no_entries_and_says_why(self, desk: Desk) -> None:
        assert (await desk.ask("pause")).message.startswith("paused: reducing: no new positions")
        await desk.bars(40)
        assert desk.venue.placed == []
        assert any("reducing: paused by test" in e.text for e in desk.told(Decided))

    async def test_paused_still_exits(self, desk: Desk) -> None:
        await desk.until_held()
        await desk.ask("pause")
        await desk.until_held(False)
        assert desk.net() == [0, 0]

    async def test_resumed_it_trades_again(self, desk: Desk) -> None:
        await desk.ask("pause")
        await desk.bars(3)
        assert (await desk.ask("resume")).ok
        await desk.until_held()

    async def test_asked_twice_it_is_so_already(self, desk: Desk) -> None:
        assert (await desk.ask("resume")).message == "nothing to resume: active, new positions are allowed"
        await desk.ask("pause")
        assert (await desk.ask("pause")).message == "paused already: reducing, paused by test"
        assert len(desk.told(Switched)) == 1

    async def test_a_pause_outlives_a_restart(self, desk: Desk) -> None:
        await desk.ask("pause")
        await desk.restart()
        await desk.bars(40)
        assert desk.books.restrictions.state == "reducing" and desk.venue.placed == []


class TestAtAnyTime:
    async def test_before_there_is_an_engine_only_status_and_stop_are_known(self, desk: Desk) -> None:
        stop = asyncio.Event()
        early = Commands(desk.view, stop)
        for name in ("pause", "open", "flatten", "preview"):
            reply = await early.handle(Command("1", name, PAIR, 1))
            assert (
                not reply.ok and reply.message == f"{name}: the engine is still starting; try again when it trades"
            )
        assert (await early.handle(Command("1", "status"))).snapshot is not None
        reply = await early.handle(Command("1", "stop"))
        assert reply.ok and stop.is_set() and "positions and their protection stay" in reply.message

    async def test_an_unknown_command_names_the_known(self, desk: Desk) -> None:
        reply = await desk.ask("sell-everything")
        assert not reply.ok
        assert "sell-everything: no such command; known are pause, resume, open" in reply.message

    async def test_a_reply_carries_the_id_of_its_question(self, desk: Desk) -> None:
        assert (await desk.commands.handle(Command("abc", "nonsense"))).id == "abc"
