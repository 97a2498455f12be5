"""A walk-forward never sees its future, goes on after a crash as if there had been none, and is one run."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from small_walk import BARS, RECIPE, disturbed, gone, market, models, silent, small_walk, without

from core.backtest.events import market_of
from core.backtest.trials import Trials
from core.backtest.weights import Wishes, run_wishes
from core.domain.backtest import Source
from core.domain.errors import UserError
from core.domain.market import Floats
from core.jobs import Progress
from core.models.cluster.bundle import load
from core.models.cluster.rule import NAMES
from core.models.cluster.score import ClusterScorer
from core.research.cluster_walk import CLUSTER, EQUAL, KMEANS, THRESHOLD, ClusterWalk
from core.research.segments import Segment, Stretches, known_assets, segments
from core.research.walk_forward import Made, identity, walk
from core.research.walked import judged, text, walked


def test_segments_follow_each_other_and_each_learns_from_what_lies_before() -> None:
    told = small_walk().segments()
    assert [part.test for part in told] == [slice(130, 155), slice(155, 180), slice(180, 205), slice(205, BARS)]
    for part in told:
        assert part.train == slice(part.test.start - 130, part.test.start)


def test_a_purge_is_left_out_between_training_and_test() -> None:
    for part in segments(market(), Stretches(100, 25, 7)):
        assert part.test.start - part.train.stop == 7
        assert part.train.stop - part.train.start == 100


def test_days_are_those_of_the_market_not_of_the_calendar() -> None:
    panel = market()
    weekend = np.arange(BARS) % 7 >= 5
    for asset in panel.assets:
        panel = without(panel, asset, np.flatnonzero(weekend))
    told = segments(panel, Stretches(50, 20))
    for part in told[:-1]:
        assert panel.valid[part.train].any(axis=1).sum() == 50
        assert panel.valid[part.test].any(axis=1).sum() == 20
    assert all(a.test.stop == b.test.start for a, b in pairwise(told))
    assert told[-1].test.stop == BARS


def test_too_few_data_are_told_in_one_line() -> None:
    with pytest.raises(UserError, match="too few to walk forward"):
        segments(market(bars=100), Stretches(98, 10))


def test_the_universe_is_what_the_past_knew() -> None:
    panel, train = market(), slice(0, 130)
    names = panel.assets
    late = without(panel, names[0], slice(0, 100))
    gone = without(late, names[1], slice(120, 130))
    listed_later = without(gone, names[2], slice(0, 130))
    assert known_assets(listed_later, train) == names[3:]
    older = without(panel, names[0], slice(0, 20))
    assert known_assets(older, train, 6) == names[1:]
    assert known_assets(panel, train, 2) == names[:2]
    # What happens after the training changes nothing.
    assert known_assets(without(panel, names[0], slice(130, BARS)), train) == names


def test_no_segment_sees_its_future(tmp_path: Path) -> None:
    panel, whole = market(), small_walk()
    told = whole.segments()
    start = told[1].test.start
    done, results = gone(whole, tmp_path / "a", silent)
    other, changed = gone(small_walk(disturbed(panel, start)), tmp_path / "b", silent)
    # The second segment's model, too, has learned from bars before `start` alone.
    for one, two in zip(done[:2], other[:2], strict=True):
        a, b = load(tmp_path / "a" / one.model), load(tmp_path / "b" / two.model)
        np.testing.assert_array_equal(a.model.centroids, b.model.centroids)
        assert a.model[1:] == b.model[1:] and one.assets == two.assets
        assert a.meta.labels_until_ms < panel.ts[told[one.number].test.start]
    assert done[2].model != other[2].model
    rows = start - told[0].test.start
    for first, second in zip(results, changed, strict=True):
        np.testing.assert_array_equal(first.equity[: rows + 1], second.equity[: rows + 1])
        assert not np.array_equal(first.equity, second.equity)


def test_stitching_is_what_the_segments_decided_one_after_the_other(tmp_path: Path) -> None:
    """A plain account of my own: each segment's model scores the whole history, its tested rows are taken."""
    panel, whole = market(), small_walk()
    done = whole.train(tmp_path, silent)
    weight, gate = np.zeros((2, *panel.close.shape))
    free = np.zeros(panel.close.shape, np.bool_)
    residual, signal = np.zeros((2, *panel.close.shape))
    for part, kept in zip(whole.segments(), done, strict=True):
        told = ClusterScorer(load(tmp_path / kept.model).model, panel.assets, panel.bar_ms).history(panel)
        for name, grid in (("weight", weight), ("gate", gate), ("residual", residual), ("signal", signal)):
            grid[part.test] = told.values[part.test, :, NAMES.index(name)]
        free[part.test] = told.valid[part.test, :, 0]
    account, first = whole.account, whole.segments()[0].test.start
    wishes, at = Wishes(weight, gate, free, residual, signal), market_of(panel, first, 0, 1)
    source = Source("", "", "", "", panel.assets, panel.bar_ms, int(panel.ts[first]), int(panel.ts[-1]))
    by_hand = run_wishes(
        CLUSTER, wishes, at, account.params, account.gate, account.cash, account.assumptions, source
    )
    result = whole.played(tmp_path, done).result()
    np.testing.assert_allclose(result.equity, by_hand.equity, rtol=1e-12)
    assert result.trades and len(result.trades) == len(by_hand.trades)
    held = np.abs(result.exposure).sum(axis=1)
    borders = [part.test.start - first for part in whole.segments()[1:]]
    assert (held[borders] > 0).any()  # the account goes through a border as it is


