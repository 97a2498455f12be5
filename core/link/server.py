"""The engine's side of the window: publishes topics and log lines, takes commands.

A client costs the engine a set of at most six names and a place in the shared log, however slow it is.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import socket
import stat
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice
from pathlib import Path

import msgspec

from core.domain.errors import UserError
from core.domain.snapshot import Command, LogLine, Reply, Snapshot
from core.link.wire import (
    BEAT,
    MAX_COMMAND,
    PROTOCOL,
    SILENCE,
    TOPICS,
    Answer,
    Ask,
    Beat,
    FromClient,
    Gap,
    Hello,
    Logged,
    Topic,
    TopicName,
    check_path,
    encode,
    frame,
    from_client,
    read_body,
)

Handle = Callable[[Command], Awaitable[Reply]]

HARMLESS = frozenset({"preview", "status", "trail"})
"""Commands that change nothing: all that a read-only client may send."""
IN_FLIGHT = 8
"""Commands that one client may have waiting for their replies."""
FASTEST = 20.0
SLOWEST = 1.0
"""Updates a second that a client can get at most and at least (slower would look like a stale link)."""

_log = logging.getLogger(__name__)


class LinkServer:
    """Serves the engine's socket at `path` to any number of clients of its own user.

    `handle` answers commands; a UserError it raises becomes a refusal. `log_limit` lines are kept: a client
    that falls behind by more is told of the gap. A new client gets the last `history` of them.
    """

    def __init__(
        self,
        path: Path,
        handle: Handle,
        *,
        session: str = "",
        read_only: bool = False,
        log_limit: int = 2000,
        history: int = 300,
    ) -> None:
        check_path(path)
        self.path = path
        self.handle = handle
        self.hello = frame(Hello(PROTOCOL, read_only, session))
        self.read_only = read_only
        self.history = history
        self.topics: dict[TopicName, bytes] = {}
        self._payloads: dict[TopicName, bytes] = {}
        self._seq = 0
        self.lines: deque[bytes] = deque(maxlen=log_limit)
        self.logged = 0
        self._last_line = -1
        self.clients: set[_Client] = set()
        self.commands: set[asyncio.Task[None]] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._lock: int | None = None

    async def start(self) -> None:
        """Listen. Raises UserError where another engine does, or where the socket cannot be made."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _lock(self.path)
            listener = _bind(self.path)
        except OSError as error:
            self._unlock()
            raise UserError(
                f"the engine's socket {self.path} cannot be made ({error.strerror}): choose another directory"
            ) from error
        except UserError:
            self._unlock()
            raise
        self._server = await asyncio.start_unix_server(self._serve, sock=listener)

    async def close(self) -> None:
        """Let replies under way leave (at most a second), hang up, and remove the socket."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        if self.commands:
            await asyncio.wait(self.commands, timeout=1.0)
        for client in tuple(self.clients):
            client.writer.close()
        if self._serving:
            _, stuck = await asyncio.wait(self._serving, timeout=1.0)
            for task in stuck:
                task.cancel()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self._unlock()

    def publish(self, snapshot: Snapshot) -> None:
        """Offer a new snapshot: topics that differ from the last one go to every client at its own pace.

        Log lines in it with a `seq` above the last known one are logged."""
        changed: list[TopicName] = []
        for name in TOPICS:
            payload = encode(getattr(snapshot, name))
            if payload == self._payloads.get(name):
                continue
            self._seq += 1
            self._payloads[name] = payload
            self.topics[name] = frame(Topic(self._seq, name, msgspec.Raw(payload)))
            changed.append(name)
        for line in snapshot.log:
            if line.seq > self._last_line:
                self.log(line)
        for client in self.clients:
            client.offer(changed)

    def log(self, line: LogLine) -> None:
        """Send a line to every client, in order."""
        self._last_line = max(self._last_line, line.seq)
        self.lines.append(frame(Logged(line)))
        self.logged += 1
        for client in self.clients:
            client.offer(())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            if peer_uid(writer.get_extra_info("socket")) != os.getuid():
                _log.warning("another user has opened the engine's socket, and was not heard")
                return
            async with asyncio.timeout(SILENCE):
                hello = await _read(reader)
            if not isinstance(hello, Hello):
                return
            writer.write(self.hello)
            await writer.drain()
            if hello.protocol != PROTOCOL:
                return
            client = _Client(self, hello, writer)
            self.clients.add(client)
            try:
                await client.run(reader)
            finally:
                self.clients.discard(client)
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError) as error:
            _log.debug("a client of the socket left: %s", error)
        finally:
            writer.close()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class _Client:
    """One client: the names of topics it has not got yet, and its place in the log."""

    def __init__(self, server: LinkServer, hello: Hello, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.writer = writer
        self.read_only = hello.read_only or server.read_only
        self.rate = min(max(hello.rate, SLOWEST), FASTEST) if hello.rate > 0 else 0.0
        self.dirty: set[TopicName] = set(server.topics)
        self.cursor = server.logged - min(server.history, len(server.lines))
        self.in_flight = 0
        self._wake = asyncio.Event()
        if self.dirty or server.lines:
            self._wake.set()

    def offer(self, names: list[TopicName] | tuple[()]) -> None:
        self.dirty.update(names)
        self._wake.set()

    async def run(self, reader: asyncio.StreamReader) -> None:
        """Read commands until the client leaves, while another task sends it what is new."""
        sender = asyncio.create_task(self._send()) if self.rate > 0 else None
        try:
            while True:
                message = await _read(reader)
                if not isinstance(message, Ask):
                    raise ValueError("a client may say hello only once")
                await self._take(message.command)
        finally:
            if sender is not None:
                sender.cancel()

    async def _send(self) -> None:
        beat = frame(Beat())
        with contextlib.suppress(OSError):
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(BEAT):
                        await self._wake.wait()
                self._wake.clear()
                self.writer.writelines(self._due() or [beat])
                await self.writer.drain()
                await asyncio.sleep(1 / self.rate)

    def _due(self) -> list[bytes]:
        """The frames this client lacks: a gap if the log has run away from it, topics, then log lines."""
        server = self.server
        oldest = server.logged - len(server.lines)
        frames: list[bytes] = []
        if self.cursor < oldest:
            frames.append(frame(Gap(oldest - self.cursor)))
            self.dirty.update(server.topics)
            self.cursor = oldest
        frames += [server.topics[name] for name in TOPICS if name in self.dirty]
        frames += islice(server.lines, self.cursor - oldest, None)
        self.dirty.clear()
        self.cursor = server.logged
        return frames

    async def _take(self, command: Command) -> None:
        if self.read_only and command.name not in HARMLESS:
            await self._answer(Reply(command.id, False, f"{command.name}: this connection is read-only"))
        elif self.in_flight >= IN_FLIGHT:
            await self._answer(
                Reply(command.id, False, f"{command.name}: {IN_FLIGHT} commands are waiting already")
            )
        else:
            # The task belongs to the server: a command that has been taken is carried out, even if whoever
            # asked hangs up meanwhile.
            self.in_flight += 1
            task = asyncio.create_task(self._handle(command))
            self.server.commands.add(task)
            task.add_done_callback(self._handled)

    def _handled(self, task: asyncio.Task[None]) -> None:
        self.in_flight -= 1
        self.server.commands.discard(task)

    async def _handle(self, command: Command) -> None:
        try:
            reply = await self.server.handle(command)
        except UserError as error:
            reply = Reply(command.id, False, str(error))
        except Exception:
            # The person at the terminal must hear something, the engine must go on, the log gets the traceback.
            _log.exception("the command %s failed", command.name)
            reply = Reply(command.id, False, f"{command.name} failed inside the engine: see its log")
        with contextlib.suppress(OSError):
            await self._answer(reply)

    async def _answer(self, reply: Reply) -> None:
        self.writer.write(frame(Answer(reply)))
        await self.writer.drain()


async def _read(reader: asyncio.StreamReader) -> FromClient:
    """The next message of a client; ValueError where it makes no sense."""
    try:
        return from_client(await read_body(reader, MAX_COMMAND))
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a message of this link: {error}") from error


def peer_uid(connection: socket.socket) -> int:
    """The user id of whoever opened the other end, as the kernel knows it; our own where the system cannot tell
    (there the modes of folder and socket stand alone)."""
    if not hasattr(socket, "SO_PEERCRED"):
        return os.getuid()
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", told)[1])


def _lock(path: Path) -> int:
    """Hold `path`.lock while this engine lives: unlike the socket file, a lock cannot outlive its process."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise UserError(
            f"an engine already runs at {path}: look at it with `cockpit attach`, or end it with `cockpit stop`"
        ) from None
    return lock


def _bind(path: Path) -> socket.socket:
    """A socket at `path` that only this user can open; what a dead engine left there is removed."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise UserError(f"{path} exists and is not a socket: move it away, or choose another directory")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        listener.bind(os.fspath(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener
