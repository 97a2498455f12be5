"""What a person may ask of the engine, each answered with one line. The same intents as the strategy's."""

import asyncio
from collections.abc import Callable
from decimal import Decimal

from core.domain.account import Book
from core.domain.decision import Entry
from core.domain.errors import UserError
from core.domain.orders import Intent, Origin
from core.domain.snapshot import Command, LegRow, Reply, Snapshot, Ticket
from core.domain.trading import BY_HAND, DAILY_LOSS, Restriction, TradingState
from core.engine.account import statement
from core.engine.engine import Engine
from core.engine.snapshots import legs_of
from core.execution.sizing import margin_of
from core.portfolio.events import Commanded, Intended, Switched
from core.portfolio.pairbook import RESIDUE
from core.trader import Trader
from core.venues.port import VenueError

KILL_S = 5.0
PAUSED = "reducing: no new positions until resumed; exits, stops and hedges go on"


class Commands:
    """Answers commands. Before the engine trades, only status and stop are known."""

    def __init__(self, view: Callable[[], Snapshot], stop: asyncio.Event) -> None:
        self.engine: Engine | None = None
        self._view = view
        self._stop = stop

    async def handle(self, command: Command) -> Reply:
        """The answer to one command; a UserError is a refusal and becomes one."""
        try:
            return await self._answer(command)
        except UserError as error:
            return Reply(command.id, False, str(error))

    async def _answer(self, command: Command) -> Reply:
        if command.name == "status":
            return Reply(command.id, True, "", snapshot=self._view())
        if command.name == "stop":
            self._stop.set()
            return Reply(command.id, True, "stopping: positions and their protection stay")
        if self.engine is None or not self.engine.trading.is_set():
            raise UserError(f"{command.name}: the engine is still starting; try again when it trades")
        match command.name:
            case "pause":
                return await self._pause(self.engine, command)
            case "resume":
                return await self._resume(self.engine, command)
            case "kill":
                return await self._kill(self.engine, command)
            case "preview":
                return self._preview(self.engine, command)
            case "open":
                return await self._open(self.engine, command)
            case "close" | "flatten":
                return await self._close(self.engine, command)
            case "account":
                return await self._account(self.engine, command)
            case "accept" | "adopt":
                return await self._own_up(self.engine, command)
            case "quality":
                return Reply(command.id, True, "", quality=self.engine.quality.report())
            case "trail":
                told = self.engine.clusters.trail(command.pair, self.engine.outcomes)
                return Reply(command.id, True, "", trail=told)
        raise UserError(
            f"{command.name}: no such command; known are pause, resume, open, close, flatten, kill, status, stop"
        )

    async def _account(self, engine: Engine, command: Command) -> Reply:
        try:
            return Reply(command.id, True, "", statement=await statement(engine.venue, engine.journal.books))
        except VenueError as error:
            raise UserError(f"account: {error}") from error

    async def _own_up(self, engine: Engine, command: Command) -> Reply:
        """What is not ours is taken as known, or taken over; then both sides are compared again."""
        who, why = command.who or "hand", command.text.strip()
        if not why:
            raise UserError(f"{command.name}: say why, it is written into the ledger (--why TEXT)")
        try:
            async with engine.deciding:
                if command.name == "accept":
                    text = await engine.reconciler.accept(who, why)
                else:
                    text = await engine.reconciler.take_over(who, why, engine.names.take)
        except VenueError as error:
            raise UserError(f"{command.name}: {error}") from error
        verdict = await engine.reconcile()
        left = "; ".join(verdict.differences) or "ledger and exchange agree"
        return Reply(command.id, True, f"{command.name}ed {text}: {left}")

    async def _pause(self, engine: Engine, command: Command) -> Reply:
        if BY_HAND in engine.restrictions.standing:
            return Reply(command.id, True, f"paused already: {_state_of(engine)}")
        await engine.command("pause", PAUSED, command.who, *_paused(engine, command))
        return Reply(command.id, True, f"paused: {PAUSED}")

    async def _resume(self, engine: Engine, command: Command) -> Reply:
        """What waits for a person is lifted: a pause, every halt, a daily loss. What is ill stays as it is."""
        engine.kill.refuse_resume()
        lifted = [held for held in engine.restrictions.standing.values() if _waits(held)]
        if not lifted:
            return Reply(command.id, not engine.restrictions.reason, f"nothing to resume: {_state_of(engine)}")
        who = command.who or "hand"
        text = ", ".join(f"{held.state} ({held.reason})" for held in lifted)
        events = [
            Switched(engine.venue.market_ms(), TradingState.ACTIVE, f"resumed by {who}", held.cause, who)
            for held in lifted
        ]
        await engine.command("resume", f"no longer {text}", command.who, *events)
        return Reply(command.id, True, f"resumed: {_state_of(engine)}")

    async def _kill(self, engine: Engine, command: Command) -> Reply:
        """Pull the kill switch and wait for its proof a while; who asks again waits on."""
        engine.kill.pull(command.who or "hand", "asked for")
        done = await engine.kill.done(KILL_S)
        word = "killed" if done else "not yet"
        return Reply(command.id, True, f"{word}: {'; '.join(engine.kill.proof.lines)}", pending=not done)

    def _preview(self, engine: Engine, command: Command) -> Reply:
        held = _book(engine, command.pair)
        if held is not None and not command.side:
            return Reply(command.id, True, "", ticket=_closing_ticket(engine, held))
        intent, why = _sized(engine, command)
        legs = intent.legs if intent is not None else ()
        prices = {name: Decimal(repr(engine.market.price(name))) for name in engine.instruments}
        limits = engine.traders[0].limits
        gross = margin_of(legs, engine.instruments, prices, Decimal(1))
        rows = []
        for leg in legs:
            spec, mark = engine.instruments[leg.instrument], float(prices[leg.instrument])
            rows.append(LegRow(spec.asset, float(leg.size), float(leg.size * spec.contract), mark, mark, 0.0))
        ticket = Ticket(
            pair=command.pair,
            side=command.side,
            legs=rows,
            gross=float(gross),
            fees=float(gross * limits.taker),
            margin=float(gross / limits.leverage),
            refused=why,
        )
        return Reply(command.id, True, "", ticket=ticket)

    async def _open(self, engine: Engine, command: Command) -> Reply:
        async with engine.deciding:
            intent, why = _sized(engine, command)
            if intent is None:
                raise UserError(f"{command.pair} was not opened: {why}")
            text = f"{intent.pair} {'long' if intent.side > 0 else 'short'}"
            engine.names.take()
            await engine.command("open", text, command.who, Intended(intent.ts, intent))
        engine.executor.start(intent)
        return Reply(command.id, True, f"opening {text}")

    async def _close(self, engine: Engine, command: Command) -> Reply:
        async with engine.deciding:
            text, paused = await self._close_books(engine, command)
        return Reply(command.id, True, f"closing {text}{paused}")

    async def _close_books(self, engine: Engine, command: Command) -> tuple[str, str]:
        books = engine.journal.books
        working = {(i.strategy, i.pair) for i in books.unsettled()}
        chosen = [b for b in books.open_books() if command.name == "flatten" or b.pair == command.pair]
        chosen = [b for b in chosen if (b.strategy, b.pair) not in working]
        if command.name == "close" and not chosen:
            raise UserError(f"{command.pair}: no position to close" + _held(engine))
        if command.name == "flatten" and BY_HAND not in engine.restrictions.standing:
            await engine.command("pause", "flattening", command.who, *_paused(engine, command))
        text = ", ".join(book.pair for book in chosen) or "nothing is held"
        asked = Commanded(engine.venue.market_ms(), command.name, text, command.who)
        await engine.close(chosen, f"{command.name} by hand", asked)
        paused = f"; paused: {PAUSED}" if command.name == "flatten" else ""
        return text, paused


