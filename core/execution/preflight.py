"""Before anything is traded: are account, key, clock, margin and instruments what we take them for?"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from decimal import Decimal

import msgspec

from core.domain.health import Check, Level
from core.domain.instrument import Instrument
from core.venues.port import Tier, Venue, VenueError

CLOCK_WARN_MS, CLOCK_BAD_MS = 1_000, 30_000
"""Requests are corrected for the clock's offset; OKX refuses what is signed with one that is 30 s off."""
SOON_MS = 24 * 3_600_000
"""Outages announced for the coming day are told."""


class Expected(msgspec.Struct, frozen=True):
    """What the settings take for granted. `leverage` is set per instrument; `most` USDT may be held in one;
    `maintenance` is the rate the risk gate reckons with, `taker` the fee that backtests suppose."""

    leverage: Decimal
    most: Decimal
    maintenance: Decimal
    taker: Decimal


class Known(msgspec.Struct, frozen=True):
    """What the ledger remembers: each instrument as it was listed at its last run, and contracts held of it."""

    listed: Mapping[str, Instrument]
    held: Mapping[str, Decimal]


PAUSES = (0.5, 2.0)
"""Seconds before a question that came to nothing is asked again."""


async def preflight(venue: Venue, names: Sequence[str], expected: Expected, known: Known) -> list[Check]:
    """Every check, in a fixed order. It changes nothing and never raises: what cannot be asked is bad."""
    looks: list[tuple[str, Callable[[], Awaitable[list[Check]]]]] = [
        ("account", lambda: _account(venue)),
        ("leverage", lambda: _leverage(venue, names, expected)),
        ("tiers", lambda: _tiers(venue, names, expected)),
        ("fees", lambda: _fees(venue, expected)),
        ("clock", lambda: _clock(venue)),
        ("price limits", lambda: _price_limits(venue, names)),
        ("instruments", lambda: _instruments(venue, names, known)),
        ("maintenance", lambda: _maintenance(venue)),
    ]
    found = await asyncio.gather(*(_looked(name, look) for name, look in looks))
    return [check for checks in found for check in checks]


async def _looked(name: str, look: Callable[[], Awaitable[list[Check]]]) -> list[Check]:
    for pause in (*PAUSES, None):
        try:
            return await look()
        except VenueError as error:
            if pause is None:
                return [Check(name, "bad", f"cannot be asked: {error}", "try again when the exchange answers")]
            await asyncio.sleep(pause)
    raise AssertionError("the last look returns")


async def _account(venue: Venue) -> list[Check]:
    mode = await venue.account_mode()
    if mode.margin == "spot":
        account = Check("account", "bad", "spot mode trades no swaps", "choose futures mode in OKX's settings")
    elif not mode.net:
        way = "close its positions and orders, and switch it to net mode in OKX's settings"
        account = Check("account", "bad", "holds longs and shorts apart; books are netted here", way)
    else:
        account = Check("account", "good", f"{mode.margin} mode, one net position an instrument")
    return [account, _key(mode.permissions, mode.bound, venue.capabilities.real_money)]


def _key(permissions: Sequence[str], bound: bool, real_money: bool) -> Check:
    told = ", ".join(permissions) or "nothing"
    if "trade" not in permissions:
        return Check("key", "bad", f"may {told}", "give the API key the permission to trade")
    if "withdraw" in permissions:
        return Check(
            "key", "warn", f"may {told}", "make a key that may not withdraw: a stolen one then moves no money"
        )
    if real_money and not bound:
        return Check("key", "warn", f"may {told}, from any address", "bind the key to this machine's address")
    return Check("key", "good", f"may {told}")


async def _leverage(venue: Venue, names: Sequence[str], expected: Expected) -> list[Check]:
    """It was set before; here it is read back."""
    found = await venue.leverage(names)
    wrong = [name for name in names if found.get(name) != expected.leverage]
    if wrong:
        told = ", ".join(f"{name} {found.get(name, 'unknown')}" for name in wrong)
        way = "close what holds it, or set venue.leverage to what OKX allows there"
        return [Check("leverage", "bad", f"{told} where {expected.leverage} was set", way)]
    return [Check("leverage", "good", f"{expected.leverage} for all {len(names)} instruments")]


async def _tiers(venue: Venue, names: Sequence[str], expected: Expected) -> list[Check]:
    """The tier that the largest allowed position falls into: does it bear our leverage, and our rate of margin?"""

    async def tier_of(name: str) -> tuple[str, Tier | None]:
        tiers, mark = await asyncio.gather(venue.tiers(name), venue.mark(name))
        size = expected.most / (mark * venue.instruments[name].contract)
        return name, next((tier for tier in tiers if size <= tier.max_size), None)

    found = await asyncio.gather(*map(tier_of, names))
    checks = []
    for name, tier in found:
        if tier is None:
            text = f"{name}: no tier holds {expected.most} USDT"
            checks.append(Check("tiers", "warn", text, "lower risk.max_gross_usdt, or risk.max_asset_gross_usdt"))
        elif tier.max_leverage < expected.leverage:
            text = f"{name}: {expected.most} USDT bear a leverage of {tier.max_leverage} at most"
            checks.append(Check("tiers", "bad", text, "lower venue.leverage, or what may be held"))
        elif tier.maintenance > expected.maintenance:
            text = f"{name}: maintenance margin is {tier.maintenance:.2%} of {expected.most} USDT"
            checks.append(Check("tiers", "warn", text, f"raise risk.maintenance_rate above {expected.maintenance}"))
    return checks or [Check("tiers", "good", f"{expected.most} USDT of any instrument bear the leverage")]


