"""A universe of four assets with the contracts of the local exchange, a seeded market, and what always holds."""

from core.data.panel import Panel
from core.data.synthetic import synthetic_panel
from core.domain.instrument import Instrument
from core.matching.listing import swap
from core.portfolio.events import AnyEvent, Filled, Intended, Planned

ASSETS = ("BTC", "ETH", "SOL", "XRP")


def panel(bars: int = 700, seed: int = 7) -> Panel:
    return synthetic_panel(seed, bars, ASSETS)


def instruments() -> dict[str, Instrument]:
    """By id; prices only matter for assets that the exchange does not list."""
    return {spec.id: spec for spec in (swap(asset, 1.0) for asset in ASSETS)}


def one_of_each(events: list[AnyEvent]) -> None:
    """Every trade once, every order once, every order of an intent that stood before it."""
    trades = [event.fill.trade_id for event in events if isinstance(event, Filled)]
    orders = [event.order.client_id for event in events if isinstance(event, Planned)]
    assert len(set(trades)) == len(trades) and len(set(orders)) == len(orders)
    seen: set[str] = set()
    for event in events:
        if isinstance(event, Intended):
            seen.add(event.intent.id)
        assert not isinstance(event, Planned) or event.order.intent in seen
