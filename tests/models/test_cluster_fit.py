"""Training: on the past alone, repeatable, resumable, stopped early; and one clear line for what cannot be."""

import json
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from small_cluster import SMALL, panel_of_logs, some_logs

from core.data.panel import Panel
from core.data.synthetic import planted_market
from core.domain.errors import UserError
from core.models.__main__ import main
from core.models.cluster import fit as fitting
from core.models.cluster.bundle import load, save
from core.models.cluster.checkpoint import Run
from core.models.cluster.fit import Fitted, checked, fewest_bars, fit, silent, usable
from core.models.cluster.judge import judge
from core.models.cluster.loss import loss
from core.models.cluster.rule import NAMES
from core.models.cluster.score import ClusterScorer
from core.models.cluster.windows import market

HOUR = 3_600_000


@pytest.fixture(scope="module")
def panel() -> Panel:
    return planted_market(5, 400, (4, 4), 1)[0]


def same(one: Fitted, other: Fitted) -> bool:
    alike = all(np.array_equal(a, b) for a, b in zip(one.model, other.model, strict=True))
    return alike and one.meta == other.meta


def test_on_a_gpu_everything_is_sent_there_once_and_the_model_is_the_same(panel, monkeypatch, tmp_path):
    """No GPU is needed: what is sent to one stays here, and is laid as there, in one large chunk."""
    here = fit(panel, SMALL)
    sent: list[tuple[int, ...]] = []
    move = torch.Tensor.to

    def to(tensor: torch.Tensor, *where: object, **more: object) -> torch.Tensor:
        if any(str(place) == "cuda" for place in where):
            sent.append(tuple(tensor.shape))
        return move(tensor, *("cpu" if str(place) == "cuda" else place for place in where), **more)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "to", to)
    file = tmp_path / "there.safetensors"
    there = fit(panel, SMALL, checkpoint=file)
    parameters = [(SMALL.n_clusters, SMALL.window), *[()] * 5]
    assert sent[:6] == parameters and len(sent) == 6 + 5  # four grids of windows, and what a weight earns
    assert (400, len(panel.assets)) in sent[6:] and all(len(shape) in (2, 4) for shape in sent[6:])
    np.testing.assert_allclose(there.model.centroids, here.model.centroids, atol=1e-4)
    np.testing.assert_allclose(there.meta.curve, here.meta.curve, atol=1e-4)
    assert same(fit(panel, SMALL, checkpoint=file, resumed=True), there)


def test_the_same_seed_trains_the_same_model_and_another_another(panel):
    first, second = fit(panel, SMALL), fit(panel, SMALL)
    assert same(first, second)
    other = fit(panel, SMALL.model_copy(update={"seed": 8}))
    assert not np.array_equal(first.model.centroids, other.model.centroids)


def test_training_brings_the_loss_down_and_keeps_the_best_epoch_of_the_validation(panel):
    recipe = SMALL.model_copy(update={"epochs": 40, "patience": 40, "lr": 0.02})
    curve = fit(panel, recipe).meta.curve
    assert len(curve) == 41 and curve[-1][0] < curve[0][0]
    meta = fit(panel, recipe.model_copy(update={"patience": 5})).meta
    best = min(range(len(meta.curve)), key=lambda epoch: meta.curve[epoch][1])
    assert meta.best_epoch == best
    assert len(meta.curve) - 1 == min(best + 5, 40)


def test_nothing_of_the_validation_or_the_purge_is_learned_from(panel):
    """Other prices from the purge on change the choice of the epoch at most, never the steps."""
    recipe = SMALL.model_copy(update={"patience": 6})
    _, spans = checked(panel, recipe)
    assert spans.training.stop + recipe.window == spans.validation.start
    rng = np.random.default_rng(0)
    later = np.arange(len(panel))[:, None] > spans.training.stop + 1
    noise = np.exp(np.where(later, 0.05 * rng.normal(size=panel.close.shape), 0.0))
    other = replace(panel, close=panel.close * noise, open=panel.open * noise)
    ours, theirs = fit(panel, recipe).meta.curve, fit(other, recipe).meta.curve
    assert [training for training, _ in ours] == pytest.approx([training for training, _ in theirs], abs=1e-6)
    assert ours[0][1] != theirs[0][1]


