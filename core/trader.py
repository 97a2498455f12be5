"""Joins the wings: a closed bar in, a decision and its intents out.

Synchronous; it knows no clock, no network and no screen. Live, backtest and rehearsal call this same object, so
that what was tested is what trades.
"""

from collections.abc import Mapping
from decimal import Decimal
from math import isfinite
from typing import Protocol

import msgspec
import numpy as np

from core.domain.account import Book, Holdings
from core.domain.decision import Decision, Entry, Target, View
from core.domain.instrument import Instrument, Pair
from core.domain.market import Bar, Floats
from core.domain.orders import Action, Basis, Intent, Origin, base36
from core.execution.risk import Limits, Standing, refusal
from core.execution.sizing import Unsizable, entry_intent, exit_intent, target_intent
from core.features.pairs import Frame
from core.strategies.params import Params
from core.strategies.registry import Features, Strategy


class Model(Protocol):
    """Anything that scores all pairs of a bar in one call: (P, F) features to (P,) calibrated probabilities."""

    def score(self, features: Floats) -> Floats: ...


class Names:
    """Makes intent ids: the ledger's prefix and a counter, so that a restart goes on where it stopped."""

    def __init__(self, prefix: str, made: int) -> None:
        self._prefix = prefix
        self._made = made

    def peek(self) -> str:
        """The id the next intent will have."""
        return f"{self._prefix}I{base36(self._made)}"

    def take(self) -> str:
        """The next id, used: only for intents that go into the ledger, whose count is where a restart begins."""
        name = self.peek()
        self._made += 1
        return name


class Outcome(msgspec.Struct, frozen=True):
    """What one bar led to: the decision as it is carried out, the intents it became, the entries refused, each
    with its reason, and the view that the decision was made of."""

    decision: Decision
    intents: tuple[Intent, ...]
    barred: tuple[bool, ...]
    refused: tuple[tuple[str, str], ...]
    view: View


