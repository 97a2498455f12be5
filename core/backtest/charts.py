"""Charts as inline SVG: drawn in a box of 1000 x 1000 that stretches to any width, labels laid over it as text.

The box is stretched, strokes and letters are not: a chart is as readable in a narrow window and on paper as in a
wide one. Colours are classes (`gain`, `loss`, `s0`..`s7`): one sheet serves light and dark. Times are ms UTC.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from math import floor, log10

import msgspec
import numpy as np

from core.backtest.metrics import DAY_MS
from core.data.panel import Ints
from core.domain.market import Floats

BOX = 1000.0
POINTS = 700
"""Points of a line: about one a pixel and a half."""
FEWEST = 6
"""Columns there is room for at least: one alone is no wall."""
CROWD = 9
"""Names from which every other one goes where the window is narrow."""
SERIES = 8
"""Colours there are; what is more is drawn as "others"."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Axis(msgspec.Struct, frozen=True):
    """From `low` to `high`, with ticks at values of its own unit and what is written beside them."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def at(self, values: Floats | Ints) -> Floats:
        """`values` as shares of the axis, 0 at `low` and 1 at `high`."""
        if self.log:
            return np.asarray(np.log(values / self.low) / np.log(self.high / self.low))
        return np.asarray((values - self.low) / (self.high - self.low))


def values(low: float, high: float, unit: str = "", *, share: bool = False, log: bool = False) -> Axis:
    """An axis of numbers that holds `low` and `high`, with about five round ticks. `share`: written as percent."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # rounding, not a range
        low, high = low - (abs(low) or 1) * 0.05, high + (abs(high) or 1) * 0.05
    step = round_step((high - low) / 4)
    if not log:
        marks = [count * step for count in range(floor(low / step), -floor(-high / step) + 1)]
        return Axis(marks[0], marks[-1], _written(marks, step, unit, share))
    margin = (high / low) ** 0.03
    decades = [
        factor * 10.0**power for power in range(floor(log10(low)), floor(log10(high)) + 1) for factor in (1, 2, 5)
    ]
    marks = [mark for mark in decades if low <= mark <= high]
    if len(marks) < 3:
        marks = [count * step for count in range(-floor(-low / step), floor(high / step) + 1)]
    return Axis(low / margin, high * margin, _written(marks, min(step, marks[0]), unit, share), log=True)


def _written(marks: Sequence[float], step: float, unit: str, share: bool) -> tuple[tuple[float, str], ...]:
    return tuple((mark, tick(mark, step, unit, share=share)) for mark in marks)


def round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least `least` (more than 0)."""
    power = 10.0 ** floor(log10(least))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9)))


def tick(value: float, step: float, unit: str = "", *, share: bool = False) -> str:
    """A tick's number in as many decimals as its step needs."""
    scale = 100 if share else 1
    decimals = max(0, -floor(log10(step * scale) + 1e-9))
    return f"{value * scale + 0.0:,.{decimals}f}{'%' if share else unit}".replace("-", "−")


