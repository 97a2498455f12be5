"""What was known when: series whose values have the time they are about, and the time they were published.

A value is known at t if `known_ms` <= t. A bar that opened at ts is known at its close, ts + bar_ms. Funding
settled at s enters with known_ms = s + 1: at the close of a bar, what was settled strictly before it is known, the
rule of `core.data.panel`. A series published late carries its time of publication, and a correction is a second
row of the same event: before it came out, `as_of` still answers with what was believed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from core.clock import iso
from core.data.panel import EIGHT_HOURS_MS, Ints, Panel
from core.data.store import store_of
from core.data.tables import read_rows, read_table
from core.domain.errors import UserError
from core.domain.market import Floats
from core.features.pair_loop import Flags

VALUES = ("value", "inflow")
KNOWN = ("known_ms", "published_ms")


class Known(NamedTuple):
    """What was known at T moments of N assets: `value` (T, N), 0 where nothing was; `event_ms` (T, N), the time the
    value is about, -1 where there is none; `valid` (T, N), a value that is not older than asked for."""

    value: Floats
    event_ms: Ints
    valid: Flags


@dataclass(frozen=True, eq=False)
class Series:
    """R values of one quantity, in the order in which they became known. Make one with `Series.of`.

    `asset` (R,) numbers into `assets`; `event_ms`, `known_ms` (R,) int64 ms UTC; `value` (R,) finite float64."""

    assets: tuple[str, ...]
    asset: NDArray[np.intp]
    event_ms: Ints
    known_ms: Ints
    value: Floats

    @classmethod
    def of(
        cls, assets: Sequence[str], asset: NDArray[np.intp], event_ms: Ints, known_ms: Ints, value: Floats
    ) -> "Series":
        """Sorted, each row once. UserError for a value that is not finite, known before its event, or told in two
        ways at one moment."""
        names = tuple(assets)
        order = np.lexsort((value, event_ms, asset, known_ms))
        asset, event_ms, known_ms, value = asset[order], event_ms[order], known_ms[order], value[order]

        def refuse(wrong: Flags, what: str) -> None:
            if wrong.any():
                row = int(np.argmax(wrong))
                raise UserError(f"{names[asset[row]]} at {iso(int(event_ms[row]))}: {what}; mend the series")

        refuse(~np.isfinite(value), "the value is no finite number")
        refuse(known_ms < event_ms, "known before the time it is about")
        same = np.zeros(len(value), np.bool_)
        keys = (asset, event_ms, known_ms)
        same[1:] = np.logical_and.reduce([key[1:] == key[:-1] for key in keys])
        refuse(same & (value != np.roll(value, 1)), "two values published at one moment")
        return cls(names, asset[~same], event_ms[~same], known_ms[~same], value[~same])

    @classmethod
    def of_bars(cls, panel: Panel, values: Floats, valid: Flags | None = None) -> "Series":
        """A grid (T, N) over the bars of `panel`, known at their closes: what is valid, or else what is finite."""
        t, i = np.nonzero(np.isfinite(values) if valid is None else valid)
        opened = panel.ts[t]
        return cls.of(panel.assets, i, opened, opened + panel.bar_ms, values[t, i])

    @classmethod
    def of_funding(
        cls, assets: Sequence[str], asset: NDArray[np.intp], settled_ms: Ints, rate: Floats, period_ms: Ints
    ) -> "Series":
        """Settled rates, each for its period, as rates per 8 hours; known from the millisecond after."""
        return cls.of(assets, asset, settled_ms, settled_ms + 1, rate * EIGHT_HOURS_MS / period_ms)

    @classmethod
    def read(cls, path: Path, assets: Sequence[str] | None = None, delay_ms: int | None = None) -> "Series":
        """A long table of any origin: time, symbol, `value`, and `known_ms` where it tells when it was published;
        otherwise each value is known `delay_ms` after its event. UserError if neither is given."""
        rows = read_rows(path, read_table(path), {"value": VALUES}, {"known": KNOWN}, assets)
        known = rows.columns.get("known")
        if known is None and delay_ms is None:
            raise UserError(f"{path}: no column {' or '.join(KNOWN)}: add it, or say after what delay it was known")
        published = rows.ts + (delay_ms or 0) if known is None else known.astype(np.int64)
        return cls.of(rows.assets, rows.asset, rows.ts, published, rows.columns["value"])

    def merged(self, other: "Series") -> "Series":
        """Both, by the names of their assets."""
        names = tuple(dict.fromkeys((*self.assets, *other.assets)))
        number = np.array([names.index(name) for name in other.assets], np.intp)
        return Series.of(
            names,
            np.concatenate((self.asset, number[other.asset])),
            np.concatenate((self.event_ms, other.event_ms)),
            np.concatenate((self.known_ms, other.known_ms)),
            np.concatenate((self.value, other.value)),
        )

    def as_of(self, moments_ms: Ints, assets: Sequence[str], max_age_ms: int | None = None) -> Known:
        """The newest event of each of `assets` (N) that was known at each of `moments_ms` (T), as then believed.

        With `max_age_ms` an event older than that is not valid: a series that has stopped says nothing."""
        shape = (len(moments_ms), len(assets))
        out = Known(np.zeros(shape), np.full(shape, -1, np.int64), np.zeros(shape, np.bool_))
        for i, name in enumerate(assets):
            if name not in self.assets:
                continue
            rows = np.flatnonzero(self.asset == self.assets.index(name))
            event = self.event_ms[rows]
            # What is about an earlier time than what is known already changes nothing; a correction of it does.
            rows = rows[event == np.maximum.accumulate(event)]
            found = np.searchsorted(self.known_ms[rows], moments_ms, side="right") - 1
            there = np.flatnonzero(found >= 0)
            last = rows[found[there]]
            out.event_ms[there, i] = self.event_ms[last]
            age = moments_ms[there] - self.event_ms[last]
            out.valid[there, i] = True if max_age_ms is None else age <= max_age_ms
            out.value[there, i] = np.where(out.valid[there, i], self.value[last], 0.0)
        return out

    def on(self, panel: Panel, max_age_ms: int | None = None) -> Known:
        """(T, N): what was known at the close of each bar of `panel`."""
        return self.as_of(panel.ts + panel.bar_ms, panel.assets, max_age_ms)


class FeatureStore:
    """Named series in Parquet files (asset, event_ms, known_ms, value), in a folder or at an fsspec URL.

    Rows are added, never changed: what was known at a moment stays answerable. A write is whole or not at all."""

    def __init__(self, root: str | Path) -> None:
        self._store = store_of(root)

    def names(self) -> tuple[str, ...]:
        """The series there are."""
        return tuple(path.removesuffix(".parquet") for path in self._store.files() if path.endswith(".parquet"))

    def append(self, name: str, series: Series) -> None:
        """Add rows; those that are there already change nothing."""
        with self._store.alone(name):
            whole = self.series(name).merged(series) if name in self.names() else series
            names = pa.DictionaryArray.from_arrays(whole.asset.astype(np.int32), list(whole.assets))
            columns = {
                "asset": names,
                "event_ms": whole.event_ms,
                "known_ms": whole.known_ms,
                "value": whole.value,
            }
            sink = pa.BufferOutputStream()
            pyarrow.parquet.write_table(pa.table(columns), sink, compression="zstd")
            self._store.put(f"{name}.parquet", sink.getvalue().to_pybytes())

    def series(self, name: str) -> Series:
        """All rows of a series. UserError if there is none of that name, or its file is broken."""
        try:
            table = pyarrow.parquet.read_table(pa.BufferReader(self._store.read(f"{name}.parquet")))
            names = table["asset"].combine_chunks().dictionary_encode()
            event, known = (np.asarray(table[name].to_numpy(), np.int64) for name in ("event_ms", "known_ms"))
            value = np.asarray(table["value"].to_numpy(), np.float64)
        except FileNotFoundError:
            there = ", ".join(self.names()) or "none"
            raise UserError(f"series {name!r} is not in {self._store.root}; there are {there}") from None
        except (pa.ArrowException, OSError, KeyError) as error:
            place = self._store.place(f"{name}.parquet")
            raise UserError(f"{place}: not a stored series ({error}); append it again") from error
        asset = names.indices.to_numpy().astype(np.intp)
        return Series.of(names.dictionary.to_pylist(), asset, event, known, value)

    def as_of(self, moment_ms: int, assets: Sequence[str]) -> dict[str, Known]:
        """Every series as it was known at one moment: T = 1."""
        moment = np.array([moment_ms], np.int64)
        return {name: self.series(name).as_of(moment, assets) for name in self.names()}
