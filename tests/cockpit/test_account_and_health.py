"""Health on the screen, and the account in the shell: a word and a glyph always, what is not ours marked."""

import sys
from decimal import Decimal as D
from pathlib import Path

import msgspec
import pytest
from driver import ROOMY, cockpit
from rich.console import Console
from scene import Scene

from cockpit.commands.account import decide, render
from core.domain.account import Balance
from core.domain.errors import UserError
from core.domain.health import Reading
from core.domain.snapshot import Snapshot
from core.domain.statement import Held, Resting, Statement, Traded

READINGS = [
    Reading("streams", "29/30 live", "bad", "hold", "mark:BTC-USDT-SWAP is stale: silent for 16.0 s"),
    Reading("clock", "+12 ms", "good", "hold"),
    Reading("rejects", "3 of 10", "warn", "reduce"),
]


class Measured(Scene):
    """The scene with readings of health."""

    def __init__(self, readings: list[Reading]) -> None:
        super().__init__()
        self.readings = readings

    def snapshot(self) -> Snapshot:
        return msgspec.structs.replace(super().snapshot(), health=self.readings)


async def test_each_measure_has_a_glyph_a_word_and_what_follows(tmp_path: Path) -> None:
    async with cockpit(tmp_path, scene=Measured(READINGS)) as it:
        await it.until(lambda: bool(it.app.latest.health))
        await it.pilot.press("7")
        panel = it.app.dashboard.board.panels["health"]
        lines = [line.split() for line in it.text(panel).splitlines()[:3]]
        assert lines[0][:5] == ["✗", "streams", "bad", "29/30", "live"] and lines[1][:3] == ["●", "clock", "good"]
        assert lines[2][:3] == ["!", "rejects", "watch"]
        assert panel.border_subtitle and "2 not good" in str(panel.border_subtitle)


async def test_the_worst_stands_in_the_header(tmp_path: Path) -> None:
    async with cockpit(tmp_path, size=ROOMY, scene=Measured(READINGS)) as it:
        await it.until(lambda: "✗ streams 29/30 live" in it.text(it.app.dashboard.header))


async def test_where_all_is_good_the_header_says_nothing_of_it(tmp_path: Path) -> None:
    async with cockpit(tmp_path, size=ROOMY, scene=Measured(READINGS[1:2])) as it:
        await it.until(lambda: bool(it.app.latest.health))
        assert "clock" not in it.text(it.app.dashboard.header)


STATEMENT = Statement(
    venue="demo",
    ts=1_723_122_000_000,
    balance=Balance("USDT", D("99998.5"), D("100010.2"), D("95999.2"), 0, D("20.05")),
    ledger_cash=D("100000.5"),
    positions=[
        Held("BTC-USDT-SWAP", D(13), D(10), D("57342.1")),
        Held("ETH-USDT-SWAP", D("-6.5"), D("-6.5"), D("2435.6")),
    ],
    orders=[
        Resting("BTC-USDT-SWAP", "phone1", D(0), ""),
        Resting("BTC-USDT-SWAP", "pxP0", D(0), "catastrophe stop", D("43000")),
    ],
    fills=[
        Traded(1_723_110_000_000, "BTC-USDT-SWAP", D(10), D("57342.1"), D("-0.57"), "zscore BTC/ETH"),
        Traded(1_723_121_000_000, "BTC-USDT-SWAP", D(3), D("57000"), D("-0.2"), ""),
    ],
    differences=["BTC-USDT-SWAP: the exchange holds 13 contracts, the books 10"],
)


def told(found: Statement) -> list[str]:
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(render(found))
    return console.export_text().splitlines()


def test_the_account_marks_what_is_not_ours() -> None:
    lines = told(STATEMENT)
    foreign = [line.split()[0] for line in lines if "not ours" in line]
    assert foreign == ["BTC-USDT-SWAP", "phone1", "2024-08-08T12:43Z"]
    assert any("maintenance margin 20.05; the ledger's cash 100,000.50" in line for line in lines)
    assert lines[-1] == "no new entries until they agree"


def test_an_empty_account_says_so() -> None:
    empty = msgspec.structs.replace(STATEMENT, positions=[], orders=[], fills=[], differences=[])
    lines = told(empty)
    assert {"no positions", "no orders, no stops", "no fills in the last day"} <= set(lines)
    assert lines[-1] == "ledger and exchange agree"


def test_without_a_terminal_nothing_is_accepted_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    with pytest.raises(UserError, match="add --yes"):
        decide("accept", "why", None, yes=False, as_json=False)
