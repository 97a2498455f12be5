"""What is said of a backtest, in words and numbers: for the table of the command and for the screen alike."""

from collections.abc import Callable
from typing import NamedTuple

from cockpit import format
from core.domain.backtest import Document, Estimate, Metrics, Money, PairFigures

STANDINGS = {"losing": "✗ LOSING", "unproven": "? UNPROVEN", "promising": "+ PROMISING"}
SPANS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"))


class Figure(NamedTuple):
    """A named figure, what stands beside it (its 95% interval, or what it rests on), and the sign of a gain."""

    name: str
    value: str
    beside: str = ""
    gain: float = 0.0


def standing(document: Document) -> str:
    """Its standing with a sign, for those who see no colour."""
    return STANDINGS.get(document.standing, document.standing.upper())


def span(ms: int) -> str:
    """The length of a bar: 15m, 1h, 1d."""
    return next((f"{ms // size}{name}" for size, name in SPANS if ms >= size and ms % size == 0), f"{ms}ms")


def data(document: Document) -> str:
    """The data it ran on, and whose they are."""
    source = document.source
    return f"{source.name or source.content[:12]}{f' ({source.venue})' if source.venue else ''}"


def day(ms: int) -> str:
    """A date, UTC."""
    return format.clock(ms, "%Y-%m-%d")


def period(document: Document) -> str:
    """From when to when, and how many bars that is."""
    m = document.metrics
    return f"{day(m.first_ms)} → {day(m.last_ms)}, {m.bars:,} bars of {span(document.source.bar_ms)}"


def between(estimate: Estimate | None, form: Callable[[float], str]) -> str:
    """The ends of a 95% interval."""
    return f"{form(estimate.low)} … {form(estimate.high)}" if estimate else "no interval: too few"


def money(value: float | None) -> str:
    """A signed sum, two decimals."""
    return format.NONE if value is None else format.number(value, sign=True)


def ratio(value: float | None) -> str:
    """A signed ratio such as Sharpe's."""
    return format.NONE if value is None else format.signed(value)


def plain(value: float | None) -> str:
    """A ratio that has no sign."""
    return format.NONE if value is None else format.plain(value)


def share(value: float | None, decimals: int = 0) -> str:
    """A share of 1 without sign, as percent."""
    return format.NONE if value is None else f"{value:.{decimals}%}"


def figures(document: Document) -> list[Figure]:
    """The figures that decide, each beside its interval."""
    m, s, t = document.metrics, document.statistics, document.metrics.trades
    trials = "1 trial" if s.trials == 1 else f"{s.trials:,} trials"
    return [
        Figure(
            "net return", format.percent(m.total_return), between(s.total_return, format.percent), m.total_return
        ),
        Figure("Sharpe", ratio(m.sharpe), between(s.sharpe, ratio), m.sharpe or 0.0),
        Figure("deflated Sharpe", share(s.deflated_sharpe), f"confidence after {trials}"),
        Figure("max drawdown", format.percent(m.max_drawdown.depth), between(s.max_drawdown, format.percent)),
        Figure("profit a trade", money(t.expectancy), between(s.trade_profit, money), t.expectancy or 0.0),
        Figure("trades", f"{t.count:,}", f"hit {share(t.hit_rate)}, profit factor {plain(t.profit_factor)}"),
    ]


def more(document: Document) -> list[Figure]:
    """What else one may want to know."""
    m = document.metrics
    held = m.trades.hours_median
    return [
        Figure("a year", format.percent(m.cagr), "compound", m.cagr),
        Figure("volatility", share(m.volatility, 1), "a year"),
        Figure("Sortino", ratio(m.sortino)),
        Figure("Calmar", ratio(m.calmar)),
        Figure("VaR of a day", format.percent(m.var_day), "5% worst"),
        Figure("underwater", f"{m.underwater.bars:,}", "bars at most"),
        Figure("in the market", share(m.time_in_market), "of the time"),
        Figure("exposure", share(m.exposure, 1), "of equity, mean"),
        Figure("turnover", f"{m.turnover:,.0f}", "× equity a year"),
        Figure("held", f"{held:,.0f} h" if held is not None else format.NONE, "median"),
    ]


def costs(metrics: Metrics) -> list[tuple[str, float]]:
    """From the profit at the market's own prices to what was left."""
    m = metrics.money
    return [
        ("gross", m.gross),
        ("slippage", m.slippage),
        ("fees", m.fees),
        ("funding", m.funding),
        ("net", m.net),
    ]


def contenders(document: Document) -> list[tuple[str, Metrics, Estimate | None]]:
    """This run and those it is compared with: name, figures, interval of the net return."""
    own = (document.strategy, document.metrics, document.statistics.total_return)
    return [own, *((other.strategy, other.metrics, other.total_return) for other in document.compared)]


def still_open(metrics: Metrics) -> Money | None:
    """What open positions have made so far, costs included: what the run has beside the closed trades of its pairs.
    None where that is nothing."""
    run, closed = metrics.money, metrics.trades.money
    left = {name: getattr(run, name) - getattr(closed, name) for name in Money.__struct_fields__}
    return Money(**left) if abs(left["net"]) >= 0.005 else None


def pairs(metrics: Metrics) -> list[PairFigures]:
    """Pairs that traded, the best first."""
    traded = [pair for pair in metrics.pairs if pair.trades.count or pair.open]
    return sorted(traded, key=lambda pair: (-pair.trades.money.net, pair.pair))
