"""The synthetic market: the same for a seed, consistent as candles, and neither dead nor a money machine."""

import numpy as np

from core.data.synthetic import ASSETS, synthetic_panel


def test_the_same_seed_gives_the_same_market_and_another_seed_another() -> None:
    assert synthetic_panel(7, 500).content_hash == synthetic_panel(7, 500).content_hash
    assert synthetic_panel(7, 500).content_hash != synthetic_panel(8, 500).content_hash


def test_a_longer_market_begins_like_a_shorter_one() -> None:
    assert synthetic_panel(7, 900).slice(0, 400).content_hash == synthetic_panel(7, 400).content_hash


def test_candles_are_consistent() -> None:
    panel = synthetic_panel(7, 2000)
    assert panel.assets == ASSETS and panel.valid.all()
    assert (panel.low <= np.minimum(panel.open, panel.close)).all()
    assert (panel.high >= np.maximum(panel.open, panel.close)).all()
    assert (panel.low > 0).all()
    gap = np.abs(panel.open[1:] / panel.close[:-1] - 1)
    assert np.median(gap) < 1e-4 and gap.max() < 3e-3


def test_it_looks_like_a_crypto_market() -> None:
    panel = synthetic_panel(7, 4000)
    returns = np.diff(np.log(panel.close), axis=0)
    assert (returns.std(0) > 0.003).all() and (returns.std(0) < 0.02).all()
    kurtosis = ((returns - returns.mean(0)) ** 4).mean(0) / returns.var(0) ** 2
    assert (kurtosis > 4).all(), "tails are fat"
    size = np.abs(returns).mean(1)
    assert np.corrcoef(size[:-1], size[1:])[0, 1] > 0.1, "volatility clusters"
    assert np.corrcoef(size, np.log(panel.volume[1:]).mean(1))[0, 1] > 0.2, "volume follows volatility"
    correlation = np.corrcoef(returns.T)[np.triu_indices(10, 1)]
    assert 0.3 < correlation.mean() < 0.9
    rates = panel.funding_rate[::8]
    assert np.isfinite(rates).all() and np.isnan(panel.funding_rate[1::8]).all()
    assert 0 < np.median(rates) < 3e-4 and np.abs(rates).max() > 1e-4


def test_other_bars_and_unknown_assets() -> None:
    daily = synthetic_panel(3, 50, ("BTC", "RB", "HC"), bar_ms=86_400_000)
    assert np.isfinite(daily.close).all() and np.isfinite(daily.funding_rate).all()
    assert len(synthetic_panel(3, 60, ("A", "B"), bar_ms=900_000)) == 60
