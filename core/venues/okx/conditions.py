"""The conditions under which OKX lets us trade: account, margin, limits, announced outages, rate of requests.

Field names follow OKX's API documentation, https://www.okx.com/docs-v5/en/.
"""

from collections.abc import Sequence
from decimal import Decimal

from core.venues.okx.fields import Raw, exact, number, positive, time_ms, word
from core.venues.okx.rest import Rest
from core.venues.port import AccountMode, Load, Maintenance, PriceLimit, Tier, VenueError

MARGIN_MODES = {"1": "spot", "2": "futures", "3": "multi-currency", "4": "portfolio"}
"""OKX's account levels, `acctLv`."""


class Conditions(Rest):
    """`Rest` with what a preflight asks."""

    async def traded(self) -> frozenset[str]:
        """The linear perpetuals that can be traded now; where that cannot be asked, all that were known."""
        try:
            return frozenset(await self._listing("live"))
        except VenueError:
            return frozenset(self.instruments)

    async def account_mode(self) -> AccountMode:
        return await self._one("account/config", account_mode)

    async def leverage(self, instruments: Sequence[str]) -> dict[str, Decimal]:
        path, found = "account/leverage-info", dict[str, Decimal]()
        for first in range(0, len(instruments), 20):  # OKX takes twenty names at once.
            names = ",".join(instruments[first : first + 20])
            rows = await self._read(path, _leverage, {"instId": names, "mgnMode": "cross"})
            found.update(rows)
        return found

    async def tiers(self, instrument: str) -> list[Tier]:
        family = instrument.removesuffix("-SWAP")
        params = {"instType": "SWAP", "tdMode": "cross", "instFamily": family}
        return sorted(await self._read("public/position-tiers", tier, params), key=lambda each: each.number)

    async def price_limit(self, instrument: str) -> PriceLimit:
        return await self._one("public/price-limit", price_limit, {"instId": instrument})

    async def maintenance(self) -> list[Maintenance]:
        """Of what concerns us, not of OKX's other products."""
        found = await self._read("system/status", maintenance, keep=_concerns_us)
        return sorted(found, key=lambda each: each.begin)

    async def measure_clock(self) -> int:
        return await self.sync_clock()

    def load(self) -> Load:
        return self.budget.load()


def account_mode(raw: Raw) -> AccountMode:
    """From `account/config`."""
    return AccountMode(
        margin=MARGIN_MODES[raw["acctLv"]],
        net=raw["posMode"] == "net_mode",
        permissions=tuple(each for each in word(raw, "perm").split(",") if each),
        bound=bool(raw.get("ip")),
    )


def _leverage(raw: Raw) -> tuple[str, Decimal]:
    return word(raw, "instId"), positive(raw["lever"])


def tier(raw: Raw) -> Tier:
    """From `public/position-tiers`."""
    return Tier(
        number=int(exact(raw["tier"])),
        max_size=exact(raw["maxSz"]),
        maintenance=exact(raw["mmr"]),
        initial=exact(raw["imr"]),
        max_leverage=positive(raw["maxLever"]),
    )


def price_limit(raw: Raw) -> PriceLimit:
    """From `public/price-limit`. Before a swap has a limit its prices are empty."""
    buy, sell = number(raw, "buyLmt"), number(raw, "sellLmt")
    return PriceLimit(buy, sell, bool(buy and sell) and str(raw.get("enabled", True)).lower() == "true")


def maintenance(raw: Raw) -> Maintenance:
    """From `system/status`."""
    title = f"{raw.get('title', 'maintenance')}".strip()
    return Maintenance(title, time_ms(raw, "begin"), time_ms(raw, "end"), raw.get("state") == "ongoing")


def _concerns_us(raw: Raw) -> bool:
    """Of OKX's service types: sockets (0), trading (5; 8 and 9 in batches), others (99); not block, bot, spread or
    copy trading. Of its states: not what is completed or called off."""
    service, state = raw.get("serviceType", "0"), raw.get("state")
    return service in ("0", "5", "8", "9", "99") and state in ("scheduled", "ongoing", "pre_open")
