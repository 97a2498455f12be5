"""Cluster arbitrage: hold each asset that strays from its cluster, against the way it strays, by a learned weight.

`decide` is pure: the same view, holdings and parameters give the same decision, in a backtest as in the demo and
live. The rule itself is compiled, in `core.strategies.cluster_rule`; here stands what feeds it, and its words.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from core.data.panel import Panel
from core.domain.account import Holdings
from core.domain.decision import Decision, Target, View
from core.domain.instrument import Pair
from core.domain.market import Bar, Floats
from core.features.pairs import FeatureHistory, Frame
from core.models.bundle import check_universe
from core.models.cluster.bundle import ClusterBundle
from core.models.cluster.rule import NAMES
from core.models.cluster.score import ClusterScorer
from core.strategies.cluster_rule import Bytes, Why, compiled, judge
from core.strategies.params import ClusterParams

TEXTS = (
    "an order is at work",
    "no feature: too few bars, no price, or no bar of the market",
    "gate below {p.gate_exit:g}: near no cluster",
    "the weight is within the band of {p.band:.2%}",
    "held: its weight has moved within the band of {p.band:.2%}",
    "closed: the weight has gone",
    "closed: gate below {p.gate_exit:g}, near no cluster",
    "closed: the weight has turned",
    "lowered",
    "raised",
    "entered",
)
"""`Why` in plain words, by number; `p` are the parameters."""


@lru_cache(maxsize=8)
def texts(params: ClusterParams) -> tuple[str, ...]:
    """`TEXTS` with the numbers of these parameters."""
    return tuple(text.format(p=params) for text in TEXTS)


class ClusterFeatures:
    """What a trained model says of each asset, as a strategy sees it: a column for each of `NAMES`, one row an
    asset, `usable` where the model has a feature. Not known here, and so 0: ranges, volatilities, correlations.

    UserError: `bundle` was trained on another universe or other bars."""

    names = NAMES

    def __init__(self, bundle: ClusterBundle, assets: Sequence[str], bar_ms: int) -> None:
        check_universe(bundle, assets, bar_ms)
        self.bundle = bundle
        self.assets = tuple(assets)
        self.pairs = tuple(Pair(asset) for asset in self.assets)
        self.hash = bundle.hash
        self._scorer = ClusterScorer(bundle.model, self.assets, bar_ms)
        self._nothing = np.zeros(len(self.assets))
        self._uncorrelated = np.zeros((len(self.assets), len(self.assets)))

    @property
    def warmup(self) -> int:
        """As in `ClusterScorer`."""
        return self._scorer.warmup

    def fresh(self) -> "ClusterFeatures":
        """The same, before its first bar."""
        return ClusterFeatures(self.bundle, self.assets, self.bundle.meta.bar_ms)

    def history(self, panel: Panel) -> FeatureHistory:
        """All bars of `panel`. ValueError if they do not follow the last one."""
        told = self._scorer.history(panel)
        unknown, day = np.zeros_like(panel.close), np.zeros(len(panel), np.int64)
        return FeatureHistory(
            told.ts,
            told.values,
            told.valid[:, :, 0],
            panel.close,
            panel.funding,
            unknown,
            self._uncorrelated[None],
            day,
            unknown,
        )

    def update(self, bar: Bar) -> Frame:
        """One closed bar. ValueError if it does not follow the last one."""
        told, nothing = self._scorer.update(bar), self._nothing
        close = bar.ohlcv[:, 3]
        return Frame(
            bar.open_ms,
            told.values[0],
            told.valid[0, :, 0],
            close,
            bar.funding,
            nothing,
            self._uncorrelated,
            nothing,
        )


def decide(view: View, holdings: Holdings, params: ClusterParams) -> Decision:
    """The answer to one closed bar: a target for each asset whose position is to change, those that give up
    exposure first, and a reason for every asset. `score` is the strength of its signal, in [0, 1]."""
    n, order = len(view.assets), _order(view.assets)
    weight, gate, residual, signal = (
        np.ascontiguousarray(view.column(name)) for name in ("weight", "gate", "residual", "signal")
    )
    held, working = np.zeros(n), np.zeros(n, np.bool_)
    for book in holdings.books:
        if (i := order.get(book.pair)) is not None:
            held[i] = sum(float(leg.size * leg.contract) for leg in book.legs) * view.close[i]
    for pair in holdings.working:
        if (i := order.get(pair)) is not None:
            working[i] = True
    wanted, why = np.empty(n), np.empty(n, np.uint8)
    judge(compiled(params), weight, gate, view.usable & ~working, held, wanted, why)
    why[working] = Why.WORKING
    told = texts(params)
    changed = [int(i) for i in np.flatnonzero(why >= Why.LEFT)]
    targets = tuple(
        Target(
            view.assets[i],
            float(wanted[i]),
            f"{told[why[i]]}, residual {residual[i]:+.2f}, gate {gate[i]:.2f}",
            abs(float(signal[i])),
        )
        for i in sorted(changed, key=lambda i: why[i] >= Why.RAISED)
    )
    return Decision(
        view.ts,
        "cluster",
        (),
        (),
        (),
        why,
        told,
        np.abs(signal),
        np.sign(np.where(view.usable, weight, 0.0)).astype(np.int8),
        "" if targets else _best(view, why, np.abs(signal), told),
        targets,
    )


@lru_cache(maxsize=8)
def _order(assets: tuple[str, ...]) -> dict[str, int]:
    return {asset: i for i, asset in enumerate(assets)}


def _best(view: View, why: Bytes, strength: Floats, told: tuple[str, ...]) -> str:
    """Why the asset with the strongest signal is left as it is."""
    i = int(strength.argmax())
    return f"{view.assets[i]}: {told[why[i]]}"
