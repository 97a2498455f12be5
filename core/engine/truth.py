"""What the engine makes of the exchange's word: the preflight, and what reconciliation finds."""

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

from core.backtest.fees import fees
from core.domain.errors import UserError
from core.domain.instrument import Instrument
from core.domain.trading import TradingState
from core.execution.preflight import Expected, Known, preflight
from core.execution.reconcile import Verdict
from core.portfolio.events import Listed

if TYPE_CHECKING:
    from core.engine.engine import Engine

PREFLIGHT = "preflight"


def expected(engine: "Engine") -> Expected:
    """What the settings take for granted of the account."""
    risk = engine.settings.risk
    return Expected(
        leverage=Decimal(engine.settings.venue.leverage),
        most=min(risk.max_gross_usdt, risk.max_asset_gross_usdt or risk.max_gross_usdt),
        maintenance=risk.maintenance_rate,
        taker=fees(engine.settings.backtest.fees)[1],
    )


async def look_before(engine: "Engine") -> None:
    """The preflight. What is bad keeps the engine from starting (UserError), unless something is held or at work:
    then it starts, and only reduces until it is well (`Engine.watch` looks again). What the instruments are like is
    written, for the next run to compare."""
    books = engine.journal.books
    held = {name: holding.size for name, holding in books.account.open.items()}
    known = Known(engine.listed, held)
    checks = await preflight(engine.venue, list(engine.instruments), expected(engine), known)
    now = engine.venue.market_ms()
    for check in checks:
        if check.level != "good":
            engine.narrator.say(now, "health", check.level, f"preflight: {check.line}")
    bad = "; ".join(check.line for check in checks if check.level == "bad")
    if bad and not held and not books.unsettled() and not engine.trading.is_set():
        raise UserError(f"preflight: {bad}")
    if bad:
        await engine.restrict(PREFLIGHT, TradingState.REDUCING, f"preflight: {bad}")
    elif PREFLIGHT in engine.restrictions.standing:
        await engine.release(PREFLIGHT)
    news = tuple(spec for name, spec in engine.instruments.items() if _news(engine.listed.get(name), spec, held))
    if news:
        engine.listed.update({spec.id: spec for spec in news})
        await engine.journal.record(Listed(now, news))


def _news(old: Instrument | None, new: Instrument, held: dict[str, Decimal]) -> bool:
    """Whether an instrument is to be remembered as it is now: not while contracts of another size are held."""
    return old != new and not (old is not None and old.contract != new.contract and held.get(new.id))


class Telling:
    """Tells what reconciliation finds, once: a difference when it has stood for two looks (a fill on its way looks
    like one), what is foreign when it is first seen, and when all is well again."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._seen: set[str] = set()
        self._told: set[str] = set()
        self._foreign: set[str] = set()

    def take(self, verdict: Verdict) -> None:
        """The verdict of one look."""
        if verdict.agrees:
            self._engine.health.agreed = asyncio.get_running_loop().time()
        lines = {line.partition(":")[0]: line for line in verdict.differences}
        for name, line in lines.items():
            if name in self._seen and name not in self._told:
                self._say("bad", f"{line}; no new entries until they agree (not yours? see cockpit account)")
                self._told.add(name)
        if self._told and not lines:
            self._say("good", "ledger and exchange agree again")
            self._told.clear()
        self._seen = set(lines)
        for line in verdict.foreign:
            if line not in self._foreign:
                self._say("warn", line)
        self._foreign = set(verdict.foreign)

    def _say(self, level: str, text: str) -> None:
        self._engine.narrator.say(self._engine.venue.market_ms(), "health", level, text)
