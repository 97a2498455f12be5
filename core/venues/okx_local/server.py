"""The exchange as a server: its doors, its clock, its folder."""

import asyncio
import fcntl
import os
import socket
from contextlib import AsyncExitStack, suppress
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from aiohttp import web

from core.data.panel import Panel
from core.domain.errors import UserError
from core.matching.replay import Market
from core.matching.rules import Rules
from core.venues.okx_local.auth import Keys
from core.venues.okx_local.exchange import Exchange, Replay
from core.venues.okx_local.faults import Fault, Faults
from core.venues.okx_local.rest import Rest
from core.venues.okx_local.store import Store

LOCKSTEP = 0.0
"""A speed of 0: the market moves a bar each time the last closed one is acknowledged."""

_LOCKSTEP_TICKS = 6
_SECONDS_A_TICK = 0.25
_MOST_TICKS = 3_600
_QUIET_SECONDS = 0.05
_DATABASE = "account.sqlite"


class Settings(msgspec.Struct, frozen=True):
    """How the exchange runs.

    `speed` market seconds a wall second (0: lockstep). `start` the first bar that is streamed (0: the middle of the
    data), `bars` how many (0: all). `ticks` prices within a bar (0: as the speed suggests). `idle_exit` seconds
    without any client after which it ends (0: never). `wait` for a login and a candle subscription before the
    market moves. `resume` the account and the market's position found in the folder, else begin anew."""

    speed: float = 3600.0
    start: int = 0
    bars: int = 0
    ticks: int = 0
    seed: int = 7
    port: int = 0
    cash: Decimal = Decimal(100_000)
    idle_exit: float = 180.0
    wait: bool = True
    resume: bool = False


