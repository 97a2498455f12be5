"""The market of a recorded demo, and the signals of the specification, written down once more, plainly.

Nothing of `core` is imported here. What a definition says is computed for all bars with numpy and pandas, pair by
pair. Arrays are time first: T bars, N assets, P pairs, F features.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float64]
HOUR = 3_600_000
DAY = 24 * HOUR


@dataclass
class Candles:
    """Raw candles: `ts` (T,) open times in ms UTC, prices and base volume (T, N), `rate` (T, N) the funding rate
    that settled at the bar's open, NaN where none did, for a period of eight hours."""

    ts: NDArray[np.int64]
    assets: tuple[str, ...]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    rate: Floats

    def rows(self, start: int, stop: int) -> "Candles":
        grids = (self.open, self.high, self.low, self.close, self.volume, self.rate)
        return Candles(self.ts[start:stop], self.assets, *(grid[start:stop] for grid in grids))


@dataclass
class Signals:
    """What a decision at the close of bar t may rest on, row t. `funding` (T, N) is the last rate that settled
    before the close, `correlation` (T, N, N) the matrix in force, `probability` (T, P) the model's word (1 where
    there is none)."""

    pairs: list[tuple[int, int]]
    features: Floats
    z: Floats
    usable: NDArray[np.bool_]
    atr_pct: Floats
    funding: Floats
    correlation: Floats
    probability: Floats


def from_npz(path: Path) -> Candles:
    """The arrays that the demo's market was made of."""
    with np.load(path, allow_pickle=False) as file:
        assert bool((file["funding_period_ms"] == 8 * HOUR).all()), "other periods are not computed here"
        names = ("open", "high", "low", "close", "volume", "funding_rate")
        return Candles(file["ts"], tuple(map(str, file["assets"])), *(file[name] for name in names))


def from_parquet(candles: Path, funding: Path, assets: tuple[str, ...]) -> Candles:
    """Long tables of hourly candles and eight-hourly rates, one column an asset; symbols as BTCUSDT."""
    table, rates = pd.read_parquet(candles), pd.read_parquet(funding)
    symbols = [f"{asset}USDT" for asset in assets]
    grids = ("open", "high", "low", "close", "volume")
    wide = [table.pivot(index="timestamp", columns="symbol", values=name)[symbols] for name in grids]
    index = wide[0].index
    rates = rates.assign(timestamp=rates["timestamp"].dt.floor("h"))
    rate = rates.pivot(index="timestamp", columns="symbol", values="funding_rate")[symbols].reindex(index)
    ts = index.tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64)
    return Candles(ts, assets, *(grid.to_numpy(np.float64) for grid in (*wide, rate)))


def signals(c: Candles, params: dict[str, Any], model: "Model | None") -> Signals:
    """All signals of all bars, by the table of the specification."""
    count = len(c.assets)
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    valid = c.volume > 0
    close = pd.DataFrame(c.close).where(valid).ffill().to_numpy()
    before = np.vstack([np.full(count, np.nan), close[:-1]])
    returns = close / before - 1
    moves = [c.high - c.low, np.abs(c.high - before), np.abs(c.low - before)]
    true_range = np.where(np.isnan(before), np.nan, np.max(moves, axis=0))
    atr = windows(true_range, params["atr_period"]).mean(-1)
    vol = windows(returns, 24).std(-1, ddof=1)
    funding = pd.DataFrame(c.rate).ffill().fillna(0.0).to_numpy()
    turnover = np.where(valid, c.volume * close, np.nan)
    columns = []
    for i, j in pairs:
        columns.append(pair_features(c, (i, j), close, turnover, vol, atr, funding, params["z_window"]))
    features = np.stack(columns, axis=1)
    both = np.stack([valid[:, i] & valid[:, j] for i, j in pairs], axis=1)
    aligned = pd.DataFrame(both.astype(float)).rolling(400, min_periods=1).sum().to_numpy()
    usable = np.isfinite(features).all(-1) & both & (aligned >= params["min_bars"])
    features = np.where(np.isfinite(features), features, 0.0)
    correlation = correlations(c.ts, returns, params["correlation_window"])
    one = np.ones(usable.shape)
    probability = one if model is None else model.score(features.reshape(-1, features.shape[-1])).reshape(one.shape)
    atr_pct = np.where(np.isfinite(atr / close), atr / close, 0.0)
    return Signals(pairs, features, features[..., 1], usable, atr_pct, funding, correlation, probability)


