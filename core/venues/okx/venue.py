"""The venue port over OKX: its streams joined to its requests."""

import asyncio
from collections.abc import Sequence

import aiohttp
import ccxt

from core.venues.okx import messages
from core.venues.okx.conditions import Conditions
from core.venues.okx.messages import Raw
from core.venues.okx.rest import HINTS
from core.venues.okx.session import Session
from core.venues.okx.sockets import Sockets
from core.venues.okx.transport import Credentials, Rejection, TransportMaker
from core.venues.port import (
    Capabilities,
    Refused,
    StreamState,
    StreamStatus,
    Unreachable,
    VenueEvent,
)

CLOCK_TOLERANCE_MS = 5_000
"""A clock off by more is told, though the offset mends it: logs and other programs still suffer."""

PATIENCE = {"ticker": 2.0, "mark": 1.0, "candle": 4.0}
"""How long each kind of stream may be silent, in units of `stale_after`. OKX sends marks every ten seconds at
least, tickers and candles only when something is traded; the rest only when something changes."""


class OkxVenue(Conditions):
    """`core.venues.port.Venue` for OKX. One account, net mode, cross margin, USDT-settled perpetuals."""

    def __init__(
        self,
        *,
        transport: TransportMaker,
        where: str,
        credentials: Credentials,
        capabilities: Capabilities,
        bar: str,
        stale_after: float,
        timeout: float,
        account: str = "",
    ) -> None:
        """`where` names the venue in errors; `timeout` and `stale_after` in seconds; `account`: the label or uid of
        the only account that may be touched (empty: the key's, whatever its name)."""
        super().__init__(transport(self._push, self._fault), credentials, capabilities, bar, where)
        self._stale_after = stale_after
        self._timeout = timeout
        self._account = account
        self._session = Session((), self.bar_ms, self.candles_after)
        self._sockets: Sockets | None = None

    # --- coming and going ----------------------------------------------------------------------------

    async def connect(self, instruments: Sequence[str]) -> None:
        """See the port. Takes three times the request timeout at most; what was opened is closed on failure."""
        try:
            async with asyncio.timeout(3 * self._timeout):
                await self._connect(instruments)
        except BaseException as error:
            await self.close()
            raise self._plain(error) from None

    async def _connect(self, instruments: Sequence[str]) -> None:
        self._transport.open()  # also after a close
        await self.sync_clock()
        await asyncio.gather(self.load_instruments(), self._prepare_account())
        missing = [each for each in instruments if each not in self.instruments]
        if missing:
            raise Refused(
                f"{self.where}: does not list {', '.join(missing)}: name live USDT perpetuals like BTC-USDT-SWAP"
            )
        self._session = Session(instruments, self.bar_ms, self.candles_after)
        self._session.advance(await self._read("public/mark-price", messages.mark, {"instType": "SWAP"}))
        self._sockets = Sockets(
            self._transport,
            self._session,
            self._plan(instruments),
            self._patience,
            self._timeout,
            self.sync_clock,
            self.traded,
        )
        await self._sockets.start()
        await asyncio.gather(*(self._seed(each) for each in instruments))
        self._tell_clock()

    async def _prepare_account(self) -> None:
        """Net mode, on the account that was named: nothing of another one is touched."""
        if self._account:
            config: Raw = await self._one("account/config", dict)
            label, uid = str(config.get("label", "")), str(config.get("uid", ""))
            if self._account not in (label, uid):
                raise Refused(
                    f"{self.where}: the key belongs to account {label!r} (uid {uid}), not to {self._account!r}: "
                    "name that one, or use another key"
                )
        await self.ensure_net_mode()

    async def close(self) -> None:
        if self._sockets is not None:
            await self._sockets.close()
        self._session.close()
        await self._transport.close()

    def _plan(self, instruments: Sequence[str]) -> dict[str, list[Raw]]:
        """The subscriptions of each of OKX's three sockets."""
        public = ("tickers", "mark-price", "funding-rate")
        return {
            "public": [{"channel": channel, "instId": each} for channel in public for each in instruments],
            "private": [
                {"channel": "orders", "instType": "SWAP"},
                {"channel": "positions", "instType": "SWAP"},
                {"channel": "account"},
            ],
            "business": [{"channel": f"candle{self.bar_name}", "instId": each} for each in instruments],
        }

    def _patience(self, key: str) -> float | None:
        """Under lockstep silence is the market waiting for us."""
        factor = PATIENCE.get(key.partition(":")[0])
        return None if factor is None or self.capabilities.lockstep else factor * self._stale_after

    async def _seed(self, instrument: str) -> None:
        """Tell where the stream of closed candles begins, so that one lost before its first is missed too."""
        latest = await self.candles(instrument, 0, 1)
        if latest:
            self._session.flows[instrument].seed(latest[0].open_ms)

    def _tell_clock(self) -> None:
        if abs(self.clock_offset) > CLOCK_TOLERANCE_MS:
            side = "behind" if self.clock_offset > 0 else "ahead of"
            text = (
                f"this machine's clock is {abs(self.clock_offset) / 1000:.1f} s {side} the exchange's: requests "
                "are corrected for it, but set it right (NTP)"
            )
            self._session.mailbox.put(StreamStatus("clock", StreamState.LIVE, text))

    def _plain(self, error: BaseException) -> BaseException:
        """What went wrong at the start as one line; what is ours already stays."""
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, Rejection):
            text = self._credentials.redact(error.message)
            hint = f"; {HINTS[error.code]}" if error.code in HINTS else ""
            return Refused(f"{self.where}: a stream was refused: {error.code} {text}{hint}", error.code)
        if isinstance(error, ccxt.BaseError | TimeoutError | aiohttp.ClientError | OSError):
            return Unreachable(f"{self.where}: streams cannot be opened: {self._reason(error)}")
        return error

    # --- events --------------------------------------------------------------------------------------

    def _push(self, message: Raw) -> None:
        received = asyncio.get_running_loop().time()
        self._session.deliver(messages.stream_key(message["arg"]), messages.push_events(message, received))

    def _fault(self, stream: str, error: Exception) -> None:
        """What could not be read is told; of a frame that is no JSON nobody knows what it said: as after a
        reconnect, everything of its socket is asked for."""
        text = self._credentials.redact(f"{type(error).__name__}: {error}")[:200]
        self._session.freshness.fault(stream, f"a message could not be read: {text}")
        if self._sockets is not None and stream in self._sockets.names:
            self._sockets.catch_up(stream)

    async def next_event(self) -> VenueEvent:
        return await self._session.next_event()

    def market_ms(self) -> int:
        return self._session.market_ms

    async def acknowledge(self, bar_open_ms: int) -> None:
        if not self.capabilities.lockstep:
            return
        try:
            await self._transport.post_local("/local/acknowledge", {"bar": bar_open_ms})
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"{self.where}: bar {bar_open_ms} not acknowledged: {self._reason(error)}") from None
