"""Frames of the engine's socket: four bytes of length (big endian), then one msgpack message.

A client says `Hello` first; the server answers with its own, then with every topic as it stands and the last
log lines; after that only with what has changed. Latest wins for topics; log lines come in order, and a
client too slow to take them is told by a `Gap` how many it has lost.
"""

import asyncio
import os
import struct
from pathlib import Path
from typing import Any, Literal

import msgspec

from core.domain.errors import UserError
from core.domain.health import Reading
from core.domain.snapshot import (
    Clusters,
    Command,
    Equity,
    LogLine,
    PairTable,
    PositionRow,
    Reply,
    Snapshot,
    Status,
    Stream,
)

PROTOCOL = 1
MAX_FRAME = 16 << 20
"""Longest frame in bytes: far above any snapshot, low enough that a foreign program cannot eat our memory."""
MAX_COMMAND = 64 << 10
"""Longest frame that the server accepts from a client."""
MAX_PATH = 100
"""Bytes of a socket's path: the kernel takes 107 on Linux and 103 on macOS."""
BEAT = 0.5
"""Seconds after which a server with nothing to say sends a heartbeat."""
SILENCE = 2.0
"""Seconds without a frame after which a client calls the link stale."""

TopicName = Literal["status", "streams", "pairs", "positions", "equity", "clusters", "health"]
TOPICS: dict[TopicName, Any] = {
    "status": Status,
    "streams": list[Stream],
    "pairs": PairTable,
    "positions": list[PositionRow],
    "equity": Equity,
    "clusters": Clusters,
    "health": list[Reading],
}
"""Each topic of a `Snapshot` (its field's name) and its type."""


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The first frame of both sides. `rate` is how many updates a second the client wants (0: none, it only
    asks); `session` names the engine's session and is empty from a client."""

    protocol: int
    read_only: bool
    session: str = ""
    rate: float = 0.0


class Topic(msgspec.Struct, frozen=True, tag="topic"):
    """A topic as it now is; `seq` rises with every change of any topic."""

    seq: int
    name: TopicName
    payload: msgspec.Raw


class Logged(msgspec.Struct, frozen=True, tag="log"):
    """One line of the log."""

    line: LogLine


class Gap(msgspec.Struct, frozen=True, tag="gap"):
    """`lost` log lines will not come: the client was too slow. All topics follow."""

    lost: int


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """The engine lives, and has nothing to say."""


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """A command on its way to the engine."""

    command: Command


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """The engine's reply to the command of the same id."""

    reply: Reply


FromServer = Hello | Topic | Logged | Gap | Beat | Answer
FromClient = Hello | Ask

_LENGTH = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()
_from_server = msgspec.msgpack.Decoder(FromServer)
_from_client = msgspec.msgpack.Decoder(FromClient)
_topics = {name: msgspec.msgpack.Decoder(kind) for name, kind in TOPICS.items()}


def encode(value: object) -> bytes:
    """`value` as msgpack."""
    return _encoder.encode(value)


def frame(message: FromServer | FromClient) -> bytes:
    """`message` as it goes over the socket."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


def from_server(body: bytes) -> FromServer:
    """A server's message. Raises msgspec.MsgspecError where it is not one."""
    message: FromServer = _decoded(_from_server, body)
    return message


def from_client(body: bytes) -> FromClient:
    """A client's message. Raises msgspec.MsgspecError where it is not one."""
    message: FromClient = _decoded(_from_client, body)
    return message


def _decoded(decoder: msgspec.msgpack.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except RecursionError:  # Of a field that nobody reads, too: whoever writes such bytes is no program of ours.
        raise msgspec.DecodeError("nested too deeply") from None


def topic_value(topic: Topic) -> Any:
    """The struct (of `TOPICS`) that a topic carries."""
    return _topics[topic.name].decode(topic.payload)


def body_length(header: bytes, limit: int = MAX_FRAME) -> int:
    """The body's length that a frame's first four bytes promise; ValueError beyond `limit`."""
    length: int = _LENGTH.unpack(header)[0]
    if length > limit:
        raise ValueError(f"a frame of {length} bytes is beyond the limit of {limit}")
    return length


async def read_body(reader: asyncio.StreamReader, limit: int = MAX_FRAME) -> bytes:
    """The next frame's body. Raises IncompleteReadError at the end of the stream, ValueError beyond `limit`."""
    return await reader.readexactly(body_length(await reader.readexactly(_LENGTH.size), limit))


def snapshot_of(latest: dict[str, Any], log: list[LogLine]) -> Snapshot | None:
    """The topics put together; None until each has come once."""
    return Snapshot(**latest, log=log) if len(latest) == len(TOPICS) else None


def check_path(path: Path) -> None:
    """Raise UserError where the kernel would refuse or cut the socket's path."""
    length = len(os.fsencode(path))
    if length > MAX_PATH:
        raise UserError(
            f"the socket's path is {length} bytes long, {MAX_PATH} are allowed: choose a shorter directory ({path})"
        )


def unreachable(path: Path, why: OSError) -> UserError:
    """The one line for an engine that does not answer."""
    if isinstance(why, PermissionError):
        return UserError(f"the engine's socket {path} belongs to another user: run as that user", 3)
    if isinstance(why, FileNotFoundError | ConnectionRefusedError):
        return UserError(f"no engine listens at {path}: start one with `cockpit demo` or `cockpit run`", 3)
    return UserError(f"the engine at {path} cannot be reached ({why}): see `cockpit status`", 3)


def foreign(path: Path, theirs: int) -> UserError:
    """The one line for an engine of another version."""
    return UserError(
        f"the engine at {path} speaks link version {theirs}, this program {PROTOCOL}: "
        "stop it with its own version of cockpit and start it again",
        3,
    )
