"""The books of the pairs: what each strategy holds of each, and how fills and funding divide among them."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from operator import attrgetter

import msgspec

from core.domain.account import Bill, Book, BookLeg
from core.domain.instrument import Instrument
from core.domain.orders import Action, Fill, Intent
from core.portfolio.account import Holding
from core.portfolio.events import Part, Share
from core.portfolio.money import ZERO, share, shares

RESIDUE = "residue"
"""In the place of a strategy: the book of contracts of a pair that no order can trade, for they are too few."""
_SIZE = attrgetter("size")


class PairBook:
    """One book while it is open. `gross` is the entry notional as it stands when the entry has ended: what a
    failing entry took back does not count. Where an intent adds to an open book, the first one's z, stop and
    target stay."""

    __slots__ = ("_frozen", "barred", "fees", "funding", "gross", "intent", "legs", "realized", "since")

    def __init__(self, intent: Intent, instruments: Mapping[str, Instrument], since: int) -> None:
        self.intent = intent
        self.since = since
        """Market time of its first fill."""
        self.legs = {leg.instrument: Holding(instruments[leg.instrument].contract) for leg in intent.legs}
        self.realized = self.fees = self.funding = self.gross = ZERO
        self.barred = False
        self._frozen: Book | None = None

    @property
    def flat(self) -> bool:
        return not any(map(_SIZE, self.legs.values()))

    def trade(self, intent: Intent, instrument: Instrument, part: Part, price: Decimal) -> None:
        """Book a part of a fill."""
        self._frozen = None
        leg = self.legs.setdefault(instrument.id, Holding(instrument.contract))
        self.realized += leg.trade(part.size, price)
        self.fees += part.fee
        if intent.action is Action.OPEN:
            self.gross = sum((abs(held.cost) for held in self.legs.values()), ZERO)

    def absorb(self, other: "PairBook") -> None:
        """Take over what another book holds, at what it has cost."""
        self._frozen = None
        for name, theirs in other.legs.items():
            leg = self.legs.setdefault(name, Holding(theirs.contract))
            leg.size += theirs.size
            leg.cost += theirs.cost

    def pay(self, amount: Decimal) -> None:
        """Book a share of a funding bill."""
        self._frozen = None
        self.funding += amount

    def freeze(self, instruments: Mapping[str, Instrument]) -> Book:
        """The book as everybody else sees it."""
        if self._frozen is None:
            self._frozen = self._freeze(instruments)
        return self._frozen

    def _freeze(self, instruments: Mapping[str, Instrument]) -> Book:
        i = self.intent
        legs = tuple(
            BookLeg(instruments[name].asset, name, leg.size, leg.average, leg.contract)
            for name, leg in self.legs.items()
        )
        return Book(
            strategy=i.strategy,
            pair=i.pair,
            side=i.side,
            opened=i.ts,
            legs=legs,
            z=i.z,
            score=i.score,
            probability=i.probability,
            stop=i.stop,
            target=i.target,
            gross=self.gross,
            realized=self.realized,
            fees=self.fees,
            funding=self.funding,
            intent=i.id,
            slices=i.slices,
        )


class Claim(msgspec.Struct, frozen=True, gc=False):
    """The part of a fill by the exchange itself that falls to one book: signed contracts, its share of the fee."""

    strategy: str
    pair: str
    size: Decimal
    fee: Decimal


def split_fill(books: Iterable[PairBook], fill: Fill, instrument: Instrument) -> tuple[tuple[Claim, ...], Decimal]:
    """Divide a fill that no order of ours explains among the books it reduces; what is left of it.

    In proportion to what each holds against the fill, in whole lots, largest first; the lots that rounding
    leaves over go to the largest that can still take them.
    """
    against = _largest(
        (book, -book.legs[fill.instrument].size)
        for book in books
        if fill.instrument in book.legs and book.legs[fill.instrument].size * fill.size < 0
    )
    if not against:
        return (), fill.size
    whole = sum((size for _, size in against), ZERO)
    due = fill.size if abs(fill.size) <= abs(whole) else whole
    sizes = [instrument.round_size(share(due, size, whole)) for _, size in against]
    left = due - sum(sizes, ZERO)
    for place, (_, most) in enumerate(against):
        more = min(left, most - sizes[place], key=abs)
        sizes[place] += more
        left -= more
    taken = [(book, size) for (book, _), size in zip(against, sizes, strict=True) if size]
    rest = fill.size - due
    fees = shares(fill.fee, [size for _, size in taken] + [rest], fill.size)
    claims = tuple(
        Claim(book.intent.strategy, book.intent.pair, size, fee)
        for (book, size), fee in zip(taken, fees, strict=False)
    )
    return claims, rest


class Traded:
    """The last parts of fills by book: what tells how much each held a while ago, when a bill that comes late was
    due. Two days of them: a statement is read every minute, and first of all after a restart."""

    KEPT_MS = 2 * 86_400_000

    def __init__(self) -> None:
        self._parts: deque[tuple[int, PairBook, str, Decimal]] = deque()

    def add(self, ts: int, book: PairBook, instrument: str, size: Decimal) -> None:
        self._parts.append((ts, book, instrument, size))
        while self._parts[0][0] < ts - self.KEPT_MS:
            self._parts.popleft()

    def move(self, ts: int, giver: PairBook, taker: PairBook) -> None:
        """All that one book holds goes to another."""
        for name, leg in giver.legs.items():
            self.add(ts, giver, name, -leg.size)
            self.add(ts, taker, name, leg.size)

    def held(self, books: Iterable[PairBook], instrument: str, ts: int) -> list[tuple[PairBook, Decimal]]:
        """Who held how many signed contracts just before market time `ts`: what each holds now, less what it has
        traded from then on. Books that have been closed since are among them."""
        sizes = {book: book.legs[instrument].size for book in books if instrument in book.legs}
        for when, book, name, size in self._parts:
            if name == instrument and when >= ts:
                sizes[book] = sizes.get(book, ZERO) - size
        return [(book, size) for book, size in sizes.items() if size]


def share_funding(held: Iterable[tuple[PairBook, Decimal]], bill: Bill) -> tuple[Share, ...]:
    """Divide a funding bill among the books that held its instrument when it was due, in proportion to their signed
    sizes: one that was short receives what one that was long pays. The residual goes to the largest. Nobody gets a
    share where the books cancel out or none held it."""
    holders = _largest(held)
    net = sum((size for _, size in holders), ZERO)
    if not net:
        return ()
    amounts = shares(bill.change, [size for _, size in holders], net)
    return tuple(
        Share(book.intent.strategy, book.intent.pair, amount)
        for (book, _), amount in zip(holders, amounts, strict=True)
    )


def _largest(held: Iterable[tuple[PairBook, Decimal]]) -> Sequence[tuple[PairBook, Decimal]]:
    """Largest first; of equals, in order of their names, so that the order of opening decides nothing."""
    return sorted(held, key=lambda row: (-abs(row[1]), row[0].intent.strategy, row[0].intent.pair))
