"""The gate over whatever may be: it never stops a way back, and what it lets pass never breaks a limit."""

from decimal import Decimal as D

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from core.domain.orders import Action, Intent, Leg, Origin
from core.domain.trading import TradingState
from core.execution.risk import ZERO, Limits, Standing, Values, refusal
from tests.execution.fakes import BTC, ETH, SPECS

PRICES = {BTC: D(1000), ETH: D(100)}
PAIRS = {"BTC/ETH": (BTC, ETH), "BTC": (BTC,), "ETH": (ETH,)}

amounts = st.integers(-2_000, 20_000).map(D)
values = st.dictionaries(st.sampled_from([BTC, ETH]), st.integers(-9_000, 9_000).map(D))
shares = st.integers(0, 100).map(lambda n: D(n) / 100)


@st.composite
def standings(draw: st.DrawFn) -> Standing:
    return Standing(
        free=draw(amounts),
        gross=abs(draw(amounts)),
        equity=draw(amounts),
        state=draw(st.sampled_from(TradingState)),
        reason="for the sake of it",
        trouble=draw(st.sampled_from(["", "they disagree"])),
        own=abs(draw(amounts)),
        maintenance=abs(draw(amounts)),
        pairs=draw(st.dictionaries(st.sampled_from(sorted(PAIRS)), st.integers(0, 9_000).map(D))),
        nets=draw(values),
        grosses=draw(values.map(lambda found: {name: abs(value) for name, value in found.items()})),
        orders=draw(st.integers(0, 30)),
        intents=draw(st.integers(0, 30)),
        marks=draw(st.dictionaries(st.sampled_from([BTC, ETH]), st.integers(1, 5_000).map(D))),
    )


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    """Some of them: where all are drawn, the tightest hides the others."""
    most = st.integers(500, 9_000).map(D)
    bounds: dict[str, st.SearchStrategy[object]] = {
        **dict.fromkeys(("budget", "max_pair", "max_asset_net", "max_asset_gross", "max_net"), most),
        "max_leverage": st.integers(1, 10).map(D),
        "max_orders_minute": st.integers(1, 40),
        "max_intents_bar": st.integers(1, 30),
        "max_price_gap": shares,
        "max_funding": shares,
        "min_margin_ratio": st.integers(1, 5).map(D),
        "min_liquidation_distance": shares,
    }
    chosen = draw(st.sets(st.sampled_from(sorted(bounds)), max_size=3))
    return Limits(
        free_share=draw(shares.map(lambda share: 1 - share / 2)),
        max_gross=draw(most) * 2,
        max_order=draw(most),
        min_notional=D(10),
        leverage=draw(st.integers(1, 20).map(D)),
        taker=D("0.0005"),
        maintenance_rate=draw(shares) / 10,
        **{name: draw(bounds[name]) for name in sorted(chosen)},  # type: ignore[arg-type]
    )


@st.composite
def intents(draw: st.DrawFn, action: Action = Action.OPEN) -> Intent:
    pair = draw(st.sampled_from(sorted(PAIRS)))
    sign, contracts = draw(st.sampled_from([1, -1])), draw(st.integers(1, 200))
    legs = tuple(Leg(name, D(sign * contracts * (1 - 2 * i))) for i, name in enumerate(PAIRS[pair]))
    origin = draw(st.sampled_from([Origin.STRATEGY, Origin.MANUAL, Origin.RECOVERY]))
    return Intent("pxI0", 0, "zscore", pair, action, origin, legs, "test", tuple(range(len(legs))))


rates = st.dictionaries(st.sampled_from([BTC, ETH]), st.integers(-50, 50).map(lambda n: D(n) / 10_000))


@settings(max_examples=150)
@given(intents(Action.CLOSE), standings(), limits(), rates)
def test_what_only_reduces_or_hedges_is_never_refused(
    intent: Intent, standing: Standing, bounds: Limits, funding: Values
) -> None:
    assert refusal(intent, standing, bounds, SPECS, PRICES, funding) == ""


@settings(max_examples=250)
@given(st.lists(intents(), min_size=5, max_size=25), limits(), rates, st.integers(1_000, 20_000))
def test_what_is_accepted_one_after_another_stays_within_every_limit(
    wishes: list[Intent], bounds: Limits, funding: Values, equity: int
) -> None:
    """Starting flat, at prices that stand still."""
    standing, taken = Standing(free=D(equity), gross=ZERO, equity=D(equity)), []
    for wish in wishes:
        if not refusal(wish, standing, bounds, SPECS, PRICES, funding):
            standing = standing.after(wish, bounds, SPECS, PRICES)
            taken.append(wish)
    if not taken:
        return
    # Counted again, from the intents alone: every contract is worth 10 USDT.
    worth = [(wish.pair, leg.instrument, leg.size * 10) for wish in taken for leg in wish.legs]
    gross = sum((abs(value) for _, _, value in worth), ZERO)
    nets = {name: sum((value for _, n, value in worth if n == name), ZERO) for name in (BTC, ETH)}
    assert gross <= min(bounds.max_gross, bounds.budget) and gross <= bounds.max_leverage * equity
    assert all(abs(value) <= bounds.max_order for _, _, value in worth)
    assert all(sum((abs(v) for p, _, v in worth if p == pair), ZERO) <= bounds.max_pair for pair in PAIRS)
    for name in (BTC, ETH):
        assert sum((abs(v) for _, n, v in worth if n == name), ZERO) <= bounds.max_asset_gross
    assert all(abs(net) <= bounds.max_asset_net for net in nets.values())
    assert abs(sum(nets.values(), ZERO)) <= bounds.max_net
    assert len(worth) <= bounds.max_orders_minute and len(taken) <= bounds.max_intents_bar
    assert gross / bounds.leverage <= equity
    maintenance: D = gross * bounds.maintenance_rate
    assert not maintenance or equity / maintenance >= bounds.min_margin_ratio
    assert (equity - maintenance) / gross >= bounds.min_liquidation_distance


@settings(max_examples=100)
@given(intents(), standings(), limits(), rates)
def test_what_is_refused_is_refused_at_twice_the_size(
    intent: Intent, standing: Standing, bounds: Limits, funding: Values
) -> None:
    """But for the least order, whose way out is to ask for more, and nets, whose sign a larger one may turn."""
    bounds = msgspec.structs.replace(bounds, min_notional=ZERO, max_asset_net=D("Infinity"), max_net=D("Infinity"))
    twice = msgspec.structs.replace(intent, legs=tuple(Leg(leg.instrument, 2 * leg.size) for leg in intent.legs))
    if refusal(intent, standing, bounds, SPECS, PRICES, funding):
        assert refusal(twice, standing, bounds, SPECS, PRICES, funding)


@settings(max_examples=100)
@given(intents(), standings(), limits(), rates)
def test_an_answer_is_one_line_and_always_the_same(
    intent: Intent, standing: Standing, bounds: Limits, funding: Values
) -> None:
    said = refusal(intent, standing, bounds, SPECS, PRICES, funding)
    assert "\n" not in said and said == refusal(intent, standing, bounds, SPECS, PRICES, funding)
