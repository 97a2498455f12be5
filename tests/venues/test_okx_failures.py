"""What a failure means, told in one line that shows no secret."""

import asyncio
import logging
import socket
import traceback
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from ccxt.pro.okx import okx
from conftest import SWAPS, Connect
from contract import ended, order_of, until

from core.clock import wall_ms
from core.domain.errors import UserError
from core.domain.orders import Fill, OrderState, OrderType, Protection
from core.venues.okx import rest
from core.venues.okx.factory import okx_venue
from core.venues.okx.transport import Credentials, OkxTransport, Rejection
from core.venues.okx.venue import OkxVenue
from core.venues.okx_local import LocalExchange
from core.venues.okx_local.faults import Fault
from core.venues.port import Refused, StreamStatus, Unknown, Unreachable

BTC = SWAPS[0]
KEYS: dict[str, Any] = {
    "key": "the-key-itself",
    "secret": "the-secret-itself",
    "passphrase": "the-passphrase-itself",
}


def fault(exchange: LocalExchange, do: str, match: str = "trade/order", **options: Any) -> None:
    exchange.faults.add(Fault(do=do, match=match, **options))


# --- the fate of an order ----------------------------------------------------------------------------


@pytest.mark.parametrize("do", ["drop_reply", "html", "empty"])
async def test_a_lost_reply_is_unknown_and_the_order_is_found_by_its_id(
    venue: OkxVenue, exchange: LocalExchange, do: str
) -> None:
    fault(exchange, do)
    order = order_of(venue, BTC, 2)
    with pytest.raises(Unknown):
        await venue.place(order)
    found = await venue.order(BTC, order.client_id)
    assert found is not None and (found.state, found.filled) == (OrderState.FILLED, order.size)
    assert (await until(venue, Fill, lambda fill: True)).client_id == order.client_id


@pytest.mark.parametrize("do", ["drop_before", "http_500", "http_403", "http_524", "code:50004", "code:50001"])
async def test_a_lost_request_is_unknown_and_the_order_is_nowhere(
    venue: OkxVenue, exchange: LocalExchange, do: str
) -> None:
    fault(exchange, do)
    order = order_of(venue, BTC, 2)
    with pytest.raises(Unknown) as unknown:
        await venue.place(order)
    assert "\n" not in str(unknown.value) and "trade/order" in str(unknown.value)
    assert await venue.order(BTC, order.client_id) is None
    assert await venue.positions() == []


async def test_no_answer_in_time_is_unknown(exchange: LocalExchange, connect: Connect) -> None:
    venue = await connect(exchange, timeout=0.3)
    fault(exchange, "delay")
    order = order_of(venue, BTC, 2)
    with pytest.raises(Unknown, match=r"no answer within 0\.3 s"):
        await venue.place(order)
    exchange.faults.add(Fault(do="release"))
    assert (await ended(venue, order)).state is OrderState.FILLED


