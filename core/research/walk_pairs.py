"""Rolling walk-forward of a pair strategy: a forest for every segment, its scores stitched, one compiled run."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from core.backtest.events import market_of
from core.backtest.prepare import Prepared
from core.backtest.result import Result
from core.backtest.run import Desk, assumptions_of, compare
from core.backtest.vectorised import learn, run_vectorised
from core.compose import make_features, make_limits, make_trader
from core.config import Settings
from core.features.pairs import PairFeatures
from core.jobs import Progress
from core.models.bundle import load, save
from core.models.train import Recipe, recipe_of, train
from core.research.segments import Segment, Stretches, segments
from core.research.walk_forward import Kept, Made, assumed, identity, walk
from core.strategies.registry import Strategy


@dataclass(frozen=True)
class PairTrainer:
    """Trains a forest for each segment on its past."""

    prepared: Prepared
    features: PairFeatures
    recipe: Recipe

    def __call__(self, segment: Segment, folder: Path, before: Path | None, progress: Progress) -> Made:
        """A `Trainer`; forests begin afresh. No label reaches past the training: those that would are not made."""
        past = self.prepared.panel.slice(segment.train.start, segment.train.stop)
        fresh = PairFeatures(self.features.assets, self.features.params, self.features.bar_ms)
        made = save(folder, *train(past, fresh, self.recipe, self.prepared.source.name, progress))
        told = {name: made.meta.metrics[name] for name in ("rows", "base_rate", "auc")}
        return Made(past.assets, made.path, told)


def walk_pairs(
    settings: Settings, rule: Strategy, prepared: Prepared, stretches: Stretches, folder: Path, progress: Progress
) -> tuple[tuple[Segment, ...], tuple[Kept, ...], list[Result]]:
    """Walk `rule` in `folder`, on from where that stands: the segments, what is kept of each, and the result with
    the baselines beside it. Testing begins at the row `prepared.start`, or later.

    UserError: too few data; whatever the trainer refuses."""
    panel, features = prepared.panel, make_features(settings)
    told = segments(panel, stretches, prepared.start)
    recipe = recipe_of(settings)
    made_by = identity(panel, told, rule.name, features.hash, recipe)
    done = walk(folder, made_by, told, PairTrainer(prepared, features, recipe), progress)
    first = told[0].test.start
    source = msgspec.structs.replace(prepared.source, first_ms=int(panel.ts[first]))
    assumptions, market = assumptions_of(settings), market_of(panel, first, 0, prepared.seed)
    limits = make_limits(settings, assumptions.rules().taker)
    bundle = load(folder / done[0].model)
    trader = make_trader(settings, rule, bundle, {spec.id: spec for spec in market.instruments}, limits)
    known = learn(panel, features, None)
    for part, kept in zip(told, done, strict=True):
        scored = learn(panel.slice(0, part.test.stop), features, load(folder / kept.model))
        known.probability[part.test] = scored.probability[part.test]
    cash = float(settings.demo.cash)
    own = run_vectorised(trader, market, cash, assumptions, source, seed=prepared.seed, known=known)
    words = own.assumptions | assumed(told, panel, stretches.purge, warm=False) | {"universe": "as configured"}
    own = msgspec.structs.replace(own, assumptions=words)
    at = msgspec.structs.replace(prepared, start=first, source=source)
    return told, done, [own, *compare(Desk(settings, at, trader, market, assumptions))]
