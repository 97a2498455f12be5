"""One run as one HTML file that needs nothing else: no address outside, no script, charts drawn inline.

It reads from the verdict down: what was made or lost and whether to believe it, how it came about, what it cost,
which trades did it, and last everything that was supposed. A losing strategy is called one.
"""

from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from math import inf
from pathlib import Path
from typing import NamedTuple

from core.backtest import report_paths, report_trades
from core.backtest.document import Analysis, verdict
from core.backtest.words import NONE, day, length, listed, money, number, percent, section, two
from core.data.files import write_whole
from core.domain.backtest import Estimate, Metrics, Statistics
from core.domain.errors import UserError
from core.domain.market import Floats


class Own(NamedTuple):
    """What the page of a special kind of run has beside: words after the strategy's name (`, walked forward`), and
    `sections` of its own (`words.section`), which come after the equity."""

    name: str = ""
    sections: Sequence[str] = ()


PLAIN = Own()


def write_report(
    path: Path,
    told: Analysis,
    compared: Sequence[Analysis] = (),
    market: Floats | None = None,
    own: Own = PLAIN,
) -> None:
    """`report` into `path`: whole, or the file that was there before. UserError if it cannot be written."""
    page = report(told, compared, market, own)
    try:
        write_whole(path, page.encode())
    except OSError as error:
        raise UserError(f"cannot write the report to {path}: {error.strerror}; choose another --report") from None


def report(
    told: Analysis, compared: Sequence[Analysis] = (), market: Floats | None = None, own: Own = PLAIN
) -> str:
    """The page. `compared`: other strategies' runs on the same data and costs; `market` (T+1,): an index at the
    times of the equity, to correlate with (None: buy-and-hold, if it is among the compared); `own`: what this
    kind of run alone has."""
    style = (files("core.backtest") / "report.css").read_text(encoding="utf-8")
    parts = (
        _header(told, own.name),
        _tiles(told),
        report_paths.beside(told, compared),
        report_paths.equity(told, compared),
        *own.sections,
        report_paths.months(told),
        report_trades.costs(told),
        report_trades.trades(told),
        report_trades.attribution(told),
        report_paths.exposure(told),
        report_paths.correlation(told, compared, market),
        _figures(told),
        _supposed(told),
        report_trades.listing(told.result),
    )
    title = f"{told.result.strategy}{own.name}, {day(told.metrics.first_ms)} to {day(told.metrics.last_ms)}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>{''.join(parts)}"
        "<footer>One path through one period. Past results say little about those to come.</footer>"
        "</main></body></html>\n"
    )


def _header(told: Analysis, name: str) -> str:
    result, figures = told.result, told.metrics
    standing, sentence = verdict(figures, told.statistics)
    source, traded = result.source, len(result.pairs)
    pairs = f", {traded} {'pair' if traded == 1 else 'pairs'}" if result.unit == "pair" else ""
    about = (
        f"{day(figures.first_ms)} to {day(figures.last_ms)}",
        f"{figures.bars:,} bars of {length(source.bar_ms / 3.6e6)}",
        f"{len(source.assets)} assets{pairs}",
        f"{source.name} ({source.venue})" if source.venue else source.name,
        f"{result.engine} engine",
    )
    return (
        f'<header class="{standing}"><h1>{escape(result.strategy + name)}</h1>'
        f'<p class="about">{escape(" · ".join(about))}</p>'
        f'<p class="verdict"><b>{standing}</b>{escape(sentence)}</p></header>'
    )


def _tiles(told: Analysis) -> str:
    """The figures that decide, those with an interval as a strip that shows where zero lies."""
    figures, trust, done = told.metrics, told.statistics, told.metrics.trades
    down = figures.max_drawdown
    tiles = (
        _tile("Total return", percent(figures.total_return, plus=True),
              *_strip(trust.total_return, lambda value: percent(value, plus=True))),
        _tile("Sharpe ratio", number(figures.sharpe), *_strip(trust.sharpe, number)),
        _tile("Maximum drawdown", percent(down.depth), *_strip(trust.max_drawdown, percent)),
        _tile("Profit per trade", money(done.expectancy), *_strip(trust.trade_profit, money)),
        _tile("Deflated Sharpe ratio", percent(trust.deflated_sharpe, 0),
              f"confidence to exceed {number(trust.expected_max_sharpe)}, the Sharpe ratio that luck shows at best "
              f"in {trust.trials:,} trial{'s' * (trust.trials != 1)} on this data"),
        _tile("CAGR", percent(figures.cagr, plus=True),
              f"volatility {percent(figures.volatility)}, Sortino {number(figures.sortino)}, "
              f"Calmar {number(figures.calmar)}"),
        _tile("Trades", f"{done.count:,}",
              f"{percent(done.hit_rate)} winners, profit factor {number(done.profit_factor)}, "
              f"held {length(done.hours_median)} (median)"),
        _tile("Costs and funding", money(figures.money.net - figures.money.gross),
              f"slippage {money(figures.money.slippage)}, fees {money(figures.money.fees)}, "
              f"funding {money(figures.money.funding)}"),
    )  # fmt: skip
    return (
        f'<div class="tiles">{"".join(tiles)}</div><p class="note under">Broad bars are 95% intervals (block '
        "bootstrap), the dark mark is the figure itself, the thin line is zero.</p>"
    )


