"""The exchange of a rehearsal: the local one, in this process, on virtual time, with a market that misbehaves."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from core.data.panel import Panel
from core.domain.orders import OrderType
from core.engine.rehearsal.faults import CODES, Faults
from core.engine.rehearsal.witness import Witness
from core.matching.replay import Market
from core.matching.rules import Rules
from core.matching.types import Cancel, CancelTrigger, Command, Event, Place, Quote
from core.venues.okx_local.auth import Keys
from core.venues.okx_local.exchange import Exchange
from core.venues.okx_local.faults import MAINTENANCE
from core.venues.okx_local.faults import Faults as NoFaults
from core.venues.okx_local.rest import Reply, Request, Rest
from core.venues.okx_local.store import Store
from core.venues.okx_local.wire import Body

TICKS_A_PATIENCE = 1.5
"""The market moves, and tells its marks, so often in the time after which a silent stream is stale: every ten
seconds with the usual fifteen, as OKX does."""
_TICKERS, _CANDLES = 2, 4
"""Tickers are pushed at every second tick, candles that form at every fourth."""

NOT_TRADED = "51028"
BOTTOMLESS = 1e12
"""USDT traded in a bar, by which the depth of a book is reckoned."""
THIN_USDT = (300.0, 5_000.0)


class Stage(Exchange):
    """The local exchange under the eyes of a witness. Quiet ticks write nothing and tell little."""

    def __init__(self, market: Market, keys: Keys, cash: Decimal, witness: Witness) -> None:
        self._witness = witness
        self._ticks = 0
        self.gone: set[str] = set()
        """Instruments that are not traded any more: nothing is told of them."""
        super().__init__(market, Store(Path(":memory:")), keys, cash, Rules(), lambda: None)

    def obey(self, commands: Sequence[Command], quotes: Sequence[Quote] = ()) -> list[Event]:
        events = super().obey(commands, quotes)
        if events or commands:
            self._witness.exchanged(self.market.now, commands, events)
        return events

    def commit(self) -> None:
        if self._rows:
            super().commit()

    def _tell_market(self) -> None:
        self._ticks += 1
        for spec in (each for each in self.feed.specs() if each.id not in self.gone):
            self.hub.publish("mark-price", spec.id, [self.feed.mark(spec)])
            if self._ticks % _TICKERS == 0 and self.hub.listened("tickers", spec.id):
                self.hub.publish("tickers", spec.id, [self.feed.ticker(spec)])
            if self._ticks % _CANDLES == 0 and not self.market.finished:
                forming = self.feed.candle(spec, self.market.bar)
                if forming is not None:
                    self.hub.publish(self.feed.candle_channel, spec.id, [forming])


class World:
    """The exchange, its market and its troubles, on its own side of the wire: nothing here belongs to a life."""

    def __init__(
        self,
        panel: Panel,
        start: int,
        cash: Decimal,
        seed: int,
        stale_after: float,
        faults: Faults,
        witness: Witness,
        gone: Mapping[str, int],
    ) -> None:
        """`gone`: by asset the bar from which on it is not traded any more."""
        self.keys = Keys()
        self.faults, self.witness = faults, witness
        self.context = copy_context()
        ticks = max(6, round(panel.bar_ms / 1000 / stale_after * TICKS_A_PATIENCE))
        self._tick_s = panel.bar_ms / 1000 / ticks
        self.market = Market(panel, start=start, bars=0, ticks=ticks, seed=seed)
        self.epoch_ms = self.market.now
        self.exchange = Stage(self.market, self.keys, cash, witness)
        self._going = {spec.id: gone[spec.asset] for spec in self.market.instruments if spec.asset in gone}
        self._rest = Rest(self.exchange, self.keys, NoFaults(self.exchange))
        self._halted = 0
        self._outages: list[tuple[int, int]] = []
        self.reopened = 0.0
        """Loop time at which a halt of trading last ended."""
        self.last_heard: dict[str, float] = {}
        """Loop time at which each stream last brought something to the engine."""
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Let the market move, and trouble come."""
        acts: dict[str, Callable[[Any], None]] = {
            "drop": self._drop,
            "freeze": self._freeze,
            "mute": self._mute,
            "maintenance": self._halt,
            "thin": self._thin,
            "adl": self._deleverage,
            "liquidation": self._liquidate,
        }
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._run_market()),
            *(loop.create_task(every(self.faults, kind, act)) for kind, act in acts.items()),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.exchange.stop()
        self.exchange.store.close()

    async def _run_market(self) -> None:
        loop, tick = asyncio.get_running_loop(), 0
        while not self.market.finished:
            tick += 1
            await asyncio.sleep(tick * self._tick_s - loop.time())
            self.exchange.advance(True)
            for name in [name for name, bar in self._going.items() if bar <= self.market.bar]:
                del self._going[name]
                self._delist(name)
            self.exchange.commit()

    # --- the engine's side asks ----------------------------------------------------------------------

    def do(self, act: Callable[[Any], None], what: object) -> None:
        """Call a method of the exchange from a life, outside of it."""
        self.context.run(act, what)

    def answer(self, request: Request, code: str, executed: bool) -> Reply:
        """What the exchange says to a request, or a refusal with `code`; `executed`: whether it was carried out."""
        if request.path == "system/status":
            return 200, msgspec.json.encode({"code": "0", "msg": "", "data": self._announced()})
        if self._halted and not request.path.startswith(("public/", "market/")):
            return 503, MAINTENANCE
        if request.path in CODES and any(name in request.body for name in self.exchange.gone):
            code, executed = NOT_TRADED, False
        reply = self._rest.answer(request) if executed else (500, b"")
        if not code:
            marked = request.path == "public/instruments" and executed and self.exchange.gone
            return self._listing(reply) if marked else reply
        row = {"ordId": "", "clOrdId": "", "sCode": code, "sMsg": "refused by the rehearsal"}
        return 200, msgspec.json.encode({"code": "1", "msg": "", "data": [row]})

    def _listing(self, reply: Reply) -> Reply:
        """What is listed, with those that are not traded any more marked so."""
        status, content = reply
        listed = msgspec.json.decode(content)
        for row in listed["data"]:
            row["state"] = "suspend" if row["instId"] in self.exchange.gone else "live"
        return status, msgspec.json.encode(listed)

    @property
    def halted(self) -> bool:
        """Whether private requests are refused now."""
        return self._halted > 0

    def traded(self, instrument: str) -> bool:
        """Whether the market makes prices of an instrument in the present bar."""
        market = self.market
        return bool(market.finished or market.panel.close[market.bar, market.index[instrument]] > 0)

    def heard(self, stream: str) -> None:
        self.last_heard[stream] = asyncio.get_running_loop().time()

    # --- trouble -------------------------------------------------------------------------------------

    def _after(self, seconds: float, act: Callable[..., object], *what: object) -> None:
        asyncio.get_running_loop().call_later(seconds, act, *what, context=self.context)

    def _drop(self, chance: Any) -> None:
        lines = list(self.exchange.hub.connections)
        if lines:
            chance.choice(lines).drop()

    def _freeze(self, chance: Any) -> None:
        lines = list(self.exchange.hub.connections)
        if lines:
            chance.choice(lines).freeze()

    def _mute(self, chance: Any) -> None:
        """One channel of one instrument (of the account: of all) tells nothing, though a subscription stands."""
        channels = ("tickers", "mark-price", self.exchange.feed.candle_channel, "orders", "positions", "account")
        channel = chance.choice(channels)
        of_account = channel in ("orders", "positions", "account")
        stream = channel, "" if of_account else chance.choice(list(self.market.index))
        self.exchange.hub.muted.add(stream)
        self._after(chance.uniform(30.0, 1_500.0), self.exchange.hub.muted.discard, stream)

    def _halt(self, chance: Any) -> None:
        """One in two is announced, minutes before."""
        ahead = chance.uniform(60.0, 600.0) if chance.random() < 0.5 else 0.0
        last = chance.uniform(60.0, 1_800.0)
        if ahead:
            begin = self.exchange.server_ms() + int(1000 * ahead)
            self._outages.append((begin, begin + int(1000 * last)))
        self._after(ahead, self._close)
        self._after(ahead + last, self._reopen)

    def _close(self) -> None:
        self._halted += 1

    def _reopen(self) -> None:
        self._halted -= 1
        self.reopened = asyncio.get_running_loop().time()

    def _announced(self) -> list[Body]:
        """Rows of `system/status`."""
        now = self.exchange.server_ms()
        return [
            {
                "title": "maintenance",
                "serviceType": "5",
                "begin": str(begin),
                "end": str(end),
                "state": "ongoing" if begin <= now else "scheduled",
            }
            for begin, end in self._outages
            if now < end
        ]

    def _thin(self, chance: Any) -> None:
        """A side of the book holds a few hundred or thousand USDT: what an order takes in two or three bites."""
        instrument = chance.choice(list(self.market.index))
        usual = self.market.turnover[self.market.index[instrument]] * self.exchange.rules.depth_share
        self.exchange.thinned[instrument] = chance.uniform(*THIN_USDT) / max(usual, THIN_USDT[1])
        self._after(chance.uniform(600.0, 7_200.0), self.exchange.thinned.pop, instrument, None)

    def _deleverage(self, chance: Any) -> None:
        held = [each for each in self.exchange.matching.positions() if each.size]
        if held:
            position = chance.choice(held)
            spec = self.market.instruments[self.market.index[position.instrument]]
            part = spec.round_size(position.size * Decimal(str(round(chance.uniform(0.1, 1.0), 3))))
            self._take(position.instrument, -(part or position.size), "adl")

    def _liquidate(self, chance: Any) -> None:
        for position in self.exchange.matching.positions():
            if position.size:
                self._take(position.instrument, -position.size, "liquidation")

    def _delist(self, name: str) -> None:
        """Its orders are cancelled, what is held of it is settled (by as deep a book, at the mark), and that is
        the last of it."""
        matching = self.exchange.matching
        orders = [Cancel(name, r.venue_id) for r in matching.orders() if r.report.instrument == name]
        triggers = [CancelTrigger(name, t.venue_id) for t in matching.triggers() if t.instrument == name]
        self.exchange.obey([*orders, *triggers])
        self.exchange.thinned.pop(name, None)
        mark, held = matching.mark(name), [p.size for p in matching.positions() if p.instrument == name]
        if held and mark:
            self.exchange.obey((), [Quote(name, mark, BOTTOMLESS)])
            self._take(name, -held[0], "delivery")
        self.exchange.gone.add(name)

    def _take(self, instrument: str, size: Decimal, why: str) -> None:
        place = Place("", instrument, size, OrderType.MARKET, reduce_only=True, tag=why)
        self.exchange.obey([place])
        self.exchange.commit()


async def every(faults: Faults, kind: str, act: Callable[[Any], None]) -> None:
    """Let `act` happen whenever that kind of trouble comes, for ever; it gets the kind's stream of chance."""
    while (pause := faults.next_event(kind)) != float("inf"):
        await asyncio.sleep(pause)
        if faults.on:
            faults.met(kind)
            act(faults.of(kind))
