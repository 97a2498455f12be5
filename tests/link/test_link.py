"""The engine's socket: what a client sees, what a bad client cannot do, and who may listen."""

# ruff: noqa: ASYNC240 (a temporary file may block a test's loop)

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.domain.errors import UserError
from core.domain.snapshot import (
    Clusters,
    Command,
    Equity,
    LogLine,
    PairTable,
    Reply,
    Snapshot,
    Status,
    Stream,
)
from core.link import wire
from core.link.client import LinkClient, ask, new_id
from core.link.server import IN_FLIGHT, LinkServer


def snapshot(bars: int = 1, price: float = 100.0, log: tuple[LogLine, ...] = ()) -> Snapshot:
    """A small but complete snapshot; `bars` changes the status, `price` the streams."""
    return Snapshot(
        status=Status(
            session="s1", venue="local", mode="DEMO", phase="running", detail="", progress=-1.0, state="active",
            pid=1, strategies=["divergence"], model="m", base_rate=0.5, bar_ms=3_600_000, bars=bars, bars_total=0,
            market_ms=0, wall_ms=0, latency_ms=1.0, lag_ms=1.0, step_ms=1.0, streams_live=1, streams_total=1,
            warning="",
        ),
        streams=[Stream("BTC", "BTC-USDT-SWAP", price, 0.01, 0.0001, 0.1, "live")],
        pairs=PairTable(["BTC/ETH"], [1.0], [0.5], [0.5], [-1], [0.0], [0.8], [20.0], ["held"], [True]),
        positions=[],
        equity=Equity(
            "USDT", *([1.0] * 12), round_trips=0, orders=0, fills=0, agrees=True, curve=[1.0], curve_ms=[0]
        ),
        clusters=Clusters("correlation", ["BTC"], [0], [1.0]),
        log=list(log),
    )  # fmt: skip


def line(seq: int, text: str = "x") -> LogLine:
    return LogLine(seq, seq, "engine", "info", text)


