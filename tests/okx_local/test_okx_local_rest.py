"""What the REST paths answer to ccxt.pro: markets, candles, funding, the account, signatures."""

from decimal import Decimal
from typing import Any

import aiohttp
import ccxt.pro as ccxt
import pytest

from core.clock import wall_ms
from core.data.panel import Panel
from core.venues.okx_local import Keys, LocalExchange

BTC = "BTC/USDT:USDT"
HOUR = 3_600_000
START = 200


async def test_markets_carry_their_real_contract_tick_and_lot(okx: Any) -> None:
    markets = await okx.load_markets()
    assert len(markets) == 10
    bitcoin, doge = markets[BTC], markets["DOGE/USDT:USDT"]
    assert bitcoin["linear"] and bitcoin["swap"] and bitcoin["active"]
    assert (bitcoin["contractSize"], bitcoin["precision"]["amount"], bitcoin["precision"]["price"]) == (
        0.01,
        0.01,
        0.1,
    )
    assert (doge["contractSize"], doge["precision"]["price"], doge["limits"]["amount"]["min"]) == (
        1000,
        0.00001,
        0.01,
    )
    assert bitcoin["limits"]["leverage"]["max"] == 100


async def test_server_time_is_the_machines_and_not_the_replays(okx: Any, exchange: LocalExchange) -> None:
    assert abs(await okx.fetch_time() - wall_ms()) < 5_000
    assert exchange.exchange.market.now < wall_ms() - 365 * 24 * HOUR


async def test_history_ends_with_the_last_closed_bar_and_the_forming_one_is_not_confirmed(
    okx: Any, panel: Panel
) -> None:
    rows = (await okx.public_get_market_candles({"instId": "BTC-USDT-SWAP", "bar": "1H", "limit": "3"}))["data"]
    assert [row[8] for row in rows] == ["0", "1", "1"]
    assert [int(row[0]) for row in rows] == [int(panel.ts[i]) for i in (START, START - 1, START - 2)]
    old = await okx.fetch_ohlcv(BTC, "1h", limit=5, params={"type": "HistoryCandles"})
    assert [row[0] for row in old] == panel.ts[START - 5 : START].tolist()
    assert old[-1][4] == panel.close[START - 1, 0]
    assert old[-1][5] == panel.volume[START - 1, 0], "ccxt reads the volume in base units"


async def test_candles_page_by_exclusive_bounds_and_never_show_the_future(okx: Any, panel: Panel) -> None:
    ask = {"instId": "BTC-USDT-SWAP", "bar": "1H"}
    bounds = {"before": str(panel.ts[9]), "after": str(panel.ts[13])}
    rows = (await okx.public_get_market_history_candles(ask | bounds))["data"]
    assert [int(row[0]) for row in rows] == panel.ts[10:13][::-1].tolist()
    future = {"before": str(panel.ts[START])}
    assert (await okx.public_get_market_candles(ask | future))["data"] == []
    assert len((await okx.public_get_market_history_candles(ask | {"limit": "1000"}))["data"]) == START
    with pytest.raises(ccxt.BadRequest, match="1H bars"):
        await okx.fetch_ohlcv(BTC, "5m")


async def test_funding_tells_settled_rates_alone(okx: Any, panel: Panel) -> None:
    rate = await okx.fetch_funding_rate(BTC)
    assert (rate["fundingRate"], rate["interval"]) == (0.0001, "8h")
    assert rate["fundingTimestamp"] == panel.ts[START] + 8 * HOUR
    history = await okx.fetch_funding_rate_history(BTC, limit=3)
    assert [row["timestamp"] for row in history] == panel.ts[START - 16 : START + 1 : 8].tolist()
    assert {row["fundingRate"] for row in history} == {0.0001}


async def test_account_begins_with_its_cash_in_net_mode(okx: Any) -> None:
    balance = await okx.fetch_balance()
    assert balance["USDT"]["total"] == balance["USDT"]["free"] == 100_000
    assert (await okx.private_get_account_config())["data"][0]["posMode"] == "net_mode"
    assert await okx.fetch_positions() == []
    (deposit,) = (await okx.private_get_account_bills())["data"]
    assert (deposit["type"], deposit["balChg"], deposit["bal"]) == ("1", "100000", "100000")
    fee = await okx.fetch_trading_fee(BTC)
    assert (fee["maker"], fee["taker"]) == (0.0002, 0.0005)


