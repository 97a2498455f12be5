"""Small markets written down by hand, and a trader that does as it is told: what a run makes of them is known."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np

from core.backtest.events import Assumptions, EventRun, market_of, run_events
from core.data.panel import Panel
from core.data.synthetic import HOUR_MS, START_MS
from core.domain.account import Book, Holdings
from core.domain.backtest import Source
from core.domain.decision import Decision, Entry, Exit, View
from core.domain.instrument import Instrument, pairs_of
from core.domain.market import Bar
from core.domain.orders import Fill
from core.execution.risk import Limits
from core.features.pairs import Frame
from core.portfolio.books import Books
from core.portfolio.events import AnyEvent, Filled
from core.strategies.params import Params
from core.strategies.registry import Strategy
from core.trader import Trader

DEEP = 1e9
"""Value traded in a bar of which no order of these tests takes more than the best level."""
FLAT = Assumptions(slippage="flat")
BTC, ETH, SOL = "BTC-USDT-SWAP", "ETH-USDT-SWAP", "SOL-USDT-SWAP"
Plan = Mapping[int, Sequence[Entry | Exit]]
"""What is wished for at the close of which bar, by its number."""


class Blank:
    """Features of a trader that looks at nothing."""

    names: tuple[str, ...] = ("nothing",)
    hash = "blank"
    warmup = 0

    def __init__(self, assets: Sequence[str]) -> None:
        self.assets = tuple(assets)
        self.pairs = pairs_of(self.assets)

    def update(self, bar: Bar) -> Frame:
        n, p = len(self.assets), len(self.pairs)
        usable, zeros = np.ones(p, np.bool_), np.zeros(n)
        return Frame(bar.open_ms, np.zeros((p, 1)), usable, bar.ohlcv[:, 3], bar.funding, zeros, np.eye(n), zeros)


def hand(
    opens: Sequence[Sequence[float]],
    closes: Sequence[Sequence[float]] | None = None,
    *,
    low: Mapping[tuple[int, int], float] | None = None,
    high: Mapping[tuple[int, int], float] | None = None,
    funding: Mapping[tuple[int, int], float] | None = None,
    turnover: float | Sequence[float] | Sequence[Sequence[float]] = DEEP,
    assets: Sequence[str] = ("BTC", "ETH", "SOL"),
) -> Panel:
    """Bars of an hour. Without `closes` each bar closes where the next one opens. `low`, `high` and `funding` by
    (bar, asset); elsewhere a bar has no wicks, and nothing settles. `turnover` in the quote currency."""
    first = np.array(opens, np.float64)
    last = np.vstack([first[1:], first[-1:]]) if closes is None else np.array(closes, np.float64)
    lows, highs = np.minimum(first, last), np.maximum(first, last)
    rate = np.full(first.shape, np.nan)
    for grid, given in ((lows, low), (highs, high), (rate, funding)):
        for place, value in (given or {}).items():
            grid[place] = value
    ts = START_MS + HOUR_MS * np.arange(len(first), dtype=np.int64)
    names = tuple(assets)[: first.shape[1]]
    return Panel.of(ts, names, (first, highs, lows, last, np.asarray(turnover) / last), HOUR_MS, rate)


def still(bars: int = 8, prices: Sequence[float] = (60_000.0, 3_000.0)) -> list[list[float]]:
    """Opens of a market that does not move, to be altered."""
    return [list(prices) for _ in range(bars)]


def enter(pair: str = "BTC/ETH", side: int = 1, notional: float = 3_000.0) -> Entry:
    return Entry(pair, side, notional, 0.5, 0.5, z=-1.5, score=1.5, probability=1.0, reason="told so")


def leave(pair: str = "BTC/ETH", *, barred: bool = False) -> Exit:
    return Exit(pair, "told to", barred)


def told(plan: Plan, name: str = "told") -> Strategy:
    """A strategy that wishes as written; what is not held is not left, what is held is not entered again."""

    def decide(view: View, holdings: Holdings, params: Params) -> Decision:
        wishes = plan.get((view.ts - START_MS) // view.bar_ms - 1, ())
        held = {book.pair for book in holdings.books}
        free = {pair.name for pair in view.pairs} - held - holdings.working.keys()
        entries = tuple(wish for wish in wishes if isinstance(wish, Entry) and wish.pair in free)
        exits = tuple(wish for wish in wishes if isinstance(wish, Exit) and wish.pair in held)
        pairs = len(view.pairs)
        reasons, scores, sides = np.zeros(pairs, np.uint8), np.zeros(pairs), np.zeros(pairs, np.int8)
        return Decision(view.ts, name, entries, exits, (), reasons, ("",), scores, sides)

    return Strategy(name=name, decide=decide, params=Params)


def trader_of(panel: Panel, rule: Strategy, *, leverage: int = 1, most: int = 1_000_000) -> Trader:
    """A trader whom no limit but the margin holds back."""
    instruments = {spec.id: spec for spec in market_of(panel, 1, 0, 7).instruments}
    bounds = Decimal("0.95"), Decimal(most), Decimal(most), Decimal(10), Decimal(leverage), Decimal("0.0005")
    return Trader(rule, Params(), Blank(panel.assets), None, instruments, Limits(*bounds))


def play(
    panel: Panel,
    *plans: Plan,
    assumed: Assumptions = FLAT,
    cash: int = 100_000,
    leverage: int = 1,
    catastrophe: str = "0.25",
    seed: int = 7,
    run: Callable[..., EventRun] = run_events,
) -> EventRun:
    """Run traders that do as each of `plans` says, from bar 1 on."""
    names = ("told", "other", "third")
    traders = [
        trader_of(panel, told(plan, name), leverage=leverage) for plan, name in zip(plans, names, strict=False)
    ]
    source = Source(
        "hand", "", "", panel.content_hash, panel.assets, panel.bar_ms, int(panel.ts[1]), int(panel.ts[-1])
    )
    market = market_of(panel, 1, 0, seed)
    share = Decimal(catastrophe)
    return run(traders, market, Decimal(cash), assumed, source, seed=seed, catastrophe_share=share)


def fills(run: EventRun, instrument: str = "") -> list[Fill]:
    """All fills, or those of one instrument, in order."""
    told = [event.fill for event in run.events if isinstance(event, Filled)]
    return [fill for fill in told if instrument in ("", fill.instrument)]


def folded(panel: Panel, events: Sequence[AnyEvent]) -> Iterator[tuple[AnyEvent, Books]]:
    """Each event, and the books after it, audited."""
    books = Books({spec.id: spec for spec in market_of(panel, 1, 0, 7).instruments})
    for event in events:
        books.apply(event)
        books.check()
        yield event, books


def books_of(panel: Panel, events: Sequence[AnyEvent]) -> Books:
    """The books that events leave behind."""
    return list(folded(panel, events))[-1][1]


def spec(panel: Panel, instrument: str) -> Instrument:
    return next(spec for spec in market_of(panel, 1, 0, 7).instruments if spec.id == instrument)


def value(book: Book, prices: Mapping[str, float]) -> tuple[float, float]:
    """Signed values of both legs."""
    one, two = (float(leg.size * leg.contract) * prices[leg.asset] for leg in book.legs)
    return one, two


def best(price: float, tick: str, *, buy: bool, half_bp: str = "1") -> Decimal:
    """The best price around a mark: half a spread of 2 bp away, on the next tick outward."""
    mark, step = Decimal(repr(price)), Decimal(tick)
    half = max(step, mark * Decimal(half_bp) / 10_000)
    ticks = (mark + half) / step if buy else (mark - half) / step
    return ticks.to_integral_value(ROUND_CEILING if buy else ROUND_FLOOR) * step
