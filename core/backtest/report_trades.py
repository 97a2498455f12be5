"""The report's sections about trades: costs, distributions, attribution by pair, and the list itself."""

import re
from collections.abc import Sequence
from html import escape
from itertools import pairwise

import numpy as np

from core.backtest import charts
from core.backtest.charts import Axis
from core.backtest.document import Analysis
from core.backtest.metrics import DAY_MS, FUNDING, GROSS, HOURS, PRICE, trade_columns
from core.backtest.result import Result, Trade
from core.backtest.words import NONE, cell, length, minute, money, number, percent, section, signed, table, two
from core.data.panel import Ints
from core.domain.backtest import Money, PairFigures
from core.domain.market import Floats

BINS = 41
SPANS = (1, 2, 4, 8, 16, 24, 48, 96, 168, 336, 720)
"""Edges of the classes of time held, in hours, and the classes' names."""
SPAN_NAMES = ("< 1 h", "1–2 h", "2–4 h", "4–8 h", "8–16 h", "16–24 h",
              "1–2 d", "2–4 d", "4–7 d", "7–14 d", "14–30 d", "> 30 d")  # fmt: skip
KIND = re.compile(r" (?:to|at|after)? ?[-+\d]|(?<=^switched) ")
"""Where the kind of an exit ends and its particulars begin: "z crossed to +0.12" is of the kind "z crossed"."""
SIZES = 5
CAST = 3_000
"""Trades drawn as points."""
SHOWN = 12
"""Pairs and trades shown before the rest is folded away."""
MOST = 5_000
"""Trades listed at all."""


def costs(told: Analysis) -> str:
    """From the profit at the market's own prices down to what was left."""
    paid, trades = told.metrics.money, told.metrics.trades
    steps = (
        ("before costs", paid.gross),
        ("slippage", paid.slippage),
        ("fees", paid.fees),
        ("funding", paid.funding),
    )
    ends = np.cumsum([0.0, *(value for _, value in steps)])
    y = charts.values(float(min(ends.min(), paid.net)), float(max(ends.max(), paid.net)))
    bars = [(name, ends[place], ends[place + 1], value) for place, (name, value) in enumerate(steps)]
    bars.append(("net", 0.0, paid.net, paid.net))
    x = Axis(0, len(bars), tuple((place + 0.5, name) for place, (name, *_) in enumerate(bars)))
    marks = [
        charts.bar(x, y, (place + 0.15, place + 0.85), (low, high), charts.sign(value), f"{name}: {money(value)}")
        for place, (name, low, high, value) in enumerate(bars)
    ]
    return section(
        "Where the money went",
        "The profit at mid prices, and what trading and holding took from it or brought.",
        two(
            ("Cost waterfall", charts.plot(x, y, marks, "Cost waterfall", 220)),
            ("In money, and per trade", _cost_table(paid, trades.count)),
        ),
    )


def _cost_table(paid: Money, count: int) -> str:
    def cells(value: float) -> str:
        each = number(value / count, 2, plus=True) if count else NONE
        share = percent(value / abs(paid.gross), 0, plus=True) if paid.gross else NONE
        return signed(value, number(value, 2, plus=True)) + cell(each) + cell(share)

    rows = (
        ("before costs", paid.gross),
        ("slippage", paid.slippage),
        ("fees", paid.fees),
        ("funding", paid.funding),
    )
    heads = ("", "total", "per closed trade", "of the profit before costs")
    return table(heads, (cell(name) + cells(value) for name, value in rows), cell("net") + cells(paid.net))


def trades(told: Analysis) -> str:
    """How profits are spread, and over what: size, time held, hour of the day, reason of the exit."""
    done = told.result.trades
    if not done:
        return ""
    profit, held = _profits(done), trade_columns(done)[:, HOURS]
    spans = np.searchsorted(SPANS, held, side="right")
    opened, closed = (
        np.array(times) // 3_600_000 % 24 for times in zip(*((t.opened, t.closed) for t in done), strict=True)
    )
    clock = [f"{hour:02d}" for hour in range(24)]
    figures, paired = told.metrics.trades, told.result.unit == "pair"
    hourly = told.result.source.bar_ms < DAY_MS
    sides = {
        "winners": [trade for trade in done if trade.pnl > 0],
        "losers": [trade for trade in done if trade.pnl < 0],
        "long" + " the spread" * paired: [trade for trade in done if trade.side > 0],
        "short" + " the spread" * paired: [trade for trade in done if trade.side < 0],
    }
    return section(
        "Trades",
        f"{figures.count:,} closed round trips, {percent(figures.hit_rate)} of them winners, costs and funding "
        "included. Bars show what a class made in all; point at one to see how many trades it holds.",
        two(
            ("Profit of a trade", _histogram(profit)),
            ("Profit against time held", _cloud(held, profit)),
            ("By time held", _classes(SPAN_NAMES, spans, profit, filled=True)),
            (f"By size: value {'of both legs ' * paired}at entry", _sizes(trade_columns(done)[:, GROSS], profit)),
            ("By hour of entry, UTC", _classes(clock, opened, profit, each=3) if hourly else ""),
            ("By hour of exit, UTC", _classes(clock, closed, profit, each=3) if hourly else ""),
            ("By reason of exit", _groups("reason", _by_exit(done))),
            ("Winners and losers, long and short", _groups("", sides)),
        ),
    )


