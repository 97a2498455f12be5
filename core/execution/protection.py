"""The catastrophe order: one wide, stop-only, reduce-only trigger per instrument, on the sum of the books."""

from decimal import Decimal

from core.domain.instrument import Instrument
from core.domain.orders import Protection, base36
from core.execution.failpoint import failpoint
from core.execution.journal import Journal
from core.portfolio.events import Protected
from core.venues.port import Refused, Venue, VenueError


class Guard:
    """Keeps the exchange's trigger orders equal to what the books need. Asking twice changes nothing."""

    def __init__(self, venue: Venue, journal: Journal, distance: Decimal) -> None:
        self._venue = venue
        self._journal = journal
        self._distance = distance

    def wanted(self, instrument: Instrument, mark: Decimal) -> tuple[Decimal, Decimal] | None:
        """(size, trigger) of the protection that the net position needs now; None when it is flat."""
        net = self._journal.books.net(instrument.id)
        if net == 0:
            return None
        away = 1 - self._distance if net > 0 else 1 + self._distance
        return -net, instrument.round_price(mark * away)

    async def keep(self, instrument: Instrument) -> str:
        """Make the protection of one instrument right. Returns what is wrong, empty when nothing is.

        The new one is placed before the old is taken away: at no moment is a held position bare. Both being
        reduce-only, the two together cannot open anything.
        """
        try:
            held = await self._known(instrument)
            mark = await self._venue.mark(instrument.id)
            wanted = self.wanted(instrument, mark)
            if held is not None and wanted is not None and held.size == wanted[0]:
                return ""
            if wanted is not None:
                await self._place(instrument, *wanted)
            if held is not None:
                await self._remove(held)
        except VenueError as error:
            return f"{instrument.id}: its catastrophe order could not be set: {error}"
        return ""

    async def _known(self, instrument: Instrument) -> Protection | None:
        """The protection the exchange holds for us. Of one whose reply was lost the exchange is asked: should it
        still arrive after it was not found, it is an orphan, and reduce-only."""
        held = self._journal.books.protections.get(instrument.id)
        if held is None or held.venue_id:
            return held
        for theirs in await self._venue.protections():
            if theirs.client_id == held.client_id:
                await self._journal.record(Protected(self._venue.market_ms(), theirs, "live"))
                return theirs
        await self._journal.record(Protected(self._venue.market_ms(), held, "failed"))
        return self._journal.books.protections.get(instrument.id)

    async def _place(self, instrument: Instrument, size: Decimal, trigger: Decimal) -> None:
        name = f"{self._journal.books.prefix}P{base36(self._journal.books.protections_made)}"
        protection = Protection(name, instrument.id, size, trigger)
        await self._journal.record(Protected(self._venue.market_ms(), protection, "planned"))
        failpoint("protecting")
        try:
            placed = await self._venue.protect(protection)
        except Refused:
            await self._journal.record(Protected(self._venue.market_ms(), protection, "failed"))
            raise
        await self._journal.record(Protected(self._venue.market_ms(), placed, "live"))

    async def _remove(self, protection: Protection) -> None:
        await self._venue.unprotect(protection)
        await self._journal.record(Protected(self._venue.market_ms(), protection, "cancelled"))

    async def reconcile(self, instruments: dict[str, Instrument]) -> list[str]:
        """Make ledger and exchange tell the same protections; what was repaired, a line each.

        Ours are known by the ledger's prefix: of those the exchange keeps, what the ledger does not hold is an
        orphan and is cancelled; what the ledger holds and the exchange does not is forgotten. Foreign ones are
        left alone. Then every instrument gets what it needs.
        """
        books = self._journal.books
        repairs = []
        theirs = {p.client_id: p for p in await self._venue.protections()}
        for held in list(books.protections.values()):
            if held.client_id not in theirs:
                await self._journal.record(Protected(self._venue.market_ms(), held, "cancelled"))
                repairs.append(f"{held.instrument}: catastrophe order {held.client_id} is not at the exchange")
        ours = {p.client_id for p in books.protections.values()}
        for name, protection in theirs.items():
            if name.startswith(f"{books.prefix}P") and name not in ours:
                await self._venue.unprotect(protection)
                repairs.append(f"{protection.instrument}: orphaned catastrophe order {name} cancelled")
        for instrument in instruments.values():
            if books.net(instrument.id) != 0 or instrument.id in books.protections:
                wrong = await self.keep(instrument)
                if wrong:
                    repairs.append(wrong)
        return repairs