def times(first: int, last: int) -> Axis:
    """An axis of market time: ticks at days, months or years, about eight of them."""
    days = max(1.0, (last - first) / DAY_MS)
    if days <= 45:
        each = max(1, round(days / 7))
        starts = np.arange(-(-first // DAY_MS), last // DAY_MS + 1, each) * DAY_MS
        return Axis(first, last, tuple((float(start), _day(int(start))) for start in starts))
    each = next(step for step in (1, 2, 3, 6, 12, 24, 60, 120, 1200) if days / 30.4 / step <= 13)
    since, until = np.array([first, last]).astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
    chosen = np.arange(-(-since // each) * each, until + 1, each)
    starts = chosen.astype("datetime64[M]").astype("datetime64[ms]").astype(np.int64)
    starts = starts[starts >= first]
    return Axis(first, last, tuple((float(start), _month(int(start))) for start in starts))


def plot(x: Axis, y: Axis, marks: Sequence[str], label: str, height: int = 220, css: str = "") -> str:
    """A chart: grid, `marks` above it, ticks beside it. `label` says what it shows to who cannot see it."""
    grid = "".join(_hline(float(y.at(np.array(value))), "zero" if value == 0 else "grid") for value, _ in y.ticks)
    left = "".join(
        f'<span style="bottom:{100 * float(y.at(np.array(value))):.2f}%">{escape(text)}</span>'
        for value, text in y.ticks
    )
    below = "".join(
        f'<span style="left:{100 * float(x.at(np.array(value))):.2f}%">{escape(text)}</span>'
        for value, text in x.ticks
    )
    return (
        f'<div class="plot {css}" style="--height:{height}px"><div class="ys" aria-hidden="true">{left}</div>'
        f'<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img" aria-label="{escape(label)}">'
        f'{grid}{"".join(marks)}</svg><div class="xs" aria-hidden="true">{below}</div></div>'
    )


def line(x: Axis, y: Axis, at: Floats | Ints, of: Floats, css: str) -> str:
    """A line through (at, of); of thousands of points those are kept that show: the lowest and highest of each."""
    rows = extremes(of)
    return f'<path class="line {css}" d="{_path(x.at(at[rows]), y.at(of[rows]))}"/>'


def area(x: Axis, y: Axis, at: Floats | Ints, low: Floats, high: Floats, css: str, title: str = "") -> str:
    """What lies between `low` and `high`."""
    rows = extremes(high) if len(high) > POINTS else np.arange(len(high))
    along = x.at(at[rows])
    outline = _path(np.append(along, along[::-1]), np.append(y.at(high[rows]), y.at(low[rows])[::-1]))
    return f'<path class="area {css}" d="{outline}Z">{_title(title)}</path>'


def band(x: Axis, first: float, last: float, title: str) -> str:
    """A stretch of time from bottom to top."""
    left, right = np.clip(x.at(np.array([first, last])), 0, 1) * BOX
    return (
        f'<rect class="band" x="{left:.1f}" y="0" width="{right - left:.1f}" height="1000">{_title(title)}</rect>'
    )


def bar(x: Axis, y: Axis, edges: tuple[float, float], ends: tuple[float, float], css: str, title: str = "") -> str:
    """A bar between two values of x and two of y; one too low to see keeps a hair's height."""
    left, right = x.at(np.array(edges)) * BOX
    bottom, top = np.sort(y.at(np.array(ends))) * BOX
    tall = max(top - bottom, 3.0)
    return (
        f'<rect class="bar {css}" x="{left:.1f}" y="{BOX - bottom - tall:.1f}" width="{right - left:.1f}" '
        f'height="{tall:.1f}">{_title(title)}</rect>'
    )


def dots(x: Axis, y: Axis, at: Floats, of: Floats, css: str) -> str:
    """Points: strokes of no length with round ends, which stay round in a stretched box."""
    along, up = x.at(at) * BOX, (1 - y.at(of)) * BOX
    return (
        f'<path class="dots {css}" d="{"".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(along, up, strict=True))}"/>'
    )


def columns(
    names: Sequence[str], heights: Floats | Ints, titles: Sequence[str], y: Axis, label: str, each: int = 1
) -> str:
    """A bar for each name, above or below zero by what it made; every `each`th name is written."""
    ticks = tuple((place + 0.5, name) for place, name in enumerate(names) if place % each == 0)
    x = Axis(0, max(len(names), FEWEST), ticks)
    marks = [
        bar(x, y, (place + 0.12, place + 0.88), (0.0, float(value)), sign(value), title)
        for place, (value, title) in enumerate(zip(heights, titles, strict=True))
    ]
    return plot(x, y, marks, label, 170, "crowded" * (len(ticks) > CROWD))


def sign(value: float) -> str:
    """The class of a profit or a loss."""
    return "gain" if value >= 0 else "loss"


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """(name, class) pairs beside swatches of their colours."""
    return (
        '<p class="legend">'
        + "".join(f'<span class="{css}">{escape(name)}</span>' for name, css in entries)
        + "</p>"
    )


def extremes(series: Floats, most: int = POINTS) -> Ints:
    """Rows that show the shape: all, or first, lowest, highest and last of each of `most` / 4 stretches."""
    if len(series) <= most:
        return np.arange(len(series))
    edges = np.linspace(0, len(series), most // 4 + 1).astype(np.int64)
    kept = [
        (first, first + int(series[first:after].argmin()), first + int(series[first:after].argmax()), after - 1)
        for first, after in pairwise(edges)
    ]
    return np.unique(np.array(kept, np.int64))


def _path(x: Floats, y: Floats) -> str:
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x * BOX, (1 - y) * BOX, strict=True))


def _hline(height: float, css: str) -> str:
    return f'<path class="{css}" d="M0 {BOX * (1 - height):.1f}H1000"/>'


def _title(text: str) -> str:
    return f"<title>{escape(text)}</title>" if text else ""


def _day(ms: int) -> str:
    when = datetime.fromtimestamp(ms / 1000, UTC)
    return f"{when.day} {MONTHS[when.month - 1]}"


def _month(ms: int) -> str:
    when = datetime.fromtimestamp(ms / 1000, UTC)
    return str(when.year) if when.month == 1 else MONTHS[when.month - 1]
