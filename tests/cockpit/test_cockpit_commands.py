"""The commands as a user meets them: help that teaches, exit codes that mean something, one line for a mistake."""

import asyncio
import json
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from scene import FakeEngine, Scene

from cockpit.commands.processes import Background, flags
from cockpit.commands.start import DemoOptions
from core.domain.errors import UserError
from core.domain.snapshot import Command, Reply

COMMANDS = [
    "demo", "run", "attach", "status", "quality", "pause", "resume", "stop", "open", "close", "flatten",
    "kill", "train divergence", "train cluster", "data import", "data download", "data list", "data check",
    "data snapshot", "data verify",
    "config check", "config show", "config path",
]  # fmt: skip
ASKING = [
    "status",
    "pause",
    "resume",
    "stop",
    "open BTC/ETH --side long --yes",
    "close BTC/ETH --yes",
    "flatten -y",
]


class Done(NamedTuple):
    code: int
    out: str
    err: str


class Shell:
    """Runs the program as a shell in `home` would; `typed` is what a person types at a terminal."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def environment(self) -> dict[str, str]:
        return {**os.environ, "COCKPIT_HOME": str(self.home), "COLUMNS": "120", "TERM": "dumb", "NO_COLOR": "1"}

    async def __call__(self, line: str, typed: str | None = None, **environ: str) -> Done:
        master, slave = pty.openpty() if typed is not None else (-1, asyncio.subprocess.DEVNULL)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cockpit", *line.split(),
            cwd=self.home, env={**self.environment(), **environ},
            stdin=slave, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        if typed is not None:
            os.write(master, typed.encode())
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        if typed is not None:
            os.close(master)
            os.close(slave)
        return Done(process.returncode or 0, out.decode(), err.decode())


class Engine(FakeEngine):
    """A fake engine that also tells its status, and ends `ward` when it is asked to stop."""

    ward: asyncio.subprocess.Process | None = None

    async def handle(self, command: Command) -> Reply:
        if command.name == "stop" and self.ward is not None:
            self.ward.send_signal(signal.SIGTERM)
        reply = await super().handle(command)
        return msgspec.structs.replace(
            reply, snapshot=self.scene.snapshot(), ok=reply.ok or command.name == "status"
        )


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@asynccontextmanager
async def engine_at(shell: Shell) -> AsyncIterator[Engine]:
    engine = Engine(shell.home / "engine.sock", Scene())
    await engine.server.start()
    try:
        yield engine
    finally:
        await engine.server.close()


def one_line(text: str) -> str:
    """The only line of what was said on stderr."""
    assert text.count("\n") == 1 and "Traceback" not in text, text
    return text.strip()


async def test_help_lists_every_command_and_the_exit_codes(shell: Shell) -> None:
    done = await shell("--help")
    assert done.code == 0
    assert all(command.split()[0] in done.out for command in COMMANDS)
    assert "3 the engine cannot be reached" in " ".join(done.out.split())


@pytest.mark.parametrize("command", COMMANDS)
async def test_each_help_teaches_with_an_example(shell: Shell, command: str) -> None:
    done = await shell(f"{command} --help")
    assert done.code == 0
    example = done.out.partition("Example:")[2]
    assert f"cockpit {command}" in example.partition("\n")[0]


@pytest.mark.parametrize("command", ASKING)
async def test_without_an_engine_the_code_is_three_and_the_way_out_is_named(shell: Shell, command: str) -> None:
    done = await shell(command)
    assert (done.code, done.out) == (3, "")
    assert "no engine listens" in one_line(done.err) and "cockpit demo" in done.err


@pytest.mark.parametrize(
    "command",
    ["close", "open BTC/ETH", "open BTC/ETH --side up", "nonsense", "demo --replay gone.csv", "demo --speed fast"],
)
async def test_wrong_usage_is_code_two(shell: Shell, command: str) -> None:
    done = await shell(command)
    assert done.code == 2
    assert done.err and "Traceback" not in done.err


@pytest.mark.parametrize("command", ["config check", "config show", "status", "demo --headless", "run"])
async def test_a_mistake_in_the_settings_is_one_line(shell: Shell, command: str) -> None:
    (shell.home / "config.toml").write_text("[venue]\nleverge = 3\n")
    done = await shell(command)
    assert done.code == 1
    assert one_line(done.err) == "cockpit: config.toml: venue.leverge: unknown key; did you mean venue.leverage?"


async def test_config_names_the_origin_of_each_value(shell: Shell) -> None:
    (shell.home / "my.toml").write_text("[demo]\nseed = 3\n")
    done = await shell("config show --json --config my.toml", COCKPIT_VENUE__LEVERAGE="3")
    shown = json.loads(done.out)
    assert shown["venue.leverage"] == {"value": 3, "origin": "environment COCKPIT_VENUE__LEVERAGE"}
    assert shown["demo.seed"] == {"value": 3, "origin": "my.toml"}
    assert shown["strategy.divergence.switch_threshold"] == {"value": "inf", "origin": "default"}
    assert json.loads((await shell("config check --json")).out)["ok"] is True
    places = json.loads((await shell("config path --json --config my.toml")).out)
    assert places["config"] == str(shell.home / "my.toml") and places["home"] == str(shell.home)


@pytest.mark.parametrize("command", ["", "attach"])
async def test_the_terminal_is_refused_where_there_is_none(shell: Shell, command: str) -> None:
    done = await shell(command)
    assert done.code == 1
    assert "cockpit status" in one_line(done.err)


async def test_status_for_people_and_for_programs(shell: Shell) -> None:
    async with engine_at(shell) as engine:
        shown = await shell("status")
        assert shown.code == 0
        for word in ("DEMO", "SOL/AVAX", "ADA/DOT", "37 round trips", "10 of 10 streams live"):
            assert word in shown.out
        document = json.loads((await shell("status --json")).out)
        assert document["status"]["pid"] == engine.scene.status.pid
        assert len(document["pairs"]["name"]) == 45


async def test_pause_and_resume_say_what_the_engine_says(shell: Shell) -> None:
    async with engine_at(shell) as engine:
        assert await shell("pause") == Done(0, "pause: done\n", "")
        assert json.loads((await shell("resume --json")).out) == {"ok": True, "message": "resume: done"}
        engine.refusal = "the engine is still starting"
        refused = await shell("pause")
        assert (refused.code, one_line(refused.err)) == (1, "cockpit: the engine is still starting")


async def test_kill_asks_until_there_is_a_proof_and_prints_it(shell: Shell) -> None:
    async with engine_at(shell) as engine:
        engine.pending = 2
        done = await shell("kill --yes")
        assert (done.code, done.out) == (0, "kill: done\n")
        assert [command.name for command in engine.acted] == ["kill"] * 3


async def test_where_no_engine_answers_kill_leaves_its_file(shell: Shell) -> None:
    done = await shell("kill --yes")
    assert done.code == 3 and f"{shell.home / 'KILL'} was written" in one_line(done.err)
    assert (shell.home / "KILL").exists()


@pytest.mark.parametrize("command", ["open BTC/ETH --side long", "close SOL/AVAX", "flatten", "kill"])
async def test_an_order_by_hand_needs_a_yes(shell: Shell, command: str) -> None:
    async with engine_at(shell) as engine:
        deaf = await shell(command)
        assert deaf.code == 1 and "add --yes" in one_line(deaf.err)
        no = await shell(command, typed="n\n")
        assert no.code == 1 and no.err.endswith("cockpit: nothing was done\n")
        left = await shell(command, typed="\x04")
        assert left.code == 130
        assert engine.acted == []
        assert (await shell(command, typed="y\n")).code == 0
        assert (await shell(f"{command} --yes")).code == 0
        assert [acted.name for acted in engine.acted] == [command.split()[0]] * 2


async def test_the_question_shows_both_legs_their_sizes_and_the_fees(shell: Shell) -> None:
    async with engine_at(shell) as engine:
        done = await shell("open btc/eth --side short --size 500", typed="y\n")
        legs = {
            line.split()[1]: line.split()[0] for line in done.err.splitlines() if line.strip()[:3] in ("buy", "sel")
        }
        assert legs == {"BTC": "sell", "ETH": "buy"}
        assert "2,000.00 USDT, fees about 1.00 USDT" in done.err
        sent = engine.acted[0]
        assert (sent.pair, sent.side, sent.notional) == ("BTC/ETH", -1, 500.0)


async def test_what_the_risk_gate_would_refuse_is_not_asked(shell: Shell) -> None:
    class Refusing(Engine):
        async def handle(self, command: Command) -> Reply:
            reply = await super().handle(command)
            if reply.ticket is None:
                return reply
            return msgspec.structs.replace(reply, ticket=msgspec.structs.replace(reply.ticket, refused="no margin"))

    engine = Refusing(shell.home / "engine.sock", Scene())
    await engine.server.start()
    done = await shell("open BTC/ETH --side long", typed="y\n")
    await engine.server.close()
    assert done.code == 1 and "no margin" in one_line(done.err)
    assert engine.acted == []


async def test_closing_what_is_not_held_asks_nothing(shell: Shell) -> None:
    async with engine_at(shell) as engine:
        engine.refusal = "BTC/ETH: no position to close"
        done = await shell("close BTC/ETH", typed="")
        assert (done.code, one_line(done.err)) == (1, "cockpit: BTC/ETH: no position to close")


@pytest.mark.parametrize("command", ["demo", "demo --headless", "run"])
async def test_a_second_engine_is_refused_by_the_first_ones_name(shell: Shell, command: str) -> None:
    async with engine_at(shell) as engine:
        done = await shell(command)
        assert done.code == 1
        said = one_line(done.err)
        assert f"pid {engine.scene.status.pid}" in said and "cockpit attach, or cockpit stop first" in said


async def test_stop_waits_until_the_process_has_ended(shell: Shell) -> None:
    async with engine_at(shell) as engine:
        engine.ward = await asyncio.create_subprocess_exec("sleep", "60")
        engine.scene.status = msgspec.structs.replace(engine.scene.status, pid=engine.ward.pid)
        done = await shell("stop --json")
        assert done.code == 0 and json.loads(done.out)["pid"] == engine.ward.pid
        assert await engine.ward.wait() == -signal.SIGTERM


async def test_a_command_that_becomes_a_job_hands_on_signals_output_and_exit_code(shell: Shell) -> None:
    (shell.home / "job.py").write_text(
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "print(*sys.argv[1:], os.environ['OMP_WAIT_POLICY'], flush=True)\n"
        "signal.pause()\n"
    )
    code = "from cockpit.commands.processes import become; become('job', ['--bars', '3'])"
    job = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=shell.home, stdout=asyncio.subprocess.PIPE,
        env={**shell.environment(), "PYTHONPATH": str(shell.home), "OMP_WAIT_POLICY": "PASSIVE"},
    )  # fmt: skip
    assert job.stdout is not None
    assert await job.stdout.readline() == b"--bars 3 PASSIVE\n"
    job.terminate()
    assert await job.wait() == 7


async def test_an_engine_that_dies_while_starting_leaves_its_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dying.py").write_text("import sys\nprint('first')\nsys.exit('replay.csv: no such file')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    log = tmp_path / "engine.log"
    log.write_text("an older engine's last word\n")
    engine = Background("dying", [], log)
    engine._process.wait()
    assert not engine.running
    with pytest.raises(UserError, match=r"^replay.csv: no such file$"):
        engine.progress()


async def test_data_is_a_file_or_the_name_of_a_data_set_whose_hashes_hold(shell: Shell) -> None:
    nothing = await shell("train divergence --data perp")
    assert nothing.code == 1 and "Make one: cockpit data import" in one_line(nothing.err)
    candles = shell.home / "small.csv"
    rows = [f"{1_704_067_200_000 + 3_600_000 * t},BTCUSDT,1,2,1,1.5,10" for t in range(5)]
    candles.write_text("\n".join(["timestamp,symbol,open,high,low,close,volume", *rows]))
    assert (await shell(f"data import {candles} --name perp")).code == 0
    assert "the lake has: perp" in one_line((await shell("train divergence --data prep")).err)
    with next((shell.home / "lake" / "perp" / "candles").glob("*/*.parquet")).open("ab") as file:
        file.write(b"x")
    assert "but the manifest says" in one_line((await shell("data verify perp")).err)


def test_flags_are_those_that_were_given() -> None:
    given = flags(train_bars=0, bars=None, resume=True, json=False, strategy=("a", "b"), speed="max")
    assert given == ["--train-bars", "0", "--resume", "--strategy", "a", "--strategy", "b", "--speed", "max"]


def test_a_seed_is_that_of_all_that_a_demo_draws() -> None:
    settings = DemoOptions(seed=5).load()
    assert (settings.demo.seed, settings.train.cluster.seed) == (5, 5)
