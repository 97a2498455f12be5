"""The report: one file that needs nothing else, says what it is, and leaves nothing out."""

import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import made_result

from core.backtest.document import Analysis, analyse
from core.backtest.report import report, write_report
from core.backtest.result import Result
from core.domain.errors import UserError

VOID = {"meta", "input", "br"}
LOSER = made_result(2, bars=3_000, pairs=20, edge=-0.002, trades=150)
WINNER = made_result(3, bars=9_000, pairs=8, edge=0.006, trades=400)
OTHERS = [made_result(seed, bars=3_000, trades=100, strategy=name) for seed, name in ((5, "buy-hold"), (6, "rsi"))]


class Page(HTMLParser):
    """What is on a page: its elements, well nested, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture(scope="module")
def loser() -> Analysis:
    return analyse(LOSER, np.random.default_rng(0).normal(0, 0.01, 27), overfitting=0.62)


@pytest.fixture(scope="module")
def whole(loser: Analysis) -> str:
    return report(loser, [analyse(other) for other in OTHERS])


def test_the_page_is_well_formed_and_needs_nothing_from_outside(whole: str) -> None:
    page = Page(whole)
    assert page.seen[0] == "html"
    assert not {"script", "link", "iframe", "img", "object", "base"} & set(page.seen)
    for address in ("http", "//", "url(", "@import", "src=", "href="):
        assert address not in whole, address


def test_numbers_on_the_page_are_numbers(whole: str) -> None:
    """No NaN or infinity in a word or a coordinate."""
    assert not re.search(r"\b(nan|inf|None)\b", whole)


@pytest.mark.parametrize(
    "heading",
    ["Beside the others", "Equity", "Drawdown", "Worst drawdowns", "Months and years",
     "Rolling Sharpe ratio, 30 days", "Cost waterfall", "Profit of a trade", "Profit against time held",
     "By time held", "By size: value of both legs at entry", "By hour of entry, UTC",
     "By hour of exit, UTC", "By reason of exit", "Attribution by pair", "Exposure and allocation",
     "Pairs, per week", "Strategies, per day", "All figures", "Assumptions", "Parameters", "Data and run",
     "The trades themselves"],
)  # fmt: skip
def test_every_part_is_there(whole: str, heading: str) -> None:
    assert re.search(rf"<h[23]>{re.escape(heading)}</h[23]>", whole)


def test_a_losing_strategy_is_called_one(whole: str, loser: Analysis) -> None:
    words = Page(whole).text
    assert "losing" in words
    assert f"Lost {-loser.metrics.total_return:.1%} in 125 days" in words
    assert "no saving on costs would help" in words


def test_a_strategy_that_stands_is_called_promising_and_no_more() -> None:
    words = Page(report(analyse(WINNER))).text
    assert "promising" in words and "worth a test on data it has not seen" in words


def test_every_assumption_parameter_and_hash_is_printed(whole: str) -> None:
    words = Page(whole).text
    for said in (
        *LOSER.assumptions,
        *LOSER.assumptions.values(),
        *LOSER.params,
        LOSER.digest,
        LOSER.source.content,
    ):
        assert said in words
    assert "none: a bare file" in words
    listed = msgspec.structs.replace(LOSER, source=msgspec.structs.replace(LOSER.source, manifest="ab12" * 16))
    assert "ab12" * 16 in report(analyse(listed))


def test_trials_and_what_they_mean_are_printed(whole: str, loser: Analysis) -> None:
    words = Page(whole).text
    assert "27 trials on this data" in words
    assert "62.0%" in words  # overfitting
    assert f"{loser.statistics.expected_max_sharpe:.2f}" in words


def test_the_intervals_stand_beside_their_figures(whole: str, loser: Analysis) -> None:
    words, trust = Page(whole).text.replace("−", "-"), loser.statistics
    assert trust.total_return is not None and trust.sharpe is not None and trust.max_drawdown is not None
    assert f"95%: {trust.total_return.low:+.1%} to {trust.total_return.high:+.1%}" in words
    assert f"95%: {trust.sharpe.low:.2f} to {trust.sharpe.high:.2f}" in words
    assert f"95%: {trust.max_drawdown.low:.1%} to {trust.max_drawdown.high:.1%}" in words


def test_every_pair_and_every_trade_is_listed(whole: str) -> None:
    for pair in {trade.pair for trade in LOSER.trades}:
        assert f"<td>{pair}</td>" in whole
    listed = whole[whole.index(f"All {len(LOSER.trades)} trades") :]
    assert listed.count("<tr>") == len(LOSER.trades) + 1


def test_thousands_of_trades_are_cut_and_that_is_said() -> None:
    many = msgspec.structs.replace(LOSER, trades=LOSER.trades * 50)
    assert f"The first 5,000 of {len(many.trades):,} trades" in report(analyse(many))


def test_what_is_still_open_is_told_apart() -> None:
    """Profit that is in the equity but in no closed trade."""
    held = msgspec.structs.replace(LOSER, trades=LOSER.trades[:-3], open_pairs=(LOSER.trades[-1].pair,))
    still = sum(trade.pnl for trade in LOSER.trades[-3:])
    text = Page(report(analyse(held))).text.replace("−", "-")
    assert f"all (open pairs: {still:+,.2f})" in text or f"all (open pairs: {still:+,.0f})" in text


def test_names_from_outside_cannot_break_the_page(loser: Analysis) -> None:
    rude = "<script>alert(1)</script>&\"'"
    trades = tuple(msgspec.structs.replace(trade, pair=rude, exit=rude, entry=rude) for trade in LOSER.trades)
    result = msgspec.structs.replace(
        LOSER, strategy=rude, params={rude: rude}, assumptions={rude: rude}, notes=(rude,), trades=trades
    )
    page = report(analyse(result), [analyse(msgspec.structs.replace(OTHERS[0], strategy=rude))])
    assert "<script>" not in page
    Page(page)


def _flat(result: Result) -> Result:
    rows = len(result.equity)
    still = np.zeros((rows, len(result.pairs)))
    return msgspec.structs.replace(
        result, equity=np.full(rows, 1e4), exposure=still, costs=np.zeros((rows, 3)), trades=(), orders=0, fills=0
    )


def test_a_run_without_a_trade_is_reported() -> None:
    words = Page(report(analyse(_flat(LOSER)))).text
    assert "Traded nothing in 3,000 bars" in words
    assert "never fell below an earlier peak" in words


def test_a_ruined_account_is_reported() -> None:
    equity = LOSER.equity.copy()
    equity[2_000:] = -50.0
    page = report(analyse(msgspec.structs.replace(LOSER, equity=equity)))
    assert "Lost 100.0%" in Page(page).text
    assert 'id="log"' not in page  # no logarithm of a debt


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), bars=st.integers(2, 400), pairs=st.integers(1, 12), trades=st.integers(1, 40))
def test_any_run_makes_a_page(seed: int, bars: int, pairs: int, trades: int) -> None:
    Page(report(analyse(made_result(seed, bars, pairs, trades=trades))))


def test_the_same_run_makes_the_same_page(loser: Analysis) -> None:
    assert report(loser) == report(loser)


def test_the_market_may_be_given_instead_of_compared(loser: Analysis) -> None:
    assert "comes with --compare" in report(loser)
    given_index = report(loser, market=np.linspace(100, 120, 3_001))
    assert "the market" in given_index and "comes with --compare" not in given_index


def test_a_report_is_written_whole_or_not_at_all(
    tmp_path: Path, loser: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.html"
    write_report(path, loser)
    before = path.read_text(encoding="utf-8")
    assert before == report(loser)

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UserError, match=r"cannot write the report to .*out\.html: No space left on device"):
        write_report(path, analyse(WINNER))
    assert path.read_text(encoding="utf-8") == before
    assert [file.name for file in tmp_path.iterdir()] == ["out.html"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, loser: Analysis) -> None:
    with pytest.raises(UserError, match=r"missing/out\.html: No such file or directory; choose another --report"):
        write_report(tmp_path / "missing" / "out.html", loser)
