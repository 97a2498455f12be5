"""The divergence strategy walked forward: forests of the past alone, one account through all segments."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from small_walk import disturbed, silent

from core.backtest.prepare import Prepared
from core.backtest.result import Result
from core.config import Settings
from core.config.settings import Universe
from core.data.panel import Panel
from core.data.synthetic import synthetic_panel
from core.domain.backtest import Source
from core.models.bundle import load
from core.models.train import recipe_of
from core.research import walk_pairs as pairs
from core.research.segments import Segment, Stretches
from core.research.walk_forward import Kept
from core.strategies.registry import strategy

ASSETS = ("BTC", "ETH", "SOL", "XRP")
TRAIN, TEST, BARS = 1500, 400, 2500


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "recipe_of", partial(recipe_of, trees=12))


def gone(panel: Panel, folder: Path) -> tuple[tuple[Segment, ...], tuple[Kept, ...], list[Result]]:
    settings = Settings(universe=Universe(assets=ASSETS))
    source = Source("x", "", "", panel.content_hash, ASSETS, panel.bar_ms, int(panel.ts[TRAIN]), int(panel.ts[-1]))
    prepared = Prepared(panel, source, TRAIN, 7)
    return pairs.walk_pairs(settings, strategy("divergence"), prepared, Stretches(TRAIN, TEST), folder, silent)


def test_no_forest_and_no_trade_sees_its_future(tmp_path: Path) -> None:
    panel = synthetic_panel(3, BARS, ASSETS)
    told, done, results = gone(panel, tmp_path / "a")
    start = told[1].test.start
    _, other, changed = gone(disturbed(panel, start), tmp_path / "b")
    for one, two in zip(done[:2], other[:2], strict=True):
        a, b = load(tmp_path / "a" / one.model), load(tmp_path / "b" / two.model)
        np.testing.assert_array_equal(a.forest.leaf, b.forest.leaf)
        np.testing.assert_array_equal(a.forest.threshold, b.forest.threshold)
        assert a.meta.labels_until_ms < panel.ts[told[one.number].test.start]
    rows = start - told[0].test.start
    np.testing.assert_array_equal(results[0].equity[: rows + 1], changed[0].equity[: rows + 1])
    assert not np.array_equal(results[0].equity, changed[0].equity)


def test_it_is_one_run_beside_the_baselines_and_goes_on_after_a_crash(tmp_path: Path) -> None:
    panel = synthetic_panel(3, BARS, ASSETS)
    told, done, results = gone(panel, tmp_path)
    assert [len(range(*part.test.indices(BARS))) for part in told] == [400, 400, 200]
    own = results[0]
    assert own.strategy == "divergence" and len(own.equity) == BARS - TRAIN + 1
    assert own.trades and "before its test alone" in own.assumptions["models"]
    assert {result.strategy for result in results} >= {"buy-hold", "ma-cross", "rsi"}
    assert all(len(result.equity) == len(own.equity) for result in results)
    (tmp_path / "0002.json").unlink()  # as if it had been killed before the third segment was done
    _, again, resumed = gone(panel, tmp_path)
    assert again == done
    np.testing.assert_array_equal(own.equity, resumed[0].equity)
