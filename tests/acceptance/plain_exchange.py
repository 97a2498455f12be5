"""The exchange of the demo, once more: contract sizes as OKX lists them, the book it makes around a price, its fees
and its funding. Nothing of `core` is imported."""

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal
from typing import NamedTuple
from zlib import crc32

import numpy as np

D = Decimal


class Spec(NamedTuple):
    """A linear swap: units of the asset in a contract, the least step of a size, of a price, the least order."""

    contract: Decimal
    lot: Decimal
    tick: Decimal
    least: Decimal


# OKX, GET /api/v5/public/instruments: ctVal, lotSz, tickSz, minSz.
LISTING = {
    "BTC": Spec(D("0.01"), D("0.01"), D("0.1"), D("0.01")),
    "ETH": Spec(D("0.1"), D("0.01"), D("0.01"), D("0.01")),
    "SOL": Spec(D("1"), D("0.01"), D("0.01"), D("0.01")),
    "XRP": Spec(D("100"), D("0.01"), D("0.0001"), D("0.01")),
    "BNB": Spec(D("0.01"), D("1"), D("0.1"), D("1")),
    "DOGE": Spec(D("1000"), D("0.01"), D("0.00001"), D("0.01")),
    "ADA": Spec(D("100"), D("0.1"), D("0.0001"), D("0.1")),
    "AVAX": Spec(D("1"), D("0.1"), D("0.01"), D("0.1")),
    "LINK": Spec(D("1"), D("0.1"), D("0.001"), D("0.1")),
    "DOT": Spec(D("1"), D("0.1"), D("0.001"), D("0.1")),
}
LEVELS = 10
DEPTH_SHARE = 0.01
"""The share of a bar's turnover that lies on each side of the book."""
HALF_SPREAD = D("0.0001")
BOOK_SEED = 7


def on_tick(price: float, tick: Decimal) -> Decimal:
    """A price of the market as the exchange quotes it."""
    return int(np.rint(price / float(tick))) * tick


def down(size: Decimal, step: Decimal) -> Decimal:
    """Whole steps, toward zero."""
    return (size / step).to_integral_value(ROUND_DOWN) * step


def book(asset: str, spec: Spec, mark: Decimal, turnover: float, buy: bool) -> list[tuple[Decimal, Decimal]]:
    """(price, contracts) that an order to buy (sell) finds, best first: a spread of two hundredths of a percent, at
    least a tick each side; ten levels half a spread apart, each deeper than the last and varied by a quarter."""
    half = max(spec.tick, mark * HALF_SPREAD)
    step = int(half // spec.tick)
    if buy:
        best = int(((mark + half) / spec.tick).to_integral_value(ROUND_CEILING))
    else:
        best = int(((mark - half) / spec.tick).to_integral_value(ROUND_FLOOR))
    salt = crc32(f"{asset}-USDT-SWAP".encode()) ^ BOOK_SEED
    lots = DEPTH_SHARE * turnover / float(mark * spec.contract * spec.lot)
    levels = []
    for k in range(LEVELS):
        noise = (best * 0x85EBCA77 + k * 0xC2B2AE3D + salt * 0x9E3779B1) & 0xFFFFFFFF
        noise = ((noise ^ (noise >> 15)) * 0x2C1B3C6D) & 0xFFFFFFFF
        size = 2.0 * lots / (LEVELS * (LEVELS + 1)) * (k + 1) * (0.75 + (noise >> 12) / 2**21)
        price = (best + k * step if buy else best - k * step) * spec.tick
        levels.append((price, max(int(size) * spec.lot, spec.least)))
    return levels


class Beyond(Exception):
    """Something happened that this re-computation does not cover: choose another week."""


def fills(asset: str, spec: Spec, size: Decimal, mark: Decimal, turnover: float) -> list[tuple[Decimal, Decimal]]:
    """(signed contracts, price) of a market order of `size` signed contracts."""
    left, done = abs(size), []
    for price, there in book(asset, spec, mark, turnover, size > 0):
        part = min(left, there)
        done.append((part if size > 0 else -part, price))
        left -= part
        if not left:
            return done
    raise Beyond(f"the book of {asset} does not hold {size} contracts")
