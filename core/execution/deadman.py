"""The dead-man's switch: what rests in the book does not outlive us by long.

The exchange cancels our resting orders (those that `place` sent; never a protection) when it has not been asked
anew for a while. It is a second line behind the executor, which takes back what rests by itself, and nothing that
hedges relies on it: a hedge crosses the book and never rests.
"""

import asyncio
from collections.abc import Callable

from core.venues.port import Venue, VenueError

RENEWALS = 3
"""How often it is asked anew within its time: that many answers in a row must be lost before it acts."""


class DeadMan:
    """Asks the exchange anew, as long as it runs."""

    def __init__(self, venue: Venue, seconds: int, tell: Callable[[str], None]) -> None:
        """`seconds`: 10 to 120; 0: there is none. `tell` hears when it fails, and when it is back."""
        self._venue = venue
        self._seconds = seconds if venue.capabilities.dead_man else 0
        self._tell = tell
        self.wrong = ""
        """Why the last renewal has failed; empty when it has not."""

    @property
    def wanted(self) -> bool:
        """Whether there is one."""
        return self._seconds > 0

    async def keep(self) -> None:
        """Renew it for ever."""
        while True:
            before, self.wrong = self.wrong, ""
            try:
                await self._venue.cancel_all_after(self._seconds)
            except VenueError as error:
                self.wrong = f"the dead-man's switch was not renewed: {error}"
            if self.wrong != before:
                self._tell(self.wrong or "the dead-man's switch is set again")
            await asyncio.sleep(1.0 if self.wrong else self._seconds / RENEWALS)

    async def release(self) -> None:
        """Call it off: nothing of ours rests any more. Should that fail, it cancels what is not there."""
        if self.wanted:
            try:
                await self._venue.cancel_all_after(0)
            except VenueError as error:
                self._tell(f"the dead-man's switch was not called off: {error}")
