"""OKX's past: candles and settled funding rates, page by page, without an account."""

from core.domain.errors import UserError
from core.domain.market import Candle, Funding
from core.venues.okx import messages
from core.venues.okx.messages import BARS, Raw
from core.venues.okx.rest import CANDLE_PAGE, Rest
from core.venues.okx.transport import Credentials, OkxTransport, check_address
from core.venues.port import Capabilities, Unreachable


class OkxHistory(Rest):
    """`async with OkxHistory(bar="1h") as history:` reads what is public. Times are ms UTC.

    `address` http://127.0.0.1:PORT of the local exchange; None: OKX itself, at the pace that ccxt keeps for it (its
    history allows 20 requests in 2 seconds). Every method raises what the venue port's do."""

    page = CANDLE_PAGE
    """Candles in one answer."""

    def __init__(self, *, address: str | None = None, bar: str = "1h", timeout: float = 10.0) -> None:
        if bar not in BARS:
            raise UserError(f"bar {bar!r}: OKX has no such candles here; use one of {', '.join(BARS)}")
        credentials = Credentials("", "", "")
        transport = OkxTransport(
            address=check_address(address) if address is not None else None,
            credentials=credentials,
            sandbox=False,
            on_push=lambda _: None,
            on_fault=lambda *_: None,
            timeout=timeout,
        )
        name = "okx" if address is None else "demo"
        capabilities = Capabilities(name, real_money=False, lockstep=False, expiry=True, triggers=True)
        super().__init__(
            transport, credentials, capabilities, bar, f"{name} exchange" + (f" at {address}" if address else "")
        )

    async def __aenter__(self) -> "OkxHistory":
        self._transport.open()
        try:
            await self.load_instruments()
        except BaseException:
            await self._transport.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.close()

    def market_ms(self) -> int:
        return self.server_ms()

    async def candles_before(self, instrument: str, end_ms: int | None) -> list[Candle]:
        """A page of closed candles that opened before `end_ms` (None: the latest), newest first; empty at the
        beginning of history."""
        path = "market/history-candles"
        params: Raw = {"instId": instrument, "bar": self.bar_name, "limit": str(CANDLE_PAGE)}
        rows = await self._call("GET", path, params if end_ms is None else {**params, "after": str(end_ms)})
        page = self._converted(path, lambda row: messages.candle(instrument, row), rows)  # type: ignore[arg-type]
        return [each for each in page if each is not None]

    async def rates_after(self, instrument: str, start_ms: int) -> list[Funding]:
        """Every rate that OKX still has (three months) and that was settled later than `start_ms`, oldest first.

        One that was settled before is read too where there is one: the period of a rate is the time since."""
        path, rows = "public/funding-rate-history", []
        async for page in self._pages(path, "fundingTime", {"instId": instrument}):
            rows += page
            if int(page[-1]["fundingTime"]) <= start_ms:
                break
        try:
            return [rate for rate in messages.funding_history(rows) if rate.ts > start_ms]
        except (LookupError, ValueError) as error:
            raise Unreachable(f"{self.where}: {path}: an answer cannot be read: {error!r}") from None
