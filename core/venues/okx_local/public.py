"""Public and market data: GET paths that need no signature."""

from core.domain.instrument import Instrument
from core.venues.okx_local import wire
from core.venues.okx_local.api import Get, Params, Rows, limit, listed, missing, needed, whole, wrong
from core.venues.okx_local.exchange import Exchange

_ALWAYS = 1 << 62


def _time(exchange: Exchange, params: Params) -> Rows:
    """Server time: the machine's, not the replay's."""
    return [{"ts": str(exchange.server_ms())}]


def _asked(exchange: Exchange, params: Params, everything: tuple[str, ...] = ("",)) -> list[Instrument]:
    """The swaps that a request names by instId, instFamily or uly, or all."""
    name = params.get("instId", "")
    if name not in everything:
        return [listed(exchange, name)]
    if params.get("instType", "SWAP") != "SWAP":
        return []
    family = params.get("instFamily") or params.get("uly", "")
    return [s for s in exchange.feed.specs() if family in ("", f"{s.asset}-{s.quote}")]


def _instruments(exchange: Exchange, params: Params) -> Rows:
    needed(params, "instType")
    return [wire.instrument(spec, exchange.market.index[spec.id]) for spec in _asked(exchange, params)]


def _mark_price(exchange: Exchange, params: Params) -> Rows:
    return [exchange.feed.mark(spec) for spec in _asked(exchange, params)]


def _funding_rate(exchange: Exchange, params: Params) -> Rows:
    needed(params, "instId")
    return [exchange.feed.funding(spec) for spec in _asked(exchange, params, ("ANY",))]


def _funding_history(exchange: Exchange, params: Params) -> Rows:
    spec = listed(exchange, needed(params, "instId"))
    before, after = whole(params, "before", -1), whole(params, "after", _ALWAYS)
    rows = exchange.market.settled(exchange.market.index[spec.id], before, after, limit(params, 400))
    return [
        {
            "instType": "SWAP",
            "instId": spec.id,
            "fundingTime": str(ts),
            "fundingRate": wire.number(rate),
            "realizedRate": wire.number(rate),
            "method": "current_period",
        }
        for ts, rate in rows
    ]


def _position_tiers(exchange: Exchange, params: Params) -> Rows:
    """One tier: this exchange asks the same margin of every size."""
    if not any(params.get(name) for name in ("instFamily", "uly", "instId")):
        raise missing("instFamily")
    return [
        {
            "tier": "1",
            "instId": "",
            "instFamily": f"{spec.asset}-{spec.quote}",
            "uly": f"{spec.asset}-{spec.quote}",
            "minSz": "0",
            "maxSz": "100000000",
            "imr": wire.number(1 / spec.max_leverage),
            "mmr": wire.number(exchange.rules.maintenance_rate),
            "maxLever": wire.number(spec.max_leverage),
            "optMgnFactor": "0",
            "quoteMaxLoan": "",
            "baseMaxLoan": "",
        }
        for spec in _asked(exchange, params)
    ]


def _price_limit(exchange: Exchange, params: Params) -> Rows:
    spec = listed(exchange, needed(params, "instId"))
    mark, band = exchange.feed.mark_price(spec.id), exchange.rules.price_band
    return [
        {
            "instType": "SWAP",
            "instId": spec.id,
            "buyLmt": wire.number(spec.round_price(mark * (1 + band))),
            "sellLmt": wire.number(spec.round_price(mark * (1 - band))),
            "ts": str(exchange.market.now),
            "enabled": True,
        }
    ]


def _status(exchange: Exchange, params: Params) -> Rows:
    """No maintenance is ever planned."""
    return []


def _tickers(exchange: Exchange, params: Params) -> Rows:
    return [exchange.feed.ticker(spec) for spec in _asked(exchange, params)]


def _ticker(exchange: Exchange, params: Params) -> Rows:
    return [exchange.feed.ticker(listed(exchange, needed(params, "instId")))]


def _books(exchange: Exchange, params: Params) -> Rows:
    spec = listed(exchange, needed(params, "instId"))
    return [exchange.feed.book(spec, min(whole(params, "sz", 1), 400))]


def _trades(exchange: Exchange, params: Params) -> Rows:
    return [exchange.feed.trade(listed(exchange, needed(params, "instId")))]


def _candles(exchange: Exchange, params: Params, forming: bool = True) -> Rows:
    """Newest first; `before` and `after` are exclusive open times, of what is newer and what is older."""
    spec = listed(exchange, needed(params, "instId"))
    bar = params.get("bar", "1m")
    if bar != exchange.feed.bar_name:
        raise wrong("bar", f"{bar!r}: this market is replayed in {exchange.feed.bar_name} bars")
    before, after = whole(params, "before", -1), whole(params, "after", _ALWAYS)
    market = exchange.market
    newest = market.bar if forming and not market.finished else market.bar - 1
    rows: Rows = []
    for position in market.bars_between(before, after, newest):
        row = exchange.feed.candle(spec, position)
        if row is None or len(rows) == limit(params, 300):
            break
        rows.append(row)
    return rows


def _history_candles(exchange: Exchange, params: Params) -> Rows:
    return _candles(exchange, params, forming=False)


GET: dict[str, Get] = {
    "public/time": _time,
    "public/instruments": _instruments,
    "public/mark-price": _mark_price,
    "public/funding-rate": _funding_rate,
    "public/funding-rate-history": _funding_history,
    "public/position-tiers": _position_tiers,
    "public/price-limit": _price_limit,
    "system/status": _status,
    "market/tickers": _tickers,
    "market/ticker": _ticker,
    "market/books": _books,
    "market/trades": _trades,
    "market/candles": _candles,
    "market/history-candles": _history_candles,
}
