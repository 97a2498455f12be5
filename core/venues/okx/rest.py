"""Requests to OKX as the venue port states them, and what their failures mean.

Only an answer of the exchange that says no is a refusal. Whatever else happens to a request that changes
something (a timeout, a cut connection, a web page or nothing with HTTP 200, a busy or halted matching engine)
leaves its outcome unknown; the same happening to one that only reads means that the venue cannot be reached.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from decimal import Decimal
from typing import Any, TypeVar

import aiohttp
import ccxt

from core.clock import monotonic, wall_ms
from core.domain.account import Balance, Bill, Position
from core.domain.instrument import Instrument
from core.domain.market import Candle, Funding
from core.domain.orders import Fill, Order, OrderReport, OrderState, Protection
from core.venues.okx import messages
from core.venues.okx.budget import Budget
from core.venues.okx.fields import UNREADABLE, Once, Raw, moment
from core.venues.okx.transport import Credentials, Rejection, Transport
from core.venues.port import Capabilities, Refused, Unknown, Unreachable, VenueError

T = TypeVar("T")
Rows = list[Any]

PAGE = 100
CANDLE_PAGE = 300
FILLS_KEPT_MS = 3 * 86_400_000
"""`trade/fills` reaches back three days, `trade/fills-history` three months."""

CLOCK_ANSWER_S = 2.0
"""Half of this bounds how wrong the exchange's clock is known: less than the margin by which absence is proven."""

STALE_CLOCK = "50102"
EXPIRED = "51149"
"""The order came after its expiry: it was too long on its way, or a clock has been set since it was measured."""
DUPLICATE = frozenset(("51016", "51065"))
"""The client id is taken (orders, algo orders): what was asked for exists already."""
GONE = frozenset(("51400", "51401", "51402", "51410", "51503", "51603"))
"""The order is filled, cancelled, being cancelled, or nowhere to be found."""
AMBIGUOUS = frozenset(("50001", "50004", "50005", "50013", "50026"))
"""Answers that leave open whether the request was carried out: halted, timed out, offline, busy, broken."""

_KEYS = "check OKX_API_KEY, OKX_API_SECRET and OKX_API_PASSPHRASE, and that the key is for this environment"
HINTS = {
    **dict.fromkeys(("50101", "50105", "50111", "50113", "50114", "50119"), _KEYS),
    "50110": "allow this machine's address for the API key, or unbind the key from addresses",
    "51010": "switch the account to futures or multi-currency mode in OKX's settings",
    "50120": "give the API key the permission to trade",
}


