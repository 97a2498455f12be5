"""Numbers as words on a screen. A number that does not fit is shown shorter or as `…`, never cut."""

import math
from datetime import UTC, datetime

NONE = "–"
"""What stands for a number that is not known."""
UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def fits(width: int, *candidates: str) -> str:
    """The first candidate of at most `width` characters (0: any), else `…`."""
    return next((text for text in candidates if not width or len(text) <= width), "…")


def number(value: float, decimals: int = 2, width: int = 0, *, sign: bool = False) -> str:
    """`value` with thousands separators; in fewer decimals, then in k, M, B, T, where `width` is short."""
    if not math.isfinite(value):
        return NONE
    plus = "+" if sign else ""
    longer = [f"{value:{plus},.{places}f}" for places in range(decimals, -1, -1)]
    unit, name = next(((unit, name) for unit, name in UNITS if abs(value) >= unit), (1.0, ""))
    scaled = [f"{value / unit:{plus}.{places}f}{name}" for places in (1, 0)] if name else []
    return fits(width, *longer, *scaled)


def price(value: float, width: int = 0) -> str:
    """A price with about six significant digits."""
    if not math.isfinite(value) or value <= 0:
        return NONE
    return number(value, min(8, max(1, 5 - math.floor(math.log10(value)))), width)


def amount(value: float, width: int = 0) -> str:
    """A signed amount of an asset, with about four significant digits."""
    if not math.isfinite(value):
        return NONE
    digits = 0 if value == 0 else min(6, max(0, 3 - math.floor(math.log10(abs(value)))))
    return number(value, digits, width, sign=True)


def percent(share: float, decimals: int = 2, width: int = 0) -> str:
    """A signed share as percent."""
    if not math.isfinite(share):
        return NONE
    return fits(width, *(f"{100 * share:+.{places}f}%" for places in range(decimals, -1, -1)))


def basis(share: float) -> str:
    """A signed share in basis points (hundredths of a percent)."""
    return f"{1e4 * share:+.1f}bp" if math.isfinite(share) else NONE


def signed(value: float, decimals: int = 2) -> str:
    """A signed number without separators."""
    return f"{value:+.{decimals}f}" if math.isfinite(value) else NONE


def plain(value: float, decimals: int = 2) -> str:
    """A number without sign or separators."""
    return f"{value:.{decimals}f}" if math.isfinite(value) else NONE


def seconds(value: float) -> str:
    """A span of time, short: 0.3s, 12s, 4m, 3h, 2d."""
    if not math.isfinite(value) or value < 0:
        return NONE
    if value < 10:
        return f"{value:.1f}s"
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if value >= size * (2 if name != "m" else 1.5):
            return f"{value / size:.0f}{name}"
    return f"{value:.0f}s"


def clock(ms: int, form: str = "%H:%M:%S") -> str:
    """The UTC time of `ms` by `form`; `–` for 0."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime(form) if ms > 0 else NONE


def gauge(value: float, low: float, high: float, width: int) -> str:
    """Where `value` stands between `low` and `high` and where zero does: ━━━●──┼───, as wide as asked."""
    if width < 3 or not (low < high) or not math.isfinite(value):
        return " " * width
    place = {name: round((min(max(at, low), high) - low) / (high - low) * (width - 1)) for name, at in
             (("zero", 0.0), ("value", value))}  # fmt: skip
    start, end = sorted(place.values())
    cells = ["━" if start <= i <= end else "─" for i in range(width)]
    cells[place["zero"]] = "┼"
    cells[place["value"]] = "●"
    return "".join(cells)