def test_what_is_frozen_stays_and_the_rest_moves(panel):
    model = fit(panel, SMALL.model_copy(update={"frozen": ("threshold", "temp")})).model
    assert model.threshold == pytest.approx(SMALL.threshold) and model.temp == pytest.approx(SMALL.temp)
    assert model.stop_threshold != pytest.approx(SMALL.stop_threshold, abs=1e-6)


def test_resuming_from_a_checkpoint_ends_as_if_it_had_never_stopped(panel, tmp_path):
    file = tmp_path / "run.safetensors"
    longer = SMALL.model_copy(update={"epochs": 12, "patience": 12})
    whole = fit(panel, longer)
    fit(panel, longer.model_copy(update={"epochs": 5}), checkpoint=file)
    said: list[str] = []
    resumed = fit(panel, longer, checkpoint=file, resumed=True, progress=lambda _, text: said.append(text))
    assert same(whole, resumed)
    assert said[0].startswith("epoch 5:")
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_training_that_is_killed_goes_on_from_its_last_epoch(panel, tmp_path):
    file = tmp_path / "run.safetensors"

    def killed(done: float, text: str) -> None:
        if text.startswith("epoch 3:"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(panel, SMALL, progress=killed, checkpoint=file)
    assert same(fit(panel, SMALL, checkpoint=file, resumed=True), fit(panel, SMALL))


def test_a_warm_start_begins_with_the_model_it_is_given(panel):
    first = fit(panel.slice(0, 300), SMALL)
    warm = fit(panel.slice(100, 400), SMALL.model_copy(update={"lr": 1e-9}), start_from=first.model)
    assert np.allclose(warm.model.centroids, first.model.centroids, atol=1e-6)
    assert warm.model[1:] == pytest.approx(first.model[1:], rel=1e-6)
    with pytest.raises(UserError, match="has 4 clusters over 20 bars, wanted are 3 over 20"):
        fit(panel, SMALL.model_copy(update={"n_clusters": 3}), start_from=first.model)


def changed(panel: Panel, column: int, value: float) -> Panel:
    close = panel.close.copy()
    close[:, column] = value
    volume = panel.volume.copy()
    volume[:, column] = np.where(np.isnan(value), 0.0, volume[:, column])
    return replace(panel, close=close, open=close, volume=volume)


@pytest.mark.parametrize(
    ("spoil", "update", "said"),
    [
        (lambda p: p, {"n_clusters": 10}, "9 assets are fewer than n_clusters 10"),
        (lambda p: p, {"window": 401}, "window 401 is longer than the data, 400 bars"),
        (lambda p: p, {"window": 180}, "400 bars are too few to train with window 180: at least 4"),
        (lambda p: changed(p, 3, np.nan), {}, "S003: without a single price from 2024-01-01T00:00Z to"),
        (lambda p: changed(p, 4, 7.0), {}, "S004: with one constant price from 2024-01-01T00:00Z to"),
        (lambda p: p.slice(0, 0), {}, "without a single price of no bar at all"),
    ],
)
def test_bad_input_is_one_clear_line(panel, spoil, update, said):
    with pytest.raises(UserError) as caught:
        fit(spoil(panel), SMALL.model_copy(update=update))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_the_fewest_bars_are_enough(panel):
    for window, share in ((20, 0.2), (60, 0.1), (60, 0.5)):
        recipe = SMALL.model_copy(update={"window": window, "validation_share": share})
        checked(panel.slice(0, fewest_bars(recipe)), recipe)
        with pytest.raises(UserError, match=f"too few to train with window {window}"):
            checked(panel.slice(0, fewest_bars(recipe) - 1), recipe)


def test_missing_assets_and_late_listings_take_part_when_they_can():
    logs = some_logs(400)
    logs[:380, 8] = np.nan
    panel = panel_of_logs(logs)
    late = panel.slice(0, 390)
    assert fit(late, SMALL).meta.assets == panel.assets
    assert usable(late, SMALL) == panel.assets[:8]
    assert usable(panel, SMALL) == panel.assets


def test_what_is_not_listed_yet_is_of_the_universe_and_teaches_nothing(tmp_path):
    logs = some_logs(400)
    logs[:380, 8] = np.nan
    panel = panel_of_logs(logs)
    past = panel.slice(0, 380)
    with pytest.raises(UserError, match="A8: without a single price"):
        fit(past, SMALL)
    fitted = fit(past, SMALL, unlisted=True)
    alone = fit(past.only(panel.assets[:8]), SMALL)
    np.testing.assert_allclose(fitted.model.centroids, alone.model.centroids, atol=1e-5)
    np.testing.assert_allclose(fitted.model[1:], alone.model[1:], rtol=1e-4)
    made = load(save(tmp_path, *fitted).path)
    assert made.meta.assets == panel.assets
    told = ClusterScorer(made.model, panel.assets, HOUR).history(panel)
    assert not told.valid[:399, 8].any() and told.valid[399, 8].all()  # its first whole window
    few = SMALL.model_copy(update={"n_clusters": 9})
    with pytest.raises(UserError, match="8 assets are fewer than n_clusters 9"):
        fit(past, few, unlisted=True)


@pytest.mark.parametrize(
    ("update", "other", "said"),
    [
        ({"n_clusters": 3}, False, "a checkpoint of n_clusters 4, not of 3"),
        ({"window": 30}, False, "a checkpoint of window 20, not of 30"),
        ({"frozen": ("temp",)}, False, r"a checkpoint of frozen \[\], not of \['temp'\]"),
        ({}, True, "a checkpoint of another universe, of 9 assets .S000, S001, S002 ...., not of 8"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(panel, tmp_path, update, other, said):
    file = tmp_path / "run.safetensors"
    fit(panel, SMALL, checkpoint=file)
    wanted = panel.only(panel.assets[:8]) if other else panel
    with pytest.raises(UserError, match=said):
        fit(wanted, SMALL.model_copy(update=update), checkpoint=file, resumed=True)
    with pytest.raises(UserError, match="of other data, or of another period"):
        fit(panel.slice(0, 390), SMALL, checkpoint=file, resumed=True)


def test_a_bundle_is_no_checkpoint_and_a_missing_one_is_said(panel, tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        fit(panel, SMALL, checkpoint=tmp_path / "gone.safetensors", resumed=True)
    with pytest.raises(UserError, match="name the checkpoint"):
        fit(panel, SMALL, resumed=True)


def test_a_loss_that_diverges_ends_the_training(panel, monkeypatch):
    """It rises and rises; or is none from the start."""
    risen = count()
    monkeypatch.setattr(fitting, "loss", lambda made, recipe: loss(made, recipe) + 1.5 * (next(risen) // 2))
    with pytest.raises(UserError, match=r"diverged in epoch 4: the loss has risen .*; nothing is stored: .* lr"):
        fit(panel, SMALL)
    monkeypatch.undo()
    absurd = replace(panel, open=np.where(np.arange(400)[:, None] == 150, 1e300, panel.open))
    with pytest.raises(UserError, match=r"training diverged in epoch 0: the loss is nan"):
        fit(absurd, SMALL)


def test_the_best_is_the_first_of_equals():
    run = Run(torch.nn.Linear(1, 1), None)  # type: ignore[arg-type]
    for validation in (3.0, 1.0, 2.0, 1.0):
        run.note(0.0, validation)
    assert run.best_epoch == 1


def test_figures_out_of_sample_are_those_of_the_weights(panel):
    model = fit(panel.slice(0, 300), SMALL).model
    found = judge(panel, model, int(panel.ts[300]), 10.0)
    values = ClusterScorer(model, panel.assets, HOUR).history(panel).values
    weight = values[300:398, :, NAMES.index("weight")]
    change = np.abs(np.diff(weight, axis=0, prepend=0.0)).sum(axis=1)
    net = (weight * market(panel).earned[300:398]).sum(axis=1) - 1e-3 * change
    assert found["net"] == pytest.approx(net.sum())
    assert found["sharpe"] == pytest.approx(net.mean() / net.std(ddof=1) * np.sqrt(24 * 365.25))
    assert found["sharpe_low"] < found["sharpe"] < found["sharpe_high"]
    assert found["net_low"] < found["net"] < found["net_high"]
    assert (found["test_bars"], found["test_from_ms"]) == (98, panel.ts[300])
    with pytest.raises(UserError, match="10 bars to judge the model on"):
        judge(panel, model, int(panel.ts[388]), 10.0)


def test_the_command_trains_on_a_virtual_market_and_stores_a_bundle(tmp_path, capsys):
    words = ["train", "cluster", "--data", "virtual", "--train-days", "20", "--test-days", "5", "--window", "24"]
    words += ["--epochs", "3", "--frozen", "temp,centroids", "--out", str(tmp_path / "m"), "--json"]
    assert main([*words, "--checkpoint", str(tmp_path / "c.safetensors")]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    made = load(Path(told["bundle"]))
    assert made.hash == told["hash"] and made.meta.metrics["sharpe"] == told["sharpe"]
    assert told["sharpe_low"] < told["sharpe"] < told["sharpe_high"] and told["positions"] >= 0
    assert made.meta.recipe["frozen"] == ["temp", "centroids"] and made.meta.recipe["window"] == 24
    assert made.meta.trained_until_ms == told["test_from_ms"] - HOUR
    progress = [json.loads(line)["progress"] for line in err.splitlines()]
    assert progress == sorted(progress) and progress[-1] == 1.0
    again = [*words[:-1], "--checkpoint", str(tmp_path / "c.safetensors"), "--resume"]
    assert main(again) == 0
    table = capsys.readouterr().out
    assert "out of sample" in table and "95%" in table and "positions" in table and str(made.path) in table


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--data", "virtual", "--window", "0"], 2, "train.cluster.window = 0: allowed is a whole number"),
        (["--data", "virtual", "--frozen", "magic"], 1, "frozen 'magic': allowed is a list of centroids"),
        (["--data", "virtual", "--threshold", "5"], 1, "threshold 5.0 is not below stop_threshold 4.0"),
        (["--data", "virtual", "--train-days", "9", "--test-days", "3", "--n-clusters", "40"], 1, "30 assets are"),
        (["--data", "virtual", "--assets", "A,B"], 2, "not with --data virtual"),
        (["--data", "nowhere.parquet"], 1, "nowhere.parquet"),
        (["--panel", "nowhere.npz"], 1, "no such file"),
    ],
)
def test_a_wrong_command_is_one_line_and_stores_nothing(tmp_path, monkeypatch, capsys, words, code, said):
    monkeypatch.setenv("COCKPIT_HOME", str(tmp_path))
    assert main(["train", "cluster", *words]) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("{")]
    assert len(lines) == 1 and said in lines[0]
    assert not list(tmp_path.rglob("*.safetensors"))


def test_assets_listed_after_the_training_period_are_left_out_and_named(tmp_path, capsys):
    panel = panel_of_logs(some_logs(600, 9))
    volume = panel.volume.copy()
    volume[:500, 7] = 0.0
    late = replace(panel, volume=volume)
    late.save(tmp_path / "late.npz")
    words = ["--train-days", "20", "--test-days", "5", "--window", "24", "--n-clusters", "3", "--epochs", "1"]
    assert (
        main(["train", "cluster", "--panel", str(tmp_path / "late.npz"), *words, "--out", str(tmp_path), "--json"])
        == 0
    )
    out, err = capsys.readouterr()
    assert "not listed until after the training period: A7" in err and json.loads(out)["assets"] == 8


def test_more_data_than_there_are_is_said(tmp_path, capsys):
    panel_of_logs(some_logs(600)).save(tmp_path / "few.npz")
    assert main(["train", "cluster", "--panel", str(tmp_path / "few.npz"), "--out", str(tmp_path)]) == 1
    assert "the data hold 25 days of the market, not 252 to train on and 63" in capsys.readouterr().err


def test_curves_are_written_where_tensorboard_is_installed_and_else_it_is_said(panel, tmp_path):
    said: list[str] = []
    fit(panel, SMALL, progress=lambda _, text: said.append(text), curves=tmp_path / "curves")
    written = list((tmp_path / "curves").glob("events.*")) if (tmp_path / "curves").is_dir() else []
    assert bool(written) != any("tensorboard is not installed" in text for text in said)
    assert silent(0.0, "") is None and "torch" in sys.modules
