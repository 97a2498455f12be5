"""The figures of one run: return, risk, exposure, trades and costs.

Returns are simple and per bar, the risk-free rate is zero (collateral earns nothing), a year has 365 days: these
markets never close. Definitions are those of quantstats (which the tests compare), but for VaR and CVaR: theirs
assume a normal distribution, which fat tails mock; these are read off the returns themselves.
"""

from collections.abc import Sequence

import numpy as np

from core.backtest.result import Result, Trade
from core.data.panel import Ints
from core.domain.backtest import Drawdown, Metrics, Money, PairFigures, TradeFigures
from core.domain.market import Floats

DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS
TAIL = 0.05
PRICE, SLIPPAGE, FEES, FUNDING, GROSS, HOURS = range(6)
"""Columns of `trade_columns`."""


def metrics(result: Result) -> Metrics:
    """Every figure of `result`. ValueError if it has no bar.

    `turnover` counts the entry value of each round trip twice (in and out), what is still held once.
    `time_in_market` is the share of closes at which anything was held."""
    ts, equity, source = result.ts, result.equity, result.source
    if len(equity) < 2:
        raise ValueError(f"{result.strategy}: a run of no bars has no figures")
    returns, years = growth(equity), (len(equity) - 1) * source.bar_ms / YEAR_MS
    total = float(np.prod(1 + returns) - 1)
    cagr, yearly = yearly_growth(total, years), YEAR_MS / source.bar_ms
    downs = drawdowns(ts, equity)
    deepest = min(downs, key=lambda down: down.depth, default=Drawdown())
    daily = growth(np.concatenate([equity[:1], equity[1:][last_rows(ts, "D")]]))
    shares = np.abs(result.exposure[1:]) / held(equity)[1:, None]
    gross = shares.sum(axis=1)
    table = trade_columns(result.trades)
    held_last = float(np.abs(result.exposure[-1]).sum())
    traded = (2 * float(table[:, GROSS].sum()) + held_last) / float(held(equity).mean())
    return Metrics(
        first_ms=source.first_ms,
        last_ms=int(ts[-1]),
        bars=len(returns),
        years=years,
        deposit=float(equity[0]),
        equity=float(equity[-1]),
        total_return=total,
        cagr=cagr,
        volatility=float(returns.std(ddof=1) * np.sqrt(yearly)) if len(returns) > 1 else 0.0,
        sharpe=sharpe(returns, yearly),
        sortino=sortino(returns, yearly),
        calmar=cagr / -deepest.depth if deepest.depth else None,
        max_drawdown=deepest,
        underwater=max(downs, key=lambda down: down.bars, default=Drawdown()),
        var_bar=tail(returns)[0],
        cvar_bar=tail(returns)[1],
        var_day=tail(daily)[0],
        cvar_day=tail(daily)[1],
        skew=skew(returns),
        kurtosis=kurtosis(returns),
        exposure=float(gross.mean()),
        time_in_market=float((gross > 0).mean()),
        turnover=traded / years,
        orders=result.orders,
        fills=result.fills,
        money=_money(result),
        trades=_figures(table),
        pairs=_pairs(result, table, shares.mean(axis=0)),
    )


def held(equity: Floats) -> Floats:
    """`equity` as a divisor: an account that is ruined stays at its last worth above zero."""
    alive = np.logical_and.accumulate(equity > 0)
    return np.where(alive, equity, equity[max(0, int(alive.sum()) - 1)])


def growth(equity: Floats) -> Floats:
    """(T,) simple returns of (T+1,) equity; a ruined account loses all it has once, and then stays at nothing."""
    left = np.where(np.logical_and.accumulate(equity > 0), equity, 0.0)
    return np.divide(np.diff(left), left[:-1], out=np.zeros(len(left) - 1), where=left[:-1] > 0)


def yearly_growth(total: float, years: float) -> float:
    """CAGR: the constant yearly return that makes `total` in `years`; the largest float where that overflows."""
    with np.errstate(over="ignore"):
        return float(np.nan_to_num(np.float64(1 + total) ** (1 / years) - 1))


def sharpe(returns: Floats, yearly: float) -> float | None:
    """Mean over sample deviation, times the root of `yearly` bars a year (Sharpe 1994; risk-free rate 0)."""
    deviation = returns.std(ddof=1) if len(returns) > 1 else 0.0
    return float(returns.mean() / deviation * np.sqrt(yearly)) if deviation > 0 else None


def sortino(returns: Floats, yearly: float) -> float | None:
    """Mean over the root mean square of the losing returns, all bars counted (Sortino and Price 1994; target 0)."""
    downside = np.sqrt((np.minimum(returns, 0) ** 2).mean())
    return float(returns.mean() / downside * np.sqrt(yearly)) if downside > 0 else None


