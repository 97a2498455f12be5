"""Whatever an exchange sends, as push or answer: only documented errors come out of it, and only sane values."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.domain.market import Candle
from core.domain.orders import Order, OrderType, Protection
from core.venues.okx.factory import okx_venue
from core.venues.okx.session import Session
from core.venues.okx.transport import Credentials, OkxTransport, Rejection, rejection_of
from core.venues.okx.venue import OkxVenue
from core.venues.port import Capabilities, StreamStatus, VenueError

SWAP = "BTC-USDT-SWAP"
NOW = "1704067200000"
ORDER = {
    "instType": "SWAP", "instId": SWAP, "ordId": "7", "clOrdId": "a1", "side": "buy", "state": "filled", "sz": "2",
    "accFillSz": "2", "avgPx": "60000", "uTime": NOW, "cTime": NOW, "category": "normal", "tradeId": "9",
    "fillSz": "2", "fillPx": "60000", "fillFee": "-1.2", "fillFeeCcy": "USDT", "fillTime": NOW, "execType": "T",
    "algoId": "3", "algoClOrdId": "", "cancelSource": "", "cancelSourceReason": "", "billId": "5", "ts": NOW,
    "fee": "-1.2", "feeCcy": "USDT", "slTriggerPx": "30000",
}  # fmt: skip
POSITION = {"instId": SWAP, "pos": "-2", "avgPx": "60000", "uTime": NOW, "mgnMode": "cross", "lever": "1"}
BALANCE = {"uTime": NOW, "details": [{"ccy": "USDT", "cashBal": "10000", "eq": "10010", "availEq": "9000"}]}
CANDLE = [NOW, "60000", "60100", "59900", "60050", "12", "0.12", "7200", "1"]
RATE = {"instId": SWAP, "fundingRate": "0.0001", "realizedRate": "0.0001", "fundingTime": NOW,
        "nextFundingTime": "1704096000000"}  # fmt: skip
TICKER = {"instId": SWAP, "last": "60000", "bidPx": "59999", "askPx": "60001", "ts": NOW, "markPx": "60000"}
LISTED = {
    "instId": SWAP, "settleCcy": "USDT", "ctType": "linear", "ctVal": "0.01", "ctMult": "1", "lotSz": "1",
    "tickSz": "0.1", "minSz": "1", "maxMktSz": "100", "maxLmtSz": "100", "lever": "50", "state": "live",
}  # fmt: skip
BILL = {
    "billId": "5",
    "ts": NOW,
    "type": "8",
    "instId": SWAP,
    "ccy": "USDT",
    "balChg": "-1",
    "bal": "9",
    "pnl": "0",
}
FEES = {"maker": "-0.0002", "taker": "-0.0005"}
CONFIG = {
    "acctLv": "2", "posMode": "net_mode", "perm": "read_only,trade", "ip": "", "uid": "1", "label": "x",
    "makerU": "-0.0002", "takerU": "-0.0005", "feeGroup": [FEES],
}  # fmt: skip
PUSHES = {
    "tickers": TICKER, "mark-price": TICKER, "funding-rate": RATE, "candle1H": CANDLE, "orders": ORDER,
    "positions": POSITION, "account": BALANCE,
}  # fmt: skip

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from((
        "", "NaN", "-Infinity", "sNaN", "1e999999", "-1", "0", "1E-400", "9" * 5000, "²", "١٢", "1_0", " 1 ",
        "\x00", "2" * 19, "-0", "sell", "live", "ü" * 70,
    )),
    st.text(max_size=20), st.just([]), st.just({}), st.just([[]]), st.just({"ccy": None}),
)  # fmt: skip


@st.composite
def spoilt(draw: st.DrawFn, sound: Any) -> Any:
    """A row in which some fields are odd, missing, or the whole of it is something else."""
    if draw(st.integers(0, 19)) == 0:
        return draw(ODD)
    row = msgspec.json.decode(msgspec.json.encode(sound))
    keys = list(row) if isinstance(row, dict) else list(range(len(row)))
    for key in draw(st.lists(st.sampled_from(keys), min_size=1, max_size=3, unique=True)):
        if isinstance(row, dict) and draw(st.booleans()) and draw(st.booleans()):
            del row[key]
        else:
            row[key] = draw(ODD)
    return row


def sane(value: Any) -> bool:
    """Nothing in it that a book could not bear."""
    if isinstance(value, Decimal):
        return value.is_finite() and abs(value.adjusted()) <= 30
    if isinstance(value, float):
        return abs(value) < 1e30
    if isinstance(value, int):
        return abs(value) < 2**53
    if isinstance(value, list | tuple):
        return all(map(sane, value))
    if isinstance(value, msgspec.Struct):
        return all(sane(getattr(value, name)) for name in value.__struct_fields__)
    return value is None or isinstance(value, str)


@pytest.fixture(scope="module")
def loop() -> Any:
    made = asyncio.new_event_loop()
    yield made
    made.close()


class Wire:
    """A transport whose every answer is what it was told."""

    timeout = 1000.0

    def __init__(self) -> None:
        self.answer: Any = None
        self.asked = 0

    async def ask(self, verb: str, path: str, params: Any) -> Any:
        self.asked += 1
        return self.answer

    def set_clock(self, ahead_ms: int) -> None:
        pass


def venue_of(wire: Wire) -> OkxVenue:
    return OkxVenue(
        transport=lambda push, fault: wire,  # type: ignore[arg-type,return-value]
        where="a hostile exchange",
        credentials=Credentials("", "", ""),
        capabilities=Capabilities("okx", False, False, expiry=True, triggers=True),
        bar="1h",
        stale_after=10.0,
        timeout=1.0,
    )


def connected(loop: asyncio.AbstractEventLoop) -> tuple[OkxVenue, OkxTransport]:
    """A venue with its real transport, as if its sockets stood."""

    async def make() -> OkxVenue:
        return okx_venue(address="http://127.0.0.1:9", key="k", secret="s", passphrase="p")

    venue = loop.run_until_complete(make())
    transport = venue._transport
    assert isinstance(transport, OkxTransport)
    return venue, transport


def receive(loop: asyncio.AbstractEventLoop, frames: list[bytes | str]) -> list[Any]:
    """The events that come of frames on one socket."""
    venue, transport = connected(loop)
    client = SimpleNamespace(url="ws://127.0.0.1:9/ws/v5/private", resolve=lambda *_: None, reject=lambda *_: None,
                             lastPong=0)  # fmt: skip

    async def run() -> list[Any]:
        async def fetch(instrument: str, after: int) -> list[Candle]:
            return []

        venue._session = Session([SWAP], venue.bar_ms, fetch)
        for frame in frames:
            transport._receive(client, frame)
        events = []
        while len(venue._session.mailbox):
            events.append(await venue.next_event())
        return events

    return loop.run_until_complete(run())


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pushes_of_odd_rows_give_sane_events_or_a_word_of_health(
    loop: asyncio.AbstractEventLoop, data: st.DataObject
) -> None:
    channel = data.draw(st.sampled_from(sorted(PUSHES)))
    rows = data.draw(st.lists(spoilt(PUSHES[channel]), max_size=3))
    arg = data.draw(st.one_of(st.just({"channel": channel, "instId": SWAP}), spoilt({"channel": channel})))
    events = receive(loop, [msgspec.json.encode({"arg": arg, "data": rows})])
    for event in events:
        assert isinstance(event, StreamStatus) or sane(event), event


@given(
    st.one_of(st.binary(max_size=200), st.text(max_size=200), st.just(b"[" * 100_000), st.just(b'{"a":' * 50_000))
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_frames_that_are_no_json_are_told_and_end_nothing(
    loop: asyncio.AbstractEventLoop, frame: bytes | str
) -> None:
    sound = msgspec.json.encode({"arg": {"channel": "tickers", "instId": SWAP}, "data": [TICKER]})
    events = receive(loop, [frame, sound[: len(sound) // 2], sound])
    assert [type(each).__name__ for each in events if not isinstance(each, StreamStatus)] == ["Ticker"]


def test_sound_pushes_are_read(loop: asyncio.AbstractEventLoop) -> None:
    """The yardstick: what is spoilt above is good before."""
    frames = [
        msgspec.json.encode({"arg": {"channel": c, "instId": SWAP}, "data": [row]}) for c, row in PUSHES.items()
    ]
    kinds = {type(event).__name__ for event in receive(loop, frames)}
    assert kinds == {"Ticker", "Mark", "Funding", "Candle", "Fill", "OrderReport", "Position", "Balance"}


Ask = Callable[[OkxVenue], Awaitable[Any]]
PLACED = Order("a1", "i", 0, 0, SWAP, Decimal(2), OrderType.MARKET, 1)
STOP = Protection("p1", SWAP, Decimal(-2), Decimal(30_000))
QUESTIONS: dict[str, tuple[Any, Ask]] = {
    "candles": (CANDLE, lambda venue: venue.candles(SWAP, 0, 5)),
    "funding": (RATE, lambda venue: venue.funding(SWAP, 5)),
    "mark": (TICKER, lambda venue: venue.mark(SWAP)),
    "place": (ORDER, lambda venue: venue.place(PLACED)),
    "cancel": (ORDER, lambda venue: venue.cancel(PLACED)),
    "order": (ORDER, lambda venue: venue.order(SWAP, "a1")),
    "open_orders": (ORDER, lambda venue: venue.open_orders()),
    "fills": (ORDER, lambda venue: venue.fills(0)),
    "positions": (POSITION, lambda venue: venue.positions()),
    "balance": (BALANCE, lambda venue: venue.balance()),
    "bills": (BILL, lambda venue: venue.bills("1")),
    "fee_rates": (CONFIG, lambda venue: venue.fee_rates()),
    "protect": (ORDER, lambda venue: venue.protect(STOP)),
    "protections": (ORDER, lambda venue: venue.protections()),
    "clock": ({"ts": NOW}, lambda venue: venue.sync_clock()),
    "instruments": (LISTED, lambda venue: venue.load_instruments()),
    "config": (CONFIG, lambda venue: venue.ensure_net_mode()),
}


def answered(loop: asyncio.AbstractEventLoop, question: str, answer: Any) -> Any:
    """What the venue makes of an answer: its value, or the venue's own error."""
    assert isinstance(rejection_of(answer), Rejection | None) if isinstance(answer, dict) else True
    wire = Wire()
    wire.answer = answer

    async def run() -> Any:
        venue = venue_of(wire)
        try:
            return await QUESTIONS[question][1](venue)
        except VenueError as error:
            return error

    async def bounded() -> Any:
        async with asyncio.timeout(10):
            return await run()

    told = loop.run_until_complete(bounded())
    assert wire.asked < 20, "it asks for ever"
    assert not isinstance(told, VenueError) or (len(str(told)) < 1000 and "\n" not in str(told))
    return told


@given(st.data())
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_odd_answers_are_the_venues_errors_or_sane_values(
    loop: asyncio.AbstractEventLoop, data: st.DataObject
) -> None:
    question = data.draw(st.sampled_from(sorted(QUESTIONS)))
    row = data.draw(spoilt(QUESTIONS[question][0]))
    rows = data.draw(st.sampled_from(([row], [row] * 2, [row] * 100, [row] * 300)))
    whole = {"code": "0", "msg": "", "data": rows}
    answer = data.draw(st.one_of(st.just(whole), st.just(whole), spoilt(whole)))
    told = answered(loop, question, answer)
    assert isinstance(told, VenueError) or sane(told), told


@pytest.mark.parametrize("question", sorted(QUESTIONS))
def test_a_sound_answer_is_read(loop: asyncio.AbstractEventLoop, question: str) -> None:
    told = answered(loop, question, {"code": "0", "msg": "", "data": [QUESTIONS[question][0]]})
    endless = question == "candles"  # Its pages go on to an empty one: the same page again is told.
    assert isinstance(told, VenueError) == endless, told
