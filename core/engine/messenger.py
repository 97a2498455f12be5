"""Sends messages through apprise: `python -m core.engine.messenger`, a message (JSON) a line in, an answer a line
out.

It reads the addresses itself, from the environment or `.env`; they hold secrets, and neither they nor what a
service answers is ever said. It ends with its input."""

import logging
import sys
from typing import Any, BinaryIO

import msgspec

from core.config.secrets import notify_urls
from core.domain.errors import UserError
from core.domain.message import Answer, Message


def main(into: BinaryIO, out: BinaryIO) -> int:
    """Answer every message until there are no more."""
    logging.disable()  # Libraries log addresses, and what a service has answered.
    services, error = _services()
    for line in into:
        answer = Answer(error=error) if error else _sent(services, line)
        out.write(msgspec.json.encode(answer) + b"\n")
        out.flush()
    return 0


def _services() -> tuple[list[Any], str]:
    """What the addresses name, or why there is nothing to send to."""
    try:
        import apprise  # Its absence is an answer, not a crash: it is an optional extra.
    except ImportError:
        return [], "apprise is not installed: pip install 'cockpit[notify]'"
    try:
        urls = notify_urls()
    except UserError as error:
        return [], str(error)
    found = [apprise.Apprise.instantiate(url) for url in urls]
    known = [each for each in found if each is not None]
    if len(known) < len(found):
        places = ", ".join(str(place) for place, each in enumerate(found, 1) if each is None)
        return [], f"COCKPIT_NOTIFY_URLS: address {places} of {len(found)} is none that apprise knows"
    return known, ""


def _sent(services: list[Any], line: bytes) -> Answer:
    message = msgspec.json.decode(line, type=Message)
    failed = [_name(service) for service in services if not _notify(service, message)]
    return Answer(len(services) - len(failed), tuple(failed))


def _notify(service: Any, message: Message) -> bool:
    """Whether the service took it. It may do anything on the way: an address is a person's to write."""
    try:
        return bool(service.notify(title=message.title, body=message.body))
    except Exception:
        return False


def _name(service: Any) -> str:
    """The kind of a service, like `json`: never its address."""
    return type(service).__name__.removeprefix("Notify").lower()


if __name__ == "__main__":
    sys.exit(main(sys.stdin.buffer, sys.stdout.buffer))
