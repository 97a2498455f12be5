"""A short demo in this process: the local exchange on its port, the engine on the one OKX path, in lockstep. Errors
can be planted in the product itself."""

from pathlib import Path

from core.config import load
from core.data.synthetic import synthetic_panel
from core.engine import supervisor
from core.engine.narrator import Narrator
from core.matching.rules import Rules
from core.venues.okx.factory import okx_venue
from core.venues.okx_local import LOCKSTEP, LocalExchange, Settings
from tests.acceptance.compare import read
from tests.acceptance.demo import Plan, Recording, recording
from tests.acceptance.plain_market import HOUR, from_npz

PLAN = Plan(
    "zscore",
    ("BTC", "ETH", "SOL", "DOGE"),
    450,
    {"max_concurrent_positions": 2, "base_size_usdt": 3000.0, "funding_threshold": 0.00015},
    bars=60,
)


async def play(home: Path, rules: Rules | None = None) -> Recording:
    """Trade the plan's bars; what was recorded, beside a market read back from its file."""
    params = {f"strategy.divergence.{name}": value for name, value in PLAN.params.items()}
    chosen = {"universe.assets": list(PLAN.assets), "engine.strategies": ["zscore"], "demo.speed": "max", **params}
    settings = load(None, options=chosen, environ={"COCKPIT_HOME": str(home)})
    settings.paths.create()
    panel = synthetic_panel(settings.demo.seed, PLAN.train_bars + PLAN.bars + 2, PLAN.assets)
    path = settings.paths.exchange / "market.npz"
    panel.save(path)
    replay = Settings(speed=LOCKSTEP, start=PLAN.train_bars, bars=PLAN.bars, idle_exit=0.0)
    async with LocalExchange(panel, settings.paths.exchange, replay, rules=rules) as exchange:
        keys = exchange.keys
        venue = okx_venue(
            address=exchange.url, key=keys.key, secret=keys.secret, passphrase=keys.passphrase, lockstep=True
        )
        async with supervisor.composed(settings, venue, {}, None, Narrator()) as run:
            await run.engine.trade(int(panel.ts[0]) + (PLAN.train_bars + PLAN.bars - 1) * HOUR)
    events = read(settings.paths.ledger("demo"))
    return recording(PLAN, from_npz(path), PLAN.train_bars, None, events)
