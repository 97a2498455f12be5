"""Asking the running engine."""

import asyncio
import os
from pathlib import Path

import msgspec
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from cockpit.commands.output import tell
from core.clock import iso, monotonic
from core.config import Settings, load
from core.domain.errors import UserError
from core.domain.snapshot import Command, Reply, Snapshot
from core.link.client import ask, new_id

STOP_S = 30.0


def request(
    settings: Settings, name: str, pair: str = "", side: int = 0, notional: float = 0.0, text: str = ""
) -> Reply:
    """The engine's answer to one command. Raises UserError: code 3 where none runs, 1 where it refuses."""
    command = Command(new_id(), name, pair, side, notional, who="command line", text=text)
    reply = ask(settings.paths.socket, command)
    if not reply.ok:
        raise UserError(reply.message)
    return reply


def snapshot(settings: Settings) -> Snapshot:
    """How the engine is now. Raises UserError (code 3) where none runs."""
    found = request(settings, "status").snapshot
    if found is None:
        raise UserError("the engine gave no status: it may be of another version; restart it with cockpit stop")
    return found


def reached(settings: Settings, name: str) -> Reply | None:
    """The engine's answer, or None where none runs (what is there but does not answer is an error)."""
    try:
        return request(settings, name)
    except UserError as error:
        if isinstance(error.__cause__, FileNotFoundError | ConnectionRefusedError):
            return None
        raise


def found(settings: Settings) -> Snapshot | None:
    """The running engine's state, or None where none runs."""
    reply = reached(settings, "status")
    return None if reply is None else reply.snapshot


def send(name: str, config: Path | None, *, as_json: bool) -> None:
    """A command without arguments, and the engine's line about it."""
    say(request(load(config), name), as_json=as_json)


def say(reply: Reply, *, as_json: bool) -> None:
    """The engine's answer, to the user."""
    tell(reply.message or "done", {"ok": reply.ok, "message": reply.message}, as_json=as_json)


def stop(config: Path | None, *, as_json: bool) -> None:
    """Ask the engine to stop, and wait until its process has ended."""
    settings = load(config)
    pid = snapshot(settings).status.pid
    reply = request(settings, "stop")
    if not asyncio.run(_gone(pid)):
        raise UserError(f"the engine (pid {pid}) is still going down after {STOP_S:g} s: look again, or kill {pid}")
    text = f"{reply.message or 'stopping'}; stopped"
    tell(text, {"ok": True, "message": text, "pid": pid}, as_json=as_json)


async def _gone(pid: int) -> bool:
    end = monotonic() + STOP_S
    while _alive(pid):
        if monotonic() > end:
            return False
        await asyncio.sleep(0.05)
    return True


def _alive(pid: int) -> bool:
    """Whether the process still works: one that only waits for its parent to notice has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's, and alive
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return not Path("/proc/self").exists()  # systems without /proc have only the signal's word


def status(config: Path | None, *, as_json: bool) -> None:
    """A compact table, or the whole snapshot."""
    now = snapshot(load(config))
    if as_json:
        tell("", msgspec.to_builtins(now), as_json=True)
    else:
        Console().print(render(now))


def render(now: Snapshot) -> Group:
    """The engine in a dozen lines."""
    return Group(_head(now), _positions(now), Text(_health(now)))


def _head(now: Snapshot) -> Table:
    status, equity = now.status, now.equity
    phase = status.phase if not status.detail else f"{status.phase}: {status.detail}"
    bars = f"{status.bars} of {status.bars_total}" if status.bars_total else str(status.bars)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("engine", f"{status.mode} {status.venue}{_share(now)}, {phase}, {status.state}, pid {status.pid}")
    if status.reason:
        table.add_row("", f"{status.state}: {status.reason}")
    table.add_row("session", f"{status.session} ({', '.join(status.strategies)})")
    table.add_row("market", f"{iso(status.market_ms) if status.market_ms else 'not yet known'}, bar {bars}")
    table.add_row("model", f"{status.model or 'none'}")
    table.add_row(
        "equity",
        f"{equity.equity:,.2f} {equity.currency}, {equity.equity - equity.start:+,.2f} since start,"
        f" drawdown {equity.drawdown:.2%}",
    )
    table.add_row(
        "traded",
        f"{equity.round_trips} round trips, {equity.orders} orders, {equity.fills} fills,"
        f" fees {equity.fees:+,.2f}, funding {equity.funding:+,.2f}",
    )
    if equity.legs:
        cost = f"shortfall {equity.shortfall:+.1f} bps over {equity.legs} legs: cockpit quality"
        table.add_row("execution", cost)
    return table


def _share(now: Snapshot) -> str:
    """How much of the capital is in use, while it is not all of it."""
    return f" at {now.status.share:.0%} of all sizes" if now.status.share < 1 else ""


def _positions(now: Snapshot) -> Table | Text:
    if not now.positions:
        return Text("no positions")
    table = Table("position", "side", "gross", "pnl", "stop", "target", "z", "bars", box=None, pad_edge=False)
    for row in now.positions:
        table.add_row(
            row.pair,
            "long" if row.side > 0 else "short",
            f"{row.gross:,.0f}",
            f"{row.pnl:+,.2f} ({row.pnl_share:+.2%})",
            f"{row.stop:+.2%}",
            f"{row.target:+.2%}",
            f"{row.z_entry:+.2f} > {row.z_now:+.2f}",
            str(row.bars),
        )
    return table


def _health(now: Snapshot) -> str:
    status = now.status
    books = "ledger and exchange agree" if now.equity.agrees else "LEDGER AND EXCHANGE DISAGREE"
    streams = f"{status.streams_live} of {status.streams_total} streams live"
    line = f"{streams}, latency {status.latency_ms:.1f} ms, loop lag {status.lag_ms:.1f} ms, {books}"
    return f"{line}\n{status.warning}" if status.warning else line
