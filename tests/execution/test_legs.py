"""The two-leg state machine: every arrow of its docstring, and what always holds, whatever an exchange does."""

from collections.abc import Iterator
from decimal import Decimal as D

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.instrument import Instrument
from core.domain.orders import Action, Intent, Leg, Order, OrderReport, OrderState, OrderType, Origin
from core.execution.legs import ATTEMPTS, Cancel, Finish, Send, Step, Wait, next_step, unhedged
from core.execution.sizing import Unsizable, size_legs
from core.execution.slices import count, smallest
from core.portfolio.account import Holding
from core.portfolio.intents import IntentState, LegProgress, OrderRecord
from tests.execution.fakes import BTC, ETH, SPECS

ZERO = D(0)


def intent(
    btc: str = "10", eth: str = "-10", action: Action = Action.OPEN, order: tuple[int, int] = (0, 1)
) -> Intent:
    legs = (Leg(BTC, D(btc)), Leg(ETH, D(eth)))
    return Intent("pxI0", 0, "zscore", "BTC/ETH", action, Origin.STRATEGY, legs, "test", order)


def record(
    leg: int, size: D, state: OrderState, filled: D = ZERO, code: str = "", message: str = ""
) -> OrderRecord:
    name = (BTC, ETH)[leg]
    made = OrderRecord(Order("pxI0L0A0", "pxI0", leg, 0, name, size, OrderType.MARKET, 0), 0)
    made.report(OrderReport("pxI0L0A0", "1", name, state, filled, None, 0, code, message))
    return made


def leg(
    wanted: str, filled: str = "0", attempts: int = 0, *, open: bool = False, last: OrderRecord | None = None
) -> LegProgress:
    """One whose `attempts` orders have all fallen short, unless it has got all it wanted."""
    failures = attempts if D(filled) != D(wanted) else 0
    return LegProgress(D(wanted), D(filled), open, attempts, last, failures, traded=filled != "0")


def step(wish: Intent, *legs: LegProgress, fresh: bool = True) -> Step:
    return next_step(wish, legs, SPECS, fresh)


REFUSED = record(1, D(-10), OrderState.REJECTED, code="51008", message="insufficient margin")
REFUSED_FIRST = record(0, D(10), OrderState.REJECTED, code="51008", message="insufficient margin")


