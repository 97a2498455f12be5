"""The one error a user can mend."""


class UserError(Exception):
    """Something the user can put right: one line that names the thing, the value and the way out.

    The commands print it without a traceback and exit with `code` (1 refused or failed, 2 wrong usage,
    3 the engine cannot be reached).
    """

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
