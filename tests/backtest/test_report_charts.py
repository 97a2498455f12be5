"""Charts: what is drawn is where the axis says it is."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.backtest import charts
from core.backtest.metrics import DAY_MS

START = 1_704_067_200_000  # 2024-01-01


def places(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)]


@given(st.floats(-1e6, 1e6), st.floats(1e-2, 1e9))
def test_an_axis_holds_its_values_and_has_some_ticks(low: float, size: float) -> None:
    axis = charts.values(low, low + size)
    assert axis.low <= low + 1e-6 * size and axis.high >= low + size - 1e-6 * size
    assert 2 <= len(axis.ticks) <= 12


@given(st.floats(1e-3, 1e6), st.floats(1.01, 1e4))
def test_a_logarithmic_axis_too(low: float, times: float) -> None:
    axis = charts.values(low, low * times, log=True)
    at = axis.at(np.array([low, low * times]))
    assert 0 <= at[0] < at[1] <= 1
    assert all(axis.low <= value <= axis.high for value, _ in axis.ticks)


@pytest.mark.parametrize("value", [0.0, -3.0, 1e4])
def test_a_flat_line_has_an_axis_too(value: float) -> None:
    for high in (value, value + 1e-11 * abs(value)):
        axis = charts.values(value, high)
        assert axis.low < value < axis.high and len(axis.ticks) >= 2


def test_ticks_are_round_and_written_as_needed() -> None:
    assert [text for _, text in charts.values(-0.02, 0.05, share=True).ticks] == ["−2%", "0%", "2%", "4%", "6%"]
    assert [text for _, text in charts.values(0.1, 0.13).ticks] == ["0.10", "0.11", "0.12", "0.13"]
    assert [text for _, text in charts.values(0, 9_000).ticks][-1] == "10,000"


@pytest.mark.parametrize(
    ("days", "first"), [(7, "1 Jan"), (40, "1 Jan"), (365, "2024"), (1_500, "2024"), (9_000, "2024")]
)
def test_times_are_written_in_days_months_or_years(days: int, first: str) -> None:
    axis = charts.times(START, START + days * DAY_MS)
    assert axis.ticks[0][1] == first
    assert 3 <= len(axis.ticks) <= 13
    assert all(START <= value <= START + days * DAY_MS for value, _ in axis.ticks)


def test_a_year_is_written_at_its_january_and_a_month_at_its_first() -> None:
    axis = charts.times(START + 10 * DAY_MS, START + 100 * DAY_MS)
    assert axis.ticks == ((START + 31 * DAY_MS, "Feb"), (START + 60 * DAY_MS, "Mar"), (START + 91 * DAY_MS, "Apr"))


def test_a_line_goes_where_the_values_are() -> None:
    x, y = charts.Axis(0, 10, ()), charts.Axis(-1, 1, ())
    drawn = charts.line(x, y, np.array([0.0, 5.0, 10.0]), np.array([-1.0, 0.0, 1.0]), "s0")
    assert places(drawn) == [(0, 1000), (500, 500), (1000, 0)]


def test_a_bar_stands_on_zero_whichever_way_it_goes() -> None:
    x, y = charts.Axis(0, 2, ()), charts.Axis(-10, 10, ())
    up, down = (charts.bar(x, y, (0, 1), (0, end), "gain") for end in (5.0, -5.0))
    assert 'y="250.0" width="500.0" height="250.0"' in up
    assert 'y="500.0" width="500.0" height="250.0"' in down


def test_a_long_line_keeps_its_extremes() -> None:
    series = np.random.default_rng(0).normal(0, 1, 50_000)
    rows = charts.extremes(series)
    assert len(rows) <= charts.POINTS
    assert {0, 49_999, int(series.argmin()), int(series.argmax())} <= set(rows.tolist())
    assert charts.extremes(series[:100]).tolist() == list(range(100))


def test_what_is_written_is_escaped() -> None:
    axis = charts.Axis(0, 1, ((0.5, "<b>"),))
    drawn = charts.plot(axis, axis, [charts.bar(axis, axis, (0, 1), (0, 1), "gain", "<i>&")], '"<u>"')
    assert not re.search("<[biu]>", drawn)
