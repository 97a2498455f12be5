"""`cockpit doctor`: is all in order before money hangs on it? It looks, and changes nothing."""

from core.clock import wall_ms
from core.config import Settings
from core.domain.health import Check, Report


async def examine(settings: Settings) -> Report:
    """Everything that can be looked at without trading. Never raises: what cannot be looked at is a bad check."""
    return Report(wall_ms(), (Check("configuration", "good", f"{settings.file or 'the defaults'}: readable"),))
