"""A recorded demo week, computed once more by plain independent code: decisions, fills, fees and funding agree to
the cent. The four classic errors (a bar's shift, the sign of funding, the size of a contract, the sign of fees),
planted one by one on either side, each make it fail and are named."""

import ast
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from tests.acceptance import planted
from tests.acceptance.backtested import backtested
from tests.acceptance.compare import differences, plain, recorded
from tests.acceptance.demo import Plan, Recording, record

ALL = ("BTC", "ETH", "SOL", "XRP", "BNB", "DOGE", "ADA", "AVAX", "LINK", "DOT")
REAL = ("perp_1h_10.parquet", "perp_funding_10.parquet")
BUSY = {"max_concurrent_positions": 3, "base_size_usdt": 4000.0}
# Everything the rule knows is to happen within the week; the cash is short, so that sizes are cut to it.
EVERYTHING = {
    "max_concurrent_positions": 3, "base_size_usdt": 3000.0, "z_exit": 0.3, "funding_threshold": 0.0002,
    "stop_atr": 0.5, "stop_min": 0.002, "target_atr": 0.8, "target_min": 0.004, "horizon_bars": 12,
    "cooldown_bars": 2, "min_hold_bars": 2, "correlation_threshold": 0.6,
}  # fmt: skip
PLANS = {
    "zscore": Plan("zscore", ("BTC", "ETH", "SOL", "XRP", "DOGE", "DOT"), 450, EVERYTHING, cash=20_000),
    "divergence": Plan("divergence", ALL[:4], 900, BUSY | {"z_entry": 0.8, "horizon_bars": 24}),
    "zscore on real candles": Plan("zscore", ALL, 2000, BUSY, replay=REAL),
    "divergence on real candles": Plan("divergence", ALL[:4], 900, BUSY | {"horizon_bars": 24}, replay=REAL),
}

Weeks = Callable[[str], Recording]


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Weeks:
    """Recordings by name, each made once."""
    made: dict[str, Recording] = {}

    def week(name: str) -> Recording:
        if name not in made:
            data: Path | None = request.getfixturevalue("shared_data") if PLANS[name].replay else None
            made[name] = record(PLANS[name], tmp_path_factory.mktemp("week") / "home", data)
        return made[name]

    return week


@pytest.fixture(scope="module")
def week(weeks: Weeks) -> Recording:
    return weeks("zscore")


def kinds(lines: list[str]) -> list[str]:
    """What differs, by kind, in the order in which it was found."""
    return [line.split()[1].rstrip(":") for line in lines]


