"""The cluster model walked forward: trained segment after segment, its wishes stitched, one run on one account.

Beside it, on the same bars, assets, account and costs: equal shares of all, held, and two clusterings that learn
nothing but correlations, once a segment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from core.backtest.events import Assumptions, market_of
from core.backtest.result import Result
from core.backtest.rule_loop import Gate
from core.backtest.run import assumptions_of
from core.backtest.vectorised import gate_of, run_signals
from core.backtest.weights import Wishes, run_wishes
from core.compose import budget_of, make_limits
from core.config import Settings
from core.config.settings import ClusterTraining
from core.data.panel import Panel
from core.domain.backtest import Source
from core.domain.instrument import Pair
from core.domain.market import Floats
from core.jobs import Progress
from core.matching.replay import Market
from core.models.cluster import bundle
from core.models.cluster.fit import fit, usable
from core.models.cluster.rule import NAMES, STALE, Clusters
from core.models.cluster.score import ClusterScorer
from core.models.cluster.windows import bars_of
from core.research.fixed_clusters import by_kmeans, by_threshold, fixed_wishes
from core.research.segments import Segment, Stretches, columns, known_assets, segments
from core.research.walk_forward import Kept, Made, assumed, identity, walk
from core.strategies.params import ClusterParams
from core.strategies.registry import strategy

CLUSTER = "cluster"
NEAR = 0.5
"""A gate above this: the asset is near a cluster."""
Groups = Mapping[int, Sequence[tuple[str, float]]]
"""The members of each cluster, the nearest first, with their similarity to it; -1: those that are near none."""
EQUAL, KMEANS, THRESHOLD = "equal-weight", "k-means", "correlation"


@dataclass(frozen=True)
class Account:
    """Who trades the wishes: the strategy's own parameters, the limits, the deposit, the supposed market."""

    params: ClusterParams
    gate: Gate
    cash: float
    assumptions: Assumptions

    @classmethod
    def of(cls, settings: Settings) -> "Account":
        """As a backtest of the cluster strategy has it."""
        assumptions = assumptions_of(settings)
        limits = make_limits(settings, assumptions.rules().taker)
        limits = msgspec.structs.replace(limits, budget=budget_of(settings, strategy(CLUSTER)))
        return cls(settings.strategy.cluster, gate_of(limits), float(settings.demo.cash), assumptions)


