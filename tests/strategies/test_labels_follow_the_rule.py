"""What the model learns is what the rule does: a label's trade ends on the bar on which the rule would leave."""

import numpy as np
import pytest

from core.config import load
from core.data.synthetic import synthetic_panel
from core.features.bounds import bounds, reference
from core.models.labels import label
from core.models.train import recipe_of
from core.strategies.registry import pair_features
from core.strategies.rule import HELD, Leave, Market, compiled, leaving

ASSETS = ("ETH", "BTC", "SOL")
LEGS = np.array([(0, 1), (0, 2), (1, 2)])


@pytest.mark.parametrize(
    "changes",
    [
        {"stop_mode": "volatility", "stop_default": 0.01, "target_default": 0.012},
        {"stop_atr": 1.0, "stop_min": 0.004, "target_atr": 1.5, "target_min": 0.006, "min_hold_bars": 3},
        {"z_exit": 0.5, "horizon_bars": 10, "min_hold_bars": 4},
    ],
    ids=["volatility", "atr", "early"],
)
def test_a_label_ends_where_the_rule_would_leave(changes: dict[str, object]) -> None:
    options = {f"strategy.divergence.{name}": value for name, value in changes.items()} | {
        "universe.assets": ASSETS
    }
    settings = load(options=options, environ={})
    params, panel = settings.strategy.divergence, synthetic_panel(5, 420, ASSETS)
    features = pair_features(ASSETS, params, panel.bar_ms)
    past = features.history(panel)
    rule, hour = compiled(params, panel.bar_ms), panel.bar_ms
    learned = recipe_of(settings).label
    z = np.ascontiguousarray(past.features[:, :, features.names.index("z_score")])
    y, end = label(panel, LEGS, z, past.usable, past.atr_pct, past.volatility, learned)

    def leave_at(t: int, p: int) -> tuple[int, Leave]:
        """The bar whose close lets the rule leave a pair that it decided on at bar t, half of the gross a leg."""
        (a, b), usual = LEGS[p], reference(ASSETS)
        side, paid = -np.sign(z[t, p]), learned.fee
        held, rates = np.zeros(1, HELD), np.nan_to_num(panel.funding_rate)
        scales = (past.atr_pct[t, a], past.volatility[t, a], past.volatility[t, usual])
        stop, target = bounds(rule.bounds, *scales)
        for u in range(t + 1, len(panel)):
            value = [panel.close[u, i] / panel.open[t + 1, i] for i in (a, b)]
            share = 0.5 * side * (value[0] - value[1]) - paid
            held[0] = (p, panel.ts[t], z[t, p], share, stop, target)
            inputs = (z[u], np.ones(3), past.usable[u], past.funding[u], np.eye(3))
            left = Leave(leaving(rule, Market(int(panel.ts[u]), np.ascontiguousarray(LEGS.T), *inputs), held, 0))
            if left is not Leave.STAY:
                return u, left
            opened = [panel.open[u + 1, i] / panel.open[t + 1, i] * rates[u + 1, i] for i in (a, b)]
            paid += 0.5 * side * (opened[0] - opened[1])
        raise AssertionError("the horizon ends every trade")

    seen: set[Leave] = set()
    rows = np.argwhere(y >= 0)
    assert len(rows) > 100 and hour == 3_600_000
    for t, p in rows:
        u, left = leave_at(int(t), int(p))
        assert end[t, p] == u + 1
        seen.add(left)
    assert len(seen) >= 2
