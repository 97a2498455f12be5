"""Training: nothing of the test is known to what is judged on it, and the same data give the same model."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import SMALL, trained_on

from core.data.panel import Panel
from core.domain.errors import UserError
from core.features.pairs import PairFeatures
from core.models import train as training
from core.models.__main__ import main
from core.models.bundle import load, save
from core.models.labels import LabelRule
from core.models.train import Rows, known, labelled

GRIDS = ("open", "high", "low", "close", "volume")


@given(low=st.integers(0, 300), width=st.integers(1, 200), horizon=st.integers(1, 60), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_purge_and_embargo_leave_no_label_that_touches_the_test(low, width, horizon, seed):
    rule = LabelRule(horizon=horizon)
    t = np.arange(500)
    end = t + np.random.default_rng(seed).integers(1, rule.reach + 1, 500)
    held, may = (t >= low) & (t < low + width), known(t, low, low + width, rule)
    assert not (held & may).any()
    if held.any():
        first, last = t[held].min(), end[held].max()
        before, after = may & (t < low), may & (t >= low)
        assert (end[before] < first).all()
        assert (t[after] > last).all() and (t[after] >= t[held].max() + 1 + rule.reach + horizon).all()
        assert before.sum() == max(0, low - rule.reach)  # and no more is given away than that


def test_every_forest_is_blind_to_the_rows_it_is_judged_or_calibrated_on(market, monkeypatch):
    """Follows each forest from its fit to the rows that it scores."""
    rule, real = SMALL.label, training.fit
    fits: list[tuple[object, Rows, np.ndarray]] = []

    def recorded(rows, chosen, recipe, trees):
        forest = real(rows, chosen, recipe, trees)
        fits.append((forest, rows, chosen))
        return forest

    monkeypatch.setattr(training, "fit", recorded)
    panel = market.slice(0, 900)
    trained = trained_on(panel)
    rows = fits[0][1]
    judge = fits[training.FOLDS][2]
    test_from = np.searchsorted(panel.ts, trained.meta.metrics["test_from_ms"])
    assert rows.end[judge].max() < test_from - rule.horizon
    assert all(chosen[judge].sum() == chosen.sum() for _, _, chosen in fits[: training.FOLDS])
    final = fits[-1][2]
    assert final.all() and rows.end.max() < len(panel)
    assert trained.meta.labels_until_ms <= trained.meta.trained_until_ms


def test_the_same_data_and_seed_give_the_same_bytes_and_another_seed_others(market, trained, tmp_path):
    panel = market.slice(0, 900)
    again = trained_on(panel, msgspec.structs.replace(SMALL, jobs=2))
    other = trained_on(panel, msgspec.structs.replace(SMALL, seed=8))
    names = [save(tmp_path, *each).hash for each in (trained, again, other)]
    assert names[0] == names[1] != names[2]


def test_what_comes_after_the_training_period_changes_nothing(market, trained, tmp_path):
    grids = [getattr(market, name).copy() for name in GRIDS]
    for grid in grids:
        grid[900:] *= 3.0
    spoilt = Panel.of(market.ts, market.assets, grids, market.bar_ms, market.funding_rate)
    assert save(tmp_path, *trained_on(spoilt.slice(0, 900))).hash == save(tmp_path, *trained).hash


def test_figures_are_of_the_test_alone_beside_its_base_rate(market, trained):
    panel, figures = market.slice(0, 900), trained.meta.metrics
    rows = labelled(panel, PairFeatures(panel.assets), SMALL.label)
    test = (rows.t >= 630 + 24) & rows.beyond
    assert figures["test_rows"] == test.sum() and figures["rows"] == len(rows.t)
    assert figures["base_rate"] == rows.y[test].mean()
    assert panel.ts[654] <= figures["test_from_ms"] < figures["test_until_ms"] <= panel.ts[-1 - SMALL.label.reach]


def test_a_planted_edge_is_found_out_of_sample(market, monkeypatch):
    """The label is made to hang on one feature: precision must rise far above the base rate."""
    real = training.labelled

    def planted(panel, features, rule):
        rows = real(panel, features, rule)
        signal = rows.x[:, features.names.index("spread_rsi")] > 60
        noise = np.random.default_rng(1).random(len(signal)) < 0.1
        return rows._replace(y=(signal ^ noise).astype(np.int8))

    monkeypatch.setattr(training, "labelled", planted)
    figures = trained_on(market.slice(0, 900)).meta.metrics
    assert figures["precision"] > 0.8 > 0.6 > figures["base_rate"] and figures["recall"] > 0.8


def test_scores_have_the_frequency_of_the_labels(market, trained):
    """Class weights 1:3 would have put them far above it."""
    rows = labelled(market.slice(0, 900), PairFeatures(market.assets), SMALL.label)
    mean, rate = trained.forest.score(rows.x[rows.beyond]).mean(), rows.y[rows.beyond].mean()
    assert mean == pytest.approx(rate, abs=0.04)
    assert trained.forest.raw(rows.x[rows.beyond]).mean() > rate + 0.1


def test_calibrated_probabilities_are_the_frequencies_seen_out_of_sample(market, monkeypatch):
    """A label whose true probability hangs on one feature: in each fifth of the scores, as many come true as were
    promised; the forest before calibration promises far more. Platt's map is monotone, so the order is kept."""
    real = training.labelled

    def planted(panel, features, rule):
        rows = real(panel, features, rule)
        chance = np.clip((rows.x[:, features.names.index("spread_rsi")] - 20) / 60, 0.05, 0.95)
        return rows._replace(y=(np.random.default_rng(1).random(len(chance)) < chance).astype(np.int8))

    monkeypatch.setattr(training, "labelled", planted)
    trained = trained_on(market.slice(0, 900), msgspec.structs.replace(SMALL, trees=60))
    later = planted(market, PairFeatures(market.assets), SMALL.label)
    ahead = (later.t >= 900 + SMALL.label.reach) & later.beyond
    promised, raw, y = trained.forest.score(later.x[ahead]), trained.forest.raw(later.x[ahead]), later.y[ahead]
    assert (np.diff(promised[np.argsort(raw)]) >= 0).all()
    fifths = np.array_split(np.argsort(promised), 5)
    off = [abs(promised[rows].mean() - y[rows].mean()) for rows in fifths]
    assert max(off) < 0.12 and np.mean(off) < 0.06
    assert np.mean([abs(raw[rows].mean() - y[rows].mean()) for rows in fifths]) > 2 * np.mean(off)
    brier = np.mean((promised - y) ** 2)
    assert brier < np.mean((raw - y) ** 2) and brier < y.mean() * (1 - y.mean())


