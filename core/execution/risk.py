"""The gate every intent passes, whoever asks: a pure function of the account, its limits and the market.

New exposure may be refused; what only reduces or hedges never is. A limit refuses what would be worse than it, not
what leads back below it.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal

import msgspec

from core.domain.instrument import Instrument
from core.domain.orders import Action, Intent
from core.domain.trading import TradingState

INFINITY = Decimal("Infinity")
ZERO = Decimal(0)
Values = Mapping[str, Decimal]


class Limits(msgspec.Struct, frozen=True):
    """Of the account, in USDT unless said otherwise; shares are of 1. `free_share` of free margin may be used;
    `max_order` and `min_notional` are of one leg, `budget` is the gross that the strategy itself may hold.

    `max_pair` bounds the gross of one pair, `max_asset_net` and `max_asset_gross` one instrument over all books (in
    net and without netting), `max_net` the signed sum of all. `max_leverage` is gross over equity. Orders count for
    a minute of market time, intents for a bar. `max_price_gap`: how far mark and last close may lie apart, as a
    share of the close. `max_funding`: expected cost of funding a day, as a share of equity. `min_margin_ratio` is
    equity over maintenance margin, of which new exposure takes `maintenance_rate` of its value;
    `min_liquidation_distance` is what all prices may move against us before that ratio is 1, as a share. Limits of
    loss are shares of equity: at midnight, and at its highest. A leg worth more than `max_slice` is not refused: it
    goes in slices."""

    free_share: Decimal
    max_gross: Decimal
    max_order: Decimal
    min_notional: Decimal
    leverage: Decimal
    taker: Decimal
    budget: Decimal = INFINITY
    max_pair: Decimal = INFINITY
    max_asset_net: Decimal = INFINITY
    max_asset_gross: Decimal = INFINITY
    max_net: Decimal = INFINITY
    max_leverage: Decimal = INFINITY
    max_orders_minute: int = 1_000_000
    max_intents_bar: int = 1_000_000
    max_price_gap: Decimal = INFINITY
    max_funding: Decimal = INFINITY
    maintenance_rate: Decimal = ZERO
    min_margin_ratio: Decimal = ZERO
    min_liquidation_distance: Decimal = ZERO
    max_daily_loss: Decimal = INFINITY
    max_drawdown: Decimal = INFINITY
    max_slice: Decimal = INFINITY

    def scaled(self, share: Decimal) -> "Limits":
        """The same with `share` of what may be held."""
        if share == 1:
            return self
        held = ("max_gross", "budget", "max_pair", "max_asset_net", "max_asset_gross", "max_net")
        return msgspec.structs.replace(self, **{name: getattr(self, name) * share for name in held})


class Standing(msgspec.Struct, frozen=True):
    """How the account stands as an intent asks, at the last closes, with what is at work counted as if filled.

    `free` margin, `gross` of its net positions, `equity` and `maintenance` margin in USDT; `own`: the gross of the
    books of the strategy that asks. `pairs` is gross by pair; `nets` and `grosses` are values by instrument over
    all books, signed and not. `orders` were sent in the last minute, `intents` made of this bar. `marks` are prices
    of now, where they are other than the last close. `state` and its `reason`; `trouble` is what else makes new
    exposure unwise (ledger and exchange disagree, streams are stale; empty: nothing). `share` of all sizes and of
    what may be held is allowed: less than all of it while capital ramps up."""

    free: Decimal
    gross: Decimal
    equity: Decimal
    state: TradingState = TradingState.ACTIVE
    reason: str = ""
    trouble: str = ""
    own: Decimal = ZERO
    maintenance: Decimal = ZERO
    pairs: Values = {}
    nets: Values = {}
    grosses: Values = {}
    orders: int = 0
    intents: int = 0
    marks: Values = {}
    share: Decimal = Decimal(1)

    def after(
        self, intent: Intent, limits: Limits, instruments: Mapping[str, Instrument], prices: Values
    ) -> "Standing":
        """The account as it will stand when an opening `intent` has been filled: the next one is judged on that."""
        assert intent.action is Action.OPEN
        values = values_of(intent, instruments, prices)
        gross = sum(map(abs, values.values()), ZERO)
        pairs, nets, grosses = dict(self.pairs), dict(self.nets), dict(self.grosses)
        pairs[intent.pair] = pairs.get(intent.pair, ZERO) + gross
        for name, value in values.items():
            nets[name] = nets.get(name, ZERO) + value
            grosses[name] = grosses.get(name, ZERO) + abs(value)
        return msgspec.structs.replace(
            self,
            free=self.free - gross / limits.leverage - gross * limits.taker,
            gross=self.gross + gross,
            own=self.own + gross,
            maintenance=self.maintenance + gross * limits.maintenance_rate,
            pairs=pairs,
            nets=nets,
            grosses=grosses,
            orders=self.orders + len(intent.legs),
            intents=self.intents + 1,
        )


def values_of(intent: Intent, instruments: Mapping[str, Instrument], prices: Values) -> dict[str, Decimal]:
    """Signed value of each leg, by instrument."""
    legs = ((leg, instruments[leg.instrument], prices[leg.instrument]) for leg in intent.legs)
    return {leg.instrument: spec.notional(leg.size, price) for leg, spec, price in legs}


def refusal(
    intent: Intent,
    standing: Standing,
    limits: Limits,
    instruments: Mapping[str, Instrument],
    prices: Values,
    rates: Values,
) -> str:
    """Why an intent may not be sent, with the value and its limit; empty when it may.

    `prices` are the last closes, `rates` the expected funding a day as a share of value, both by instrument."""
    if intent.action is Action.CLOSE:
        return ""
    if standing.state is not TradingState.ACTIVE:
        return f"{standing.state}: {standing.reason}"
    if standing.trouble:
        return standing.trouble
    values = values_of(intent, instruments, prices)
    reasons = (
        *_sizes(intent, values, standing, limits),
        *_concentration(intent, values, standing, limits),
        *_pace(intent, standing, limits),
        *_prices(values, standing, limits, prices),
        *_carry(values, standing, limits, rates),
        *_margin(values, standing, limits),
    )
    return next(iter(reasons), "")


def _sizes(intent: Intent, values: Values, standing: Standing, limits: Limits) -> Iterator[str]:
    """Each order, the account, the strategy's budget, what is free."""
    for name, value in values.items():
        if abs(value) > limits.max_order:
            yield f"{name}: {abs(value):.0f} USDT exceeds the largest order, {limits.max_order}"
        if abs(value) < limits.min_notional:
            yield f"{name}: {abs(value):.2f} USDT is below the least order, {limits.min_notional}"
    more = sum(map(abs, values.values()), ZERO)
    if standing.gross + more > limits.max_gross:
        yield f"gross would be {standing.gross + more:.0f} USDT, the limit is {limits.max_gross}"
    if standing.own + more > limits.budget:
        yield f"{intent.strategy} would hold {standing.own + more:.0f} USDT gross, its budget is {limits.budget}"
    need = more / limits.leverage + more * limits.taker
    if need > standing.free * limits.free_share:
        yield f"margin and fees of {need:.0f} USDT exceed {limits.free_share:%} of the free {standing.free:.0f}"