async def test_leverage_is_kept_per_instrument(okx: Any) -> None:
    await okx.set_leverage(5, BTC, {"mgnMode": "cross"})
    assert (await okx.fetch_leverage(BTC, {"marginMode": "cross"}))["longLeverage"] == 5
    assert (await okx.fetch_leverage("ETH/USDT:USDT", {"marginMode": "cross"}))["longLeverage"] != 5
    with pytest.raises(ccxt.ExchangeError, match="59102"):
        await okx.set_leverage(101, BTC, {"mgnMode": "cross"})
    await okx.set_position_mode(False)
    with pytest.raises(ccxt.BadRequest, match="net mode"):
        await okx.set_position_mode(True)


async def test_tickers_and_books_stand_around_the_mark(okx: Any, exchange: LocalExchange) -> None:
    mark = exchange.exchange.matching.mark("BTC-USDT-SWAP")
    assert mark is not None
    ticker, book = await okx.fetch_ticker(BTC), await okx.fetch_order_book(BTC, 5)
    assert ticker["bid"] < float(mark) < ticker["ask"] and ticker["last"] == float(mark)
    assert ticker["timestamp"] == exchange.exchange.market.now
    assert book["bids"][0][0] == ticker["bid"] and len(book["asks"]) == 5
    assert len(await okx.fetch_tickers()) == 10


@pytest.mark.parametrize(
    ("changed", "code"),
    [({"secret": "x"}, "50113"), ({"apiKey": "x"}, "50111"), ({"password": "x"}, "50105")],
)
async def test_a_wrong_key_is_refused_by_name(
    exchange: LocalExchange, connect: Any, changed: dict[str, str], code: str
) -> None:
    client = await connect(exchange, **changed)
    with pytest.raises(ccxt.AuthenticationError, match=code):
        await client.private_get_account_balance()


async def test_a_clock_that_is_off_is_refused_and_mended(exchange: LocalExchange, connect: Any) -> None:
    client = await connect(exchange)
    client.nonce = lambda: wall_ms() - 31_000
    with pytest.raises(ccxt.InvalidNonce, match="50102"):
        await client.private_get_account_balance()


async def test_missing_headers_and_unknown_paths_are_named(exchange: LocalExchange, okx: Any) -> None:
    async with aiohttp.ClientSession() as session, session.get(exchange.url + "/api/v5/account/balance") as reply:
        assert reply.status == 401 and (await reply.json())["code"] == "50103"
    with pytest.raises(ccxt.ExchangeError, match="not served by the local exchange"):
        await okx.private_get_account_greeks()


async def test_market_data_of_an_unknown_instrument_is_refused(okx: Any) -> None:
    with pytest.raises(ccxt.BadSymbol, match="51001"):
        await okx.public_get_market_ticker({"instId": "NOPE-USDT-SWAP"})


def test_sizes_outside_the_listing_are_sensible() -> None:
    from core.matching.listing import swap

    for price in (0.00001234, 0.5, 7.0, 431.0, 99_999.0):
        spec = swap("XYZ", price)
        assert 1 <= float(spec.contract) * price < 100
        assert Decimal("1e-5") <= spec.tick / Decimal(str(price)) <= Decimal("1e-3")


async def test_limits_and_tiers_are_those_the_orders_meet(okx: Any, exchange: LocalExchange) -> None:
    (limits,) = (await okx.public_get_public_price_limit({"instId": "BTC-USDT-SWAP"}))["data"]
    mark = float(exchange.exchange.matching.mark("BTC-USDT-SWAP") or 0)
    assert float(limits["sellLmt"]) < mark < float(limits["buyLmt"])
    (tier,) = await okx.fetch_market_leverage_tiers(BTC)
    assert (tier["maxLeverage"], tier["maintenanceMarginRate"]) == (100, 0.005)
    assert (await okx.public_get_system_status())["data"] == []


def test_keys_do_not_show_their_secrets() -> None:
    keys = Keys("name", "hush", "hush")
    assert "hush" not in repr(keys) + str(keys) and "name" in repr(keys)
