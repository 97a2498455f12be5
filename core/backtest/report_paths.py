"""The report's sections about the path: equity, drawdown, calendar, rolling Sharpe ratio, exposure, correlation."""

from collections.abc import Sequence
from html import escape

import numpy as np

from core.backtest import charts
from core.backtest.charts import Axis
from core.backtest.document import Analysis, calendar, underwater
from core.backtest.metrics import DAY_MS, YEAR_MS, drawdowns, growth, held
from core.backtest.result import Result
from core.backtest.words import NONE, cell, day, heat, length, number, percent, section, signed, table
from core.data.panel import Ints
from core.domain.backtest import Drawdown
from core.domain.market import Floats

MARKED = 3
"""Longest underwater periods that are shaded."""
SLIGHT = 0.0005
"""A drawdown that would be printed as 0.0%."""
LISTED = 5
BUCKETS = 180
"""Stretches of time over which exposure is averaged."""
MARKETS = ("buy-hold",)
"""Compared strategies that stand for the market."""
CORRELATED = 8


def equity(told: Analysis, compared: Sequence[Analysis]) -> str:
    """The equity beside the others', the way below its peak, and the worst drawdowns."""
    result = told.result
    x = charts.times(int(result.ts[0]), int(result.ts[-1]))
    downs = drawdowns(result.ts, result.equity)
    longest = sorted(downs, key=lambda down: -down.bars)[:MARKED]
    bands = [_under(x, down, int(result.ts[-1])) for down in longest]
    depth = underwater(result.equity)
    y = charts.values(float(depth.min()), 0.0, share=True)
    marks = (
        charts.area(x, y, result.ts, np.zeros_like(depth), depth, "loss soft"),
        charts.line(x, y, result.ts, depth, "loss"),
    )
    return section(
        "Equity",
        "At the close of each bar, in the settlement currency, all costs and funding included; open positions at "
        f"their mark. Shaded: the {min(MARKED, len(longest))} longest underwater periods.",
        f'<div class="wide">{_curves(told, compared, x, bands)}</div>',
        f'<div class="wide"><h3>Drawdown</h3>{charts.plot(x, y, [*bands, *marks], "Drawdown", 130)}</div>',
        f'<div class="wide"><h3>Worst drawdowns</h3>{_worst(result, downs)}</div>',
    )


def _curves(told: Analysis, compared: Sequence[Analysis], x: Axis, bands: Sequence[str]) -> str:
    """All equities from one deposit, on a linear scale; where none was ruined, on a logarithmic one by choice."""
    deposit = told.result.equity[0]
    curves = [one.result.equity * (deposit / one.result.equity[0]) for one in (told, *compared)]
    low, high = float(min(curve.min() for curve in curves)), float(max(curve.max() for curve in curves))
    colours = [f"s{place % charts.SERIES}" for place in range(len(curves))]
    names = charts.legend([(one.result.strategy, css) for one, css in zip((told, *compared), colours, strict=True)])

    def drawn(log: bool) -> str:
        y = charts.values(low, high, log=log)
        entries = zip((told, *compared), curves, colours, strict=True)
        lines = [
            charts.line(x, y, one.result.ts, curve, css + " main" * (one is told)) for one, curve, css in entries
        ]
        return charts.plot(x, y, [*bands, *reversed(lines)], f"Equity of {told.result.strategy}", 300)

    if low <= 0:
        return names + drawn(False)
    choice = (
        '<div class="choice">scale<label><input type="radio" name="scale" id="linear" checked> linear</label>'
        '<label><input type="radio" name="scale" id="log"> logarithmic</label></div>'
    )
    plots = f'<div class="linear">{drawn(False)}</div><div class="log">{drawn(True)}</div>'
    return f'<div class="either">{choice}{names}{plots}</div>'


def _under(x: Axis, down: Drawdown, end_ms: int) -> str:
    """A shaded underwater period."""
    until = day(down.recovered_ms) if down.recovered_ms else "the end"
    title = f"under water {day(down.peak_ms)} to {until}, {percent(down.depth)}"
    return charts.band(x, down.peak_ms, down.recovered_ms or end_ms, title)


def _worst(result: Result, downs: Sequence[Drawdown]) -> str:
    """The deepest drawdowns with their dates."""
    if not downs:
        return f"<p>{escape(result.strategy)} never fell below an earlier peak.</p>"
    hours = result.source.bar_ms / 3.6e6
    rows = (
        "".join(
            cell(text)
            for text in (
                percent(down.depth),
                day(down.peak_ms),
                day(down.trough_ms),
                day(down.recovered_ms) if down.recovered_ms else "not yet",
                length(down.down_bars * hours),
                length(down.bars * hours),
            )
        )
        for down in sorted(downs, key=lambda down: down.depth)[:LISTED]
        if down.depth < -SLIGHT or len(downs) < LISTED
    )
    return table(("depth", "peak", "trough", "recovered", "to the trough", "under water"), rows)


