"""What a ledger recorded beside what was derived: the same form, and every difference as one clear line."""

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from tests.acceptance.plain_market import HOUR
from tests.acceptance.plain_week import Entry, Step

Event = dict[str, Any]
CENT = Decimal("1e-9")
"""Far below a cent: what the exchange rounds is rounded to 1e-12."""
NEAR = 1e-9
CAUSES = {"z crossed": "z", "stop": "stop", "target": "target", "time stop": "time"}
HOLDS = {
    "silent leg": "unusable",
    "|z| is not": "small",
    "probability": "unlikely",
    "barred": "barred",
    "cooling": "cooling",
    "funding": "funding",
    "at a time": "full",
    "is held": "shared",
    "correlates": "correlated",
    "scores higher": "outscored",
}
"""By what words the ledger's texts are known."""


def read(path: Path) -> list[Event]:
    """The events of a ledger, in order, as JSON says them: decimals are text."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT body FROM events ORDER BY seq").fetchall()
    finally:
        connection.close()
    return [msgspec.json.decode(body) for (body,) in rows]


def plain(events: Iterable[msgspec.Struct]) -> list[Event]:
    """Events of a ledger in memory, in the form of `read`."""
    return [msgspec.json.decode(msgspec.json.encode(event)) for event in events]


def recorded(events: Sequence[Event]) -> list[Step]:
    """A Step for each decision of the ledger, with all that followed until the next. Cash is the balance that the
    exchange's statement ends with."""
    steps: dict[int, Step] = {}
    balances: dict[int, Decimal] = {}
    for event in events:
        match event["event"]:
            case "decided":
                steps[event["bar"]] = _decided(event)
            case "intended":
                intent = event["intent"]
                if intent["action"] == "open":
                    _of(steps, event["ts"]).entries[intent["pair"]] = _entry(intent)
            case "filled":
                fill = event["fill"]
                trade = Decimal(fill["size"]), Decimal(fill["price"]), Decimal(fill["fee"])
                _of(steps, fill["ts"]).trades.setdefault(_asset(fill), []).append(trade)
            case "billed":
                step = _of(steps, event["bill"]["ts"])
                balances[step.bar] = Decimal(event["bill"]["balance"])
                if event["bill"]["kind"] == "funding":
                    _funded(step, event)
            case "stepped" if event["bar"] in steps:
                steps[event["bar"]].equity = Decimal(event["equity"])
    cash = Decimal(events[0]["cash"])
    for bar in sorted(steps):  # the statement's last word stands until the next
        cash = steps[bar].cash = balances.get(bar, cash)
    return [steps[bar] for bar in sorted(steps)]


def _of(steps: dict[int, Step], ts: int) -> Step:
    """The step within which market time `ts` lies: from its bar's close to the next one's."""
    bar = ts // HOUR * HOUR - HOUR
    return steps.setdefault(bar, Step(bar))


def _asset(thing: Event) -> str:
    return str(thing["instrument"]).removesuffix("-USDT-SWAP")


def _decided(event: Event) -> Step:
    text = event["text"]
    step = Step(event["bar"], released=tuple(event["released"]))
    for line in event["exits"]:
        pair, _, reason = line.partition(": ")
        step.exits[pair] = next((name for word, name in CAUSES.items() if reason.startswith(word)), reason)
    if " refused: " in text:
        step.refused = tuple(part.partition(" refused: ")[0] for part in text.split("; ") if " refused: " in part)
    elif text:
        pair, _, reason = text.partition(": ")
        step.hold = pair, next((name for word, name in HOLDS.items() if word in reason), reason)
    return step


def _entry(intent: Event) -> Entry:
    sizes = tuple(Decimal(leg["size"]) for leg in intent["legs"])
    numbers = (intent[name] for name in ("z", "score", "probability", "stop", "target"))
    return Entry(intent["side"], (sizes[0], sizes[1]), *numbers)


def _funded(step: Step, event: Event) -> None:
    asset = _asset(event["bill"])
    step.funding[asset] = Decimal(event["bill"]["change"])
    for share in event["shares"]:
        step.shares[asset, share["pair"]] = Decimal(share["amount"])


def differences(theirs: Sequence[Step], ours: Sequence[Step]) -> list[str]:
    """Every difference between what was recorded and what was derived, oldest first, one line each:
    `time kind what: recorded .., derived ..`. Kinds: decision, size, price, fee, funding, share (of a
    pair in a payment), cash, equity."""
    lines = []
    if [step.bar for step in theirs] != [step.bar for step in ours]:
        lines.append(
            f"decision: recorded {len(theirs)} bars from {_when(theirs)}, derived {len(ours)} from {_when(ours)}"
        )
    by_bar = {step.bar: (n, step) for n, step in enumerate(theirs)}
    for n, mine in enumerate(ours):
        if mine.bar not in by_bar:
            continue
        at, step = by_bar[mine.bar]
        when = _when([mine])
        lines += [f"{when} {line}" for line in _decisions(theirs, at, ours, n)]
        lines += [f"{when} {line}" for line in _trades(step, mine)]
        lines += [f"{when} {line}" for line in _money(step, mine)]
    return lines


