"""Fields of OKX's messages as values that can be trusted: every value is a short text, and "" means missing.

What no exchange can have meant (NaN, a number of a thousand digits, a price of zero, a time of the year 9999, a
side that is none) is refused here, by one of `UNREADABLE`, so that no such thing ever reaches a book.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Generic, TypeVar

Raw = Mapping[str, Any]
T = TypeVar("T")

UNREADABLE = (LookupError, ValueError, TypeError, ArithmeticError, AttributeError)
"""What reading a row that is not OKX's can raise, whatever it holds."""

YEAR_2100_MS = 4_102_444_800_000
LONGEST = 64
"""Characters of a number: OKX's have twenty at most."""
MAGNITUDE = 24
"""Powers of ten that a number may be away from one: money, prices and sizes are far nearer."""
LARGEST = 10.0**MAGNITUDE


def exact(text: Any) -> Decimal:
    """A number as it is written. ValueError, InvalidOperation: none that can have been meant (NaN, 1e999999)."""
    value = Decimal(_short(text))
    if not value.is_finite() or not -MAGNITUDE <= value.adjusted() <= MAGNITUDE:
        raise ValueError(f"{text} cannot be meant")
    return value


def positive(text: Any) -> Decimal:
    """A price: above zero, or ValueError."""
    value = exact(text)
    if value <= 0:
        raise ValueError(f"{text} is not above zero")
    return value


def real(text: Any) -> float:
    """A number that need not be exact; ValueError for one that cannot have been meant."""
    value = float(_short(text))
    if not abs(value) < LARGEST:
        raise ValueError(f"{text} cannot be meant")
    return value


def moment(text: Any) -> int:
    """A time in ms; ValueError for one that no exchange of ours has seen or will."""
    value = int(_short(text))
    if not 0 <= value < YEAR_2100_MS:
        raise ValueError(f"{text} is no time in ms")
    return value


def word(raw: Raw, name: str) -> str:
    """A field that is text, "" where it is missing; TypeError for anything else."""
    value = raw.get(name, "")
    if type(value) is not str:
        raise TypeError(f"{name} is not text")
    return value


def name(raw: Raw, field: str) -> str:
    """A field that names something: text that is not empty, or LookupError."""
    value = word(raw, field)
    if not value:
        raise LookupError(field)
    return value


def _short(text: Any) -> str:
    if type(text) is not str or len(text) > LONGEST:
        raise ValueError("a value that is not a short text")
    return text


def number(raw: Raw, *names: str) -> Decimal:
    """The first of the named fields that is not missing, as a Decimal; 0 where all are."""
    return next((exact(raw[name]) for name in names if raw.get(name)), Decimal(0))


def time_ms(raw: Raw, *names: str) -> int:
    """The first of the named times that is not missing; 0 where all are."""
    return next((moment(raw[name]) for name in names if raw.get(name)), 0)


def signed(size: Decimal, side: str) -> Decimal:
    """OKX's unsigned size and side as our signed size; ValueError: no side, or a size that has one already."""
    if side not in ("buy", "sell") or size < 0:
        raise ValueError(f"{side} {size}: not a side and a size")
    return -size if side == "sell" else size


class Once(Generic[T]):
    """Reads a row once that is told again and again, as long as it is told the same. Raises what `read` does."""

    def __init__(self, read: Callable[[Raw], T], field: str, most: int = 2_000) -> None:
        """`field` names a row; the last `most` rows are kept."""
        self._read, self._field, self._most = read, field, most
        self._known: dict[str, tuple[Raw, T]] = {}

    def __call__(self, raw: Raw) -> T:
        key = word(raw, self._field)
        known = self._known.get(key)
        if known is None or known[0] != raw:
            self._known.pop(key, None)
            known = self._known[key] = raw, self._read(raw)
            if len(self._known) > self._most:
                del self._known[next(iter(self._known))]
        return known[1]