def test_the_published_label_covers_rows_that_are_never_traded_but_is_judged_without_them(market):
    recipe = msgspec.structs.replace(SMALL, label=LabelRule(kind="published", horizon=24))
    meta = trained_on(market.slice(0, 900), recipe).meta
    every = (900 - 200 - recipe.label.reach) * 6  # six pairs, usable from their 200th aligned bar on
    assert meta.label["kind"] == "published" and meta.metrics["rows"] == pytest.approx(every, rel=0.01)
    rows = labelled(market.slice(0, 900), PairFeatures(market.assets), recipe.label)
    assert meta.metrics["test_rows"] == (rows.beyond & (rows.t >= 654)).sum() < every * 0.3


def test_progress_rises_and_says_what_is_done(market):
    told: list[tuple[float, str]] = []
    trained_on(market.slice(0, 900), progress=lambda done, text: told.append((done, text)))
    shares = [done for done, _ in told]
    assert shares == sorted(shares) and shares[0] >= 0 and shares[-1] < 1
    assert "fitting 12 trees" in told[-1][1]


def test_labels_that_are_all_alike_cannot_be_learned(market):
    ruinous = LabelRule(horizon=24, fee=0.3, stop_min=0.5, stop_max=0.9, target_max=0.9)
    with pytest.raises(UserError, match="are 0: nothing to tell apart"):
        trained_on(market.slice(0, 900), msgspec.structs.replace(SMALL, label=ruinous))


def test_too_few_labelled_rows_are_refused(market):
    rare = LabelRule(horizon=24, z_entry=3.5)
    with pytest.raises(UserError, match="at least 200 are needed; give more bars"):
        trained_on(market.slice(0, 900), msgspec.structs.replace(SMALL, label=rare))


@pytest.fixture
def saved(market, tmp_path) -> Path:
    path = tmp_path / "market.npz"
    market.save(path)
    return path


