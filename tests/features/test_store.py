"""The feature store answers with what was known at a moment: never with what came out, or was corrected, later."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.panel import EIGHT_HOURS_MS, Panel
from core.data.synthetic import HOUR_MS, START_MS, synthetic_panel
from core.domain.errors import UserError
from core.features.store import FeatureStore, Known, Series

ASSETS = ("BTC", "ETH")
DAY = 24 * HOUR_MS


def series(*rows: tuple[str, int, int, float]) -> Series:
    """Rows of asset, event, time of publication (hours), value."""
    asset = np.array([ASSETS.index(row[0]) for row in rows], np.intp)
    event, known = (np.array([row[i] for row in rows], np.int64) * HOUR_MS for i in (1, 2))
    return Series.of(ASSETS, asset, event, known, np.array([row[3] for row in rows], np.float64))


def at(known: Series, hour: float, asset: str = "BTC", max_age_ms: int | None = None) -> tuple[float, bool]:
    told = known.as_of(np.array([int(hour * HOUR_MS)]), (asset,), max_age_ms)
    return float(told.value[0, 0]), bool(told.valid[0, 0])


def test_a_value_is_known_from_its_publication_on_not_from_its_event() -> None:
    inflow = series(("BTC", 10, 34, 5.0))
    assert at(inflow, 33.999) == (0.0, False)
    assert at(inflow, 34) == (5.0, True)
    assert at(inflow, 99, "ETH") == (0.0, False), "of another asset nothing is known"
    assert at(inflow, 99, "SOL") == (0.0, False), "nor of one that the series does not have"


def test_a_correction_is_believed_from_when_it_came_out() -> None:
    inflow = series(("BTC", 10, 11, 5.0), ("BTC", 10, 50, 7.0), ("BTC", 20, 21, 6.0), ("BTC", 20, 60, 8.0))
    assert [at(inflow, hour)[0] for hour in (11, 20, 21, 49, 50, 60)] == [5.0, 5.0, 6.0, 6.0, 6.0, 8.0]
    early = series(("BTC", 10, 11, 5.0), ("BTC", 10, 15, 7.0))
    assert [at(early, hour)[0] for hour in (14, 15)] == [5.0, 7.0]


def test_news_about_the_past_does_not_replace_what_is_newer() -> None:
    late = series(("BTC", 20, 21, 6.0), ("BTC", 10, 40, 5.0))
    assert at(late, 40) == (6.0, True)


def test_a_series_that_has_stopped_says_nothing() -> None:
    inflow = series(("BTC", 10, 11, 5.0))
    assert at(inflow, 34, max_age_ms=DAY) == (5.0, True)
    assert at(inflow, 34.01, max_age_ms=DAY) == (0.0, False)


rows = st.tuples(st.sampled_from(ASSETS), st.integers(0, 20), st.integers(0, 15), st.integers(0, 99))


@settings(max_examples=60, deadline=None)
@given(told=st.lists(rows, max_size=40, unique_by=lambda row: row[:3]), moment=st.integers(0, 40))
def test_it_answers_as_a_reader_of_everything_published_would(
    told: list[tuple[str, int, int, int]], moment: int
) -> None:
    published = [(asset, event, event + delay, float(value)) for asset, event, delay, value in told]
    everything = series(*published).as_of(np.array([moment * HOUR_MS]), ASSETS)
    until_then = series(*(row for row in published if row[2] <= moment)).as_of(np.array([moment * HOUR_MS]), ASSETS)
    for i, asset in enumerate(ASSETS):
        seen = [row for row in published if row[0] == asset and row[2] <= moment]
        newest = max(seen, key=lambda row: (row[1], row[2]), default=None)
        assert everything.valid[0, i] == (newest is not None)
        assert everything.value[0, i] == (newest[3] if newest else 0.0)
        assert everything.event_ms[0, i] == (newest[1] * HOUR_MS if newest else -1)
    for ours, theirs in zip(everything, until_then, strict=True):
        assert ours.tobytes() == theirs.tobytes(), "what comes out later moves nothing"


def test_funding_is_known_as_the_panel_knows_it() -> None:
    """Settled strictly before the close belongs to the bar; a settlement at the close is the next bar's."""
    panel = synthetic_panel(5, 200, ASSETS)
    t, i = np.nonzero(np.isfinite(panel.funding_rate))
    funding = Series.of_funding(
        ASSETS, i, panel.ts[t], panel.funding_rate[t, i], np.full(len(t), EIGHT_HOURS_MS, np.int64)
    )
    np.testing.assert_array_equal(funding.on(panel).value, panel.funding)
    settled = START_MS + EIGHT_HOURS_MS
    at_close, next_close = (funding.as_of(np.array([ms]), ASSETS).event_ms[0] for ms in (settled, settled + 1))
    assert (at_close == START_MS).all() and (next_close == settled).all()


