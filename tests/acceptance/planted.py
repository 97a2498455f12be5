"""Four classic errors, planted: into what the re-computation is fed with, and into copies of a recorded ledger."""

from collections.abc import Callable
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from tests.acceptance.compare import Event
from tests.acceptance.demo import Recording
from tests.acceptance.plain_market import HOUR, Signals
from tests.acceptance.plain_week import Step

D = Decimal
ASSET = "DOGE"
"""The asset whose contract is taken for another."""

# -- in what is derived -------------------------------------------------------------------------------------------


def derived_shifted(r: Recording, bars: int) -> list[Step]:
    """Decisions rest on the signals of `bars` before; of one to come, if negative."""
    s = r.signals()
    rows = {f.name: np.roll(getattr(s, f.name), bars, axis=0) for f in fields(Signals) if f.name != "pairs"}
    return r.derive(signals=Signals(s.pairs, **rows))


def derived_receiving_what_is_paid(r: Recording) -> list[Step]:
    """Settlements go the other way; the signals know the right rates."""
    return r.derive(candles=replace(r.candles, rate=-r.candles.rate), signals=r.signals())


def derived_filtered_by_the_other_sign(r: Recording) -> list[Step]:
    """Settlements are right; the funding filter sees the rates turned."""
    s = r.signals()
    return r.derive(signals=replace(s, funding=-s.funding))


def derived_with_another_contract(r: Recording, times: str) -> list[Step]:
    listing = dict(r.terms.listing)
    listing[ASSET] = listing[ASSET]._replace(contract=listing[ASSET].contract * D(times))
    return r.derive(terms=r.terms._replace(listing=listing))


def derived_with_fees_received(r: Recording) -> list[Step]:
    return r.derive(terms=r.terms._replace(taker=-r.terms.taker))


# -- in the recording ---------------------------------------------------------------------------------------------

Change = Callable[[Event], None]
"""Alters an event in place."""


def altered(r: Recording, change: Change) -> list[Event]:
    """A copy of the ledger that `change` has gone over, and that adds up again: whatever the bills change now,
    balances and equity follow."""
    events: list[Event] = [msgspec.json.decode(msgspec.json.encode(event)) for event in r.events]
    more = D(0)
    for event in events:
        before = D(event["bill"]["change"]) if event["event"] == "billed" else D(0)
        change(event)
        if event["event"] == "billed":
            more += D(event["bill"]["change"]) - before
            event["bill"]["balance"] = str(D(event["bill"]["balance"]) + more)
        elif event["event"] == "stepped":
            event["equity"] = str(D(event["equity"]) + more)
    return events


def decisions_a_bar_late(event: Event) -> None:
    """All that was decided and done stands one bar later."""
    if event["event"] in ("decided", "stepped"):
        event["bar"] += HOUR
    if event["event"] != "opened":
        for thing in (
            event,
            *(event[name] for name in ("intent", "fill", "bill") if isinstance(event.get(name), dict)),
        ):
            thing["ts"] += HOUR


def funding_turned(event: Event) -> None:
    if event["event"] == "billed" and event["bill"]["kind"] == "funding":
        _turn(event["bill"], "change")
        for share in event["shares"]:
            _turn(share, "amount")


def fees_turned(event: Event) -> None:
    if event["event"] == "filled":
        for thing in (event["fill"], *event["parts"]):
            _turn(thing, "fee")
    elif event["event"] == "billed" and event["bill"]["kind"] == "trade":
        bill = event["bill"]
        bill["change"] = str(D(bill["change"]) - 2 * D(bill["fee"]))
        _turn(bill, "fee")


def contract_ten_times(event: Event) -> None:
    """Sizes as if a contract of ASSET were ten times what it is: the values stay, the contracts are a tenth."""
    name = f"{ASSET}-USDT-SWAP"
    if event["event"] == "intended":
        things: list[Any] = event["intent"]["legs"]
    elif event["event"] == "filled" and event["fill"]["instrument"] == name:
        things = [event["fill"]]
    else:
        return
    for thing in things:
        if thing["instrument"] == name:
            thing["size"] = str(D(thing["size"]) / 10)


def billed_for_ten_times(event: Event) -> None:
    """Fees and funding of ASSET on ten times the value."""
    name = f"{ASSET}-USDT-SWAP"
    if event["event"] == "filled" and event["fill"]["instrument"] == name:
        event["fill"]["fee"] = str(D(event["fill"]["fee"]) * 10)
    elif event["event"] == "billed" and event["bill"]["instrument"] == name:
        bill = event["bill"]
        bill["change"] = str(D(bill["pnl"]) + 10 * (D(bill["change"]) - D(bill["pnl"])))
        for share in event["shares"]:
            share["amount"] = str(D(share["amount"]) * 10)


def _turn(thing: Event, name: str) -> None:
    thing[name] = str(-D(thing[name]))
