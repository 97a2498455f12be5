"""What the engine and its messenger say to each other."""

import msgspec


class Message(msgspec.Struct, frozen=True):
    """What goes to the messenger, a line of JSON each."""

    title: str
    body: str


class Answer(msgspec.Struct, frozen=True):
    """What comes back: how many services took the message, and the names of those that did not (`json`, `mailto`:
    never an address); or why nothing can be sent at all."""

    sent: int = 0
    failed: tuple[str, ...] = ()
    error: str = ""
