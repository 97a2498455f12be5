"""Stop-only trigger orders on the mark price."""

from decimal import Decimal as D

import pytest
from small_exchange import BTC, DEEP, ETH, THIN, Small, market, only

from core.domain.orders import Fill, OrderReport, OrderState
from core.matching.types import CancelTrigger, PlaceTrigger, Quote, Rejected, Trigger


def stop(size: str, trigger: str, client_id: str = "stop", *, reduce_only: bool = True) -> PlaceTrigger:
    return PlaceTrigger(client_id, BTC, D(size), D(trigger), reduce_only)


def test_a_stop_fires_when_the_mark_reaches_it_and_sends_a_market_order() -> None:
    small = Small()
    (live,) = only(Trigger, small.do(market(BTC, "3"), stop("-3", "950")))
    assert (live.state, live.client_id, live.reduce_only) == ("live", "stop", True)
    assert small.matching.triggers() == [live]
    assert small.move(BTC, "950.1") == []
    events = small.move(BTC, "950")
    (fired,) = only(Trigger, events)
    reports = only(OrderReport, events)
    (fill,) = only(Fill, events)
    assert fired.state == "effective"
    assert {fired.order_id} == {fill.venue_id} == {report.venue_id for report in reports}
    assert (fill.client_id, fill.algo_id, fill.size, fill.price) == ("", "stop", D(-3), D("949.9"))
    assert all(report.algo_id == "stop" and report.client_id == "" for report in reports)
    assert reports[-1].state is OrderState.FILLED
    assert small.position(BTC) == 0
    assert small.matching.triggers() == []
    assert small.matching.trigger(client_id="stop") == fired
    assert small.move(BTC, "940") == []


def test_a_stop_of_a_short_fires_above() -> None:
    small = Small()
    small.do(market(BTC, "-3"), stop("3", "1050"))
    assert only(Fill, small.move(BTC, "1049.9")) == []
    assert only(Fill, small.move(BTC, "1060"))[0].size == 3


def test_only_its_own_instrument_fires_a_stop() -> None:
    small = Small()
    small.do(market(BTC, "3"), stop("-3", "950"))
    assert small.move(ETH, "50") == []


def test_a_stop_is_cut_to_what_is_left_of_the_position() -> None:
    small = Small()
    small.do(market(BTC, "3"), stop("-3", "950"), market(BTC, "-2"))
    assert [fill.size for fill in only(Fill, small.move(BTC, "940"))] == [D(-1)]
    assert small.position(BTC) == 0


def test_a_stop_outlives_its_position_and_then_fires_into_nothing() -> None:
    small = Small()
    small.do(market(BTC, "3"), stop("-3", "950"), market(BTC, "-3"))
    assert len(small.matching.triggers()) == 1
    (fired,) = small.move(BTC, "940")
    assert isinstance(fired, Trigger)
    assert (fired.state, fired.order_id) == ("order_failed", "")


def test_a_stop_that_is_not_reduce_only_opens_a_position_if_margin_allows() -> None:
    small = Small()
    small.do(stop("3", "1050", "entry", reduce_only=False), stop("4000", "1050", "greedy", reduce_only=False))
    events = small.move(BTC, "1050")
    assert [(trigger.client_id, trigger.state) for trigger in only(Trigger, events)] == [
        ("entry", "effective"),
        ("greedy", "order_failed"),
    ]
    assert small.position(BTC) == 3


def test_a_thin_book_leaves_a_residual() -> None:
    small = Small()
    small.do(market(BTC, "3"), stop("-3", "950"))
    events = small.move(BTC, "950", THIN)
    assert only(OrderReport, events)[-1].state is OrderState.CANCELLED
    assert small.position(BTC) == 2


def test_two_stops_in_one_fall_share_one_position() -> None:
    small = Small()
    small.do(market(BTC, "3"), stop("-2", "950", "a"), stop("-2", "940", "b"), stop("-2", "930", "c"))
    events = small.move(BTC, "900")
    assert [(fill.algo_id, fill.size) for fill in only(Fill, events)] == [("a", D(-2)), ("b", D(-1))]
    assert [trigger.state for trigger in only(Trigger, events)] == ["effective", "effective", "order_failed"]


def test_cancelling_a_stop() -> None:
    small = Small()
    small.do(stop("-3", "950", "a"), stop("-3", "950", "b"))
    assert [trigger.state for trigger in only(Trigger, small.do(CancelTrigger(BTC, client_id="a")))] == ["canceled"]
    (b,) = small.matching.triggers()
    small.do(CancelTrigger(BTC, venue_id=b.venue_id))
    assert small.matching.triggers() == []
    for gone in (CancelTrigger(BTC, client_id="a"), CancelTrigger(BTC, venue_id="99"), CancelTrigger(ETH)):
        assert only(Rejected, small.do(gone))[0].code == "51400"


@pytest.mark.parametrize(
    ("code", "command"),
    [
        ("51280", stop("-3", "1000")),
        ("51278", stop("3", "1000")),
        ("51006", stop("-3", "950.05")),
        ("51000", stop("-3", "0")),
        ("51000", stop("-3", "NaN")),
        ("51000", stop("-3", "950", "not valid")),
        ("51020", stop("0", "950")),
        ("51121", stop("-0.15", "950")),
        ("51202", stop("-6000", "950")),
    ],
)
def test_a_senseless_stop_is_refused(code: str, command: PlaceTrigger) -> None:
    small = Small()
    assert only(Rejected, small.do(command))[0].code == code
    assert small.matching.triggers() == []


def test_a_client_id_of_a_live_stop_is_taken_and_free_again_afterwards() -> None:
    small = Small()
    small.do(stop("-3", "950"))
    assert only(Rejected, small.do(stop("-3", "940")))[0].code == "51065"
    small.do(CancelTrigger(BTC, client_id="stop"))
    assert only(Rejected, small.do(stop("-3", "940"))) == []


def test_a_stop_fires_on_the_way_even_if_the_step_ends_back_above_it() -> None:
    small = Small()
    small.do(market(BTC, "3"), stop("-3", "950"))
    small.step((), [Quote(BTC, D(949), DEEP), Quote(BTC, D(1001), DEEP)])
    assert small.position(BTC) == 0