def _tile(name: str, value: str, about: str, strip: str = "") -> str:
    return (
        f'<div class="tile"><span>{escape(name)}</span><strong>{escape(value)}</strong>{strip}'
        f"<small>{escape(about)}</small></div>"
    )


def _strip(estimate: Estimate | None, written: Callable[[float], str]) -> tuple[str, str]:
    """(words, picture) of an interval: a bar from low to high, a dot at the value, a line at zero."""
    if estimate is None:
        return "too little to give an interval", ""
    left, right = min(0.0, estimate.low), max(0.0, estimate.high)
    at = [
        100 * (value - left) / ((right - left) or 1.0) for value in (estimate.low, estimate.high, estimate.value, 0)
    ]
    low, high, value, zero = at
    picture = (
        f'<div class="strip" aria-hidden="true"><i style="left:{low:.1f}%;width:{high - low:.1f}%"></i>'
        f'<u style="left:{zero:.1f}%"></u><b style="left:{value:.1f}%"></b></div>'
    )
    return f"95%: {written(estimate.low)} to {written(estimate.high)}", picture


def _figures(told: Analysis) -> str:
    """Every figure that has no place above, and the statistics of trust in words."""
    return section(
        "All figures",
        "A year has 365 days; the risk-free rate is zero. VaR and CVaR: the 5% worst, read off the returns.",
        two(
            ("Return and risk", listed(_risk(told.metrics), "figures")),
            ("How far to trust them", listed(_trust(told.metrics, told.statistics), "figures")),
        ),
    )


def _risk(figures: Metrics) -> list[tuple[str, str]]:
    done = figures.trades
    return [
        ("Deposit, equity at the end", f"{number(figures.deposit, 0)}, {number(figures.equity)}"),
        ("Sharpe, Sortino, Calmar", ", ".join(map(number, (figures.sharpe, figures.sortino, figures.calmar)))),
        ("Volatility, a year", percent(figures.volatility)),
        ("VaR, CVaR of a bar", f"{percent(figures.var_bar, 2)}, {percent(figures.cvar_bar, 2)}"),
        ("VaR, CVaR of a day", f"{percent(figures.var_day, 2)}, {percent(figures.cvar_day, 2)}"),
        ("Skew, excess kurtosis of bars", f"{number(figures.skew)}, {number(figures.kurtosis)}"),
        ("Longest under water", f"{figures.underwater.bars:,} bars, from {day(figures.underwater.peak_ms)}"
         if figures.underwater.bars else NONE),
        ("Average win, loss", f"{money(done.average_win)}, {money(done.average_loss)}"),
        ("Payoff, profit factor", f"{number(done.payoff)}, {number(done.profit_factor)}"),
        ("Mean profit over entry value", percent(done.expectancy_share, 3, plus=True)),
        ("Held, mean and median", f"{length(done.hours_mean)}, {length(done.hours_median)}"),
        ("Exposure, time in market", f"{percent(figures.exposure)}, {percent(figures.time_in_market)}"),
        ("Turnover, a year", f"{number(figures.turnover, 1)} times the equity"),
        ("Orders, fills", f"{figures.orders:,}, {figures.fills:,}"),
    ]  # fmt: skip


def _trust(figures: Metrics, trust: Statistics) -> list[tuple[str, str]]:
    needed = f"{trust.min_bars:,.0f} bars ({figures.bars:,} seen)" if trust.min_bars else "no length would do"
    return [
        ("Trials on this data, all told", f"{trust.trials:,}"),
        ("Sharpe ratio of the best of so many by luck", number(trust.expected_max_sharpe)),
        ("Probabilistic Sharpe ratio (one trial)", percent(trust.probabilistic_sharpe)),
        ("Deflated Sharpe ratio (all trials)", percent(trust.deflated_sharpe)),
        ("Track record to call the Sharpe ratio positive", needed),
        ("Probability of overfitting (of its sweep)", percent(trust.overfitting) if trust.overfitting is not None
         else "not from a sweep"),
        ("Intervals", f"moving blocks of {trust.block} bars, {trust.draws:,} draws"),
    ]  # fmt: skip


def _written(value: float | int | str) -> str:
    return "no limit" if value == inf else f"{value:g}" if isinstance(value, float) else str(value)


def _supposed(told: Analysis) -> str:
    """Every assumption, parameter and hash: what one needs to do it again, and to doubt it."""
    result, source = told.result, told.result.source
    origin = [
        ("data", source.name),
        ("venue", source.venue or "not said"),
        ("manifest", source.manifest or "none: a bare file"),
        ("content", source.content),
        ("assets", ", ".join(source.assets)),
        (
            "bars",
            f"{source.bar_ms / 60_000:,.0f} minutes each, opened {day(source.first_ms)} to {day(source.last_ms)}",
        ),
        ("engine", result.engine),
        ("seed", str(result.seed)),
        ("digest of decisions and fills", result.digest or "none"),
        ("still open at the end", ", ".join(result.open_pairs) or "nothing"),
        *((f"note {place}", note) for place, note in enumerate(result.notes, 1)),
    ]
    params = [(name, _written(value)) for name, value in result.params.items()]
    return section(
        "What was supposed",
        "The figures hold under these assumptions, for these parameters, on this data.",
        two(
            (
                "Assumptions",
                listed(result.assumptions.items()) if result.assumptions else "<p>None was stated.</p>",
            ),
            ("Parameters", listed(params) if params else "<p>It has none.</p>"),
        ),
        f'<div class="wide"><h3>Data and run</h3>{listed(origin)}</div>',
    )
