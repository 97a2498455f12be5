"""A stand-in for `python -m core.backtest` and core.research: tells progress, keeps a run, prints its document.

What it does hangs on the strategy's name: `refused` fails with a reason, `endless` works until it is ended,
`patient` waits for SIGUSR1, `mute` says nothing. In the folder `runs` of COCKPIT_HOME it keeps what the real
one keeps.
"""

import json
import math
import os
import random
import signal
import sys
from pathlib import Path

import msgspec

from core.domain.backtest import (
    Compared,
    Curve,
    Document,
    Drawdown,
    Estimate,
    Metrics,
    Money,
    PairFigures,
    Source,
    Statistics,
    TradeFigures,
)

START, HOUR = 1_704_067_200_000, 3_600_000
PAIRS = ("BTC/ETH", "BTC/SOL", "ETH/SOL", "SOL/AVAX", "ADA/DOT", "LINK/DOT", "XRP/ADA", "BNB/DOGE")


def curve(seed: int, points: int = 300, hours: int = 24) -> Curve:
    """A seeded walk of equity from 10,000."""
    draw = random.Random(seed)
    equity, peak, values, down = 10_000.0, 10_000.0, [], []
    for point in range(points):
        values.append(round(equity, 2))
        peak = max(peak, equity)
        down.append(equity / peak - 1)
        equity *= 1 + draw.gauss(0.0004 * math.cos(point / 40) - 0.0003, 0.006)
    return Curve(tuple(START + i * hours * HOUR for i in range(points)), tuple(values), tuple(down))


def figures(seed: int, line: Curve) -> Metrics:
    """Figures that agree with the curve and with one another."""
    draw = random.Random(seed)
    net = line.equity[-1] - line.equity[0]
    shares = [draw.gauss(0, 1) for _ in PAIRS]
    shares = [share - sum(shares) / len(PAIRS) + net / len(PAIRS) / 100 for share in shares]
    pairs = []
    for name, part in zip(PAIRS, shares, strict=True):
        count = draw.randint(12, 40)
        paid = Money(100 * part + 1.5 * count, -0.4 * count, -1.0 * count, -0.1 * count, 100 * part)
        pairs.append(PairFigures(name, TradeFigures(count, count // 2, 0.5, money=paid), 0.08, name == "ADA/DOT"))
    total = sum(pair.trades.count for pair in pairs)
    sums = {key: sum(getattr(p.trades.money, key) for p in pairs) for key in Money.__struct_fields__}
    low = min(range(len(line.equity)), key=lambda i: line.drawdown[i])
    worst = Drawdown(line.drawdown[low], line.ts[10], line.ts[low], 0, 2_400, 1_900)
    trades = TradeFigures(
        total, total // 2, 0.49, 0.93, 21.5, -22.9, 0.94, net / total, -0.0004, 21.0, 17.0, Money(**sums)
    )
    year = len(line.ts) / 365
    return Metrics(
        line.ts[0], line.ts[-1], 24 * len(line.ts), year, 10_000.0, line.equity[-1], net / 10_000,
        (1 + net / 10_000) ** (1 / year) - 1, 0.114, round(6 * net / 10_000, 2), round(8 * net / 10_000, 2),
        round(4 * net / 10_000, 2), worst, worst, -0.004, -0.006, -0.011,
        -0.016, -0.2, 4.1, 0.62, 0.71, 84.0, 4 * total, 4 * total, Money(**sums), trades, tuple(pairs),
    )  # fmt: skip


def document(seed: int = 7, strategy: str = "divergence", data: str = "perp-1h", **changes: object) -> Document:
    """What a run says; the same for the same seed."""
    line = curve(seed)
    metrics = figures(seed, line)
    made = metrics.total_return
    ratio, trade, worst = metrics.sharpe or 0.0, metrics.trades.expectancy or 0.0, metrics.max_drawdown.depth
    stats = Statistics(
        48, 1000, Estimate(made, made - 0.26, made + 0.24), Estimate(ratio, ratio - 1.5, ratio + 1.5),
        Estimate(worst, 1.6 * worst, 0.6 * worst), Estimate(trade, trade - 11, trade + 12.5), 27, 0.34, 0.08, 1.9,
        None,
    )  # fmt: skip
    told = Document(
        strategy=strategy,
        engine="vectorised",
        standing="unproven",
        verdict="The interval of the net return holds zero: nothing is proven either way.",
        params={"z_entry": 1.0, "z_window": 24},
        source=Source(data, "okx", "ab" * 32, "cd" * 32, ("BTC", "ETH", "SOL"), HOUR, line.ts[0], line.ts[-1]),
        assumptions={"fees": "taker 5.0 bp of each fill", "fills": "at the next open", "slippage": "1.0 bp"},
        seed=seed,
        digest="9f2c" * 16,
        notes=("2 bars of DOT were missing and were not traded on",),
        open_pairs=("ADA/DOT",),
        metrics=metrics,
        statistics=stats,
        curve=line,
        months={f"2024-{m:02}": round(random.Random(seed + m).gauss(0, 0.02), 4) for m in range(1, 11)},
    )
    return msgspec.structs.replace(told, **changes)


def compared(seed: int) -> tuple[Compared, ...]:
    """The baselines of a run."""
    lines = {name: curve(seed + place) for place, name in enumerate(("buy-hold", "rsi"), 40)}
    told = {name: figures(seed, line) for name, line in lines.items()}
    gains = {name: metrics.total_return for name, metrics in told.items()}
    return tuple(
        Compared(name, told[name], line, Estimate(gains[name], gains[name] - 0.2, gains[name] + 0.3))
        for name, line in lines.items()
    )


def keep(home: Path, name: str, told: Document, report: str = "") -> Document:
    """Write a run where the screen looks for it; `report` is the path it tells (default: where it lies)."""
    folder = home / "runs" / name
    folder.mkdir(parents=True)
    told = msgspec.structs.replace(told, run=name, report=report or str(folder / "report.html"))
    (folder / "report.html").write_text("<!doctype html>")
    (folder / "result.json").write_bytes(msgspec.json.encode(told))
    return told


def tell(progress: float, text: str) -> None:
    print(json.dumps({"progress": progress, "text": text}), file=sys.stderr, flush=True)


def main() -> int:
    strategy, *words = sys.argv[1:]
    home = Path(os.environ["COCKPIT_HOME"])
    (home / "asked.json").write_text(json.dumps({"words": words, "pid": os.getpid(), "nice": os.nice(0)}))
    tell(0.1, "reading data")
    if strategy == "audit":
        print("INTEGRITY   FAILED\nEDGE        none")
        print("peeking: integrity failed: z_score at 2024-01-02", file=sys.stderr)
        return 1
    if strategy == "sweep":
        print('{"sets": 4}')
        return 0
    if strategy in ("walk-forward", "train"):
        print('{"segments": 3}' if strategy == "walk-forward" else '{"bundle": "b"}')
        return 0
    if strategy == "refused":
        print("data set 'perp': its hashes do not hold", file=sys.stderr)
        return 1
    if strategy == "endless":
        tell(0.42, "bar 4,200 of 10,000")
        signal.pause()
    if strategy == "patient":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        tell(0.5, "waiting")
        signal.sigwait({signal.SIGUSR1})
    if strategy == "mute":
        return 0
    tell(0.9, "bootstrap")
    seed = int(words[words.index("--seed") + 1]) if "--seed" in words else 7
    told = document(seed, strategy, compared=compared(seed) if "--compare" in words else ())
    if "--keep" in words:
        told = keep(home, f"made-{seed}", told)
    print(msgspec.json.encode(told).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
