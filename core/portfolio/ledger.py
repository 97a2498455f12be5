"""The ledger: every event appended to one SQLite file before anything acts on it.

Two backends share one schema and one SQL: `Ledger` writes on aiosqlite's thread so that the loop never waits
for the disk, `SyncLedger` on the caller's own thread, for virtual time. Both speak `Log`, the one port.
"""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, Self

import aiosqlite
import msgspec

from core.domain.errors import UserError
from core.portfolio.events import AnyEvent

APPLICATION_ID = 0x636B7074  # "ckpt", in SQLite's header: whose file this is
SCHEMA = 1

# The lock is exclusive and held while the file is open: a second engine on the same ledger is refused at its
# door, and a killed one leaves no lock behind.
_PREPARE = (
    "PRAGMA locking_mode=EXCLUSIVE",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
)
_CREATE = (
    "BEGIN IMMEDIATE",
    "CREATE TABLE events (seq INTEGER PRIMARY KEY, ts INTEGER NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL)",
    f"PRAGMA application_id={APPLICATION_ID}",
    f"PRAGMA user_version={SCHEMA}",
    "COMMIT",
)
_HEADER = (
    "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master)"
    " FROM pragma_application_id, pragma_user_version"
)
_PAGE = "SELECT seq, body FROM events WHERE seq > ? ORDER BY seq LIMIT 500"
_WAIT_S = 1.0
_ROWS = 5_000  # three variables a row, SQLite takes 32,766 in one statement

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyEvent)


class Log(Protocol):
    """Where events go before anything else happens."""

    async def append(self, batch: Sequence[AnyEvent]) -> None:
        """Write all of `batch` or nothing, in order; durable on disk when it returns.

        A caller that is cancelled meanwhile is cancelled only after the write has ended. Raises `UserError`
        (disk full, file damaged), and then nothing of the batch is in the ledger."""

    async def read(self) -> list[AnyEvent]:
        """All events, in order of writing."""

    async def close(self) -> None: ...


def _insert(batch: Sequence[AnyEvent]) -> tuple[str, list[int | str]]:
    """One statement for the whole batch: in autocommit mode a statement is a transaction of its own, and
    leaves no moment between begin and commit at which it could be abandoned."""
    if len(batch) > _ROWS:
        raise ValueError(f"a batch of {len(batch)} events; at most {_ROWS} can be written at once")
    values: list[int | str] = []
    for event in batch:
        body = _encoder.encode(event)
        _decoder.decode(body)  # an event that could not be read back (a NaN becomes null) must not get in
        values += (event.ts, str(event.__struct_config__.tag), body.decode())
    return f"INSERT INTO events (ts, kind, body) VALUES {','.join(['(?,?,?)'] * len(batch))}", values


def _decode(path: Path, rows: Sequence[tuple[int, str]], after: int) -> list[AnyEvent]:
    """The events of rows that must follow `after` without a gap."""
    events: list[AnyEvent] = []
    for expected, (seq, body) in enumerate(rows, after + 1):
        if seq != expected:
            raise UserError(
                f"{path}: event {expected} is missing; the ledger was damaged: restore it from a backup"
            )
        try:
            events.append(_decoder.decode(body))
        except msgspec.MsgspecError as error:
            raise UserError(
                f"{path}: event {seq} cannot be read ({error}); restore the ledger from a backup"
            ) from error
    return events


