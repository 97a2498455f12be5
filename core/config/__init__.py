"""Typed settings: config.toml, then the environment, then options; each value knows where it came from.

A key of the file is named `section.key`; the environment says `COCKPIT_SECTION__KEY` (and `COCKPIT_HOME`, short
for `COCKPIT_PATHS__HOME`). Whatever is unknown or out of bounds is a `UserError` naming the source, the key, the
value and what is allowed. Secrets come from the environment or `.env` alone.
"""

from core.config.loading import SEEDS, flatten, installed, known_keys, load, table, values
from core.config.secrets import SECRET_NAMES, Secrets
from core.config.settings import Settings

__all__ = [
    "SECRET_NAMES",
    "SEEDS",
    "Secrets",
    "Settings",
    "flatten",
    "installed",
    "known_keys",
    "load",
    "table",
    "values",
]
