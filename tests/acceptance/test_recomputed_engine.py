"""The four classic errors planted in the product itself: what the engine then records is found out, and the cause
named. The engine and the exchange agree with each other all the while: nobody else would notice."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.domain.account import Bill
from core.domain.instrument import Instrument
from core.domain.market import Bar, Floats
from core.engine.feed import Feed
from core.features.pairs import Frame, PairFeatures
from core.matching import listing
from core.matching.account import Account
from core.matching.rules import Rules
from core.portfolio.ledger import SyncLedger
from core.venues.okx import messages
from tests.acceptance.compare import plain
from tests.acceptance.demo import Recording
from tests.acceptance.planted import ASSET
from tests.acceptance.short_run import play

Patch = pytest.MonkeyPatch


def found(run: Recording) -> list[str]:
    """What differs."""
    return run.against(run.derive())


def kind(line: str) -> str:
    return line.split()[1].rstrip(":")


async def test_an_engine_in_which_nothing_was_planted_agrees(tmp_path: Path) -> None:
    run = await play(tmp_path)
    assert found(run) == []
    assert plain(SyncLedger(tmp_path / "ledger" / "demo.sqlite").events()) == run.events, "a ledger in memory"
    steps = run.derive()
    assert any(step.funding for step in steps) and sum(len(step.exits) for step in steps) >= 5


async def test_signals_of_the_bar_before(tmp_path: Path, monkeypatch: Patch) -> None:
    update, last = PairFeatures.update, dict[PairFeatures, Frame]()

    def late(self: PairFeatures, bar: Bar) -> Frame:
        now = update(self, bar)
        before, last[self] = last.get(self, now), now
        return before

    monkeypatch.setattr(PairFeatures, "update", late)
    lines = found(await play(tmp_path))
    named = [line for line in lines if "(recorded one bar" in line]
    assert kind(lines[0]) == "decision" and named, lines[:5]
    assert all("late" in line for line in named), named


async def test_funding_settled_the_other_way(tmp_path: Path, monkeypatch: Patch) -> None:
    settle = Account.settle

    def turned(self: Account, instrument: str, rate: Decimal, now: int) -> Bill | None:
        return settle(self, instrument, -rate, now)

    monkeypatch.setattr(Account, "settle", turned)
    lines = found(await play(tmp_path))
    assert kind(lines[0]) == "funding" and "the sign is turned" in lines[0], lines[:5]


async def test_a_funding_filter_that_sees_the_other_sign(tmp_path: Path, monkeypatch: Patch) -> None:
    rates = Feed.rates

    def turned(self: Feed, close_ms: int) -> Floats:
        return -rates(self, close_ms)

    monkeypatch.setattr(Feed, "rates", turned)
    lines = found(await play(tmp_path))
    assert kind(lines[0]) == "decision" and any("funding" in line for line in lines[:10]), lines[:5]


async def test_a_contract_that_the_exchange_lists_otherwise(tmp_path: Path, monkeypatch: Patch) -> None:
    contract, *others = listing._LISTED[ASSET]
    monkeypatch.setitem(listing._LISTED, ASSET, (str(Decimal(contract) * 10), *others))
    lines = found(await play(tmp_path))
    assert any(kind(line) == "size" and ASSET in line and "0.1 times" in line for line in lines[:3]), lines[:5]


async def test_a_contract_that_the_client_reads_otherwise(tmp_path: Path, monkeypatch: Patch) -> None:
    read = messages.instrument

    def wrong(raw: dict[str, Any]) -> Instrument:
        spec = read(raw)
        return msgspec.structs.replace(spec, contract=spec.contract * 10) if spec.asset == ASSET else spec

    monkeypatch.setattr(messages, "instrument", wrong)
    lines = found(await play(tmp_path))
    assert any(kind(line) == "size" and ASSET in line and "0.1 times" in line for line in lines[:3]), lines[:5]


async def test_fees_that_are_received(tmp_path: Path) -> None:
    lines = found(await play(tmp_path, Rules(taker=-Rules().taker)))
    assert kind(lines[0]) == "fee" and "the sign is turned" in lines[0], lines[:5]
