"""The market side of one instrument: its mark, and an order book made around it."""

from decimal import Decimal
from math import inf
from zlib import crc32

from core.domain.instrument import Instrument
from core.matching.money import ZERO, sane
from core.matching.rules import Rules
from core.matching.types import Quote

Levels = list[tuple[Decimal, Decimal]]
_HALF_BP = Decimal("0.00005")


class Market:
    """Mark and book of `instrument`. The book is a function of the last quote, the rules and what our own
    fills have `taken` since: contracts bought from the asks, contracts sold to the bids."""

    __slots__ = ("_asks", "_bids", "_rules", "_salt", "instrument", "mark", "taken", "turnover")

    def __init__(self, instrument: Instrument, rules: Rules) -> None:
        self.instrument = instrument
        self.mark = ZERO
        self.turnover = 0.0
        self.taken = (ZERO, ZERO)
        self._rules = rules
        self._salt = crc32(instrument.id.encode()) ^ rules.seed
        self._asks: Levels = []
        self._bids: Levels = []

    def move(self, quote: Quote) -> None:
        """A new market state: a new mark, and the book whole again."""
        if not (sane(quote.mark) and quote.mark > 0 and 0 <= quote.turnover < inf):
            raise ValueError(f"quote of {quote.instrument}: mark {quote.mark}, turnover {quote.turnover}")
        self.restore(quote.mark, quote.turnover, (ZERO, ZERO))

    def restore(self, mark: Decimal, turnover: float, taken: tuple[Decimal, Decimal]) -> None:
        """A market state as it was, with what our fills had taken of its book."""
        self.mark = mark
        self.turnover = turnover
        self.taken = taken
        self._asks = []

    def levels(self, buy: bool) -> Levels:
        """(price, contracts) that an order to buy (sell) finds now, best first; empty once taken whole."""
        if not self._asks:
            self._asks, self._bids = self._build()
        taken = self.taken[not buy]
        side = self._asks if buy else self._bids
        if not taken:
            return side
        left: Levels = []
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

    def _build(self) -> tuple[Levels, Levels]:
        """Asks and bids: the spread is at least two ticks wide, so the best prices never meet."""
        tick = self.instrument.tick
        half = max(tick, self.mark * self._rules.spread_bps * _HALF_BP)
        step = int(half // tick)
        bid = int((self.mark - half) // tick)
        whole, part = divmod(self.mark + half, tick)
        ask = int(whole) + (part > 0)
        sizes = self._depth(ask)
        asks = [((ask + k * step) * tick, size) for k, size in enumerate(sizes)]
        sizes = self._depth(bid)
        bids = [((bid - k * step) * tick, size) for k, size in enumerate(sizes) if bid - k * step > 0]
        return asks, bids

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
