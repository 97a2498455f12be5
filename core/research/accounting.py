"""Do the books of a run add up? Read from its `Result` alone, whichever engine gave it, and from the bars."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from core.backtest.result import Result, Trade
from core.clock import iso
from core.data.panel import Panel
from core.domain.audit import Check, Finding

CENT = 1e-8
"""Sums agree to this share of the deposit."""
PRICE = 0.02
"""A trade's profit agrees with the bars to this share of the move of its legs, and ROUNDED of its gross: legs are
whole lots, prices whole ticks, and orders take a moment."""
ROUNDED = 1e-3


def accounting(result: Result, panel: Panel) -> Check:
    """Equity is deposit plus cash flows plus what is held; nothing is held that was not bought; costs cost."""
    findings = [
        *_equity(result),
        *_costs(result),
        *_held(result),
        *_prices(result, panel),
    ]
    run = f"{len(result.trades)} trades over {len(result.ts) - 1} bars by {result.engine}"
    text = f"{run}: equity, costs, positions, fill prices"
    return Check("accounting", text, tuple(findings))


def _flat(result: Result) -> NDArray[np.bool_]:
    """(T+1,) rows at which nothing is held."""
    return np.asarray((result.exposure == 0).all(axis=1))


def _closed_by(result: Result, row: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of `values`, one a trade, over the trades that were closed by each of the `row`s."""
    closed = np.array([trade.closed for trade in result.trades], np.int64)
    order = np.argsort(closed, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(values[order])])
    return np.asarray(sums[np.searchsorted(closed[order], result.ts[row], side="right")])


def _equity(result: Result) -> Iterator[Finding]:
    """Where all is flat, equity is the deposit plus the profit of all closed trades."""
    rows = np.flatnonzero(_flat(result))
    pnl = np.array([trade.pnl for trade in result.trades])
    off = result.equity[rows] - result.equity[0] - _closed_by(result, rows, pnl)
    wrong = np.abs(off) > CENT * result.equity[0]
    if wrong.any():
        at = rows[int(np.argmax(wrong))]
        yield Finding(
            "equity",
            iso(int(result.ts[at])),
            "",
            f"flat, but {off[int(np.argmax(wrong))]:+.4f} away from deposit plus the profit of all closed trades",
            "book every fill, fee and funding once, in the trade and in the account alike",
        )
    if not np.isfinite(result.equity).all():
        at = int(np.argmin(np.isfinite(result.equity)))
        yield Finding(
            "equity", iso(int(result.ts[at])), "", "is not a number", "value what is held at its last price"
        )


def _costs(result: Result) -> Iterator[Finding]:
    """Slippage and fees are paid, never earned; what trades paid is what the account paid."""
    for column, name in enumerate(("slippage", "fees", "funding")):
        rises = np.diff(result.costs[:, column]) > CENT * result.equity[0]
        if name != "funding" and rises.any():
            at = int(np.argmax(rises)) + 1
            fault = f"{name} of {np.diff(result.costs[:, column])[at - 1]:+.4f}: it was earned, not paid"
            yield Finding(name, iso(int(result.ts[at])), "", fault, "a cost is negative: check its sign")
        rows = np.flatnonzero(_flat(result))
        paid = np.array([getattr(trade, name) for trade in result.trades])
        off = result.costs[rows, column] - result.costs[0, column] - _closed_by(result, rows, paid)
        wrong = np.abs(off) > CENT * result.equity[0]
        if wrong.any():
            at = int(rows[int(np.argmax(wrong))])
            fault = (
                f"{name} of the account and of its trades differ by {off[int(np.argmax(wrong))]:+.4f} while flat"
            )
            yield Finding(name, iso(int(result.ts[at])), "", fault, "book each cost once in both")


