"""A seeded fake engine behind the real socket: the scenes of the tests and of the README's pictures.

Run it by hand to look at the terminal: `python tests/cockpit/scene.py [SECONDS_BETWEEN_UPDATES]`.
"""

import asyncio
import contextlib
import math
import random
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from core.domain.instrument import pairs_of
from core.domain.snapshot import (
    Clusters,
    ClusterTrail,
    Command,
    Equity,
    LegRow,
    LogLine,
    PairTable,
    PositionRow,
    Reply,
    Snapshot,
    Status,
    Stream,
    Ticket,
)
from core.link.server import LinkServer

HOUR = 3_600_000
NOW = 1_723_122_000_000
"""2024-08-08T13:00Z, the market time of the scene."""
PRICES = {
    "BTC": 57_342.1, "ETH": 2_435.62, "SOL": 151.384, "XRP": 0.62271, "BNB": 504.83,
    "DOGE": 0.101294, "ADA": 0.33418, "AVAX": 21.5427, "LINK": 10.2764, "DOT": 4.6121,
}  # fmt: skip
CLUSTER = {"BTC": 0, "ETH": 0, "SOL": 0, "AVAX": 0, "BNB": 1, "XRP": 1, "ADA": 1, "DOGE": 2, "LINK": 1, "DOT": 1}


