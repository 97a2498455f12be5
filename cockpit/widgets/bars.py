"""Bars of characters for sums of money."""

from collections.abc import Sequence

BAR, AXIS = "━", "│"


def waterfall(rows: Sequence[tuple[str, float]], width: int) -> list[str]:
    """A bar a row, each from where the one before ended; the last, a total, from zero. The axis marks zero."""
    edges: list[tuple[float, float]] = []
    at = 0.0
    for _, value in rows[:-1]:
        edges.append((at, at + value))
        at += value
    edges.append((0.0, rows[-1][1] if rows else 0.0))
    low, high = min(0.0, *(x for edge in edges for x in edge)), max(0.0, *(x for edge in edges for x in edge))
    scale = (width - 1) / (high - low) if high > low else 0.0
    zero = round(-low * scale)
    bars = []
    for edge in edges:
        first, last = sorted(round((x - low) * scale) for x in edge)
        cells = [BAR if first <= i <= last and edge[0] != edge[1] else " " for i in range(width)]
        if cells[zero] == " ":
            cells[zero] = AXIS
        bars.append("".join(cells).rstrip())
    return bars


def balance(value: float, most: float, width: int) -> str:
    """A bar to the left of an axis for a loss, to the right for a gain; `most` reaches the end."""
    half = (width - 1) // 2
    if half < 2:
        return ""
    length = min(round(abs(value) / most * half), half) if most else 0
    left = BAR * length if value < 0 else ""
    return f"{left:>{half}}{AXIS}{BAR * length if value > 0 else ''}"
