"""Named points at which a test lets the engine die, as a power cut would: no handler runs, nothing is flushed."""

import os
import signal

POINTS = (
    "intended",  # the intent is written, no order yet
    "planned",  # the order is written, not sent
    "sent",  # the exchange has replied, the reply is not written
    "acknowledged",  # the reply is written
    "fill-seen",  # a fill has arrived, not written
    "filled",  # the fill is written
    "settled",  # the intent's end is written
    "protecting",  # a protection is written, not sent
)
_at, _, _count = os.environ.get("COCKPIT_KILL_AT", "").partition(":")
_left = int(_count or 1) if _at else 0
assert not _at or _at in POINTS, f"COCKPIT_KILL_AT: unknown point {_at!r}, known are {', '.join(POINTS)}"


def failpoint(name: str) -> None:
    """Die here, by SIGKILL, if COCKPIT_KILL_AT=name[:nth] says so and this is the nth time."""
    global _left
    if name == _at:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
