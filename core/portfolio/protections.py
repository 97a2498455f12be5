"""The catastrophe orders as the ledger tells them."""

from core.domain.orders import Protection
from core.portfolio.events import Protected


class Protections(dict[str, Protection]):
    """The one protection of each instrument, planned or live. It counts from the moment it is planned; `venue_id`
    is empty until the exchange has taken it. `made` counts them: their names are made from it."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0
        self._replaced: dict[str, Protection] = {}

    def take(self, event: Protected) -> None:
        """The newest protection of an instrument is the one that counts. One that fails gives way to the one it
        was to replace; one that is live has replaced it; with one that is gone (cancelled, fired) all are gone,
        and whatever the exchange may still hold of ours is an orphan."""
        protection, state = event.protection, event.state
        name = protection.instrument
        now = self.get(name)
        if state == "planned":
            self.made += 1
            if now is not None:
                self._replaced[name] = now
            self[name] = protection
        elif now is not None and now.client_id == protection.client_id:
            before = self._replaced.pop(name, None)
            if state == "live":
                self[name] = protection
            elif state == "failed" and before is not None:
                self[name] = before
            else:
                del self[name]