def test_the_command_trains_stores_and_says_how_good_it_is(saved, tmp_path):
    command = [sys.executable, "-m", "core.models", "train", "divergence", "--panel", str(saved), "--json"]
    command += ["--train-bars", "1000", "--trees", "5", "--seed", "3", "--out", str(tmp_path / "models")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    stored = load(Path(result["bundle"]))
    panel = Panel.load(saved)
    assert stored.hash == result["hash"] and stored.meta.seed == result["seed"] == 3
    assert (result["trained_from_ms"], result["trained_until_ms"]) == (panel.ts[0], panel.ts[999])
    assert stored.meta.data_hash == panel.slice(0, 1000).content_hash and stored.meta.source == "market.npz"
    assert {"rows", "base_rate", "precision", "recall", "test_from_ms", "test_until_ms"} <= result.keys()
    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert said[0]["progress"] == 0 and said[-1]["progress"] == 1 and all(line["text"] for line in said)


def test_candles_in_a_text_file_give_the_model_that_the_saved_panel_gives(market, saved, tmp_path):
    """The importer stands between: the same content, hence the same trees and figures."""
    lines = ["timestamp,symbol,open,high,low,close,volume"]
    for t, stamp in enumerate(market.ts.tolist()):
        for i, asset in enumerate(market.assets):
            row = [repr(float(getattr(market, name)[t, i])) for name in GRIDS]
            lines.append(f"{stamp},{asset}USDT,{','.join(row)}")
    (tmp_path / "candles.csv").write_text("\n".join(lines))
    (tmp_path / "config.toml").write_text(f"[universe]\nassets = {json.dumps(list(market.assets))}\n")
    unpaid = Panel.of(market.ts, market.assets, [getattr(market, n) for n in GRIDS], market.bar_ms)
    unpaid.save(saved)
    common = ["--trees", "5", "--config", str(tmp_path / "config.toml")]
    for source, out in (("--data", "a"), ("--panel", "b")):
        file = tmp_path / "candles.csv" if source == "--data" else saved
        assert main(["train", "divergence", source, str(file), "--out", str(tmp_path / out), *common]) == 0
    first, second = (load(next((tmp_path / out).iterdir())) for out in "ab")
    assert first.meta.data_hash == second.meta.data_hash and first.meta.metrics == second.meta.metrics
    assert (first.forest.leaf == second.forest.leaf).all()


def test_real_candles_train_on_2000_bars_and_are_judged_honestly(shared_data, tmp_path):
    candles, funding = shared_data / "perp_1h_10.parquet", shared_data / "perp_funding_10.parquet"
    options = ["--data", str(candles), "--funding", str(funding), "--train-bars", "2000", "--trees", "20"]
    assert main(["train", "divergence", *options, "--out", str(tmp_path / "m")]) == 0
    stored = load(next((tmp_path / "m").iterdir()))
    figures = stored.meta.metrics
    assert len(stored.meta.assets) == 10 and figures["test_rows"] > 5000
    assert 0.5 < figures["base_rate"] < 0.75  # most spreads come back; no score may hide how many
    assert figures["precision"] == pytest.approx(figures["base_rate"], abs=0.1)


def test_without_json_a_table_names_base_rate_precision_and_period(saved, tmp_path, capsys):
    assert main(["train", "divergence", "--panel", str(saved), "--trees", "5", "--out", str(tmp_path / "m")]) == 0
    table = capsys.readouterr().out
    for word in (
        "profit   published",
        "Brier",
        "base rate",
        "precision",
        "recall",
        "tested on   2024-",
        "with |z| > 1.0",
        ".safetensors",
    ):
        assert word in table


def test_both_labels_are_judged_side_by_side_and_the_configured_one_is_served(saved, tmp_path, capsys):
    (tmp_path / "config.toml").write_text('[strategy.divergence]\nlabel = "published"\n')
    options = ["--panel", str(saved), "--trees", "5", "--config", str(tmp_path / "config.toml")]
    assert main(["train", "divergence", *options, "--out", str(tmp_path / "m"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result["labels"]) == {"profit", "published"}
    figures = {"base_rate", "predicted", "precision", "recall", "auc", "brier", "test_rows"}
    assert all(figures <= judged.keys() for judged in result["labels"].values())
    profit, published = result["labels"]["profit"], result["labels"]["published"]
    assert profit["test_rows"] == published["test_rows"], "the same rows, beyond the entry threshold"
    assert profit["rows"] < published["rows"], "the published label is learned on all rows"
    assert published["base_rate"] > profit["base_rate"], "to move back at any time is easier than to pay"
    assert result["label"] == load(Path(result["bundle"])).meta.label["kind"] == "published"
    assert result["base_rate"] == published["base_rate"]

    alone = ["train", "divergence", *options, "--label", "profit", "--out", str(tmp_path / "p"), "--json"]
    assert main([*alone, "--served-only"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result["labels"]) == ["profit"] and result["label"] == "profit"
    assert result["labels"]["profit"] == profit, "what is judged beside another is judged as if it were served"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--panel", "none.npz"], "none.npz: no such file"),
        (["--panel", "broken.npz"], "not a saved panel"),
        (["--panel", "market.npz", "--train-bars", "400"], "400 bars are too few to train with horizon_bars 102"),
        (["--panel", "market.npz", "--train-bars", "5000"], "the data holds 1200 bars"),
        (["--panel", "market.npz", "--train-bars", "-1"], "--train-bars -1"),
        (["--panel", "market.npz", "--trees", "0"], "--trees 0: at least 1"),
        (["--panel", "market.npz", "--funding", "f.csv"], "--funding goes with --data"),
        (["--panel", "market.npz", "--seed", "-3"], "demo.seed"),
        (["--data", "none.parquet"], "none.parquet"),
        (["--panel", "market.npz", "--config", "none.toml"], "none.toml: no such file"),
    ],
)
def test_what_a_user_got_wrong_is_said_in_one_line(saved, options, words, capsys, monkeypatch):
    monkeypatch.chdir(saved.parent)
    Path("broken.npz").write_bytes(b"no zip at all")
    assert main(["train", "divergence", *options, "--out", "models"]) in (1, 2)
    out, err = capsys.readouterr()
    line = err.splitlines()[-1]
    assert words in line and out == "" and "Traceback" not in err and not Path("models").exists()
    assert all(json.loads(other)["text"] for other in err.splitlines()[:-1])