class Engine:
    """A handler that remembers its commands and answers when allowed to."""

    def __init__(self) -> None:
        self.seen: list[Command] = []
        self.open = asyncio.Event()
        self.open.set()
        self.entered = asyncio.Event()

    async def handle(self, command: Command) -> Reply:
        self.seen.append(command)
        self.entered.set()
        await self.open.wait()
        if command.name == "open":
            raise UserError(f"{command.pair}: no such pair")
        if command.name == "close":
            raise ZeroDivisionError
        return Reply(command.id, True, command.name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "engine.sock"


@pytest.fixture
async def engine() -> Engine:
    return Engine()


@pytest.fixture
async def server(path: Path, engine: Engine) -> AsyncIterator[LinkServer]:
    server = LinkServer(path, engine.handle, session="s1", log_limit=50, history=10)
    await server.start()
    yield server
    await server.close()


@contextlib.asynccontextmanager
async def connected(path: Path, **options: Any) -> AsyncIterator[LinkClient]:
    client = LinkClient(path, **{"rate": 20.0, **options})
    await client.connect()
    try:
        yield client
    finally:
        await client.close()


async def until(client: LinkClient, *names: str) -> None:
    """Wait until every one of `names` has changed."""
    missing = set(names)
    async with asyncio.timeout(5):
        async for changed in client.changes():
            missing -= changed
            if not missing:
                return


async def test_a_client_gets_everything_and_then_only_what_changed(server: LinkServer, path: Path) -> None:
    server.publish(snapshot(log=(line(0), line(1))))
    async with connected(path) as client:
        await until(client, *wire.TOPICS, "log")
        assert client.session == "s1" and client.state == "live"
        assert client.snapshot == snapshot(log=(line(0), line(1)))

        server.publish(snapshot(price=101.0, log=(line(0), line(1), line(2))))
        changes = client.changes()
        seen: frozenset[str] = frozenset()
        while "log" not in seen:
            seen |= await anext(changes)
        assert seen == {"streams", "log"}
        assert client.latest["streams"][0].last == 101.0
        assert [entry.seq for entry in client.log] == [0, 1, 2]


async def test_of_a_topic_only_the_latest_arrives_but_every_log_line_does(server: LinkServer, path: Path) -> None:
    async with connected(path) as client:
        for number in range(40):
            server.publish(snapshot(bars=number))
            server.log(line(number))
        updates = 0
        async for changed in client.changes():
            updates += "status" in changed
            if client.latest.get("status") and client.latest["status"].bars == 39 and client.logged == 40:
                break
        assert updates <= 2
        assert [entry.seq for entry in client.log] == list(range(40))


async def test_an_unchanged_snapshot_costs_no_frame(server: LinkServer) -> None:
    server.publish(snapshot())
    before = dict(server.topics)
    server.publish(snapshot())
    assert server.topics == before


async def test_a_new_client_gets_the_last_lines_of_the_log(server: LinkServer, path: Path) -> None:
    for number in range(30):
        server.log(line(number))
    async with connected(path) as client:
        await until(client, "log")
        assert [entry.seq for entry in client.log] == list(range(20, 30))
        assert client.lost == 0


async def test_a_slow_client_is_told_what_it_lost_and_costs_no_memory(server: LinkServer, path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(wire.frame(wire.Hello(wire.PROTOCOL, False, rate=20.0)))
    assert isinstance(wire.from_server(await wire.read_body(reader)), wire.Hello)
    reader._transport.pause_reading()  # type: ignore[attr-defined]

    server.publish(snapshot())
    long = "y" * 40_000
    await so(lambda: server.clients)
    (client,) = server.clients
    number = -1
    while client.writer.transport.get_write_buffer_size() < 70_000:  # until the kernel takes no more
        number += 1
        server.log(line(number, long))
        await asyncio.sleep(0)
    for _ in range(200):
        number += 1
        server.publish(snapshot(bars=number))
        server.log(line(number))
    assert len(server.lines) == 50 and len(client.dirty) <= len(wire.TOPICS)

    reader._transport.resume_reading()  # type: ignore[attr-defined]
    gap = 0
    got: list[int] = []
    topics: dict[str, Any] = {}
    async with asyncio.timeout(10):
        while not got or got[-1] != number:
            match wire.from_server(await wire.read_body(reader)):
                case wire.Gap(lost=lost):
                    gap += lost
                    topics.clear()
                case wire.Logged(line=entry):
                    got.append(entry.seq)
                case wire.Topic() as topic:
                    topics[topic.name] = wire.topic_value(topic)
    assert gap > 0 and gap + len(got) == number + 1
    assert topics.keys() == wire.TOPICS.keys(), "a gap is followed by a fresh snapshot"
    assert topics["status"].bars == number
    writer.close()


async def so(condition: Callable[[], object]) -> None:
    """Let the loop turn until `condition` holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 (the code under test offers no event for this)
            await asyncio.sleep(0)


async def test_the_client_marks_a_gap_in_its_log() -> None:
    client = LinkClient(Path("unused"))
    client._receive(wire.Logged(line(7)))
    client._receive(wire.Gap(12))
    assert client.lost == 12
    assert client.log[-1].level == "warn" and "12 lines" in client.log[-1].text


async def test_several_clients_see_the_same(server: LinkServer, path: Path) -> None:
    async with connected(path) as one, connected(path) as two:
        server.publish(snapshot())
        await until(one, *wire.TOPICS)
        await until(two, *wire.TOPICS)
        assert one.snapshot == two.snapshot is not None


async def test_commands_are_answered(server: LinkServer, path: Path, engine: Engine) -> None:
    async with connected(path) as client:
        reply = await client.command(Command(new_id(), "pause", who="tester"))
        assert reply.ok and reply.message == "pause"
        refused = await client.command(Command(new_id(), "open", pair="A/B"))
        assert not refused.ok and refused.message == "A/B: no such pair"
        broken = await client.command(Command(new_id(), "close", pair="A/B"))
        assert not broken.ok and "failed inside the engine" in broken.message
    assert [command.name for command in engine.seen] == ["pause", "open", "close"]
    assert engine.seen[0].who == "tester"


async def test_a_slow_command_does_not_hold_up_the_next_one(server: LinkServer, path: Path, engine: Engine) -> None:
    async with connected(path) as client:
        engine.open.clear()
        flatten = asyncio.create_task(client.command(Command("1", "flatten")))
        await engine.entered.wait()
        pause = asyncio.create_task(client.command(Command("2", "pause")))
        await so(lambda: len(engine.seen) == 2)
        engine.open.set()
        assert (await flatten).message == "flatten" and (await pause).message == "pause"


async def test_too_many_waiting_commands_are_refused(server: LinkServer, path: Path, engine: Engine) -> None:
    async with connected(path) as client:
        engine.open.clear()
        waiting = [asyncio.create_task(client.command(Command(str(i), "pause"))) for i in range(IN_FLIGHT)]
        await so(lambda: len(engine.seen) == IN_FLIGHT)
        refused = await client.command(Command("more", "pause"))
        assert not refused.ok and "waiting already" in refused.message
        engine.open.set()
        assert all(reply.ok for reply in await asyncio.gather(*waiting))


async def test_a_command_is_carried_out_although_its_sender_hangs_up(
    server: LinkServer, path: Path, engine: Engine
) -> None:
    engine.open.clear()
    async with connected(path) as client:
        sending = asyncio.create_task(client.command(Command("1", "flatten")))
        await engine.entered.wait()
    with pytest.raises(UserError, match="went away"):
        await sending
    (task,) = server.commands
    engine.open.set()
    await task
    assert not task.cancelled()


async def test_an_answer_that_does_not_come_is_not_called_a_failure(
    server: LinkServer, path: Path, engine: Engine
) -> None:
    engine.open.clear()
    async with connected(path) as client:
        with pytest.raises(UserError, match="look at the log before asking again") as caught:
            await client.command(Command("1", "flatten"), timeout=0.01)
    assert caught.value.code == 3
    engine.open.set()


@pytest.mark.parametrize("name", ["pause", "resume", "open", "close", "flatten", "stop"])
async def test_a_read_only_client_may_not_act(server: LinkServer, path: Path, engine: Engine, name: str) -> None:
    async with connected(path, read_only=True) as client:
        reply = await client.command(Command("1", name))
        assert not reply.ok and "read-only" in reply.message
        assert (await client.command(Command("2", "preview"))).ok
        assert (await client.command(Command("3", "status"))).ok
    assert [command.name for command in engine.seen] == ["preview", "status"]


async def test_a_read_only_server_says_so_and_refuses_everyone(path: Path, engine: Engine) -> None:
    server = LinkServer(path, engine.handle, read_only=True)
    await server.start()
    async with connected(path) as client:
        assert client.read_only
        assert not (await client.command(Command("1", "pause"))).ok
    await server.close()


async def test_ask_needs_no_loop(server: LinkServer, path: Path) -> None:
    server.publish(snapshot(log=(line(0),)))
    reply = await asyncio.to_thread(ask, path, Command("1", "status"))
    assert reply == Reply("1", True, "status")


async def test_ask_says_what_is_wrong(server: LinkServer, path: Path, engine: Engine, tmp_path: Path) -> None:
    engine.open.clear()
    with pytest.raises(UserError, match="gave no answer within"):
        await asyncio.to_thread(ask, path, Command("1", "status"), 0.05)
    engine.open.set()
    with pytest.raises(UserError, match="cockpit demo") as caught:
        ask(tmp_path / "none.sock", Command("1", "status"))
    assert caught.value.code == 3


async def test_no_engine_is_one_clear_line(path: Path) -> None:
    with pytest.raises(UserError, match=r"no engine listens at .*cockpit demo") as caught:
        await LinkClient(path).connect()
    assert caught.value.code == 3


async def test_the_end_of_the_engine_is_noticed(server: LinkServer, path: Path) -> None:
    async with connected(path) as client:
        await server.close()
        async with asyncio.timeout(5):
            changes = [changed async for changed in client.changes()]
        assert client.state == "gone" and "link" in changes[-1]
        with pytest.raises(UserError, match="cannot be reached"):
            await client.command(Command("1", "pause"))


async def test_a_silent_link_turns_stale_and_comes_back(
    server: LinkServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.link.client.SILENCE", 0.05)  # shorter than the server's heartbeat
    async with connected(path) as client:
        await until(client, "link")
        assert client.state == "stale"
        await until(client, "link")
        assert client.state == "live", "the heartbeat brings it back"


async def test_an_idle_engine_sends_heartbeats(server: LinkServer, path: Path) -> None:
    async with connected(path) as client:
        first = client._silence
        await so(lambda: client._silence is not first)  # every frame starts the wait for silence anew
        assert client.state == "live"


async def test_only_the_owner_may_open_the_socket(server: LinkServer, path: Path) -> None:
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(path.parent).st_mode) == 0o700


async def test_a_second_engine_is_refused_and_the_first_lives_on(server: LinkServer, path: Path) -> None:
    with pytest.raises(UserError, match=r"already runs.*cockpit attach.*cockpit stop"):
        await LinkServer(path, server.handle).start()
    async with connected(path) as client:
        assert (await client.command(Command("1", "status"))).ok


async def test_the_socket_of_a_dead_engine_is_replaced(path: Path, engine: Engine) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    server = LinkServer(path, engine.handle)
    await server.start()
    async with connected(path) as client:
        assert client.state == "live"
    await server.close()
    assert not path.exists()


async def test_what_is_not_a_socket_is_left_alone(path: Path, engine: Engine) -> None:
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(UserError, match="is not a socket"):
        await LinkServer(path, engine.handle).start()
    assert path.read_text() == "mine"


async def test_a_path_that_the_kernel_would_cut_is_refused(tmp_path: Path, engine: Engine) -> None:
    long = tmp_path / ("x" * 100)
    with pytest.raises(UserError, match="100 are allowed"):
        LinkServer(long, engine.handle)
    with pytest.raises(UserError, match="100 are allowed"):
        await LinkClient(long).connect()


async def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path, engine: Engine) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be made .*choose another directory"):
        await LinkServer(tmp_path / "file" / "engine.sock", engine.handle).start()


BAD = {
    "not msgpack": b"\x00\x00\x00\x02\xc1\xc1",
    "a foreign message": b"\x00\x00\x00\x04" + msgspec.msgpack.encode("abc"),
    "a frame without end": b"\xff\xff\xff\xff",
    "a frame cut short": b"\x00\x00\x00\x09abc",
    "no hello first": wire.frame(wire.Ask(Command("1", "stop"))),
    "hello twice": wire.frame(wire.Hello(wire.PROTOCOL, False)) * 2,
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
async def test_a_bad_client_is_hung_up_on_and_hurts_nobody(
    server: LinkServer, path: Path, engine: Engine, data: bytes
) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    writer.write_eof()
    async with asyncio.timeout(5):
        await reader.read()
    writer.close()
    assert not engine.seen
    async with connected(path) as client:
        assert (await client.command(Command("1", "status"))).ok


async def test_another_version_is_named(server: LinkServer, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.hello = wire.frame(wire.Hello(wire.PROTOCOL + 1, False, "s1"))
    with pytest.raises(UserError, match=r"speaks link version 2, this program 1"):
        await LinkClient(path).connect()
    with pytest.raises(UserError, match=r"speaks link version 2, this program 1"):
        await asyncio.to_thread(ask, path, Command("1", "status"))


async def test_something_else_at_the_socket_is_not_taken_for_an_engine(path: Path) -> None:
    path.parent.mkdir()

    async def foreigner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_unix_server(foreigner, path):
        with pytest.raises(UserError, match="is not an engine"):
            await LinkClient(path).connect()