class TestOpening:
    def test_the_first_leg_goes_alone(self) -> None:
        assert step(intent(), leg("10"), leg("-10")) == (Send(0, D(10), False),)

    def test_the_order_of_the_intent_says_which_leg_is_first(self) -> None:
        assert step(intent(order=(1, 0)), leg("10"), leg("-10")) == (Send(1, D(-10), False),)

    def test_nothing_is_done_while_an_order_is_at_work(self) -> None:
        assert step(intent(), leg("10", "4", 1, open=True), leg("-10")) == Wait()
        assert step(intent(), leg("10", "10", 1), leg("-10", "0", 1, open=True)) == Wait()

    def test_the_second_leg_follows_the_first(self) -> None:
        assert step(intent(), leg("10", "10", 1), leg("-10")) == (Send(1, D(-10), False),)

    def test_the_hedge_matches_what_the_first_leg_got(self) -> None:
        assert step(intent(), leg("10", "4", 1), leg("-10")) == (Send(1, D(-4), False),)

    def test_the_hedge_never_exceeds_it(self) -> None:
        assert step(intent(), leg("10", "4.9", 1), leg("-10")) == (Send(1, D(-4), False),)

    def test_both_filled_is_done(self) -> None:
        assert step(intent(), leg("10", "10", 1), leg("-10", "-10", 1)) == Finish("done")

    def test_a_leg_that_gets_nothing_is_tried_again(self) -> None:
        assert step(intent(), leg("10", "0", 1, last=REFUSED_FIRST), leg("-10")) == (Send(0, D(10), False),)

    def test_nothing_filled_in_the_end_is_aborted_with_the_exchanges_reason(self) -> None:
        answer = step(intent(), leg("10", "0", ATTEMPTS, last=REFUSED_FIRST), leg("-10"))
        assert answer == Finish("aborted", "51008 insufficient margin")

    def test_the_rest_of_the_second_leg_is_sent_again(self) -> None:
        assert step(intent(), leg("10", "10", 1), leg("-10", "-3", 1)) == (Send(1, D(-7), False),)

    def test_a_refused_second_leg_takes_the_first_back(self) -> None:
        wish = step(intent(), leg("10", "10", 1), leg("-10", "0", ATTEMPTS, last=REFUSED))
        assert wish == (Send(0, D(-10), True),)

    def test_taking_back_is_asked_for_until_it_is_done(self) -> None:
        for attempts in (2, 10, 1000):
            wish = step(intent(), leg("10", "6", attempts), leg("-10", "0", ATTEMPTS, last=REFUSED))
            assert wish == (Send(0, D(-6), True),)

    def test_all_taken_back_is_unwound_with_the_exchanges_reason(self) -> None:
        sold = record(0, D(-10), OrderState.FILLED, D(10))
        first = msgspec.structs.replace(leg("10", "0", last=sold), traded=True)
        answer = step(intent(), first, leg("-10", "0", ATTEMPTS, last=REFUSED))
        assert answer == Finish("unwound", "51008 insufficient margin")

    def test_a_part_hedged_pair_keeps_the_matched_part(self) -> None:
        assert step(intent(), leg("10", "10", 1), leg("-10", "-3", ATTEMPTS)) == (Send(0, D(-7), True),)
        assert step(intent(), leg("10", "3", 2), leg("-10", "-3", ATTEMPTS)) == Finish("done")

    def test_too_small_a_fill_to_hedge_is_taken_back_and_not_tried_anew(self) -> None:
        """0.5 contracts of BTC are less than one of ETH."""
        bought = record(0, D(10), OrderState.CANCELLED, D("0.5"))
        assert step(intent(), leg("10", "0.5", 1, last=bought), leg("-10")) == (Send(0, D("-0.5"), True),)
        sold = record(0, D("-0.5"), OrderState.FILLED, D("0.5"))
        first = msgspec.structs.replace(leg("10", "0", 0, last=sold), traded=True)
        answer = step(intent(), first, leg("-10"))
        assert isinstance(answer, Finish) and answer.outcome == "unwound"


class TestAfterARestart:
    def test_an_entry_that_has_not_traded_is_given_up(self) -> None:
        assert step(intent(), leg("10"), leg("-10"), fresh=False) == Finish(
            "aborted", "the engine was restarted before it traded"
        )

    def test_one_whose_order_may_still_trade_waits(self) -> None:
        assert step(intent(), leg("10", attempts=1, open=True), leg("-10"), fresh=False) == Wait()

    def test_one_that_has_traded_is_hedged(self) -> None:
        assert step(intent(), leg("10", "10", 1), leg("-10"), fresh=False) == (Send(1, D(-10), False),)

    def test_an_exit_goes_on(self) -> None:
        wish = step(intent("-10", "10", Action.CLOSE), leg("-10"), leg("10"), fresh=False)
        assert wish == (Send(0, D(-10), True), Send(1, D(10), True))


class TestClosing:
    def test_both_legs_go_at_once(self) -> None:
        wish = step(intent("-10", "10", Action.CLOSE), leg("-10"), leg("10"))
        assert wish == (Send(0, D(-10), True), Send(1, D(10), True))

    def test_it_waits_for_both(self) -> None:
        assert step(intent("-10", "10", Action.CLOSE), leg("-10", "-10", 1), leg("10", "0", 1, open=True)) == Wait()

    def test_what_is_left_is_sent_again_however_often(self) -> None:
        wish = step(intent("-10", "10", Action.CLOSE), leg("-10", "-10", 1), leg("10", "4", 500, last=REFUSED))
        assert wish == (Send(1, D(6), True),)

    def test_a_leg_that_is_already_gone_is_not_sent(self) -> None:
        """The exchange has closed it: an intent then wants nothing of it."""
        assert step(intent("0", "10", Action.CLOSE), leg("0"), leg("10")) == (Send(1, D(10), True),)

    def test_flat_is_done(self) -> None:
        done = step(intent("-10", "10", Action.CLOSE), leg("-10", "-10", 1), leg("10", "10", 2))
        assert done == Finish("done")