class Trader:
    """One strategy on one universe. `on_bar` is the whole line from a closed bar to intents."""

    def __init__(
        self,
        strategy: Strategy,
        params: Params,
        features: Features,
        model: Model | None,
        instruments: Mapping[str, Instrument],
        limits: Limits,
    ) -> None:
        scored = strategy.model == "divergence"
        assert (model is not None) == scored, f"{strategy.name}: model given {model is not None}"
        assert isinstance(params, strategy.params), f"{strategy.name}: parameters {type(params).__name__}"
        self.strategy = strategy
        self.params = params
        self.model = model
        self.features = features
        self.limits = limits
        self._by_asset = {i.asset: i for i in instruments.values()}
        self._instruments = instruments
        self._pairs: dict[str, Pair] = {pair.name: pair for pair in features.pairs}
        self.pair_names = tuple(self._pairs)
        self._priced: tuple[Bar | None, dict[str, Decimal]] = None, {}
        self._funded: tuple[Bar | None, dict[str, Decimal]] = None, {}

    def warm(self, bar: Bar) -> View:
        """Take a bar of the past into the features without deciding anything."""
        return self._view(bar, self.features.update(bar))

    def on_bar(self, bar: Bar, holdings: Holdings, standing: Standing, names: Names) -> Outcome:
        """Decide on a closed bar. Entries pass the risk gate here; exits never ask it.

        A switch is both or nothing: where its entry is refused the position stays, and its exit leaves the
        decision. The gate judges the entry as if the old position were still held: its exit may yet be slow."""
        view = self._view(bar, self.features.update(bar))
        decision = self.strategy.decide(view, holdings, self.params.scaled(float(standing.share)))
        books = {book.pair: book for book in holdings.books}
        switched = {wish.into: wish for wish in decision.exits if wish.into}
        intents, barred, refused = [], [], []
        for wish in decision.exits:
            if not wish.into:
                intents.append(exit_intent(names.take(), bar.close_ms, books[wish.pair], wish))
                barred.append(bool(wish.barred))
        for entry in decision.entries:
            intent, why = self.open(entry, bar, standing, names, Origin.STRATEGY)
            if intent is None:
                refused.append((entry.pair, why))
                continue
            if entry.pair in switched:
                wish = switched.pop(entry.pair)
                intents.append(exit_intent(names.take(), bar.close_ms, books[wish.pair], wish))
                barred.append(bool(wish.barred))
                intent = msgspec.structs.replace(intent, id=names.peek())
            names.take()
            intents.append(intent)
            barred.append(False)
            standing = standing.after(intent, self.limits, self._instruments, self.prices(bar))
        for target in decision.targets:
            if target.pair in holdings.working:
                continue  # What is at work now comes first: the next bar sees what has come of it.
            intent, why = self._aim(target, books.get(target.pair), bar, standing, names)
            if why:
                refused.append((target.pair, why))
            elif intent is not None:
                names.take()
                intents.append(intent)
                barred.append(False)
                if intent.action is Action.OPEN:
                    standing = standing.after(intent, self.limits, self._instruments, self.prices(bar))
        if switched:
            kept = tuple(wish for wish in decision.exits if wish not in switched.values())
            decision = msgspec.structs.replace(decision, exits=kept)
        based = tuple(self._based(intent, bar) for intent in intents)
        return Outcome(decision, based, tuple(barred), tuple(refused), view)

    def _based(self, intent: Intent, bar: Bar) -> Intent:
        """The intent, remembering what its legs were decided on; one of an asset without a price has nothing."""
        prices, index = self.prices(bar), self.features.assets.index
        if any(leg.instrument not in prices for leg in intent.legs):
            return intent
        places = [index(self._instruments[leg.instrument].asset) for leg in intent.legs]
        turnover = [float(bar.ohlcv[i, 3] * bar.ohlcv[i, 4]) for i in places]
        rows = zip((leg.instrument for leg in intent.legs), turnover, strict=True)
        return msgspec.structs.replace(intent, basis=tuple(Basis(prices[name], value) for name, value in rows))

    def open(
        self, entry: Entry, bar: Bar, standing: Standing, names: Names, origin: Origin
    ) -> tuple[Intent | None, str]:
        """Size an entry and ask the risk gate: the intent, or None and why not.

        Its id is only peeked at: whoever writes the intent takes it from `names`."""
        pair = self._pairs[entry.pair]
        specs = self._by_asset[pair.a], self._by_asset[pair.b]
        places = [self.features.assets.index(asset) for asset in (pair.a, pair.b)]
        prices = self.prices(bar)
        if any(spec.id not in prices for spec in specs):
            return None, f"{entry.pair}: a leg has no price yet"
        turnover = tuple(float(bar.ohlcv[i, 3] * bar.ohlcv[i, 4]) for i in places)
        # Both legs' margin and fees may use a share of the free margin: a larger wish is cut to that.
        most = standing.free * self.limits.free_share / (2 / self.limits.leverage + 2 * self.limits.taker)
        if entry.notional > most:
            entry = msgspec.structs.replace(entry, notional=max(float(most), 0.0))
        try:
            intent = entry_intent(
                names.peek(),
                bar.close_ms,
                self.strategy.name,
                entry,
                specs,
                (prices[specs[0].id], prices[specs[1].id]),
                (turnover[0], turnover[1]),
                origin,
                self.limits.max_slice,
            )
        except Unsizable as error:
            return None, str(error)
        return self._asked(intent, bar, standing)

    def _aim(
        self, target: Target, book: Book | None, bar: Bar, standing: Standing, names: Names
    ) -> tuple[Intent | None, str]:
        """The intent of a target, or why it may not be followed; neither where there is nothing to do."""
        spec, prices = self._by_asset[self._pairs[target.pair].a], self.prices(bar)
        if spec.id not in prices:
            return None, f"{target.pair} has no price yet"
        made = names.peek(), bar.close_ms, self.strategy.name
        intent = target_intent(*made, target, book, spec, prices[spec.id], self.limits.max_slice)
        return (None, "") if intent is None else self._asked(intent, bar, standing)

    def _asked(self, intent: Intent, bar: Bar, standing: Standing) -> tuple[Intent | None, str]:
        """The intent if the gate lets it pass, else why not."""
        prices, rates = self.prices(bar), self.rates(bar)
        limits = self.limits.scaled(standing.share)
        why = refusal(intent, standing, limits, self._instruments, prices, rates)
        return (None, why) if why else (intent, "")

    def prices(self, bar: Bar) -> dict[str, Decimal]:
        """Each instrument's close, exact as printed."""
        known, prices = self._priced
        if known is not bar:
            closes = zip(self.features.assets, bar.ohlcv[:, 3].tolist(), strict=True)
            prices = {self._by_asset[asset].id: Decimal(repr(close)) for asset, close in closes if isfinite(close)}
            self._priced = bar, prices
        return prices

    def rates(self, bar: Bar) -> dict[str, Decimal]:
        """Expected funding a day of each instrument, as a share of value: the last settled rate, three times."""
        known, rates = self._funded
        if known is not bar:
            funding = zip(self.features.assets, bar.funding.tolist(), strict=True)
            rates = {self._by_asset[asset].id: 3 * Decimal(repr(rate)) for asset, rate in funding if isfinite(rate)}
            self._funded = bar, rates
        return rates

    def _view(self, bar: Bar, frame: Frame) -> View:
        """Features and the model's one call for all pairs."""
        probability = np.ones(len(self._pairs)) if self.model is None else self.model.score(frame.features)
        return View(
            ts=bar.close_ms,
            assets=self.features.assets,
            pairs=self.features.pairs,
            names=self.features.names,
            features=frame.features,
            probability=probability,
            usable=frame.usable,
            close=bar.ohlcv[:, 3],
            funding=bar.funding,
            atr_pct=frame.atr_pct,
            correlation=frame.correlation,
            bar_ms=bar.close_ms - bar.open_ms,
            volatility=frame.volatility,
        )
