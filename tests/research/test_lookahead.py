"""What knows the future is found, and named: the column, the bars it reads, the line, and the way out."""

from pathlib import Path

import numpy as np
import peeking
import pytest
from outside import almanac

from core.backtest.prepare import Prepared
from core.data.synthetic import synthetic_panel
from core.domain.audit import Check, Finding
from core.domain.backtest import Source
from core.features.catalog import FEATURES
from core.research.audit import excerpts_of
from core.research.framed import feature_of
from core.research.histories import GRIDS, Excerpt, changed_after, permuted, planted, touched
from core.research.lookahead import lookahead
from core.strategies.params import DivergenceParams

PANEL = synthetic_panel(3, 1200, ("BTC", "ETH", "SOL"))
CUTS = (700, 903, 1000)  # the bar after 903 settles funding
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def check() -> Check:
    return lookahead([(peeking.FEATURE, HERE)], [Excerpt(PANEL, CUTS)], seed=1)


def found(check: Check, name: str) -> Finding:
    (finding,) = [finding for finding in check.findings if finding.name == name]
    return finding


def test_every_feature_of_the_catalog_passes() -> None:
    result = lookahead([(feature, HERE) for feature in FEATURES], [Excerpt(PANEL, CUTS[:2])], seed=1)
    assert result.passed, result.findings


def test_honest_columns_are_not_accused(check: Check) -> None:
    accused = {finding.name for finding in check.findings}
    assert accused == set(peeking.columns(PANEL)) - {"momentum", "average"}


@pytest.mark.parametrize(
    ("name", "fault", "line", "mend"),
    [
        ("shifted", "uses close[t+3], 3 bars ahead", "table.shift(-3)", "shift it by 3 bars"),
        ("centred", "uses close from t-5 to t+5", "center=True", "`center=True` puts half of the window"),
        ("normal", "over the whole sample", "mean = prices.mean(axis=0)", "rolling or an expanding window"),
        ("label", "up to t+24", "highest = table.rolling(24).max().shift(-24)", "purge 24 bars"),
        ("forming", "open[t+1], of the bar that is still forming", "next_open = np.vstack", "closed bars alone"),
        ("early", "knows funding 1 bar(s) too early", "panel.funding[1:]", "use Panel.funding of bar t"),
        ("looped", "uses close[t+2], 2 bars ahead", "prices[t + 2] / prices[t]", "`[t + 2]` is a later bar"),
        ("ranked", "over the whole sample", "table.rank()", "`rank` is taken over the whole sample"),
        ("filled", "up to t+", ".bfill()", "fill forward"),
        ("calendar", "at another date", 'out["calendar"]', "the time each value was published"),
        ("counted", "how many there are", "np.linspace(0.0, 1.0, len(close))", "no length, end or total"),
    ],
)
def test_the_culprit_is_named_with_its_line_and_the_way_out(
    check: Check, name: str, fault: str, line: str, mend: str
) -> None:
    finding = found(check, name)
    assert fault in finding.fault
    assert finding.where.startswith("peeking.py:") and line in finding.where
    assert mend in finding.mend


def test_the_line_is_the_right_one(check: Check) -> None:
    lines = (HERE / "peeking.py").read_text().splitlines()
    for finding in check.findings:
        _, number, code = finding.where.split(":", 2)
        assert lines[int(number) - 1].strip().startswith(code.strip()[:80])


def test_the_same_seed_finds_the_same() -> None:
    first = [Excerpt(PANEL, CUTS[:1])]
    again = [lookahead([(peeking.FEATURE, HERE)], first, seed=5).findings for _ in range(2)]
    assert again[0] == again[1]


def test_a_changed_future_leaves_the_past_as_it_was() -> None:
    t = 500
    other = changed_after(PANEL, t, seed=9)
    for name in GRIDS:
        one, two = getattr(PANEL, name), getattr(other, name)
        assert np.array_equal(one[: t + 1], two[: t + 1], equal_nan=True)
        assert not np.array_equal(one[t + 1 :], two[t + 1 :], equal_nan=True)
    assert (other.high >= np.maximum(other.open, other.close)).all()
    assert (other.low <= np.minimum(other.open, other.close)).all()
    assert not other.valid[t + 1 :].all()


def test_one_bar_is_touched_and_no_other() -> None:
    other = touched(PANEL, "close", 77)
    assert np.flatnonzero((other.close != PANEL.close).any(axis=1)).tolist() == [77]


def test_a_placebo_keeps_every_bar_and_only_moves_it() -> None:
    other = permuted(PANEL, 4)
    moves, mixed = (np.diff(np.log(panel.close), axis=0) for panel in (PANEL, other))
    centre = np.log(np.exp(moves).mean(axis=0))
    assert np.allclose(np.sort(moves - centre, axis=0), np.sort(mixed, axis=0))
    assert np.allclose(np.exp(mixed).mean(axis=0), 1.0)  # no asset is worth holding
    assert np.allclose(np.corrcoef(moves.T), np.corrcoef(mixed.T))  # assets moved together
    assert (other.high >= np.maximum(other.open, other.close) * (1 - 1e-12)).all()
    assert (other.low <= np.minimum(other.open, other.close) * (1 + 1e-12)).all()
    turnover = np.sort((PANEL.volume * PANEL.close)[1:], axis=0)
    assert np.allclose(np.sort((other.volume * other.close)[1:], axis=0), turnover)
    assert not np.array_equal(permuted(PANEL, 5).close, other.close)


def test_the_planted_drift_is_what_prices_do_on_average() -> None:
    market = planted(PANEL, 60_000, 8)
    moves = market.panel.close[1:, 0] / market.panel.close[:-1, 0] - 1.0
    drift = market.drift[:-1, 0]
    for low, high in ((0, 20), (40, 60), (80, 100)):  # by how strong it is said to be
        inside = (drift >= np.percentile(drift, low)) & (drift <= np.percentile(drift, high))
        error = moves[inside] - drift[inside]
        assert abs(error.mean()) < 4 * error.std() / np.sqrt(inside.sum())
    assert np.corrcoef(moves, drift)[0, 1] > 0.1


def test_what_knows_only_a_part_of_the_traded_period_is_met() -> None:
    """The table ends after 3,200 of 8,000 bars."""
    panel = synthetic_panel(7, 8000, ("BTC", "ETH", "SOL"))
    prepared = Prepared(panel, Source("", "", "", "", panel.assets, panel.bar_ms, 0, 0), start=2000, seed=7)
    excerpts = excerpts_of(prepared, 400)
    at = [int(np.searchsorted(panel.ts, part.ts[cut])) for part, (cut,) in excerpts]
    assert [(t - 2000) // 1475 for t in at] == [0, 1, 2, 3]  # one in each quarter of what is traded
    assert all(cut >= 400 for _, (cut,) in excerpts)
    assert np.isfinite(panel.funding_rate[at[-1] + 1]).all()
    table = feature_of(almanac.STRATEGY, DivergenceParams(), {})
    (finding,) = lookahead([(table, HERE)], excerpts, seed=1).findings
    assert finding.name == "z_score" and "looks something up by its date" in finding.fault
