"""Killed twenty times in one session, at moments that nobody chose, the engine loses and doubles nothing."""

import random
import signal
from pathlib import Path

from tests.engine.processes import Home, whole

RUN = ("--speed", "max", "--bars", "500")
KILLS = 20
SEED = 20240108


async def test_killed_at_twenty_seeded_times(home: Home, tmp_path: Path) -> None:
    """One session, one exchange that lives through all of it. Even lives are killed while they trade, odd ones at
    any time from the moment they connect: reconciling, repairing, warming up."""
    chance = random.Random(SEED)
    resume: tuple[str, ...] = ()
    exchanges = set()
    for life in range(KILLS):
        engine = await home.engine(*RUN, *resume)
        if life % 2:
            await engine.line("connecting")
            delay = chance.uniform(0.0, 0.5)
        else:
            await engine.line("equity")
            delay = chance.uniform(0.0, 0.08)
        assert await engine.runs_for(delay), "the session was over before its twentieth death"
        engine.signal(signal.SIGKILL)
        code, _, errors = await engine.end()
        assert (code, errors) == (-signal.SIGKILL, "")
        exchanges.add(home.exchange_pid())
        resume = ("--resume",)
    assert len(exchanges) == 1, "the exchange outlives the engine"

    said = await (await home.engine("--json", *RUN, "--resume")).result()
    undisturbed = Home(tmp_path / "undisturbed")
    try:
        reference = await (await undisturbed.engine("--json", *RUN)).result()
    finally:
        await undisturbed.clear()
    assert reference["fills"] >= 20
    assert whole(said) == whole(reference)