def months(told: Analysis) -> str:
    """Monthly returns as a table of years, and the rolling Sharpe ratio."""
    result = told.result
    returns, years = calendar(result.ts, result.equity, "M"), calendar(result.ts, result.equity, "Y")
    full = max((abs(value) for value in returns.values()), default=0.0)
    whole = max((abs(value) for value in years.values()), default=0.0)
    rows = (
        cell(year)
        + "".join(
            heat(value, "" if value is None else percent(value), full)
            for value in (returns.get(f"{year}-{month:02d}") for month in range(1, 13))
        )
        + heat(total, percent(total), whole, "total")
        for year, total in years.items()
    )
    rolling, window = _rolling(result)
    parts = [f'<div class="wide">{table(("", *charts.MONTHS, "year"), rows, css="heat")}</div>']
    if rolling:
        parts.append(f'<div class="wide"><h3>Rolling Sharpe ratio, {window}</h3>{rolling}</div>')
    return section("Months and years", "Return of the equity per calendar month and year of UTC.", *parts)


def _rolling(result: Result) -> tuple[str, str]:
    """The yearly Sharpe ratio of a moving window: a month, or half a year where there are three of them."""
    returns, bar_ms = growth(result.equity), result.source.bar_ms
    days = 182 if len(returns) * bar_ms >= 3 * YEAR_MS / 2 else 30
    window = days * DAY_MS // bar_ms
    if window < 10 or len(returns) < 2 * window:
        return "", ""
    sums, squares = (np.concatenate([[0.0], np.cumsum(returns**power)]) for power in (1, 2))
    mean = (sums[window:] - sums[:-window]) / window
    variance = np.maximum((squares[window:] - squares[:-window]) / window - mean**2, 0)
    ratio = np.divide(mean, np.sqrt(variance), out=np.zeros_like(mean), where=variance > 1e-16)
    ratio *= np.sqrt(YEAR_MS / bar_ms)
    ts = result.ts[window:]
    x, y = charts.times(int(result.ts[0]), int(ts[-1])), charts.values(min(0.0, ratio.min()), max(0.0, ratio.max()))
    return charts.plot(x, y, [charts.line(x, y, ts, ratio, "s0")], "Rolling Sharpe ratio", 150), f"{days} days"


def exposure(told: Analysis) -> str:
    """Gross exposure over time, stacked by pair, as a share of the equity."""
    result, figures = told.result, told.metrics
    rows = np.linspace(0, len(result.ts), min(BUCKETS, len(result.ts)) + 1).astype(np.int64)[:-1]
    counts = np.diff(np.append(rows, len(result.ts)))[:, None]
    used = np.flatnonzero(result.exposure.any(axis=0))
    if not len(used):
        return ""
    shares = np.abs(result.exposure[:, used]) / held(result.equity)[:, None]
    shares = np.add.reduceat(shares, rows, axis=0) / counts
    order = np.argsort(-shares.mean(axis=0), kind="stable")
    most = order[: charts.SERIES]
    names = [(result.pairs[used[column]], f"s{place}") for place, column in enumerate(most)]
    stack = [shares[:, column] for column in most]
    if len(order) > len(most):
        names.append((f"{len(order) - len(most)} others", "rest"))
        stack.append(shares[:, order[len(most) :]].sum(axis=1))
    tops = np.cumsum(stack, axis=0)
    x = charts.times(int(result.ts[0]), int(result.ts[-1]))
    y = charts.values(0.0, float(tops[-1].max()), share=True)
    at = np.append(np.repeat(result.ts[rows], 2)[1:], result.ts[-1])  # steps: both ends of each stretch
    bottoms = np.vstack([np.zeros(len(rows)), tops[:-1]])
    areas = [
        charts.area(x, y, at, np.repeat(low, 2), np.repeat(high, 2), css, name)
        for (name, css), low, high in zip(names, bottoms, tops, strict=True)
    ]
    plot = charts.plot(x, y, areas, f"Exposure by {result.unit}", 220)
    return section(
        "Exposure and allocation",
        f"Gross value over the equity, by {result.unit}. On average {percent(figures.exposure)}; something "
        f"held at {percent(figures.time_in_market)} of closes; traded {number(figures.turnover, 1)} times a year.",
        f'<div class="wide">{charts.legend(names)}{plot}</div>',
    )


