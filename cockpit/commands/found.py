"""What jobs of research have found, as tables for people."""

from rich.table import Table
from rich.text import Text

from cockpit import figures, format
from core.domain.backtest import Document

STYLES = {"losing": "bold red", "promising": "bold green"}


def backtest_tables(document: Document) -> list[Table | Text | str]:
    """A run, told honestly: no profit without its period, its costs, its trades and its interval."""
    head = Text.assemble(
        (f"{document.strategy}", "bold"),
        f", {document.engine}, on {figures.data(document)}, ",
        f"{len(document.source.assets)} assets\n",
        f"{figures.period(document)}, deposit {format.number(document.metrics.deposit)}\n",
        (figures.standing(document), STYLES.get(document.standing, "bold yellow")),
        f"  {document.verdict}",
    )
    tables: list[Table | Text] = [
        _figures(document),
        _costs(document),
        *_pairs(document),
        *_compared(document),
        _foot(document),
    ]
    return [head, *(part for table in tables for part in ("", table))]


def _figures(document: Document) -> Table:
    table = Table("", "figure", "95% interval, or what it rests on", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for name, value, beside, gain in figures.figures(document):
        table.add_row(name, Text(value, style=_sign(gain)), beside)
    return table


def _costs(document: Document) -> Table:
    table = Table(box=None, pad_edge=False)
    rows = figures.costs(document.metrics)
    for name, _ in rows:
        table.add_column(name, justify="right")
    table.add_row(*(Text(format.number(value, sign=True), style=_sign(value)) for _, value in rows))
    return table


def _pairs(document: Document) -> list[Table]:
    """The best three pairs and the worst three, by their closed trades; and what is still open."""
    rows = figures.pairs(document.metrics)
    if not rows:
        return []
    chosen = rows if len(rows) <= 6 else [*rows[:3], *rows[-3:]]
    table = Table("pair", "trades", "hit rate", "net", "costs, funding", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for place, row in enumerate(chosen):
        if place == 3 and len(chosen) < len(rows):
            table.add_row(f"… {len(rows) - 6} more", style="dim")
        m, t = row.trades.money, row.trades
        net = Text(format.number(m.net, sign=True), style=_sign(m.net))
        paid = format.number(m.slippage + m.fees + m.funding, sign=True)
        table.add_row(
            f"{row.pair}{' (open)' if row.open else ''}", str(t.count), figures.share(t.hit_rate), net, paid
        )
    if still := figures.still_open(document.metrics):
        net = Text(format.number(still.net, sign=True), style=_sign(still.net))
        paid = format.number(still.slippage + still.fees + still.funding, sign=True)
        table.add_row("open positions", "", "", net, paid)
    return [table]


def _compared(document: Document) -> list[Table]:
    if not document.compared:
        return []
    table = Table(
        "same data and costs", "net return", "95%", "Sharpe", "drawdown", "trades", box=None, pad_edge=False
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for name, m, interval in figures.contenders(document):
        table.add_row(
            name,
            Text(format.percent(m.total_return), style=_sign(m.total_return)),
            figures.between(interval, format.percent),
            figures.ratio(m.sharpe),
            format.percent(m.max_drawdown.depth),
            f"{m.trades.count:,}",
        )
    return [table]


def _foot(document: Document) -> Text:
    """What was assumed, and what to name this run by."""
    lines = [f"assumed   {name}: {text}" for name, text in document.assumptions.items()]
    lines += [f"note      {note}" for note in document.notes]
    for name, value in (("digest", document.digest), ("run", document.run), ("report", document.report)):
        lines += [f"{name:<10}{value}"] if value else []
    return Text("\n".join(lines))


def _sign(value: float) -> str:
    return "green" if value > 0 else "red" if value < 0 else ""
