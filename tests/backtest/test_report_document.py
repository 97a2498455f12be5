"""The document: the same figures as data, and a verdict that does not flatter."""

import msgspec
import numpy as np
import pytest
from made import made_result

from core.backtest.document import POINTS, analyse, calendar, document, thinned, verdict
from core.backtest.metrics import DAY_MS
from core.domain.backtest import Document, Estimate, Metrics, Statistics

TOLD = analyse(made_result(4, bars=6_000))


def judged(
    low: float, deflated: float, trades: int = 200, net: float = 500.0, gross: float = 900.0
) -> tuple[str, str]:
    """The verdict on a run of these figures."""
    figures, trust = TOLD.metrics, TOLD.statistics
    metrics: Metrics = msgspec.structs.replace(
        figures,
        total_return=net / 1e4,
        money=msgspec.structs.replace(figures.money, net=net, gross=gross),
        trades=msgspec.structs.replace(figures.trades, count=trades),
    )
    statistics: Statistics = msgspec.structs.replace(
        trust, total_return=Estimate(net / 1e4, low, 0.5), deflated_sharpe=deflated, trials=12
    )
    return verdict(metrics, statistics)


def test_the_document_survives_json() -> None:
    told = document(TOLD, [analyse(made_result(5, bars=6_000, strategy="rsi"))])
    text = msgspec.json.encode(told)
    assert msgspec.json.decode(text, type=Document) == told
    assert b"NaN" not in text and len(text) < 120_000


def test_the_curve_is_short_and_keeps_its_ends() -> None:
    told = document(TOLD)
    assert len(told.curve.ts) == POINTS == len(told.curve.equity) == len(told.curve.drawdown)
    assert (told.curve.ts[0], told.curve.ts[-1]) == (TOLD.result.ts[0], TOLD.result.ts[-1])
    assert told.curve.equity[-1] == TOLD.result.equity[-1]
    assert thinned(10).tolist() == list(range(10))


def test_months_and_years_make_the_whole() -> None:
    for unit in ("M", "Y", "D"):
        parts = calendar(TOLD.result.ts, TOLD.result.equity, unit)
        assert np.prod([1 + value for value in parts.values()]) - 1 == pytest.approx(TOLD.metrics.total_return)


def test_a_month_ends_with_its_last_close() -> None:
    ts = 1_704_067_200_000 + np.arange(61) * DAY_MS  # from 2024-01-01; February has 29 days
    equity = np.where(np.arange(61) <= 31, 100.0, 110.0)
    assert calendar(ts, equity, "M") == {"2024-01": 0.0, "2024-02": pytest.approx(0.1)}


@pytest.mark.parametrize(
    ("case", "standing", "words"),
    [
        ({"low": 0.01, "deflated": 0.97}, "promising", "worth a test on data it has not seen"),
        ({"low": -0.01, "deflated": 0.97}, "unproven", "the interval holds a loss"),
        (
            {"low": 0.01, "deflated": 0.8},
            "unproven",
            "after 12 trials on this data its deflated Sharpe ratio is 80.0%, below 95%",
        ),
        ({"low": 0.01, "deflated": 0.94996}, "unproven", "its deflated Sharpe ratio is 94.9%, below 95%"),
        ({"low": 0.01, "deflated": 0.97, "trades": 12}, "unproven", "12 trades are too few"),
        ({"low": -0.2, "deflated": 0.1, "net": -300.0, "gross": 200.0}, "losing", "Before costs it made 200"),
        ({"low": -0.2, "deflated": 0.1, "net": -300.0, "gross": -100.0}, "losing", "It lost 100 before costs"),
        ({"low": 0.0, "deflated": 0.5, "net": 0.0, "gross": 100.0}, "losing", "costs of 100"),
    ],
)
def test_verdicts(case: dict[str, float], standing: str, words: str) -> None:
    found, sentence = judged(**case)  # type: ignore[arg-type]
    assert found == standing and words in sentence


def test_a_verdict_names_period_trades_costs_and_interval() -> None:
    _, sentence = judged(-0.01, 0.5)
    assert "Made 5.0% in 250 days, 200 trades and all costs (95% interval −1.0% to +50.0%)" in sentence


def test_a_parameter_without_end_survives_json() -> None:
    result = msgspec.structs.replace(made_result(3), params={"switch_threshold": float("inf"), "z_entry": 1.0})
    told = document(analyse(result))
    again = msgspec.json.decode(msgspec.json.encode(told), type=Document)
    assert again.params == {"switch_threshold": "inf", "z_entry": 1.0}
