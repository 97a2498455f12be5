"""Features mean the same however they are started and fed; rules decide by what they are shown alone."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest

from core.data.panel import Panel
from core.data.synthetic import synthetic_panel
from core.domain.account import Holdings
from core.domain.decision import Decision, View
from core.domain.market import Bar
from core.features.catalog import FEATURES, Arrays, Feature
from core.features.pairs import PairFeatures
from core.research.decisions import model, pure, source_of
from core.research.histories import Excerpt
from core.research.served import service, warmup
from core.strategies.divergence import decide
from core.strategies.params import DivergenceParams

PANEL = synthetic_panel(5, 1600, ("BTC", "ETH", "SOL"))
EXCERPTS = [Excerpt(PANEL, (700, 1200))]


class Average:
    """The mean of the last `window` closes: after `warmup` bars, if that is enough; live, `drift` off."""

    def __init__(self, window: int, warmup: int, drift: float = 0.0) -> None:
        self.window, self.warmup, self.drift = window, warmup, drift
        self._closes: list[np.ndarray] = []

    def history(self, panel: Panel) -> Arrays:
        return {"average": np.concatenate([self._fed(close) for close in panel.close])}

    def update(self, bar: Bar) -> Arrays:
        return {"average": self._fed(bar.ohlcv[:, 3]) * (1.0 + self.drift)}

    def _fed(self, close: np.ndarray) -> np.ndarray:
        self._closes.append(close)
        return np.mean(self._closes[-self.window :], axis=0)[None]


def average(window: int, warm: int, drift: float = 0.0, recursive: Mapping[str, float] | None = None) -> Feature:
    return Feature("averages", lambda assets, bar_ms: Average(window, warm, drift), recursive or {})


def test_the_catalog_passes() -> None:
    assert warmup(FEATURES, EXCERPTS).passed
    assert service(FEATURES, EXCERPTS, bars=10).passed


def test_a_warm_up_that_is_enough_passes() -> None:
    assert warmup([average(30, 30)], EXCERPTS).passed


def test_a_warm_up_that_is_too_short_is_told_how_many_bars_it_lacks() -> None:
    (finding,) = warmup([average(30, 20)], EXCERPTS).findings
    assert finding.name == "average"
    # Fed 20 bars, row 20 is the mean of 21; that of row 29 is the first of 30.
    assert "9 more bars: declare a warm-up of 29" in finding.mend
    assert warmup([average(30, 29)], EXCERPTS).passed


def test_what_never_forgets_is_told_so() -> None:
    (finding,) = warmup([average(10**6, 50)], EXCERPTS).findings
    assert "remembers for ever" in finding.mend


def test_a_recursion_may_differ_by_what_it_declares() -> None:
    assert warmup([average(10**6, 600, recursive={"average": 10.0})], EXCERPTS).passed


def test_live_values_that_are_not_those_of_training_are_told() -> None:
    assert service([average(30, 30)], EXCERPTS, bars=5).passed
    (finding,) = service([average(30, 30, drift=1e-15)], EXCERPTS, bars=5).findings
    assert finding.name == "average" and "one function" in finding.mend


@pytest.fixture(scope="module")
def views() -> list[View]:
    features = PairFeatures(PANEL.assets)
    known = features.history(PANEL)
    return [view_of(features, PANEL, known.frame(t), t) for t in range(1000, 1100)]


def view_of(features: PairFeatures, panel: Panel, frame: object, t: int) -> View:
    fields = {name: getattr(frame, name) for name in View.__struct_fields__ if hasattr(frame, name)}
    fields |= {"ts": int(panel.ts[t]) + panel.bar_ms, "assets": panel.assets, "pairs": features.pairs}
    fields |= {"names": features.names, "bar_ms": panel.bar_ms, "probability": np.full(len(features.pairs), 0.8)}
    return View(**fields)


def shown(view: View, books: Holdings) -> Decision:
    return decide(view, books, DivergenceParams())


def test_the_rule_of_divergence_is_pure(views: list[View]) -> None:
    check = pure("divergence", shown, views, "")
    assert check.passed, check.findings
    assert any(shown(view, Holdings((), {}, {}, 1)).entries for view in views)  # type: ignore[arg-type]


def test_a_rule_that_remembers_is_found(views: list[View]) -> None:
    seen: list[float] = []

    def remembers(view: View, books: Holdings) -> Decision:
        seen.append(float(view.close[0]))
        decision = shown(view, books)
        return msgspec.structs.replace(decision, text=f"{len(seen)} bars seen")

    (told, *_) = pure("stateful", remembers, views, source_of(remembers)).findings
    assert "it remembers" in told.fault and "keep no state" in told.mend
    assert told.where.startswith("test_served.py:") and "def remembers" in told.where


def test_a_rule_that_writes_into_its_view_is_found(views: list[View]) -> None:
    def writes(view: View, books: Holdings) -> Decision:
        view.probability[:] = 0.9 * view.probability
        return shown(view, books)

    copies = [msgspec.structs.replace(view, probability=view.probability.copy()) for view in views]
    faults = [finding.fault for finding in pure("writes", writes, copies, "").findings]
    assert any("writes into the view" in fault for fault in faults)


def test_a_rule_that_looks_things_up_by_date_is_found(views: list[View]) -> None:
    tomorrow = {view.ts: bool(views[k + 1].close[0] > view.close[0]) for k, view in enumerate(views[:-1])}

    def knows(view: View, books: Holdings) -> Decision:
        decision = shown(view, books)
        return decision if tomorrow.get(view.ts) else msgspec.structs.replace(decision, entries=())

    (finding,) = pure("dated", knows, views, "").findings
    assert "knows something by its date" in finding.fault


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    from core.models import bundle as bundles
    from core.models.labels import LabelRule
    from core.models.train import Recipe, train

    recipe = Recipe(label=LabelRule(horizon=24), trees=5, jobs=1)
    trained = train(PANEL.slice(0, 1200), PairFeatures(PANEL.assets), recipe, "made", lambda done, text: None)
    return bundles.save(tmp_path_factory.mktemp("models"), *trained)


def test_a_model_of_earlier_bars_passes(bundle) -> None:  # type: ignore[no-untyped-def]
    features = PairFeatures(PANEL.assets)
    rows = features.history(PANEL).features[1300:1310]
    check = model(bundle, features.names, features.hash, rows, int(PANEL.ts[1300]))
    assert check.passed, check.findings


def test_a_model_that_was_trained_on_the_test_is_found(bundle) -> None:  # type: ignore[no-untyped-def]
    features = PairFeatures(PANEL.assets)
    rows = features.history(PANEL).features[900:910]
    (finding,) = model(bundle, features.names, features.hash, rows, int(PANEL.ts[900])).findings
    assert "has seen the test" in finding.fault
    assert "test from 2024-02-1" in finding.mend or "test from 2024-02-2" in finding.mend


def test_a_model_of_other_features_is_found(bundle) -> None:  # type: ignore[no-untyped-def]
    features = PairFeatures(PANEL.assets)
    rows = features.history(PANEL).features[1300:1310]
    names = (*features.names[:1], "z_scored", *features.names[2:])
    (finding,) = model(bundle, names, features.hash, rows, int(PANEL.ts[1300])).findings
    assert "z_score" in finding.fault and "train again" in finding.mend


def test_a_model_that_reads_its_batch_is_found(bundle) -> None:  # type: ignore[no-untyped-def]
    class Batch:
        meta, path = bundle.meta, Path("batch.safetensors")

        def score(self, rows: np.ndarray) -> np.ndarray:
            return bundle.score(rows) * rows[:, 0] / rows[:, 0].mean()

    features = PairFeatures(PANEL.assets)
    rows = features.history(PANEL).features[1300:1310]
    (finding,) = model(Batch(), features.names, features.hash, rows, int(PANEL.ts[1300])).findings  # type: ignore[arg-type]
    assert "in other company" in finding.fault
