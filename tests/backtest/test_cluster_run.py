"""`python -m core.backtest cluster`: trained before the first traded bar, once, or by the model that is named."""

from pathlib import Path

import pytest

from core.backtest.prepare import Request, bundle_of, prepare
from core.backtest.run import desk_of, rule_of, run
from core.config import load
from core.data.synthetic import synthetic_panel
from core.domain.errors import UserError
from tests.strategies.made_clusters import made_bundle

ASSETS = ("BTC", "ETH", "SOL", "XRP")
BARS, START = 700, 450
SMALL = {
    "universe.assets": list(ASSETS),
    "demo.market_bars": BARS,
    "demo.train_bars": START,
    "train.cluster.n_clusters": 2,
    "train.cluster.window": 24,
    "train.cluster.epochs": 2,
}


def untold(share: float, text: str) -> None:
    """Nobody listens."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COCKPIT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def test_both_engines_run_what_was_trained_once_on_the_bars_before(tmp_path: Path) -> None:
    settings = load(options=SMALL)
    prepared = prepare(settings, Request())
    results = [
        run(desk_of(settings, prepared, rule_of("cluster", settings), untold), engine, untold)
        for engine in ("events", "vectorised")
    ]
    assert [(result.strategy, result.engine) for result in results] == [
        ("cluster", "events"),
        ("cluster", "vectorised"),
    ]
    (trained,) = (tmp_path / "home" / "models").rglob("cluster-*.safetensors")
    bundle = bundle_of(settings, prepared, "cluster", untold)
    assert bundle.path == trained
    assert bundle.meta.trained_until_ms < prepared.source.first_ms


def test_a_named_model_is_used_unless_it_has_seen_what_is_traded(tmp_path: Path) -> None:
    panel = synthetic_panel(7, BARS, ASSETS)
    fit, spoilt = made_bundle(tmp_path / "a", panel, START), made_bundle(tmp_path / "b", panel, START + 1)
    for bundle in (fit, spoilt):
        settings = load(options={**SMALL, "strategy.cluster.model": str(bundle.path)})
        prepared = prepare(settings, Request())
        if bundle is fit:
            assert bundle_of(settings, prepared, "cluster", untold).path == fit.path
        else:
            with pytest.raises(UserError, match="was trained on bars up to"):
                bundle_of(settings, prepared, "cluster", untold)


def test_a_model_of_another_universe_is_refused(tmp_path: Path) -> None:
    other = made_bundle(tmp_path, synthetic_panel(7, BARS, ("BTC", "ETH", "SOL", "ADA")), START)
    settings = load(options={**SMALL, "strategy.cluster.model": str(other.path)})
    with pytest.raises(UserError, match="was trained on BTC, ETH, SOL, ADA, not on BTC, ETH, SOL, XRP"):
        desk_of(settings, prepare(settings, Request()), rule_of("cluster", settings), untold)


def test_fewer_assets_than_clusters_is_a_clear_line() -> None:
    settings = load(options={**SMALL, "train.cluster.n_clusters": 10})
    with pytest.raises(UserError, match="4 assets are fewer than n_clusters 10"):
        desk_of(settings, prepare(settings, Request()), rule_of("cluster", settings), untold)