class Scene:
    """A market of ten assets, 45 pairs, two positions and an account, all from one seed. `step` moves it on."""

    def __init__(self, seed: int = 7, *, learned: bool = False) -> None:
        self.learned = learned
        """Whether the cluster strategy runs, too: with a trained model's table, and a single asset held."""
        self.chance = random.Random(seed)
        self.prices = dict(PRICES)
        self.pairs = pairs_of(tuple(PRICES))
        self.z = {pair.name: self.chance.gauss(0, 1.1) for pair in self.pairs}
        self.z["SOL/AVAX"], self.z["ADA/DOT"] = 1.02, -0.61
        self.probability = {pair.name: min(max(self.chance.gauss(0.56, 0.12), 0.05), 0.95) for pair in self.pairs}
        self.funding = {asset: self.chance.gauss(1e-4, 1.2e-4) for asset in PRICES}
        self.change = {asset: self.chance.gauss(0.01, 0.03) for asset in PRICES}
        self.correlation = {pair.name: self.chance.uniform(0.45, 0.92) for pair in self.pairs}
        self.curve = self._curve(320)
        self.log = self._history()
        self.status = Status(
            session="7f3a", venue="local exchange", mode="DEMO", phase="running", detail="", progress=-1.0,
            state="active", pid=4711, strategies=["divergence"], model="forest 3b1c", base_rate=0.58, bar_ms=HOUR,
            bars=320, bars_total=1000, market_ms=NOW + 2_317_000, wall_ms=NOW,
            latency_ms=4.2, lag_ms=1.3, step_ms=2.6,
            streams_live=10, streams_total=10, warning="",
        )  # fmt: skip
        self.held = True

    def _curve(self, bars: int) -> list[float]:
        curve = [10_000.0]
        for i in range(bars - 1):
            curve.append(curve[-1] + self.chance.gauss(0.9, 9.0) - 7.0 * (120 < i < 160))
        return curve

    def _history(self) -> list[LogLine]:
        told = [
            (-9, "engine", "info", "the ledger is folded: 3 round trips, 1 position; the exchange agrees"),
            (-8, "decision", "info", "hold: no pair with |z| above 1.0 passes the filters"),
            (-6, "decision", "info", "open SOL/AVAX short: z +2.31, probability 0.71, score 1.64"),
            (-6, "order", "info", "sell 6.6 SOL at the market, 6.6 contracts"),
            (-6, "fill", "good", "sold 6.6 SOL at 152.104, fee -0.50"),
            (-6, "order", "info", "buy 46.3 AVAX at the market, 46.3 contracts"),
            (-6, "fill", "good", "bought 46.3 AVAX at 21.5871, fee -0.50"),
            (-5, "health", "warn", "DOGE: no message for 4.0 s; subscribed again"),
            (-5, "health", "good", "DOGE: the stream is live again"),
            (-4, "funding", "info", "SOL -0.08, AVAX +0.11 USDT"),
            (-3, "decision", "info", "hold: BTC/DOGE correlates 0.88 with SOL/AVAX, which is held"),
            (-2, "decision", "info", "open ADA/DOT long: z -1.87, probability 0.63, score 1.18"),
            (-2, "fill", "good", "bought 3,000 ADA at 0.33402, fee -0.50"),
            (-2, "repair", "bad", "DOT leg refused by the exchange (51008): trying again within the expiry"),
            (-2, "fill", "good", "sold 217 DOT at 4.6188, fee -0.50"),
            (-1, "decision", "info", "hold: both positions keep their sign of z"),
            (0, "decision", "info", "hold: XRP/LINK scores 0.94, funding of XRP -6.1bp bars a short"),
        ]
        return [
            LogLine(i, NOW + hours * HOUR, kind, level, text) for i, (hours, kind, level, text) in enumerate(told)
        ]

    def say(self, kind: str, level: str, text: str) -> LogLine:
        """A new line at the end of the log."""
        line = LogLine(self.log[-1].seq + 1, self.status.market_ms, kind, level, text)
        self.log.append(line)
        return line

    def step(self) -> None:
        """A moment later: every price, every score has moved a little."""
        for asset in self.prices:
            self.prices[asset] *= math.exp(self.chance.gauss(0, 2e-4))
        for name in self.z:
            self.z[name] += self.chance.gauss(0, 0.02)
        self.curve[-1] += self.chance.gauss(0, 0.5)
        self.status = msgspec.structs.replace(
            self.status, market_ms=self.status.market_ms + 60_000, latency_ms=3 + 3 * self.chance.random()
        )

    def table(self) -> PairTable:
        held = {"SOL/AVAX", "ADA/DOT"} if self.held else set()
        busy = {asset for pair in held for asset in pair.split("/")}
        names = [pair.name for pair in self.pairs]
        z = [self.z[name] for name in names]
        probability = [self.probability[name] for name in names]
        direction, why = [], []
        for pair in self.pairs:
            at, p = self.z[pair.name], self.probability[pair.name]
            side = 0
            if pair.name in held:
                text, side = "held", -1 if pair.name == "SOL/AVAX" else 1
            elif abs(at) < 1:
                text = f"|z| {abs(at):.2f} is below 1.00"
            elif p <= 0.5:
                text = f"probability {p:.2f} is not above 0.50"
            elif pair.a in busy or pair.b in busy:
                text = f"{pair.a if pair.a in busy else pair.b} is held already"
            elif self.correlation[pair.name] > 0.85:
                text = f"{pair.a} correlates {self.correlation[pair.name]:.2f} with SOL"
            else:
                text, side = "two positions are the limit", -1 if at > 0 else 1
            direction.append(side)
            why.append(text)
        return PairTable(
            name=names, z=z, probability=probability,
            score=[abs(a) * b for a, b in zip(z, probability, strict=True)],
            direction=direction, funding=[self.funding[p.a] - self.funding[p.b] for p in self.pairs],
            correlation=[self.correlation[name] for name in names],
            spread=[self.prices[p.a] / self.prices[p.b] for p in self.pairs], why=why,
            held=[n in held for n in names],
        )  # fmt: skip

    def leg(self, asset: str, units: float, entry: float) -> LegRow:
        mark = self.prices[asset]
        return LegRow(asset, units, units, entry, mark, units * (mark - entry))

    def positions(self) -> list[PositionRow]:
        if not self.held:
            return []
        return [
            self._position("SOL/AVAX", -1, 2.31, [("SOL", -6.6, 152.104), ("AVAX", 46.3, 21.5071)], 6, "strategy"),
            self._position("ADA/DOT", 1, -1.87, [("ADA", 3000.0, 0.33502), ("DOT", -217.0, 4.6188)], 2, "manual"),
            *([self._single("LINK", -42.0, 10.4012)] if self.learned else []),
        ]

    def _single(self, asset: str, units: float, entry: float) -> PositionRow:
        row = self._position(asset, -1, 0.0, [(asset, units, entry)], 3, "strategy")
        told = self.clusters()
        z = told.residual[told.asset.index(asset)]
        return msgspec.structs.replace(row, strategy="cluster", z_now=z, stop=-0.0, target=0.0)

    def _position(
        self, pair: str, side: int, z: float, legs: list[tuple[str, float, float]], bars: int, origin: str
    ) -> PositionRow:
        rows = [self.leg(*leg) for leg in legs]
        gross = sum(abs(row.units) * row.entry for row in rows)
        pnl = sum(row.pnl for row in rows) - 1.0
        return PositionRow(
            pair=pair, strategy="divergence", side=side, legs=rows, gross=gross, z_entry=z,
            z_now=self.z.get(pair, 0.0), pnl=pnl, pnl_share=pnl / gross, stop=-0.06, target=0.05, fees=-1.0,
            funding=0.03, opened_ms=NOW - bars * HOUR, bars=bars, origin=origin, working="",
            protected=pair != "ADA/DOT" or bars > 1,
        )  # fmt: skip

    def equity(self) -> Equity:
        now, peak = self.curve[-1], max(self.curve)
        open_ = sum(row.pnl for row in self.positions())
        return Equity(
            currency="USDT", cash=now - open_, equity=now, start=10_000.0, peak=peak, drawdown=1 - now / peak,
            today=now - self.curve[-14], realized=now - 10_000 - open_ + 41.3, unrealized=open_, fees=-38.22,
            funding=-3.08, gross=sum(row.gross for row in self.positions()), free=now - 2_010.0, round_trips=37,
            orders=158, fills=164, agrees=True, curve=list(self.curve),
            curve_ms=[NOW - (len(self.curve) - i) * HOUR for i in range(len(self.curve))],
        )  # fmt: skip

    def streams(self) -> list[Stream]:
        return [
            Stream(
                asset,
                f"{asset}-USDT-SWAP",
                last,
                self.change[asset],
                self.funding[asset],
                0.1 * (i % 4 + 1),
                "live",
            )
            for i, (asset, last) in enumerate(self.prices.items())
        ]

    def snapshot(self) -> Snapshot:
        return Snapshot(
            status=self.status, streams=self.streams(), pairs=self.table(), positions=self.positions(),
            equity=self.equity(), log=list(self.log),
            clusters=self.clusters(),
        )  # fmt: skip

    def clusters(self) -> Clusters:
        """What correlations say, or a model: DOGE is out, DOT has drifted to another cluster, LINK strays."""
        assets, groups = list(PRICES), [CLUSTER[asset] for asset in PRICES]
        similarity = [0.71 + 0.02 * (i % 7) for i in range(len(assets))]
        if not self.learned:
            return Clusters("168-bar correlation", assets, groups, similarity)
        gate = {"DOGE": 0.03, "DOT": 0.61, "AVAX": 0.44}
        residual = {"LINK": 2.62, "DOT": -1.31, "SOL": -0.84, "AVAX": 0.57, "BTC": 0.21, "ETH": -0.12, "DOGE": 3.3}
        weight = {"LINK": -0.0871, "DOT": 0.0094}
        before = {"DOT": 0, "XRP": 1}
        return Clusters(
            "model 5d1c0a77", assets, groups, similarity,
            gate=[gate.get(asset, 0.98) for asset in assets],
            residual=[residual.get(asset, 0.05 * i - 0.2) for i, asset in enumerate(assets)],
            signal=[10 * weight.get(asset, 0.0) for asset in assets],
            weight=[weight.get(asset, 0.0) for asset in assets],
            held=[-0.0874 if asset == "LINK" and self.held else 0.0 for asset in assets],
            cluster_before=[before.get(asset, CLUSTER[asset]) for asset in assets],
            gate_before=[{"DOT": 0.93, "AVAX": 0.91}.get(asset, gate.get(asset, 0.98)) for asset in assets],
        )  # fmt: skip

    def trail(self, asset: str) -> ClusterTrail:
        """An asset's last 120 bars, which end at what the table says."""
        told, chance, bars = self.clusters(), random.Random(asset), 120
        row = told.asset.index(asset)
        consensus = [1.2 * math.sin(i / 17) + chance.gauss(0, 0.12) for i in range(bars)]
        far = [told.residual[row] * (i / (bars - 1)) ** 3 + chance.gauss(0, 0.3) for i in range(bars - 1)]
        far.append(told.residual[row])
        return ClusterTrail(
            asset=asset, ts=[NOW - (bars - 1 - i) * HOUR for i in range(bars)],
            z=[a + b for a, b in zip(consensus, far, strict=True)], consensus=consensus,
            cluster=[told.cluster_before[row]] * (bars - 1) + [told.cluster[row]],
            gate=[told.gate_before[row] + (told.gate[row] - told.gate_before[row]) * (i / (bars - 1)) ** 6
                  for i in range(bars)],
            weight=[told.weight[row] * (i == bars - 1) for i in range(bars)],
            threshold=2.03, stop_threshold=3.94, why="held: its weight has moved within the band of 1.00%",
        )  # fmt: skip