async def _fees(venue: Venue, expected: Expected) -> list[Check]:
    maker, taker = await venue.fee_rates()
    text = f"maker {maker:.4%}, taker {taker:.4%}"
    if taker > expected.taker:
        way = "set backtest.fees to the account's own, so that backtests cost what trading does"
        return [Check("fees", "warn", f"{text}; backtests suppose {expected.taker:.4%}", way)]
    return [Check("fees", "good", text)]


async def _clock(venue: Venue) -> list[Check]:
    return [clock_check(await venue.measure_clock())]


def clock_check(offset_ms: int) -> Check:
    """What an offset of this machine's clock against the exchange's means."""
    off = f"{abs(offset_ms)} ms {'behind' if offset_ms > 0 else 'ahead of'} the exchange's"
    if abs(offset_ms) >= CLOCK_BAD_MS:
        return Check("clock", "bad", off, "set this machine's clock right (NTP)")
    if abs(offset_ms) >= CLOCK_WARN_MS:
        return Check("clock", "warn", f"{off}; requests are corrected for it", "set it right (NTP)")
    return Check("clock", "good", off)


async def _price_limits(venue: Venue, names: Sequence[str]) -> list[Check]:
    """Beyond its limits the exchange takes no orders: there an exit would not be filled."""
    limits = await asyncio.gather(*map(venue.price_limit, names))
    marks = await asyncio.gather(*map(venue.mark, names))
    wrong = [
        f"{name}: the mark {mark} is not between {limit.sell} and {limit.buy}"
        for name, limit, mark in zip(names, limits, marks, strict=True)
        if limit.enabled and not limit.sell <= mark <= limit.buy
    ]
    if wrong:
        return [Check("price limits", "warn", text, "orders at market may not be filled there") for text in wrong]
    free = sum(not limit.enabled for limit in limits)
    return [Check("price limits", "good", "all marks are within them" + (f"; {free} have none" if free else ""))]


async def _instruments(venue: Venue, names: Sequence[str], known: Known) -> list[Check]:
    checks = [
        check
        for name in sorted({*names, *known.held})
        for check in _changes(name, known.listed.get(name), venue.instruments.get(name), known.held.get(name))
    ]
    return checks or [Check("instruments", "good", f"{len(names)} listed; nothing has changed since the last run")]


def _changes(name: str, old: Instrument | None, new: Instrument | None, held: Decimal | None) -> Iterator[Check]:
    """What is otherwise about an instrument than at the last run."""
    if new is None:
        level: Level = "bad" if held else "warn"
        way = "close it by hand at the exchange" if held else "take it out of universe.assets"
        yield Check(
            "instruments", level, f"{name} is not listed{f', {held} contracts are held' if held else ''}", way
        )
        return
    if old is None:
        return
    if old.contract != new.contract:
        text = f"{name}: a contract was {old.contract} {new.asset} and is {new.contract}"
        if held:
            way = "close them with the exchange's own tools, then start with a fresh ledger"
            yield Check("instruments", "bad", f"{text}, and {held} contracts are held by the ledger", way)
        else:
            yield Check("instruments", "warn", text, "nothing is held of it: sizes follow by themselves")
    changed = [
        f"{word} {before} is now {after}"
        for word, before, after in (
            ("lot", old.lot, new.lot),
            ("tick", old.tick, new.tick),
            ("least order", old.min_size, new.min_size),
        )
        if before != after
    ]
    if changed:
        odd = held and held != new.round_size(held)
        way = (
            f"of {held} contracts held, {held - new.round_size(held)} cannot be closed alone"
            if odd and held
            else ""
        )
        yield Check("instruments", "warn", f"{name}: {', '.join(changed)}", way)


async def _maintenance(venue: Venue) -> list[Check]:
    now, checks = venue.server_ms(), []
    for outage in await venue.maintenance():
        if outage.ongoing:
            checks.append(Check("maintenance", "bad", f"going on: {outage.title}", "start when it has ended"))
        elif outage.begin - now < SOON_MS:
            hours = max(outage.begin - now, 0) / 3_600_000
            text = f"in {hours:.1f} hours: {outage.title}"
            checks.append(Check("maintenance", "warn", text, "be flat by then, or expect no orders meanwhile"))
    return checks or [Check("maintenance", "good", "none announced for the coming day")]