def correlation(told: Analysis, compared: Sequence[Analysis], market: Floats | None) -> str:
    """How the pairs' profits go together, with each other and with the market, and the strategies' days."""
    result = told.result
    index = market if market is not None else _market(result, compared)
    step = 7 * DAY_MS if result.ts[-1] - result.ts[0] >= 70 * DAY_MS else DAY_MS
    unit = "week" if step > DAY_MS else "day"
    series = {result.strategy: _stepped(result.ts, result.equity, step)}
    if index is not None:
        series["the market"] = _stepped(result.ts, index, step)
    traded = sorted((pair for pair in told.metrics.pairs if pair.trades.count), key=lambda pair: -pair.trades.count)
    for pair in traded[:CORRELATED]:
        series[pair.pair] = _booked(result, pair.pair, step)
    others = {one.result.strategy: _stepped(one.result.ts, one.result.equity, DAY_MS) for one in compared}
    daily = {result.strategy: _stepped(result.ts, result.equity, DAY_MS)} | others
    daily = {name: column for name, column in daily.items() if len(column) == len(daily[result.strategy])}
    pairs = _matrix(series) if len(traded) > 1 else ""
    beside = _matrix(daily) if len(daily) > 1 else ""
    if not pairs and not beside:
        return ""
    kind = f"{result.unit.capitalize()}s"
    what = (
        f"{kind}: profit per {unit}, booked when a trade closes (the {min(CORRELATED, len(traded))} most traded)."
    )
    if index is None:
        what += " The market is not shown: it comes with --compare."
    parts = ((f"{kind}, per {unit}", pairs), ("Strategies, per day", beside))
    shown = (f'<div class="wide"><h3>{title}</h3>{part}</div>' for title, part in parts if part)
    return section("Correlation", what, *shown)


def _market(result: Result, compared: Sequence[Analysis]) -> Floats | None:
    same = (
        one.result for one in compared if one.result.strategy in MARKETS and len(one.result.ts) == len(result.ts)
    )
    found = next(same, None)
    return None if found is None else found.equity


def _stepped(ts: Ints, curve: Floats, step: int) -> Floats:
    """Returns of `curve` between multiples of `step` of UTC."""
    ends = np.append(np.flatnonzero(np.diff((ts[1:] - 1) // step)) + 1, len(ts) - 1)
    return growth(np.concatenate([curve[:1], curve[ends]]))


def _booked(result: Result, pair: str, step: int) -> Floats:
    """Profit of one pair's trades by the step of time in which they closed."""
    places = (result.ts[1:] - 1) // step
    profit = np.zeros(int(places[-1] - places[0]) + 1)
    for trade in result.trades:
        if trade.pair == pair:
            profit[min(max((trade.closed - 1) // step - places[0], 0), len(profit) - 1)] += trade.pnl
    return profit


def _matrix(series: dict[str, Floats]) -> str:
    """Correlations of all with all; none of what did not move."""
    columns = np.column_stack(list(series.values()))
    centred = columns - columns.mean(axis=0)
    size = np.sqrt((centred**2).sum(axis=0))
    product = np.outer(size, size)
    values = np.divide(centred.T @ centred, product, out=np.zeros_like(product), where=product > 0)
    names = list(series)
    rows = (
        cell(name)
        + "".join(
            cell("") if place == other else heat(float(value), number(float(value), 2), 1.0)
            for other, value in enumerate(values[place])
        )
        for place, name in enumerate(names)
    )
    return table(("", *names), rows, css="heat")


def beside(told: Analysis, compared: Sequence[Analysis]) -> str:
    """The strategies on the same data and costs, row by row."""
    if not compared:
        return ""
    heads = ("strategy", "total return", "95% interval", "Sharpe", "95% interval", "volatility", "max drawdown",
             "trades", "hit rate", "before costs", "costs")  # fmt: skip
    rows = []
    for one in sorted((told, *compared), key=lambda one: -one.metrics.total_return):
        figures, paid = one.metrics, one.metrics.money
        total, ratio = one.statistics.total_return, one.statistics.sharpe
        middle = (
            f"{percent(total.low)} to {percent(total.high)}" if total else "too short",
            number(figures.sharpe),
            f"{number(ratio.low)} to {number(ratio.high)}" if ratio else NONE,
            percent(figures.volatility),
            percent(figures.max_drawdown.depth),
            f"{figures.trades.count:,}",
            percent(figures.trades.hit_rate),
            number(paid.gross, 0, plus=True),
            number(paid.net - paid.gross, 0, plus=True),
        )
        first = signed(figures.total_return, percent(figures.total_return, plus=True))
        name = escape(one.result.strategy)
        rows.append(
            f"<td>{f'<strong>{name}</strong>' if one is told else name}</td>" + first + "".join(map(cell, middle))
        )
    return section(
        "Beside the others", "Same data, same period, same costs: slippage, fees and funding.", table(heads, rows)
    )