def pair_features(
    c: Candles,
    pair: tuple[int, int],
    close: Floats,
    turnover: Floats,
    vol: Floats,
    atr: Floats,
    funding: Floats,
    window: int,
) -> Floats:
    """(T, F) features of one pair, in the order of the specification's table."""
    i, j = pair
    spread = close[:, i] / close[:, j]
    recent = windows(spread[:, None], window)[:, 0]
    z = (spread - recent.mean(-1)) / recent.std(-1, ddof=1)
    ratio = pd.Series(turnover[:, i] / turnover[:, j]).ffill().to_numpy()
    quiet = ratio / windows(ratio[:, None], 12)[:, 0].mean(-1)
    pct = atr / close
    columns = [
        spread, z, rsi(spread), 100 * (spread / back(spread, 5) - 1), spread / back(spread, 1) - 1,
        ratio, quiet, vol[:, i] / vol[:, j], vol[:, i], vol[:, j], (vol[:, i] + vol[:, j]) / 2,
        atr[:, i], atr[:, j], pct[:, i], pct[:, j], (pct[:, i] + pct[:, j]) / 2,
        np.full(len(c.ts), float(i)), np.full(len(c.ts), float(j)),
        funding[:, i], funding[:, j], funding[:, i] - funding[:, j], (funding[:, i] + funding[:, j]) / 2,
    ]  # fmt: skip
    return np.stack(columns, axis=1)


def windows(values: Floats, length: int) -> Floats:
    """(T, K) to (T, K, length): the last `length` values at each bar, NaN where there are fewer."""
    padded = np.vstack([np.full((length - 1, values.shape[1]), np.nan), values])
    return sliding_window_view(padded, length, axis=0)


def back(values: Floats, bars: int) -> Floats:
    """The value so many bars ago."""
    return np.concatenate([np.full(bars, np.nan), values[:-bars]])


def rsi(values: Floats, period: int = 14) -> Floats:
    """Wilder (1978): averages start as the mean of the first changes, then forget one in fourteen a bar."""
    change = np.diff(values)
    up, down = np.maximum(change, 0.0), np.maximum(-change, 0.0)
    gain, loss = float(up[:period].mean()), float(down[:period].mean())
    out = np.full(len(values), np.nan)
    for t in range(period, len(values)):
        if t > period:
            gain = (gain * (period - 1) + up[t - 1]) / period
            loss = (loss * (period - 1) + down[t - 1]) / period
        out[t] = 100 * gain / (gain + loss)
    return out


def correlations(ts: NDArray[np.int64], returns: Floats, window: int) -> Floats:
    """(T, N, N): computed anew at the bars that open at midnight UTC, in force until the next midnight's."""
    now = np.eye(returns.shape[1])
    out = np.empty((len(ts), *now.shape))
    for t in range(len(ts)):
        if ts[t] % DAY == 0 and t >= window:
            now = np.asarray(np.corrcoef(returns[t - window + 1 : t + 1].T))
        out[t] = now
    return out


class Model:
    """The forest of a bundle: its arrays, read byte by byte as the safetensors format says (eight bytes of length,
    a JSON header, then the arrays)."""

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
        kinds = {"F32": np.float32, "F64": np.float64, "I32": np.int32}
        self.arrays = {
            name: np.frombuffer(body[slice(*said["data_offsets"])], kinds[said["dtype"]]).reshape(said["shape"])
            for name, said in header.items()
            if name != "__metadata__"
        }

    def score(self, rows: Floats) -> Floats:
        """(R,) probabilities of (R, F) rows: the mean of the trees' leaves, calibrated on the scale of logits."""
        cast, every = rows.astype(np.float32), np.arange(len(rows))
        total = np.zeros(len(rows))
        trees = zip(self.arrays["feature"], self.arrays["threshold"], self.arrays["leaf"], strict=True)
        for feature, threshold, leaf in trees:
            at = np.zeros(len(rows), np.intp)  # five questions down; the children of i are 2i + 1 and 2i + 2
            for _ in range(5):
                at = 2 * at + 1 + (cast[every, feature[at]] > threshold[at])
            total = total + leaf[at - 31]
        share = np.clip(total / len(self.arrays["feature"]), 1e-6, 1 - 1e-6)
        slope, intercept = self.arrays["platt"]
        calibrated: Floats = 1 / (1 + np.exp(-(slope * np.log(share / (1 - share)) + intercept)))
        return calibrated
