"""A small share of the campaign of kills, and the yardstick it is judged by."""

from decimal import Decimal
from pathlib import Path

from msgspec.structs import replace

from core.portfolio.events import AnyEvent, Filled
from tests.engine.processes import Home
from tests.engine.small import instruments
from tests.soak.agreement import Account, account, disagreements
from tests.soak.kill_campaign import campaign

KILLS, SEED = 4, 11


async def test_killed_at_any_point_of_an_orders_life_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    try:
        report = await campaign(home, KILLS, SEED)
    finally:
        await home.clear()
    assert report.wrong == []
    assert report.kills == KILLS and report.fills >= 8
    assert report.reconciled
    _the_yardstick_can_fail(home.ledger(), account(home.path / "exchange"))


def _the_yardstick_can_fail(events: list[AnyEvent], theirs: Account) -> None:
    """Each kind of loss, planted in what this session wrote, is named."""
    fills = [event for event in events if isinstance(event, Filled) and event.fill.size]
    assert disagreements(events, theirs, instruments()) == []

    def said(events: list[AnyEvent], theirs: Account) -> str:
        return "\n".join(disagreements(events, theirs, instruments()))

    last = theirs.fills[-1]
    other = replace(last, trade_id="BTC-USDT-SWAP:999999")
    assert "999999: lost" in said(events, theirs._replace(fills=[*theirs.fills, other]))
    assert f"{last.trade_id}: in the ledger 1" in said(events, theirs._replace(fills=theirs.fills[:-1]))
    twice = f"order {last.client_id}: traded"
    assert twice in said(events, theirs._replace(fills=[*theirs.fills, other])) or not last.client_id
    markets = [replace(market, size=market.size + 1) for market in theirs.state.markets]
    moved = said(events, theirs._replace(state=replace(theirs.state, markets=markets)))
    assert moved.count("the exchange holds") == len(markets) and "catastrophe orders" in moved
    poorer = replace(theirs.state, cash=theirs.state.cash - Decimal("0.000001"))
    assert "cash:" in said(events, theirs._replace(state=poorer))
    assert fills
