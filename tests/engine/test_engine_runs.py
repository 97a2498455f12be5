"""Whole runs: the same twice, on real candles, and with an exchange that dies."""

import os
import signal
from pathlib import Path

import pytest

from core.portfolio.events import Decided, Protected
from tests.engine.processes import Home

RUN = ("--json", "--speed", "max", "--bars", "60")


async def test_the_same_seed_gives_the_same_decisions_and_fills(home: Home) -> None:
    first = await (await home.engine(*RUN)).result()
    second = await (await home.engine(*RUN)).result()
    assert first == second and first["fills"] > 0
    assert all(first["agrees"].values())
    assert len(list((home.path / "archive").iterdir())) == 1, "the first ledger is put aside, not thrown away"


async def test_another_seed_gives_others(home: Home) -> None:
    first = await (await home.engine(*RUN)).result()
    second = await (await home.engine(*RUN, "--seed", "8")).result()
    assert first["digest"] != second["digest"]


async def test_cash_is_told_three_times_and_is_the_same(home: Home) -> None:
    """By the ledger's fold of fills and bills, by the exchange's balance, and by the sum of its statement."""
    said = await (await home.engine(*RUN)).result()
    assert said["cash"] == said["exchange"]["cash"] == said["exchange"]["bills"]
    assert said["equity"] == said["exchange"]["equity"]


@pytest.mark.parametrize("speed", ["max", "20000"])
async def test_real_candles(home: Home, shared_data: Path, speed: str) -> None:
    replay = ("--replay", str(shared_data / "perp_1h_10.parquet"))
    funding = ("--funding", str(shared_data / "perp_funding_10.parquet"))
    bars = "600" if speed == "max" else "12"
    ten = "BTC,ETH,SOL,XRP,BNB,DOGE,ADA,AVAX,LINK,DOT"
    arguments = ("--json", "--speed", speed, "--train-bars", "2000", "--bars", bars, *replay, *funding)
    said = await (await home.engine(*arguments, COCKPIT_UNIVERSE__ASSETS=ten)).result()
    # A market on a clock does not wait for an engine that starts: bars that close meanwhile are history to it.
    assert said["bars"] == 600 if speed == "max" else 8 <= said["bars"] <= 12
    assert said["agrees"] == dict.fromkeys(said["agrees"], True)
    if speed == "max":
        assert said["round_trips"] > 20 and float(said["funding"]) != 0.0
        # The crash of 13 April 2024 fires a catastrophe order; entries go on afterwards.
        fired = next(e.ts for e in home.ledger() if isinstance(e, Protected) and e.state == "fired")
        assert any(isinstance(e, Decided) and e.entries and e.ts > fired for e in home.ledger())


async def test_an_exchange_that_is_down_at_the_start_is_one_line(home: Home) -> None:
    engine = await home.engine("--speed", "max", "--bars", "60")
    await engine.line("connecting")
    pid = home.exchange_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    code, _, errors = await engine.end()
    assert code == 1
    assert len(errors.strip().splitlines()) == 1 and errors.startswith("venue demo: "), errors


async def test_an_exchange_that_dies_is_told_and_nothing_is_lost(home: Home) -> None:
    engine = await home.engine("--speed", "20000", "--bars", "60")
    while " flat " in await engine.line("equity"):
        pass
    pid = home.exchange_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await engine.line("health")
    engine.signal(signal.SIGTERM)
    assert not await engine.runs_for(30.0)
    _, _, errors = await engine.end()
    assert "Traceback" not in errors and len(errors.strip().splitlines()) <= 1, errors

    said = await (await home.engine("--json", "--speed", "max", "--resume")).result()
    assert all(said["agrees"].values())
    assert said["bars"] > 40, "bars that closed while no engine ran are history, the others are traded"


async def test_a_strategy_that_nobody_knows_is_one_line(home: Home) -> None:
    engine = await home.run("core.engine", "demo", "--headless", "--strategy", "divergance")
    code, _, errors = await engine.end()
    assert code == 2 and len(errors.strip().splitlines()) == 1
    assert "divergance" in errors and "zscore" in errors


async def test_more_history_than_there_is_names_the_numbers(home: Home) -> None:
    engine = await home.run("core.engine", "demo", "--headless", "--strategy", "zscore", "--train-bars", "1000")
    code, _, errors = await engine.end()
    assert code == 1 and len(errors.strip().splitlines()) == 1
    assert "1000 bars" in errors and "--train-bars" in errors