def tail(returns: Floats) -> tuple[float, float]:
    """Historical VaR (5% quantile) and CVaR (mean of what is not above it: Rockafellar and Uryasev 2000)."""
    limit = np.quantile(returns, TAIL)
    return float(limit), float(returns[returns <= limit].mean())


def skew(returns: Floats) -> float | None:
    """Adjusted sample skewness G1 (Joanes and Gill 1998)."""
    n = len(returns)
    if n < 3 or not (spread := returns.std()):
        return None
    return float(((returns - returns.mean()) ** 3).mean() / spread**3 * np.sqrt(n * (n - 1)) / (n - 2))


def kurtosis(returns: Floats) -> float | None:
    """Adjusted sample excess kurtosis G2, 0 for a normal distribution (Joanes and Gill 1998)."""
    n = len(returns)
    if n < 4 or not (spread := returns.std()):
        return None
    excess = ((returns - returns.mean()) ** 4).mean() / spread**4 - 3
    return float(((n + 1) * excess + 6) * (n - 1) / ((n - 2) * (n - 3)))


def drawdowns(ts: Ints, equity: Floats) -> list[Drawdown]:
    """Every stretch below an earlier peak, in order of time: ts and equity (T+1,)."""
    peaks = np.maximum.accumulate(equity)
    edges = np.flatnonzero(np.diff(equity < peaks, prepend=False, append=False))
    found, final = [], len(equity)
    for first, after in edges.reshape(-1, 2):  # rows first..after-1 are under water
        low = first + int(np.argmin(equity[first:after]))
        found.append(
            Drawdown(
                depth=float(equity[low] / peaks[first] - 1),
                peak_ms=int(ts[first - 1]),
                trough_ms=int(ts[low]),
                recovered_ms=int(ts[after]) if after < final else 0,
                bars=int(min(after, final - 1) - first + 1),
                down_bars=int(low - first + 1),
            )
        )
    return found


def last_rows(ts: Ints, unit: str) -> Ints:
    """Rows of ts[1:] that close a calendar unit of UTC ("D", "M", "Y"); a close at midnight ends the day before."""
    stamps = (ts[1:] - 1).astype("datetime64[ms]").astype(f"datetime64[{unit}]")
    return np.append(np.flatnonzero(stamps[1:] != stamps[:-1]), len(stamps) - 1)


def trade_columns(trades: Sequence[Trade]) -> Floats:
    """(n, 6): price, slippage, fees, funding, gross (money) and hours of each trade."""
    rows = [
        (trade.price, trade.slippage, trade.fees, trade.funding, trade.gross, (trade.closed - trade.opened) / 3.6e6)
        for trade in trades
    ]
    return np.array(rows, np.float64).reshape(-1, 6)


def _money(result: Result) -> Money:
    slippage, fees, funding = (float(cost) for cost in result.costs[-1] - result.costs[0])
    net = float(result.equity[-1] - result.equity[0])
    return Money(net - slippage - fees - funding, slippage, fees, funding, net)


def _figures(table: Floats) -> TradeFigures:
    """Figures of trades in the form of `trade_columns`; a trade that made exactly nothing is no win."""
    if not len(table):
        return TradeFigures()
    profit, hours = table[:, PRICE : FUNDING + 1].sum(axis=1), table[:, HOURS]
    won, lost = profit[profit > 0], profit[profit < 0]
    win, loss = (float(part.mean()) if len(part) else None for part in (won, lost))
    gross, slippage, fees, funding = (float(value) for value in table[:, PRICE : FUNDING + 1].sum(axis=0))
    return TradeFigures(
        count=len(table),
        wins=len(won),
        hit_rate=len(won) / len(table),
        profit_factor=float(won.sum() / -lost.sum()) if len(lost) else None,
        average_win=win,
        average_loss=loss,
        payoff=win / -loss if win is not None and loss is not None else None,
        expectancy=float(profit.mean()),
        expectancy_share=float(profit.sum() / table[:, GROSS].sum()) if table[:, GROSS].sum() else None,
        hours_mean=float(hours.mean()),
        hours_median=float(np.median(hours)),
        money=Money(gross, slippage, fees, funding, float(profit.sum())),
    )


def _pairs(result: Result, table: Floats, exposure: Floats) -> tuple[PairFigures, ...]:
    """Every pair that was held or traded, the best first."""
    rows: dict[str, list[int]] = {name: [] for name in result.pairs}
    for row, trade in enumerate(result.trades):
        rows.setdefault(trade.pair, []).append(row)
    shares = dict(zip(result.pairs, exposure.tolist(), strict=True))
    figures = (
        PairFigures(name, _figures(table[own]), shares.get(name, 0.0), name in result.open_pairs)
        for name, own in rows.items()
        if own or shares[name] > 0
    )
    return tuple(sorted(figures, key=lambda pair: -pair.trades.money.net))
