"""The pair features of the specification in plain pandas: what our loop is held against, and timed against.

Written as in a notebook: a frame of candles an asset, two of them joined on time, a column at a time.
"""

import pandas as pd

from core.data.panel import Panel


def candles(panel: Panel) -> list[pd.DataFrame]:
    """A frame of candles and funding for each asset, by the bars' open times."""
    index = pd.to_datetime(panel.ts, unit="ms", utc=True)
    grids = {name: getattr(panel, name) for name in ("high", "low", "close", "volume", "funding")}
    return [
        pd.DataFrame({name: grid[:, i] for name, grid in grids.items()}, index) for i in range(len(panel.assets))
    ]


def plain(frames: list[pd.DataFrame], i: int, j: int) -> pd.DataFrame:
    """One pair's features (T rows, a column each, in our order), base leg `i`, quote leg `j`; NaN where a window is
    not full.

    Wilder's averages start as pandas starts them, so `spread_rsi` agrees only after some hundred bars."""
    both = frames[i].add_suffix("_a").join(frames[j].add_suffix("_b"), how="inner")
    close_a, close_b = both["close_a"], both["close_b"]
    spread = close_a / close_b
    change = spread.diff()
    up = change.clip(lower=0).ewm(alpha=1 / 14, adjust=False).mean()
    down = (-change.clip(upper=0)).ewm(alpha=1 / 14, adjust=False).mean()
    vol_a, vol_b = close_a.pct_change().rolling(24).std(), close_b.pct_change().rolling(24).std()
    atr_a, atr_b = _atr(both, "a"), _atr(both, "b")
    out = pd.DataFrame(index=both.index)
    out["spread"] = spread
    out["z_score"] = (spread - spread.rolling(24).mean()) / spread.rolling(24).std()
    out["spread_rsi"] = 100 - 100 / (1 + up / down)
    out["spread_roc"] = 100 * spread.pct_change(5)
    out["spread_change_1"] = spread.pct_change()
    out["vol_ratio"] = both["volume_a"] * close_a / (both["volume_b"] * close_b)
    out["vol_ratio_rel"] = out["vol_ratio"] / out["vol_ratio"].rolling(12).mean()
    out["vol_diff_ratio"] = vol_a / vol_b
    out["realized_vol_base"] = vol_a
    out["realized_vol_quote"] = vol_b
    out["realized_vol_avg"] = (vol_a + vol_b) / 2
    out["atr_base"] = atr_a
    out["atr_quote"] = atr_b
    out["atr_pct_base"] = atr_a / close_a
    out["atr_pct_quote"] = atr_b / close_b
    out["atr_pct_avg"] = (out["atr_pct_base"] + out["atr_pct_quote"]) / 2
    out["base_idx"] = float(i)
    out["quote_idx"] = float(j)
    out["base_funding"] = both["funding_a"]
    out["quote_funding"] = both["funding_b"]
    out["funding_diff"] = both["funding_a"] - both["funding_b"]
    out["funding_avg"] = (both["funding_a"] + both["funding_b"]) / 2
    return out


def _atr(both: pd.DataFrame, leg: str) -> pd.Series:
    high, low, before = both[f"high_{leg}"], both[f"low_{leg}"], both[f"close_{leg}"].shift()
    ranges = pd.concat([high - low, (high - before).abs(), (low - before).abs()], axis=1)
    return ranges.max(axis=1).rolling(14).mean()
