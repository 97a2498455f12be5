"""Orders through ccxt.pro: their life, their refusals, what they leave in fills, bills, positions and balance."""

import asyncio
from decimal import Decimal
from typing import Any

import ccxt.pro as ccxt
import pytest

from core.clock import wall_ms
from core.matching.rules import Rules
from core.venues.okx_local import LocalExchange

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
HOUR = 3_600_000


def mark(exchange: LocalExchange, asset: str = "BTC") -> float:
    price = exchange.exchange.matching.mark(f"{asset}-USDT-SWAP")
    assert price is not None
    return float(price)


async def test_a_market_order_fills_as_taker_and_all_accounts_of_it_agree(
    exchange: LocalExchange, okx: Any
) -> None:
    made = await okx.create_order(BTC, "market", "buy", 1.5, params={"clientOrderId": "intent1L0A0"})
    assert made["id"] and made["clientOrderId"] == "intent1L0A0" and made["status"] is None
    order = await okx.fetch_order(None, BTC, {"clOrdId": "intent1L0A0"})
    assert (order["id"], order["status"], order["filled"]) == (made["id"], "closed", 1.5)
    trades = await okx.fetch_my_trades(BTC)
    assert sum(trade["amount"] for trade in trades) == 1.5
    assert {trade["takerOrMaker"] for trade in trades} == {"taker"} and trades[0]["order"] == made["id"]
    assert {trade["timestamp"] for trade in trades} == {exchange.exchange.market.now}, "fills carry market time"
    fee = sum(Decimal(trade["info"]["fee"]) for trade in trades)
    assert fee == -Decimal("0.0005") * Decimal("0.01") * sum(
        Decimal(t["info"]["fillSz"]) * Decimal(t["info"]["fillPx"]) for t in trades
    )
    assert Decimal(order["info"]["fee"]) == fee
    (position,) = await okx.fetch_positions()
    assert (position["symbol"], position["side"], position["contracts"]) == (BTC, "long", 1.5)
    bills = (await okx.private_get_account_bills())["data"]
    assert sum(Decimal(bill["balChg"]) for bill in bills) == Decimal(bills[0]["bal"]) == 100_000 + fee
    balance = (await okx.fetch_balance())["info"]["data"][0]["details"][0]
    assert balance["cashBal"] == bills[0]["bal"]


async def test_a_resting_limit_order_is_pending_until_cancelled(exchange: LocalExchange, okx: Any) -> None:
    price = mark(exchange) * 0.9
    made = await okx.create_order(BTC, "limit", "buy", 1, price)
    assert [order["id"] for order in await okx.fetch_open_orders(BTC)] == [made["id"]]
    await okx.cancel_order(made["id"], BTC)
    assert await okx.fetch_open_orders() == []
    assert (await okx.fetch_order(made["id"], BTC))["status"] == "canceled"
    assert [order["id"] for order in await okx.fetch_canceled_orders(BTC)] == [made["id"]]
    with pytest.raises(ccxt.OrderNotFound, match="51400"):
        await okx.cancel_order(made["id"], BTC)


async def test_a_limit_order_fills_as_maker_when_the_market_comes_to_it(exchange: LocalExchange, okx: Any) -> None:
    made = await okx.create_order(BTC, "limit", "buy", 1, mark(exchange) * 0.999)
    for _ in range(20):
        exchange.run_bar()
    order = await okx.fetch_order(made["id"], BTC)
    (trade,) = await okx.fetch_order_trades(made["id"], BTC)
    assert order["status"] == "closed" and trade["takerOrMaker"] == "maker"
    assert trade["price"] == order["price"]
    assert trade["fee"]["cost"] == pytest.approx(0.0002 * trade["price"] * 0.01)


async def test_a_crossing_post_only_is_accepted_and_then_cancelled(exchange: LocalExchange, okx: Any) -> None:
    made = await okx.create_order(BTC, "limit", "buy", 1, mark(exchange) * 1.01, {"postOnly": True})
    assert made["id"]
    order = await okx.fetch_order(made["id"], BTC)
    assert (order["status"], order["filled"], order["info"]["ordType"]) == ("canceled", 0, "post_only")


async def test_an_ioc_takes_what_is_there_and_the_rest_is_cancelled(serve: Any, connect: Any) -> None:
    exchange = await serve(rules=Rules(depth_share=1e-6))
    okx = await connect(exchange)
    made = await okx.create_order(BTC, "limit", "buy", 5, mark(exchange) * 1.01, {"timeInForce": "IOC"})
    order = await okx.fetch_order(made["id"], BTC)
    assert order["status"] == "canceled" and 0 < order["filled"] < 5
    trades = await okx.fetch_order_trades(made["id"], BTC)
    assert sum(Decimal(t["info"]["fillSz"]) for t in trades) == Decimal(order["info"]["accFillSz"])


