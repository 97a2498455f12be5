"""Who is asking: OKX's signatures over the raw path and body, and its refusals in its order."""

import base64
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

WINDOW_MS = 30_000
"""A request's timestamp may be this far from server time."""


class Keys(msgspec.Struct, frozen=True):
    """The local account's key. Demo values: it guards nothing but loopback play money."""

    key: str = "cockpit-demo-key"
    secret: str = "cockpit-demo-secret"
    passphrase: str = "cockpit-demo-passphrase"

    def sign(self, text: str) -> str:
        digest = hmac.digest(self.secret.encode(), text.encode(errors="replace"), "sha256")
        return base64.b64encode(digest).decode()

    def __repr__(self) -> str:
        return f"Keys({self.key!r}, ...)"


class Denied(Exception):
    """A request without a valid signature: OKX's code and message, sent with HTTP 401."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


_HEADERS = (
    ("OK-ACCESS-KEY", "50103"),
    ("OK-ACCESS-PASSPHRASE", "50104"),
    ("OK-ACCESS-SIGN", "50106"),
    ("OK-ACCESS-TIMESTAMP", "50107"),
)


def check_request(keys: Keys, headers: Mapping[str, str], method: str, path: str, body: str, now: int) -> None:
    """Raise `Denied` unless `headers` sign timestamp + method + raw path with query + raw body (now: server ms)."""
    for name, code in _HEADERS:
        if not headers.get(name):
            raise Denied(code, f'Request header "{name}" can not be empty.')
    stamp = headers["OK-ACCESS-TIMESTAMP"]
    try:
        asked = datetime.fromisoformat(stamp).astimezone(UTC).timestamp() * 1000
    except (ValueError, OverflowError):
        raise Denied("50112", "Invalid OK-ACCESS-TIMESTAMP") from None
    if abs(asked - now) > WINDOW_MS:
        raise Denied("50102", "Timestamp request expired")
    if headers["OK-ACCESS-KEY"] != keys.key:
        raise Denied("50111", "Invalid OK-ACCESS-KEY")
    if headers["OK-ACCESS-PASSPHRASE"] != keys.passphrase:
        raise Denied("50105", 'Request header "OK-ACCESS-PASSPHRASE" incorrect.')
    if not _same(headers["OK-ACCESS-SIGN"], keys.sign(stamp + method + path + body)):
        raise Denied("50113", "Invalid signature")


def check_login(keys: Keys, login: Mapping[str, str], now: int) -> None:
    """Raise `Denied` (a WebSocket code) unless `login` signs `timestamp + GET + /users/self/verify`."""
    stamp = login.get("timestamp", "")
    if len(stamp) > 20 or not stamp.replace(".", "", 1).isdecimal():
        raise Denied("60004", "Invalid OK-ACCESS-TIMESTAMP")
    if abs(float(stamp) * 1000 - now) > WINDOW_MS:
        raise Denied("60006", "Timestamp request expired")
    if login.get("apiKey") != keys.key:
        raise Denied("60005", "Invalid apiKey")
    if login.get("passphrase") != keys.passphrase:
        raise Denied("60024", "Wrong passphrase")
    if not _same(login.get("sign", ""), keys.sign(f"{stamp}GET/users/self/verify")):
        raise Denied("60007", "Invalid sign")


def _same(given: str, wanted: str) -> bool:
    """Compared in constant time, whatever letters are given."""
    return hmac.compare_digest(given.encode(errors="replace"), wanted.encode())
