"""What proves that nothing of ours is left: the exchange's own word, beside the books."""

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from core.domain.instrument import Instrument
from core.domain.orders import Action, Intent, OrderState
from core.execution.orders import Orders
from core.execution.slices import smallest
from core.portfolio.books import Books
from core.venues.port import Venue

ZERO = Decimal(0)


class Proof(msgspec.Struct, frozen=True):
    """What the exchange says: `left` is ours and still there, `working` may still change it (both empty: proven).
    `beyond` is named and left alone: what strangers hold, what no order can trade, what only the ledger tells."""

    left: tuple[str, ...]
    working: tuple[str, ...]
    beyond: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not (self.left or self.working)

    @property
    def lines(self) -> tuple[str, ...]:
        """The report, a line each."""
        if not self.holds:
            return *self.left, *self.working, *self.beyond
        done = "the exchange holds no open order, no position and no stop of ours that could trade"
        return done, *self.beyond


async def prove(venue: Venue, books: Books, told: Orders, instruments: Mapping[str, Instrument]) -> Proof:
    """Ask the exchange what there is of ours: open orders, positions, protections; `told` knows the fills of
    strangers. Raises VenueError where it cannot be asked: then nothing is proven."""
    orders, positions, stops = await venue.open_orders(), await venue.positions(), await venue.protections()
    left: list[str] = []
    beyond: list[str] = []
    held: set[str] = set()
    for order in orders:
        open_order = f"{order.instrument}: order {order.client_id or order.venue_id} is open"
        if order.client_id in books.orders or order.client_id.startswith(books.prefix):
            left.append(open_order)
        else:
            beyond.append(f"{open_order} and not ours")
    theirs = {position.instrument: position.size for position in positions if position.size}
    for name in sorted({*theirs, *books.account.open}):
        size = theirs.get(name, ZERO)
        ours = ours_of(books.net(name), size - told.strangers(name))
        held |= {name} if ours else set()
        if ours and abs(ours) >= smallest(instruments[name]):
            left.append(f"{name}: {ours} contracts of ours are held")
        elif ours:
            beyond.append(f"{name}: {ours} contracts of ours are too few for an order")
        if size != ours:
            beyond.append(f"{name}: {size - ours} contracts are held that are not ours")
        if books.net(name) != ours:
            missing = books.net(name) - ours
            beyond.append(f"{name}: the ledger holds {missing} contracts that the exchange does not")
    for stop in (each for each in stops if each.client_id.startswith(f"{books.prefix}P")):
        # Over what the ledger alone holds a stop can do nothing: it goes when that is explained.
        place = beyond if books.net(stop.instrument) and stop.instrument not in held else left
        place.append(f"{stop.instrument}: stop {stop.client_id} stands")
    return Proof(tuple(left), _working(books, told, theirs), tuple(beyond))


def ours_of(books: Decimal, exchange: Decimal) -> Decimal:
    """Of the contracts the exchange holds those that are ours, by what the books say (both signed): no more than
    either, and none where they lie on different sides."""
    if books * exchange <= 0:
        return ZERO
    return min(books, exchange, key=abs)


def _working(books: Books, told: Orders, theirs: Mapping[str, Decimal]) -> tuple[str, ...]:
    """What may still trade: orders of unknown fate, and intents whose orders could do more than nothing."""
    planned = (r.order.client_id for r in books.orders.values() if r.state is OrderState.PLANNED)
    unknown = [f"order {name}: its fate is unknown" for name in planned]
    work = [f"{i.action} of {i.pair} is at work" for i in books.unsettled() if not _idle(books, told, i, theirs)]
    return *unknown, *work


def _idle(books: Books, told: Orders, intent: Intent, theirs: Mapping[str, Decimal]) -> bool:
    """Whether a closing can do nothing any more: all of its orders are reduce-only, and the exchange holds nothing
    that they could reduce (see `Orders.send`)."""
    if intent.action is not Action.CLOSE:
        return False
    for leg, done in zip(intent.legs, books.progress(intent.id), strict=True):
        name, rest = leg.instrument, done.wanted - done.filled
        net, strangers = books.net(name), told.strangers(name)
        bound = all(held * rest < 0 and abs(rest) <= abs(held) for held in (net, net + strangers))
        if rest and not (bound and ours_of(net, theirs.get(name, ZERO)) == 0):
            return False
    return True