def test_the_recomputation_shares_no_code_with_what_it_judges() -> None:
    for name in ("plain_market", "plain_exchange", "plain_week", "compare", "planted", "demo"):
        source = (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
        modules = [
            name
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
        ]
        assert modules and not [m for m in modules if m.split(".")[0] in ("core", "cockpit")], (name, modules)


# -- the week agrees ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLANS)
def test_the_week_agrees_to_the_cent(name: str, weeks: Weeks) -> None:
    week = weeks(name)
    derived = week.derive()
    assert week.against(derived) == []
    trips = sum(len(step.exits) for step in derived)
    paid = [amount for step in derived for amount in step.funding.values()]
    assert trips >= 12, f"{trips} round trips say too little"
    assert min(paid) < 0 < max(paid) and len(paid) >= 20
    assert any(len(trades) > 1 for step in derived for trades in step.trades.values()), "no order went a level deep"


@pytest.mark.parametrize("name", PLANS)
def test_the_backtest_repeats_the_demo(name: str, weeks: Weeks) -> None:
    """Engine, sockets, protocol and exchange on one side, the matching core alone on the other: one hash."""
    week = weeks(name)
    run = backtested(week)
    assert run.result.digest == week.digest
    assert differences(recorded(plain(run.events)), week.derive()) == []


def test_another_book_gives_another_hash(week: Recording) -> None:
    assert backtested(week, {"backtest.slippage": "flat:4"}).result.digest != week.digest


def test_the_week_holds_all_that_the_rule_knows(week: Recording) -> None:
    derived = week.derive()
    exits = Counter(cause for step in derived for cause in step.exits.values())
    holds = {step.hold[1] for step in derived if step.hold}
    assert set(exits) == {"z", "stop", "target", "time"}, exits
    assert {"shared", "correlated", "funding", "barred"} <= holds, holds
    assert any(step.released for step in derived), "no pair was released after a stop"
    plenty = week.derive(terms=week.terms._replace(free_share=Decimal(10)))
    assert "size" in kinds(week.against(plenty)), "no size was cut to the cash that was free"


def test_the_model_decides_something(weeks: Weeks) -> None:
    """Without its probabilities the same week goes otherwise: the trees' walk is part of what agrees."""
    week = weeks("divergence")
    s = week.signals()
    assert float(s.probability[week.start :].std()) > 0.05, "probabilities hardly differ"
    s.probability[:] = 1.0
    assert "decision" in kinds(week.against(week.derive(signals=s)))


def test_one_altered_candle_is_noticed(week: Recording) -> None:
    step = next(step for step in week.derive() if step.trades)
    row = int((week.candles.ts == step.bar).argmax())
    altered = week.candles.rows(0, len(week.candles.ts))
    altered.open = altered.open.copy()
    altered.open[row + 1] *= 1.001
    assert kinds(week.against(week.derive(candles=altered)))[0] == "price"


# -- errors planted in what is derived --------------------------------------------------------------------------


@pytest.mark.parametrize(("bars", "word"), [(1, "early"), (-1, "late")])
def test_signals_a_bar_off_are_named(week: Recording, bars: int, word: str) -> None:
    lines = week.against(planted.derived_shifted(week, bars))
    named = [line for line in lines if "recorded one bar" in line]
    assert kinds(lines)[0] == "decision" and len(named) > 10, lines[:3]
    assert all(f"(recorded one bar {word})" in line for line in named), named


def test_funding_with_the_sign_turned_is_named(week: Recording) -> None:
    lines = week.against(planted.derived_receiving_what_is_paid(week))
    assert kinds(lines)[0] == "funding" and "the sign is turned" in lines[0], lines[:3]
    assert not {"fee", "size", "price", "decision"} & set(kinds(lines[:4])) and "cash" in kinds(lines)


def test_a_funding_filter_with_the_sign_turned_is_named(week: Recording) -> None:
    lines = week.against(planted.derived_filtered_by_the_other_sign(week))
    assert kinds(lines)[0] == "decision", lines[:3]
    assert any(line.endswith("derived as funding") for line in lines if kinds([line]) == ["decision"]), lines[:3]


@pytest.mark.parametrize(("times", "word"), [("10", "10 times"), ("0.1", "0.1 times")])
def test_a_wrong_contract_is_named_with_its_asset(week: Recording, times: str, word: str) -> None:
    lines = week.against(planted.derived_with_another_contract(week, times))
    assert kinds(lines)[0] == "size", lines[:3]
    assert any(f"size of {planted.ASSET}" in line and word in line for line in lines[:3]), lines[:3]


def test_fees_with_the_sign_turned_are_named(week: Recording) -> None:
    lines = week.against(planted.derived_with_fees_received(week))
    assert kinds(lines)[0] == "fee" and "the sign is turned" in lines[0], lines[:3]


# -- errors planted in the recording ----------------------------------------------------------------------------

IN_THE_LEDGER = {
    "all a bar late": (planted.decisions_a_bar_late, "decision", "recorded one bar late"),
    "funding turned": (planted.funding_turned, "funding", "the sign is turned"),
    "fees turned": (planted.fees_turned, "fee", "the sign is turned"),
    "a tenth of the contracts": (planted.contract_ten_times, "size", "0.1 times"),
    "billed for ten times as many": (planted.billed_for_ten_times, "fee", "10 times"),
}


@pytest.mark.parametrize("error", IN_THE_LEDGER)
def test_a_ledger_that_was_written_wrongly_is_found_out(week: Recording, error: str) -> None:
    """Each copy adds up by itself: balances and equity follow the altered amounts."""
    change, kind, word = IN_THE_LEDGER[error]
    lines = week.against(week.derive(), planted.altered(week, change))
    assert any(kinds([line]) == [kind] and word in line for line in lines[:4]), lines[:4]


def test_a_copy_that_nothing_was_planted_in_agrees(week: Recording) -> None:
    """The yardstick itself."""
    lines = week.against(week.derive(), planted.altered(week, lambda event: None))
    assert lines == []
