"""The Panel: T bars of N assets on one gapless time grid, the form in which all history travels.

Time first, C-contiguous float64. A bar is stamped by its open time `ts` and known at its close, `ts + bar_ms`.

Which funding is known when: a rate settled at time s belongs to the bar whose span [open, open + bar_ms)
holds s, and is known at that bar's close. So a settlement stamped exactly at a bar's close is the next bar's:
at that instant live streams deliver the closed candle and the settled rate in either order, and the rule
`s < close` gives the same answer for both orders, and for history.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from core.domain.errors import UserError
from core.domain.market import Bar, Floats

Ints = NDArray[np.int64]
EIGHT_HOURS_MS = 28_800_000
_AT_ONCE = 256
"""Bars made at a time by who goes through many."""
_GRIDS = ("open", "high", "low", "close", "volume", "funding_rate")


@dataclass(frozen=True, eq=False)
class Panel:
    """T bars of N assets. Make one with `Panel.of`, which fills what the caller leaves open.

    `ts` (T,) int64 open times, ms UTC, exactly `bar_ms` apart. `open` .. `close` (T, N) prices: NaN before an
    asset's first candle; where a candle is missing or silent (volume 0) they repeat the last valid close.
    `volume` (T, N) in base units. `funding_rate` (T, N): raw rate settled within the bar (summed, if several
    were), NaN where none. `funding_period_ms` (T, N): the time that rate is for; between settlements the last
    known period. `funding_before` (N,): rate per 8 h known before the first bar (what a slice remembers).
    `notes`: what the import mended, one line each; no part of the content.
    """

    ts: Ints
    assets: tuple[str, ...]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    funding_rate: Floats
    funding_period_ms: Ints
    bar_ms: int
    funding_before: Floats
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        ts: Ints,
        assets: Sequence[str],
        ohlcv: Sequence[Floats],
        bar_ms: int,
        funding_rate: Floats | None = None,
        funding_period_ms: Ints | None = None,
        funding_before: Floats | None = None,
        notes: tuple[str, ...] = (),
    ) -> "Panel":
        """A Panel of five (T, N) grids (open, high, low, close, volume); silent bars are made to repeat.

        Without `funding_rate` no rate is known; without `funding_period_ms` periods are 8 hours."""
        shape = (len(ts), len(assets))
        opens, high, low, close, volume = (np.array(grid, np.float64, order="C") for grid in ohlcv)
        live = (volume > 0) & np.isfinite(close)
        last = last_where(live)
        known = np.where(last >= 0, np.take_along_axis(close, np.maximum(last, 0), 0), np.nan)
        for prices in (opens, high, low, close):
            np.copyto(prices, known, where=~live)
        volume[~live] = 0.0
        rate = np.full(shape, np.nan) if funding_rate is None else np.array(funding_rate, np.float64, order="C")
        period = np.full(shape, EIGHT_HOURS_MS, np.int64) if funding_period_ms is None else funding_period_ms
        before = np.zeros(len(assets)) if funding_before is None else np.array(funding_before, np.float64)
        grids = (opens, high, low, close, volume, rate, np.ascontiguousarray(period, np.int64))
        panel = cls(np.ascontiguousarray(ts, np.int64), tuple(assets), *grids, bar_ms, before, notes)
        panel._check()
        return panel

    def _check(self) -> None:
        shape = (len(self.ts), len(self.assets))
        for name in (*_GRIDS, "funding_period_ms"):
            grid = getattr(self, name)
            assert grid.shape == shape and grid.flags.c_contiguous, (name, grid.shape, shape)
        assert self.bar_ms > 0 and bool((np.diff(self.ts) == self.bar_ms).all()), "bars must be bar_ms apart"

    def __len__(self) -> int:
        return len(self.ts)

    @cached_property
    def valid(self) -> NDArray[np.bool_]:
        """(T, N): the asset traded in this bar."""
        return self.volume > 0

    @cached_property
    def funding(self) -> Floats:
        """(T, N): last rate settled before the bar's close, per 8 hours; 0 where none is known yet."""
        last = last_where(np.isfinite(self.funding_rate))
        scaled = self.funding_rate * EIGHT_HOURS_MS / self.funding_period_ms
        return np.where(last >= 0, np.take_along_axis(scaled, np.maximum(last, 0), 0), self.funding_before)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of everything but the notes: two panels with the same content have the same."""
        digest = hashlib.sha256(f"{self.bar_ms}:{','.join(self.assets)}".encode())
        for name in ("ts", *_GRIDS, "funding_period_ms", "funding_before"):
            digest.update(getattr(self, name).tobytes())
        return digest.hexdigest()

    def slice(self, start: int, stop: int) -> "Panel":
        """Bars start .. stop-1 as a Panel of its own; funding settled earlier stays known."""
        start, stop, _ = slice(start, stop).indices(len(self))
        grids = {name: getattr(self, name)[start:stop] for name in ("ts", *_GRIDS, "funding_period_ms")}
        before = self.funding[start - 1] if start > 0 else self.funding_before
        return replace(self, **grids, funding_before=before)

    def only(self, assets: Sequence[str]) -> "Panel":
        """These assets alone, in this order; ValueError for one that is not there."""
        places = [self.assets.index(asset) for asset in assets]
        names = (*_GRIDS, "funding_period_ms")
        grids: dict[str, Any] = {name: np.ascontiguousarray(getattr(self, name)[:, places]) for name in names}
        return replace(self, assets=tuple(assets), **grids, funding_before=self.funding_before[places])

    def bar(self, t: int) -> Bar:
        """Bar t as the live feed would deliver it at its close."""
        return next(self.bars(t, t + 1))

    def bars(self, first: int, end: int) -> Iterator[Bar]:
        """Bars first .. end-1, each as `bar` gives it: their arrays are made for many at once."""
        grids = self.open, self.high, self.low, self.close, self.volume
        for at in range(first, end, _AT_ONCE):
            rows = slice(at, min(at + _AT_ONCE, end))
            ohlcv = np.stack([grid[rows] for grid in grids], axis=2)
            for opened, row, funding, valid in zip(
                self.ts[rows].tolist(), ohlcv, self.funding[rows], self.valid[rows], strict=True
            ):
                yield Bar(opened, opened + self.bar_ms, row, funding, valid)

    def save(self, path: Path) -> None:
        """Write an uncompressed .npz without pickles."""
        arrays: dict[str, Any] = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
        np.savez(path, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Panel":
        """Read what `save` wrote; a broken or foreign file is a UserError."""
        try:
            with np.load(path, allow_pickle=False) as file:
                got = {f.name: file[f.name] for f in fields(cls)}
        except (OSError, ValueError, KeyError, BadZipFile, EOFError) as error:
            raise UserError(f"{path}: not a saved panel ({error}); import the candles again") from error
        texts = {name: tuple(str(text) for text in got.pop(name)) for name in ("assets", "notes")}
        panel = cls(**got | texts | {"bar_ms": int(got["bar_ms"])})
        panel._check()
        return panel


def last_where(mask: NDArray[np.bool_]) -> Ints:
    """(T, N) index of the last True at or before each row, -1 where there is none yet."""
    rows = np.arange(len(mask), dtype=np.int64)[:, None]
    return np.maximum.accumulate(np.where(mask, rows, -1), axis=0)
