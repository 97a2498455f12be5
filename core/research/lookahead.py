"""Does anything know the future? Cut it off, and change it: no past value may move by one bit.

What moves is then asked what it reads: one bar and one input at a time is touched, and the rows before it that
move say how far ahead is looked. `core.research.locate` names the line.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.clock import iso
from core.data.panel import Panel
from core.domain.audit import Check, Finding
from core.features.catalog import Arrays, Feature
from core.research.histories import GRIDS, Excerpt, changed_after, earlier, touched
from core.research.locate import Place, leak_place, named_place

SHORT = 640
"""Bars of the excerpt in which the cause is looked for."""
CUT_OFF = "cut off"
Code = tuple[Feature, Path]
"""A feature, and the folder of the code that makes it."""


class Reach(NamedTuple):
    """What a value of bar t reads of later bars: `ahead` the distances seen, by input; `behind` the farthest bar
    back; `all_of_it`: it reads to the end of the sample, or back from it to the beginning."""

    ahead: dict[str, tuple[int, ...]]
    behind: int
    all_of_it: bool


def lookahead(features: Sequence[Code], excerpts: Sequence[Excerpt], seed: int) -> Check:
    """Every column of every feature, with the future after each cut taken away and changed, and all at another
    date."""
    findings: dict[str, Finding] = {}
    columns: set[tuple[str, str]] = set()
    for feature, code in features:
        for panel, cuts in excerpts:
            whole = feature.history(panel)
            columns |= {(feature.name, name) for name in whole}
            for name, row in moved(whole, feature.history(earlier(panel)), len(panel)):
                findings.setdefault(name, _dated(name, panel, row, code))
            for t in cuts:
                futures = (("changed", changed_after(panel, t, seed)), (CUT_OFF, panel.slice(0, t + 1)))
                for how, other in futures:
                    for name, row in moved(whole, feature.history(other), t):
                        if name not in findings:
                            findings[name] = explain(feature, code, name, panel, row, t, how, seed)
    bars = ", ".join(iso(int(panel.ts[t])) for panel, cuts in excerpts for t in cuts)
    names = ", ".join(feature.name for feature, _ in features)
    text = f"{len(columns)} columns of {names}; the future cut off and changed after {bars}"
    return Check("look-ahead", text, tuple(findings.values()))


def moved(one: Arrays, other: Arrays, t: int) -> Iterator[tuple[str, int]]:
    """Columns whose rows up to and including `t` are not the same bits, each with the first such row."""
    for name, values in one.items():
        off = different(values[: t + 1], other[name][: t + 1])
        if off.any():
            yield name, int(np.argmax(off))


def explain(
    feature: Feature, code: Path, name: str, panel: Panel, row: int, t: int, how: str, seed: int
) -> Finding:
    """Why column `name` moved at `row` when the future after `t` was `how`, and how that is mended."""
    start = max(0, min(row - SHORT // 2, len(panel) - SHORT))
    near = panel.slice(start, start + SHORT)
    reach = _reach(feature.history, name, near)
    cut = t - start if t - start < len(near) - 1 else 3 * len(near) // 4
    other = near.slice(0, cut + 1) if how == CUT_OFF else changed_after(near, cut, seed)
    place = leak_place(feature.history, name, near, other, cut, code)
    fault, mend = describe(reach, how, place)
    return Finding(name, iso(int(panel.ts[row])), place.where, fault, mend)


def _dated(name: str, panel: Panel, row: int, code: Path) -> Finding:
    fault = "is another one for the same bars at another date: it looks something up by its date"
    mend = "bring it in as a series with the time each value was published, and read it as of the bar's close"
    return Finding(name, iso(int(panel.ts[row])), named_place(name, code).where, fault, mend)


def describe(reach: Reach, how: str, place: Place) -> tuple[str, str]:
    """(fault, way out) of what was measured, in the words of the code's own pattern where one was recognised."""
    inputs = " and ".join(reach.ahead)
    far = sorted({k for each in reach.ahead.values() for k in each})
    if not far and not reach.all_of_it:
        fault = f"its past depends on later bars, or on how many there are (it moved when the future was {how})"
        mend = "compute row t from rows up to t alone: no length, end or total of the sample may enter it"
    elif reach.all_of_it:
        fault = f"is computed over the whole sample: each value reads {inputs or 'the bars'} to the end of the data"
        mend = "use a rolling or an expanding window that ends at bar t"
    elif set(reach.ahead) == {"funding_rate"}:
        fault = f"knows funding {far[-1]} bar(s) too early: it reads the rate settled in bar t+{far[-1]}"
        mend = (
            "a rate is known at the close of the bar it settles in: use Panel.funding of bar t, not of a later one"
        )
    elif far == [1]:
        fault = f"uses {inputs}[t+1], of the bar that is still forming when bar t has closed"
        mend = "use closed bars alone: shift it by one bar, so that row t reads bar t and earlier"
    elif len(far) == 1:
        fault = f"uses {inputs}[t+{far[0]}], {far[0]} bars ahead"
        mend = f"shift it by {far[0]} bars: a value may be used only once the bars it reads have closed"
    elif reach.behind and abs(reach.behind - far[-1]) <= 1:
        fault = f"uses {inputs} from t-{reach.behind} to t+{far[-1]}: a window centred on t"
        mend = f"let the window end at t: the last {reach.behind + far[-1] + 1} bars, not those around it"
    else:
        fault = f"uses {inputs} up to t+{far[-1]}: a window into the future (a label is no feature)"
        mend = (
            f"let the window end at t, or, if it is a label, keep it out of the features and purge {far[-1]} bars"
        )
    return fault, f"{place.advice}; {mend}" if place.advice else mend


def _reach(compute: Callable[[Panel], Arrays], name: str, panel: Panel) -> Reach:
    """Touch single bars late in `panel`, one input at a time, and see which rows move."""
    whole = compute(panel)[name]
    ahead: dict[str, set[int]] = {}
    behind, to_the_start = 0, False
    bars = len(panel)
    for u in {int(bars * share) for share in (0.62, 0.77, 0.92)}:
        for grid in GRIDS:
            other = compute(touched(panel, grid, u))[name]
            early = np.flatnonzero(different(whole[:u], other[:u]))
            late = u + 1 + np.flatnonzero(apart(whole[u + 1 :], other[u + 1 :]))
            if len(early):
                ahead.setdefault(grid, set()).update((u - early).tolist())
                to_the_start = to_the_start or int(u - early[0]) > u // 2
            if len(late):
                behind = max(behind, int(late[-1]) - u)
    return Reach({grid: tuple(sorted(found)) for grid, found in ahead.items()}, behind, to_the_start)


def different(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """(T,) rows that are not the same bits; one NaN is as good as another."""
    if one.shape != other.shape:
        return np.ones(len(one), np.bool_)
    unlike = one != other
    if one.dtype.kind == "f":
        unlike = (unlike & ~(np.isnan(one) & np.isnan(other))) | (np.signbit(one) != np.signbit(other)) & (one == 0)
    return np.asarray(unlike.reshape(len(one), -1).any(axis=1), np.bool_)


def apart(one: NDArray[Any], other: NDArray[Any], tolerance: float = 1e-9) -> NDArray[np.bool_]:
    """(T,) rows that differ by more than the share `tolerance` of their size: by more than rounding."""
    if one.dtype.kind != "f" or one.shape != other.shape:
        return different(one, other)
    near = np.isclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True)
    return np.asarray(~near.reshape(len(one), -1).all(axis=1), np.bool_)