class FakeEngine:
    """Serves a scene; remembers the commands that came, and obeys a little."""

    def __init__(self, path: Path, scene: Scene, *, read_only: bool = False) -> None:
        self.scene = scene
        self.seen: list[Command] = []
        self.refusal = ""
        self.pending = 0
        """How many commands are answered as if they were still at work."""
        self.server = LinkServer(path, self.handle, session="7f3a", read_only=read_only)

    @property
    def acted(self) -> list[Command]:
        """The commands that change something."""
        return [command for command in self.seen if command.name not in ("preview", "status", "trail")]

    async def handle(self, command: Command) -> Reply:
        self.seen.append(command)
        if command.name == "preview":
            return Reply(command.id, True, "", self.ticket(command))
        if command.name == "trail":
            return Reply(command.id, True, "", trail=self.scene.trail(command.pair))
        if command.name in ("pause", "resume"):
            state = "reducing" if command.name == "pause" else "active"
            reason = "paused by cockpit" if command.name == "pause" else ""
            self.scene.status = msgspec.structs.replace(self.scene.status, state=state, reason=reason)
        if command.name == "kill":
            self.scene.status = msgspec.structs.replace(
                self.scene.status, state="halted", reason="killed by cockpit"
            )
        if command.name == "flatten":
            self.scene.held = False
        self.publish()
        self.pending -= 1
        return Reply(
            command.id, not self.refusal, self.refusal or f"{command.name}: done", pending=self.pending >= 0
        )

    def ticket(self, command: Command) -> Ticket:
        a, b = command.pair.split("/")
        legs = []
        for asset, sign in ((a, command.side), (b, -command.side)):
            units = sign * 1000 / self.scene.prices[asset]
            legs.append(LegRow(asset, units, units, 0.0, self.scene.prices[asset], 0.0))
        return Ticket(command.pair, command.side, legs, 2000.0, 1.0, 2000.0, self.refusal)

    def publish(self) -> None:
        self.server.publish(self.scene.snapshot())


@contextlib.asynccontextmanager
async def serving(path: Path, scene: Scene | None = None, *, read_only: bool = False) -> AsyncIterator[FakeEngine]:
    """A fake engine at `path` that has published its scene."""
    engine = FakeEngine(path, scene or Scene(), read_only=read_only)
    await engine.server.start()
    engine.publish()
    try:
        yield engine
    finally:
        await engine.server.close()


async def _by_hand(pause: float) -> None:
    from cockpit.app import CockpitApp

    with tempfile.TemporaryDirectory() as folder:
        async with serving(Path(folder) / "engine.sock") as engine:
            app = CockpitApp(engine.server.path)
            running = asyncio.create_task(app.run_async())
            while not running.done():
                engine.scene.step()
                engine.publish()
                await asyncio.wait({running}, timeout=pause)
            print(await running)


if __name__ == "__main__":
    asyncio.run(_by_hand(float(sys.argv[1]) if len(sys.argv) > 1 else 0.25))