async def test_reduce_only_never_opens_and_is_cut_to_the_position(okx: Any) -> None:
    with pytest.raises(ccxt.ExchangeError, match="51169"):
        await okx.create_order(BTC, "market", "sell", 1, params={"reduceOnly": True})
    await okx.create_order(BTC, "market", "buy", 1)
    made = await okx.create_order(BTC, "market", "sell", 3, params={"reduceOnly": True})
    order = await okx.fetch_order(made["id"], BTC)
    assert (order["filled"], order["reduceOnly"]) == (1, True)
    assert await okx.fetch_positions() == []


@pytest.mark.parametrize(
    ("order", "error", "code"),
    [
        ({"sz": "0.005"}, ccxt.InvalidOrder, "51020"),
        ({"sz": "1.005"}, ccxt.InvalidOrder, "51121"),
        ({"sz": "10000"}, ccxt.InsufficientFunds, "51008"),
        ({"sz": "many"}, ccxt.BadRequest, "51000"),
        ({"sz": "NaN"}, ccxt.BadRequest, "51000"),
        ({"side": "hold"}, ccxt.BadRequest, "51000"),
        ({"posSide": "long"}, ccxt.BadRequest, "51000"),
        ({"tdMode": "isolated"}, ccxt.BadRequest, "51000"),
        ({"ordType": "fok", "px": "1"}, ccxt.BadRequest, "51000"),
        ({"ordType": "limit"}, ccxt.BadRequest, "51000"),
        ({"ordType": "limit", "px": "60000.05"}, ccxt.InvalidOrder, "51006"),
        ({"clOrdId": "not-alphanumeric"}, ccxt.BadRequest, "51000"),
        ({"instId": "NOPE-USDT-SWAP"}, ccxt.BadSymbol, "51001"),
    ],
)
async def test_a_bad_order_is_refused_with_okx_own_code(
    okx: Any, order: dict[str, str], error: type[Exception], code: str
) -> None:
    good = {"instId": "BTC-USDT-SWAP", "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "1"}
    with pytest.raises(error, match=code):
        await okx.private_post_trade_order(good | order)
    assert (await okx.private_get_trade_orders_history({"instType": "SWAP"}))["data"] == []


async def test_a_client_id_is_unique_among_pending_orders_alone(exchange: LocalExchange, okx: Any) -> None:
    """So a filled market order's id is free again, and sent again it fills again: as at OKX."""
    low = mark(exchange) * 0.9
    await okx.create_order(BTC, "limit", "buy", 1, low, {"clientOrderId": "a"})
    with pytest.raises(ccxt.InvalidOrder, match="51016"):
        await okx.create_order(BTC, "limit", "buy", 1, low, {"clientOrderId": "a"})
    await okx.create_order(BTC, "market", "buy", 1, params={"clientOrderId": "b"})
    await okx.create_order(BTC, "market", "buy", 1, params={"clientOrderId": "b"})
    assert (await okx.fetch_positions())[0]["contracts"] == 2
    with pytest.raises(ccxt.OrderNotFound, match="51603"):
        await okx.fetch_order(None, BTC, {"clOrdId": "c"})


async def test_a_batch_tells_the_fate_of_each_order(okx: Any) -> None:
    good = {"instId": "ETH-USDT-SWAP", "tdMode": "cross", "side": "sell", "ordType": "market", "sz": "1"}
    reply = await okx.private_post_trade_batch_orders([good | {"clOrdId": "x"}, good | {"clOrdId": "y", "sz": "0"}])
    assert reply["code"] == "2"
    assert [row["sCode"] for row in reply["data"]] == ["0", "51000"]
    assert [row["clOrdId"] for row in reply["data"]] == ["x", "y"]
    assert (await okx.fetch_positions())[0]["side"] == "short"


async def test_an_order_past_its_expiry_is_refused_and_leaves_no_trace(okx: Any) -> None:
    sign, order = okx.sign, {"instId": "BTC-USDT-SWAP", "tdMode": "cross", "side": "buy", "ordType": "market"}

    def expiring(expires: int) -> Any:
        def signed(*args: Any, **kwargs: Any) -> Any:
            request = sign(*args, **kwargs)
            request["headers"]["expTime"] = str(expires)
            return request

        return signed

    okx.sign = expiring(wall_ms() - 1)
    with pytest.raises(ccxt.ExchangeError, match="51149"):
        await okx.private_post_trade_batch_orders([order | {"sz": "1", "clOrdId": "late"}])
    with pytest.raises(ccxt.OrderNotFound):
        await okx.private_get_trade_order({"instId": "BTC-USDT-SWAP", "clOrdId": "late"})
    okx.sign = expiring(wall_ms() + 60_000)
    await okx.private_post_trade_order(order | {"sz": "1", "clOrdId": "intime"})


async def test_funding_is_settled_on_open_positions_and_billed(exchange: LocalExchange, okx: Any) -> None:
    await okx.create_order(BTC, "market", "buy", 10)
    await okx.create_order(ETH, "market", "sell", 10)
    for _ in range(8):
        exchange.run_bar()
    paid = {row["symbol"]: row for row in await okx.fetch_funding_history()}
    assert set(paid) == {BTC, ETH}
    assert paid[BTC]["timestamp"] == exchange.exchange.market.now and paid[BTC]["amount"] < 0 < paid[ETH]["amount"]
    close = float(exchange.panel.close[exchange.exchange.market.bar - 1, 0])
    assert -paid[BTC]["amount"] == pytest.approx(0.0001 * 10 * 0.01 * close, rel=1e-4)


async def test_a_stop_on_the_mark_price_fires_and_closes_the_position(exchange: LocalExchange, okx: Any) -> None:
    await okx.create_order(BTC, "market", "buy", 1)
    stop = {
        "instId": "BTC-USDT-SWAP",
        "tdMode": "cross",
        "side": "sell",
        "ordType": "conditional",
        "sz": "1",
        "slTriggerPx": okx.price_to_precision(BTC, mark(exchange) * 0.998),
        "slTriggerPxType": "mark",
        "slOrdPx": "-1",
        "reduceOnly": "true",
        "algoClOrdId": "stop1",
    }
    algo = (await okx.private_post_trade_order_algo(stop))["data"][0]["algoId"]
    (pending,) = (await okx.private_get_trade_orders_algo_pending({"ordType": "conditional"}))["data"]
    assert (pending["algoId"], pending["algoClOrdId"], pending["state"]) == (algo, "stop1", "live")
    while exchange.exchange.matching.triggers():
        exchange.run_bar()
    assert await okx.fetch_positions() == []
    (fired,) = (await okx.private_get_trade_orders_algo_history({"ordType": "conditional", "state": "effective"}))[
        "data"
    ]
    order = (await okx.fetch_order(fired["ordId"], BTC))["info"]
    assert (order["algoClOrdId"], order["algoId"], order["reduceOnly"]) == ("stop1", algo, "true")


async def test_a_stop_is_cancelled_and_others_than_stops_are_refused(exchange: LocalExchange, okx: Any) -> None:
    await okx.create_order(BTC, "market", "buy", 1)
    params = {"stopLossPrice": mark(exchange) * 0.5, "slTriggerPxType": "mark", "algoClOrdId": "s"}
    stop = await okx.create_order(BTC, "market", "sell", 1, params=params | {"reduceOnly": True})
    await okx.cancel_order(stop["id"], BTC, {"trigger": True})
    assert (await okx.private_get_trade_orders_algo_pending({"ordType": "conditional"}))["data"] == []
    with pytest.raises(ccxt.OrderNotFound):
        await okx.cancel_order(stop["id"], BTC, {"trigger": True})
    with pytest.raises(ccxt.BadRequest, match="stop-only"):
        await okx.create_order(BTC, "market", "sell", 1, params={"takeProfitPrice": mark(exchange) * 2})


async def test_liquidation_closes_everything_and_says_so(serve: Any, connect: Any) -> None:
    exchange = await serve(cash=Decimal(1_000))
    okx = await connect(exchange)
    await okx.set_leverage(100, BTC, {"mgnMode": "cross"})
    await okx.create_order(BTC, "market", "buy", 100)
    while exchange.exchange.matching.positions():
        exchange.run_bar()
    newest = (await okx.private_get_account_bills({"type": "5"}))["data"]
    assert newest and newest[0]["instId"] == "BTC-USDT-SWAP"
    last = (await okx.private_get_trade_orders_history({"instType": "SWAP"}))["data"][0]
    assert (last["category"], last["state"]) == ("full_liquidation", "filled")


async def test_history_pages_backward_from_the_newest(okx: Any) -> None:
    for _ in range(5):
        await okx.create_order(ETH, "market", "buy", 1)
    everything = (await okx.private_get_account_bills())["data"]
    page = (await okx.private_get_account_bills({"limit": "2"}))["data"]
    assert page == everything[:2]
    rest = (await okx.private_get_account_bills({"after": page[-1]["billId"]}))["data"]
    assert page + rest == everything
    newer = (await okx.private_get_account_bills({"before": everything[3]["billId"], "limit": "2"}))["data"]
    assert newer == everything[:2], "what is newer than an id comes newest first, as at OKX"
    fills = (await okx.private_get_trade_fills_history({"instType": "SWAP"}))["data"]
    assert {fill["billId"] for fill in fills} == {bill["billId"] for bill in everything if bill["type"] == "2"}


async def test_the_dead_mans_switch_cancels_orders_unless_called_off(exchange: LocalExchange, okx: Any) -> None:
    made = await okx.create_order(BTC, "limit", "buy", 1, mark(exchange) * 0.9)
    assert (await okx.cancel_all_orders_after(10_000))["data"][0]["triggerTime"] != "0"
    assert (await okx.cancel_all_orders_after(0))["data"][0]["triggerTime"] == "0"
    with pytest.raises(ccxt.BadRequest, match="timeOut"):
        await okx.cancel_all_orders_after(5_000)
    heard = asyncio.create_task(okx.watch_orders())
    await asyncio.wait_for(okx.watch_positions(), 5)
    assert (await okx.fetch_order(made["id"], BTC))["status"] == "open"
    exchange.exchange.cancel_all_after(0.001, "")
    (order,) = await asyncio.wait_for(heard, 5)
    assert (order["id"], order["status"]) == (made["id"], "canceled")
