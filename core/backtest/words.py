"""Numbers and tables as a report writes them: a true minus sign, thousands apart, a dash where not defined."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

NONE = "–"


def percent(share: float | None, decimals: int = 1, *, plus: bool = False) -> str:
    """A share as percent: −4.2%."""
    return NONE if share is None else number(100 * share, decimals, plus=plus) + "%"


def number(value: float | None, decimals: int = 2, *, plus: bool = False) -> str:
    """A number: −1,234.50. One that is rounded to nothing has no sign."""
    if value is None:
        return NONE
    text = f"{value:{'+' if plus else ''},.{decimals}f}"
    return text.replace("-", "−") if any(digit in text for digit in "123456789") else text.lstrip("+-")


def money(value: float | None, *, plus: bool = True) -> str:
    """An amount in the settlement currency, with cents where it is below 100."""
    return number(value, 2 if value is not None and abs(value) < 100 else 0, plus=plus)


def day(ms: int) -> str:
    """2024-08-31."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")


def minute(ms: int) -> str:
    """2024-08-31 13:00."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def length(hours: float | None) -> str:
    """A time held, in hours or days: 6.5 h, 12.0 d."""
    if hours is None:
        return NONE
    if hours < 72:
        return f"{hours:,.0f} h" if hours == int(hours) else f"{hours:,.1f} h"
    return f"{hours / 24:,.1f} d"


def cell(text: str, css: str = "") -> str:
    """A cell of a table, its text escaped."""
    return f'<td class="{css}">{escape(text)}</td>' if css else f"<td>{escape(text)}</td>"


def signed(value: float | None, text: str) -> str:
    """A cell coloured by the sign of `value`."""
    return cell(text, "" if not value else "gain" if value > 0 else "loss")


def heat(value: float | None, text: str, full: float, css: str = "") -> str:
    """A cell as strongly coloured as `value` is large, beside `full`."""
    if value is None:
        return "<td></td>"
    strength = min(1.0, abs(value) / full) if full else 0.0
    hue = "gain" if value > 0 else "loss"
    return f'<td class="{hue} {css}" style="--v:{6 + 66 * strength:.0f}%">{escape(text)}</td>'


def table(heads: Sequence[str], rows: Iterable[str], foot: str = "", css: str = "") -> str:
    """A table of `heads` over rows of cells."""
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    bottom = f"<tfoot><tr>{foot}</tr></tfoot>" if foot else ""
    return (
        f'<div class="scroll"><table class="{css}"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody>{bottom}</table></div>"
    )


def listed(entries: Iterable[tuple[str, str]], css: str = "") -> str:
    """Names beside what they are."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in entries)
    return f'<dl class="{css}">{rows}</dl>'


def section(title: str, note: str, *parts: str) -> str:
    """A part of the page under its heading; without parts, nothing."""
    body = "".join(parts)
    if not body:
        return ""
    about = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{about}{body}</section>"


def two(*parts: tuple[str, str]) -> str:
    """Titled parts side by side; those that are empty are left out."""
    return (
        '<div class="two">'
        + "".join(f"<div><h3>{escape(title)}</h3>{part}</div>" for title, part in parts if part)
        + "</div>"
    )
