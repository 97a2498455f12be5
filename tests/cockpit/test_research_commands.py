"""`cockpit backtest`: what it asks of the process, how it tells progress and results, and how it ends."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from standin import compared, document

from cockpit.commands.found import backtest_tables
from cockpit.figures import more
from core.domain.backtest import Document, Money, PairFigures, Statistics, TradeFigures

HERE = Path(__file__).resolve().parent
PROGRAM = (
    "from cockpit.commands import research; research.BACKTEST = research.RESEARCH = 'standin'\n"
    "from cockpit.commands import jobs; jobs.MODELS = 'standin'\n"
    "from cockpit.cli import main; main()"
)


class Done(NamedTuple):
    code: int
    out: str
    err: str


class Shell:
    """Runs the program with the stand-in as its backtest, where `home` is all there is."""

    def __init__(self, home: Path) -> None:
        self.home = home

    async def start(self, line: str) -> asyncio.subprocess.Process:
        root = HERE.parents[1]
        environ = {
            **os.environ,
            "COCKPIT_HOME": str(self.home), "COLUMNS": "110", "NO_COLOR": "1", "TERM": "dumb",
            "PYTHONPATH": f"{HERE}{os.pathsep}{root}",
        }  # fmt: skip
        return await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, *line.split(), cwd=self.home, env=environ,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def __call__(self, line: str) -> Done:
        process = await self.start(line)
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        return Done(process.returncode or 0, out.decode(), err.decode())

    @property
    def asked(self) -> dict[str, object]:
        """What the stand-in was asked."""
        found: dict[str, object] = json.loads((self.home / "asked.json").read_text())
        return found


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def text(told: Document) -> str:
    """What a person reads."""
    from rich.console import Console

    console = Console(width=110, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    for part in backtest_tables(told):
        console.print(part)
    return console.export_text()


async def test_a_run_is_told_as_tables_with_its_period_costs_trades_and_interval(shell: Shell) -> None:
    done = await shell("backtest divergence --compare")
    assert done.code == 0
    for word in (
        "2024-01-01 → 2024-10-26, 7,200 bars of 1h", "UNPROVEN", "net return", "-31.89% … +18.11%", "153",
        "confidence after 27 trials", "slippage", "funding", "XRP/ADA", "ADA/DOT (open)", "buy-hold", "digest",
        "made-7",
        str(shell.home / "runs" / "made-7" / "report.html"),
    ):  # fmt: skip
        assert word in done.out, word
    assert done.err.splitlines() == ["reading data", "bootstrap"], "no bar where nobody looks: a line a step"


async def test_json_is_the_document_alone_and_quiet_says_nothing_beside(shell: Shell) -> None:
    done = await shell("backtest divergence --json --quiet --seed 3")
    told = msgspec.json.decode(done.out, type=Document)
    assert done.err == "" and (told.seed, told.run) == (3, "made-3")


async def test_every_option_reaches_the_process_with_whole_paths(shell: Shell) -> None:
    for name in ("candles.csv", "rates.csv", "my.toml"):
        (shell.home / name).touch()
    line = (
        "backtest zscore --engine events --data candles.csv --funding rates.csv --from 2024-01-02 --to "
        "2024-02-01T16:00 --seed 5 --train-bars 100 --set z_entry=1.5 --set z_exit=0.2 --report out.html --compare "
        "--book quotes.parquet#usdm --config my.toml --json"
    )
    assert (await shell(line)).code == 0
    home = str(shell.home)
    assert shell.asked["words"] == [
        "--engine", "events", "--data", f"{home}/candles.csv", "--funding", f"{home}/rates.csv",
        "--from", "2024-01-02", "--to", "2024-02-01T16:00", "--seed", "5", "--train-bars", "100",
        "--set", "z_entry=1.5", "--set", "z_exit=0.2", "--config", f"{home}/my.toml",
        "--book", f"{home}/quotes.parquet#usdm", "--report", f"{home}/out.html", "--compare", "--keep",
    ]  # fmt: skip
    assert shell.asked["nice"] == 10


async def test_a_name_of_the_lake_stays_a_name_and_what_is_not_said_is_not_asked(shell: Shell) -> None:
    assert (await shell("backtest divergence --data perp-1h")).code == 0
    assert shell.asked["words"] == ["--data", "perp-1h", "--keep"]


@pytest.mark.parametrize(
    ("line", "way_out"),
    [
        ("backtest divergence --engine fast", "vectorised"),
        ("backtest divergence --funding gone.csv", "gone.csv"),
    ],
)
async def test_wrong_usage_is_code_two_before_anything_starts(shell: Shell, line: str, way_out: str) -> None:
    done = await shell(line)
    assert done.code == 2 and way_out in done.err and not (shell.home / "asked.json").exists()


async def test_what_the_process_refuses_is_one_line_and_its_code(shell: Shell) -> None:
    done = await shell("backtest refused --quiet")
    assert (done.code, done.err) == (1, "cockpit: data set 'perp': its hashes do not hold\n")
    mute = await shell("backtest mute --quiet")
    assert mute.code == 1 and "without a result" in mute.err


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
async def test_interrupting_ends_the_process_too(shell: Shell, sign: signal.Signals) -> None:
    process = await shell.start("backtest endless")
    assert process.stderr is not None
    async with asyncio.timeout(60):
        while b"4,200" not in await process.stderr.readline():
            pass
        process.send_signal(sign)
        last = await process.stderr.read()
        assert await process.wait() == 130
    assert last.decode() == "cockpit: interrupted at bar 4,200 of 10,000\n"
    with pytest.raises(ProcessLookupError):
        os.kill(int(str(shell.asked["pid"])), 0)


async def test_an_audit_is_told_even_where_it_fails_and_its_code_is_handed_on(shell: Shell) -> None:
    (shell.home / "bundle").mkdir()
    done = await shell("audit peeking --data perp --set z_entry=2 --model bundle --quiet")
    assert done.code == 1 and done.out == "INTEGRITY   FAILED\nEDGE        none\n"
    assert done.err == "cockpit: peeking: integrity failed: z_score at 2024-01-02\n"
    assert shell.asked["words"] == [
        "peeking", "--data", "perp", "--set", "z_entry=2", "--model", f"{shell.home}/bundle"
    ]  # fmt: skip


async def test_a_sweep_is_told_as_it_words_itself(shell: Shell) -> None:
    done = await shell("sweep divergence --grid z_entry=1,2 --grid z_exit=0,0.5 --trials 9 --on local --json")
    assert done == Done(0, '{"sets": 4}\n', "reading data\n")
    assert shell.asked["words"] == [
        "divergence", "--grid", "z_entry=1,2", "--grid", "z_exit=0,0.5", "--trials", "9", "--on", "local", "--json"
    ]  # fmt: skip


async def test_a_sweep_of_the_cluster_model_takes_the_options_of_its_walks(shell: Shell) -> None:
    line = (
        "sweep cluster --grid n_clusters=5,10 --train-days 252 --test-days 63 --purge 24 --epochs 9 --assets 8 "
        "--warm --seed 5 -q"
    )
    assert (await shell(line)).code == 0
    assert shell.asked["words"] == [
        "cluster", "--seed", "5", "--grid", "n_clusters=5,10", "--train-days", "252", "--test-days", "63",
        "--purge", "24", "--epochs", "9", "--assets", "8", "--warm",
    ]  # fmt: skip
    assert (await shell("sweep cluster --resume 20240101-000000-cluster-ab12 -q")).code == 0
    assert shell.asked["words"] == ["cluster", "--resume", "20240101-000000-cluster-ab12"]


@pytest.mark.parametrize("option", ["--train-days 0", "--assets 0", "--epochs 0", "--purge -1"])
async def test_a_walk_of_nothing_is_wrong_usage(shell: Shell, option: str) -> None:
    done = await shell(f"sweep cluster {option}")
    assert done.code == 2 and option.split()[0] in done.err and not (shell.home / "asked.json").exists()


async def test_a_walk_forward_passes_every_option_on(shell: Shell) -> None:
    done = await shell("walk-forward cluster --data perp-1h --train-days 252 --warm --set k=40 -q --json")
    assert (done.code, done.out, done.err) == (0, '{"segments": 3}\n', "")
    assert shell.asked["words"] == [
        "cluster", "--data", "perp-1h", "--train-days", "252", "--warm", "--set", "k=40", "--json"
    ]  # fmt: skip


async def test_training_clusters_passes_every_option_on(shell: Shell) -> None:
    done = await shell("train cluster --data virtual --n-clusters 5 --start-from a.safetensors --json")
    assert (done.code, done.out, done.err) == (0, '{"bundle": "b"}\n', "reading data\n")
    assert shell.asked["words"] == [
        "cluster", "--data", "virtual", "--n-clusters", "5", "--start-from", "a.safetensors", "--json"
    ]  # fmt: skip


@pytest.mark.parametrize("command", ["backtest", "sweep", "audit", "walk-forward"])
async def test_each_help_of_research_teaches_with_an_example(shell: Shell, command: str) -> None:
    done = await shell(f"{command} --help")
    assert done.code == 0 and f"cockpit {command}" in done.out.partition("Example:")[2].partition("\n")[0]


def test_what_is_not_known_is_never_dressed_up() -> None:
    told = document()
    none = dict.fromkeys(("total_return", "sharpe", "max_drawdown", "trade_profit"))
    bare = msgspec.structs.replace(
        told,
        statistics=Statistics(0, 0, **none, trials=1, probabilistic_sharpe=None, deflated_sharpe=None,
                              expected_max_sharpe=0.0, min_bars=None),
        metrics=msgspec.structs.replace(told.metrics, sharpe=None, pairs=()),
    )  # fmt: skip
    said = text(bare)
    assert (
        said.count("no interval: too few") == 4 and "confidence after 1 trial" in said and "nan" not in said.lower()
    )


def test_a_screenful_of_pairs_is_its_best_and_its_worst() -> None:
    said = text(document(compared=compared(7)))
    assert "… 2 more" in said and said.index("XRP/ADA") < said.index("ADA/DOT (open)")


def test_what_is_still_open_stands_beside_the_closed_trades_of_pairs() -> None:
    """A run that only buys has closed nothing: all it has made is open."""
    told = document()
    figures, none = told.metrics, TradeFigures()
    held = tuple(PairFigures(asset, none, 0.5, True) for asset in ("BTC", "ETH"))
    made = Money(gross=4_000.0, slippage=-20.0, fees=-40.0, funding=-4.0, net=3_936.0)
    run = msgspec.structs.replace(figures, money=made, trades=none, pairs=held)
    row = next(line for line in text(msgspec.structs.replace(told, metrics=run)).splitlines() if "open pos" in line)
    assert row.split() == ["open", "positions", "+3,936.00", "-64.00"]
    assert "open positions" not in text(told), "all that it made is in its closed trades"


def test_small_shares_are_not_rounded_to_nothing() -> None:
    told = document()
    calm = msgspec.structs.replace(told.metrics, volatility=0.004, exposure=0.013)
    said = {figure.name: figure.value for figure in more(msgspec.structs.replace(told, metrics=calm))}
    assert (said["volatility"], said["exposure"]) == ("0.4%", "1.3%")
