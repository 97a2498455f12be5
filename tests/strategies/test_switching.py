"""Leaving a held pair for one that promises more: off by default, at most one a bar, both or nothing."""

from itertools import pairwise

import pytest
from markets import book, holdings, told, view
from whole_way import backtest

from core.config import load
from core.data.synthetic import synthetic_panel
from core.domain.account import Book
from core.domain.decision import Decision
from core.domain.orders import Action
from core.portfolio.events import Decided, Settled
from core.strategies.divergence import decide
from core.strategies.params import DivergenceParams

HELD = {"BTC/ETH": 1.5}  # with probability 0.8: a score of 1.2


def switching(
    z: dict[str, float],
    *books: Book,
    threshold: float = 0.5,
    working: dict[str, Action] | None = None,
    **rest: object,
) -> Decision:
    seen = {name: rest.pop(name) for name in ("probability", "correlation", "unusable") if name in rest}
    params = DivergenceParams(switch_threshold=threshold, **rest)  # type: ignore[arg-type]
    return decide(view(HELD | z, **seen), holdings(*(books or (book(),)), working=working), params)  # type: ignore[arg-type]


def test_it_is_off_by_default() -> None:
    decision = decide(view(HELD | {"SOL/XRP": 9.0}), holdings(book()), DivergenceParams())
    assert (decision.exits, decision.entries) == ((), ())


@pytest.mark.parametrize(("z", "switched"), [(2.0, False), (2.2, True), (-2.2, True)])
def test_a_pair_that_scores_higher_by_the_threshold_takes_the_place_on_the_same_bar(
    z: float, switched: bool
) -> None:
    """1.2 is held; 1.6 is not more than 0.5 above it, 1.76 is."""
    decision = switching({"SOL/XRP": z})
    assert [entry.pair for entry in decision.entries] == ["SOL/XRP"] * switched
    assert [(e.pair, e.into, e.reason, e.barred) for e in decision.exits] == [
        ("BTC/ETH", "SOL/XRP", "switched to SOL/XRP", False)
    ] * switched
    assert told(decision)["SOL/XRP"] == (
        "entered" if switched else "no more than {p.max_concurrent_positions} at a time"
    )
    assert told(decision)["BTC/ETH"] == "held"


def test_the_position_switched_out_of_does_not_stand_against_the_new_one() -> None:
    """Neither by a shared asset nor by correlation."""
    assert [e.pair for e in switching({"BTC/SOL": 3.0}).entries] == ["BTC/SOL"]
    assert [e.pair for e in switching({"SOL/XRP": 3.0}, correlation={("ETH", "XRP"): 0.99}).entries] == ["SOL/XRP"]


def test_another_position_still_does() -> None:
    both = book(), book("SOL/XRP")
    z = {"SOL/XRP": 1.6, "BTC/SOL": 4.0}
    decision = switching(z, *both, max_concurrent_positions=2)
    assert (decision.exits, decision.entries) == ((), ())
    assert told(decision)["BTC/SOL"] == "no more than {p.max_concurrent_positions} at a time"


def test_a_free_place_is_taken_before_anything_is_left() -> None:
    decision = switching({"SOL/XRP": 4.0}, max_concurrent_positions=2)
    assert ([e.pair for e in decision.entries], decision.exits) == (["SOL/XRP"], ())


def test_beside_a_free_place_a_pair_of_a_held_asset_can_only_be_switched_to() -> None:
    decision = switching({"BTC/SOL": 4.0}, max_concurrent_positions=2)
    assert [e.pair for e in decision.entries] == ["BTC/SOL"]
    assert [e.pair for e in decision.exits] == ["BTC/ETH"]


def test_the_strongest_candidate_is_taken() -> None:
    z = {"SOL/XRP": 1.2, "ETH/XRP": 3.0, "BTC/XRP": 3.5}
    decision = switching(z, book("SOL/XRP"))
    assert [e.pair for e in decision.entries] == ["BTC/XRP"]
    assert [(e.pair, e.into) for e in decision.exits] == [("SOL/XRP", "BTC/XRP")]


def test_what_would_stay_stands_against_every_candidate() -> None:
    """Of four assets in two pairs, each other pair shares one with whichever position would stay."""
    z = {"SOL/XRP": 1.2, "BTC/SOL": 3.0, "ETH/XRP": 3.5, "BTC/XRP": 2.9}
    decision = switching(z, book(), book("SOL/XRP"), max_concurrent_positions=2)
    assert (decision.exits, decision.entries) == ((), ())


def test_a_position_is_kept_for_its_shortest_time() -> None:
    for bars, switched in ((9, False), (10, True)):
        decision = switching({"SOL/XRP": 4.0}, book(bars=bars), min_hold_bars=10)
        assert bool(decision.exits) is bool(decision.entries) is switched


def test_what_leaves_by_itself_or_is_at_work_or_not_known_is_not_switched() -> None:
    crossed = switching({"BTC/ETH": -0.1, "SOL/XRP": 4.0})
    assert [e.into for e in crossed.exits] == [""] and crossed.entries == ()
    closing = switching({"SOL/XRP": 4.0}, working={"BTC/ETH": Action.CLOSE})
    assert (closing.exits, closing.entries) == ((), ())
    silent = switching({"SOL/XRP": 4.0}, unusable=("BTC/ETH",))
    assert (silent.exits, silent.entries) == ((), ())
    stranger = switching({"SOL/XRP": 4.0}, book("DOGE/LINK"))
    assert (stranger.exits, stranger.entries) == ((), ())


def test_only_an_eligible_pair_is_switched_to() -> None:
    decision = switching({"SOL/XRP": 9.0}, probability={"SOL/XRP": 0.5})
    assert (decision.exits, decision.entries) == ((), ())


def test_a_switch_comes_through_even_where_both_pairs_hold_an_asset() -> None:
    """The exchange nets what one pair sells and the other buys: each book still gets what it asked for."""
    assets = ("BTC", "ETH", "SOL", "XRP")
    options = {
        "universe.assets": list(assets),
        "engine.strategies": ["zscore"],
        "strategy.divergence.switch_threshold": 0.3,
        "strategy.divergence.min_hold_bars": 3,
    }
    run = backtest(load(options=options, environ={}), synthetic_panel(3, 900, assets), "zscore")
    switches = {
        event.ts: (event.exits[0].split(":")[0], event.entries[0])
        for event in run.events
        if isinstance(event, Decided) and any("switched to" in line for line in event.exits)
    }
    shared = [pair for pair in switches.values() if set(pair[0].split("/")) & set(pair[1].split("/"))]
    assert len(switches) > 10 and shared, "the market gave occasion for both kinds"
    assert {event.outcome for event in run.events if isinstance(event, Settled)} == {"done"}
    trades = run.result.trades
    for before, after in pairwise(trades):
        if before.exit.startswith("switched to"):
            assert before.exit == f"switched to {after.pair}"
            assert after.opened - before.closed < 60_000, "both are filled from the same open on"
            assert before.bars >= 3
