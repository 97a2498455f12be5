"""Whatever is traded, under whatever assumptions: ledger and exchange tell the same at every bar, what a run skips
to be quick has nothing in it, and every cent is accounted for."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.backtest import venue as venues
from core.backtest.events import Assumptions, EventRun
from core.backtest.venue import BacktestVenue
from core.data.panel import Panel
from core.data.synthetic import synthetic_panel
from core.domain.account import book_pnl
from core.domain.market import Bar
from core.matching.types import Event
from core.portfolio.books import Books
from core.walk import Walk
from tests.backtest.scenes import Plan, books_of, enter, fills, leave, play

ASSETS = ("BTC", "ETH", "SOL", "XRP", "DOGE")
BARS = 120


class Case(NamedTuple):
    """A run, drawn: three to five assets, one or two strategies that enter and leave at random, more or less on
    margin, with stops that are often reached or never, and an exchange that is swift and deep or neither."""

    seed: int
    assets: tuple[str, ...]
    strategies: int
    leverage: int
    catastrophe: str
    turnover: float
    assumed: Assumptions

    @property
    def panel(self) -> Panel:
        return _thinned(synthetic_panel(self.seed, BARS, self.assets), self.turnover, self.seed)

    def play(self) -> EventRun:
        plans = [_plan(self.assets, 1000 * self.leverage, self.seed + number) for number in range(self.strategies)]
        return play(
            self.panel,
            *plans,
            assumed=self.assumed,
            leverage=self.leverage,
            catastrophe=self.catastrophe,
            seed=self.seed,
        )


cases = st.builds(
    Case,
    st.integers(0, 10_000),
    st.integers(3, 5).map(lambda count: ASSETS[:count]),
    st.integers(1, 2),
    st.sampled_from([1, 1, 5, 20]),
    st.sampled_from(["0.004", "0.02", "0.5"]),
    st.sampled_from([1.0, 1e-2, 1e-4]),
    st.builds(
        Assumptions,
        fees=st.sampled_from(["okx-regular", "none", "-1/7"]),
        slippage=st.sampled_from(["book", "flat", "none", "flat:12.5"]),
        latency=st.sampled_from(["none", "40", "30000", "900~1.5"]),
        inside=st.sampled_from(["adverse", "replay"]),
        rejects=st.sampled_from([0.0, 0.05, 0.4]),
    ),
)


def _plan(assets: tuple[str, ...], size: float, seed: int) -> Plan:
    chance = np.random.default_rng(seed)
    pairs = [f"{a}/{b}" for a, b in combinations(assets, 2)]
    plan: dict[int, list[object]] = {}
    for t in range(BARS):
        wishes = [enter(pair, int(chance.choice((-1, 1))), size * chance.uniform(1, 20)) for pair in pairs]
        exits = [leave(pair) for pair in pairs if chance.random() < 0.15]
        gone = {wish.pair for wish in exits}
        chosen = [wish for wish in wishes if chance.random() < 0.06 and wish.pair not in gone]
        plan[t] = [*chosen, *exits]
    return plan  # type: ignore[return-value]


def _thinned(panel: Panel, share: float, seed: int) -> Panel:
    """The same market with less turnover, and one asset in twenty silent in a bar."""
    volume = panel.volume * share
    volume[np.random.default_rng(seed).random(volume.shape) < 0.05] = 0.0
    volume[0] = panel.volume[0]
    grids = panel.open, panel.high, panel.low, panel.close, volume
    return Panel.of(panel.ts, panel.assets, grids, panel.bar_ms, panel.funding_rate)


@contextmanager
def watched() -> Iterator[list[int]]:
    """Audits each bar of the runs inside; yields the bars that were."""
    bars: list[int] = []
    finish = Walk.finish

    async def audited(walk: Walk, bar: Bar) -> None:
        await finish(walk, bar)
        books, venue = walk.journal.books, walk.venue
        assert isinstance(venue, BacktestVenue)
        _same(books, venue)
        bars.append(bar.open_ms)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Walk, "finish", audited)
        yield bars


def _same(books: Books, venue: BacktestVenue) -> None:
    """Cash, positions and stops, in the ledger and at the exchange; and every pair has both its legs."""
    books.check()
    matching = venue.matching
    stops = {trigger.client_id: -trigger.size for trigger in matching.triggers()}
    assert stops == {p.client_id: -p.size for p in books.protections.values()}
    held = {name: size for name, (size, _) in matching.held().items()}
    assert held == {name: books.net(name) for name in venue.instruments if books.net(name)}
    assert held == {protection.instrument: -protection.size for protection in books.protections.values()}
    assert abs(matching.cash - books.cash) < Decimal("1e-9")
    working = {(intent.strategy, intent.pair) for intent in books.unsettled()}
    for book in books.open_books():
        if (book.strategy, book.pair) not in working:
            one, two = book.legs
            assert one.size * book.side > 0 > two.size * book.side, book


@settings(max_examples=15, deadline=None)
@given(cases)
def test_ledger_and_exchange_tell_the_same_at_every_bar(case: Case) -> None:
    with watched() as bars:
        run = case.play()
    assert len(bars) == BARS - 1 and bars == sorted(bars)
    result = run.result
    prices = dict(zip(case.panel.assets, case.panel.close[-1].tolist(), strict=True))
    left = [book_pnl(book, prices) for book in books_of(case.panel, run.events).open_books()]
    made = sum(trade.pnl for trade in result.trades) + sum(left)
    assert made == pytest.approx(result.equity[-1] - result.equity[0], abs=1e-5)
    assert result.fills == len(fills(run)) and np.isfinite(result.equity).all()
    assert (np.diff(result.costs[:, 0]) <= 1e-9).all(), "nobody is paid for crossing a spread"


@settings(max_examples=15, deadline=None)
@given(cases)
def test_a_bar_that_is_passed_over_has_nothing_in_it(case: Case) -> None:
    """A run looks into a bar where something of ours could happen: one that looks into all of them is the same."""
    quick = case.play()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(venues, "quiet", lambda *given: False)
        thorough = case.play()
    _alike(quick, thorough)


@settings(max_examples=15, deadline=None)
@given(cases)
def test_a_price_that_nobody_asks_for_changes_nothing(case: Case) -> None:
    """A run moves a mark when something depends on it: one that moves all of them at every bar is the same."""
    lazy = case.play()
    looked = BacktestVenue._look

    def eager(self: BacktestVenue, instrument: str = "") -> list[Event]:
        market = self.market
        opens = market.opens()
        for i, spec in enumerate(market.instruments):
            if spec.id not in self._quoted and opens[i] > 0 and spec.id not in self.matching.held():
                self._quoted.add(spec.id)
                assert not self._step(self._now, (), [market.opening(i)])
        return looked(self, instrument)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BacktestVenue, "_look", eager)
        patch.setattr(venues, "quiet", lambda *given: False)
        _alike(lazy, case.play())


def _alike(one: EventRun, two: EventRun) -> None:
    assert one.result.digest == two.result.digest
    assert one.result.trades == two.result.trades
    assert (one.result.equity == two.result.equity).all() and (one.result.costs == two.result.costs).all()
    assert (one.result.exposure == two.result.exposure).all()
    assert fills(one) == fills(two)
