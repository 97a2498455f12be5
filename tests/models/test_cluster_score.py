"""Scoring without torch: equal to torch, live equal to history, bundles that are what they say."""

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.numpy import load as load_arrays
from small_cluster import SMALL, panel_of_logs, some_logs

from core.data.panel import Panel
from core.data.synthetic import planted_market
from core.domain.errors import UserError
from core.models.bundle import check_universe, refuse_if_seen
from core.models.cluster import bundle as bundles
from core.models.cluster.bundle import ClusterBundle, load, save
from core.models.cluster.fit import Fitted, fit
from core.models.cluster.model import ClusterModel, Windows
from core.models.cluster.rule import NAMES, STALE, Clusters
from core.models.cluster.score import ClusterScorer
from core.models.cluster.windows import market
from core.models.stored import encoded

HOUR = 3_600_000
K, W = SMALL.n_clusters, SMALL.window


@pytest.fixture(scope="module")
def panel() -> Panel:
    return planted_market(5, 400, (4, 4), 1)[0]


@pytest.fixture(scope="module")
def fitted(panel: Panel) -> Fitted:
    return fit(panel.slice(0, 360), SMALL, "planted")


@pytest.fixture
def bundle(fitted: Fitted, tmp_path: Path) -> ClusterBundle:
    return save(tmp_path, *fitted)


def drawn(clusters: int = K, window: int = W, seed: int = 1) -> tuple[ClusterModel, Clusters]:
    recipe = SMALL.model_copy(update={"n_clusters": clusters, "window": window})
    made = ClusterModel(recipe, np.random.default_rng(seed).normal(size=(clusters, window)).cumsum(axis=1))
    return made, made.clusters()


def column(values: np.ndarray, name: str) -> np.ndarray:
    return values[..., NAMES.index(name)]


@pytest.mark.parametrize("chunk", [1, None])
@pytest.mark.parametrize("logs", [some_logs(), np.log(planted_market(2, 700, (9, 9, 9), 3)[0].close)])
def test_the_compiled_scores_equal_those_of_torch(logs, chunk):
    """In single precision, gaps, late listings and an asset without change included."""
    made, model = drawn(window=30)
    panel = panel_of_logs(logs)
    values, valid = ClusterScorer(model, panel.assets, HOUR).history(panel)[1:]
    windows = Windows.of(market(panel).logs, 30, K, chunk=chunk)
    told = made(windows)
    for name, ours in told._asdict().items():
        assert np.abs(ours.detach().numpy() - column(values, name)).max() < 1e-5, name
    similar = made.similarities(windows).numpy()
    assert np.abs(similar.max(axis=0) - column(values, "similarity")).max() < 1e-5
    there = windows.by_bar(windows.known).numpy() > 0
    assert (valid[..., 0] == there).all() and there.any() and not there.all()
    sure = there & (np.diff(np.sort(similar, axis=0)[-2:], axis=0)[0] > 1e-4)
    assert (column(values, "cluster")[sure] == similar.argmax(axis=0)[sure]).all()
    assert (column(values, "cluster")[~there] == -1).all() and not column(values, "weight")[~there].any()
    assert np.allclose(column(values, "consensus") + column(values, "residual"), column(values, "z"))


def test_live_says_what_history_says_and_a_restart_changes_nothing():
    """Bar by bar, from the start and after a restart `warmup` bars before; gaps included."""
    panel = panel_of_logs(some_logs(200))
    _, model = drawn()
    whole = ClusterScorer(model, panel.assets, HOUR).history(panel)
    live, late = (ClusterScorer(model, panel.assets, HOUR) for _ in "ab")
    late.history(panel.slice(150 - late.warmup, 150))
    for t in range(200):
        told = live.update(panel.bar(t))
        assert (told.values[0] == whole.values[t]).all() and (told.valid[0] == whole.valid[t]).all()
        if t >= 150:
            again = late.update(panel.bar(t))
            assert (again.values == told.values).all() and (again.valid == told.valid).all()


def test_the_future_does_not_reach_back():
    panel = panel_of_logs(some_logs(200))
    _, model = drawn()
    whole, part = (ClusterScorer(model, panel.assets, HOUR).history(panel.slice(0, stop)) for stop in (200, 120))
    assert (whole.values[:120] == part.values).all()


def test_a_bar_without_any_trade_repeats_what_was_said_and_counts_for_nothing():
    logs = some_logs(120)
    closed = logs.copy()
    closed = np.insert(closed, 90, np.full((5, 9), np.nan), axis=0)
    _, model = drawn()
    values, valid = ClusterScorer(model, [f"A{i}" for i in range(9)], HOUR).history(panel_of_logs(closed))[1:]
    without = ClusterScorer(model, [f"A{i}" for i in range(9)], HOUR).history(panel_of_logs(logs)).values
    assert (values[90:95] == values[89]).all() and not valid[90:95].any()
    assert (np.delete(values, range(90, 95), axis=0) == without).all()


