"""The Panel: what is known when, what a slice remembers, and a file without pickles."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.data.panel import EIGHT_HOURS_MS, Panel
from core.domain.errors import UserError

HOUR = 3_600_000


def small(bars: int = 48) -> Panel:
    rng = np.random.default_rng(1)
    close = 100 * np.exp(rng.normal(0, 0.01, (bars, 2)).cumsum(0))
    opens = np.vstack([close[:1], close[:-1]])
    high, low = np.maximum(opens, close) * 1.001, np.minimum(opens, close) * 0.999
    rate = np.full((bars, 2), np.nan)
    rate[8::8, 0] = np.arange(1, len(rate[8::8]) + 1) * 1e-4
    rate[4::4, 1] = 2e-4
    period = np.tile(np.array([EIGHT_HOURS_MS, EIGHT_HOURS_MS // 2]), (bars, 1))
    grids = (opens, high, low, close, np.full((bars, 2), 5.0))
    return Panel.of(np.arange(bars) * HOUR, ("BTC", "ETH"), grids, HOUR, rate, period)


def test_funding_settled_at_the_close_belongs_to_the_next_bar() -> None:
    panel = small()
    assert panel.funding[7, 0] == 0.0  # bar 7 closes at the very instant of the settlement at 08:00
    assert panel.funding[8, 0] == 1e-4
    assert panel.funding[15, 0] == 1e-4
    assert panel.funding[16, 0] == 2e-4


def test_funding_is_scaled_to_eight_hours_and_zero_where_unknown() -> None:
    panel = small()
    assert panel.funding[3, 1] == 0.0
    assert panel.funding[4, 1] == pytest.approx(4e-4)


def test_a_slice_equals_the_whole_bar_for_bar() -> None:
    panel = small()
    part = panel.slice(13, 30)
    np.testing.assert_array_equal(part.funding, panel.funding[13:30])
    np.testing.assert_array_equal(part.slice(3, 9).funding, panel.funding[16:22])
    assert len(part) == 17
    ours, theirs = part.bar(2), panel.bar(15)
    assert (ours.open_ms, ours.close_ms) == (15 * HOUR, 16 * HOUR) == (theirs.open_ms, theirs.close_ms)
    np.testing.assert_array_equal(ours.ohlcv, theirs.ohlcv)
    np.testing.assert_array_equal(ours.funding, theirs.funding)


def test_a_silent_bar_repeats_the_last_valid_close_and_is_flagged() -> None:
    panel = small()
    volume = panel.volume.copy()
    volume[:3, 1] = volume[10:12, 1] = 0
    grids = (panel.open, panel.high, panel.low, panel.close, volume)
    silent = Panel.of(panel.ts, panel.assets, grids, HOUR)
    assert not silent.valid[[0, 1, 2, 10, 11], 1].any() and silent.valid[:, 0].all()
    assert np.isnan(silent.close[:3, 1]).all(), "before the first candle there is no price"
    for prices in (silent.open, silent.high, silent.low, silent.close):
        assert (prices[10:12, 1] == panel.close[9, 1]).all()


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    panel = replace(small().slice(5, 40), notes=("one gap",))
    panel.save(tmp_path / "p.npz")
    again = Panel.load(tmp_path / "p.npz")
    assert again.content_hash == panel.content_hash
    assert again.notes == ("one gap",) and again.assets == panel.assets


def test_the_content_hash_moves_with_any_number() -> None:
    panel = small()
    close = panel.close.copy()
    close[7, 1] += 1e-9
    assert replace(panel, close=close).content_hash != panel.content_hash
    assert replace(panel, assets=("BTC", "SOL")).content_hash != panel.content_hash


def test_a_pickle_or_a_foreign_file_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", ts=np.array([object()], dtype=object))
    (tmp_path / "text.npz").write_text("hello")
    for name in ("evil.npz", "text.npz", "missing.npz"):
        with pytest.raises(UserError, match="not a saved panel"):
            Panel.load(tmp_path / name)
