"""Which assets move together: what a trained model says of each, with its last bars; without one, single-linkage
groups of the correlation matrix."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from core.domain.account import Book
from core.domain.decision import View
from core.domain.errors import UserError
from core.domain.market import Floats
from core.domain.snapshot import Clusters, ClusterTrail
from core.models.cluster import rule
from core.models.cluster.bundle import ClusterBundle
from core.strategies.params import ClusterParams
from core.trader import Outcome, Trader

KEPT = 120
"""Bars of the past that a terminal may ask for."""
TOGETHER = 0.7
"""Assets whose returns correlate above this belong to one group, directly or through others."""


def correlation_clusters(assets: tuple[str, ...], correlation: Floats) -> Clusters:
    """Group N assets by an (N, N) correlation matrix; groups are numbered in the order of their first asset.

    An asset's similarity is its mean correlation with the others of its group, 0 where it is alone."""
    count = len(assets)
    group = list(range(count))
    for i in range(count):
        for j in range(i + 1, count):
            if correlation[i, j] > TOGETHER and group[i] != group[j]:
                old, new = max(group[i], group[j]), min(group[i], group[j])
                group = [new if g == old else g for g in group]
    order = {g: k for k, g in enumerate(dict.fromkeys(group))}
    numbers = [order[g] for g in group]
    similarity = []
    for i in range(count):
        others = [j for j in range(count) if j != i and numbers[j] == numbers[i]]
        similarity.append(float(np.mean(correlation[i, others])) if others else 0.0)
    return Clusters(f"correlation clusters (above {TOGETHER})", list(assets), numbers, similarity)


class ClusterWatch:
    """Keeps what the first cluster strategy among the traders saw in its last `KEPT` bars, (N, C) each.

    The table of a bar is made once, however often it is shown; a terminal asks for one asset's past by name."""

    def __init__(self, traders: Sequence[Trader]) -> None:
        self._trader = next((t for t in traders if set(rule.NAMES) <= set(t.features.names)), None)
        self._bars: deque[tuple[int, Floats]] = deque(maxlen=KEPT)
        self._seen: View | None = None
        self._table: tuple[View | None, Clusters] = None, Clusters("", [], [], [])

    def take(self, views: Mapping[str, View]) -> None:
        """The views of a closed bar; at one where nothing was traded, nothing is new."""
        if self._trader is None:
            return
        self._seen = view = views[self._trader.strategy.name]
        if view.usable.any() or not self._bars:
            self._bars.append((view.ts, np.stack([view.column(name) for name in rule.NAMES], axis=1)))

    def table(self, views: Mapping[str, View], books: Sequence[Book]) -> Clusters:
        """What a screen shows; `books` are those that are held."""
        if self._trader is None or self._seen is None:
            view = next(iter(views.values()))
            return self._once(view, lambda: correlation_clusters(view.assets, view.correlation))
        view, trader = self._seen, self._trader
        told = self._once(view, lambda: self._learned(view, trader))
        return msgspec.structs.replace(told, held=_held(view, trader, books))

    def trail(self, asset: str, outcomes: Mapping[str, Outcome]) -> ClusterTrail:
        """The last bars of one asset. UserError: no cluster model runs, or it does not know the asset."""
        if self._trader is None or self._seen is None:
            raise UserError("no trained clusters: run the cluster strategy (--strategy cluster)")
        if asset not in self._seen.assets:
            raise UserError(f"{asset or 'no asset'}: not in this universe, like {self._seen.assets[0]}")
        i = self._seen.assets.index(asset)
        past = dict(zip(rule.NAMES, np.stack([row[i] for _, row in self._bars]).round(4).T, strict=True))
        bundle = getattr(self._trader.features, "bundle", None)
        model = bundle.model if isinstance(bundle, ClusterBundle) else None
        return ClusterTrail(
            asset=asset,
            ts=[ts for ts, _ in self._bars],
            z=past["z"].tolist(),
            consensus=past["consensus"].tolist(),
            cluster=past["cluster"].astype(int).tolist(),
            gate=past["gate"].tolist(),
            weight=past["weight"].tolist(),
            threshold=model.threshold if model else 0.0,
            stop_threshold=model.stop_threshold if model else 0.0,
            why=_why(outcomes.get(self._trader.strategy.name), asset),
        )

    def _once(self, view: View, make: Callable[[], Clusters]) -> Clusters:
        if self._table[0] is not view:
            self._table = view, make()
        return self._table[1]

    def _learned(self, view: View, trader: Trader) -> Clusters:
        now = dict(zip(rule.NAMES, self._bars[-1][1].round(4).T, strict=True))
        before = dict(zip(rule.NAMES, self._bars[max(len(self._bars) - 2, 0)][1].round(4).T, strict=True))
        return Clusters(
            method=f"model {trader.features.hash[:8]}",
            asset=list(view.assets),
            cluster=now["cluster"].astype(int).tolist(),
            similarity=now["similarity"].tolist(),
            gate=now["gate"].tolist(),
            residual=now["residual"].tolist(),
            signal=now["signal"].tolist(),
            weight=now["weight"].tolist(),
            cluster_before=before["cluster"].astype(int).tolist(),
            gate_before=before["gate"].tolist(),
        )


def _held(view: View, trader: Trader, books: Sequence[Book]) -> list[float]:
    """What the strategy holds of each asset at the bar's close, as shares of its capital."""
    params = trader.params
    capital = params.capital_usdt if isinstance(params, ClusterParams) else params.base_size_usdt
    held = dict.fromkeys(view.assets, 0.0)
    price = dict(zip(view.assets, view.close.tolist(), strict=True))
    for book in books:
        if book.strategy == trader.strategy.name:
            for leg in book.legs:
                held[leg.asset] += float(leg.size * leg.contract) * price[leg.asset] / capital
    return [round(value, 4) for value in held.values()]


def _why(outcome: Outcome | None, asset: str) -> str:
    """The reason of the last decision, or that of the risk gate's refusal."""
    if outcome is None:
        return "warming up"
    decision, i = outcome.decision, outcome.view.assets.index(asset)
    told: str = decision.texts[decision.reasons[i]]
    return dict(outcome.refused).get(asset, told)