def test_an_asset_that_is_not_known_any_more_is_sold(tmp_path: Path) -> None:
    panel = market()
    name = panel.assets[0]
    thin = without(panel, name, np.arange(30, 150)[np.arange(120) % 10 >= 4])
    whole = small_walk(thin)
    done = whole.train(tmp_path, silent)
    knew = [name in kept.assets for kept in done]
    assert True in knew and False in knew
    result = whole.played(tmp_path, done).result()
    for part, kept in zip(whole.segments(), done, strict=True):
        if name not in kept.assets:
            first = part.test.start - whole.segments()[0].test.start
            rows = result.exposure[first + 5 : first + 25, result.pairs.index(name)]
            assert not rows.any()


def test_an_interrupted_walk_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    whole, results = gone(small_walk(), tmp_path / "whole", silent)

    def dies(share: float, what: str) -> None:
        if what.startswith("segment 3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small_walk().train(tmp_path / "cut", dies)
    assert len(list((tmp_path / "cut").glob("0*.json"))) == 2
    again: list[str] = []
    done, resumed = gone(small_walk(), tmp_path / "cut", lambda share, what: again.append(what))
    assert again and not any(what.startswith(("segment 1", "segment 2")) for what in again)
    assert models(tmp_path / "cut") == models(tmp_path / "whole") and done == whole
    for one, two in zip(results, resumed, strict=True):
        np.testing.assert_array_equal(one.equity, two.equity)


def test_a_folder_of_another_walk_is_refused(tmp_path: Path) -> None:
    small_walk().train(tmp_path, silent)
    with pytest.raises(UserError, match="another walk"):
        replace(small_walk(), warm=True).train(tmp_path, silent)


def test_warm_models_begin_with_the_one_before_and_fresh_ones_do_not(tmp_path: Path) -> None:
    still = RECIPE.model_copy(update={"frozen": ("centroids",)})
    warm = replace(small_walk(), recipe=still, warm=True)

    def centroids(folder: Path, walked: ClusterWalk) -> list[Floats]:
        return [load(folder / kept.model).model.centroids for kept in walked.train(folder, silent)]

    first, second, *_ = centroids(tmp_path / "warm", warm)
    np.testing.assert_allclose(first, second, atol=1e-6)
    first, second, *_ = centroids(tmp_path / "fresh", replace(warm, warm=False))
    assert np.abs(first - second).max() > 0.01


def test_what_a_trainer_refuses_is_told_with_its_segment(tmp_path: Path) -> None:
    told = small_walk().segments()

    def refuse(segment: Segment, folder: Path, before: Path | None, progress: Progress) -> Made:
        raise UserError("the loss is nan")

    with pytest.raises(UserError, match="segment 1 of 4: the loss is nan"):
        walk(tmp_path, identity(market(), told), told, refuse, silent)


def test_the_text_tells_every_segment_and_intervals(tmp_path: Path) -> None:
    walk_ = small_walk()
    done, results = gone(walk_, tmp_path, silent)
    told = walked("one", walk_.panel, walk_.segments(), done, judged(results, Trials(tmp_path)))
    said = text(told)
    assert len(told.segments) == 4 and told.run.metrics.bars == BARS - 130
    assert set(told.sharpes) == {CLUSTER, EQUAL, KMEANS, THRESHOLD}
    for word in ("equal-weight", "k-means", "correlation", "95% interval", "decides first one bar", "trials"):
        assert word in said
