"""What a run supposes of the market, by name: fees, the book, latency, what happens within a bar."""

from decimal import Decimal
from statistics import median, quantiles

import msgspec
import pytest

from core.backtest.events import Assumptions
from core.backtest.fees import FEES, fees
from core.backtest.inside import MODELS, check
from core.backtest.latency import latency
from core.backtest.slippage import BOOKS, book_rules
from core.config import load
from core.domain.errors import UserError


def refusal(of: object, *given: object) -> str:
    """The one line with which a name is refused: it tells the name and what there is."""
    with pytest.raises(UserError) as caught:
        of(*given)  # type: ignore[operator]
    line = str(caught.value)
    assert "\n" not in line and repr(given[0]) in line
    return line


# -- fees ------------------------------------------------------------------------------------------------------


def test_fees_by_the_name_of_the_schedule() -> None:
    assert fees("okx-regular") == (Decimal("0.0002"), Decimal("0.0005"))
    assert all(fees(name) == known for name, known in FEES.items())


@pytest.mark.parametrize(
    ("text", "maker", "taker"), [("2/5", "0.0002", "0.0005"), ("-1/7.5", "-0.0001", "0.00075"), ("0/0", "0", "0")]
)
def test_fees_in_basis_points(text: str, maker: str, taker: str) -> None:
    assert fees(text) == (Decimal(maker), Decimal(taker))


@pytest.mark.parametrize("text", ["", "cheap", "5", "2/5/7", "2/", "nan/5", "2/inf", "2/500", "-600/5", "a/b"])
def test_fees_that_are_none_are_refused(text: str) -> None:
    assert "MAKER/TAKER in basis points" in refusal(fees, text)


# -- the book --------------------------------------------------------------------------------------------------


def test_books_by_name() -> None:
    assert all(book_rules(name) == rules for name, rules in BOOKS.items())
    assert book_rules("flat").spread_bps == book_rules("book").spread_bps == 2
    assert book_rules("flat:3.5").spread_bps == Decimal("3.5")
    assert book_rules("flat:3.5").depth_share == book_rules("flat").depth_share > 1 > book_rules("book").depth_share
    assert book_rules("none").spread_bps == book_rules("flat:0").spread_bps == 0


@pytest.mark.parametrize(
    "text", ["", "deep", "flat:", "flat:wide", "book:2", "flat:-2", "flat:nan", "flat:inf", "flat:900"]
)
def test_books_that_are_none_are_refused(text: str) -> None:
    assert "flat:BPS" in refusal(book_rules, text)


# -- latency ---------------------------------------------------------------------------------------------------


def test_no_latency_is_no_time() -> None:
    assert latency("none", 1)() == 0


def test_a_number_is_the_same_every_time() -> None:
    delay = latency("120", 1)
    assert {delay() for _ in range(50)} == {120}


def test_a_spread_is_log_normal_around_its_median() -> None:
    delay = latency("200~0.5", 3)
    drawn = [delay() for _ in range(20_000)]
    low, _, high = quantiles(drawn, n=4)
    assert median(drawn) == pytest.approx(200, rel=0.03)
    # Quartiles of a log-normal: the median times exp(-0.674 x spread) and exp(0.674 x spread).
    assert [low, high] == pytest.approx([200 * 0.7138, 200 * 1.4010], rel=0.04)
    assert max(drawn) > 1_000


def test_delays_are_drawn_from_the_seed() -> None:
    one, same, other = (
        [draw() for _ in range(20)] for draw in (latency("90~1", 4), latency("90~1", 4), latency("90~1", 5))
    )
    assert one == same != other


@pytest.mark.parametrize("text", ["", "fast", "-5", "0", "60000", "nan", "inf", "120~9", "120~-1", "~2", "1~2~3"])
def test_latencies_that_are_none_are_refused(text: str) -> None:
    assert "milliseconds" in refusal(latency, text, 1)


# -- all of them -----------------------------------------------------------------------------------------------


def test_what_happens_within_a_bar_is_one_of_the_models() -> None:
    assert [check(name) for name in MODELS] == list(MODELS)
    assert "adverse, replay" in refusal(check, "kind")


def test_the_rules_of_the_exchange_follow_from_the_names() -> None:
    rules = Assumptions(fees="-1/4", slippage="flat:6").rules()
    assert (rules.maker, rules.taker, rules.spread_bps) == (Decimal("-0.0001"), Decimal("0.0004"), Decimal(6))
    assert Assumptions().rules() == msgspec.structs.replace(
        book_rules("book"), maker=rules.maker * -2, taker=Decimal("0.0005")
    )


def test_every_assumption_is_told_in_words() -> None:
    words = Assumptions(fees="2/7", slippage="flat:6", latency="120~0.5", inside="replay", rejects=0.125).words()
    assert words["fees"] == "2/7: maker 0.0200%, taker 0.0700% of value; all orders take"
    assert words["slippage"] == "flat:6: spread 6 bp around the mark, at any size"
    assert words["latency"] == "one after another, latency 120~0.5 ms"
    assert words["inside a bar"] == "the seeded path of the local exchange"
    assert words["rejects"] == "12.5% of orders"
    assert Assumptions().words()["slippage"].endswith("depth 1% of a bar's turnover a side")
    assert Assumptions().words()["latency"] == "one after another, no latency"
    told = {"signals", "fees", "slippage", "latency", "inside a bar", "rejects", "funding", "margin"}
    assert set(words) == told


def test_the_configuration_names_them() -> None:
    """Its defaults are those of a run, and each key changes one."""
    section = load(environ={}).backtest
    assert Assumptions(**section.model_dump()) == Assumptions()
    changed = {"fees": "none", "slippage": "flat:1", "latency": "80", "inside": "replay", "rejects": "0.2"}
    changed["book"] = "top.parquet"
    options = {f"backtest.{name}": value for name, value in changed.items()}
    assert load(environ={}, options=options).backtest.model_dump() == changed | {"rejects": 0.2}
