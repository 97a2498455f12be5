"""Trials: every run on a data set counts, once, for good, whoever else is writing."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from made import made_result

from core.backtest.trials import Trial, Trials, trial
from core.domain.backtest import Source
from core.domain.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
RESULT = made_result(1, bars=300, trades=20)
WRITER = """
import sys
from pathlib import Path
import msgspec
from core.backtest.trials import Trial, Trials
home, first, count = Path(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4])
one = msgspec.json.decode(Path(sys.argv[2]).read_bytes(), type=Trial)
trials = Trials(home)
for seed in range(first, first + count):
    trials.record([msgspec.structs.replace(one, seed=seed)])
    print(seed, flush=True)
"""


def changed(**fields: object) -> Trial:
    return msgspec.structs.replace(trial(RESULT), **fields)


def writer(home: Path, first: int, count: int) -> "subprocess.Popen[str]":
    one = home / "one.json"
    one.write_bytes(msgspec.json.encode(trial(RESULT)))
    command = [sys.executable, "-c", WRITER, str(home), str(one), str(first), str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_the_same_run_counts_once(tmp_path: Path) -> None:
    trials = Trials(tmp_path)
    assert trials.record([trial(RESULT)]) == 1
    assert trials.record([trial(RESULT), trial(RESULT)]) == 0
    assert len(trials.sharpes(RESULT.source)) == 1


@pytest.mark.parametrize(
    "another",
    [
        {"strategy": "buy-hold"},
        {"params": {**RESULT.params, "z_entry": 1.2}},
        {"engine": "events"},
        {"assumptions": {"fees": "none"}},
        {"seed": 99},
        {"source": msgspec.structs.replace(RESULT.source, last_ms=RESULT.source.last_ms - 3_600_000)},
        {"source": msgspec.structs.replace(RESULT.source, assets=("BTC", "ETH"))},
    ],
    ids=["strategy", "parameters", "engine", "assumptions", "seed", "period", "assets"],
)
def test_whatever_differs_is_another_trial(tmp_path: Path, another: dict[str, object]) -> None:
    trials = Trials(tmp_path)
    assert trials.record([trial(RESULT), changed(**another)]) == 2
    assert len(trials.sharpes(RESULT.source)) == 2


def test_the_order_of_parameters_does_not_matter(tmp_path: Path) -> None:
    turned = dict(reversed(RESULT.params.items()))
    assert Trials(tmp_path).record([trial(RESULT), changed(params=turned)]) == 1


def test_other_data_is_counted_apart(tmp_path: Path) -> None:
    """By the manifest; a bare file, by the hash of what it holds."""
    trials = Trials(tmp_path)
    listed = msgspec.structs.replace(RESULT.source, manifest="m" * 64)
    other = msgspec.structs.replace(RESULT.source, content="c" * 64)
    trials.record([trial(RESULT), changed(source=listed), changed(source=other)])
    for source in (RESULT.source, listed, other):
        assert len(trials.sharpes(source)) == 1
    renamed = msgspec.structs.replace(listed, content="changed", name="other")
    assert len(trials.sharpes(renamed)) == 1


def test_sharpes_are_per_bar_of_the_run_that_asks(tmp_path: Path) -> None:
    """A trial on days beside one on hours: one day is 24 bars."""
    trials, hours = Trials(tmp_path), RESULT.source
    days: Source = msgspec.structs.replace(hours, bar_ms=24 * hours.bar_ms)
    trials.record([changed(sharpe=0.01), changed(source=days, sharpe=0.1)])
    assert sorted(trials.sharpes(hours)) == pytest.approx([0.01, 0.1 / np.sqrt(24)])


def test_nothing_was_ever_run_here(tmp_path: Path) -> None:
    assert Trials(tmp_path).sharpes(RESULT.source).shape == (0,)
    assert not (tmp_path / "trials").exists()


def test_a_run_without_a_trade_counts_too(tmp_path: Path) -> None:
    flat = msgspec.structs.replace(RESULT, equity=np.full(301, 1e4), trades=())
    trials = Trials(tmp_path)
    trials.record([trial(flat)])
    assert trials.sharpes(flat.source).tolist() == [0.0]


def test_what_is_counted_cannot_be_taken_back(tmp_path: Path) -> None:
    trials = Trials(tmp_path)
    trials.record([trial(RESULT)])
    with sqlite3.connect(trials.path) as file:
        for statement in ("DELETE FROM trials", "UPDATE trials SET sharpe = 0"):
            with pytest.raises(sqlite3.IntegrityError, match="kept"):
                file.execute(statement)


def test_a_sweep_is_counted_whole_or_not_at_all(tmp_path: Path) -> None:
    trials = Trials(tmp_path)
    broken = changed(seed=2, sharpe=None)
    with pytest.raises(UserError, match=r"cannot count this run in .*trials\.sqlite"):
        trials.record([changed(seed=1), broken])
    assert len(trials.sharpes(RESULT.source)) == 0


def test_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    """They begin with no file at all, write the same forty and thirty of their own, and all are there."""
    both = [writer(tmp_path, first, 40) for first in (0, 30)]
    for process in both:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert len(Trials(tmp_path).sharpes(RESULT.source)) == 70


def test_a_killed_process_keeps_what_it_said_was_counted(tmp_path: Path) -> None:
    process = writer(tmp_path, 0, 100_000)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(5)]
    os.kill(process.pid, signal.SIGKILL)
    said += process.stdout.read().splitlines()
    process.wait(timeout=60)
    trials = Trials(tmp_path)
    assert len(trials.sharpes(RESULT.source)) in (len(said), len(said) + 1)
    assert trials.record([changed(seed=-1)]) == 1


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    trials = Trials(tmp_path)
    trials.path.parent.mkdir()
    trials.path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(UserError, match=r"cannot read the trials in .*trials\.sqlite"):
        trials.sharpes(RESULT.source)
    with pytest.raises(UserError, match="cannot count this run"):
        trials.record([trial(RESULT)])