# -- what always holds --------------------------------------------------------------------------------


def swap(name: str, lot: D, least: int, most: D = D(10**9)) -> Instrument:
    return Instrument(name, name[:3], "USDT", "USDT", D(1), lot, D("0.01"), lot * least, most, D(10))


lots = st.sampled_from([D("0.01"), D("0.1"), D(1), D(5), D(100)])
prices = st.decimals("0.5", "5000", places=2)
answers = st.lists(st.tuples(st.booleans(), st.fractions(0, 1, max_denominator=7)), max_size=40)


class Simulated:
    """An exchange without prices: each order is refused, or filled in part. When the script ends it fills all."""

    def __init__(self, wish: Intent, specs: dict[str, Instrument], script: Iterator[tuple[bool, object]]) -> None:
        self.intent, self.specs, self.script = wish, specs, script
        self.state = IntentState(wish, barred=False)
        self.held = {leg.instrument: Holding(D(1)) for leg in wish.legs}
        for leg in wish.legs if wish.action is Action.CLOSE else ():
            self.held[leg.instrument].size = -leg.size
        self.working: list[OrderRecord] = []
        self.worst = ZERO
        """The largest share of the wish that ever stood unhedged."""

    @property
    def bound(self) -> D:
        """A slice at a time, as far as the lots of both legs let it be cut."""
        specs = [self.specs[leg.instrument] for leg in self.intent.legs]
        lots = (smallest(spec) / abs(leg.size) for leg, spec in zip(self.intent.legs, specs, strict=True))
        return D(1) / count(self.intent.slices, self.intent.legs, specs) + 2 * max(lots)

    @property
    def filled(self) -> list[D]:
        return self.state.filled

    def ask(self, fresh: bool = True) -> Step:
        return next_step(self.intent, self.state.progress(self.held), self.specs, fresh)

    def send(self, sends: tuple[Send, ...]) -> None:
        assert not self.working, "sent while an order is open"
        assert len({send.leg for send in sends}) == len(sends)
        for send in sends:
            spec, wanted = self.specs[self.intent.legs[send.leg].instrument], self.intent.legs[send.leg].size
            assert send.size and send.size % spec.lot == 0 and abs(send.size) <= spec.max_market_size
            refused_once = send.reducing and abs(send.size) == abs(self._left(send.leg))
            assert abs(send.size) >= smallest(spec) or refused_once, "the venue would refuse this"
            after = self.filled[send.leg] + send.size
            assert after * wanted >= 0 and abs(after) <= abs(wanted), "beyond what is wanted"
            backwards = send.size * wanted < 0
            assert send.reducing == (backwards or self.intent.action is Action.CLOSE)
            order = Order("pxI0L0A0", "pxI0", send.leg, 0, spec.id, send.size, OrderType.MARKET, 0)
            self.working.append(OrderRecord(order, 0))
            self.state.orders[send.leg].append(self.working[-1])

    def _left(self, leg: int) -> D:
        closing = self.intent.action is Action.CLOSE
        return self.intent.legs[leg].size - self.filled[leg] if closing else self.filled[leg]

    def answer(self) -> None:
        """The exchange ends one open order."""
        made = self.working.pop(0)
        order = made.order
        spec = self.specs[order.instrument]
        refused, share = next(self.script, (False, 1))
        refused |= abs(order.size) < smallest(spec)
        got = ZERO if refused else spec.round_size(order.size * D(share.numerator) / D(share.denominator))
        ended = OrderState.REJECTED if refused else OrderState.CANCELLED
        made.report(OrderReport("pxI0L0A0", "1", spec.id, ended, abs(got), None, 0))
        made.traded = abs(got)
        self.state.filled[order.leg] += got
        self.held[order.instrument].size += got
        alone = unhedged(self.intent, self.state.progress(self.held), self.specs)
        shares = (abs(size / leg.size) for size, leg in zip(alone, self.intent.legs, strict=True) if leg.size)
        self.worst = max(self.worst, *shares)

    def run(self) -> Finish:
        for _ in range(4000):
            match self.ask():
                case Finish() as end:
                    assert not self.working
                    return end
                case Wait():
                    assert self.working, "waits for nothing"
                    self.answer()
                case Cancel():
                    raise AssertionError("nothing rests")
                case sends:
                    self.send(sends)
        raise AssertionError("it does not terminate")


