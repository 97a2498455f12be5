"""Tells what happened, a line an event: the same lines on the screen, in the log file and without a terminal."""

from collections.abc import Callable

from core.domain.orders import OrderState
from core.domain.snapshot import LogLine
from core.domain.trading import TradingState
from core.execution.journal import Journal
from core.portfolio.events import (
    Alarmed,
    AnyEvent,
    Billed,
    Commanded,
    Decided,
    Filled,
    Intended,
    Killed,
    Loaded,
    Protected,
    Ramped,
    Repaired,
    Reported,
    Settled,
    Switched,
)

Sink = Callable[[LogLine], None]


class Narrator:
    """Numbers lines and hands them to every sink."""

    def __init__(self) -> None:
        self._sinks: list[Sink] = []
        self._seq = 0

    def sink(self, sink: Sink) -> None:
        self._sinks.append(sink)

    def say(self, ts: int, kind: str, level: str, text: str) -> None:
        """One line at market time `ts`."""
        self._seq += 1
        line = LogLine(self._seq, ts, kind, level, text)
        for sink in self._sinks:
            sink(line)

    def follow(self, journal: Journal) -> None:
        """Tell every event of the ledger that a person would want to know."""
        journal.listen(lambda event: self._event(journal, event))

    def _event(self, journal: Journal, event: AnyEvent) -> None:
        told = describe(journal, event)
        if told is not None:
            self.say(event.ts, *told)


def describe(journal: Journal, event: AnyEvent) -> tuple[str, str, str] | None:
    """(kind, level, text) of an event; None for those that are no news."""
    match event:
        case Decided(missing=missing) if missing:
            return "health", "warn", f"no candle of {', '.join(missing)}: their pairs are not traded"
        case Decided(entries=entries, exits=exits, text=text):
            if not entries and not exits:
                return ("decision", "info", f"hold: {text}") if text else None
            return "decision", "info", "; ".join([*(f"exit {x}" for x in exits), *(f"enter {x}" for x in entries)])
        case Intended(intent=i):
            legs = ", ".join(
                f"{'buy' if leg.size > 0 else 'sell'} {abs(leg.size)} {leg.instrument}" for leg in i.legs
            )
            return "order", "info", f"{i.action} {i.pair} ({i.origin}, {i.reason}): {legs}"
        case Reported(report=r) if r.state in (OrderState.REJECTED, OrderState.ABSENT):
            return "order", "warn", f"{r.instrument} order {r.client_id} {r.state}: {r.code} {r.message}".strip()
        case Filled(fill=f):
            verb = "bought" if f.size > 0 else "sold"
            return (
                "fill",
                "good",
                f"{verb} {abs(f.size)} {f.instrument} at {f.price}, fee {f.fee:.4f} {f.fee_currency}",
            )
        case Settled(intent=name, outcome=outcome, detail=detail):
            intent = journal.books.intents[name].intent
            level = "good" if outcome == "done" else "warn"
            return (
                "exit" if intent.action == "close" else "order",
                level,
                f"{intent.action} {intent.pair}: {outcome} {detail}".strip(),
            )
        case Billed(bill=bill) if event.shares:
            return "funding", "info", f"{bill.instrument}: {bill.kind} {bill.change:+.4f} {bill.currency}"
        case Protected(protection=p, state="fired" | "failed" as state):
            return "order", "bad", f"{p.instrument}: catastrophe order {p.client_id} {state}"
        case Commanded(name=name, text=text, who=who):
            return "command", "info", f"{name} by {who or 'hand'}: {text}"
        case Switched(state=TradingState.ACTIVE, reason=reason, cause=cause):
            now = journal.books.restrictions.state
            return "engine", "good" if now is TradingState.ACTIVE else "warn", f"{now}: {cause}, {reason}"
        case Switched(state=state, reason=reason):
            return "engine", "bad" if state == TradingState.HALTED else "warn", f"{state}: {reason}"
        case Killed(who=who, proof=proof):
            return "engine", "good", f"killed by {who}, and proven: {'; '.join(proof)}"
        case Alarmed(what=what):
            return "alarm", "bad", what
        case Repaired(what=what, reason=reason):
            return "repair", "warn", f"{what} ({reason})"
        case Ramped(share=share, reason=reason):
            return "engine", "warn", f"{share:.0%} of all sizes may be used: {reason}"
        case Loaded(strategy=strategy, bundle=bundle):
            return "engine", "info", f"{strategy}: model {bundle} in service"
    return None