@dataclass(frozen=True)
class ClusterWalk:
    """A walk-forward over `panel`; `name`, `venue`, `manifest` of its data.

    `first`: the row where testing begins, or later (0: as soon as there is enough to learn from). `purge`: bars
    left out before each test. `most`: of so many assets at most.

    `warm`: begin each model with the one before, unless that holds nothing. Its steps then add up from segment to
    segment, and early stopping bounds those of one alone: what the loss rewards beside a profit, to trade ever
    less, it gets in the end. So models begin afresh where nothing else is asked for."""

    panel: Panel
    recipe: ClusterTraining
    account: Account
    name: str = ""
    venue: str = ""
    manifest: str = ""
    first: int = 0
    purge: int = 0
    warm: bool = False
    most: int | None = None

    def segments(self) -> tuple[Segment, ...]:
        """UserError: the data are too few for one."""
        days = self.recipe.train_days, self.recipe.test_days
        train, test = (bars_of(count, self.panel.bar_ms) for count in days)
        return segments(self.panel, Stretches(train, test, self.purge), self.first)

    def train(self, folder: Path, progress: Progress) -> tuple[Kept, ...]:
        """Every segment's model, in `folder`, on from where that stands."""
        told = self.segments()
        made_by = self.recipe.model_dump(), self.warm, self.most, self.account.params.band
        return walk(folder, identity(self.panel, told, *made_by), told, self._trained, progress)

    def played(self, folder: Path, done: Sequence[Kept]) -> "Played":
        """What the models of `train` in `folder` decide, to be run."""
        union = {asset for kept in done for asset in kept.assets}
        traded = self.panel.only([asset for asset in self.panel.assets if asset in union])
        return Played(self, folder, tuple(zip(self.segments(), done, strict=True)), traded)

    def _trained(self, segment: Segment, folder: Path, before: Path | None, progress: Progress) -> Made:
        """A `Trainer`: on the assets that the segment's past knows."""
        known = known_assets(self.panel, segment.train, self.most)
        past = self.panel.slice(segment.train.start, segment.train.stop).only(known)
        past = past.only(usable(past, self.recipe))
        start_from = bundle.load(before).model if before is not None and self.warm else None
        if start_from is not None and not self._says(start_from, past)["held"]:
            start_from = None  # where a model holds nothing its gradient is nothing: it would never come back
        fitted = fit(past, self.recipe, self.name, progress, manifest=self.manifest, start_from=start_from)
        meta = fitted.meta
        (first_training, first_validation), (training, validation) = meta.curve[0], meta.curve[meta.best_epoch]
        told: dict[str, float | None] = {
            "warm": float(start_from is not None),
            "epochs": len(meta.curve) - 1,
            "best_epoch": meta.best_epoch,
            "first_training_loss": first_training,
            "training_loss": training,
            "first_validation_loss": first_validation,
            "validation_loss": validation,
            **{name: float(value) for name, value in fitted.model._asdict().items() if name != "centroids"},
            **self._says(fitted.model, past),
        }
        return Made(past.assets, bundle.save(folder, *fitted).path, told)

    def _says(self, model: Clusters, past: Panel) -> dict[str, float]:
        """What a model says of the bars it learned from: the mean share of assets `inside` a cluster (gate above
        one half), how many `clusters` have one at the last bar, and the mean number of assets `held`, with a
        weight that the account's band lets through."""
        told = ClusterScorer(model, past.assets, past.bar_ms).history(past)
        there = told.valid[:, :, 0]
        gate, cluster, weight = (told.values[:, :, NAMES.index(name)] for name in ("gate", "cluster", "weight"))
        near = there & (gate > NEAR)
        bars = np.flatnonzero(there.any(axis=1))
        if not len(bars):
            return dict.fromkeys(("inside", "clusters", "held"), 0.0)
        return {
            "inside": float(near.sum() / there.sum()),
            "clusters": float(len(np.unique(cluster[bars[-1], near[bars[-1]]]))),
            "held": float((there & (np.abs(weight) >= self.account.params.band)).sum() / len(bars)),
        }