def _sizes(gross: Floats, profit: Floats) -> str:
    """Profit by fifths of size, if sizes differ."""
    cuts = np.unique(np.quantile(gross, np.linspace(0, 1, SIZES + 1)).round(2))
    if len(cuts) < 2:
        return f"<p>Every trade had the same size, {number(float(cuts[0]), 0)}.</p>"
    places = np.clip(np.searchsorted(cuts, gross, side="right") - 1, 0, len(cuts) - 2)
    return _classes([f"{low:,.0f}–{high:,.0f}" for low, high in pairwise(cuts)], places, profit)


def _profits(done: Sequence[Trade]) -> Floats:
    return np.asarray(trade_columns(done)[:, PRICE : FUNDING + 1].sum(axis=1))


def _histogram(profit: Floats) -> str:
    """Numbers of trades by profit; the outermost 1% is gathered at the ends."""
    edge = float(np.quantile(np.abs(profit), 0.99)) or 1.0
    step = 2 * edge / BINS
    edges = (np.arange(BINS + 1) - BINS // 2 - 0.5) * step
    counts, _ = np.histogram(np.clip(profit, edges[0], edges[-1]), edges)
    x, y = charts.values(float(edges[0]), float(edges[-1])), charts.values(0, float(counts.max()))
    marks = [
        charts.bar(x, y, (low, high), (0, float(count)), charts.sign((low + high) / 2),
                   f"{money(low)} to {money(high)}: {count} trades")
        for low, high, count in zip(edges, edges[1:], counts.tolist(), strict=False) if count
    ]  # fmt: skip
    mean = charts.line(x, y, np.full(2, profit.mean()), np.array([y.low, y.high]), "mark")
    return charts.plot(x, y, [*marks, mean], "Number of trades by profit", 170)


def _cloud(hours: Floats, profit: Floats) -> str:
    rows = np.linspace(0, len(hours) - 1, min(CAST, len(hours))).astype(np.int64)
    x, y = charts.values(0, float(hours.max()), " h"), charts.values(float(profit.min()), float(profit.max()))
    x = Axis(0, max(float(hours.max()), 1.0) * 1.02, tuple(mark for mark in x.ticks if mark[0] <= hours.max()))
    won = profit[rows] > 0
    marks = [
        charts.dots(x, y, hours[rows[chosen]], profit[rows[chosen]], css)
        for chosen, css in ((won, "gain"), (~won, "loss"))
    ]
    return charts.plot(x, y, marks, "Profit of each trade against the time it was held", 170)


def _classes(names: Sequence[str], places: Ints, profit: Floats, each: int = 1, *, filled: bool = False) -> str:
    """Profit by class; `filled`: only classes from the first to the last that hold a trade."""
    sums, counts = (np.bincount(places, weights, len(names)) for weights in (profit, None))
    first, after = (int(places.min()), int(places.max()) + 1) if filled else (0, len(names))
    wins = np.bincount(places, profit > 0, len(names))
    titles = [
        f"{name}: {int(count)} trades, {money(total)}" + (f", {won / count:.0%} winners" if count else "")
        for name, count, total, won in zip(names, counts, sums, wins, strict=True)
    ][first:after]
    y = charts.values(min(0.0, float(sums.min())), max(0.0, float(sums.max())))
    return charts.columns(names[first:after], sums[first:after], titles, y, "Profit by class", each)


def _by_exit(done: Sequence[Trade]) -> dict[str, list[Trade]]:
    """Trades by what closed them, the most frequent reason first."""
    groups: dict[str, list[Trade]] = {}
    for trade in done:
        groups.setdefault(KIND.split(trade.exit)[0] or "not said", []).append(trade)
    return dict(sorted(groups.items(), key=lambda entry: -len(entry[1])))


def _groups(head: str, groups: dict[str, list[Trade]]) -> str:
    rows = []
    for name, group in groups.items():
        if group:
            profit = _profits(group)
            mean, total = float(profit.mean()), float(profit.sum())
            rows.append(
                cell(name)
                + cell(f"{len(group):,}")
                + cell(percent(float((profit > 0).mean()), 0))
                + signed(mean, number(mean, 2, plus=True))
                + signed(total, number(total, 0, plus=True))
                + cell(length(float(np.median(trade_columns(group)[:, HOURS]))))
            )
    return table((head, "trades", "winners", "mean", "in all", "median held"), rows)


def attribution(told: Analysis) -> str:
    """Which pairs made it, and what each cost."""
    pairs, unit = told.metrics.pairs, told.result.unit
    many = f"{len(pairs):,} {unit}s"
    if not pairs:
        return ""
    ends = [*pairs[: SHOWN // 2], *pairs[-(SHOWN // 2) :]] if len(pairs) > SHOWN else list(pairs)
    net = np.array([pair.trades.money.net for pair in ends])
    y = charts.values(min(0.0, float(net.min())), max(0.0, float(net.max())))
    titles = [f"{pair.pair}: {money(pair.trades.money.net)} in {pair.trades.count} trades" for pair in ends]
    chart = charts.columns(
        [pair.pair for pair in ends], net, titles, y, f"Profit by {unit}", 1 if len(ends) < 13 else 2
    )
    heads = (unit, "trades", "winners", "before costs", "slippage", "fees", "funding", "net", "per trade",
             "profit factor", "mean held", "exposure")  # fmt: skip
    drawn = table(heads, (_pair_row(pair) for pair in ends), _total(told))
    about, every = f"{many}, the best first.", ""
    if len(ends) < len(pairs):
        about = f"The best and the worst of {many}."
        every = _folded(f"All {many}", table(heads, (_pair_row(pair) for pair in pairs), _total(told)))
    return section(f"Attribution by {unit}", about, f'<div class="wide">{chart}{drawn}{every}</div>')


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def _pair_row(pair: PairFigures) -> str:
    figures, paid = pair.trades, pair.trades.money
    return "".join(
        (
            cell(pair.pair + (" (open)" if pair.open else "")),
            cell(f"{figures.count:,}"),
            cell(percent(figures.hit_rate, 0)),
            cell(number(paid.gross, 0, plus=True)),
            cell(number(paid.slippage, 0)),
            cell(number(paid.fees, 0)),
            cell(number(paid.funding, 1, plus=True)),
            signed(paid.net, number(paid.net, 0, plus=True)),
            cell(money(figures.expectancy)),
            cell(number(figures.profit_factor)),
            cell(length(figures.hours_mean)),
            cell(percent(pair.exposure)),
        )
    )


def _total(told: Analysis) -> str:
    """The run's own sums: what they have beside the pairs' closed trades is still open."""
    figures, paid = told.metrics.trades, told.metrics.money
    still = paid.net - figures.money.net
    name = "all" if abs(still) < 0.005 else f"all (open {told.result.unit}s: {money(still)})"
    cells = (f"{figures.count:,}", percent(figures.hit_rate, 0), number(paid.gross, 0, plus=True),
             number(paid.slippage, 0), number(paid.fees, 0), number(paid.funding, 1, plus=True),
             number(paid.net, 0, plus=True), money(figures.expectancy), number(figures.profit_factor),
             length(figures.hours_mean), percent(told.metrics.exposure))  # fmt: skip
    return cell(name) + "".join(cell(text) for text in cells)


def listing(result: Result) -> str:
    """The best and the worst trades, and all of them folded away."""
    if not result.trades:
        return ""
    order = sorted(result.trades, key=lambda trade: -trade.pnl)
    few = SHOWN // 2
    if len(order) <= 2 * few:
        return section("The trades themselves", "The best first; times are UTC.", _rows(result.unit, order))
    listed, all_of_them = result.trades[:MOST], f"All {len(order):,} trades"
    if len(listed) < len(order):
        all_of_them = f"The first {len(listed):,} of {len(order):,} trades"
    ends = _rows(result.unit, [*order[:few], *order[-few:]])
    return section(
        "The trades themselves",
        f"The {few} best and the {few} worst; times are UTC.",
        ends,
        _folded(f"{all_of_them}, as they closed", _rows(result.unit, listed)),
    )


def _rows(unit: str, chosen: Sequence[Trade]) -> str:
    heads = (unit, "side", "opened", "closed", "held", "size", "before costs", "slippage", "fees", "funding",
             "net", "score", "entry", "exit")  # fmt: skip
    return table(heads, (_row(trade) for trade in chosen))


def _row(trade: Trade) -> str:
    return "".join(
        (
            cell(trade.pair),
            cell("long" if trade.side > 0 else "short"),
            cell(minute(trade.opened)),
            cell(minute(trade.closed)),
            cell(length((trade.closed - trade.opened) / 3.6e6)),
            cell(number(trade.gross, 0)),
            cell(number(trade.price, 2, plus=True)),
            cell(number(trade.slippage, 2)),
            cell(number(trade.fees, 2)),
            cell(number(trade.funding, 2, plus=True)),
            signed(trade.pnl, number(trade.pnl, 2, plus=True)),
            cell(number(trade.score)),
            cell(trade.entry, "words"),
            cell(trade.exit, "words"),
        )
    )
