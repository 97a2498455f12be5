"""The gate of new exposure: every refusal by its words, with the value and the limit."""

from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from core.domain.orders import Action, Intent, Leg, Origin
from core.domain.trading import TradingState
from core.execution.risk import Limits, Standing, refusal
from tests.execution.fakes import BTC, ETH, SPECS

LIMITS = Limits(
    D("0.95"), max_gross=D(1000), max_order=D(400), min_notional=D(10), leverage=D(1), taker=D("0.0005")
)
STANDING = Standing(free=D(10_000), gross=D(0), equity=D(10_000))
PRICES = {BTC: D(1000), ETH: D(100)}
RATES = {BTC: D("0.001"), ETH: D("0.0004")}


def entry(contracts: str = "10", origin: Origin = Origin.STRATEGY, action: Action = Action.OPEN) -> Intent:
    """Long BTC, short ETH; a contract of either is worth 10 USDT."""
    legs = (Leg(BTC, D(contracts)), Leg(ETH, -D(contracts)))
    return Intent("pxI0", 0, "zscore", "BTC/ETH", action, origin, legs, "test")


def asked(intent: Intent, standing: Standing = STANDING, **limits: Any) -> str:
    return refusal(intent, standing, msgspec.structs.replace(LIMITS, **limits), SPECS, PRICES, RATES)


def stands(**values: Any) -> Standing:
    return msgspec.structs.replace(STANDING, **values)


def test_an_ordinary_entry_passes() -> None:
    assert asked(entry()) == ""


@pytest.mark.parametrize("origin", [Origin.STRATEGY, Origin.MANUAL])
def test_trouble_refuses_everybody_with_its_own_words(origin: Origin) -> None:
    standing = stands(trouble="cash: the exchange says 1, the ledger 2")
    assert asked(entry(origin=origin), standing) == "cash: the exchange says 1, the ledger 2"


@pytest.mark.parametrize("origin", [Origin.STRATEGY, Origin.MANUAL])
@pytest.mark.parametrize("state", [TradingState.REDUCING, TradingState.HALTED])
def test_an_account_that_is_not_active_refuses_everybody(state: TradingState, origin: Origin) -> None:
    assert asked(entry(origin=origin), stands(state=state, reason="paused by me")) == f"{state}: paused by me"


def test_the_largest_order_is_a_limit_of_each_leg() -> None:
    assert asked(entry("40")) == ""
    assert asked(entry("41")) == "BTC-USDT-SWAP: 410 USDT exceeds the largest order, 400"


def test_the_least_order() -> None:
    assert asked(entry("1")) == ""
    assert asked(entry("1"), min_notional=D("10.01")) == (
        "BTC-USDT-SWAP: 10.00 USDT is below the least order, 10.01"
    )


def test_gross_counts_what_is_held_and_both_legs() -> None:
    standing = stands(gross=D(800))
    assert asked(entry("10"), standing) == ""
    assert asked(entry("11"), standing) == "gross would be 1020 USDT, the limit is 1000"


@pytest.mark.parametrize(
    ("leverage", "free", "passes"), [("1", "211", True), ("1", "210", False), ("5", "43", True)]
)
def test_margin_and_fees_of_both_legs_fit_into_the_free_share(leverage: str, free: str, passes: bool) -> None:
    """200 USDT of margin at leverage 1, and 0.10 of fees, are 95% of 210.63."""
    answer = asked(entry("10"), stands(free=D(free)), leverage=D(leverage))
    assert (answer == "") == passes
    if not passes:
        assert answer == "margin and fees of 200 USDT exceed 95% of the free 210"