class Rest(ABC):
    """The requests of the venue port over one transport. Times are ms UTC."""

    def __init__(
        self, transport: Transport, credentials: Credentials, capabilities: Capabilities, bar: str, where: str
    ) -> None:
        """`where` names the venue in errors, with its address if it has one."""
        self.capabilities = capabilities
        self.instruments: dict[str, Instrument] = {}
        self.bar_name, self.bar_ms = messages.BARS[bar]
        self.where = where
        self.clock_offset = 0
        self._measured: tuple[float, float] | None = None
        """(the exchange's clock in ms, ours in monotonic seconds) when last compared."""
        self.budget = Budget()
        self._listed_fill = Once(messages.listed_fill, "billId")
        self._transport = transport
        self._credentials = credentials

    # --- one request ---------------------------------------------------------------------------------

    async def _call(self, verb: str, path: str, params: Any = None) -> Rows:
        """The rows of an answer. A clock that has drifted too far is set right and the request sent again: it was
        refused before it was looked at."""
        failure = Unreachable if verb == "GET" else Unknown
        try:
            try:
                self.budget.spend(path)
                reply = await self._transport.ask(verb, path, params)
            except Rejection as rejection:
                if rejection.code != STALE_CLOCK:
                    raise
                await self.sync_clock()
                self.budget.spend(path)
                reply = await self._transport.ask(verb, path, params)
        except Rejection as rejection:
            raise self._refusal(path, rejection, failure) from None
        except (ccxt.BaseError, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise failure(f"{self.where}: {path}: {self._reason(error)}") from None
        rows = reply.get("data") if isinstance(reply, dict) else None
        kind = list if path.endswith("candles") else dict
        if not isinstance(rows, list) or not all(isinstance(row, kind) for row in rows):
            raise failure(f"{self.where}: {path}: the answer is not OKX's (a web page, empty, or cut)")
        return list(rows)

    def _refusal(
        self, path: str, rejection: Rejection, failure: type[Unreachable] | type[Unknown]
    ) -> Refused | Unreachable | Unknown:
        text = self._credentials.redact(rejection.message).strip().rstrip(".")
        hint = f"; {HINTS[rejection.code]}" if rejection.code in HINTS else ""
        kind = failure if rejection.code in AMBIGUOUS else Refused
        return kind(f"{self.where}: {path}: {rejection.code} {text}{hint}", rejection.code)

    def _reason(self, error: BaseException) -> str:
        """Why a request came to nothing, in few words: ccxt's own text repeats headers, urls and bodies."""
        cause = error.__cause__ or error
        if isinstance(error, ccxt.RequestTimeout) or isinstance(cause, TimeoutError):
            return f"no answer within {self._transport.timeout / 1000:g} s"
        if isinstance(cause, aiohttp.ClientConnectorError):
            return f"cannot be reached ({cause.os_error.strerror or 'no connection'}); is it running?"
        if isinstance(cause, aiohttp.ClientError | OSError):
            return "the connection was lost"
        return f"no proper answer ({type(error).__name__})"

    async def _read(
        self,
        path: str,
        convert: Callable[[Raw], T],
        params: Raw | None = None,
        keep: Callable[[Raw], bool] | None = None,
    ) -> list[T]:
        """The converted rows of one GET, those that `keep` wants."""
        return self._converted(
            path, convert, (r for r in await self._call("GET", path, params) if not keep or keep(r))
        )

    def _converted(self, path: str, convert: Callable[[Raw], T], rows: Iterable[Raw]) -> list[T]:
        try:
            return [convert(row) for row in rows]
        except UNREADABLE as error:
            raise self._unreadable(path, error) from None

    def _unreadable(self, path: str, error: Exception) -> Unreachable:
        """In few words: a row may hold anything, and be as long as an answer."""
        what = self._credentials.redact(f"{type(error).__name__}: {error}")[:200]
        return Unreachable(f"{self.where}: {path}: an answer cannot be read ({' '.join(what.split())})")

    async def _one(self, path: str, convert: Callable[[Raw], T], params: Raw | None = None) -> T:
        rows = await self._read(path, convert, params)
        if not rows:
            raise Unreachable(f"{self.where}: {path}: the answer is empty")
        return rows[0]

    async def _pages(self, path: str, cursor: str, params: Raw) -> AsyncIterator[Rows]:
        """All pages, newest first; `cursor` names the id by which OKX turns them."""
        after: Raw = {}
        while True:
            rows = await self._call("GET", path, {**params, **after, "limit": str(PAGE)})
            yield rows
            if len(rows) < PAGE:
                return
            after = self._next(path, after, cursor, rows)

    def _next(self, path: str, after: Raw, cursor: str | int, rows: Rows) -> Raw:
        """Where the page after these begins; Unreachable where that is no other than the one before."""
        (place,) = self._converted(path, lambda row: row[cursor], rows[-1:])  # type: ignore[index]
        if not isinstance(place, str) or place == after.get("after"):
            raise Unreachable(f"{self.where}: {path}: its pages do not go on")
        return {"after": place}

    async def _act(self, path: str, params: Any) -> Raw:
        """A request that changes something; the row that acknowledges it."""
        rows = await self._call("POST", path, params)
        if not rows or not isinstance(rows[0], dict):
            raise Unknown(f"{self.where}: {path}: nothing was acknowledged")
        return dict(rows[0])

    # --- clock and market ----------------------------------------------------------------------------

    async def sync_clock(self) -> int:
        """Measure how many ms the exchange's clock is ahead of ours; signatures use it. An answer that took long
        says little: it is asked for again, and where none comes soon the last good measure stands."""
        for _ in range(3):
            asked = monotonic()
            server = await self._one("public/time", lambda raw: moment(raw["ts"]))
            heard = monotonic()
            if heard - asked <= CLOCK_ANSWER_S:
                self._measured = server + (heard - asked) * 500, heard
                break
        if self._measured is None:
            raise Unreachable(f"{self.where}: its clock cannot be compared: answers take over {CLOCK_ANSWER_S:g} s")
        self.clock_offset = self.server_ms() - wall_ms()
        self._transport.set_clock(self.clock_offset)
        return self.clock_offset

    def server_ms(self) -> int:
        """By the last comparison and what has passed since: a step of this machine's clock changes no expiry."""
        if self._measured is None:
            return wall_ms()
        return round(self._measured[0] + (monotonic() - self._measured[1]) * 1000)

    @abstractmethod
    def market_ms(self) -> int:
        """The latest market time seen: what reports are stamped with."""

    async def load_instruments(self) -> None:
        """Every linear perpetual that is traded, or is suspended: who trades others goes on."""
        self.instruments = await self._listing("live", "suspend")

    async def _listing(self, *states: str) -> dict[str, Instrument]:
        path, swaps = "public/instruments", {"instType": "SWAP"}
        linear = await self._read(path, messages.listed, swaps, messages.is_linear)
        return {each.id: each for each, state in linear if state in states}

    async def _candle_pages(self, instrument: str, end_ms: int) -> AsyncIterator[list[Candle]]:
        """Closed candles, newest first: `market/candles` keeps the latest 1,440, the history has them all."""
        after: Raw = {"after": str(end_ms - self.bar_ms + 1)} if end_ms else {}
        fixed = {"instId": instrument, "bar": self.bar_name, "limit": str(CANDLE_PAGE)}
        for path in ("market/candles", "market/history-candles"):
            while rows := await self._call("GET", path, {**fixed, **after}):
                page = self._converted(path, lambda row: messages.candle(instrument, row), rows)  # type: ignore[arg-type]
                yield [each for each in page if each is not None]
                after = self._next(path, after, 0, rows)

    async def candles(self, instrument: str, end_ms: int, count: int) -> list[Candle]:
        found: list[Candle] = []
        async for page in self._candle_pages(instrument, end_ms):
            found += page
            if len(found) >= count:
                break
        return found[:count][::-1]

    async def candles_after(self, instrument: str, open_ms: int) -> list[Candle]:
        """Every closed candle that opened later than `open_ms`, oldest first."""
        found: list[Candle] = []
        async for page in self._candle_pages(instrument, 0):
            found += page
            if page and page[-1].open_ms <= open_ms + self.bar_ms:
                break
        return [each for each in reversed(found) if each.open_ms > open_ms]

    async def funding(self, instrument: str, count: int) -> list[Funding]:
        path, rows = "public/funding-rate-history", []
        async for page in self._pages(path, "fundingTime", {"instId": instrument}):
            rows += page
            if len(rows) > count:
                break
        try:
            # one row more than asked for, so that the first one's period is known too
            return messages.funding_history(rows[: count + 1])[-count:] if count else []
        except UNREADABLE as error:
            raise self._unreadable(path, error) from None

    async def mark(self, instrument: str) -> Decimal:
        params = {"instType": "SWAP", "instId": instrument}
        return (await self._one("public/mark-price", messages.mark, params)).price

    # --- orders --------------------------------------------------------------------------------------

    async def place(self, order: Order) -> OrderReport:
        try:
            row = await self._act("trade/order", messages.place_request(order))
        except Refused as refused:
            if refused.code in DUPLICATE:
                return await self._existing(order, refused)
            if refused.code == EXPIRED:
                with suppress(VenueError):  # The next attempt is dated by the exchange's clock as it is now.
                    await self.sync_clock()
            raise
        if not isinstance(row.get("ordId"), str) or not row["ordId"]:
            raise Unknown(f"{self.where}: order {order.client_id}: acknowledged without an id")
        return OrderReport(
            order.client_id, row["ordId"], order.instrument, OrderState.LIVE, Decimal(0), None, self.market_ms()
        )

    async def _existing(self, order: Order, refused: Refused) -> OrderReport:
        """The id is taken: an earlier sending of this order has arrived, so tell what became of it."""
        try:
            found = await self.order(order.instrument, order.client_id)
        except Unreachable as error:
            raise Unknown(str(error)) from None
        if found is None:
            raise Unknown(f"{refused}; but it is not found yet", refused.code)
        return found

    async def cancel(self, order: Order) -> None:
        await self._act("trade/cancel-order", {"instId": order.instrument, "clOrdId": order.client_id})

    async def cancel_all_after(self, seconds: int) -> None:
        await self._act("trade/cancel-all-after", {"timeOut": str(seconds), "tag": messages.TAG})

    async def order(self, instrument: str, client_id: str) -> OrderReport | None:
        try:
            return await self._one("trade/order", messages.report, {"instId": instrument, "clOrdId": client_id})
        except Refused as refused:
            if refused.code not in GONE:
                raise
        params = {"instType": "SWAP", "instId": instrument}
        for path in ("trade/orders-pending", "trade/orders-history", "trade/orders-history-archive"):
            async for page in self._pages(path, "ordId", params):
                mine = [row for row in page if row.get("clOrdId") == client_id]
                if mine:
                    return self._converted(path, messages.report, mine)[0]
        return None

    async def open_orders(self) -> list[OrderReport]:
        path = "trade/orders-pending"
        pages = self._pages(path, "ordId", {"instType": "SWAP"})
        return [each async for page in pages for each in self._converted(path, messages.report, page)]

    async def fills(self, since_ms: int) -> list[Fill]:
        old = self.market_ms() - since_ms > FILLS_KEPT_MS
        path = "trade/fills-history" if old else "trade/fills"
        params = {"instType": "SWAP", "begin": str(max(0, since_ms - 1))}  # inclusive or not
        rows = [row async for page in self._pages(path, "billId", params) for row in page]
        found = reversed(self._converted(path, self._listed_fill, rows))
        return sorted((each for each in found if each.ts >= since_ms), key=lambda fill: fill.ts)

    # --- the account ---------------------------------------------------------------------------------

    async def positions(self) -> list[Position]:
        everything = await self._read("account/positions", messages.position, {"instType": "SWAP"})
        return [each for each in everything if each.size]

    async def balance(self) -> Balance:
        return await self._one("account/balance", messages.balance)

    async def bills(self, after: str) -> list[Bill]:
        """Bill ids rise with time. OKX keeps a week of them here."""
        path, found = "account/bills", list[Bill]()
        newer: Raw = {"before": after} if after else {}
        older: Raw = {}
        rows = await self._call("GET", path, {**newer, "limit": str(PAGE)})
        while rows:
            page = self._converted(path, messages.bill, rows)
            fresh = [each for each in page if not after or int(each.id) > int(after)]
            found += fresh
            if len(fresh) < PAGE:
                break
            older = self._next(path, older, "billId", rows)
            rows = await self._call("GET", path, {**older, "limit": str(PAGE)})
        return found[::-1]

    async def set_leverage(self, instrument: str, leverage: Decimal) -> None:
        lever = format(leverage.normalize(), "f")
        await self._act("account/set-leverage", {"instId": instrument, "lever": lever, "mgnMode": "cross"})

    async def fee_rates(self) -> tuple[Decimal, Decimal]:
        return await self._one("account/trade-fee", messages.fee_rates, {"instType": "SWAP"})

    async def ensure_net_mode(self) -> None:
        """Books are netted by us, so the account must hold one position per instrument. Refused: it cannot be."""
        config: Raw = await self._one("account/config", dict)
        if config.get("acctLv") == "1":
            raise Refused(f"{self.where}: the account cannot trade swaps; {HINTS['51010']}", "51010")
        if config.get("posMode") == "net_mode":
            return
        try:
            await self._act("account/set-position-mode", {"posMode": "net_mode"})
        except Refused as refused:
            raise Refused(
                f"{self.where}: the account is in {config.get('posMode')!r} and must be in net_mode, but could not "
                f"be switched ({refused.code}): close its positions and orders, or switch it in OKX's settings",
                refused.code,
            ) from None

    # --- protection ----------------------------------------------------------------------------------

    async def protect(self, protection: Protection) -> Protection:
        try:
            row = await self._act("trade/order-algo", messages.protect_request(protection))
        except Refused as refused:
            if refused.code not in DUPLICATE:
                raise
            standing = await self._standing(protection.client_id)
            if standing is None:
                raise
            return standing
        if not isinstance(row.get("algoId"), str) or not row["algoId"]:
            raise Unknown(f"{self.where}: stop {protection.client_id}: acknowledged without an id")
        return Protection(
            protection.client_id, protection.instrument, protection.size, protection.trigger, row["algoId"]
        )

    async def _standing(self, client_id: str) -> Protection | None:
        try:
            return next((each for each in await self.protections() if each.client_id == client_id), None)
        except Unreachable as error:
            raise Unknown(str(error)) from None

    async def unprotect(self, protection: Protection) -> None:
        name = {"algoId": protection.venue_id} if protection.venue_id else {"algoClOrdId": protection.client_id}
        try:
            await self._act("trade/cancel-algos", [{"instId": protection.instrument, **name}])
        except Refused as refused:
            if refused.code not in GONE:
                raise

    async def protections(self) -> list[Protection]:
        path = "trade/orders-algo-pending"
        pages = self._pages(path, "algoId", {"instType": "SWAP", "ordType": "conditional"})
        return [each async for page in pages for each in self._converted(path, messages.protection, page)]
