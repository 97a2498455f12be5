"""How well the running engine's orders were executed."""

from pathlib import Path

import msgspec
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from cockpit.commands.output import tell
from cockpit.commands.running import request
from core.clock import iso
from core.config import load
from core.domain.errors import UserError
from core.domain.quality import Cost, Quality, QualityRow


def quality(config: Path | None, *, as_json: bool) -> None:
    """The shortfall of all legs, by strategy and instrument, beside what a backtest supposes."""
    told = request(load(config), "quality").quality
    if told is None:
        raise UserError("the engine gave no figures: it may be of another version; restart it with cockpit stop")
    if as_json:
        tell("", msgspec.to_builtins(told), as_json=True)
    else:
        Console().print(render(told))


def render(told: Quality) -> Group | Text:
    """A table, and what it means for the sizes."""
    if not told.total.legs:
        return Text("nothing was executed yet that a strategy had decided on: there is nothing to measure")
    table = Table("strategy", "instrument", box=None, pad_edge=False)
    for name in ("legs", "fills", "value", "cost", "delay", "spread", "fee", "shortfall bps (95%)", "assumed"):
        table.add_column(name, justify="right")
    for row in told.rows:
        table.add_row(*_cells(row))
    if len(told.rows) > 1:
        table.add_row(*_cells(told.total), style="bold")
    return Group(table, Text(""), Text(f"{_words(told)}"))


def _cells(row: QualityRow) -> tuple[str, ...]:
    return (
        row.strategy or "all",
        row.instrument,
        f"{row.legs:,}",
        f"{row.fills:,}",
        f"{row.value:,.0f}",
        f"{row.usdt:+,.2f}",
        f"{row.delay:+.1f}",
        f"{row.spread:+.1f}",
        f"{row.fee:+.1f}",
        between(row.shortfall),
        f"{row.assumed:+.1f}",
    )


def between(cost: Cost) -> str:
    """A mean with its interval; few have none."""
    if cost.low is None or cost.high is None:
        return f"{cost.bps:+.1f} (too few)"
    return f"{cost.bps:+.1f} ({cost.low:+.1f} to {cost.high:+.1f})"


def _words(told: Quality) -> str:
    verdict = "beyond the bound" if told.drifted else "within the bound"
    lines = [
        f"decided {iso(told.from_ms)} to {iso(told.to_ms)}; costs are positive: value and cost in USDT, the rest in"
        " basis points",
        f"against the backtest, fees apart: {between(told.drift)} bps over the last {told.judged} legs,"
        f" {verdict} of {told.bound:g}",
    ]
    if told.ramp:
        lines.append(f"{told.share:.0%} of all sizes may be used: {told.ramp}")
    return "\n".join(lines)
