"""Notifications: told by a process of its own, few and in time, and without a word of the addresses."""

import asyncio
import os
from collections.abc import AsyncIterator
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from core.config.live import EVENTS, Notify
from core.config.secrets import notify_urls
from core.domain.orders import Fill
from core.domain.snapshot import LogLine
from core.engine import notify
from core.engine.notify import KEPT, SHOWN, Day, Note, Notifier, digest
from core.execution.journal import Journal, MemoryLedger
from core.portfolio.books import Books
from core.portfolio.events import Filled, Opened, Ramped, Repaired, Stepped, Switched
from tests.engine.processes import Home
from tests.execution.fakes import BTC, SPECS

CANARY = "canary-5f1e"
DAY = 86_400_000


class Phone:
    """A service on loopback that takes messages as JSON; `answer` is what it says to them."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.answer = 200

    async def take(self, request: web.Request) -> web.Response:
        self.messages.put_nowait(await request.json())
        return web.Response(status=self.answer)

    async def message(self) -> tuple[str, str]:
        """(title, body) of the next one."""
        async with asyncio.timeout(30.0):
            told = await self.messages.get()
        return told["title"], told["message"]


@pytest.fixture
async def phone(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Phone, str]]:
    """The service, and its address with secrets in it."""
    made, app = Phone(), web.Application()
    app.router.add_post(f"/{CANARY}", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    monkeypatch.setenv("NO_PROXY", "*")
    yield made, f"json://me:{CANARY}@127.0.0.1:{port}/{CANARY}"
    await runner.cleanup()


class Told:
    """A notifier at work, and what it said of itself."""

    def __init__(self, urls: str, **options: Any) -> None:
        settings = Notify(**({"every_s": 1.0} | options))
        self.said: list[str] = []
        self.spoken = asyncio.Event()
        environ = {**os.environ, "COCKPIT_NOTIFY_URLS": urls, "OKX_API_SECRET": "okx-canary"}
        self.notifier = Notifier(settings, "DEMO", self._say, environ)

    def _say(self, text: str) -> None:
        self.said.append(text)
        self.spoken.set()

    async def speaks(self) -> None:
        """Wait until it says something of itself."""
        async with asyncio.timeout(30.0):
            await self.spoken.wait()

    async def __aenter__(self) -> "Told":
        self._task = asyncio.create_task(self.notifier.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.notifier.close()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "GATHER_S", 0.05)
    monkeypatch.setattr(notify, "URGENT_S", 0.05)


def journal() -> Journal:
    books = Books(SPECS)
    books.apply(Opened(0, "px", "fake", "USDT", D(10_000)))
    return Journal(MemoryLedger(), books)


def given(pid: int, what: str) -> str:
    """The arguments or the environment that a process was given."""
    return Path(f"/proc/{pid}/{what}").read_text()


def noted(notifier: Notifier) -> list[tuple[str, str]]:
    return [(note.kind, note.text) for note in notifier._notes]


# -- the way to the phone ---------------------------------------------------------------------------------


async def test_what_comes_together_is_told_in_one_message(phone: tuple[Phone, str]) -> None:
    service, url = phone
    async with Told(url) as told:
        for n in range(3):
            told.notifier.note("fills", 0, f"bought {n}")
        told.notifier.note("repairs", 0, "an orphan was cancelled")
        title, body = await service.message()
        assert title == "cockpit DEMO: 3 fills, 1 repair"
        assert body.splitlines() == [
            *(f"1970-01-01T00:00Z bought {n}" for n in range(3)),
            "1970-01-01T00:00Z an orphan was cancelled",
        ]
        assert service.messages.empty() and told.said == []


async def test_an_alarm_does_not_wait_for_the_next_digest(phone: tuple[Phone, str]) -> None:
    service, url = phone
    async with Told(url, every_s=86_400.0) as told:
        told.notifier.note("fills", 0, "bought 1")
        await service.message()
        told.notifier.note("fills", 0, "bought 2")
        told.notifier.sink(LogLine(1, 0, "health", "bad", "a stream is silent"))
        title, body = await service.message()
        assert title == "cockpit DEMO: 1 fill, 1 alarm" and "a stream is silent" in body


async def test_what_still_waits_is_told_at_the_end(phone: tuple[Phone, str]) -> None:
    service, url = phone
    async with Told(url, every_s=86_400.0) as told:
        told.notifier.note("fills", 0, "bought 1")
        await service.message()
        told.notifier.note("fills", 0, "bought 2")
    assert "bought 2" in (await service.message())[1]


async def test_a_service_that_fails_is_told_once_by_its_kind_alone(phone: tuple[Phone, str]) -> None:
    service, url = phone
    service.answer = 500
    async with Told(url) as told:
        for n in range(2):
            told.notifier.note("alarms", n, "help")
            await service.message()
        await told.speaks()
    assert told.said == ["notifications: not taken by json; told once, until they work again"]
    assert CANARY not in str(told.said)


async def test_no_argument_of_a_process_holds_an_address_and_no_key_reaches_the_messenger(
    phone: tuple[Phone, str],
) -> None:
    service, url = phone
    async with Told(url) as told:
        told.notifier.note("alarms", 0, "help")
        await service.message()
        messenger = told.notifier._messenger
        assert messenger is not None
        assert CANARY not in given(messenger.pid, "cmdline")
        environ = given(messenger.pid, "environ")
        assert CANARY in environ and "okx-canary" not in environ
    assert messenger.returncode is not None


@pytest.mark.parametrize("urls", [f"nonsense://{CANARY}", f"json://127.0.0.1 what:{CANARY}"])
async def test_an_address_that_is_none_is_named_by_its_place(urls: str) -> None:
    async with Told(urls) as told:
        told.notifier.note("alarms", 0, "help")
        await told.speaks()
    assert "is none that apprise knows" in told.said[0] and f"of {len(urls.split())}" in told.said[0]
    assert CANARY not in told.said[0]


async def test_a_messenger_that_dies_costs_nothing_but_a_word(
    phone: tuple[Phone, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, url = phone
    async with Told(url) as told:
        told.notifier.note("alarms", 0, "one")
        await service.message()
        assert told.notifier._messenger is not None
        told.notifier._messenger.kill()
        await told.notifier._messenger.wait()
        told.notifier.note("alarms", 1, "two")
        await told.speaks()
        told.notifier.note("alarms", 2, "three")
        assert "three" in (await service.message())[1]
    assert told.said == ["notifications: the messenger did not answer; told once, until they work again"]


async def test_an_engine_tells_its_fills(home: Home, phone: tuple[Phone, str]) -> None:
    service, url = phone
    engine = await home.engine(
        "--speed", "max", "--bars", "40", COCKPIT_NOTIFY_URLS=url, COCKPIT_NOTIFY__EVENTS="fills,summary"
    )
    code, out, errors = await engine.end()
    assert code == 0, errors
    bodies = []
    while not service.messages.empty():
        bodies.append((await service.message())[1])
    text = "\n".join(bodies)
    assert "fee" in text and ("bought" in text or "sold" in text)
    assert "equity" in text and "round trips" in text
    assert CANARY not in out + errors
    for file in home.path.rglob("*"):
        if file.is_file():
            assert CANARY.encode() not in file.read_bytes(), file


# -- what is told -----------------------------------------------------------------------------------------


async def test_of_the_ledger_only_what_was_asked_for_is_kept() -> None:
    everything, some, nobody = Told("json://x"), Told("json://x", events=("halts",)), Told("")
    for told in (everything, some, nobody):
        kept = journal()
        told.notifier.follow(kept)
        fill = Fill("1", "v", "c", BTC, D(1), D(1000), D("-0.5"), "USDT", 5)
        for event in (
            Filled(5, fill, ()),
            Switched(6, "halted", "the daily loss"),
            Repaired(7, "an orphan was cancelled", "nothing held"),
            Ramped(8, D("0.1"), "drift"),
        ):
            for listener in kept._listeners:
                listener(event)
    assert [kind for kind, _ in noted(everything.notifier)] == ["fills", "halts", "repairs", "alarms"]
    assert [kind for kind, _ in noted(some.notifier)] == ["halts"]
    assert noted(nobody.notifier) == []


async def test_the_queue_is_bounded_and_what_is_lost_is_counted() -> None:
    told = Told("json://x")
    for n in range(KEPT + 30):
        told.notifier.note("fills", n, f"bought {n}")
    assert len(told.notifier._notes) == KEPT and told.notifier._lost == 30
    message = digest("LIVE", list(told.notifier._notes), 30)
    assert message.title == f"cockpit LIVE: {KEPT} fills"
    lines = message.body.splitlines()
    assert len(lines) == SHOWN + 2
    assert lines[0] == f"... {KEPT - SHOWN} earlier fills" and lines[-1].startswith("30 lines were too many")


async def test_the_same_line_waits_once() -> None:
    told = Told("json://x")
    told.notifier.note("alarms", 5, "halted: the daily loss")
    told.notifier.note("halts", 5, "halted: the daily loss")
    assert len(told.notifier._notes) == 1


def test_a_message_of_a_summary_alone_says_so() -> None:
    assert digest("DEMO", [Note("summary", 0, "equity 1")]).title == "cockpit DEMO: summary of the day"


def test_the_day_is_summed_up_when_it_ends_and_a_profit_has_its_interval() -> None:
    books = journal().books
    day = Day(books)

    def close(ts: int, equity: str) -> str:
        books.apply(Stepped(ts, ts - 1, D(equity)))
        return day.ended(ts)

    hours = [close(DAY + hour * 3_600_000, str(10_000 + hour % 5)) for hour in range(24)]
    assert not any(hours)
    hourly = close(2 * DAY, "10050")
    assert hourly.startswith("1970-01-02T00:00Z to 1970-01-03T00:00Z: equity 10,050.00 USDT; 0 fills")
    assert "+" not in hourly.partition("fees")[0], "so few bars tell nothing of a profit"
    quarters = [close(2 * DAY + n * 900_000, str(10_050 + n % 7)) for n in range(1, 97)]
    assert not any(quarters[:-1])
    assert "(95% " in quarters[-1] and "open: nothing" in quarters[-1]


def test_addresses_come_from_the_environment_or_the_file_beside(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('COCKPIT_NOTIFY_URLS="json://a json://b"\n')
    assert notify_urls(tmp_path, {}) == ("json://a", "json://b")
    assert notify_urls(tmp_path, {"COCKPIT_NOTIFY_URLS": "json://c"}) == ("json://c",)
    assert notify_urls(tmp_path / "none", {}) == ()
    assert set(EVENTS) >= set(notify.KINDS.values())
