"""What is told of a backtest: the form of `--json`, of the report's head and of the cockpit's backtest screen.

One `Document` a run, a few hundred numbers: figures, intervals, an equity curve of at most 400 points. Money is in
the settlement currency, times are ms UTC, shares are fractions (0.05 is 5%), losses and costs are negative. A
figure that is not defined (the Sharpe ratio of a flat line, the profit factor of no trades) is None, never NaN.
"""

import msgspec

ENGINES = ("events", "vectorised")
"""What can run a backtest."""
BASELINES = ("buy-hold", "ma-cross", "rsi", "supertrend")
"""Plain rules to compare with that trade each asset for itself. They can be run, but have nothing to set."""


class Source(msgspec.Struct, frozen=True):
    """What a run was fed with. `manifest`: hash of the data set's manifest ("": a bare file); `content`: the hash
    of the Panel itself; `first_ms`, `last_ms`: open times of the first and last bar that was traded on."""

    name: str
    venue: str
    manifest: str
    content: str
    assets: tuple[str, ...]
    bar_ms: int
    first_ms: int
    last_ms: int


class Drawdown(msgspec.Struct, frozen=True):
    """A way down from a peak of the equity and back. `depth` share of the peak (negative); `recovered_ms` is 0
    while it lasts; `bars` from the peak to the recovery (or to the end), `down_bars` to the trough."""

    depth: float = 0.0
    peak_ms: int = 0
    trough_ms: int = 0
    recovered_ms: int = 0
    bars: int = 0
    down_bars: int = 0


class Money(msgspec.Struct, frozen=True):
    """From the profit at the market's own prices to what was left: `gross` + slippage + fees + funding = `net`."""

    gross: float = 0.0
    slippage: float = 0.0
    fees: float = 0.0
    funding: float = 0.0
    net: float = 0.0


class TradeFigures(msgspec.Struct, frozen=True):
    """Closed round trips, after costs and funding. Averages are money a trade; `expectancy_share` is the mean
    profit over the entry value of its legs; hours are market time from first to last fill."""

    count: int = 0
    wins: int = 0
    hit_rate: float | None = None
    profit_factor: float | None = None
    average_win: float | None = None
    average_loss: float | None = None
    payoff: float | None = None
    expectancy: float | None = None
    expectancy_share: float | None = None
    hours_mean: float | None = None
    hours_median: float | None = None
    money: Money = Money()


class PairFigures(msgspec.Struct, frozen=True):
    """One pair's share of a run: its closed trades, and its mean gross `exposure` over the equity. `open`: still
    held at the end, so part of its profit is not in `trades`."""

    pair: str
    trades: TradeFigures
    exposure: float
    open: bool


class Metrics(msgspec.Struct, frozen=True):
    """The figures of one run; how each is defined is said in core/backtest/metrics.py.

    Yearly figures count 365 days. VaR and CVaR are the 5% worst of returns (negative: a loss), per bar and per UTC
    day. `exposure` is mean gross value over equity, `turnover` traded value over mean equity a year."""

    first_ms: int
    last_ms: int
    bars: int
    years: float
    deposit: float
    equity: float
    total_return: float
    cagr: float
    volatility: float
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    max_drawdown: Drawdown
    underwater: Drawdown
    var_bar: float
    cvar_bar: float
    var_day: float
    cvar_day: float
    skew: float | None
    kurtosis: float | None
    exposure: float
    time_in_market: float
    turnover: float
    orders: int
    fills: int
    money: Money
    trades: TradeFigures
    pairs: tuple[PairFigures, ...]


class Estimate(msgspec.Struct, frozen=True):
    """A figure and the interval that holds it with 95% confidence."""

    value: float
    low: float
    high: float


class Statistics(msgspec.Struct, frozen=True):
    """How far the figures can be trusted; how each is found is said in core/backtest/statistics.py.

    Intervals are None where there are too few bars or trades to resample (`block`, in bars; `draws`). `trials`
    counts every run ever made on this data. `probabilistic_sharpe` and `deflated_sharpe` are the confidence, 0 to
    1, that the true Sharpe ratio is above zero and above `expected_max_sharpe` (yearly), which is
    what the best of so many trials without any edge would show; `min_bars` is the track record needed to call the
    Sharpe ratio positive (None: no length would do). `overfitting` is a sweep's probability of overfitting."""

    block: int
    draws: int
    total_return: Estimate | None
    sharpe: Estimate | None
    max_drawdown: Estimate | None
    trade_profit: Estimate | None
    trials: int
    probabilistic_sharpe: float | None
    deflated_sharpe: float | None
    expected_max_sharpe: float
    min_bars: float | None
    overfitting: float | None = None


class Curve(msgspec.Struct, frozen=True):
    """At most 400 points, evenly spaced bars, first and last kept: equity, and share below its peak so far."""

    ts: tuple[int, ...]
    equity: tuple[float, ...]
    drawdown: tuple[float, ...]


class Compared(msgspec.Struct, frozen=True):
    """Another strategy on the same data and costs, and the interval of its return."""

    strategy: str
    metrics: Metrics
    curve: Curve
    total_return: Estimate | None = None


class Document(msgspec.Struct, frozen=True):
    """One run, told whole. `verdict` is a sentence; `standing`: losing, unproven or promising. `months`: return per
    month of UTC, "2024-08" to a share. `digest`: hash over decisions and fills, in order. `run`: its folder's name
    under `runs` of home, and `report`: the path of its HTML file, "" where that was not kept."""

    strategy: str
    engine: str
    standing: str
    verdict: str
    params: dict[str, float | int | str]
    source: Source
    assumptions: dict[str, str]
    seed: int
    digest: str
    notes: tuple[str, ...]
    open_pairs: tuple[str, ...]
    metrics: Metrics
    statistics: Statistics
    curve: Curve
    months: dict[str, float]
    compared: tuple[Compared, ...] = ()
    run: str = ""
    report: str = ""
