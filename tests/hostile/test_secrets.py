"""Canaries for keys: wherever a run leaves something behind, or shows something, none of them is found."""

import asyncio
import base64
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from cockpit.app import CockpitApp
from core.domain.snapshot import Command
from core.link.client import ask
from core.venues.okx_local import Keys, LocalExchange, Settings
from core.venues.okx_local.faults import Fault
from tests.engine.processes import Home, Process
from tests.engine.small import panel

CANARIES = {
    "OKX_API_KEY": "canarykey-5f0c9a",
    "OKX_API_SECRET": "CANARYSECRET77E1B2",
    "OKX_API_PASSPHRASE": "Canary+Pass/phrase=1",
    "COCKPIT_NOTIFY_URLS": "json://canaryuser:canarypassword@127.0.0.1:9/canarypath",
}
WORDS = [
    word for text in CANARIES.values() for word in (text, base64.b64encode(text.encode()).decode().rstrip("="))
]
KEYS = Keys(*(CANARIES[name] for name in ("OKX_API_KEY", "OKX_API_SECRET", "OKX_API_PASSPHRASE")))


def found(content: bytes | str, where: str) -> list[str]:
    """The canaries in it, each with where it was."""
    data = content if isinstance(content, bytes) else content.encode()
    return [f"{word} in {where}" for word in [*WORDS, "canarypassword"] if word.encode() in data]


def files_under(folder: Path) -> list[str]:
    """Whatever of the canaries lies in files there."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [line for path in files for line in found(path.read_bytes(), path.name)]


def family(pid: int) -> Iterator[int]:
    """A process and those that it has started."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from family(int(child))


def of(pid: int, what: str) -> bytes:
    """A file of the kernel's about a process."""
    return Path(f"/proc/{pid}/{what}").read_bytes()


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    made = Home(tmp_path / "home")
    yield made
    await made.clear()


Served = Callable[..., Awaitable[LocalExchange]]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    running: list[LocalExchange] = []

    async def start(keys: Keys = KEYS) -> LocalExchange:
        settings = Settings(speed=20_000, start=450, seed=3)
        running.append(await LocalExchange(panel(1000), tmp_path / "exchange", settings, keys).__aenter__())
        return running[-1]

    yield start
    for exchange in running:
        await exchange.__aexit__(None, None, None)


async def engine(home: Home, exchange: LocalExchange, **environ: str) -> Process:
    """An engine of the canaries' account, told to log all it can."""
    arguments = ("run", "--venue", "okx-demo", "--headless", "--strategy", "zscore")
    environ = CANARIES | {"EXCHANGE_ADDRESS": exchange.url, "COCKPIT_LOG__LEVEL": "debug"} | environ
    return await home.run("tests.hostile.engine_with_keys", *arguments, **environ)


async def left(home: Home, process: Process) -> list[str]:
    """What its end has left behind."""
    _, out, errors = await process.end()
    return found("\n".join(process.lines) + out, "stdout") + found(errors, "stderr") + files_under(home.path)


async def test_a_run_in_which_requests_fail(home: Home, served: Served) -> None:
    exchange = await served()
    for path, do in (("account/b", "code:50113"), ("fills", "html"), ("positions", "http_500"), ("order", "empty")):
        exchange.faults.add(Fault(do, match=path, nth=4, times=3))
    process = await engine(home, exchange)
    await process.line("equity")
    socket = home.path / "engine.sock"
    reply = await asyncio.to_thread(ask, socket, Command("1", "status"))
    assert found(msgspec.json.encode(reply), "the snapshot") == []
    assert [line for pid in family(process.pid) for line in found(of(pid, "cmdline"), f"arguments of {pid}")] == []
    exchange.faults.add(Fault("drop", socket="all"))
    exchange.faults.add(Fault("code:50101", match="account", times=50))
    await process.line("equity")
    assert found(await screen(socket), "the screen") == []
    process.signal(signal.SIGTERM)
    assert await left(home, process) == []


async def screen(socket: Path) -> str:
    """What a terminal shows of the engine, log and all."""
    app = CockpitApp(socket)
    async with app.run_test(size=(160, 50)) as pilot:
        for _ in range(100):
            await pilot.pause(0.05)
            if app.latest.status is not None:
                break
        return app.export_screenshot()


async def test_a_refused_login(home: Home, served: Served) -> None:
    exchange = await served(Keys("another", "key", "altogether"))
    process = await engine(home, exchange)
    code, out, errors = await process.end()
    assert code == 1 and "OKX_API_KEY" in errors
    assert found(out + errors, "the refusal") + files_under(home.path) == []


async def test_a_crash(home: Home, served: Served) -> None:
    process = await engine(home, await served(), CRASH="1")
    code, out, errors = await process.end()
    assert code == 1 and "a fault of ours" in errors and "Traceback" in errors
    assert found(out + errors, "the traceback") + files_under(home.path) == []


async def test_processes_that_need_no_keys_are_given_none(home: Home) -> None:
    """The local exchange, which outlives the engine, and everything that `cockpit` starts beside it."""
    process = await home.engine("--speed", "20000", "--bars", "200", **CANARIES)
    await process.line("equity")
    exchange = home.exchange_pid()
    assert exchange is not None
    assert found(of(exchange, "environ"), "the exchange's environment") == []
    assert found(of(process.pid, "environ"), "") != [], "the yardstick: the engine has them"
    process.signal(signal.SIGTERM)
    assert await left(home, process) == []


async def test_reports_and_settings_shown(home: Home, tmp_path: Path) -> None:
    report = tmp_path / "home" / "report.html"
    run = await home.run("core.backtest", "zscore", "--train-bars", "450", "--report", str(report), **CANARIES)
    code, out, errors = await run.end()
    assert code == 0 and "report.html" in os.listdir(home.path), errors[-500:]
    shown = await home.run("cockpit", "config", "show", "--json", **CANARIES)
    settings = await shown.end()
    assert settings[0] == 0 and json.loads(settings[1])
    assert found(out + errors + settings[1] + settings[2], "stdout") + files_under(home.path) == []


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\x00x" + base64.b64encode(KEYS.secret.encode()) + os.urandom(3))
    (tmp_path / "b").write_text(f"login {KEYS.passphrase} refused")
    assert len(files_under(tmp_path)) == 2
