"""Fixed pairs through the event-driven backtest, timed: `python -m tests.bench.fixed_pairs PANEL.npz START`, a JSON
line. `peers/nautilus_pairs.py` does the same in nautilus_trader.

The rule: disjoint pairs, in where |z| > 1.5, out where z has crossed zero. As an outside strategy it goes the whole
way of any other: features, trader, risk, legs, ledger.
"""

import json
import sys
import time
from decimal import Decimal
from pathlib import Path

import numpy as np

from core.backtest.events import Assumptions, EventRun, market_of, run_events
from core.data.panel import Panel
from core.domain.account import Holdings
from core.domain.backtest import Source
from core.domain.decision import Decision, Entry, Exit, View
from core.domain.instrument import pairs_of
from core.execution.risk import Limits
from core.features.pairs import PairFeatures
from core.portfolio.events import Filled
from core.strategies.params import DivergenceParams
from core.strategies.registry import Decide, Strategy
from core.trader import Trader

ENTRY, NOTIONAL = 1.5, 1000.0
FAR = 0.9
"""A stop and a target that are never reached."""
CASH = Decimal(1_000_000)
LIMITS = Limits(*(Decimal(text) for text in ("0.95", "500000", "10000", "10", "1", "0.0005")))
FIRST = 300
"""Bars of the run that is not timed: it loads what is compiled."""
_NO_REASONS, _NO_SCORES, _NO_SIDES = np.zeros(0, np.uint8), np.zeros(0), np.zeros(0, np.int8)


def every_second(assets: tuple[str, ...]) -> Decide:
    """The rule for every second asset with its neighbour."""
    rows = {pair.name: row for row, pair in enumerate(pairs_of(assets))}
    pairs = [(name, rows[name]) for name in (f"{a}/{b}" for a, b in zip(assets[::2], assets[1::2], strict=True))]

    def decide(view: View, holdings: Holdings, params: DivergenceParams) -> Decision:
        entered = {book.pair: book.z for book in holdings.books}
        z = view.column("z_score").tolist()
        entries, exits = [], []
        for name, row in pairs:
            now, then = z[row], entered.get(name)
            if then is None:
                if abs(now) > ENTRY:
                    side = -1 if now > 0 else 1
                    entries.append(Entry(name, side, NOTIONAL, FAR, FAR, now, abs(now), 1.0, "strayed"))
            elif now * then <= 0:
                exits.append(Exit(name, "came back"))
        return Decision(
            view.ts, "fixed-pairs", tuple(entries), tuple(exits), (), _NO_REASONS, (), _NO_SCORES, _NO_SIDES
        )

    return decide


def followed(panel: Panel, start: int) -> EventRun:
    """The rule over `panel` from bar `start` on, but for its last bar, whose orders would find no open."""
    market = market_of(panel, start, len(panel) - 1 - start, 7)
    span = int(panel.ts[start]), int(panel.ts[-1])
    source = Source("bench", "synthetic", "", "", panel.assets, panel.bar_ms, *span)
    rule = Strategy(name="fixed-pairs", decide=every_second(panel.assets))
    instruments = {spec.id: spec for spec in market.instruments}
    features = PairFeatures(panel.assets, bar_ms=panel.bar_ms)
    trader = Trader(rule, DivergenceParams(), features, None, instruments, LIMITS)
    mid = Assumptions(slippage="none")
    return run_events([trader], market, CASH, mid, source, seed=7, catastrophe_share=Decimal("0.99"))


def main(path: str, start: int) -> None:
    """Seconds of this process's processor, and each fill: time (ms), asset, side, price."""
    panel = Panel.load(Path(path))
    followed(panel.slice(0, start + FIRST), start)
    began = time.process_time()
    run = followed(panel, start)
    took = time.process_time() - began
    fills = [event.fill for event in run.events if isinstance(event, Filled)]
    said = [(f.ts, f.instrument.split("-")[0], "BUY" if f.size > 0 else "SELL", float(f.price)) for f in fills]
    print(json.dumps({"seconds": took, "digest": run.result.digest, "fills": said}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