@st.composite
def worlds(draw: st.DrawFn, action: Action) -> Simulated:
    specs = tuple(
        swap(
            name,
            lot := draw(lots),
            least := draw(st.integers(1, 4)),
            lot * least * draw(st.sampled_from([4, 10**9])),
        )
        for name in ("AAA-USDT-SWAP", "BBB-USDT-SWAP")
    )
    at = (draw(prices), draw(prices))
    coarse = max(spec.notional(smallest(spec), price) for spec, price in zip(specs, at, strict=True))
    try:
        legs = size_legs(specs, at, draw(st.sampled_from([-1, 1])), coarse * draw(st.integers(1, 50)) * D("1.05"))
    except Unsizable:
        legs = Leg(specs[0].id, 4 * specs[0].lot), Leg(specs[1].id, -4 * specs[1].lot)
    order, slices = draw(st.sampled_from([(0, 1), (1, 0)])), draw(st.sampled_from([1, 1, 2, 5]))
    fit = min(int(abs(leg.size) / smallest(spec)) for leg, spec in zip(legs, specs, strict=True))
    wish = Intent(
        "pxI0", 0, "zscore", "AAA/BBB", action, Origin.STRATEGY, legs, "test", order, slices=min(slices, fit)
    )
    return Simulated(wish, {spec.id: spec for spec in specs}, iter(draw(answers)))


@given(worlds(Action.OPEN))
@settings(max_examples=300, deadline=None)
def test_an_entry_ends_matched_or_with_nothing(world: Simulated) -> None:
    end = world.run()
    specs = [world.specs[leg.instrument] for leg in world.intent.legs]
    shares = [
        world.filled[i] / leg.size for i, leg in enumerate(world.intent.legs)
    ]  # of the wanted: equal shares are equal values
    if end.outcome == "done":
        assert all(world.filled)
        apart = abs(shares[0] - shares[1])
        within = (
            apart * abs(leg.size) <= smallest(spec) for leg, spec in zip(world.intent.legs, specs, strict=True)
        )
        assert any(within), f"legs are matched to {shares}"
    else:
        # What the venue is too coarse to take back at all is less than its least order.
        assert all(abs(f) < smallest(spec) for f, spec in zip(world.filled, specs, strict=True))
        assert end.outcome in ("aborted", "unwound")
    assert world.worst <= world.bound


@given(worlds(Action.OPEN))
@settings(max_examples=100, deadline=None)
def test_aborted_means_that_nothing_was_ever_traded(world: Simulated) -> None:
    traded = False

    def watch() -> None:
        nonlocal traded
        traded |= any(world.filled)

    answer = world.answer
    world.answer = lambda: (answer(), watch())[0]  # type: ignore[method-assign]
    assert (world.run().outcome == "aborted") == (not traded)


@given(worlds(Action.OPEN), st.integers(0, 12))
@settings(max_examples=200, deadline=None)
def test_a_restart_at_any_point_adds_nothing_but_hedges(world: Simulated, steps: int) -> None:
    for _ in range(steps):
        match world.ask():
            case Finish():
                return
            case Wait():
                world.answer()
            case sends:
                world.send(sends)
    fresh, stale = world.ask(fresh=True), world.ask(fresh=False)
    if stale != fresh:
        one = world.intent.order[0]
        assert isinstance(fresh, tuple) and [(send.leg, send.reducing) for send in fresh] == [(one, False)]
        assert not isinstance(stale, tuple) or all(send.reducing for send in stale)
        if isinstance(stale, Finish):
            traded = any(record.filled for records in world.state.orders for record in records)
            assert (stale.outcome == "aborted") == (not traded)


@given(worlds(Action.CLOSE))
@settings(max_examples=200, deadline=None)
def test_an_exit_never_gives_up_and_ends_flat(world: Simulated) -> None:
    end = world.run()
    assert end == Finish("done")
    for leg, filled in zip(world.intent.legs, world.filled, strict=True):
        assert abs(leg.size - filled) < smallest(world.specs[leg.instrument])
    assert world.worst <= world.bound