def _paused(engine: Engine, command: Command) -> tuple[Switched]:
    who = command.who or "hand"
    now, reason = engine.venue.market_ms(), f"{'flattened' if command.name == 'flatten' else 'paused'} by {who}"
    return (Switched(now, TradingState.REDUCING, reason, BY_HAND, who),)


def _waits(held: Restriction) -> bool:
    """Whether a restriction waits for a person, or may be lifted by one before its time."""
    return held.state is TradingState.HALTED or held.cause in (BY_HAND, DAILY_LOSS)


def _state_of(engine: Engine) -> str:
    held = engine.restrictions
    return f"{held.state}, {held.reason}" if held.reason else f"{held.state}, new positions are allowed"


def _book(engine: Engine, pair: str) -> Book | None:
    """What is held of a pair; contracts too few for an order hold nobody back."""
    held = (book for book in engine.journal.books.open_books() if book.strategy != RESIDUE)
    return next((book for book in held if book.pair == pair), None)


def _held(engine: Engine) -> str:
    held = [book.pair for book in engine.journal.books.open_books()]
    return f"; held are {', '.join(held)}" if held else "; nothing is held"


def _sized(engine: Engine, command: Command) -> tuple[Intent | None, str]:
    """The intent an order by hand would be, or None and why not."""
    trader, bar = _trader(engine, command.pair), engine.bar
    if bar is None:
        raise UserError(f"{command.pair}: no bar has closed yet; try again after the next one")
    if command.side not in (-1, 1):
        raise UserError(f"{command.pair}: say which side, --side long or --side short")
    if _book(engine, command.pair) is not None or any(
        i.pair == command.pair for i in engine.journal.books.unsettled()
    ):
        return None, f"{command.pair} is held already, or being worked on"
    view = engine.views[trader.strategy.name]
    row = trader.pair_names.index(command.pair)
    z, probability = float(view.column("z_score")[row]), float(view.probability[row])
    stop, target = trader.strategy.bounds(view, row, trader.params)
    standing = engine.standing(bar, trader.strategy.name)
    notional = command.notional or trader.params.scaled(float(standing.share)).base_size_usdt
    entry = Entry(
        command.pair, command.side, notional, stop, target, z, abs(z) * probability, probability, "by hand"
    )
    return trader.open(entry, bar, standing, engine.names, Origin.MANUAL)


def _trader(engine: Engine, pair: str) -> Trader:
    """The trader that a pair opened by hand goes to: the first that trades it with two legs."""
    knowing = [trader for trader in engine.traders if pair in trader.pair_names]
    found = next((trader for trader in knowing if "/" in pair), None)
    if found is not None:
        return found
    if knowing:
        name = knowing[0].strategy.name
        raise UserError(f"{pair}: {name} sizes single assets itself, at every bar: there is no opening by hand")
    raise UserError(f"{pair or 'no pair'}: not a pair of this universe, like {engine.traders[0].pair_names[0]}")


def _closing_ticket(engine: Engine, book: Book) -> Ticket:
    rows = legs_of(engine, book)
    gross = sum(abs(row.units * row.mark) for row in rows)
    fees = gross * float(engine.traders[0].limits.taker)
    return Ticket(book.pair, 0, rows, gross, fees, 0.0, "")
