"""A line chart in braille dots: two columns and four rows of dots in each character."""

from collections.abc import Sequence
from itertools import pairwise

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Bits of the dots of a cell: left column from the top, right column from the top (Unicode block 2800)."""


def decimate(values: Sequence[float], columns: int) -> list[tuple[float, float]]:
    """The lowest and highest value of each of at most `columns` stretches: no extreme is lost."""
    count = len(values)
    columns = min(columns, count)
    edges = [i * count // columns for i in range(columns + 1)] if columns else []
    return [(min(part), max(part)) for a, b in pairwise(edges) if (part := values[a:b])]


def stretch(values: Sequence[float], columns: int) -> list[tuple[float, float]]:
    """Fewer values than columns, joined by straight lines."""
    last = len(values) - 1
    points = []
    for column in range(columns):
        at = column * last / max(columns - 1, 1)
        i = min(int(at), max(last - 1, 0))
        value = values[i] + (values[min(i + 1, last)] - values[i]) * (at - i)
        points.append((value, value))
    return points


def chart(values: Sequence[float], width: int, height: int) -> list[str]:
    """`height` rows of `width` braille characters, the latest value at the right edge.

    Fewer values than dot columns are stretched; all equal values draw a line half way up."""
    if not values or width < 1 or height < 1:
        return [" " * width] * height
    columns, rows = 2 * width, 4 * height
    spans = decimate(values, columns) if len(values) > columns else stretch(values, columns)
    low, high = min(a for a, _ in spans), max(b for _, b in spans)
    scale = (rows - 1) / (high - low) if high > low else 0.0

    def row(value: float) -> int:
        return round((high - value) * scale) if scale else rows // 2

    cells = [[0] * width for _ in range(height)]
    before: tuple[int, int] | None = None
    for column in range(columns):
        bottom, top = spans[column]
        first, last = row(top), row(bottom)
        above, below = before or (first, last)
        before = (first, last)
        # It reaches to where its neighbour ends, so that the line has no holes.
        for y in range(min(first, below + 1), max(last, above - 1) + 1):
            cells[y // 4][column // 2] |= _DOTS[column % 2][y % 4]
    return ["".join(chr(0x2800 + bits) for bits in line) for line in cells]
