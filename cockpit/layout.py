"""Where each panel goes: what matters first, whatever the terminal's size. Pure arithmetic."""

from collections.abc import Callable

from textual.geometry import Region, Size

COMPACT_WIDTH = 110
COMPACT_HEIGHT = 27
"""Below either of these (of the board, in cells) panels have a rule on top instead of a frame around."""
RULE, FRAME = 1, 2
"""Lines (and, for a frame, columns) that a panel's edge takes in a compact board and in a roomy one."""
ALL_PAIRS = 48
"""Lines in which the 45 pairs of ten assets, their heading and the frame fit."""
SIDE = 30
"""Columns of the equity panel in a compact board."""


def is_compact(size: Size) -> bool:
    """Whether the board of this size is laid out for a small terminal."""
    return size.width < COMPACT_WIDTH or size.height < COMPACT_HEIGHT


def regions(
    size: Size, positions: Callable[[int], int], maximised: str = "", clusters: int = 0
) -> dict[str, Region]:
    """The region of every panel that is shown on a board of `size`.

    `positions` tells how many lines the positions panel would like at a width; it gets them unless that starves
    the pairs. `clusters` is how many lines the clusters would like where all panels are shown: up to a third.
    Panels that are not in the answer are hidden: keys still reach them, maximised.
    """
    width, height = size
    if maximised:
        return {maximised: Region(0, 0, width, height)}
    if not is_compact(size):
        return _two_columns(width, height, positions, clusters)
    if height >= 2 * COMPACT_HEIGHT - 16:
        return _tall(width, height, positions)
    return _small(width, height, positions)


def _small(width: int, height: int, positions: Callable[[int], int]) -> dict[str, Region]:
    """80x24: pairs and positions over the full width, the log and equity side by side below."""
    bottom = min(max(height // 3, 4), 10)
    middle = min(positions(width) + RULE, max(height - bottom - 6, 2))
    top = max(height - bottom - middle, 0)
    side = max(SIDE, width // 3)
    return {
        "pairs": Region(0, 0, width, top),
        "positions": Region(0, top, width, middle),
        "log": Region(0, top + middle, width - side - 1, bottom),
        "equity": Region(width - side, top + middle, side, bottom),
    }


def _tall(width: int, height: int, positions: Callable[[int], int]) -> dict[str, Region]:
    """A narrow but tall terminal: streams beside equity, and the log below them."""
    streams = 12
    log = max(height // 5, 6)
    middle = min(positions(width) + RULE, height // 4)
    top = height - streams - log - middle
    half = width // 2
    return {
        "pairs": Region(0, 0, width, top),
        "positions": Region(0, top, width, middle),
        "streams": Region(0, top + middle, half, streams),
        "equity": Region(half + 1, top + middle, width - half - 1, streams),
        "log": Region(0, height - log, width, log),
    }


def _two_columns(width: int, height: int, positions: Callable[[int], int], wanted: int) -> dict[str, Region]:
    """Trading on the left, the account and the market on the right."""
    left = max(round(width * 0.66), 79) if width < 200 else round(width * 0.6)
    middle = min(positions(left - FRAME) + FRAME, height - 20)
    # The log gets a quarter, less where all pairs would fit otherwise, and what they leave.
    log = max(min(height // 4, height - middle - ALL_PAIRS), 7 if height < 40 else 10)
    log = max(log, height - middle - ALL_PAIRS)
    top = height - log - middle
    clusters = max(min(max(height // 6, 6), 9), min(wanted + FRAME, height // 3))
    streams = 13
    equity = height - streams - clusters
    right = width - left
    return {
        "pairs": Region(0, 0, left, top),
        "positions": Region(0, top, left, middle),
        "log": Region(0, top + middle, left, log),
        "equity": Region(left, 0, right, equity),
        "streams": Region(left, equity, right, streams),
        "clusters": Region(left, equity + streams, right, clusters),
    }