def test_a_silent_asset_keeps_its_price_for_a_few_bars_and_is_then_unknown_for_a_window():
    logs = some_logs(200)[:, [0, 1, 3]]
    logs[100 : 100 + STALE, 0] = np.nan
    logs[100 : 100 + STALE + 1, 1] = np.nan
    _, model = drawn()
    valid = ClusterScorer(model, ("A0", "A1", "A2"), HOUR).history(panel_of_logs(logs)).valid[..., 0]
    assert valid[W - 1 :, [0, 2]].all()
    assert np.flatnonzero(~valid[W:, 1]).tolist() == [*range(100 + STALE - W, 100 + STALE)]


def test_a_bundle_comes_back_as_it_was_written(bundle, fitted, panel, tmp_path):
    again = load(bundle.path)
    assert again.meta == bundle.meta == fitted.meta and again.hash == bundle.hash
    assert bundle.path.name == f"cluster-{again.hash[:12]}.safetensors"
    assert save(tmp_path / "b", *fitted).path.read_bytes() == bundle.path.read_bytes()
    ours, theirs = (
        ClusterScorer(model, panel.assets, HOUR).history(panel) for model in (again.model, fitted.model)
    )
    assert (ours.values == theirs.values).all()
    assert again.meta.assets == panel.assets and again.meta.recipe["n_clusters"] == K
    assert again.meta.trained_until_ms == again.meta.labels_until_ms == panel.ts[359]
    assert again.meta.data_hash == panel.slice(0, 360).content_hash


def test_a_bundle_of_another_universe_or_bar_is_refused(bundle, panel):
    check_universe(bundle, panel.assets, HOUR)
    with pytest.raises(UserError, match=r"was trained on .*, not on .*S000, S001"):
        check_universe(bundle, panel.assets[:-1], HOUR)
    with pytest.raises(UserError, match="bars of 60 minutes, not of 1440"):
        check_universe(bundle, panel.assets, 24 * HOUR)
    many = [f"X{i:03d}" for i in range(500)]
    with pytest.raises(UserError) as caught:
        check_universe(bundle, many, HOUR)
    assert "500 assets (X000, X001, X002 ... here alone)" in str(caught.value) and len(str(caught.value)) < 300


def test_a_bundle_does_not_trade_what_it_has_seen(bundle, panel):
    refuse_if_seen(bundle, int(panel.ts[360]))
    with pytest.raises(UserError, match="but trading begins at"):
        refuse_if_seen(bundle, int(panel.ts[359]))


@pytest.mark.parametrize(
    ("meta", "arrays", "said"),
    [
        ({"kind": "divergence-forest"}, {}, "holds a model of kind 'divergence-forest', wanted is 'cluster'"),
        ({"format": 9}, {}, "bundle format 9, this version reads 1"),
        ({}, {"centroids": np.zeros((K + 1, W))}, "centroids: float64 .5, 20., wanted .4, 20."),
        ({"recipe": {"n_clusters": K, "window": W + 1}}, {}, "centroids: float64 .4, 20., wanted .4, 21."),
        ({"assets": ("A",)}, {}, "golden_in"),
        ({}, {"golden_out": np.zeros((4, 9, 8))}, "scores differ by"),
    ],
)
def test_a_spoilt_bundle_is_one_clear_line(bundle, meta, arrays, said):
    found = load_arrays(bundle.path.read_bytes())
    changed = msgspec.structs.replace(bundle.meta, **meta)
    bundle.path.write_bytes(encoded(changed, {**found, **arrays}))
    with pytest.raises(UserError, match=said) as caught:
        load(bundle.path)
    assert "\n" not in str(caught.value) and str(bundle.path) in str(caught.value)


def test_a_changed_or_missing_bundle_is_refused(bundle, tmp_path):
    content = bytearray(bundle.path.read_bytes())
    content[-3] ^= 1
    bundle.path.write_bytes(bytes(content))
    with pytest.raises(UserError, match="its content is not what was written"):
        load(bundle.path)
    with pytest.raises(UserError, match="train a model: cockpit train cluster"):
        load(tmp_path / "gone.safetensors")


def test_what_the_engine_imports_is_light():
    heavy = "{'sklearn', 'torch', 'pandas', 'pyarrow', 'scipy.stats', 'pydantic'}"
    code = f"import sys, {bundles.__name__}, {ClusterScorer.__module__}; print({heavy} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
    assert torch.__name__ in sys.modules  # else this test would prove nothing