def _concentration(intent: Intent, values: Values, standing: Standing, limits: Limits) -> Iterator[str]:
    """One pair, one instrument, all of them in net, and gross over equity."""
    more = sum(map(abs, values.values()), ZERO)
    pair = standing.pairs.get(intent.pair, ZERO) + more
    if pair > limits.max_pair:
        yield f"{intent.pair} would hold {pair:.0f} USDT gross, the limit of a pair is {limits.max_pair}"
    for name, value in values.items():
        before, gross = standing.nets.get(name, ZERO), standing.grosses.get(name, ZERO) + abs(value)
        if abs(before + value) > max(limits.max_asset_net, abs(before)):
            yield f"{name} would be {before + value:.0f} USDT net, the limit of an asset is {limits.max_asset_net}"
        if gross > limits.max_asset_gross:
            yield f"{name} would be {gross:.0f} USDT gross, the limit of an asset is {limits.max_asset_gross}"
    held = sum(standing.nets.values(), ZERO)
    net = held + sum(values.values(), ZERO)
    if abs(net) > max(limits.max_net, abs(held)):
        yield f"net would be {net:.0f} USDT, the limit is {limits.max_net}"
    if standing.equity <= 0:
        yield f"equity is {standing.equity:.0f} USDT: it bears no new exposure"
    elif (leverage := (standing.gross + more) / standing.equity) > limits.max_leverage:
        yield f"leverage would be {leverage:.2f}, the limit is {limits.max_leverage}"


