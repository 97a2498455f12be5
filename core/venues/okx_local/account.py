"""The account: GET paths that read it, and its two settings."""

from core.matching.types import Rejected, SetLeverage
from core.venues.okx_local import wire
from core.venues.okx_local.api import ApiError, Get, Params, Rows, exact, limit, listed, needed, whole, wrong
from core.venues.okx_local.exchange import Exchange


def _config(exchange: Exchange, params: Params) -> Rows:
    return [
        {
            "uid": "1",
            "mainUid": "1",
            "label": "local",
            "level": "Lv1",
            "acctLv": "2",
            "posMode": "net_mode",
            "autoLoan": False,
            "greeksType": "PA",
            "ctIsoMode": "automatic",
            "mgnIsoMode": "automatic",
            "perm": "read_only,trade",
            "roleType": "0",
            "ip": "",
            "type": "0",
            "acctStpMode": "cancel_maker",
        }
    ]


def _balance(exchange: Exchange, params: Params) -> Rows:
    return [exchange.feed.balance()]


def _positions(exchange: Exchange, params: Params) -> Rows:
    if params.get("instType", "SWAP") not in ("", "SWAP"):
        return []
    asked = set(filter(None, params.get("instId", "").split(",")))
    return [row for row in exchange.feed.positions() if not asked or row["instId"] in asked]


def _leverage_info(exchange: Exchange, params: Params) -> Rows:
    _cross(params)
    return [
        {
            "instId": name,
            "mgnMode": "cross",
            "posSide": "net",
            "lever": wire.number(exchange.matching.leverage(listed(exchange, name).id)),
            "ccy": "",
        }
        for name in needed(params, "instId").split(",")
    ]


def _trade_fee(exchange: Exchange, params: Params) -> Rows:
    """Negative: paid."""
    maker, taker = wire.number(-exchange.rules.maker), wire.number(-exchange.rules.taker)
    return [
        {
            "instType": "SWAP",
            "level": "Lv1",
            "category": "1",
            "maker": maker,
            "taker": taker,
            "makerU": maker,
            "takerU": taker,
            "makerUSDC": maker,
            "takerUSDC": taker,
            "feeGroup": [{"groupId": "1", "maker": maker, "taker": taker}],
            "ts": str(exchange.market.now),
        }
    ]


def _bills(exchange: Exchange, params: Params) -> Rows:
    if params.get("instType", "SWAP") not in ("", "SWAP") or params.get("ccy", "USDT") not in ("", "USDT"):
        return []
    kinds = tuple(filter(None, params.get("type", "").split(",")))
    return list(
        exchange.store.texts(
            "bill",
            instrument=params.get("instId", ""),
            tags=kinds,
            older_than=params.get("after", ""),
            newer_than=params.get("before", ""),
            begin=whole(params, "begin", 0),
            end=whole(params, "end", 0),
            limit=limit(params),
        )
    )


def _currencies(exchange: Exchange, params: Params) -> Rows:
    return [{"ccy": "USDT", "name": "Tether", "chain": "USDT-Local", "canDep": False, "canWd": False}]


def _cross(params: Params) -> None:
    if params.get("mgnMode", "") != "cross":
        raise wrong("mgnMode", "the local exchange margins cross")


def set_leverage(exchange: Exchange, params: Params) -> Rows:
    _cross(params)
    spec = listed(exchange, needed(params, "instId"))
    for event in exchange.obey([SetLeverage(spec.id, exact(params, "lever"))]):
        if isinstance(event, Rejected):
            raise ApiError(event.code, event.message)
    lever = wire.number(exchange.matching.leverage(spec.id))
    return [{"instId": spec.id, "lever": lever, "mgnMode": "cross", "posSide": params.get("posSide", "")}]


def set_position_mode(exchange: Exchange, params: Params) -> Rows:
    if needed(params, "posMode") != "net_mode":
        raise wrong("posMode", "the local exchange runs accounts in net mode alone")
    return [{"posMode": "net_mode"}]


GET: dict[str, Get] = {
    "account/config": _config,
    "account/balance": _balance,
    "account/positions": _positions,
    "account/leverage-info": _leverage_info,
    "account/trade-fee": _trade_fee,
    "account/bills": _bills,
    "account/bills-archive": _bills,
    "asset/currencies": _currencies,
}
POST = {"account/set-leverage": set_leverage, "account/set-position-mode": set_position_mode}
