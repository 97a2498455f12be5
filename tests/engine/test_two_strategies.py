"""Divergence and clusters on one account and the same assets: books apart, sums equal to the exchange's, always."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal as D
from pathlib import Path

import msgspec
import pytest

from core.backtest.events import Assumptions, EventRun, market_of, run_events
from core.data.panel import Panel
from core.data.synthetic import ASSETS, synthetic_panel
from core.domain.market import Bar
from core.domain.orders import Origin
from core.portfolio.events import Decided, Filled, Intended, Planned, Reported
from core.strategies.params import ClusterParams, DivergenceParams
from core.trader import Trader
from core.walk import Walk
from tests.backtest.tapes import source_of, trader_of
from tests.strategies.made_clusters import cluster_trader, made_bundle

START = 450
BARS = 250
CLUSTER = ClusterParams(capital_usdt=40_000.0)
PAIRS = DivergenceParams(base_size_usdt=3_000.0, max_concurrent_positions=3, correlation_threshold=1.0)
ROOMY = D(100_000)
Watch = Callable[[Walk, Bar], None]


def market(seed: int = 11) -> Panel:
    return synthetic_panel(seed, START + BARS, ASSETS[:5])


def budgeted(trader: Trader, budget: D) -> Trader:
    trader.limits = msgspec.structs.replace(trader.limits, budget=budget, max_gross=D(200_000))
    return trader


def run(
    panel: Panel,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    watch: Watch | None = None,
    assumed: Assumptions | None = None,
    budgets: tuple[D, D] = (ROOMY, ROOMY),
) -> EventRun:
    """Both strategies over the bars; after each one: books and exchange agree in every instrument, no order is at
    work, and each position has its one stop. `watch` sees the walk then, too."""
    finish = Walk.finish

    async def watched(walk: Walk, bar: Bar) -> None:
        await finish(walk, bar)
        books = walk.journal.books
        books.check()
        net = {name: books.net(name) for name in walk.instruments if books.net(name)}
        summed: dict[str, D] = {}
        for book in books.open_books():
            for leg in book.legs:
                summed[leg.instrument] = summed.get(leg.instrument, D(0)) + leg.size
        assert {name: size for name, size in summed.items() if size} == net
        assert {at.instrument: at.size for at in await walk.venue.positions() if at.size} == net
        assert await walk.venue.open_orders() == []
        assert {stop.instrument: -stop.size for stop in await walk.venue.protections()} == net
        if watch is not None:
            watch(walk, bar)

    monkeypatch.setattr(Walk, "finish", watched)
    traders = [
        budgeted(trader_of(panel, PAIRS), budgets[0]),
        budgeted(cluster_trader(made_bundle(folder, panel, START), panel, CLUSTER), budgets[1]),
    ]
    return run_events(
        traders,
        market_of(panel, START, BARS, 7),
        D(100_000),
        assumed or Assumptions(),
        source_of(panel, START),
        seed=7,
        catastrophe_share=D("0.25"),
    )


def opened(done: EventRun) -> dict[str, int]:
    """Intents of each strategy."""
    names = [event.intent.strategy for event in done.events if isinstance(event, Intended)]
    return {name: names.count(name) for name in dict.fromkeys(names)}


def test_both_trade_the_same_assets_and_what_is_opposite_meets_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared: set[str] = set()

    def watch(walk: Walk, bar: Bar) -> None:
        holders: dict[str, set[str]] = {}
        for book in walk.journal.books.open_books():
            for leg in book.legs:
                holders.setdefault(leg.asset, set()).add(book.strategy)
        shared.update(asset for asset, names in holders.items() if len(names) == 2)

    done = run(market(), tmp_path, monkeypatch, watch)
    assert len(shared) == 5, "each asset was held by both at once"
    assert min(opened(done).values()) > 50
    inside = [event for event in done.events if isinstance(event, Filled) and not event.fill.size]
    assert inside and all(sum(part.size for part in event.parts) == 0 for event in inside)
    change = done.result.equity[-1] - done.result.equity[0]
    open_books = len(done.result.open_pairs)
    assert open_books or abs(sum(trade.pnl for trade in done.result.trades) - change) < 1e-6


def test_budgets_hold_each_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budgets = {"zscore": D(13_000), "cluster": D(3_000)}
    most = dict.fromkeys(budgets, D(0))

    def watch(walk: Walk, bar: Bar) -> None:
        prices = walk.traders[0].prices(bar)
        for name in budgets:
            legs = [leg for book in walk.journal.books.open_books() if book.strategy == name for leg in book.legs]
            own = sum((abs(leg.size) * leg.contract * prices[leg.instrument] for leg in legs), D(0))
            most[name] = max(most[name], own)

    done = run(market(), tmp_path, monkeypatch, watch, budgets=(budgets["zscore"], budgets["cluster"]))
    told = [event for event in done.events if isinstance(event, Decided)]
    for name, budget in budgets.items():
        assert any(event.strategy == name and "its budget is" in event.text for event in told)
        # It is judged when the order is decided; prices then move.
        assert budget / 2 < most[name] < budget * D("1.2")


def test_a_stop_of_what_both_hold_closes_in_both_books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The catastrophe order is the account's: when it fires, every book gives up its part, and the other leg of a
    pair is closed at once."""
    panel, found = market(), list[tuple[int, int, int]]()

    def look(walk: Walk, bar: Bar) -> None:
        """The first bar at whose end both hold an asset on the same side."""
        sides: dict[str, dict[str, D]] = {}
        for book in walk.journal.books.open_books():
            for leg in book.legs:
                sides.setdefault(leg.asset, {})[book.strategy] = leg.size
        for asset, held in sides.items():
            if len(held) == 2 and len({size > 0 for size in held.values()}) == 1 and not found:
                side = 1 if next(iter(held.values())) > 0 else -1
                found.append(((bar.open_ms - int(panel.ts[0])) // panel.bar_ms, panel.assets.index(asset), side))

    with monkeypatch.context() as patch:
        run(panel, tmp_path, patch, look)
    (t, i, side), name = found[0], f"{panel.assets[found[0][1]]}-USDT-SWAP"
    grid = "low" if side > 0 else "high"
    wicked = getattr(panel, grid).copy()
    wicked[t + 1, i] *= 0.5 if side > 0 else 2.0
    done = run(replace(panel, **{grid: wicked}), tmp_path, monkeypatch)
    fired = [event for event in done.events if isinstance(event, Filled) and event.fill.algo_id]
    assert [event.fill.instrument for event in fired] == [name]
    intents = {event.intent.id: event.intent for event in done.events if isinstance(event, Intended)}
    assert {intents[part.intent].strategy for part in fired[0].parts} == {"zscore", "cluster"}
    assert sum(part.size for part in fired[0].parts) == fired[0].fill.size
    assert any(intent.origin is Origin.RECOVERY and intent.strategy == "zscore" for intent in intents.values())


def test_thin_books_and_refusals_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of the orders is refused, and in every other bar a book takes only a part of an order."""
    panel = market()
    thin = panel.volume.copy()
    thin[START::2] *= 1e-4
    done = run(replace(panel, volume=thin), tmp_path, monkeypatch, assumed=Assumptions(rejects=0.33, latency="200"))
    reports = [event.report for event in done.events if isinstance(event, Reported)]
    assert min(opened(done).values()) > 50
    orders = {event.order.client_id: event.order for event in done.events if isinstance(event, Planned)}
    assert any(report.code for report in reports), "some were refused"
    assert any(0 < report.filled < abs(orders[report.client_id].size) for report in reports), "some got a part"