def test_a_feature_of_a_bar_is_known_at_its_close() -> None:
    panel = synthetic_panel(5, 50, ASSETS)
    kept = Series.of_bars(panel, panel.close, panel.valid)
    np.testing.assert_array_equal(kept.on(panel).value, panel.close)
    before = kept.as_of(panel.ts + HOUR_MS - 1, ASSETS)
    np.testing.assert_array_equal(before.value[1:], panel.close[:-1])
    assert not before.valid[0].any()


def test_stored_and_read_back_it_is_the_same(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "features")
    first, second = series(("BTC", 1, 2, 0.1)), series(("ETH", 1, 3, 0.2), ("BTC", 1, 9, 0.3))
    store.append("inflow", first)
    store.append("inflow", second)
    store.append("inflow", first)
    store.append("other", second)
    assert store.names() == ("inflow", "other")
    kept = store.series("inflow")
    assert len(kept.value) == 3, "what is there already is not added again"
    told = store.as_of(5 * HOUR_MS, ASSETS)
    assert told["inflow"].value.tolist() == [[0.1, 0.2]] and told["other"].valid.tolist() == [[False, True]]
    assert store.as_of(9 * HOUR_MS, ASSETS)["inflow"].value.tolist() == [[0.3, 0.2]]
    assert sorted(path.name for path in (tmp_path / "features").glob("*.parquet")) == [
        "inflow.parquet",
        "other.parquet",
    ]


def test_what_is_wrong_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ETH at .*: known before the time it is about"):
        series(("ETH", 5, 4, 1.0))
    with pytest.raises(UserError, match="no finite number"):
        series(("BTC", 5, 6, np.nan))
    with pytest.raises(UserError, match="two values published at one moment"):
        series(("BTC", 5, 6, 1.0), ("BTC", 5, 6, 2.0))
    store = FeatureStore(tmp_path)
    with pytest.raises(UserError, match=r"'inflow' is not in .*; there are none"):
        store.series("inflow")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(UserError, match=r"broken.parquet: not a stored series"):
        store.series("broken")


def test_an_imported_table_tells_when_it_was_published_or_the_delay_is_said(tmp_path: Path) -> None:
    path = tmp_path / "inflow.csv"
    path.write_text(f"timestamp,symbol,inflow\n{START_MS},BTCUSDT,12.5\n{START_MS + DAY},BTCUSDT,-3\n")
    with pytest.raises(UserError, match="no column known_ms or published_ms"):
        Series.read(path)
    delayed = Series.read(path, ASSETS, delay_ms=DAY)
    assert delayed.known_ms.tolist() == [START_MS + DAY, START_MS + 2 * DAY]
    path.write_text(f"timestamp,symbol,value,known_ms\n{START_MS},BTCUSDT,12.5,{START_MS + 7}\n")
    told = Series.read(path, ASSETS)
    assert told.known_ms.tolist() == [START_MS + 7] and told.value.tolist() == [12.5]


def test_a_late_series_reaches_the_bars_when_it_was_published() -> None:
    panel = synthetic_panel(5, 72, ASSETS)
    days = START_MS + DAY * np.arange(3, dtype=np.int64)
    daily = Series.of(ASSETS, np.zeros(3, np.intp), days, days + DAY + 2 * HOUR_MS, np.array([1.0, 2.0, 3.0]))
    joined: Known = daily.on(panel)
    assert joined.value[:, 0].tolist() == [0.0] * 25 + [1.0] * 24 + [2.0] * 23
    assert not joined.valid[:, 1].any()
    cut: Panel = panel.slice(0, 40)
    for ours, theirs in zip(daily.on(cut), joined, strict=True):
        assert ours.tobytes() == theirs[:40].tobytes()
