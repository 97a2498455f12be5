"""The catastrophe order: one wide, stop-only, reduce-only trigger per instrument, on the sum of the books."""

import asyncio
from collections.abc import Mapping
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
        self._lock = asyncio.Lock()
        self.wrong: dict[str, str] = {}
        """What keeps an instrument's protection from being right, by instrument; empty: all are."""

    def right(self, instrument: str) -> bool:
        """Whether the protection of an instrument is known to be what it should be: there is nothing to do."""
        books = self._journal.books
        net, held = books.net(instrument), books.protections.get(instrument)
        as_wanted = not net if held is None else bool(held.venue_id) and held.size == -net
        return as_wanted and instrument not in self.wrong

    def due(self, instruments: Mapping[str, Instrument]) -> list[Instrument]:
        """Those whose protection is not known to be what it should be."""
        books = self._journal.books
        touched = {*books.account.open, *books.protections, *self.wrong}
        return [spec for name, spec in instruments.items() if name in touched and not self.right(name)]

    async def keep(self, instrument: Instrument) -> None:
        """Make the protection of one instrument right: its size that of the net position, on the other side.

        The new one is placed before the old is taken away: at no moment is a held position bare. Both being
        reduce-only, the two together cannot open anything. What goes wrong is kept in `wrong` until it is mended.
        """
        if self.right(instrument.id):
            return
        async with self._lock:
            await self._keep(instrument)

    async def _keep(self, instrument: Instrument) -> None:
        try:
            held = await self._known(instrument)
            net = self._journal.books.net(instrument.id)
            if net and (held is None or held.size != -net):
                mark = await self._venue.mark(instrument.id)
                away = 1 - self._distance if net > 0 else 1 + self._distance
                await self._place(instrument, -net, instrument.round_price(mark * away))
            if held is not None and held.size != -net:
                await self._remove(held)
            self.wrong.pop(instrument.id, None)
        except VenueError as error:
            self.wrong[instrument.id] = f"{instrument.id}: its catastrophe order could not be set: {error}"

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
        name = f"{self._journal.books.prefix}P{base36(self._journal.books.protections.made)}"
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
        async with self._lock:
            return await self._reconcile(instruments)

    async def _reconcile(self, instruments: dict[str, Instrument]) -> list[str]:
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
            await self._keep(instrument)
        return repairs