async def test_a_request_that_arrives_after_its_expiry_is_refused_there(
    venue: OkxVenue, exchange: LocalExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(exchange, "deliver_late")
    order = order_of(venue, BTC, 2, lifetime_ms=1_000)
    with pytest.raises(Unknown):
        await venue.place(order)
    fault(exchange, "clock", seconds=2)
    exchange.faults.add(Fault(do="release"))
    monkeypatch.setattr(rest, "wall_ms", lambda: order.expires + 1)
    assert await venue.order(BTC, order.client_id) is None
    assert await venue.fills(0) == []


@pytest.mark.parametrize("code", ["50011", "50061", "51008", "51000"])
async def test_a_refusal_has_a_code_and_no_effect(venue: OkxVenue, exchange: LocalExchange, code: str) -> None:
    fault(exchange, f"code:{code}")
    order = order_of(venue, BTC, 2)
    with pytest.raises(Refused) as refused:
        await venue.place(order)
    assert refused.value.code == code
    assert await venue.order(BTC, order.client_id) is None


async def test_a_duplicate_tells_the_order_that_exists(venue: OkxVenue, exchange: LocalExchange) -> None:
    order = order_of(venue, BTC, 2)
    first = await venue.place(order)
    fault(exchange, "code:51016")
    again = await venue.place(order)
    assert (again.venue_id, again.state, again.filled) == (first.venue_id, OrderState.FILLED, order.size)
    assert len(await venue.fills(0)) == 1


async def test_a_duplicate_that_cannot_be_found_is_unknown(venue: OkxVenue, exchange: LocalExchange) -> None:
    fault(exchange, "code:51016")
    with pytest.raises(Unknown):
        await venue.place(order_of(venue, BTC, 2))


async def test_lost_replies_to_other_changes_are_unknown_too(venue: OkxVenue, exchange: LocalExchange) -> None:
    order = order_of(venue, BTC, 1, OrderType.LIMIT, await venue.mark(BTC) * Decimal("0.97"))
    await venue.place(order)
    fault(exchange, "drop_before", "trade/cancel-order")
    with pytest.raises(Unknown):
        await venue.cancel(order)
    fault(exchange, "drop_reply", "trade/order-algo")
    wanted = Protection("stop7", BTC, Decimal(-1), Decimal(100))
    with pytest.raises(Unknown):
        await venue.protect(wanted)
    (standing,) = await venue.protections()
    assert standing == Protection("stop7", BTC, Decimal(-1), Decimal(100), standing.venue_id)


async def test_what_only_reads_is_unreachable(venue: OkxVenue, exchange: LocalExchange) -> None:
    for do in ("drop_reply", "http_500", "html", "empty", "code:50013"):
        fault(exchange, do, "account/balance", times=2 if do == "drop_reply" else 1)  # aiohttp asks twice
        with pytest.raises(Unreachable):
            await venue.balance()
    assert (await venue.balance()).cash == 100_000


async def test_an_old_order_is_found_in_history(venue: OkxVenue, exchange: LocalExchange) -> None:
    orders = [order_of(venue, BTC, 1 if n % 2 else -1) for n in range(104)]
    for order in orders:
        await venue.place(order)
    fault(exchange, "code:51603", times=1)
    found = await venue.order(BTC, orders[0].client_id)
    assert found is not None and found.state is OrderState.FILLED, "on the second page"
    assert len(await venue.fills(0)) == 104
    bills = await venue.bills("")
    assert [int(bill.id) for bill in bills] == sorted({int(bill.id) for bill in bills}) and len(bills) == 105
    assert await venue.bills(bills[-2].id) == bills[-1:] and await venue.bills(bills[2].id) == bills[3:]


# --- clocks ------------------------------------------------------------------------------------------


async def test_a_clock_that_drifts_is_mended_and_the_request_sent_again(venue: OkxVenue) -> None:
    venue.clock_offset = -90_000
    venue._transport.set_clock(-90_000)
    order = order_of(venue, BTC, 2, lifetime_ms=120_000)
    assert (await venue.place(order)).state is OrderState.LIVE
    assert abs(venue.clock_offset) < 1_000


@pytest.mark.parametrize(("shift", "side"), [(-45_000, "behind"), (45_000, "ahead of")])
async def test_a_clock_that_is_off_is_told_in_one_line_and_does_no_harm(
    exchange: LocalExchange, connect: Connect, monkeypatch: pytest.MonkeyPatch, shift: int, side: str
) -> None:
    right, ours = wall_ms, OkxTransport.milliseconds
    monkeypatch.setattr(rest, "wall_ms", lambda: right() + shift)
    monkeypatch.setattr(OkxTransport, "milliseconds", staticmethod(lambda: ours() + shift))
    monkeypatch.setattr(okx, "seconds", staticmethod(lambda: (ours() + shift) // 1000))
    venue = await connect(exchange)
    status = await until(venue, StreamStatus, lambda status: status.key == "clock")
    assert f"45.0 s {side} the exchange's" in status.detail
    assert abs(venue.server_ms() - right()) < 1_000
    await venue.place(order_of(venue, BTC, 1))


# --- at the start ------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


async def test_a_venue_that_is_down_is_one_clear_line_at_once() -> None:
    port = free_port()
    venue = okx_venue(address=f"http://127.0.0.1:{port}", **KEYS)
    with pytest.raises(Unreachable) as down:
        async with asyncio.timeout(2.0):
            await venue.connect(SWAPS)
    assert f"127.0.0.1:{port}" in str(down.value) and "is it running?" in str(down.value)
    assert "\n" not in str(down.value)


@pytest.fixture
async def deaf() -> AsyncIterator[str]:
    """A server that accepts and never answers."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def test_a_venue_that_never_answers_is_given_up_in_time(deaf: str) -> None:
    venue = okx_venue(address=deaf, timeout=0.2, **KEYS)
    with pytest.raises(Unreachable, match=r"no answer within 0\.2 s"):
        async with asyncio.timeout(2.0):
            await venue.connect(SWAPS)


async def test_a_venue_that_was_down_can_be_connected_later(exchange: LocalExchange) -> None:
    keys = exchange.keys
    venue = okx_venue(address=exchange.url, key=keys.key, secret=keys.secret, passphrase=keys.passphrase)
    fault(exchange, "drop_before", "public/instruments", times=2)
    with pytest.raises(Unreachable):
        await venue.connect(SWAPS)
    await venue.connect(SWAPS)
    assert len(venue.instruments) == 10
    await venue.close()


async def test_a_symbol_that_the_venue_lacks_is_named(exchange: LocalExchange, connect: Connect) -> None:
    with pytest.raises(Refused, match="does not list NOPE-USDT-SWAP"):
        await connect(exchange, (BTC, "NOPE-USDT-SWAP"))


async def test_a_refused_subscription_ends_the_start_and_does_not_hang(
    exchange: LocalExchange, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = OkxVenue._plan
    wrong = {"channel": "nonsense", "instId": BTC}
    monkeypatch.setattr(
        OkxVenue,
        "_plan",
        lambda self, names: {**plan(self, names), "public": [wrong, *plan(self, names)["public"]]},
    )
    with pytest.raises(Refused, match="60018") as refused:
        await connect(exchange)
    assert refused.value.code == "60018"


async def test_an_account_in_hedge_mode_is_switched_or_refused_with_the_way_out(
    exchange: LocalExchange, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = OkxVenue._call

    async def hedged(self: OkxVenue, verb: str, path: str, params: Any = None) -> Any:
        if path == "account/config":
            return [{"posMode": "long_short_mode", "acctLv": "2"}]
        return await call(self, verb, path, params)

    monkeypatch.setattr(OkxVenue, "_call", hedged)
    await connect(exchange)
    fault(exchange, "code:59000", "account/set-position-mode")
    with pytest.raises(Refused, match=r"net_mode.*59000.*close its positions"):
        await connect(exchange)


# --- secrets -----------------------------------------------------------------------------------------


async def test_a_wrong_key_is_told_by_name_and_shown_nowhere(
    exchange: LocalExchange, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    venue = okx_venue(address=exchange.url, **KEYS)
    with pytest.raises(Refused, match="OKX_API_KEY") as refused:
        await venue.connect(SWAPS)
    shown = (
        "".join(traceback.format_exception(refused.value)) + caplog.text + repr(venue) + str(vars(refused.value))
    )
    assert not any(word in shown for word in KEYS.values())


async def test_what_an_exchange_echoes_is_hidden(exchange: LocalExchange, connect: Connect) -> None:
    venue = await connect(exchange)
    keys = exchange.keys
    echo = f'Illegal request: {{"op":"login","args":["{keys.key}","{keys.passphrase}","{keys.secret}"]}}'
    await until(venue, StreamStatus, lambda status: status.key == "account")
    for connection in exchange.exchange.hub.connections:
        connection.event("error", code="60012", msg=echo)
    lost = await until(venue, StreamStatus, lambda status: status.key == "account")
    assert lost.detail == "refused with code 60012"
    refusal = venue._refusal("users", Rejection("60012", echo), Unreachable)
    assert not any(word in str(refusal) for word in (keys.key, keys.passphrase, keys.secret))


async def test_debug_logs_of_a_whole_session_hold_no_key(
    exchange: LocalExchange, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    venue = await connect(exchange)
    await venue.place(order_of(venue, BTC, 1))
    keys = exchange.keys
    assert not any(word in caplog.text for word in (keys.key, keys.secret, keys.passphrase))


def test_credentials_do_not_show_themselves() -> None:
    credentials = Credentials("abcdef", "ghijkl", "mnopqr")
    assert repr(credentials) == str(credentials) == f"{credentials}" == "Credentials(***)"
    assert credentials.redact("a abcdef b ghijkl c mnopqr") == "a *** b *** c ***"


# --- what a user can get wrong -----------------------------------------------------------------------


def test_real_money_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="venue okx trades real money"):
        okx_venue(**KEYS)


def test_missing_keys_name_the_environment() -> None:
    with pytest.raises(UserError, match="okx-demo: OKX_API_KEY, OKX_API_SECRET, OKX_API_PASSPHRASE not set"):
        okx_venue(sandbox=True)
    with pytest.raises(UserError, match="okx-demo: OKX_API_SECRET not set"):
        okx_venue(sandbox=True, key="k", passphrase="p")


@pytest.mark.parametrize(
    "address", ["https://www.okx.com", "http://10.0.0.1:80", "http://127.0.0.1.evil.com:80", "127.0.0.1:80", "http://127.0.0.1"]
)  # fmt: skip
def test_only_this_machine_is_a_local_exchange(address: str) -> None:
    with pytest.raises(UserError, match="expected http://127"):
        okx_venue(address=address, **KEYS)


def test_a_bar_that_okx_lacks_is_named() -> None:
    with pytest.raises(UserError, match=r"bar '7h'.*1h"):
        okx_venue(sandbox=True, bar="7h", **KEYS)


async def test_the_demo_account_is_asked_for_by_its_header_and_never_under_its_real_address() -> None:
    venue = okx_venue(sandbox=True, **KEYS)
    transport = venue._transport
    assert transport.headers["x-simulated-trading"] == "1"
    assert transport.socket_url("private") == "wss://wspap.okx.com:443/ws/v5/private?brokerId=9999"
    assert transport.enableRateLimit and venue.capabilities.name == "okx-demo" and not venue.capabilities.lockstep


async def test_only_a_placement_carries_its_expiry_and_outside_its_signed_body() -> None:
    transport = okx_venue(sandbox=True, **KEYS)._transport
    params = {"instId": BTC, "clOrdId": "a1", "expTime": "1234"}
    signed = transport.sign("trade/order", ["private"], "POST", params)
    assert signed["headers"]["expTime"] == "1234" and "expTime" not in signed["body"]
    assert params["expTime"] == "1234", "so that it can be signed again"
    assert "expTime" not in transport.sign("trade/order", ["private"], "GET", {"clOrdId": "a1"})["headers"]
