"""Round trips, told by a ledger's events: what each pair's book did from flat to flat."""

from collections.abc import Mapping

from core.backtest.result import Trade
from core.domain.instrument import Instrument
from core.domain.orders import Action, Intent
from core.portfolio.account import Holding
from core.portfolio.events import AnyEvent, Billed, Filled, Intended, Settled


class _Open:
    """A round trip while it goes on."""

    def __init__(self, intent: Intent, ts: int) -> None:
        self.intent, self.opened, self.closed = intent, ts, ts
        self.legs: dict[str, Holding] = {}
        self.price = self.slippage = self.fees = self.funding = self.gross = 0.0

    @property
    def held(self) -> float:
        """What the contracts that are held have cost, all legs together; 0: flat."""
        return sum(abs(float(leg.cost)) for leg in self.legs.values())


class Trades:
    """Follows a journal. `slipped` says of each trade id what its fill cost against the mark (<= 0)."""

    def __init__(self, instruments: Mapping[str, Instrument], slipped: Mapping[str, float], bar_ms: int) -> None:
        self.closed: list[Trade] = []
        self._instruments = instruments
        self._slipped = slipped
        self._bar_ms = bar_ms
        self._intents: dict[str, Intent] = {}
        self._open: dict[tuple[str, str], _Open] = {}

    def hear(self, event: AnyEvent) -> None:
        match event:
            case Intended(intent=intent):
                self._intents[intent.id] = intent
            case Filled():
                self._fill(event)
            case Settled(intent=name):
                self._settle(self._intents[name])
            case Billed(shares=shares):
                for share in shares:
                    if trade := self._open.get((share.strategy, share.pair)):
                        trade.funding += float(share.amount)

    def _fill(self, event: Filled) -> None:
        fill = event.fill
        contract = self._instruments[fill.instrument].contract
        slipped = self._slipped.get(fill.trade_id, 0.0)
        for part in event.parts:
            intent = self._intents[part.intent]
            key = intent.strategy, intent.pair
            trade = self._open.get(key)
            if trade is None:
                trade = self._open[key] = _Open(intent, fill.ts)
            value, slippage = (
                float(part.size * contract * fill.price),
                slipped * float(part.size / fill.size) if fill.size else 0.0,
            )
            trade.closed = fill.ts
            trade.legs.setdefault(fill.instrument, Holding(contract)).trade(part.size, fill.price)
            # At the mark it would have cost so much less.
            trade.price -= value + slippage
            trade.slippage += slippage
            trade.fees += float(part.fee)
            if intent.action is Action.OPEN:
                trade.gross = max(trade.gross, trade.held)

    def _settle(self, intent: Intent) -> None:
        """The end of an intent that leaves its book flat ends the round trip."""
        key = intent.strategy, intent.pair
        trade = self._open.get(key)
        if trade is None:
            return
        if trade.held:
            if intent.action is Action.OPEN:
                trade.gross = trade.held  # Without what a failing entry has taken back.
            return
        del self._open[key]
        entry = trade.intent
        self.closed.append(
            Trade(
                strategy=entry.strategy,
                pair=entry.pair,
                side=entry.side,
                opened=trade.opened,
                closed=trade.closed,
                bars=(trade.closed - trade.opened) // self._bar_ms,
                gross=trade.gross,
                price=trade.price,
                slippage=trade.slippage,
                fees=trade.fees,
                funding=trade.funding,
                entry=entry.reason,
                exit=intent.reason if intent.action is Action.CLOSE else "taken back",
                score=entry.score,
                probability=entry.probability,
            )
        )