def _held(result: Result) -> Iterator[Finding]:
    """Exposure stands only between the fills of a trade, on its side; and every trade is seen in it."""
    for column, pair in enumerate(result.pairs):
        sides = np.sign(result.exposure[:, column])
        told = np.zeros(len(sides))
        trades = [trade for trade in result.trades if trade.pair == pair]
        for trade in trades:
            first, last = np.searchsorted(result.ts, (trade.opened, trade.closed), side="right")
            told[first:last] = trade.side
        end = int(np.searchsorted(result.ts, trades[-1].closed, side="right")) if trades else 0
        closing = np.isin(result.ts, [trade.closed for trade in trades]) & (sides == 0)  # at that very moment
        wrong = (sides != told) & ~closing & (np.arange(len(sides)) < end if pair in result.open_pairs else True)
        if wrong.any():
            at = int(np.argmax(wrong))
            fault = f"held on side {sides[at]:+.0f} where its trades say {told[at]:+.0f}"
            mend = "a position begins with a fill, after the close of its deciding bar, and ends with one"
            yield Finding(pair, iso(int(result.ts[at])), "", fault, mend)


def _prices(result: Result, panel: Panel) -> Iterator[Finding]:
    """The price profit of a trade is what its legs moved from the open it was entered at to that it left at. One
    that was gone before the close it left at was closed by the exchange, at a price within its last bar."""
    opens = {int(ts): row for row, ts in enumerate(panel.ts)}
    columns = {pair: column for column, pair in enumerate(result.pairs)}
    for trade in result.trades:
        entered, left = (opens.get(at - at % panel.bar_ms) for at in (trade.opened, trade.closed))
        if entered is None or left is None or entered == left:
            continue
        if "/" in trade.pair:
            row = int(np.searchsorted(result.ts, trade.closed))
            forced = result.exposure[row, columns[trade.pair]] == 0.0
            moves = [_move(panel, asset, entered, left, forced) for asset in trade.pair.split("/")]
            least, most = _profit(trade, moves)
        else:
            moves = [_move(panel, trade.pair, entered, left, False)]
            least, most = _resized(result, panel, trade, entered, left)
        slack = trade.gross * (PRICE * max(abs(move) for pair in moves for move in pair) + ROUNDED)
        if not least - slack <= trade.price <= most + slack:
            yield Finding(
                trade.pair,
                iso(trade.opened),
                "",
                f"a price profit of {trade.price:+.4f}, where its legs moved by {least:+.4f} from open to open",
                "fill at the open after the deciding bar, both legs, each at its own asset's price",
            )
            return


def _move(panel: Panel, asset: str, entered: int, left: int, forced: bool) -> tuple[float, float]:
    """(least, most) that `asset` moved from the open of one bar to that of another, or to within the bar before."""
    i = panel.assets.index(asset)
    prices = [panel.open[left, i], *((panel.low[left - 1, i], panel.high[left - 1, i]) if forced else ())]
    return float(min(prices) / panel.open[entered, i] - 1.0), float(max(prices) / panel.open[entered, i] - 1.0)


def _profit(trade: Trade, moves: list[tuple[float, float]]) -> tuple[float, float]:
    """(least, most) profit of two legs of equal value at entry."""
    (low, high), (low_b, high_b) = moves
    ends = sorted(trade.side * trade.gross * 0.5 * move for move in (low - high_b, high - low_b))
    return ends[0], ends[1]


def _resized(result: Result, panel: Panel, trade: Trade, entered: int, left: int) -> tuple[float, float]:
    """(least, most) profit of a single asset, whose size may have changed at each open on the way: what was held in
    each bar, by its exposure, times what the asset moved from open to open."""
    i, column = panel.assets.index(trade.pair), result.pairs.index(trade.pair)
    bars = np.arange(entered, left)
    rows = np.searchsorted(result.ts, panel.ts[bars] + panel.bar_ms)
    units = result.exposure[rows, column] / panel.close[bars, i]
    ends = [panel.open[left, i]]
    if trade.closed % panel.bar_ms:  # within its last bar
        ends += [panel.low[left, i], panel.high[left, i]]
    elif units[-1] == 0.0:  # within the bar before, as its books say: by the exchange
        units[-1] = units[-2] if len(units) > 1 else trade.side * trade.gross / panel.open[entered, i]
        ends += [panel.low[left - 1, i], panel.high[left - 1, i]]
    before = float(units[:-1] @ np.diff(panel.open[entered:left, i]))
    profits = [before + float(units[-1] * (end - panel.open[left - 1, i])) for end in ends]
    return min(profits), max(profits)
