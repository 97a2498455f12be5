"""Numbers on the screen: short where they must be, never cut, never without their sign."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cockpit import format
from cockpit.braille import chart, decimate

floats = st.floats(-1e15, 1e15)


@pytest.mark.parametrize(
    ("value", "width", "text"),
    [
        (1234.5, 0, "1,234.50"),
        (1234.5, 7, "1,234.5"),
        (1234.5, 5, "1,234"),
        (1234.5, 4, "1.2k"),
        (12_345_678.0, 6, "12.3M"),
        (-12_345_678.0, 3, "…"),
        (math.nan, 5, "–"),
    ],
)
def test_a_number_gets_shorter_before_it_is_left_out(value: float, width: int, text: str) -> None:
    assert format.number(value, 2, width) == text


@given(floats, st.integers(1, 20), st.booleans())
def test_what_is_shown_is_the_number_rounded_and_not_a_part_of_it(value: float, width: int, sign: bool) -> None:
    text = format.number(value, 2, width, sign=sign)
    assert len(text) <= width
    if text == "…":
        return
    unit = {"k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}.get(text[-1], 1.0)
    digits = text.rstrip("kMBT").replace(",", "")
    decimals = len(digits.partition(".")[2])
    assert abs(float(digits) * unit - value) <= 0.5 * unit * 10**-decimals * (1 + 1e-9) + abs(value) * 1e-12
    assert not sign or text[0] in "+-"


@pytest.mark.parametrize(
    ("value", "text"),
    [(57_342.1, "57,342.1"), (151.384, "151.384"), (0.101294, "0.101294"), (0.00001234, "0.00001234"), (0.0, "–")],
)
def test_a_price_shows_about_six_digits(value: float, text: str) -> None:
    assert format.price(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.31, "0.3s"), (12, "12s"), (89, "89s"), (240, "4m"), (7200, "2h"), (200_000, "2d"), (math.inf, "–")],
)
def test_a_span_of_time_is_short(value: float, text: str) -> None:
    assert format.seconds(value) == text


@given(st.floats(-1, 1), st.integers(3, 60))
def test_a_gauge_shows_its_value_and_is_as_wide_as_asked(value: float, width: int) -> None:
    gauge = format.gauge(value, -0.06, 0.05, width)
    assert len(gauge) == width and gauge.count("●") == 1


def test_a_gauge_puts_zero_between_stop_and_target() -> None:
    assert format.gauge(0.05, -0.05, 0.05, 5) == "──┼━●"
    assert format.gauge(-0.05, -0.05, 0.05, 5) == "●━┼──"
    assert format.gauge(0.0, 0.05, -0.05, 5) == "     ", "a position without a stop has no gauge"


@given(st.lists(floats, min_size=1, max_size=300), st.integers(1, 80))
def test_decimation_loses_no_extreme(values: list[float], columns: int) -> None:
    spans = decimate(values, columns)
    assert len(spans) == min(columns, len(values))
    assert min(low for low, _ in spans) == min(values)
    assert max(high for _, high in spans) == max(values)


def dots(lines: list[str]) -> list[list[bool]]:
    """The chart's dots, by row and column."""
    bits = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
    return [
        [bool((ord(cell) - 0x2800) & bits[row][side]) for cell in line for side in (0, 1)]
        for line in lines
        for row in range(4)
    ]


@given(st.lists(floats, min_size=1, max_size=200), st.integers(1, 40), st.integers(1, 12))
def test_a_chart_is_one_unbroken_line_from_edge_to_edge(values: list[float], width: int, height: int) -> None:
    lines = chart(values, width, height)
    assert [len(line) for line in lines] == [width] * height
    columns = list(zip(*dots(lines), strict=True))
    reach = [(column.index(True), len(column) - 1 - column[::-1].index(True)) for column in columns]
    assert all(a[0] <= b[1] + 1 and b[0] <= a[1] + 1 for a, b in pairwise(reach))


def test_a_chart_of_a_rising_curve_rises() -> None:
    assert chart([0, 1, 2, 3], 2, 1) == ["⡠⠊"]


def test_a_flat_curve_is_a_line_and_an_empty_one_is_blank() -> None:
    assert chart([5, 5, 5], 2, 1) == ["⠤⠤"]
    assert chart([], 3, 2) == ["   ", "   "]
