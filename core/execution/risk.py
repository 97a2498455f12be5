"""The gate every intent passes. New exposure may be refused; closing and hedging never come here."""

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from core.domain.instrument import Instrument
from core.domain.orders import Intent, Origin
from core.execution.sizing import margin_of


class Limits(msgspec.Struct, frozen=True):
    """`free_share` of free margin may be used; the rest are USDT: most per order leg, gross, least per leg, and
    `budget`: the gross that the strategy itself may hold."""

    free_share: Decimal
    max_gross: Decimal
    max_order: Decimal
    min_notional: Decimal
    leverage: Decimal
    taker: Decimal
    budget: Decimal = Decimal("Infinity")


class Standing(msgspec.Struct, frozen=True):
    """How the account stands now: free margin, gross exposure, whether entries are paused, and what makes new
    exposure unwise (`trouble`: ledger and exchange disagree, streams are stale; empty: nothing). `own`: the gross
    of the books of the strategy that asks."""

    free: Decimal
    gross: Decimal
    paused: bool
    trouble: str
    own: Decimal = Decimal(0)


def refusal(
    intent: Intent,
    standing: Standing,
    limits: Limits,
    instruments: Mapping[str, Instrument],
    prices: Mapping[str, Decimal],
) -> str:
    """Why an opening intent may not be sent; empty when it may."""
    if standing.trouble:
        return standing.trouble
    if standing.paused and intent.origin is not Origin.MANUAL:
        return "paused: no new entries"
    gross = Decimal(0)
    for leg in intent.legs:
        value = abs(instruments[leg.instrument].notional(leg.size, prices[leg.instrument]))
        gross += value
        if value > limits.max_order:
            return f"{leg.instrument}: {value:.0f} USDT exceeds the largest order, {limits.max_order}"
        if value < limits.min_notional:
            return f"{leg.instrument}: {value:.2f} USDT is below the least order, {limits.min_notional}"
    if standing.gross + gross > limits.max_gross:
        return f"gross would be {standing.gross + gross:.0f} USDT, the limit is {limits.max_gross}"
    if standing.own + gross > limits.budget:
        return f"{intent.strategy} would hold {standing.own + gross:.0f} USDT gross, its budget is {limits.budget}"
    need = margin_of(intent.legs, instruments, prices, limits.leverage) + gross * limits.taker
    if need > standing.free * limits.free_share:
        return f"margin and fees of {need:.0f} USDT exceed {limits.free_share:%} of the free {standing.free:.0f}"
    return ""
