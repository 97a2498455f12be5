"""What the exchange tells of its market and of the account, in OKX's rows."""

from decimal import Decimal
from functools import lru_cache

from core.domain.account import Position
from core.domain.instrument import Instrument
from core.matching.core import Matching
from core.matching.replay import Market
from core.matching.types import Levels
from core.venues.okx_local.stream import Push
from core.venues.okx_local.wire import BARS, ZERO, Body, candle, number, ticker

DEPTH = 400
"""Levels of the `books` channel."""
_CLOSED = 4_096
"""Closed candles kept as told: each client that comes asks for the same history."""


class Feed:
    """Reads market and matching core; keeps books as last sent, for their increments, and old candles."""

    def __init__(self, market: Market, matching: Matching) -> None:
        self.market, self.matching = market, matching
        self.bar_name = BARS[market.panel.bar_ms]
        self.candle_channel = f"candle{self.bar_name}"
        self._sent: dict[str, tuple[int, Levels, Levels]] = {}
        self._closed = lru_cache(_CLOSED)(self._candle)

    def specs(self) -> list[Instrument]:
        """The instruments that have a price now."""
        return [spec for spec in self.market.instruments if self.matching.mark(spec.id) is not None]

    def mark_price(self, instrument: str) -> Decimal:
        return self.matching.mark(instrument) or ZERO

    def ticker(self, spec: Instrument) -> Body:
        mark = self.mark_price(spec.id)
        bids, asks = self.matching.book(spec.id, 1)
        bid, ask = bids[0] if bids else (mark, ZERO), asks[0] if asks else (mark, ZERO)
        day = self.market.day(self.market.index[spec.id])
        return ticker(spec, self.market.now, mark, bid, ask, day)

    def mark(self, spec: Instrument) -> Body:
        return {
            "instType": "SWAP",
            "instId": spec.id,
            "markPx": number(self.mark_price(spec.id)),
            "ts": str(self.market.now),
        }

    def trade(self, spec: Instrument) -> Body:
        """The market's last trade: one lot at the last price, one each tick."""
        return {
            "instId": spec.id,
            "tradeId": str(self.market.bar * (self.market.ticks + 1) + self.market.tick),
            "px": number(self.mark_price(spec.id)),
            "sz": number(spec.lot),
            "side": "buy",
            "count": "1",
            "ts": str(self.market.now),
        }

    def funding(self, spec: Instrument) -> Body:
        """`fundingRate`, the estimate of the next settlement, is the last settled one: nothing of the future."""
        rate, following, after = self.market.funding(self.market.index[spec.id])
        return {
            "instType": "SWAP",
            "instId": spec.id,
            "method": "current_period",
            "fundingRate": number(rate),
            "nextFundingRate": "",
            "fundingTime": str(following),
            "nextFundingTime": str(after),
            "minFundingRate": "-0.015",
            "maxFundingRate": "0.015",
            "settState": "settled",
            "settFundingRate": number(rate),
            "premium": "0",
            "ts": str(self.market.now),
        }

    def candle(self, spec: Instrument, bar: int) -> list[str] | None:
        return self._closed(spec.id, bar) if bar < self.market.bar else self._candle(spec.id, bar)

    def _candle(self, instrument: str, bar: int) -> list[str] | None:
        index = self.market.index[instrument]
        row, closed = self.market.candle(index, bar), bar < self.market.bar
        return None if row is None else candle(row, self.market.instruments[index].contract, closed)

    def book(self, spec: Instrument, depth: int) -> Body:
        """A whole book; sizes in contracts."""
        bids, asks = self.matching.book(spec.id, depth)
        ts = self.market.now
        return {"asks": _rows(asks), "bids": _rows(bids), "ts": str(ts), "seqId": ts, "prevSeqId": -1}

    def book_snapshot(self, spec: Instrument) -> Body:
        """The book as the increments go on from it."""
        seq, bids, asks = self._sent.get(spec.id) or (1, *self.matching.book(spec.id, DEPTH))
        self._sent[spec.id] = seq, bids, asks
        return self._update(_rows(bids), _rows(asks), -1, seq)

    def book_update(self, spec: Instrument) -> Body:
        """What has changed since the last one; a level that is gone has size 0."""
        seq, old_bids, old_asks = self._sent[spec.id]
        bids, asks = self.matching.book(spec.id, DEPTH)
        self._sent[spec.id] = seq + 1, bids, asks
        return self._update(_changes(old_bids, bids), _changes(old_asks, asks), seq, seq + 1)

    def _update(self, bids: list[list[str]], asks: list[list[str]], before: int, seq: int) -> Body:
        ts = str(self.market.now)
        return {"asks": asks, "bids": bids, "ts": ts, "checksum": 0, "prevSeqId": before, "seqId": seq}

    def position(self, held: Position) -> Body:
        """A row of account/positions, flat ones too (a push tells that a position has been closed)."""
        spec = self.market.instruments[self.market.index[held.instrument]]
        mark, upl = self.mark_price(spec.id), self.matching.unrealised(spec.id)
        initial, maintenance = self.matching.margins(spec.id) if held.size else (ZERO, ZERO)
        value = abs(spec.notional(held.size, mark))
        return {
            "instType": "SWAP",
            "instId": spec.id,
            "posId": str(1000 + self.market.index[spec.id]),
            "posSide": "net",
            "mgnMode": "cross",
            "ccy": spec.settle,
            "pos": number(held.size),
            "availPos": "",
            "avgPx": number(held.average) if held.size else "",
            "markPx": number(mark),
            "last": number(mark),
            "upl": number(upl),
            "uplRatio": number(upl / initial) if initial else "",
            "lever": number(self.matching.leverage(spec.id)),
            "imr": number(initial),
            "mmr": number(maintenance),
            "mgnRatio": "",
            "margin": "",
            "liqPx": "",
            "notionalUsd": number(value),
            "adl": "1",
            "realizedPnl": "",
            "fee": "",
            "fundingFee": "",
            "tradeId": "",
            "cTime": str(held.ts),
            "uTime": str(held.ts),
        }

    def positions(self) -> list[Body]:
        return [self.position(held) for held in self.matching.positions() if held.size]

    def balance(self) -> Body:
        """The one row of account/balance."""
        money = self.matching.balance()
        held = [p for p in self.matching.positions() if p.size]
        initial = sum((self.matching.margins(p.instrument)[0] for p in held), ZERO)
        maintenance = sum((self.matching.margins(p.instrument)[1] for p in held), ZERO)
        upl = number(money.equity - money.cash)
        equity, used = number(money.equity), number(money.equity - money.free)
        ratio = number(money.equity / maintenance) if maintenance else ""
        detail = {
            "ccy": money.currency,
            "eq": equity,
            "eqUsd": equity,
            "disEq": equity,
            "cashBal": number(money.cash),
            "availEq": number(money.free),
            "availBal": number(money.free),
            "frozenBal": used,
            "ordFrozen": "0",
            "upl": upl,
            "imr": number(initial),
            "mmr": number(maintenance),
            "mgnRatio": ratio,
            "liab": "0",
            "interest": "0",
            "isoEq": "0",
            "uTime": str(self.market.now),
        }
        return {
            "uTime": str(self.market.now),
            "totalEq": equity,
            "adjEq": equity,
            "availEq": number(money.free),
            "isoEq": "0",
            "ordFroz": "0",
            "imr": detail["imr"],
            "mmr": detail["mmr"],
            "mgnRatio": ratio,
            "upl": upl,
            "details": [detail],
        }

    def balance_and_position(self, event: str) -> Body:
        money = self.matching.balance()
        return {
            "pTime": str(self.market.now),
            "eventType": event,
            "balData": [{"ccy": money.currency, "cashBal": number(money.cash), "uTime": str(self.market.now)}],
            "posData": self.positions(),
            "trades": [],
        }

    def snapshot(self, channel: str, instrument: str) -> list[Push]:
        """What a new subscriber is told at once."""
        if channel == "positions":
            rows = [row for row in self.positions() if instrument in ("", row["instId"])]
            return [("", rows)]
        if channel == "account":
            return [("", [self.balance()])]
        if channel == "balance_and_position":
            return [("", [self.balance_and_position("snapshot")])]
        if not instrument or self.matching.mark(instrument) is None:
            return []
        spec = self.market.instruments[self.market.index[instrument]]
        if channel == self.candle_channel:
            row = self.candle(spec, self.market.bar)
            return [("", [row])] if row else []
        rows = self.rows(channel, spec)
        return [("snapshot" if channel == "books" else "", rows)] if rows else []

    def rows(self, channel: str, spec: Instrument) -> list[Body]:
        """The present state of a public channel of one instrument (of `books`, all of it)."""
        if channel == "tickers":
            return [self.ticker(spec)]
        if channel == "mark-price":
            return [self.mark(spec)]
        if channel == "funding-rate":
            return [self.funding(spec)]
        if channel == "trades":
            return [self.trade(spec)]
        if channel == "books":
            return [self.book_snapshot(spec)]
        if channel in ("books5", "bbo-tbt"):
            return [self.book(spec, 5 if channel == "books5" else 1) | {"instId": spec.id}]
        return []


def _rows(levels: Levels) -> list[list[str]]:
    return [[number(price), number(size), "0", "1"] for price, size in levels]


def _changes(old: Levels, new: Levels) -> list[list[str]]:
    before, after = dict(old), dict(new)
    gone = [(price, ZERO) for price in before if price not in after]
    return _rows(gone + [(price, size) for price, size in new if before.get(price) != size])
