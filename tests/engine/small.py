"""A universe of four assets with the contracts of the local exchange, and a seeded market for it."""

from core.data.panel import Panel
from core.data.synthetic import synthetic_panel
from core.domain.instrument import Instrument
from core.venues.okx_local.specs import swap

ASSETS = ("BTC", "ETH", "SOL", "XRP")


def panel(bars: int = 700, seed: int = 7) -> Panel:
    return synthetic_panel(seed, bars, ASSETS)


def instruments() -> dict[str, Instrument]:
    """By id; prices only matter for assets that the exchange does not list."""
    return {spec.id: spec for spec in (swap(asset, 1.0) for asset in ASSETS)}
