"""The variables of the environment that hold secrets, and an environment without them."""

from collections.abc import Mapping

SECRET_NAMES = ("OKX_API_KEY", "OKX_API_SECRET", "OKX_API_PASSPHRASE")
NOTIFY_URLS = "COCKPIT_NOTIFY_URLS"
"""Addresses of apprise, separated by white space. They hold tokens and passwords."""


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """What a process is given that trades nothing and tells nobody."""
    return {name: value for name, value in environ.items() if name not in (*SECRET_NAMES, NOTIFY_URLS)}