def _when(steps: Sequence[Step]) -> str:
    return f"{datetime.fromtimestamp(steps[0].bar / 1000, UTC):%Y-%m-%dT%H:%M}" if steps else "never"


def _acts(step: Step) -> tuple[Any, ...]:
    sides = sorted((pair, entry.side) for pair, entry in step.entries.items())
    return sides, sorted(step.exits.items()), sorted(step.refused)


def _decisions(theirs: Sequence[Step], at: int, ours: Sequence[Step], n: int) -> list[str]:
    step, mine = theirs[at], ours[n]
    shifted = _shifted(theirs, at, ours, n)
    if _acts(step) != _acts(mine):
        why = [f"; {pair} derived as {reason}" for pair in step.entries if (reason := mine.reasons.get(pair))]
        return [f"decision: recorded {_told(step)}, derived {_told(mine)}{''.join(why)}{shifted}"]
    lines = []
    if sorted(step.released) != sorted(mine.released):
        lines.append(f"decision: recorded as released {step.released}, derived {mine.released}")
    if step.hold != mine.hold:
        lines.append(f"decision: recorded as the reason to hold {step.hold}, derived {mine.hold}")
    for pair, entry in mine.entries.items():
        said = step.entries[pair]
        for name in ("z", "score", "probability", "stop", "target"):
            one, other = getattr(said, name), getattr(entry, name)
            if not _near(one, other):
                lines.append(f"decision: {name} of {pair}: recorded {one}, derived {other}{shifted}")
        for leg, one, other in zip(pair.split("/"), said.sizes, entry.sizes, strict=True):
            if one != other:
                lines.append(f"size of {leg} in {pair}: {_beside(one, other)}")
    return lines


def _told(step: Step) -> str:
    acts = [f"enter {pair} {entry.side:+d}" for pair, entry in step.entries.items()]
    acts += [f"exit {pair} ({cause})" for pair, cause in step.exits.items()]
    acts += [f"{pair} refused" for pair in step.refused]
    return "; ".join(acts) or f"hold {step.hold}"


def _shifted(theirs: Sequence[Step], at: int, ours: Sequence[Step], n: int) -> str:
    """Whether what was recorded belongs to a neighbouring bar: the z that an entry was decided on tells."""
    if not any(_near(entry.z, ours[n].z[pair]) for pair, entry in theirs[at].entries.items()):
        for away, word in ((-1, "late"), (1, "early")):
            here = ours[n + away].z if 0 <= n + away < len(ours) else {}
            there = theirs[at - away].entries if 0 <= at - away < len(theirs) else {}
            if any(_near(entry.z, here.get(pair)) for pair, entry in theirs[at].entries.items()) or any(
                _near(entry.z, there[pair].z) for pair, entry in ours[n].entries.items() if pair in there
            ):
                return f" (recorded one bar {word})"
    return ""


def _near(one: float, other: float | None) -> bool:
    return other is not None and abs(one - other) <= NEAR * (1 + abs(other))


def _trades(step: Step, mine: Step) -> list[str]:
    lines = []
    for asset in sorted({*step.trades, *mine.trades}):
        one, other = step.trades.get(asset, []), mine.trades.get(asset, [])
        sizes = [sum((trade[0] for trade in trades), Decimal(0)) for trades in (one, other)]
        if sizes[0] != sizes[1]:
            lines.append(f"size filled of {asset}: {_beside(*sizes)}")
        elif [trade[:2] for trade in one] != [trade[:2] for trade in other]:
            prices = [", ".join(f"{trade[0]} at {trade[1]}" for trade in trades) for trades in (one, other)]
            lines.append(f"price of {asset}: recorded {prices[0]}, derived {prices[1]}")
        fees = [sum((trade[2] for trade in trades), Decimal(0)) for trades in (one, other)]
        if abs(fees[0] - fees[1]) > CENT:
            lines.append(f"fee of {asset}: {_beside(*fees)}")
    return lines


def _money(step: Step, mine: Step) -> list[str]:
    lines = []
    for asset in sorted({*step.funding, *mine.funding}):
        one, other = step.funding.get(asset, Decimal(0)), mine.funding.get(asset, Decimal(0))
        if abs(one - other) > CENT:
            lines.append(f"funding of {asset}: {_beside(one, other)}")
    for key in sorted({*step.shares, *mine.shares}):
        one, other = step.shares.get(key, Decimal(0)), mine.shares.get(key, Decimal(0))
        if abs(one - other) > CENT:
            lines.append(f"share of {key[1]} in the funding of {key[0]}: {_beside(one, other)}")
    if abs(step.cash - mine.cash) > CENT:
        lines.append(f"cash: {_beside(step.cash, mine.cash)}")
    if abs(step.equity - mine.equity) > CENT:
        lines.append(f"equity: {_beside(step.equity, mine.equity)}")
    return lines


def _beside(one: Decimal, other: Decimal) -> str:
    """Both numbers, and what they are to each other where that says where to look."""
    hint = ""
    if one and other:
        ratio = float(one / other)
        if abs(ratio + 1) < 1e-6:
            hint = " (the sign is turned)"
        elif abs(ratio - 10) < 0.2 or abs(ratio - 0.1) < 0.002:
            hint = f" ({ratio:.2g} times)"
    return f"recorded {one}, derived {other}{hint}"
