"""The gate of new exposure: every refusal by its words. Exits never come here (see `test_trader.py`)."""

from decimal import Decimal as D

import msgspec
import pytest

from core.domain.orders import Action, Intent, Leg, Origin
from core.execution.risk import Limits, Standing, refusal
from tests.execution.fakes import BTC, ETH, SPECS

LIMITS = Limits(
    D("0.95"), max_gross=D(1000), max_order=D(400), min_notional=D(10), leverage=D(1), taker=D("0.0005")
)
STANDING = Standing(free=D(10_000), gross=D(0), paused=False, trouble="")
PRICES = {BTC: D(1000), ETH: D(100)}


def entry(contracts: str = "10", origin: Origin = Origin.STRATEGY) -> Intent:
    legs = (Leg(BTC, D(contracts)), Leg(ETH, -D(contracts)))
    return Intent("pxI0", 0, "zscore", "BTC/ETH", Action.OPEN, origin, legs, "test")


def asked(intent: Intent, standing: Standing = STANDING, **limits: D) -> str:
    return refusal(intent, standing, msgspec.structs.replace(LIMITS, **limits), SPECS, PRICES)


def test_an_ordinary_entry_passes() -> None:
    assert asked(entry()) == ""


def test_trouble_refuses_everybody_with_its_own_words() -> None:
    standing = msgspec.structs.replace(STANDING, trouble="cash: the exchange says 1, the ledger 2")
    for origin in (Origin.STRATEGY, Origin.MANUAL):
        assert asked(entry(origin=origin), standing) == "cash: the exchange says 1, the ledger 2"


def test_paused_refuses_the_strategy_and_not_the_hand() -> None:
    standing = msgspec.structs.replace(STANDING, paused=True)
    assert asked(entry(), standing) == "paused: no new entries"
    assert asked(entry(origin=Origin.MANUAL), standing) == ""


def test_the_largest_order_is_a_limit_of_each_leg() -> None:
    assert asked(entry("40")) == ""
    assert asked(entry("41")) == "BTC-USDT-SWAP: 410 USDT exceeds the largest order, 400"


def test_the_least_order() -> None:
    assert asked(entry("1")) == ""
    assert asked(entry("1"), min_notional=D("10.01")) == (
        "BTC-USDT-SWAP: 10.00 USDT is below the least order, 10.01"
    )


def test_gross_counts_what_is_held_and_both_legs() -> None:
    standing = msgspec.structs.replace(STANDING, gross=D(800))
    assert asked(entry("10"), standing) == ""
    assert asked(entry("11"), standing) == "gross would be 1020 USDT, the limit is 1000"


@pytest.mark.parametrize(
    ("leverage", "free", "passes"), [("1", "211", True), ("1", "210", False), ("5", "43", True)]
)
def test_margin_and_fees_of_both_legs_fit_into_the_free_share(leverage: str, free: str, passes: bool) -> None:
    """200 USDT of margin at leverage 1, and 0.10 of fees, are 95% of 210.63."""
    standing = msgspec.structs.replace(STANDING, free=D(free))
    answer = asked(entry("10"), standing, leverage=D(leverage))
    assert (answer == "") == passes
    if not passes:
        assert answer == "margin and fees of 200 USDT exceed 95% of the free 210"
