"""The account on disk: one SQLite file, written in the same transaction as the state it belongs to.

WAL with synchronous=NORMAL: a killed process loses nothing it has answered. (A power cut may lose the last
moments: this is a simulator, not a ledger.)
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rows (
    kind TEXT NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL, client_id TEXT NOT NULL, instrument TEXT NOT NULL,
    ts INTEGER NOT NULL, tag TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS rows_by_seq ON rows (kind, seq);
CREATE INDEX IF NOT EXISTS rows_by_client ON rows (kind, client_id) WHERE client_id <> '';
"""

_ANSWERS = 64


class Row(msgspec.Struct, frozen=True):
    """One order, fill, bill or trigger as OKX tells it (`body`), with what it is searched by.

    `kind` is order, fill, bill or trigger; `tag` is an order's state, a fill's order id, a bill's type."""

    kind: str
    id: str
    client_id: str
    instrument: str
    ts: int
    tag: str
    body: dict[str, object]


class Store:
    """Everything the exchange remembers beyond its present state."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, cached_statements=64)
        self._db.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; {_SCHEMA}")
        self._found: dict[tuple[object, ...], tuple[msgspec.Raw, ...]] = {}
        """What was answered since a row was last written: between two trades the same is asked again and again."""
        self._seq: int = self._db.execute("SELECT coalesce(max(seq), 0) FROM rows").fetchone()[0]

    def close(self) -> None:
        self._db.close()

    def commit(self, rows: Iterable[Row], meta: dict[str, bytes]) -> None:
        """Write all or nothing. A row keeps its place among its kind when it is written again."""
        execute = self._db.execute
        execute("BEGIN")
        for row in rows:
            self._found.clear()
            self._seq += 1
            execute(
                "INSERT INTO rows VALUES (?,?,?,?,?,?,?,?) ON CONFLICT (kind, id) DO UPDATE"
                " SET ts=excluded.ts, tag=excluded.tag, body=excluded.body",
                (
                    row.kind,
                    row.id,
                    self._seq,
                    row.client_id,
                    row.instrument,
                    row.ts,
                    row.tag,
                    msgspec.json.encode(row.body),
                ),
            )
        for key, value in meta.items():
            execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (key, value))
        execute("COMMIT")

    def meta(self, key: str) -> bytes | None:
        found = self._db.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return found[0] if found else None

    def find(self, kind: str, **asked: Any) -> list[dict[str, object]]:
        """What `texts` tells, read."""
        return [msgspec.json.decode(text, type=dict[str, object]) for text in self.texts(kind, **asked)]

    def texts(
        self,
        kind: str,
        *,
        id: str = "",
        client_id: str = "",
        instrument: str = "",
        tags: tuple[str, ...] = (),
        older_than: str = "",
        newer_than: str = "",
        begin: int = 0,
        end: int = 0,
        limit: int = 100,
    ) -> list[msgspec.Raw]:
        """Bodies (JSON) that match everything given, newest first. `older_than` and `newer_than` are ids of this
        kind; `begin` and `end` are inclusive ms. As at OKX, what is asked to be newer than an id starts with the
        newest of all, so that a gap wider than `limit` must be paged backward."""
        where, values = ["kind=?"], [kind]  # type: tuple[list[str], list[object]]
        for clause, value in (
            ("id=?", id),
            ("client_id=?", client_id),
            ("instrument=?", instrument),
            ("ts>=?", begin),
            ("ts<=?", end),
        ):
            if value:
                where.append(clause)
                values.append(value)
        if tags:
            where.append(f"tag IN ({','.join('?' * len(tags))})")
            values += tags
        for sign, edge in (("<", older_than), (">", newer_than)):
            if edge:
                where.append(f"seq {sign} coalesce((SELECT seq FROM rows WHERE kind=? AND id=?), 0)")
                values += (kind, edge)
        text = f"SELECT body FROM rows WHERE {' AND '.join(where)} ORDER BY seq DESC LIMIT ?"
        asked = (text, *values, limit)
        found = self._found.get(asked)
        if found is None:
            rows = self._db.execute(text, asked[1:]).fetchall()
            found = self._found[asked] = tuple(msgspec.Raw(body) for (body,) in rows)
            if len(self._found) > _ANSWERS:
                del self._found[next(iter(self._found))]
        return list(found)
