"""What can never be, and how it is said."""


class InvariantError(Exception):
    """The ledger says something that cannot be: an event was made wrongly, or the file was tampered with."""


def must(holds: bool, rule: str, thing: object) -> None:
    if not holds:
        raise InvariantError(f"{rule}: {thing}")