def _is_new(path: Path, header: tuple[int, int, int]) -> bool:
    """True for an empty file; raises if it is not a ledger, or one of a newer schema."""
    owner, schema, tables = header
    if owner == 0 and tables == 0:
        return True
    if owner != APPLICATION_ID:
        raise UserError(f"{path}: this SQLite file is not a ledger of cockpit; name another file")
    if schema > SCHEMA:
        raise UserError(
            f"{path}: written by a newer cockpit (schema {schema}, this one knows {SCHEMA});"
            " update cockpit or name another file"
        )
    return False


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """SQLite's errors as one line that names the file and the way out."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        code = getattr(error, "sqlite_errorcode", None)
        # extended result codes keep the primary one in their low byte
        match code & 0xFF if code is not None else None:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                way = "another engine has it open: stop it (cockpit stop) or name another file"
            case sqlite3.SQLITE_FULL:
                way = "the disk is full: free some space and start again; nothing was half-written"
            case sqlite3.SQLITE_NOTADB:
                way = "this is not a ledger of cockpit: name another file"
            case sqlite3.SQLITE_CORRUPT:
                way = "the ledger is damaged: restore it from a backup"
            case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | None:
                way = "the ledger cannot be opened for writing: check the folder and its permissions"
            case _:
                way = "the ledger cannot be used: check the disk"
        raise UserError(f"{path}: {way} ({error})") from error


def peek(path: Path) -> list[AnyEvent]:
    """All events of a ledger that nobody has open, and nothing in the file is changed. Raises `UserError`."""
    with _told(path):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_WAIT_S)
    try:
        with _told(path):
            if _is_new(path, connection.execute(_HEADER).fetchone()):
                return []
        events: list[AnyEvent] = []
        while True:
            with _told(path):
                rows = connection.execute(_PAGE, (len(events),)).fetchall()
            if not rows:
                return events
            events += _decode(path, rows, len(events))
    finally:
        connection.close()


class Ledger:
    """The live backend. Close it, or aiosqlite's thread keeps the process alive."""

    def __init__(self, path: Path, connection: aiosqlite.Connection) -> None:
        self._path = path
        self._connection = connection

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open or create the ledger at `path` and hold its lock; raises `UserError` if that cannot be."""
        with _told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = await aiosqlite.connect(path, isolation_level=None, timeout=_WAIT_S)
            try:
                for statement in _PREPARE:
                    await connection.execute_fetchall(statement)
                (header,) = await connection.execute_fetchall(_HEADER)
                for statement in _CREATE if _is_new(path, tuple(header)) else ():
                    await connection.execute_fetchall(statement)
            except BaseException:
                await connection.close()
                raise
        return cls(path, connection)

    async def append(self, batch: Sequence[AnyEvent]) -> None:
        if not batch:
            return
        statement, values = _insert(batch)
        writing = asyncio.ensure_future(self._write(statement, values))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await writing
            raise

    async def _write(self, statement: str, values: list[int | str]) -> None:
        with _told(self._path):
            await self._connection.execute_insert(statement, values)

    async def read(self) -> list[AnyEvent]:
        events: list[AnyEvent] = []
        while True:
            with _told(self._path):
                rows = await self._connection.execute_fetchall(_PAGE, (len(events),))
            if not rows:
                return events
            events += _decode(self._path, [(row[0], row[1]) for row in rows], len(events))

    async def close(self) -> None:
        await self._connection.close()


class SyncLedger:
    """The same ledger on the caller's thread: its coroutines never wait, so that virtual time stays exact.

    `write` and `events` are the same without a loop."""

    def __init__(self, path: Path, durable: bool = True) -> None:
        """Open or create the ledger at `path` and hold its lock; raises `UserError` if that cannot be. `durable`
        False: writes survive this process, not this machine, and cost no wait for the disk (a simulated one)."""
        self._path = path
        with _told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=_WAIT_S)
            try:
                for statement in (*_PREPARE, *(() if durable else ("PRAGMA synchronous=OFF",))):
                    self._connection.execute(statement).fetchall()
                header = self._connection.execute(_HEADER).fetchone()
                for statement in _CREATE if _is_new(path, header) else ():
                    self._connection.execute(statement).fetchall()
            except BaseException:
                self._connection.close()
                raise

    @classmethod
    async def open(cls, path: Path) -> Self:
        return cls(path)

    def write(self, batch: Sequence[AnyEvent]) -> None:
        """`append` without a loop."""
        if batch:
            statement, values = _insert(batch)
            with _told(self._path):
                self._connection.execute(statement, values)

    def events(self) -> list[AnyEvent]:
        """`read` without a loop."""
        events: list[AnyEvent] = []
        while True:
            with _told(self._path):
                rows = self._connection.execute(_PAGE, (len(events),)).fetchall()
            if not rows:
                return events
            events += _decode(self._path, rows, len(events))

    async def append(self, batch: Sequence[AnyEvent]) -> None:
        self.write(batch)

    async def read(self) -> list[AnyEvent]:
        return self.events()

    async def close(self) -> None:
        self._connection.close()
