"""The order book of one instrument, a real one or one made around its mark."""

from decimal import Decimal
from itertools import pairwise
from math import inf
from zlib import crc32

from core.domain.instrument import Instrument
from core.matching.money import ZERO, sane
from core.matching.rules import Rules
from core.matching.types import Levels, Quote

_HALF_BP = Decimal("0.00005")


class OrderBook:
    """Order book and mark of `instrument`. The book is a function of the last quote, the rules and what our own
    fills have `taken` since: contracts bought from the asks, contracts sold to the bids."""

    __slots__ = ("_rules", "_salt", "_sides", "instrument", "mark", "taken", "turnover")

    def __init__(self, instrument: Instrument, rules: Rules) -> None:
        self.instrument = instrument
        self.mark = ZERO
        self.turnover = 0.0
        self.taken = (ZERO, ZERO)
        self._rules = rules
        self._salt = crc32(instrument.id.encode()) ^ rules.seed
        self._sides: list[Levels | None] = [None, None]
        """Bids and asks, as they are before our fills; a side nobody has asked for is not made."""

    def move(self, quote: Quote) -> None:
        """A new market state: a new mark, and the book whole again."""
        if not (sane(quote.mark) and quote.mark > 0 and 0 <= quote.turnover < inf):
            raise ValueError(f"quote of {quote.instrument}: mark {quote.mark}, turnover {quote.turnover}")
        self.restore(quote.mark, quote.turnover, (ZERO, ZERO))
        if quote.book is not None:
            self._sides = [*_checked(quote.instrument, *quote.book)]

    def restore(self, mark: Decimal, turnover: float, taken: tuple[Decimal, Decimal]) -> None:
        """A market state as it was, with what our fills had taken of its book; that is the one made of it."""
        self.mark = mark
        self.turnover = turnover
        self.taken = taken
        self._sides = [None, None]

    def levels(self, buy: bool) -> Levels:
        """(price, contracts) that an order to buy (sell) finds now, best first; empty once taken whole."""
        taken, side = self.taken[not buy], self._sides[buy]
        if side is None:
            side = self._sides[buy] = self._build(buy)
        if not taken:
            return side
        left = []
        for price, size in side:
            gone = min(taken, size)
            taken -= gone
            if gone < size:
                left.append((price, size - gone))
        return left

    def reachable(self, buy: bool, limit: Decimal) -> Levels:
        """The levels at `limit` or better."""
        return [level for level in self.levels(buy) if (level[0] <= limit if buy else level[0] >= limit)]

    def take(self, buy: bool, size: Decimal) -> None:
        """Our fill has used up `size` contracts, from the best level on."""
        asks, bids = self.taken
        self.taken = (asks + size, bids) if buy else (asks, bids + size)

    def limit(self, buy: bool) -> Decimal:
        """The worst price at which an order may trade now."""
        band = self._rules.price_band
        return self.mark * (1 + band if buy else 1 - band)

    def _build(self, buy: bool) -> Levels:
        """Asks (to buy) or bids: the spread is at least two ticks wide, so the best prices never meet."""
        tick = self.instrument.tick
        half = max(tick, self.mark * self._rules.spread_bps * _HALF_BP)
        step = int(half // tick)
        if buy:
            whole, part = divmod(self.mark + half, tick)
            ask = int(whole) + (part > 0)
            return [((ask + k * step) * tick, size) for k, size in enumerate(self._depth(ask))]
        bid = int((self.mark - half) // tick)
        return [((bid - k * step) * tick, size) for k, size in enumerate(self._depth(bid)) if bid - k * step > 0]

    def _depth(self, best: int) -> list[Decimal]:
        """Contracts per level: deeper away from the best price, varied by a quarter, one order at least."""
        instrument, rules = self.instrument, self._rules
        lots = rules.depth_share * self.turnover / float(self.mark * instrument.contract * instrument.lot)
        share = 2.0 * lots / (rules.levels * (rules.levels + 1))
        least = -int(-instrument.min_size // instrument.lot)
        sizes = []
        for k in range(rules.levels):
            noise = (best * 0x85EBCA77 + k * 0xC2B2AE3D + self._salt * 0x9E3779B1) & 0xFFFFFFFF
            noise = (noise ^ noise >> 15) * 0x2C1B3C6D & 0xFFFFFFFF
            varied = share * (k + 1) * (0.75 + (noise >> 12) / 2**21)
            sizes.append(max(int(varied), least) * instrument.lot)
        return sizes


def _checked(instrument: str, bids: Levels, asks: Levels) -> tuple[Levels, Levels]:
    """The sides of a real book, if they can be those of one."""
    prices = [price for price, _ in (*reversed(bids), *asks)]
    sound = all(sane(size) and size > 0 and sane(price) and price > 0 for price, size in (*bids, *asks))
    if not sound or any(high <= low for low, high in pairwise(prices)):
        raise ValueError(f"quote of {instrument}: bids {bids}, asks {asks} are no book")
    return bids, asks
