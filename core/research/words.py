"""An audit in words, for people: what was found and how to mend it, then what the edge rests on."""

from core.clock import iso
from core.domain.audit import Audit, Edge, Edges, Placebo
from core.domain.backtest import Estimate


def lines(audit: Audit) -> str:
    """The whole audit as text, a line a check and a line a run."""
    source, edge = audit.source, audit.edge
    period = f"{iso(source.first_ms)} .. {iso(source.last_ms + source.bar_ms)}"
    costs = ", ".join(
        f"{name} {audit.assumptions[name]}" for name in ("fees", "slippage") if name in audit.assumptions
    )
    told = [
        f"{audit.strategy} on {source.name}, {len(source.assets)} assets, {period} ({audit.engine})",
        f"costs       {costs}",
        "",
        f"INTEGRITY   {'passed' if audit.integrity.passed else 'FAILED'}",
    ]
    for check in audit.integrity.checks:
        told.append(f"  {'ok  ' if check.passed else 'FAIL'}  {check.name:<12}{check.text}")
        told += [f"          {finding}" for finding in check.findings]
    return "\n".join([*told, "", f"EDGE        {edge.verdict}: {edge.text}", *_edge(edge)])


def _edge(edge: Edge) -> list[str]:
    placebo, planted = edge.placebo, edge.planted
    traded = any(run.trades for run in edge.runs)
    even = "earned nothing before costs" if traded else "no trade was closed"
    if edge.break_even is not None:
        even = f"at {edge.break_even:.2f} times these costs"
    sharpe = "undefined" if edge.deflated_sharpe is None else f"{edge.deflated_sharpe:.1%} likely to be above zero"
    told = [
        *(_run(run) for run in edge.runs),
        f"  break-even    {even}",
        *_placebo(placebo),
        f"  Sharpe ratio  deflated by {edge.trials} trials on these data: {sharpe}",
    ]
    if planted.found is None:
        return [*told, f"  planted edge  {planted.trades} trades are too few to find one"]
    return [
        *told,
        f"  planted edge  {'found' if planted.found_it else 'not found'}: {_bp(planted.found)} gross a trade,"
        f" {planted.planted * 1e4:+.1f} bp was to be expected, {planted.trades} trades",
        f"                the estimate is {planted.error * 1e4:+.1f} bp off,"
        f" with a standard error of {planted.standard_error * 1e4:.1f} bp",
    ]


def _placebo(placebo: Placebo) -> list[str]:
    where = f"in {placebo.seeds} random orders of the bars"
    if not placebo.trades:  # What is bought once and held tells of the market, in whatever order, and of no rule.
        return [f"  placebo       no trade was closed {where}: nothing to compare with"]
    noise = "cannot be told from zero" if placebo.clean else "IS NOT ZERO: look for the future in the machine"
    return [
        f"  placebo       {_bp(placebo.mean)} gross {where}, {placebo.trades} trades",
        f"                {noise} (p {placebo.chance:.2f}); {placebo.beaten:.0%} have at least the real edge",
    ]


def _run(run: Edges) -> str:
    if run.gross is None or run.net is None:
        return f"  {run.label:<20}{run.trades} trades: too few for an interval"
    return (
        f"  {run.label:<20}{run.trades} trades, gross {_bp(run.gross)}, net {_bp(run.net)} of entry value a trade"
    )


def _bp(figure: Estimate) -> str:
    return f"{figure.value * 1e4:+.1f} bp [{figure.low * 1e4:+.1f}, {figure.high * 1e4:+.1f}]"
