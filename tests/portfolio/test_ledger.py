"""The ledger keeps what was written, whole and in order, or says why it cannot."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.domain.account import Bill, BillKind
from core.domain.errors import UserError
from core.domain.orders import (
    Action,
    Fill,
    Intent,
    Leg,
    Order,
    OrderReport,
    OrderState,
    OrderType,
    Origin,
    Protection,
)
from core.portfolio.events import (
    AnyEvent,
    Billed,
    Commanded,
    Decided,
    Filled,
    Intended,
    Loaded,
    Opened,
    Part,
    Planned,
    Protected,
    Repaired,
    Reported,
    Settled,
    Share,
    Stepped,
    Switched,
)
from core.portfolio.ledger import SCHEMA, Ledger, Log, SyncLedger

D = Decimal
Open = Callable[[Path], Coroutine[Any, Any, Log]]


@pytest.fixture(params=[Ledger.open, SyncLedger.open], ids=["aiosqlite", "sync"])
def open_ledger(request: pytest.FixtureRequest) -> Open:
    opener: Open = request.param
    return opener


def one_of_each() -> list[AnyEvent]:
    intent = Intent(
        "i1", 5, "divergence", "BTC/ETH", Action.OPEN, Origin.STRATEGY, (Leg("B", D("-0.10")), Leg("E", D("2.0"))),
        "z 2.5 – short", (1, 0), -1, 0.1 + 0.2, 0.05, 2.5, 1.7, 1e-17,
    )  # fmt: skip
    order = Order("i1L0A0", "i1", 0, 0, "B", D("-0.10"), OrderType.MARKET, 99, None, True)
    report = OrderReport("i1L0A0", "77", "B", OrderState.FILLED, D("0.1"), D("60000.5"), 6, "0", 'say "ok"\n\u2028')
    fill = Fill("t1", "77", "i1L0A0", "B", D("-0.1"), D("60000.50"), D("-0.0300001"), "USDT", 6)
    protection = Protection("p1", "B", D("0.1"), D("66000"), "88")
    bill = Bill("9", 7, BillKind.FUNDING, "B", "USDT", D("-1E-8"), D("99.99"))
    return [
        Opened(1, "a1b2", "okx-local", "USDT", D("10000.00")),
        Decided(2, 1, "divergence", ("BTC/ETH",), (), ("SOL/XRP",), "best of 3"),
        Intended(3, intent, True),
        Planned(4, order),
        Reported(5, report),
        Filled(6, fill, (Part("i1", 0, D("-0.1"), D("-0.0300001")),)),
        Settled(7, "i1", "done"),
        Billed(8, bill, (Share("divergence", "BTC/ETH", D("-1E-8")),)),
        Protected(9, protection, "live"),
        Commanded(10, "pause", "paused", "me"),
        Switched(11, "paused", "by hand"),
        Repaired(12, "position B", "flattened"),
        Loaded(13, "divergence", "b-1", 12),
        Stepped(14, 13, D("10001.123456789012345678901234567890")),
    ]


async def test_what_was_written_is_read_back_bit_for_bit(tmp_path: Path, open_ledger: Open) -> None:
    ledger = await open_ledger(tmp_path / "new" / "ledger.db")
    events = one_of_each()
    await ledger.append(events[:5])
    await ledger.append([])
    await ledger.append(events[5:])
    back = await ledger.read()
    assert back == events
    assert msgspec.json.encode(back) == msgspec.json.encode(events)  # Decimal("0.10") stays 0.10
    await ledger.close()


async def test_both_backends_keep_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    live = await Ledger.open(path)
    await live.append(one_of_each())
    await live.close()
    again = SyncLedger(path)
    again.write([Settled(15, "i2", "aborted")])
    await again.close()
    live = await Ledger.open(path)
    assert await live.read() == [*one_of_each(), Settled(15, "i2", "aborted")]
    await live.close()


async def test_reading_turns_pages(tmp_path: Path, open_ledger: Open) -> None:
    ledger = await open_ledger(tmp_path / "ledger.db")
    events = [Stepped(ts, ts, D(ts)) for ts in range(1201)]
    await ledger.append(events)
    assert await ledger.read() == events
    await ledger.close()


async def test_the_file_is_synced_in_full(tmp_path: Path) -> None:
    ledger = SyncLedger(tmp_path / "ledger.db")
    pragma = ledger._connection.execute
    assert pragma("PRAGMA journal_mode").fetchone() == ("wal",)
    assert pragma("PRAGMA synchronous").fetchone() == (2,)
    await ledger.close()


WRITER = """
import sys
from decimal import Decimal
from pathlib import Path
from core.portfolio.events import Stepped
from core.portfolio.ledger import SyncLedger
ledger = SyncLedger(Path(sys.argv[1]))
ledger.write([Stepped(1, 1, Decimal(1)), Stepped(2, 2, Decimal(2))])
print("written", flush=True)
sys.stdin.read()
"""


async def test_a_killed_writer_loses_nothing_and_leaves_no_lock(tmp_path: Path, open_ledger: Open) -> None:
    path = tmp_path / "ledger.db"
    with subprocess.Popen(  # noqa: ASYNC220 (nothing else runs on this loop)
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        with pytest.raises(UserError, match=r"ledger\.db: another engine has it open: stop it"):
            await open_ledger(path)
        writer.kill()
    ledger = await open_ledger(path)
    assert [event.ts for event in await ledger.read()] == [1, 2]
    await ledger.close()


async def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    ledger = SyncLedger(tmp_path / "ledger.db")
    ledger.write([Switched(1, "paused", "by hand")])
    (pages,) = ledger._connection.execute("PRAGMA page_count").fetchone()
    ledger._connection.execute(f"PRAGMA max_page_count={pages + 3}").fetchall()
    with pytest.raises(UserError, match=r"ledger\.db: the disk is full: free some space"):
        ledger.write([Repaired(ts, "x" * 1000, "y") for ts in range(100)])
    assert ledger.events() == [Switched(1, "paused", "by hand")]
    ledger._connection.execute("PRAGMA max_page_count=100000").fetchall()
    ledger.write([Switched(2, "active", "by hand")])
    assert [event.ts for event in ledger.events()] == [1, 2]
    await ledger.close()


async def test_an_event_that_could_not_be_read_back_is_refused(tmp_path: Path, open_ledger: Open) -> None:
    ledger = await open_ledger(tmp_path / "ledger.db")
    intended = one_of_each()[2]
    assert isinstance(intended, Intended)
    broken = msgspec.structs.replace(intended, intent=msgspec.structs.replace(intended.intent, z=float("nan")))
    with pytest.raises(msgspec.ValidationError):
        await ledger.append([Switched(1, "paused", "by hand"), broken])
    assert await ledger.read() == []
    await ledger.close()


async def test_a_cancelled_append_is_still_written_whole(tmp_path: Path) -> None:
    ledger = await Ledger.open(tmp_path / "ledger.db")
    writing = asyncio.create_task(ledger.append([Stepped(1, 1, D(1)), Stepped(2, 2, D(2))]))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert [event.ts for event in await ledger.read()] == [1, 2]
    await ledger.close()


async def test_concurrent_appends_stay_whole_and_in_order(tmp_path: Path) -> None:
    ledger = await Ledger.open(tmp_path / "ledger.db")
    await asyncio.gather(*(ledger.append([Stepped(n, 0, D(0)), Stepped(n, 1, D(0))]) for n in range(20)))
    assert [(e.ts, e.bar) for e in await ledger.read() if isinstance(e, Stepped)] == [
        (n, half) for n in range(20) for half in (0, 1)
    ]
    await ledger.close()


async def test_a_text_file_is_no_ledger(tmp_path: Path, open_ledger: Open) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, " * 200)
    with pytest.raises(UserError, match=r"notes\.txt: this is not a ledger of cockpit: name another file"):
        await open_ledger(path)


async def test_another_programs_database_is_left_alone(tmp_path: Path, open_ledger: Open) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE songs (title TEXT)")
    other.close()
    with pytest.raises(UserError, match=r"other\.db: this SQLite file is not a ledger of cockpit"):
        await open_ledger(path)


async def test_a_newer_schema_is_refused(tmp_path: Path, open_ledger: Open) -> None:
    path = tmp_path / "ledger.db"
    ledger = SyncLedger(path)
    ledger._connection.execute(f"PRAGMA user_version={SCHEMA + 1}")
    await ledger.close()
    with pytest.raises(UserError, match=r"written by a newer cockpit \(schema 2, this one knows 1\)"):
        await open_ledger(path)


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, open_ledger: Open) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/ledger\.db: the ledger cannot be opened for writing"):
        await open_ledger(tmp_path / "file" / "ledger.db")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ("DELETE FROM events WHERE seq = 2", "event 2 is missing"),
        ("""UPDATE events SET body = '{"event":"moonshot","ts":1}' WHERE seq = 3""", "event 3 cannot be read"),
    ],
)
async def test_damage_is_named_by_event(tmp_path: Path, open_ledger: Open, damage: str, complaint: str) -> None:
    path = tmp_path / "ledger.db"
    broken = SyncLedger(path)
    broken.write(one_of_each())
    broken._connection.execute(damage)
    await broken.close()
    ledger = await open_ledger(path)
    with pytest.raises(UserError, match=rf"ledger\.db: {complaint}"):
        await ledger.read()
    await ledger.close()
