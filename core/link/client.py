"""A terminal's or a command's side of the window."""

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from core.clock import random_name
from core.domain.errors import UserError
from core.domain.snapshot import Command, LogLine, Reply, Snapshot
from core.link.wire import (
    PROTOCOL,
    SILENCE,
    Answer,
    Ask,
    FromServer,
    Gap,
    Hello,
    Logged,
    Topic,
    body_length,
    check_path,
    foreign,
    frame,
    from_server,
    read_body,
    snapshot_of,
    topic_value,
    unreachable,
)

LinkState = Literal["live", "stale", "gone"]


def new_id() -> str:
    """An id for a command."""
    return random_name()[:16]


class LinkClient:
    """Keeps the engine's latest topics and log lines, and sends it commands.

    `state` is live, stale (no frame for two seconds) or gone (the engine hung up; make a new client).
    `latest` holds the last value of each topic by name, `log` the last `keep` lines, `logged` how many came.
    """

    def __init__(self, path: Path, *, read_only: bool = False, rate: float = 5.0, keep: int = 2000) -> None:
        self.path = path
        self.read_only = read_only
        self.rate = rate
        self.session = ""
        self.state: LinkState = "gone"
        self.latest: dict[str, Any] = {}
        self.log: deque[LogLine] = deque(maxlen=keep)
        self.logged = 0
        self.lost = 0
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._silence: asyncio.TimerHandle | None = None

    @property
    def snapshot(self) -> Snapshot | None:
        """All topics and the kept log; None until every topic has come once."""
        return snapshot_of(self.latest, list(self.log))

    async def connect(self, timeout: float = SILENCE) -> None:
        """Shake hands. Raises UserError (exit code 3) with the way out where no engine answers."""
        check_path(self.path)
        try:
            async with asyncio.timeout(timeout):
                reader, self._writer = await asyncio.open_unix_connection(self.path)
                self._writer.write(frame(Hello(PROTOCOL, self.read_only, rate=self.rate)))
                hello = from_server(await read_body(reader))
        except TimeoutError:
            await self.close()
            raise UserError(f"the engine at {self.path} does not answer: see `cockpit status`", 3) from None
        except OSError as error:
            raise unreachable(self.path, error) from error
        except (asyncio.IncompleteReadError, ValueError, msgspec.MsgspecError) as error:
            await self.close()
            raise UserError(f"what listens at {self.path} is not an engine: choose another directory", 3) from error
        theirs = hello.protocol if isinstance(hello, Hello) else -1
        if not isinstance(hello, Hello) or theirs != PROTOCOL:
            await self.close()
            raise foreign(self.path, theirs)
        self.session = hello.session
        self.read_only = self.read_only or hello.read_only
        self.state = "live"
        self._heard()
        self._reading = asyncio.create_task(self._read(reader))

    async def changes(self) -> AsyncIterator[frozenset[str]]:
        """Names of what has changed since the last time: topics, "log", and "link" for `state`.

        Changes that come while the caller is busy are put together. Ends after the engine has hung up."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            changed, self._changed = frozenset(self._changed), set()
            if changed:
                yield changed
            if self.state == "gone":
                return

    async def command(self, command: Command, timeout: float = 10.0) -> Reply:
        """Send a command and wait for its reply. Raises UserError when it does not come within `timeout` s:
        whether the engine has obeyed is then unknown."""
        if self._writer is None or self.state == "gone":
            raise UserError(f"{command.name}: the engine cannot be reached", 3)
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[command.id] = answer
        try:
            async with asyncio.timeout(timeout):
                self._writer.write(frame(Ask(command)))
                await self._writer.drain()
                return await answer
        except TimeoutError:
            raise UserError(
                f"{command.name}: no answer within {timeout:g} s; look at the log before asking again", 3
            ) from None
        except OSError as error:
            raise unreachable(self.path, error) from error
        finally:
            self._waiting.pop(command.id, None)

    async def close(self) -> None:
        """Hang up. The engine does not mind."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
            self._reading = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                self._receive(from_server(await read_body(reader)))
                self._heard()
        except (OSError, asyncio.IncompleteReadError, ValueError, msgspec.MsgspecError):
            pass  # whatever ended the stream, the link is gone, and `state` says so
        finally:
            self._become("gone")
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(UserError("the engine went away before it answered: look at the log", 3))

    def _receive(self, message: FromServer) -> None:
        match message:
            case Topic():
                self.latest[message.name] = topic_value(message)
                self._mark(message.name)
            case Logged(line=line):
                self._keep(line)
            case Gap(lost=lost):
                self.lost += lost
                text = f"{lost} lines are missing here: this terminal was too slow (the engine's log has them)"
                self._keep(LogLine(-1, self.log[-1].ts if self.log else 0, "health", "warn", text))
            case Answer(reply=reply):
                answer = self._waiting.get(reply.id)
                if answer is not None and not answer.done():
                    answer.set_result(reply)

    def _keep(self, line: LogLine) -> None:
        self.log.append(line)
        self.logged += 1
        self._mark("log")

    def _mark(self, name: str) -> None:
        self._changed.add(name)
        self._wake.set()

    def _become(self, state: LinkState) -> None:
        if self._silence is not None:
            self._silence.cancel()
        if self.state != state:
            self.state = state
            self._mark("link")

    def _heard(self) -> None:
        self._become("live")
        if self.rate > 0:  # a client that asked for no updates gets no heartbeats either
            loop = asyncio.get_running_loop()
            self._silence = loop.call_later(SILENCE, self._become, "stale")


def ask(path: Path, command: Command, timeout: float = 10.0, *, read_only: bool = False) -> Reply:
    """Send one command and wait for its reply, without an event loop.

    Raises UserError (exit code 3) where no engine answers within `timeout` seconds."""
    check_path(path)
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(timeout)
        try:
            link.connect(os.fspath(path))
            link.sendall(frame(Hello(PROTOCOL, read_only)) + frame(Ask(command)))
            with link.makefile("rb") as stream:
                while True:
                    message = from_server(_exactly(stream.read(body_length(_exactly(stream.read(4), 4))), 1))
                    if isinstance(message, Hello) and message.protocol != PROTOCOL:
                        raise foreign(path, message.protocol)
                    if isinstance(message, Answer) and message.reply.id == command.id:
                        return message.reply
        except TimeoutError:
            raise UserError(
                f"{command.name}: the engine at {path} gave no answer within {timeout:g} s", 3
            ) from None
        except OSError as error:
            raise unreachable(path, error) from error
        except (EOFError, ValueError, msgspec.MsgspecError) as error:
            raise UserError(f"{command.name}: the engine at {path} went away before it answered", 3) from error


def _exactly(data: bytes, least: int) -> bytes:
    """`data`, or EOFError where the stream ended before `least` bytes came."""
    if len(data) < least:
        raise EOFError
    return data
