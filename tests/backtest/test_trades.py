"""Round trips told by a ledger's events: what each pair's book did from flat to flat, to the last cost."""

from decimal import Decimal

import pytest

from core.backtest.result import Trade
from core.backtest.trades import Trades
from core.data.synthetic import HOUR_MS, START_MS
from core.domain.account import Bill, BillKind
from core.domain.orders import Action, Fill, Intent, Leg, Origin
from core.matching.listing import swap
from core.portfolio.events import AnyEvent, Billed, Filled, Intended, Part, Settled, Share
from tests.backtest.scenes import BTC, ETH

SPECS = {spec.id: spec for spec in (swap("BTC", 60_000.0), swap("ETH", 3_000.0))}
OPEN, CLOSE = Action.OPEN, Action.CLOSE


class Told:
    """A journal, line by line. Fills cost 0.1 USDT against the mark, unless told otherwise, and 1 in fees."""

    def __init__(self) -> None:
        self.slipped: dict[str, float] = {}
        self.trades = Trades(SPECS, self.slipped, HOUR_MS)
        self.made = 0

    @property
    def closed(self) -> list[Trade]:
        return self.trades.closed

    def say(self, event: AnyEvent) -> None:
        self.trades.hear(event)

    def intend(
        self, name: str, action: Action, *, pair: str = "BTC/ETH", strategy: str = "one", side: int = 1
    ) -> None:
        legs = Leg(BTC, Decimal(1)), Leg(ETH, Decimal(1))
        why = "in" if action is OPEN else "out"
        intent = Intent(
            name, 0, strategy, pair, action, Origin.STRATEGY, legs, why, side=side, score=1.5, probability=0.7
        )
        self.say(Intended(0, intent))

    def fill(
        self, instrument: str, parts: dict[str, str], price: str, hour: float = 0.0, *, slip: float = -0.1
    ) -> None:
        """One execution; `parts`: contracts by intent."""
        self.made += 1
        name, ts = str(self.made), START_MS + round(hour * HOUR_MS)
        size = sum((Decimal(part) for part in parts.values()), Decimal(0))
        self.slipped[name] = slip
        fill = Fill(name, "", "", instrument, size, Decimal(price), Decimal(-1), "USDT", ts)
        fee = Decimal(-1) / len(parts)
        leg = 0 if instrument == BTC else 1
        self.say(Filled(ts, fill, tuple(Part(intent, leg, Decimal(part), fee) for intent, part in parts.items())))

    def settle(self, name: str, outcome: str = "done") -> None:
        self.say(Settled(0, name, outcome))

    def fund(self, amount: str, pair: str = "BTC/ETH", strategy: str = "one") -> None:
        bill = Bill("1", 0, BillKind.FUNDING, BTC, "USDT", Decimal(amount), Decimal(0))
        self.say(Billed(0, bill, (Share(strategy, pair, Decimal(amount)),)))


def test_a_round_trip_is_told_whole() -> None:
    told = Told()
    told.intend("i0", OPEN)
    told.fill(BTC, {"i0": "5"}, "60000", 2)
    told.fill(ETH, {"i0": "-10"}, "3000", 2)
    told.settle("i0")
    told.fund("-1.25")
    told.intend("i1", CLOSE)
    told.fill(BTC, {"i1": "-5"}, "61000", 5.5)
    told.fill(ETH, {"i1": "10"}, "3030", 5.5)
    assert not told.closed
    told.settle("i1")
    (trade,) = told.closed
    made = 0.05 * 1_000 - 1.0 * 30
    assert trade == Trade(
        strategy="one",
        pair="BTC/ETH",
        side=1,
        opened=START_MS + 2 * HOUR_MS,
        closed=START_MS + round(5.5 * HOUR_MS),
        bars=3,
        gross=6_000.0,
        price=trade.price,
        slippage=trade.slippage,
        fees=-4.0,
        funding=-1.25,
        entry="in",
        exit="out",
        score=1.5,
        probability=0.7,
    )
    assert (trade.price, trade.slippage) == pytest.approx((made + 0.4, -0.4))
    assert trade.pnl == pytest.approx(made - 4.0 - 1.25)


def test_slippage_moves_between_price_and_cost_and_never_the_profit() -> None:
    pnl = []
    for slip in (0.0, -7.0):
        told = Told()
        told.intend("i0", OPEN)
        told.fill(BTC, {"i0": "5"}, "60000", slip=slip)
        told.intend("i1", CLOSE)
        told.fill(BTC, {"i1": "-5"}, "60500", 1, slip=slip)
        told.settle("i1")
        (trade,) = told.closed
        assert trade.slippage == 2 * slip and trade.price == pytest.approx(25.0 - 2 * slip)
        pnl.append(trade.pnl)
    assert pnl[0] == pytest.approx(pnl[1])


