"""The model that a run over history trains: of the configured label, by the seed of the run, kept for the next."""

import json
from argparse import ArgumentParser
from functools import partial
from pathlib import Path

import pytest

from core.backtest.asked import add_options, asked
from core.backtest.prepare import Prepared, bundle_of
from core.compose import bundle_folder, stored_bundle
from core.config import Settings, load
from core.models import train
from core.models.bundle import Bundle
from core.models.cluster import before
from core.models.cluster.bundle import ClusterBundle

BARS, START = 1_250, 1_200
ASSETS = ("BTC", "ETH", "SOL")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, a short market of three assets, forests of few trees and trainings of few steps."""
    monkeypatch.chdir(tmp_path)
    named = {
        "HOME": tmp_path / "home", "UNIVERSE__ASSETS": ",".join(ASSETS), "DEMO__MARKET_BARS": BARS,
        "TRAIN__CLUSTER__N_CLUSTERS": 2, "TRAIN__CLUSTER__WINDOW": 24, "TRAIN__CLUSTER__EPOCHS": 1,
        "STRATEGY__DIVERGENCE__HORIZON_BARS": 12,
    }  # fmt: skip
    for name, value in named.items():
        monkeypatch.setenv(f"COCKPIT_{name}", str(value))
    monkeypatch.setattr(train, "recipe_of", partial(train.recipe_of, trees=4))
    return tmp_path / "home"


def untold(share: float, text: str) -> None:
    """Nobody listens."""


def prepared(*words: str) -> tuple[Settings, Prepared]:
    parser = ArgumentParser()
    add_options(parser)
    settings, _, made = asked(parser.parse_args([*words, "--train-bars", str(START)]))
    return settings, made


def forest(*words: str) -> Bundle:
    bundle = bundle_of(*prepared("divergence", *words), "divergence", untold)
    assert isinstance(bundle, Bundle)
    return bundle


def clusters(*words: str) -> ClusterBundle:
    bundle = bundle_of(*prepared("cluster", *words), "cluster", untold)
    assert isinstance(bundle, ClusterBundle)
    return bundle


def test_a_forest_learns_the_configured_label_with_the_seed_of_the_run() -> None:
    usual, other = forest(), forest("--set", "label=published", "--seed", "5")
    assert (usual.meta.label["kind"], usual.meta.seed) == ("profit", 7)
    assert (other.meta.label["kind"], other.meta.seed) == ("published", 5)
    assert len({usual.path.parent, other.path.parent, forest("--seed", "5").path.parent}) == 3, (
        "none takes another's"
    )
    stamp = other.path.stat().st_mtime_ns
    again = forest("--set", "label=published", "--seed", "5")
    assert again.path == other.path and again.path.stat().st_mtime_ns == stamp, "trained once"


def test_clusters_are_drawn_by_the_seed_of_the_run_or_the_configured_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clusters().meta.seed == 7
    monkeypatch.setenv("COCKPIT_TRAIN__CLUSTER__SEED", "11")
    assert clusters().meta.seed == 11
    settings, made = prepared("cluster", "--seed", "5")
    assert (settings.demo.seed, made.seed, settings.train.cluster.seed) == (5, 5, 5)
    assert clusters("--seed", "5").meta.seed == 5


def test_the_job_of_a_demo_draws_clusters_by_the_seed_it_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, made = prepared("cluster")
    made.panel.save(tmp_path / "market.npz")
    words = ["--panel", str(tmp_path / "market.npz"), "--bars", str(START), "--out", str(tmp_path / "out")]
    assert before.main([*words, "--seed", "5"]) == 0
    path = Path(json.loads(capsys.readouterr().out)["bundle"])
    found = stored_bundle(load(), "cluster", path.parent)
    assert isinstance(found, ClusterBundle) and (found.path, found.meta.seed) == (path, 5)


def test_a_stored_model_that_cannot_serve_is_passed_over_and_trained_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = clusters()
    settings, folder = load(), first.path.parent
    found = stored_bundle(settings, "cluster", folder)
    assert found is not None and found.path == first.path
    assert stored_bundle(settings, "divergence", folder) is None, "of another kind"
    assert stored_bundle(settings, "cluster", folder / "none") is None
    monkeypatch.setenv("COCKPIT_UNIVERSE__ASSETS", "BTC,ETH,XRP")
    assert stored_bundle(load(), "cluster", folder) is None, "of another universe"
    monkeypatch.setenv("COCKPIT_UNIVERSE__ASSETS", ",".join(ASSETS))
    whole = first.path.read_bytes()
    first.path.write_bytes(whole[:-40])
    assert stored_bundle(settings, "cluster", folder) is None, "damaged"
    assert clusters().path.read_bytes() == whole, "the same data and seed: the same model"


def test_a_forest_of_other_features_is_passed_over() -> None:
    bundle = forest()
    wider = load(options={"strategy.divergence.z_window": 30})
    assert stored_bundle(load(), "divergence", bundle.path.parent) is not None
    assert stored_bundle(wider, "divergence", bundle.path.parent) is None


def test_other_data_another_seed_other_parameters_and_another_run_are_other_folders() -> None:
    changes: list[dict[str, object]] = [{}, {"demo.seed": 8}, {"train.cluster.epochs": 9}]
    settings = [load(options=change) for change in changes]
    folders = [bundle_folder(each, "cluster", "history", "a") for each in settings]
    folders += [
        bundle_folder(settings[0], *which) for which in (("cluster", "history", "b"), ("cluster", "demo", "a"))
    ]
    folders.append(bundle_folder(settings[0], "divergence", "history", "a"))
    assert len(set(folders)) == 6 and {folder.parent for folder in folders} == {settings[0].paths.models}
