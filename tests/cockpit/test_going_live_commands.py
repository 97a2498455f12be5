"""What a user types to go live, and to see how well it goes."""

import asyncio
import json
import os
import pty
import sys
from pathlib import Path

import msgspec
import pytest
from rich.console import Console
from scene import FakeEngine, Scene

from cockpit.commands.quality import render
from core.domain.quality import Cost, Quality, QualityRow
from core.domain.snapshot import Command, Reply

KEYS = {"OKX_API_KEY": "canary-key", "OKX_API_SECRET": "canary-secret", "OKX_API_PASSPHRASE": "canary-phrase"}
ROW = QualityRow("divergence", "BTC-USDT-SWAP", 24, 31, 48_200.0, 41.93, 1.2, 2.5, 5.0, 1.0, Cost(8.7, 4.1, 13.3))
ALL = msgspec.structs.replace(ROW, strategy="", instrument="", legs=48)
TOLD = Quality(
    1_723_075_200_000, 1_723_680_000_000, [ROW, ROW], ALL, Cost(2.7, -0.3, 5.7), 20, 5.0, False, 1.0, ""
)  # fmt: skip


class Engine(FakeEngine):
    async def handle(self, command: Command) -> Reply:
        if command.name == "quality":
            return Reply(command.id, True, "", quality=TOLD)
        return await super().handle(command)


def environment(home: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("COCKPIT_", "OKX_"))}
    return {**clean, "COCKPIT_HOME": str(home), "COLUMNS": "160", "NO_COLOR": "1", "TERM": "dumb"}


async def cockpit(home: Path, line: str, **environ: str) -> tuple[int, str, str]:
    """(code, stdout, stderr) of the program, with nobody at a terminal."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cockpit", *line.split()),
        cwd=home,
        env={**environment(home), **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def drawn(told: Quality) -> str:
    console = Console(width=160, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(render(told))
    return console.export_text()


# -- real money, and none -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("run --shadow --live", "--shadow sends nothing"),
        ("run --shadow --venue okx", "--shadow sends nothing"),
        ("run --live", "venue demo has none"),
    ],
)
async def test_what_contradicts_itself_is_wrong_usage(tmp_path: Path, line: str, why: str) -> None:
    code, _, err = await cockpit(tmp_path, line)
    assert code == 2 and why in err


async def test_real_money_takes_a_word_and_then_says_all_that_is_missing(tmp_path: Path) -> None:
    code, _, err = await cockpit(tmp_path, "run --venue okx --strategy zscore")
    assert code == 1 and "say so with cockpit run --venue okx --live" in err
    code, _, err = await cockpit(tmp_path, "run --venue okx --live --strategy zscore")
    assert code == 1 and [line.split(":")[0].strip() for line in err.strip().splitlines()[1:]] == [
        "keys", "account", "rehearsal",
    ]  # fmt: skip


async def test_the_accounts_name_is_typed_in_at_a_terminal(tmp_path: Path) -> None:
    """What is then missing is not the name; no key is ever shown."""
    master, slave = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cockpit", "run", "--venue", "okx", "--live", "--strategy", "zscore"),
        cwd=tmp_path,
        env={**environment(tmp_path), **KEYS},
        stdin=slave,
        stdout=slave,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(slave)
    os.write(master, b"main\n")
    async with asyncio.timeout(60):
        _, err = await process.communicate()
    asked = os.read(master, 4096).decode()
    os.close(master)
    assert process.returncode == 1 and "Type the name of the account" in asked
    said = err.decode()
    assert "rehearsal:" in said and "account:" not in said and "canary" not in said + asked


# -- execution ----------------------------------------------------------------------------------------------


async def test_quality_is_told_with_its_interval(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "engine.sock", Scene())
    await engine.server.start()
    try:
        code, out, err = await cockpit(tmp_path, "quality")
        assert code == 0, err
        assert "+8.7 (+4.1 to +13.3)" in out and "+2.7 (-0.3 to +5.7) bps over the last 20 legs, within" in out
        code, out, _ = await cockpit(tmp_path, "quality --json")
        assert code == 0 and json.loads(out)["total"]["legs"] == 48
    finally:
        await engine.server.close()


async def test_without_an_engine_there_is_nothing_to_ask(tmp_path: Path) -> None:
    assert (await cockpit(tmp_path, "quality"))[0] == 3


def test_nothing_executed_is_said_in_words() -> None:
    nothing = QualityRow("", "", 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, Cost(0.0))
    empty = msgspec.structs.replace(TOLD, rows=[], total=nothing)
    assert "nothing to measure" in drawn(empty)


def test_few_legs_have_no_interval_and_the_ramp_is_named() -> None:
    few = msgspec.structs.replace(TOLD, drift=Cost(9.0), drifted=True, share=0.25, ramp="7 days without drift")
    text = drawn(few)
    assert "+9.0 (too few)" in text and "beyond the bound of 5" in text
    assert "25% of all sizes may be used: 7 days without drift" in text


def test_the_table_holds_every_part() -> None:
    head, first, *_ = drawn(TOLD).splitlines()
    assert head.split() == [
        "strategy", "instrument", "legs", "fills", "value", "cost", "delay", "spread", "fee", "shortfall", "bps",
        "(95%)", "assumed",
    ]  # fmt: skip
    assert first.split()[:9] == [
        "divergence", "BTC-USDT-SWAP", "24", "31", "48,200", "+41.93", "+1.2", "+2.5", "+5.0",
    ]  # fmt: skip