def _pace(intent: Intent, standing: Standing, limits: Limits) -> Iterator[str]:
    """A loop that has gone wrong shows in how often it asks."""
    orders = standing.orders + len(intent.legs)
    if orders > limits.max_orders_minute:
        yield f"{orders} orders within a minute, the limit is {limits.max_orders_minute}"
    if standing.intents >= limits.max_intents_bar:
        yield f"{standing.intents + 1} intents of one bar, the limit is {limits.max_intents_bar}"


def _prices(values: Values, standing: Standing, limits: Limits, prices: Values) -> Iterator[str]:
    """Mark and last close far apart: one of them is stale or broken, or the market is."""
    for name in values:
        gap = abs(standing.marks.get(name, prices[name]) / prices[name] - 1)
        if gap > limits.max_price_gap:
            yield (
                f"{name}: the mark {standing.marks[name]} lies {gap:.1%} from the last close {prices[name]}, "
                f"the limit is {limits.max_price_gap:.1%}"
            )


def _carry(values: Values, standing: Standing, limits: Limits, rates: Values) -> Iterator[str]:
    """Funding a day of what is held and asked for: longs pay a positive rate, shorts receive it."""
    if not limits.max_funding.is_finite():
        return
    more = sum((value * rates.get(name, ZERO) for name, value in values.items()), ZERO)
    cost = more + sum((value * rates.get(name, ZERO) for name, value in standing.nets.items()), ZERO)
    if more > 0 and cost > limits.max_funding * standing.equity:
        yield (
            f"funding would cost {cost:.2f} USDT a day, {cost / standing.equity:.2%} of equity, "
            f"the limit is {limits.max_funding:.2%}"
        )


def _margin(values: Values, standing: Standing, limits: Limits) -> Iterator[str]:
    """How far from liquidation the account would be."""
    more = sum(map(abs, values.values()), ZERO)
    maintenance = standing.maintenance + more * limits.maintenance_rate
    yield from margin_breach(standing.equity, standing.gross + more, maintenance, limits, "would be ")


def margin_breach(
    equity: Decimal, gross: Decimal, maintenance: Decimal, limits: Limits, verb: str, ease: Decimal = Decimal(1)
) -> Iterator[str]:
    """Margin ratio and liquidation distance below `ease` times their limits, in words.

    The account is liquidated when equity falls to the maintenance margin (OKX, cross margin: a ratio of 100%). If
    every leg moves by a share d against us, equity falls by d of gross, so d = (equity - maintenance) / gross."""
    if maintenance > 0 and equity / maintenance < limits.min_margin_ratio * ease:
        yield f"margin ratio {verb}{equity / maintenance:.2f}, the least is {limits.min_margin_ratio}"
    if gross > 0 and (equity - maintenance) / gross < limits.min_liquidation_distance * ease:
        distance = (equity - maintenance) / gross
        yield f"liquidation {verb}{distance:.1%} away, the least is {limits.min_liquidation_distance:.1%}"