def test_a_fill_of_two_intents_is_shared_by_its_parts() -> None:
    told = Told()
    told.intend("i0", OPEN, strategy="one")
    told.intend("j0", OPEN, strategy="two")
    told.fill(BTC, {"i0": "6", "j0": "2"}, "60000", slip=-0.8)
    for name, strategy, back in (("i1", "one", "-6"), ("j1", "two", "-2")):
        told.intend(name, CLOSE, strategy=strategy)
        told.fill(BTC, {name: back}, "60000", 1, slip=0.0)
        told.settle(name)
    one, two = told.closed
    assert (one.strategy, two.strategy) == ("one", "two")
    assert (one.gross, two.gross) == (3_600.0, 1_200.0)
    assert (one.slippage, two.slippage) == pytest.approx((-0.6, -0.2))
    assert (one.fees, two.fees) == (-1.5, -1.5)


def test_books_that_give_each_other_what_they_hold_trade_at_the_mark() -> None:
    """A crossing is a fill of size zero: nobody pays a spread, and each has its part."""
    told = Told()
    for name, strategy, size in (("i0", "one", "5"), ("j0", "two", "-5")):
        told.intend(name, OPEN, strategy=strategy)
        told.fill(BTC, {name: size}, "60000", slip=0.0)
    told.intend("i1", CLOSE, strategy="one")
    told.intend("j1", CLOSE, strategy="two")
    told.fill(BTC, {"i1": "-5", "j1": "5"}, "60400", 3, slip=0.0)
    told.settle("i1")
    told.settle("j1")
    assert [trade.price for trade in told.closed] == [pytest.approx(20.0), pytest.approx(-20.0)]
    assert [trade.slippage for trade in told.closed] == [0.0, 0.0]


def test_what_is_left_open_is_no_trade() -> None:
    told = Told()
    told.intend("i0", OPEN)
    told.fill(BTC, {"i0": "5"}, "60000")
    told.settle("i0")
    told.intend("i1", CLOSE)
    told.fill(BTC, {"i1": "-4"}, "61000", 1)
    told.settle("i1")
    assert not told.closed
    told.intend("i2", CLOSE)
    told.fill(BTC, {"i2": "-1"}, "62000", 4)
    told.settle("i2")
    assert [trade.bars for trade in told.closed] == [4] and told.closed[0].price == pytest.approx(40 + 20 + 0.3)


def test_gross_is_what_was_entered_without_what_was_taken_back() -> None:
    """The second leg got half of what was wanted: the first gives half of it back, and the pair is that much."""
    told = Told()
    told.intend("i0", OPEN)
    told.fill(BTC, {"i0": "10"}, "60000")
    told.fill(ETH, {"i0": "-10"}, "3000")
    told.fill(BTC, {"i0": "-5"}, "59900")
    told.settle("i0")
    told.intend("i1", CLOSE)
    told.fill(BTC, {"i1": "-5"}, "60000")
    told.fill(ETH, {"i1": "10"}, "3000")
    told.settle("i1")
    assert told.closed[0].gross == 6_000.0 and told.closed[0].exit == "out"


def test_an_entry_that_is_taken_back_whole_is_a_trade_of_what_it_held() -> None:
    told = Told()
    told.intend("i0", OPEN)
    told.fill(BTC, {"i0": "10"}, "60000")
    told.fill(BTC, {"i0": "-4"}, "59900")
    told.fill(BTC, {"i0": "-6"}, "59900")
    told.settle("i0", "unwound")
    (trade,) = told.closed
    assert (trade.exit, trade.gross, trade.bars) == ("taken back", 6_000.0, 0)
    assert trade.pnl == pytest.approx(-10 - 3)


def test_an_entry_that_never_traded_is_no_trade() -> None:
    told = Told()
    told.intend("i0", OPEN)
    told.settle("i0", "aborted")
    told.fund("-1")
    assert not told.closed
    told.intend("i1", OPEN)
    told.fill(BTC, {"i1": "5"}, "60000")
    told.intend("i2", CLOSE)
    told.fill(BTC, {"i2": "-5"}, "60000")
    told.settle("i2")
    assert told.closed[0].funding == 0.0, "what settled before it was opened is not its own"


def test_the_same_pair_again_is_another_trade() -> None:
    told = Told()
    for number, side in enumerate((1, -1)):
        told.intend(f"i{number}", OPEN, side=side)
        told.fill(BTC, {f"i{number}": str(5 * side)}, "60000", 10 * number)
        told.settle(f"i{number}")
        told.intend(f"o{number}", CLOSE)
        told.fill(BTC, {f"o{number}": str(-5 * side)}, "61000", 10 * number + 1)
        told.settle(f"o{number}")
    assert [(trade.side, trade.price > 0) for trade in told.closed] == [(1, True), (-1, False)]
