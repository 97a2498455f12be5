"""A walk through time: train on one stretch, trade the next, slide; and who could be known at each start.

Stretches are counted in bars of the market, those at which at least one asset trades: 252 days of stocks are 252
daily bars, whatever weekends lie between. A model decides first at the close of its first tested bar, one whole bar
after the last that it has learned from: that long its training may take.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from core.data.panel import Ints, Panel
from core.domain.errors import UserError
from core.models.cluster.rule import STALE

ENOUGH = 0.5
"""Share of a training period's bars in which an asset must have traded, to be known."""
FEWEST = 3
"""Bars of the market below which nothing can be tested: a decision earns from the next open to the one after."""


class Segment(NamedTuple):
    """Rows of a panel that are learned from, and that are traded after; tests follow each other without a gap."""

    number: int
    train: slice
    test: slice


class Stretches(NamedTuple):
    """Bars of the market: learned from, tested, and left out between both (`purge`)."""

    train: int
    test: int
    purge: int = 0


def segments(panel: Panel, given: Stretches, first: int = 0) -> tuple[Segment, ...]:
    """The segments of `panel`: the first test begins at row `first`, or later, when there is enough to learn from.

    The last test ends with the data, and may be shorter. UserError: not even one segment."""
    rows = market_rows(panel)
    start = max(given.train + given.purge, int(np.searchsorted(rows, first)))
    if len(rows) < start + FEWEST:
        raise UserError(
            f"{len(rows)} bars are too few to walk forward: {given.train} to learn from, {given.purge} left out and"
            f" some to test are needed: give more data, or fewer --train-days"
        )
    edges = [*range(start, len(rows) - FEWEST + 1, given.test), len(rows)]
    ends = np.append(rows, len(panel))
    found = []
    for number, (low, high) in enumerate(pairwise(edges)):
        learned = low - given.purge
        train = slice(int(rows[learned - given.train]), int(rows[learned - 1]) + 1)
        found.append(Segment(number, train, slice(int(ends[low]), int(ends[high]))))
    return tuple(found)


def market_rows(panel: Panel) -> Ints:
    """(R,) rows at which at least one asset trades."""
    return np.flatnonzero(panel.valid.any(axis=1))


def known_assets(panel: Panel, train: slice, most: int | None = None) -> tuple[str, ...]:
    """The assets that can be traded after the rows `train`, by what was known then: each traded in at least half of
    the bars of the market, and within the last of them. With `most` those that had traded for longest, of equals
    the first in the panel; always in the panel's order."""
    rows = market_rows(panel.slice(train.start, train.stop)) + train.start
    traded = panel.valid[rows]
    good = (traded.mean(axis=0) >= ENOUGH) & traded[-STALE - 1 :].any(axis=0)
    if most is not None:
        age = np.where(good, panel.valid[: train.stop].sum(axis=0), -1)
        good[np.argsort(-age, kind="stable")[most:]] = False
    return tuple(asset for asset, has in zip(panel.assets, good.tolist(), strict=True) if has)


def columns(panel: Panel, assets: Sequence[str]) -> Ints:
    """(M,) where `assets` stand in the panel."""
    place = {asset: i for i, asset in enumerate(panel.assets)}
    return np.array([place[asset] for asset in assets], np.int64)
