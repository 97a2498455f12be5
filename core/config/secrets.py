"""Keys of an exchange account: from the environment or `.env`, never from a file that is shared."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from core.domain.errors import UserError
from core.domain.secrecy import NOTIFY_URLS
from core.domain.secrecy import SECRET_NAMES as SECRET_NAMES


class Secrets:
    """An OKX API key. Its text appears nowhere: not in `repr`, not in an error, not in a log."""

    __slots__ = ("key", "passphrase", "secret")

    def __init__(self, key: str, secret: str, passphrase: str) -> None:
        self.key = key
        self.secret = secret
        self.passphrase = passphrase

    def __repr__(self) -> str:
        return "Secrets(...)"

    @classmethod
    def load(cls, folder: Path | None = None, environ: Mapping[str, str] | None = None) -> Self:
        """The key of the environment, else of `.env` in `folder` (default: the working folder).

        Raises UserError naming the variables that are missing."""
        given = {**_dotenv((folder or Path.cwd()) / ".env"), **(os.environ if environ is None else environ)}
        missing = [name for name in SECRET_NAMES if not given.get(name)]
        if missing:
            raise UserError(
                f"{', '.join(missing)} not set: put the key of your OKX account into the environment or .env,"
                " or use --venue demo, which needs none"
            )
        return cls(*(given[name] for name in SECRET_NAMES))


def notify_urls(folder: Path | None = None, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Where notifications go, by the environment, else by `.env` in `folder` (default: the working folder)."""
    given = {**_dotenv((folder or Path.cwd()) / ".env"), **(os.environ if environ is None else environ)}
    return tuple(given.get(NOTIFY_URLS, "").split())


def _dotenv(file: Path) -> dict[str, str]:
    """NAME=VALUE lines; `export`, quotes around the value, blank lines and # lines are allowed."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{file}: cannot be read as text") from None
    found = {}
    for line in lines:
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            value = value.strip()
            quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
            found[name.strip()] = value[1:-1] if quoted else value
    return found
