"""Whatever somebody writes into the engine's socket: the engine serves on, and its own user alone is heard."""

import asyncio
import os
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.snapshot import Command, Reply
from core.link import server as door
from core.link.client import ask
from core.link.server import LinkServer
from core.link.wire import MAX_COMMAND, PROTOCOL, Ask, Hello, frame, from_client, from_server

HELLO = frame(Hello(PROTOCOL, False))
ASKED = frame(Ask(Command("c1", "status")))
DEEP = b"\x82\xa4type\xa5hello\xa1x" + b"\x91" * 2_000
"""A field that nobody knows: arrays in arrays in arrays."""
LONG = struct.pack(">I", MAX_COMMAND + 1)


@st.composite
def bent(draw: st.DrawFn) -> bytes:
    """A greeting and a command with a few bytes changed, or the rest of it cut away, or only noise in a frame."""
    sound = bytearray(HELLO + ASKED)
    for _ in range(draw(st.integers(0, 4))):
        sound[draw(st.integers(0, len(sound) - 1))] = draw(st.integers(0, 255))
    noise = draw(st.one_of(st.binary(max_size=80), st.just(DEEP)))
    framed = struct.pack(">I", len(noise)) + noise
    cut = bytes(sound[: draw(st.integers(0, len(sound)))])
    return draw(st.sampled_from((bytes(sound), cut, noise, framed, HELLO + framed, HELLO + LONG, LONG)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "engine.sock"


def mode(path: Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


async def _handle(command: Command) -> Reply:
    return Reply(command.id, True, "heard")


@given(st.lists(bent(), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_noise_in_the_socket_ends_its_writers_connection_and_nothing_else(writers: list[bytes]) -> None:
    faults: list[object] = []

    async def run(folder: Path) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        server = LinkServer(folder / "e.sock", _handle)
        await server.start()
        for written in writers:
            reader, writer = await asyncio.open_unix_connection(server.path)
            writer.write(written)
            writer.write_eof()
            async with asyncio.timeout(5):
                await reader.read()
            writer.close()
        reply = await asyncio.to_thread(ask, server.path, Command("c2", "status"), 5.0)
        assert reply.ok
        await server.close()
        assert not server.clients

    for folder in _short_folder():
        asyncio.run(run(folder))
    assert faults == []


def _short_folder() -> Iterator[Path]:
    """A folder whose sockets have short paths."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@given(st.one_of(st.binary(max_size=200), st.just(DEEP)))
@settings(max_examples=200, deadline=None)
def test_a_body_is_a_message_or_the_documented_error(body: bytes) -> None:
    for read in (from_client, from_server):
        try:
            read(body)
        except msgspec.MsgspecError:
            continue


async def test_the_socket_and_its_folder_are_the_users_own(path: Path) -> None:
    server = LinkServer(path, _handle)
    await server.start()
    assert (mode(path.parent), mode(path)) == (0o700, 0o600)
    await server.close()


async def test_in_a_folder_that_others_may_enter_the_socket_is_closed_to_them(path: Path) -> None:
    path.parent.mkdir(mode=0o755)
    server = LinkServer(path, _handle)
    await server.start()
    assert mode(path) == 0o600, "whatever the folder, the socket is the user's own"
    await server.close()


async def test_another_user_is_not_heard(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the modes of folder and socket ever be loosened, the kernel still tells who is there."""
    server = LinkServer(path, _handle)
    await server.start()
    monkeypatch.setattr(door, "peer_uid", lambda _: os.getuid() + 1)
    reader, writer = await asyncio.open_unix_connection(path)
    async with asyncio.timeout(5):
        assert await reader.read() == b"", "not even a greeting"
    writer.close()
    await server.close()


def test_the_kernel_tells_who_is_at_the_other_end() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert door.peer_uid(one) == os.getuid()
