"""OKX, only looked at: an account that is read, and the market that anybody may see."""

from collections.abc import Sequence
from typing import Any

from core.venues.okx import messages
from core.venues.okx.messages import Raw
from core.venues.okx.rest import Rows
from core.venues.okx.sockets import PRIVATE
from core.venues.okx.venue import OkxVenue
from core.venues.port import Refused

PUBLIC = ("public/", "market/", "system/status")
"""Paths that OKX answers without a key."""


class OkxReader(OkxVenue):
    """`OkxVenue` with its hands tied: every request that would change something is refused here."""

    async def look(self) -> None:
        """What `connect` does without its streams: enough for requests. Raises as that does; `close` it after."""
        try:
            self._transport.open()
            await self.sync_clock()
            await self.load_instruments()
            self._session.advance(await self._read("public/mark-price", messages.mark, {"instType": "SWAP"}))
        except BaseException as error:
            await self.close()
            raise self._plain(error) from None

    async def _prepare_account(self) -> None:
        """It is looked at as it is."""

    async def _call(self, verb: str, path: str, params: Any = None) -> Rows:
        if verb != "GET":
            raise Refused(f"{self.where}: {path}: this venue is only read")
        return await super()._call(verb, path, params)


class OkxMarket(OkxReader):
    """The public half: candles, tickers, marks and funding. It logs in nowhere and asks nothing of an account."""

    def _plan(self, instruments: Sequence[str]) -> dict[str, list[Raw]]:
        return {socket: wanted for socket, wanted in super()._plan(instruments).items() if socket != PRIVATE}

    async def _call(self, verb: str, path: str, params: Any = None) -> Rows:
        if not path.startswith(PUBLIC):
            raise Refused(f"{self.where}: {path}: this venue has no account")
        return await super()._call(verb, path, params)
