"""A search of parameters: every set walked forward on the same bars, counted, ranked, and never run twice."""

from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from small_walk import RECIPE, market, silent, small_walk

from core.backtest.metrics import growth
from core.backtest.statistics import overfitting_probability
from core.backtest.sweep import Params
from core.backtest.trials import Trials
from core.domain.errors import UserError
from core.domain.walk import Searched
from core.models.cluster import bundle
from core.research import __main__ as command
from core.research.search import BLOCKS, recipes, search, sets_of, text

SETS: tuple[Params, ...] = ({"window": 10}, {"window": 12}, {"window": 10, "n_clusters": 3})
GRID: tuple[Params, ...] = tuple({"n_clusters": 2, "window": 10} | given for given in SETS)


def searched(folder: Path, sets: tuple[Params, ...] = GRID) -> Searched:
    return search(small_walk(), sets, folder / "sweep", "sweep", Trials(folder), silent)


def test_sets_are_ranked_counted_and_written_down(tmp_path: Path) -> None:
    told = searched(tmp_path)
    assert len(told.sets) == told.trials == 3
    sharpes = [row.sharpe for row in told.sets if row.sharpe is not None]
    assert sharpes == sorted(sharpes, reverse=True)
    best = told.sets[0]
    assert told.best.metrics.sharpe == best.sharpe
    assert told.best.params["train.window"] == best.params["window"]
    assert told.best.statistics.trials == 3 and told.best.statistics.overfitting == told.overfitting
    assert told.best.statistics.deflated_sharpe == pytest.approx(best.deflated)
    table = pq.read_table(told.tables[0]).to_pylist()
    assert [row["window"] for row in table] == [row.params["window"] for row in told.sets]
    lines = Path(told.tables[1]).read_text().splitlines()
    assert len(lines) == 4 and lines[0].startswith("set,n_clusters,window,sharpe,low,high,deflated")
    assert "overfitting" in text(told) and "95% interval" in text(told)


def test_overfitting_is_that_of_the_walks_themselves(tmp_path: Path) -> None:
    told = searched(tmp_path)
    returns = []
    for number in range(3):
        walk = small_walk()
        own = recipes(walk.recipe, GRID)[number]
        walk = type(walk)(walk.panel, own, walk.account, walk.name)
        done = walk.train(tmp_path / f"alone-{number}", silent)
        returns.append(growth(walk.played(tmp_path / f"alone-{number}", done).result().equity))
    assert told.overfitting == overfitting_probability(np.stack(returns), BLOCKS)


def test_all_sets_are_tested_on_the_same_bars(tmp_path: Path) -> None:
    told = searched(tmp_path, ({"train_days": 130}, {"train_days": 150}))
    assert told.best.source.first_ms == int(market().ts[150])
    assert told.overfitting is not None


def test_an_interrupted_search_repeats_nothing_and_ends_the_same(tmp_path: Path) -> None:
    whole = searched(tmp_path / "whole")

    def dies(share: float, what: str) -> None:
        if what.startswith("set 2 of 3, segment 3"):
            raise KeyboardInterrupt

    home = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        search(small_walk(), GRID, home / "sweep", "sweep", Trials(home), dies)
    assert pq.read_table(home / "sweep" / "table.parquet").num_rows == 1
    again: list[str] = []
    told = search(small_walk(), GRID, home / "sweep", "sweep", Trials(home), lambda share, what: again.append(what))
    for done in ("set 1 of", "set 2 of 3, segment 1", "set 2 of 3, segment 2"):
        assert not any(what.startswith(done) for what in again)
    assert msgspec.structs.replace(told, tables=()) == msgspec.structs.replace(whole, tables=())


def test_a_set_that_cannot_be_trained_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    told = searched(tmp_path, ({"n_clusters": 2}, {"n_clusters": 9}))
    assert [bool(row.failed) for row in told.sets] == [False, True]
    assert "fewer than n_clusters 9" in told.sets[1].failed and "n_clusters 9" in text(told)
    assert told.trials == 1
    with pytest.raises(UserError, match="not one of 1 sets"):
        searched(tmp_path / "none", ({"n_clusters": 9},))


def test_a_folder_of_another_search_is_refused(tmp_path: Path) -> None:
    searched(tmp_path)
    with pytest.raises(UserError, match="another search"):
        searched(tmp_path, GRID[:2])


def test_random_sets_differ_and_come_from_the_seed() -> None:
    axes = {"n_clusters": (2, 3), "window": (10, 20, 30)}
    one, two = sets_of(axes, 4, 1), sets_of(axes, 4, 1)
    assert one == two and len({msgspec.json.encode(given) for given in one}) == 4
    assert one != sets_of(axes, 4, 2)
    with pytest.raises(UserError, match="7"):
        sets_of(axes, 7, 1)


@pytest.mark.parametrize("given", [{"nonsense": 1}, {"window": 2}, {"threshold": 5.0}])
def test_a_parameter_that_is_not_possible_is_told_before_anything_runs(given: Params) -> None:
    with pytest.raises(UserError, match=next(iter(given))):
        recipes(RECIPE, [given])


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COCKPIT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "small.toml"
    file.write_text(
        '[universe]\nassets = ["BTC", "ETH", "SOL", "XRP"]\n[demo]\nmarket_bars = 1200\n'
        "[train.cluster]\nn_clusters = 2\nwindow = 12\nepochs = 1\nthreshold = 0.5\n"
    )
    return str(file)


SPAN = ("--train-days", "20", "--test-days", "10")


def test_both_commands_keep_what_they_tell_under_home(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (("walk-forward", "cluster"), ("sweep", "cluster", "--grid", "n_clusters=2,3", "window=12,24")):
        assert command.main([*words, *SPAN, "--config", config, "--json"]) == 0
        out = capsys.readouterr().out
        document = msgspec.json.decode(out)
        folder = next((tmp_path / "home" / ("walks" if "walk" in words[0] else "sweeps")).iterdir())
        assert document["id"] == folder.name
        assert msgspec.json.decode((folder / "result.json").read_bytes()) == document
        # All is there: going on is told the same, with nothing else said.
        again = words[0], "cluster", "--resume", folder.name
        assert command.main([*again, "--config", config, "--json"]) == 0
        assert msgspec.json.decode(capsys.readouterr().out) == document


def test_the_seed_of_a_walk_is_that_of_its_market_and_of_its_models(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["walk-forward", "cluster", *SPAN, "--seed", "5", "--config", config, "--json"]) == 0
    assert '"synthetic, seed 5"' in capsys.readouterr().out
    models = [bundle.load(path) for path in (tmp_path / "home").rglob("cluster-*.safetensors")]
    assert models and {model.meta.seed for model in models} == {5}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("walk-forward", "cluster", "--resume", "nothing"), "nothing to go on from"),
        (("walk-forward", "cluster", "--train-days", "4000"), "too few to walk forward"),
        (("walk-forward", "zscore"), "learns nothing"),
        (("walk-forward", "divergence", "--assets", "3"), "--assets"),
        (("sweep", "cluster", "--grid", "z_entry=1,2"), "z_entry"),
        (("sweep", "cluster", "--on", "moon"), "moon"),
        (("sweep", "cluster", "--assets", "0"), "--assets 0"),
        (("sweep", "zscore", "--resume", "it"), "--resume"),
    ],
)
def test_mistakes_are_told_in_one_line(
    words: tuple[str, ...], said: str, config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([*words, "--config", config]) in (1, 2)
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "home" / "walks").exists() and not (tmp_path / "home" / "sweeps").exists()