class LocalExchange:
    """`async with LocalExchange(panel, home, settings) as exchange:` serves at `exchange.url`."""

    def __init__(
        self, panel: Panel, home: Path, settings: Settings | None = None, keys: Keys | None = None,
        rules: Rules | None = None,
    ) -> None:  # fmt: skip
        self.settings, self.keys = settings or Settings(), keys or Keys()
        self.panel, self.home, self.rules = panel, home, rules or Rules()
        self.port = 0
        self.ended = asyncio.Event()
        """Set when nobody has been here for `idle_exit` seconds."""
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._own_folder(stack)
            listening = self._listen(stack)
            market, store = self._open(stack)
            cash, rules, changed = self.settings.cash, self.rules, self._changed.set
            self.exchange = Exchange(market, store, self.keys, cash, rules, changed)
            stack.callback(self.exchange.stop)
            self.faults = Faults(self.exchange)
            stack.callback(self.faults.close)
            self._rest = Rest(self.exchange, self.keys, self.faults)
            runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=1.0)
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            await web.SockSite(runner, listening).start()
            stack.callback(self.exchange.hub.drop_all)
            stack.push_async_callback(self._stop_tasks)
            self._tasks = [asyncio.create_task(self._watch_clients())]
            if self.settings.speed > LOCKSTEP:
                self._tasks.append(asyncio.create_task(self._run_market()))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _stop_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def status(self) -> dict[str, object]:
        """What GET /local/status tells: where the market stands. `bar` is the open time of the last closed bar,
        the one to acknowledge; `done` bars of `total` have been streamed."""
        market = self.exchange.market
        return {
            "bar": market.closed,
            "done": market.bar - market.first,
            "total": market.end - market.first,
            "finished": market.finished,
            "market_ms": market.now,
            "lockstep": self.settings.speed <= LOCKSTEP,
            "speed": self.settings.speed,
            "clients": len(self.exchange.hub.connections),
        }

    def _own_folder(self, stack: AsyncExitStack) -> None:
        """One exchange a folder; the lock ends with the process, however that ends."""
        self.home.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.home / "exchange.lock", os.O_CREAT | os.O_RDWR)
        stack.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{self.home}: another local exchange runs in this folder; stop it first") from None

    def _listen(self, stack: AsyncExitStack) -> socket.socket:
        port = self.settings.port
        listening = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except OSError:
            raise UserError(f"port {port}: in use on 127.0.0.1; choose another, or 0 for a free one") from None
        self.port = listening.getsockname()[1]
        return listening

    def _open(self, stack: AsyncExitStack) -> tuple[Market, Store]:
        """The account's database and the market where it stood, or both fresh."""
        settings, path = self.settings, self.home / _DATABASE
        if not settings.resume:
            for old in self.home.glob(f"{_DATABASE}*"):
                old.unlink()
        store = Store(path)
        stack.callback(store.close)
        saved = store.meta("replay")
        if saved is None:
            start = settings.start or len(self.panel) // 2
            ticks = settings.ticks or ticks_of(settings.speed, self.panel.bar_ms)
            market = Market(self.panel, start=start, bars=settings.bars, ticks=ticks, seed=settings.seed)
            return market, store
        replay = msgspec.json.decode(saved, type=Replay)
        if replay.content != self.panel.content_hash:
            raise UserError(f"{path}: this account lives in other market data; start it with that, or afresh")
        market = Market(self.panel, start=replay.start, bars=replay.bars, ticks=replay.ticks, seed=replay.seed)
        market.seek(replay.bar, replay.tick)
        return market, store

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/api/v5/{path:.+}", self._rest.serve)
        app.router.add_get("/ws/v5/{path}", self.exchange.hub.serve)
        app.router.add_get("/local/status", self._tell_status)
        app.router.add_post("/local/acknowledge", self._acknowledge)
        app.router.add_post("/local/faults", self._arm)
        return app

    async def _tell_status(self, request: web.Request) -> web.Response:
        return web.json_response(self.status())

    async def _acknowledge(self, request: web.Request) -> web.Response:
        """Under lockstep, the last closed bar is done with: run the next one. An older bar changes nothing."""
        self._rest.last = asyncio.get_running_loop().time()
        market = self.exchange.market
        try:
            bar = msgspec.json.decode(await request.read(), type=dict[str, int])["bar"]
        except (msgspec.DecodeError, KeyError, RecursionError):
            return _refused('the body must be {"bar": open time in ms of the last closed bar}')
        if bar > market.closed:
            return _refused(f"bar {bar} has not closed; the last is {market.closed}")
        if self.settings.speed <= LOCKSTEP and bar == market.closed and not market.finished:
            self.run_bar()
        return web.json_response(self.status())

    async def _arm(self, request: web.Request) -> web.Response:
        try:
            self.faults.add(msgspec.json.decode(await request.read(), type=Fault))
        except (ValueError, RecursionError) as error:
            return _refused(str(error))
        return web.json_response({})

    def run_bar(self) -> None:
        """Walk the present bar to its end, close it, and stand at the open of the next."""
        while not self.exchange.advance(loud=False):
            pass
        self.exchange.commit()

    async def _run_market(self) -> None:
        """Tick by tick at the chosen speed; where the machine is too slow, later rather than fewer."""
        loop, exchange = asyncio.get_running_loop(), self.exchange
        market = exchange.market
        while self.settings.wait and not exchange.hub.ready:
            self._changed.clear()
            await self._changed.wait()
        pause = self.panel.bar_ms / 1000 / self.settings.speed / market.ticks
        due = told = loop.time()
        while not market.finished:
            due = max(due + pause, loop.time() - 1.0)
            await asyncio.sleep(max(0.0, due - loop.time()))
            loud = loop.time() - told >= _QUIET_SECONDS
            if exchange.advance(loud) or loud:
                told = loop.time()
            exchange.commit()

    async def _watch_clients(self) -> None:
        """End when there has been no open socket and no request for a while."""
        loop, patience = asyncio.get_running_loop(), self.settings.idle_exit
        last = loop.time()
        while patience:
            if self.exchange.hub.connections:
                last = loop.time()
            left = max(last, self._rest.last) + patience - loop.time()
            if left <= 0:
                self.ended.set()
                return
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()


def _refused(why: str) -> web.Response:
    return web.json_response({"error": why}, status=400)


def ticks_of(speed: float, bar_ms: int) -> int:
    """Prices within a bar: about four a second, at least six; under lockstep six."""
    if speed <= LOCKSTEP:
        return _LOCKSTEP_TICKS
    return max(_LOCKSTEP_TICKS, min(_MOST_TICKS, round(bar_ms / 1000 / speed / _SECONDS_A_TICK)))
