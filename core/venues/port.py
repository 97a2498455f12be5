"""The small protocol between the acting wing and an exchange."""

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

import msgspec

from core.domain.account import Balance, Bill, Position
from core.domain.instrument import Instrument
from core.domain.market import Candle, Funding, Mark, Ticker
from core.domain.orders import Fill, Order, OrderReport, Protection


class Capabilities(msgspec.Struct, frozen=True):
    """What a venue can do. `lockstep`: the market waits for `acknowledge` after each closed bar. `immediate`: no
    method ever waits, and what came of an order has been told when `place` returns (a backtest). `limited`:
    requests beyond its rate limits are refused (a local exchange takes what comes). `dead_man`: it cancels what
    rests when it no longer hears us (see `cancel_all_after`)."""

    name: str
    real_money: bool
    lockstep: bool
    expiry: bool
    triggers: bool
    immediate: bool = False
    limited: bool = False
    dead_man: bool = False


class StreamState(StrEnum):
    LIVE = "live"
    STALE = "stale"
    DOWN = "down"
    ENDED = "ended"
    """Its instrument is not traded any more: silence is right."""


class StreamStatus(msgspec.Struct, frozen=True):
    """One subscription changed its state; `key` names it, e.g. `candle:BTC-USDT-SWAP`."""

    key: str
    state: StreamState
    detail: str = ""


class Reconnected(msgspec.Struct, frozen=True):
    """A socket came back, or a frame of it could not be read: what was not told must be asked for."""

    socket: str


class AccountMode(msgspec.Struct, frozen=True):
    """How the account is set up. `margin`: spot (no swaps), futures, multi-currency or portfolio. `net`: one
    position an instrument, not a long and a short one. `permissions` are those of the API key (read_only, trade,
    withdraw); `bound` says whether the key may only be used from named addresses."""

    margin: str
    net: bool
    permissions: tuple[str, ...]
    bound: bool


class Tier(msgspec.Struct, frozen=True):
    """A step of the margin rules: up to `max_size` contracts, maintenance margin is `maintenance` and initial
    margin `initial`, shares of the position's value; `max_leverage` is allowed."""

    number: int
    max_size: Decimal
    maintenance: Decimal
    initial: Decimal
    max_leverage: Decimal


class PriceLimit(msgspec.Struct, frozen=True):
    """Above `buy` no buying order is taken, below `sell` no selling one; `enabled` False: no such limits now."""

    buy: Decimal
    sell: Decimal
    enabled: bool


class Maintenance(msgspec.Struct, frozen=True):
    """An announced (or ongoing) outage, from `begin` to `end` in ms UTC (0: not said)."""

    title: str
    begin: int
    end: int
    ongoing: bool


class Load(msgspec.Struct, frozen=True):
    """How near the venue's rate limits we are: the largest share of one that was used of late, and which it is."""

    share: float
    name: str


VenueEvent = Ticker | Mark | Candle | Funding | OrderReport | Fill | Position | Balance | StreamStatus | Reconnected
"""What a venue's `next_event` yields. A Candle is always a closed one."""


class VenueError(Exception):
    """The venue said no, or could not be reached: one line that names the thing, the value, the way out."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Refused(VenueError):
    """The exchange has answered: this request was refused and has had no effect."""


class Unreachable(VenueError):
    """The venue could not be reached; a request that only reads had no effect."""


class Unknown(VenueError):
    """A request that changes something was sent and its outcome is not known: ask by client order id."""


class Venue(Protocol):
    """An exchange account and its market data. All times are ms UTC.

    Every method but `next_event` raises `Unreachable` when the venue cannot be reached and `Refused` when
    it said no; those that change something raise `Unknown` when the outcome is not known.
    """

    capabilities: Capabilities
    instruments: dict[str, Instrument]

    async def connect(self, instruments: Sequence[str]) -> None:
        """Load markets, check the clock, prepare the account (net mode), open and watch the streams.

        Returns when every subscription has been acknowledged, or raises."""

    async def close(self) -> None:
        """Close sockets and sessions; no order is touched."""

    async def next_event(self) -> VenueEvent:
        """The next event in order of arrival. Nothing is dropped, and nothing is seen twice: reports never
        go back in time, fills are unique by trade id."""

    def server_ms(self) -> int:
        """The server's clock now (our clock plus the measured offset): for expiries."""

    def market_ms(self) -> int:
        """The latest market time seen. On a real exchange this is its clock; a replay has its own."""

    async def candles(self, instrument: str, end_ms: int, count: int) -> list[Candle]:
        """Up to `count` closed candles that closed at or before market time `end_ms` (0: now), oldest first."""

    async def funding(self, instrument: str, count: int) -> list[Funding]:
        """The last `count` settled rates, oldest first."""

    async def mark(self, instrument: str) -> Decimal:
        """The mark price now."""

    async def place(self, order: Order) -> OrderReport:
        """Send one order. A report in state LIVE means accepted; fills come as events."""

    async def cancel(self, order: Order) -> None:
        """Ask to cancel; the outcome comes as an event."""

    async def cancel_all_after(self, seconds: int) -> None:
        """Where `dead_man`: cancel what rests of the orders that `place` has sent, unless asked anew within
        `seconds` (10 to 120; 0 calls it off). Protections and what others have sent are not touched."""

    async def order(self, instrument: str, client_id: str) -> OrderReport | None:
        """What became of an order, by client id, wherever the exchange keeps it (pending, history);
        None: not found, which is final only once its expiry has passed (see `Order.expires`)."""

    async def open_orders(self) -> list[OrderReport]: ...

    async def fills(self, since_ms: int) -> list[Fill]:
        """All fills of the account at or after market time `since_ms`, oldest first."""

    async def positions(self) -> list[Position]: ...

    async def balance(self) -> Balance: ...

    async def bills(self, after: str) -> list[Bill]:
        """All bills newer than the bill id `after` ("" for all), oldest first."""

    async def set_leverage(self, instrument: str, leverage: Decimal) -> None: ...

    async def fee_rates(self) -> tuple[Decimal, Decimal]:
        """(maker, taker) as shares of notional; positive: paid."""

    async def account_mode(self) -> AccountMode: ...

    async def leverage(self, instruments: Sequence[str]) -> dict[str, Decimal]:
        """The leverage that is set, by instrument."""

    async def tiers(self, instrument: str) -> list[Tier]:
        """The steps of margin, by size, smallest first."""

    async def price_limit(self, instrument: str) -> PriceLimit: ...

    async def maintenance(self) -> list[Maintenance]:
        """What is announced, soonest first."""

    async def measure_clock(self) -> int:
        """How many ms the exchange's clock is ahead of ours, measured now."""

    def load(self) -> Load:
        """Of the requests of the last two seconds."""

    async def protect(self, protection: Protection) -> Protection:
        """Place a stop-only trigger order on the mark price, reduce-only; returned with its venue id."""

    async def unprotect(self, protection: Protection) -> None:
        """Cancel it; already gone is no error."""

    async def protections(self) -> list[Protection]: ...

    async def acknowledge(self, bar_open_ms: int) -> None:
        """Under lockstep: this bar is done with and every order it caused is settled. Else nothing."""
