"""The report of a walk-forward: the page of any run, with what each segment learned, traded and made."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from small_walk import BARS, RECIPE, gone, market, silent, small_walk

from core.backtest.document import Analysis
from core.backtest.trials import Trials
from core.domain.walk import Walked
from core.models.cluster.bundle import load
from core.research import __main__ as command
from core.research import walk_command
from core.research.cluster_walk import ClusterWalk, Groups
from core.research.walk_report import write_walk
from core.research.walked import judged, text, walked


class Words(HTMLParser):
    """The words of a page, element by element."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Walked, list[Analysis], Groups]:
    folder, walk = tmp_path_factory.mktemp("walk"), small_walk()
    done, results = gone(walk, folder, silent)
    analyses = judged(results, Trials(folder))
    document = walked("one", walk.panel, walk.segments(), done, analyses)
    return document, analyses, walk.played(folder, done).groups()


@pytest.fixture(scope="module")
def page(whole: tuple[Walked, list[Analysis], Groups], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "walk.html"
    write_walk(path, *whole)
    return path.read_text(encoding="utf-8")


def test_the_figures_of_the_segments_are_those_of_the_whole_run(
    whole: tuple[Walked, list[Analysis], Groups],
) -> None:
    told, (own, *_), _ = whole
    assert sum(row.bars for row in told.segments) == BARS - 130
    assert sum(row.trades for row in told.segments) == own.metrics.trades.count > 0
    paid = own.metrics.money
    assert sum(row.costs for row in told.segments) == pytest.approx(paid.net - paid.gross)
    made = 1.0
    for row in told.segments:
        made *= 1 + row.total_return
    assert made - 1 == pytest.approx(own.metrics.total_return)


def test_a_segment_tells_what_its_bundle_holds(tmp_path: Path) -> None:
    walk = small_walk()
    for kept in walk.train(tmp_path, silent):
        made = load(tmp_path / kept.model)
        for name in ("threshold", "stop_threshold", "similarity_threshold", "temp", "scaling_factor"):
            assert kept.training[name] == getattr(made.model, name)
        first, best = made.meta.curve[0], made.meta.curve[made.meta.best_epoch]
        losses = [kept.training[f"{name}_loss"] for name in ("first_training", "first_validation")]
        assert tuple(losses) == first
        assert (kept.training["training_loss"], kept.training["validation_loss"]) == best
        assert 0.0 <= (kept.training["inside"] or 0.0) <= 1.0
        assert (kept.training["clusters"] or 0.0) <= RECIPE.n_clusters
        assert (kept.training["held"] or 0.0) <= len(kept.assets)


@pytest.mark.parametrize(
    "heading",
    ["Beside the others", "Equity", "Drawdown", "Segments", "Return of each segment", "What was learned",
     "Entry threshold", "Least similarity", "Clusters of the last model", "Where the money went",
     "Attribution by asset", "Exposure and allocation", "Assumptions"],
)  # fmt: skip
def test_every_part_is_there(page: str, heading: str) -> None:
    assert re.search(rf"<h[23]>{heading}</h[23]>", page)


def test_the_page_needs_nothing_from_outside_and_tells_numbers(page: str) -> None:
    assert not {"script", "link", "iframe", "img"} & set(Words(page).seen)
    assert not re.search(r"\b(nan|inf|None)\b", page)
    assert "<h1>cluster, walked forward</h1>" in page


def test_it_stands_beside_what_it_must_beat_each_with_its_intervals(
    page: str, whole: tuple[Walked, list[Analysis], Groups]
) -> None:
    rows = page[page.index("Beside the others") : page.index("<h2>Equity")]
    for one in whole[1]:
        assert one.result.strategy in rows
        ratio = one.statistics.sharpe
        if ratio is not None:
            assert f"{ratio.low:.2f} to {ratio.high:.2f}".replace("-", "−") in rows


def test_every_segment_has_its_row_with_the_epoch_that_was_kept(
    page: str, whole: tuple[Walked, list[Analysis], Groups]
) -> None:
    learned = page[page.index("<h2>What was learned") : page.index("<h2>Clusters of")]
    assert learned.count("<tr>") == len(whole[0].segments) + 1
    for row in whole[0].segments:
        best, last = row.training["best_epoch"], row.training["epochs"]
        assert f"<td>{best:.0f} of {last:.0f}</td>" in learned
        assert f"<td>{row.training['threshold']:.2f}</td>" in learned
    assert learned.count("<td>afresh</td>") == len(whole[0].segments)


def test_every_asset_of_the_last_model_is_in_one_cluster_or_in_none(
    page: str, whole: tuple[Walked, list[Analysis], Groups]
) -> None:
    told, _, groups = whole
    members = [name for group in groups.values() for name, _ in group]
    assert sorted(members) == sorted(market().assets) and len(members) == told.segments[-1].assets
    section = page[page.index("<h2>Clusters of") : page.index("<h2>Months")]
    assert all(name in section for name in members)


def test_what_a_forest_says_of_its_training_is_told_too(
    whole: tuple[Walked, list[Analysis], Groups], tmp_path: Path
) -> None:
    told, analyses, _ = whole
    forest = {"rows": 1900.0, "base_rate": 0.61, "auc": 0.523}
    rows = tuple(msgspec.structs.replace(row, training=forest) for row in told.segments)
    write_walk(tmp_path / "pairs.html", msgspec.structs.replace(told, segments=rows), analyses)
    page = (tmp_path / "pairs.html").read_text(encoding="utf-8")
    learned = page[page.index("<h2>What was learned") : page.index("<h2>Months")]
    assert "Area under the curve" in learned and "epoch" not in learned
    assert learned.count("<td>1,900</td><td>0.610</td><td>0.523</td>") == len(rows)


def warm_walk() -> ClusterWalk:
    """A walk that begins each model with the one before."""
    return replace(small_walk(), warm=True)


def idle_walk() -> ClusterWalk:
    """A walk whose models never reach the band: the wishes they have are not traded."""
    walk = warm_walk()
    params = walk.account.params.model_copy(update={"band": 0.2})
    return replace(walk, account=replace(walk.account, params=params))


def test_a_model_that_holds_nothing_is_not_begun_with(tmp_path: Path) -> None:
    """Its loss has no slope by which it could come back: the next begins afresh."""
    warm = warm_walk().train(tmp_path / "warm", silent)
    idle = idle_walk().train(tmp_path / "idle", silent)
    assert [kept.training["warm"] for kept in warm] == [0.0, 1.0, 1.0, 1.0]
    assert all(kept.training["held"] for kept in warm)
    assert [kept.training["warm"] for kept in idle] == [0.0] * 4
    assert not any(kept.training["held"] for kept in idle)


def test_segments_in_which_nothing_was_held_are_counted(tmp_path: Path) -> None:
    walk = idle_walk()
    done, results = gone(walk, tmp_path, silent)
    told = walked("one", walk.panel, walk.segments(), done, judged(results, Trials(tmp_path)))
    assert "nothing was held in 4 of the segments" in text(told)
    assert [row.sharpe for row in told.segments] == [None] * 4
    write_walk(tmp_path / "x.html", told, judged(results, Trials(tmp_path)))
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "Nothing was held in 4 of them." in page and "Clusters of the last model" not in page


def test_the_command_keeps_the_report_in_the_walk_and_puts_it_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COCKPIT_HOME", str(tmp_path))
    monkeypatch.setattr(walk_command, "_walk", lambda request, settings, config: small_walk())
    here = tmp_path / "here.html"
    assert command.main(["walk-forward", "cluster", "--report", str(here), "--json"]) == 0
    told = msgspec.json.decode(capsys.readouterr().out, type=Walked)
    kept = tmp_path / "walks" / told.id / "report.html"
    assert kept.read_bytes() == here.read_bytes() and b"walked forward" in here.read_bytes()
    assert len(told.segments) == 4
