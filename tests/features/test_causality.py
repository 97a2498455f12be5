"""No past value moves when the future is cut off, or becomes another: every feature of the catalog, at random bars.

Then: one bar at a time gives the bits of one call, and a restart from the warm-up changes nothing (columns that
remember more than a window: to the tolerance they declare).
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uncertain_markets import ASSETS, another_future, market

from core.data.importer import load_panel
from core.data.panel import Panel
from core.domain.market import Bar
from core.features.catalog import FEATURES, Arrays, Feature

BARS = 420
every_feature = pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
seeds = st.integers(0, 2**32 - 1)


def moved(before: Arrays, after: Arrays, rows: int) -> list[str]:
    """The columns of which a bit differs in the first `rows` bars."""
    assert before.keys() == after.keys()
    return [name for name in before if before[name][:rows].tobytes() != after[name][:rows].tobytes()]


def joined(parts: Iterable[Arrays]) -> Arrays:
    """Bars that came one by one, as one table."""
    rows = list(parts)
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


@every_feature
@settings(max_examples=12, deadline=None)
@given(seed=seeds, cut=st.integers(1, BARS - 1))
def test_the_future_moves_no_bit_of_the_past(feature: Feature, seed: int, cut: int) -> None:
    panel = market(seed, BARS)
    known = feature.history(panel)
    assert moved(known, feature.history(panel.slice(0, cut)), cut) == [], "the future was cut off"
    assert moved(known, feature.history(another_future(panel, cut, seed)), cut) == [], "the future was changed"


@every_feature
def test_what_is_changed_is_noticed_from_that_bar_on(feature: Feature) -> None:
    """The test above could not fail if another future changed nothing."""
    panel = market(3, BARS)
    known, other = feature.history(panel), feature.history(another_future(panel, 300, 3))
    assert len(moved(known, other, BARS)) > len(known) / 2


@every_feature
@settings(max_examples=8, deadline=None)
@given(seed=seeds, split=st.integers(0, BARS - 1))
def test_one_bar_at_a_time_gives_the_bits_of_one_call(feature: Feature, seed: int, split: int) -> None:
    panel = market(seed, BARS)
    live = feature.make(panel.assets, panel.bar_ms)
    start = [live.history(panel.slice(0, split))] if split else []
    stepped = joined([*start, *(live.update(panel.bar(t)) for t in range(split, BARS))])
    assert moved(feature.history(panel), stepped, BARS) == []


def restarted(feature: Feature, panel: Panel, start: int, bars: int) -> None:
    """`bars` bars after a restart at bar `start` and a warm-up are those of one run, as the feature declares."""
    warmup, end = feature.warmup(panel), start + feature.warmup(panel) + bars
    whole, again = feature.history(panel.slice(0, end)), feature.history(panel.slice(start, end))
    for name in whole:
        before, after = whole[name][start + warmup :], again[name][warmup:]
        column, _, flag = name.partition(".")
        if column in feature.recursive and not flag:
            tolerance = feature.recursive[column]
            np.testing.assert_allclose(after, before, rtol=tolerance, atol=tolerance, err_msg=name)
        else:
            assert after.tobytes() == before.tobytes(), name


@every_feature
@settings(max_examples=5, deadline=None)
@given(seed=seeds)
def test_a_restart_from_the_warmup_changes_nothing(feature: Feature, seed: int) -> None:
    panel = market(seed, feature.warmup(market(0, 30)) + 330)
    restarted(feature, panel, 300, 30)


@every_feature
@pytest.mark.parametrize("day", ["2024-06-07", "2024-12-26", "2025-01-26"])
def test_a_restart_changes_nothing_on_real_data(feature: Feature, day: str, shared_data: Path) -> None:
    """Weeks in which some pairs hardly moved, so that the hedge ratio was known least."""
    panel = load_panel(shared_data / "perp_1h_10.parquet", shared_data / "perp_funding_10.parquet")
    at = int(np.searchsorted(panel.ts, np.datetime64(day, "ms").astype(np.int64)))
    restarted(feature, panel, at - feature.warmup(panel), 48)


@every_feature
def test_skipped_bars_count_as_silent_and_bars_come_in_order(feature: Feature) -> None:
    panel = market(5, BARS)
    volume = panel.volume.copy()
    volume[305:310] = 0
    grids = (panel.open, panel.high, panel.low, panel.close, volume)
    gap = Panel.of(panel.ts, ASSETS, grids, panel.bar_ms, panel.funding_rate)
    live = feature.make(panel.assets, panel.bar_ms)
    live.history(gap.slice(0, 305))
    stepped = joined(live.update(gap.bar(t)) for t in range(310, 330))
    filled = {name: column[310:330] for name, column in feature.history(gap).items()}
    assert moved(filled, stepped, 20) == []
    for wrong in (gap.bar(329), gap.bar(5), replace(gap, ts=gap.ts + 60_000).bar(400)):
        with pytest.raises(ValueError, match="come in order"):
            live.update(wrong)


@every_feature
@settings(max_examples=6, deadline=None)
@given(seed=seeds)
def test_nothing_that_is_not_finite_escapes(feature: Feature, seed: int) -> None:
    """Assets that are listed late, fall silent, or never move: 0 and a flag, never NaN or infinity."""
    panel = market(seed, BARS)
    close = panel.close.copy()
    close[:, 0], close[200:, 1] = 7.0, 3.0
    known = feature.history(Panel.of(panel.ts, ASSETS, (close,) * 4 + (panel.volume,), panel.bar_ms))
    for name in known.keys() - {"close"}:  # an asset that is not listed yet has no close
        assert np.isfinite(known[name]).all(), name


class Peeking:
    """A mean over the bars on both sides: the mistake that all this is about."""

    warmup = 3

    def history(self, panel: Panel) -> Arrays:
        padded = np.pad(panel.close, ((1, 1), (0, 0)), mode="edge")
        return {"honest": panel.close, "centred_mean": (padded[:-2] + padded[1:-1] + padded[2:]) / 3}

    def update(self, bar: Bar) -> Arrays:
        return {"honest": bar.ohlcv[None, :, 3], "centred_mean": bar.ohlcv[None, :, 3]}


def test_a_planted_look_ahead_is_found_by_name() -> None:
    panel = market(1, BARS)
    peek = Feature("peek", lambda assets, bar_ms: Peeking())
    known = peek.history(panel)
    assert moved(known, peek.history(panel.slice(0, 100)), 100) == ["centred_mean"]
    assert moved(known, peek.history(another_future(panel, 100, 1)), 100) == ["centred_mean"]


def test_a_bar_that_does_not_fit_is_refused() -> None:
    for feature in FEATURES:
        panel = market(1, 30)
        live = feature.make(panel.assets, panel.bar_ms)
        with pytest.raises(ValueError, match="does not fit"):
            live.update(replace(panel, bar_ms=panel.bar_ms // 2).bar(0))
