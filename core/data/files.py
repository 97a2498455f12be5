"""Files of this machine, written whole or not at all."""

import os
from pathlib import Path

from core.clock import random_name


def write_whole(place: Path, data: bytes) -> None:
    """Write or replace the file `place`, also through a crash: a draft beside it, synced, then renamed.

    On return it is on disk. OSError leaves what was there, and no draft."""
    draft = place.with_name(f".{place.name}.{random_name()}")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
