"""Heavy work in processes of its own: heard, ended, and never left behind."""

import asyncio
import json
import os
import textwrap
from pathlib import Path

import pytest

from core import jobs
from core.domain.errors import UserError
from core.engine.exchange import ExchangeProcess
from tests.engine.processes import alive
from tests.engine.small import panel


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Write a module `job_under_test` with this body; it can be imported by name from a process of its own."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def write(body: str) -> str:
        (tmp_path / "job_under_test.py").write_text("import json, os, sys, time\n" + textwrap.dedent(body))
        return "job_under_test"

    return write


def nobody(share: float, text: str) -> None:
    """Does not want to know."""


async def test_its_last_line_is_the_result_and_progress_is_heard(job) -> None:  # type: ignore[no-untyped-def]
    module = job("""
        for i in range(3):
            print(json.dumps({"progress": i / 2, "text": f"step {i}"}), file=sys.stderr, flush=True)
        print("something on the way")
        print(json.dumps({"argument": sys.argv[1]}))
    """)
    heard: list[tuple[float, str]] = []
    ended = await jobs.run(module, ["--seven"], lambda share, text: heard.append((share, text)))
    assert json.loads(ended.document()) == {"argument": "--seven"}
    assert heard == [(0.0, "step 0"), (0.5, "step 1"), (1.0, "step 2")]


async def test_what_a_job_tells_is_heard(job, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    root = Path(jobs.__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", f"{root}{os.pathsep}{os.environ['PYTHONPATH']}")
    module = job("""
        from core.jobs import part, tell
        tell(0.0, "reading")
        half = part(0.5, 1.0)
        half(0.5, "half of the second half")
        half(1.0, "done")
    """)
    heard: list[tuple[float, str]] = []
    await jobs.run(module, [], lambda share, text: heard.append((share, text)))
    assert heard == [(0.0, "reading"), (0.75, "half of the second half"), (1.0, "done")]


async def test_why_it_failed_is_its_last_word(job) -> None:  # type: ignore[no-untyped-def]
    module = job("""
        print(json.dumps({"progress": 0.5, "text": "half"}), file=sys.stderr)
        print("candles.parquet: no column close; export it again", file=sys.stderr)
        sys.exit(2)
    """)
    ended = await jobs.run(module, [], nobody)
    with pytest.raises(UserError, match=r"^candles.parquet: no column close; export it again$") as told:
        ended.document()
    assert told.value.code == 2


async def test_one_that_dies_without_a_word_is_named(job) -> None:  # type: ignore[no-untyped-def]
    ended = await jobs.run(job("os.kill(os.getpid(), 9)"), [], nobody)
    with pytest.raises(UserError, match="job_under_test ended with code -9 and said nothing"):
        ended.document()


async def test_one_that_ends_without_a_result_is_named(job) -> None:  # type: ignore[no-untyped-def]
    ended = await jobs.run(job('print("odd", file=sys.stderr)'), [], nobody)
    with pytest.raises(UserError, match="job_under_test ended without a result: odd"):
        ended.document()


async def test_a_fault_of_the_listener_is_not_taken_for_its_word(job) -> None:  # type: ignore[no-untyped-def]
    def faulty(share: float, text: str) -> None:
        raise ValueError("ours")

    module = job("""
        print(json.dumps({"progress": 0.5, "text": "half"}), file=sys.stderr, flush=True)
        time.sleep(600)
    """)
    with pytest.raises(ValueError, match="ours"):
        await asyncio.wait_for(jobs.run(module, [], faulty), 30.0)


async def test_it_gives_way_to_the_engine_and_takes_one_thread(job) -> None:  # type: ignore[no-untyped-def]
    module = job('print(json.dumps({"nice": os.nice(0), "threads": os.environ["OMP_NUM_THREADS"]}))')
    said = json.loads((await jobs.run(module, [], nobody)).document())
    assert said == {"nice": os.nice(0) + 10, "threads": "1"}


@pytest.mark.parametrize("deaf", [False, True])
async def test_cancelling_ends_it(job, deaf: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """One that does not listen is given a moment, and then no choice."""
    monkeypatch.setattr(jobs, "PATIENCE", 0.1 if deaf else 60.0)
    module = job(f"""
        import signal
        if {deaf}:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print(json.dumps({{"progress": 0.0, "text": str(os.getpid())}}), file=sys.stderr, flush=True)
        time.sleep(600)
    """)
    began: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    work = asyncio.create_task(jobs.run(module, [], lambda share, text: began.set_result(int(text))))
    pid = await asyncio.wait_for(began, 30.0)
    assert alive(pid)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(work, 30.0)
    assert not alive(pid)


class TestTheExchange:
    async def test_it_announces_itself_is_found_and_goes(self, tmp_path: Path) -> None:
        panel(300).save(tmp_path / "market.npz")
        options = {"panel": str(tmp_path / "market.npz"), "speed": "max", "start": "250"}
        exchange = await ExchangeProcess.start(tmp_path, options, resume=False)
        try:
            assert exchange.url == f"http://127.0.0.1:{exchange.port}" and alive(exchange.pid)
            found = ExchangeProcess.running(tmp_path)
            assert found is not None and (found.port, found.pid) == (exchange.port, exchange.pid)
        finally:
            await exchange.stop()
        assert not alive(exchange.pid) and ExchangeProcess.running(tmp_path) is None

    async def test_one_that_was_killed_is_not_running_though_its_file_says_so(self, tmp_path: Path) -> None:
        panel(300).save(tmp_path / "market.npz")
        exchange = await ExchangeProcess.start(tmp_path, {"panel": str(tmp_path / "market.npz")}, resume=False)
        os.kill(exchange.pid, 9)
        await exchange.stop()
        assert (tmp_path / "exchange.json").exists() and ExchangeProcess.running(tmp_path) is None

    async def test_nothing_was_ever_started(self, tmp_path: Path) -> None:
        assert ExchangeProcess.running(tmp_path) is None

    async def test_why_it_did_not_start_is_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"the local exchange did not start: .*market.npz.*") as told:
            await ExchangeProcess.start(tmp_path, {"panel": str(tmp_path / "market.npz")}, resume=False)
        assert "\n" not in str(told.value)

    async def test_stopped_while_it_starts_it_is_not_left_behind(self, tmp_path: Path) -> None:
        panel(300).save(tmp_path / "market.npz")
        work = asyncio.create_task(
            ExchangeProcess.start(tmp_path, {"panel": str(tmp_path / "market.npz")}, resume=False)
        )
        while not (tmp_path / "exchange.log").exists():  # noqa: ASYNC110
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]  # noqa: ASYNC240
        assert [pid for pid in pids if alive(pid, str(tmp_path))] == []