@pytest.mark.parametrize(
    ("standing", "limits", "words"),
    [
        ({"own": D(850)}, {"budget": D(1000)}, "zscore would hold 1050 USDT gross, its budget is 1000"),
        (
            {"pairs": {"BTC/ETH": D(150), "SOL/XRP": D(900)}},
            {"max_pair": D(300)},
            "BTC/ETH would hold 350 USDT gross, the limit of a pair is 300",
        ),
        (
            {"nets": {BTC: D(150)}},
            {"max_asset_net": D(200)},
            "BTC-USDT-SWAP would be 250 USDT net, the limit of an asset is 200",
        ),
        (
            {"nets": {ETH: D(-150)}},
            {"max_asset_net": D(200)},
            "ETH-USDT-SWAP would be -250 USDT net, the limit of an asset is 200",
        ),
        (
            {"grosses": {ETH: D(250)}},
            {"max_asset_gross": D(300)},
            "ETH-USDT-SWAP would be 350 USDT gross, the limit of an asset is 300",
        ),
        ({"gross": D(250), "equity": D(200)}, {"max_leverage": D(2)}, "leverage would be 2.25, the limit is 2"),
        ({"equity": D(-3)}, {}, "equity is -3 USDT: it bears no new exposure"),
        ({"orders": 9}, {"max_orders_minute": 10}, "11 orders within a minute, the limit is 10"),
        ({"intents": 3}, {"max_intents_bar": 3}, "4 intents of one bar, the limit is 3"),
        (
            {"marks": {BTC: D(1101), ETH: D(99)}},
            {"max_price_gap": D("0.1")},
            "BTC-USDT-SWAP: the mark 1101 lies 10.1% from the last close 1000, the limit is 10.0%",
        ),
        (
            {"nets": {BTC: D(5000)}, "equity": D(500)},
            {"max_funding": D("0.01")},
            "funding would cost 5.06 USDT a day, 1.01% of equity, the limit is 1.00%",
        ),
        (
            {"maintenance": D(150), "equity": D(500)},
            {"min_margin_ratio": D(3), "maintenance_rate": D("0.1")},
            "margin ratio would be 2.94, the least is 3",
        ),
        (
            {"gross": D(800), "equity": D(100), "maintenance": D(50)},
            {"min_liquidation_distance": D("0.06")},
            "liquidation would be 5.0% away, the least is 6.0%",
        ),
    ],
)
def test_each_limit_names_the_value_and_itself(
    standing: dict[str, Any], limits: dict[str, Any], words: str
) -> None:
    assert asked(entry(), stands(**standing), **limits) == words
    held = {name: {} if isinstance(value, dict) else value for name, value in standing.items()}
    eased = {name: D(10_000) if name.startswith("max") or name == "budget" else D(0) for name in limits}
    if limits:
        assert asked(entry(), stands(**(held | {"marks": {}})), **eased) == ""


def test_a_net_that_comes_back_towards_zero_is_not_held_to_its_limit() -> None:
    """Long BTC takes back a short one that prices have carried beyond the limit."""
    standing = stands(nets={BTC: D(-5000)})
    assert asked(entry("10"), standing, max_asset_net=D(200), max_net=D(100)) == ""
    assert "net would be 5000" not in asked(entry("10"), standing, max_net=D(100))
    assert asked(entry("10"), stands(nets={BTC: D(5000)}), max_asset_net=D(200)) != ""


def test_net_is_the_signed_sum_of_all() -> None:
    assert asked(entry("10"), stands(nets={BTC: D(90)}), max_net=D(50)) == "", (
        "both legs of a pair leave it as it is"
    )
    single = Intent("pxI0", 0, "cluster", "BTC", Action.OPEN, Origin.STRATEGY, (Leg(BTC, D(10)),), "test", (0,))
    assert asked(single, stands(nets={BTC: D(90)}), max_net=D(150)) == "net would be 190 USDT, the limit is 150"


def test_funding_that_is_received_is_no_cost() -> None:
    short = Intent("pxI0", 0, "cluster", "BTC", Action.OPEN, Origin.STRATEGY, (Leg(BTC, D(-10)),), "test", (0,))
    dear = stands(nets={BTC: D(5000)}, equity=D(100))
    assert asked(short, dear, max_funding=D("0.01")) == ""


@pytest.mark.parametrize("origin", list(Origin))
def test_what_closes_passes_whatever_is_wrong(origin: Origin) -> None:
    worst = stands(state=TradingState.HALTED, trouble="all", equity=D(-1), free=D(-9), gross=D(10**9), orders=10**9)
    assert asked(entry("5000", origin, Action.CLOSE), worst) == ""