@dataclass(frozen=True)
class Played:
    """A finished walk, to be run; `panel` holds the assets that were ever known."""

    walk: ClusterWalk
    folder: Path
    parts: tuple[tuple[Segment, Kept], ...]
    panel: Panel

    def result(self) -> Result:
        """What the models would have made of the tested bars."""
        return self._run(CLUSTER, [self._learned(part, kept) for part, kept in self.parts])

    def beside(self) -> list[Result]:
        """What it must beat, on the assets that each segment knew."""
        by_k, by_rho, recipe = list[Wishes](), list[Wishes](), self.walk.recipe
        for part, kept in self.parts:
            past = self.panel.slice(part.train.start, part.train.stop).only(kept.assets)
            begin, seen = self._seen(part, kept.assets, recipe.window + STALE)
            for found, labels in (
                (by_k, by_kmeans(past, recipe.n_clusters, recipe.seed)),
                (by_rho, by_threshold(past, recipe.similarity_threshold)),
            ):
                found.append(self._spread(part, begin, kept.assets, fixed_wishes(seen, labels, recipe)))
        return [self._equal(), self._run(KMEANS, by_k), self._run(THRESHOLD, by_rho)]

    def groups(self) -> Groups:
        """The clusters of the last model, at the last bar that it learned from."""
        part, kept = self.parts[-1]
        past = self.panel.slice(part.train.start, part.train.stop).only(kept.assets)
        told = ClusterScorer(bundle.load(self.folder / kept.model).model, kept.assets, past.bar_ms).history(past)
        row = int(np.flatnonzero(told.valid[:, :, 0].any(axis=1))[-1])
        cluster, similarity, gate = (
            told.values[row, :, NAMES.index(name)] for name in ("cluster", "similarity", "gate")
        )
        found: dict[int, list[tuple[str, float]]] = {}
        for i in np.argsort(-similarity, kind="stable").tolist():
            place = int(cluster[i]) if gate[i] > NEAR else -1
            found.setdefault(place, []).append((kept.assets[i], float(similarity[i])))
        return found

    def _learned(self, segment: Segment, kept: Kept) -> Wishes:
        made = bundle.load(self.folder / kept.model)
        scorer = ClusterScorer(made.model, kept.assets, self.panel.bar_ms)
        begin, seen = self._seen(segment, kept.assets, scorer.warmup)
        told = scorer.history(seen)
        weight, gate, residual, signal = (
            told.values[:, :, NAMES.index(name)] for name in ("weight", "gate", "residual", "signal")
        )
        wishes = Wishes(weight, gate, told.valid[:, :, 0], residual, signal)
        return self._spread(segment, begin, kept.assets, wishes)

    def _seen(self, segment: Segment, assets: Sequence[str], warmup: int) -> tuple[int, Panel]:
        """The tested bars of some assets, after those that fill the windows; and the row of the first."""
        rows = np.flatnonzero(self.panel.valid[: segment.test.start, columns(self.panel, assets)].any(axis=1))
        begin = int(rows[max(0, len(rows) - warmup)])
        return begin, self.panel.slice(begin, segment.test.stop).only(assets)

    def _spread(self, segment: Segment, begin: int, assets: Sequence[str], wishes: Wishes) -> Wishes:
        """Wishes for `assets` from row `begin` on, as wishes for all assets in the tested rows: those that are not
        known are wanted flat as soon as they trade."""
        place, shape = columns(self.panel, assets), self.panel.close[segment.test].shape
        free = self.panel.valid[segment.test].copy()
        free[:, place] = wishes.usable[segment.test.start - begin :]

        def wide(grid: Floats) -> Floats:
            all_of_them = np.zeros(shape)
            all_of_them[:, place] = grid[segment.test.start - begin :]
            return all_of_them

        return Wishes(wide(wishes.weight), wide(wishes.gate), free, wide(wishes.residual), wide(wishes.signal))

    def _run(self, name: str, rows: Sequence[Wishes]) -> Result:
        """One run of all segments' wishes, one after the other."""
        market, account = self._market(), self.walk.account
        unknown = np.zeros((market.first, len(self.panel.assets)))
        before = Wishes(unknown, unknown, unknown.astype(np.bool_), unknown, unknown)
        whole = Wishes._make(np.vstack(grids) for grids in zip(before, *rows, strict=True))
        made = run_wishes(
            name, whole, market, account.params, account.gate, account.cash, account.assumptions, self._source(),
            seed=self.walk.recipe.seed,
        )  # fmt: skip
        return self._told(made, {f"train.{key}": value for key, value in _params(self.walk.recipe).items()})

    def _equal(self) -> Result:
        """Equal shares of what the strategy may hold, in all assets that are known, kept as they were bought."""
        account = self.walk.account
        sides = np.zeros(self.panel.close.shape, np.int8)
        for part, kept in self.parts:
            sides[part.test, columns(self.panel, kept.assets)] = 1
        gross = min(account.params.capital_usdt * account.params.max_gross, account.gate.max_gross)
        alone = [Pair(asset, asset) for asset in self.panel.assets]
        share = np.full(len(alone), gross / max(len(kept.assets) for _, kept in self.parts))
        made = run_signals(
            EQUAL, sides, self._market(), alone, share, account.cash, account.assumptions, self._source(),
            params={"gross_usdt": gross}, hedge=np.zeros(len(alone)),
        )  # fmt: skip
        return self._told(made, {})

    def _market(self) -> Market:
        return market_of(self.panel, self.parts[0][0].test.start, 0, self.walk.recipe.seed)

    def _source(self) -> Source:
        """As of all the data: what was chosen of them is in the parameters."""
        walk, whole = self.walk, self.walk.panel
        return Source(
            walk.name, walk.venue, walk.manifest, whole.content_hash, whole.assets, whole.bar_ms,
            int(whole.ts[self.parts[0][0].test.start]), int(whole.ts[-1]),
        )  # fmt: skip

    def _told(self, made: Result, params: dict[str, float | int | str]) -> Result:
        """The result with all that makes this walk another than others: a trial is known by that."""
        walk, told = self.walk, [part for part, _ in self.parts]
        walked = {"warm": int(walk.warm), "purge": walk.purge, "most_assets": walk.most or 0}
        words = assumed(told, self.panel, walk.purge, walk.warm)
        return msgspec.structs.replace(
            made, params=made.params | params | walked, assumptions=made.assumptions | words
        )


def _params(recipe: ClusterTraining) -> dict[str, float | int | str]:
    """Parameters as results carry them."""
    told = recipe.model_dump().items()
    return {key: value if isinstance(value, int | float | str) else " ".join(value) for key, value in told}
