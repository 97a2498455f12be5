"""A line chart in braille dots: two columns and four rows of dots in each character."""

from collections.abc import Sequence
from itertools import pairwise

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Bits of the dots of a cell: left column from the top, right column from the top (Unicode block 2800)."""

Span = tuple[float, float]
"""The lowest and the highest value in one column of dots."""
Point = tuple[float, float]


def decimate(values: Sequence[float], columns: int) -> list[Span]:
    """The lowest and highest value of each of at most `columns` stretches: no extreme is lost."""
    count = len(values)
    columns = min(columns, count)
    edges = [i * count // columns for i in range(columns + 1)] if columns else []
    return [(min(part), max(part)) for a, b in pairwise(edges) if (part := values[a:b])]


def stretch(values: Sequence[float], columns: int) -> list[Span]:
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
    columns = 2 * width
    spans = decimate(values, columns) if len(values) > columns else stretch(values, columns)
    cells = _draw(spans, min(a for a, _ in spans), max(b for _, b in spans), width, height)
    return ["".join(chr(0x2800 + bits) for bits in line) for line in cells]


def overlay(curves: Sequence[Sequence[Point]], width: int, height: int) -> list[list[tuple[str, int]]]:
    """Several curves on common axes, the first on top: `height` rows, each in stretches of characters and the
    index of the curve whose colour they take (-1: none).

    A curve is points (x, y) in rising order of x; where it has none (before its first, after its last) it draws
    nothing."""
    points = [point for curve in curves for point in curve]
    if not points or width < 1 or height < 1:
        return [[(" " * width, -1)]] * height
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    drawn = [_draw(_spans(curve, left, right, 2 * width), low, high, width, height) for curve in curves]
    rows = []
    for y in range(height):
        row: list[tuple[str, int]] = []
        for x in range(width):
            owner = next((i for i, cells in enumerate(drawn) if cells[y][x]), -1)
            mark = chr(0x2800 + drawn[owner][y][x]) if owner >= 0 else " "
            if row and row[-1][1] == owner:
                row[-1] = (row[-1][0] + mark, owner)
            else:
                row.append((mark, owner))
        rows.append(row)
    return rows


def _spans(curve: Sequence[Point], left: float, right: float, columns: int) -> list[Span | None]:
    """The lowest and highest value in each column of dots, points joined by straight lines."""
    spans: list[Span | None] = [None] * columns
    scale = (columns - 1) / (right - left) if right > left else 0.0

    def mark(column: int, value: float) -> None:
        low, high = spans[column] or (value, value)
        spans[column] = (min(low, value), max(high, value))

    for (x0, y0), (x1, y1) in pairwise(curve):
        first, last = round((x0 - left) * scale), round((x1 - left) * scale)
        for column in range(first, last + 1):
            mark(column, y0 + (y1 - y0) * (column - first) / max(last - first, 1))
        mark(last, y1)
    return spans


def _draw(spans: Sequence[Span | None], low: float, high: float, width: int, height: int) -> list[list[int]]:
    """The bits of the cells of one curve, between `low` at the foot and `high` at the top."""
    rows = 4 * height
    scale = (rows - 1) / (high - low) if high > low else 0.0

    def row(value: float) -> int:
        return round((high - value) * scale) if scale else rows // 2

    cells = [[0] * width for _ in range(height)]
    before: tuple[int, int] | None = None
    for column, span in enumerate(spans):
        if span is None:
            before = None
            continue
        first, last = row(span[1]), row(span[0])
        above, below = before or (first, last)
        before = (first, last)
        # It reaches to where its neighbour ends, so that the line has no holes.
        for y in range(min(first, below + 1), max(last, above - 1) + 1):
            cells[y // 4][column // 2] |= _DOTS[column % 2][y % 4]
    return cells
