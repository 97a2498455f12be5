"""Demo weeks as a user records them: `cockpit demo --headless --speed max` in a home of its own, and what is then
read back from its files."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.acceptance.compare import Event, differences, read, recorded
from tests.acceptance.plain_market import Candles, Model, Signals, from_npz, from_parquet, signals
from tests.acceptance.plain_week import PARAMS, Step, Terms, Week

ROOT = Path(__file__).resolve().parents[2]
MEMORY = 440
"""Bars before the week that its signals may depend on: four hundred of alignment, and the day's correlations."""
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Plan:
    """What to record: `params` as config.toml would name them, `data` the files of a replay (none: synthetic)."""

    strategy: str
    assets: tuple[str, ...]
    train_bars: int
    params: dict[str, Any]
    cash: int = 100_000
    bars: int = 168
    replay: tuple[str, str] | None = None

    def environment(self, home: Path) -> dict[str, str]:
        said = {name: value for name, value in os.environ.items() if not name.startswith("COCKPIT_")}
        said |= {f"COCKPIT_STRATEGY__DIVERGENCE__{name.upper()}": str(v) for name, v in self.params.items()}
        return said | {
            "COCKPIT_HOME": str(home),
            "COCKPIT_UNIVERSE__ASSETS": ",".join(self.assets),
            "COCKPIT_DEMO__MARKET_BARS": str(self.train_bars + self.bars + 2),
            "COCKPIT_DEMO__CASH": str(self.cash),
        }


@dataclass(frozen=True)
class Recording:
    """A recorded week: its market (from MEMORY bars before it on), the model it used, its ledger."""

    plan: Plan
    candles: Candles
    start: int
    model: Model | None
    events: list[Event]
    digest: str = ""
    """What the demo has printed of its decisions and fills."""
    home: Path = Path()

    @property
    def terms(self) -> Terms:
        return Terms(cash=Decimal(self.plan.cash))

    def signals(self) -> Signals:
        return signals(self.candles, PARAMS | self.plan.params, self.model)

    def derive(
        self, candles: Candles | None = None, signals: Signals | None = None, terms: Terms | None = None
    ) -> list[Step]:
        """The week once more, from the candles; what is given takes the place of what was recorded."""
        week = Week(candles or self.candles, signals or self.signals(), self.plan.params, terms or self.terms)
        return week.run(self.start, self.plan.bars)

    def against(self, derived: list[Step], events: list[Event] | None = None) -> list[str]:
        """What differs between the ledger and a derived week."""
        return differences(recorded(self.events if events is None else events), derived)


def record(plan: Plan, home: Path, data: Path | None = None) -> Recording:
    """Run the demo to its end and read what it has left."""
    return asyncio.run(_record(plan, home, data))


async def _record(plan: Plan, home: Path, data: Path | None) -> Recording:
    words = ["demo", "--headless", "--json", "--speed", "max", "--strategy", plan.strategy]
    words += ["--bars", str(plan.bars), "--train-bars", str(plan.train_bars)]
    files: list[Path] = []
    if plan.replay is not None:
        assert data is not None
        files = [data / name for name in plan.replay]
        words += ["--replay", str(files[0]), "--funding", str(files[1])]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cockpit", *words),
        cwd=ROOT,
        env=plan.environment(home),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            out, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()[-3000:]
    said = json.loads(out)
    assert all(said["agrees"].values()), out.decode()
    return replace(_read(plan, home, files), digest=said["digest"], home=home)


def _read(plan: Plan, home: Path, files: list[Path]) -> Recording:
    market = json.loads((home / "exchange" / "market.json").read_text())
    # What was replayed is read from where it came from: an import that altered it would show.
    candles = from_parquet(files[0], files[1], plan.assets) if files else from_npz(home / "exchange" / "market.npz")
    bundle = next(home.glob("models/*/*.safetensors"), None)
    model = None if bundle is None else Model(bundle)
    return recording(plan, candles, market["start"], model, read(home / "ledger" / "demo.sqlite"))


def recording(plan: Plan, candles: Candles, start: int, model: Model | None, events: list[Event]) -> Recording:
    """What was recorded from bar `start` of `candles` on, cut to the bars that matter: one after the last, too."""
    first = max(0, start - MEMORY)
    return Recording(plan, candles.rows(first, start + plan.bars + 1), start - first, model, events)
